"""Few labels: what simulation, self-supervision and unlabelled galaxies bring to 799 real images.

    python book/measured/few_labels_predictions.py REAL_FOLDER SDSS_FOLDER [--folds 5] [--seeds 3] [--plan]

REAL_FOLDER holds one sub-folder of real images per class, SDSS_FOLDER likewise: galaxies of another survey, in classes
of their own. Folds are drawn by sky group where positions are known, and stratified by class. Each galaxy is predicted
once per seed, by a network that was given no label of its patch of sky. Stored are the probabilities (float16) of one
view and their mean over the eight dihedral views. No epoch and no weights are chosen, and nothing was tuned: network,
augmentation and rates are those of chapter 4, with half the rate for what is fine-tuned.

What comes before the labels depends on no fold and is trained once per seed: on the simulated survey, on one that is
drawn more widely than nature (domain randomisation), on the galaxies of SDSS_FOLDER with their labels, or on these
without (SimCLR). SDSS_FOLDER has no positions: an unknown few of its galaxies may be among the real ones, through
another telescope. The simulator's sizes, brightnesses and colours were set beside the same real images, without their
labels being trained on. Both surveys are rendered here by the package's own recipes, as many galaxies of each class.

All supervised trainings on all labels take the same number of steps, and so do those on few labels; what pretraining
costs comes on top and is equal for all kinds, in images. So one network is trained from scratch for as long as
chapter 4's recipe says. Kill the program and start it again: what is finished is not trained again. Seeds are done one
after the other: stopped after the second, it has all methods with two seeds. `--jobs` says which share of the folds
this process does, such as 1/2; `--image-size 96` does the same with larger images (name another `--output`);
`--collect` puts together what is there; `--plan` says what everything costs and does nothing.
"""

import hashlib
import json
import math
import time
from functools import cache
from pathlib import Path

import joblib
import keras
import numpy as np
import stored_predictions
from cross_validation import light_layers
from keras import ops
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import SelfTrainingClassifier

import galaxy_utils as gu
from galaxy_utils.arrays import open_or_make_array
from galaxy_utils.augmentation import RandomDihedral, RandomRotationZoomShift
from galaxy_utils.classes import CLASS_NAMES, NUM_CLASSES
from galaxy_utils.data import galaxy_recipes, morphology, survey_camera
from galaxy_utils.data.dataset import GalaxyDataset
from galaxy_utils.data.views import NUM_VIEWS, area_average, dihedral_view
from galaxy_utils.evaluation import predict_with_tta
from galaxy_utils.files import artifacts_folder, cache_folder, locked, write_atomically

SETTINGS = {
    "image_size": 64,
    "crop_fraction": 0.5,
    "crop_fraction_of_sdss": 0.75,  # its cut-outs are scaled by each galaxy's radius
    "simulated_per_class": 1_774,  # 17,740 in all, as many as Galaxy10 has
    "pretraining_images": 142_000,  # passed through the network and back, for each kind of pretraining
    "epochs": 40,
    "few_label_steps": 320,
    "batch_size": 32,
    "few_label_batch_size": 25,
    "learning_rate": 2e-3,
    "fine_tuning_rate": 1e-3,
    "probe_strength": 0.01,
    "temperature": 0.2,
    "contrastive_batch_size": 128,
    "fixmatch": {"threshold": 0.95, "unlabelled": 50, "weight": 1.0},
    "augmentation": "each layer with a seed of its own",
    "simulator": galaxy_recipes.RECIPE_VERSION,
    "active": {"first": 20, "added": 20, "rounds": 10, "steps": 150, "batch_size": 64, "rate": 3e-3, "samples": 20},
}
COUNTS = (10, 20, 40)
SURVEYS = {"simulation": "calibrated", "randomised": "randomised", "noiseless": "noiseless", "grey": "grey"}
ACQUISITIONS = ("random", "entropy", "BALD", "k-centre")
METHODS = (
    "from scratch",
    "from scratch, 90 epochs",
    "linear probe",
    "simulation alone",
    "simulation alone, AdaBN",
    "randomised alone",
    "randomised alone, AdaBN",
    "simulation",
    "randomised",
    "SDSS",
    "SDSS then simulation",
    "SimCLR",
    *(f"{start}, {n} labels" for n in COUNTS for start in ("from scratch", "linear probe", "simulation")),
    "self-training, 10 labels",
    "FixMatch, 10 labels",
    "simulation then FixMatch, 10 labels",
    *(f"active learning, {name}" for name in ACQUISITIONS),
)
# What of the simulator matters; not done unless asked for.
EXTRA = ("noiseless alone", "grey alone")
# Spread of what is drawn more widely in domain randomisation, natural logarithm: seeing, noise, size on the picture,
# softening of the stretch; and of each band's brightness.
SPREADS, SPREAD_OF_BANDS = {"seeing": 0.35, "noise": 0.5, "size": 0.25, "softening": 0.5}, 0.15
NORTHERN_SHARE = 0.36


# --- Surveys ----------------------------------------------------------------------------------------------------------


def render(label, number, kind, image_size):
    """Return one simulated galaxy of a class, as the survey of this kind shows it, shape (size, size, 3), uint8."""
    random = np.random.default_rng([22, label, number])
    canvas = survey_camera.Canvas(256)
    galaxy_recipes.paint_field(canvas, random)
    galaxy_recipes.paint_galaxy(canvas, morphology.draw_morphology(label, random), random)
    telescope = survey_camera.BASS_MZLS if random.random() < NORTHERN_SHARE else survey_camera.DECAM
    wide = kind == "randomised"
    seeing, noise, size, softening = np.exp(wide * random.normal(0, list(SPREADS.values())))
    noise *= kind != "noiseless"
    seen = telescope._replace(seeing=np.multiply(telescope.seeing, seeing), noise=np.multiply(telescope.noise, noise))
    bands = survey_camera.add_noise(
        survey_camera.blur(canvas, seen, random), seen, canvas.pixel_scale, random
    ) * np.exp(wide * random.normal(0, SPREAD_OF_BANDS, (3, 1, 1)))
    picture = survey_camera.compress(survey_camera.stretch_rgb(bands, softening=20.0 * softening))
    if kind == "grey":
        picture = np.repeat(picture.mean(axis=2, keepdims=True), 3, axis=2).round().astype(np.uint8)
    # A galaxy looks larger where less of the sky is cut out.
    half = round(np.clip(64 / size, image_size / 2, 128))
    return area_average(picture[None, 128 - half : 128 + half, 128 - half : 128 + half], image_size)[0]


def survey(kind, settings):
    """Return a simulated survey of a kind as a dataset, rendered where it is not there yet."""
    each, size = settings["simulated_per_class"], settings["image_size"]
    labels = np.repeat(np.arange(NUM_CLASSES), each)
    path = cache_folder() / "few_labels" / f"{kind}_{each}_{size}_recipe{galaxy_recipes.RECIPE_VERSION}.npy"

    def make():
        numbers = zip(labels.tolist(), list(range(each)) * NUM_CLASSES, strict=True)
        drawn = joblib.Parallel(-1)(joblib.delayed(render)(*pair, kind, size) for pair in numbers)
        with write_atomically(path) as partial_path, open(partial_path, "wb") as file:
            np.save(file, np.stack(drawn))

    images = open_or_make_array(path, (len(labels), size, size, 3), np.uint8, make)
    return GalaxyDataset(f"{kind} survey", "simulated galaxies, not real ones", images, labels, CLASS_NAMES)


# --- Networks ---------------------------------------------------------------------------------------------------------


class NoiseAndBlur(keras.layers.Layer):
    """Blur each image and add noise, by amounts drawn at random, in training: another telescope, another night."""

    def __init__(self, seed, noise=8.0, blur=1.5, **options):
        super().__init__(**options)
        self.generator, self.noise = keras.random.SeedGenerator(seed), noise
        line = np.exp(-(np.arange(-3, 4) ** 2) / (2 * blur**2))
        kernel = np.outer(line, line) / line.sum() ** 2
        self.kernel = np.repeat(kernel[:, :, None, None], 3, axis=2).astype(np.float32)

    def call(self, images, training=False):
        images = ops.cast(images, "float32")
        if not training:
            return images
        shape = (ops.shape(images)[0], 1, 1, 1)
        blurred = ops.depthwise_conv(images, self.kernel, padding="same")
        images = images + keras.random.uniform(shape, seed=self.generator) * (blurred - images)
        level = self.noise * keras.random.uniform(shape, seed=self.generator)
        return images + level * keras.random.normal(ops.shape(images), seed=self.generator)


def recipe_layers(seed):
    """The augmentation of the compact network's recipe, chapter 4."""
    moving = RandomRotationZoomShift(180, 0.3, 0.05, seed)
    return [RandomDihedral(seed), moving, *light_layers(0.05, 0.2, seed)]


def strong_layers(seed):
    """Stronger augmentation, for views that are to be recognised and for FixMatch."""
    moving = RandomRotationZoomShift(180, 0.5, 0.1, seed)
    return [RandomDihedral(seed), moving, *light_layers(0.1, 0.4, seed), NoiseAndBlur(seed)]


def begin(size, num_classes, seed, start=None, layers=()):
    """Return a compact network that begins with given weights, those of a head for other classes left out."""
    network = gu.models.compact_cnn(size, num_classes, list(layers) or None, seed)
    for variable, value in zip(network.weights, start or (), strict=bool(start)):
        if tuple(variable.shape) == value.shape:
            variable.assign(value)
    return network


def features_of(network):
    """Return the network up to its 256 pooled features."""
    return keras.Model(network.input, network.get_layer("global_average_pooling").output)


def adapt(network, images):
    """Adaptive batch normalisation: replace all collected statistics by those of unlabelled images."""
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    network(images, training=True)
    return network


class SimCLR(keras.Model):
    """Two augmented views of an image are to be neighbours among all views of a batch."""

    def __init__(self, encoder, seed, temperature):
        super().__init__()
        self.encoder, self.views, self.temperature = encoder, strong_layers(seed), temperature
        self.projection = keras.Sequential([keras.layers.Dense(256, activation="relu"), keras.layers.Dense(64)])

    def call(self, images, training=False):
        x = ops.concatenate([images, images])
        for layer in self.views:
            x = layer(x, training=training)
        return ops.normalize(self.projection(self.encoder(x, training=training)), axis=1)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        count = ops.shape(y_pred)[0]
        similar = y_pred @ ops.transpose(y_pred) / self.temperature - 1e9 * ops.eye(count)
        partner = ops.roll(ops.arange(count), count // 2)
        return ops.mean(keras.losses.sparse_categorical_crossentropy(partner, similar, from_logits=True))


class FixMatch(keras.Model):
    """Confident predictions for weakly augmented images are the labels of the same images, strongly augmented."""

    def __init__(self, network, seed, threshold, weight):
        super().__init__()
        self.network, self.weak, self.strong = network, RandomDihedral(seed), strong_layers(seed + 100)
        self.threshold, self.weight = threshold, weight

    def call(self, both, training=False):
        labelled, unlabelled = both
        weak, strong = self.weak(unlabelled, training=training), unlabelled
        for layer in self.strong:
            strong = layer(strong, training=training)
        guess = ops.stop_gradient(self.network(weak, training=False))
        labelled = ops.cast(self.weak(labelled, training=training), "float32")
        together = self.network(ops.concatenate([labelled, ops.cast(strong, "float32")]), training=training)
        count = ops.shape(labelled)[0]
        return together[:count], together[count:], guess

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        labelled, strong, guess = y_pred
        sure = ops.cast(ops.max(guess, axis=1) >= self.threshold, "float32")
        wrong = keras.losses.sparse_categorical_crossentropy(ops.argmax(guess, axis=1), strong)
        return ops.mean(keras.losses.categorical_crossentropy(y, labelled)) + self.weight * ops.mean(sure * wrong)


class TwoStreams(keras.utils.PyDataset):
    """Batches of labelled and of unlabelled images, drawn at random."""

    def __init__(self, data, labelled, unlabelled, steps, sizes, seed):
        super().__init__()
        self.data, self.rows, self.steps, self.sizes, self.seed = data, (labelled, unlabelled), steps, sizes, seed

    def __len__(self):
        return self.steps

    def __getitem__(self, index):
        random = np.random.default_rng([self.seed, index])
        some = [random.choice(rows, size) for rows, size in zip(self.rows, self.sizes, strict=True)]
        images = tuple(np.asarray(self.data.images[rows], np.float32) for rows in some)
        return images, np.eye(self.data.num_classes, dtype=np.float32)[self.data.labels[some[0]]]


# --- Everything that is trained ---------------------------------------------------------------------------------------


class Experiment:
    """The real galaxies, what comes before their labels, and one function per method."""

    def __init__(self, galaxies, folds, sdss_folder, settings):
        self.settings, self.folds, self.sdss_folder = settings, folds, sdss_folder
        self.size = settings["image_size"]
        self.data = gu.prepare(galaxies, self.size, settings["crop_fraction"])
        known = json.dumps({**settings, "active": 0, "fixmatch": 0, "epochs": 0, "few_label_steps": 0}, sort_keys=True)
        self.folder = artifacts_folder() / "few_labels" / hashlib.sha256(known.encode()).hexdigest()[:12]

    @cache  # noqa: B019 - one experiment a process
    def source(self, kind):
        """The images that a kind of pretraining sees."""
        if kind in ("SDSS", "SimCLR"):
            crop = self.settings["crop_fraction_of_sdss"]
            return gu.prepare(gu.load(self.sdss_folder), self.size, crop)
        return survey(SURVEYS[kind], self.settings)

    @cache  # noqa: B019
    def pretrained(self, kind, seed):
        """Weights of a network that has seen no fold; trained once, then read."""
        of_sdss = f"_{gu.load(self.sdss_folder).fingerprint[:8]}" if "SDSS" in kind or kind == "SimCLR" else ""
        path = self.folder / f"{kind.replace(' ', '_')}{of_sdss}_seed{seed}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path):
            if not path.exists():
                started = time.process_time()
                weights = self._pretrain(kind, seed, path.with_suffix(".checkpoint.npz"))
                with write_atomically(path) as partial_path, open(partial_path, "wb") as file:
                    np.savez(file, *weights)
                print(f"  pretrained: {kind}, seed {seed}, {time.process_time() - started:.0f} CPU s", flush=True)
            with np.load(path) as stored:
                return [stored[f"arr_{number}"] for number in range(len(stored.files))]

    @staticmethod
    def seen(source, images, seed):
        """Rows and epochs that make so many images."""
        rows = np.sort(np.random.default_rng(seed).permutation(len(source))[:images])
        return rows, max(1, round(images / len(rows)))

    def _pretrain(self, kind, seed, checkpoint):
        settings, start = self.settings, None
        if kind == "SDSS then simulation":
            start, kind = self.pretrained("SDSS", seed), "simulation"
        source = self.source(kind)
        if kind == "SimCLR":
            return self._contrast(source, seed)
        network = begin(self.size, source.num_classes, seed, start, recipe_layers(seed))
        rows, epochs = self.seen(source, settings["pretraining_images"], seed)
        split = type("Rows", (), {"train": rows, "validation": rows[:: max(1, len(rows) // 200)]})
        recipe = gu.recipes.COMPACT_CNN.replace(epochs=epochs, learning_rate=settings["learning_rate"])
        gu.fit(network, source, split, recipe, seed=seed, checkpoint=checkpoint, progress=False)
        return network.get_weights()

    def _contrast(self, source, seed):
        settings = self.settings
        keras.utils.set_random_seed(seed)
        network = begin(self.size, self.data.num_classes, seed)
        model = SimCLR(features_of(network), seed, settings["temperature"])
        rows, epochs = self.seen(source, settings["pretraining_images"] // 2, seed)  # each in two views
        size = min(settings["contrastive_batch_size"], len(rows) // 2)
        batches = source.keras_dataset(rows, size, shuffle=True, seed=seed, targets=None)
        rate = keras.optimizers.schedules.CosineDecay(settings["learning_rate"], epochs * len(Bare(batches)))
        model.compile(keras.optimizers.Adam(rate))
        model.fit(Bare(batches), epochs=epochs, shuffle=False, verbose=0)
        return network.get_weights()

    def fine_tune(self, rows, validation, seed, start=None, few=False, epochs=None):
        """Train on labelled rows, from given weights or from scratch."""
        settings = self.settings
        size = settings["few_label_batch_size" if few else "batch_size"]
        # Few galaxies make short epochs, with a look at the validation galaxies after each: show them several times.
        rows = np.tile(rows, max(1, 600 // len(rows)))
        steps = settings["few_label_steps"] if few else (epochs or settings["epochs"]) * math.ceil(len(rows) / size)
        recipe = gu.recipes.COMPACT_CNN.replace(
            epochs=max(1, round(steps / math.ceil(len(rows) / size))),
            batch_size=size,
            learning_rate=settings["learning_rate" if start is None else "fine_tuning_rate"],
        )
        network = begin(self.size, self.data.num_classes, seed, start, recipe_layers(seed))
        split = type("Rows", (), {"train": rows, "validation": validation})
        gu.fit(network, self.data, split, recipe, seed=seed, progress=False)
        return network

    def fixmatch(self, labelled, unlabelled, seed, start):
        """Train on labelled and unlabelled rows."""
        settings, about = self.settings, self.settings["fixmatch"]
        network = begin(self.size, self.data.num_classes, seed, start)
        model = FixMatch(network, seed, about["threshold"], about["weight"])
        rate = settings["learning_rate" if start is None else "fine_tuning_rate"]
        steps, sizes = settings["few_label_steps"], (settings["few_label_batch_size"], about["unlabelled"])
        model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, steps)))
        model.fit(TwoStreams(self.data, labelled, unlabelled, steps, sizes, seed), shuffle=False, verbose=0)
        return network

    def draw(self, rows, each, seed, number):
        """As many rows of each class, drawn at random: the same for all methods."""
        random, labels = np.random.default_rng([seed, number, each]), self.data.labels[rows]
        return np.concatenate([random.permutation(rows[labels == c])[:each] for c in np.unique(labels)])

    def views(self, network, rows):
        """Features of some galaxies in their eight views, shape (8, n, 256)."""
        images = np.asarray(self.data.images[rows])
        encoder = features_of(network)
        return np.stack([encoder.predict(dihedral_view(images, view), verbose=0) for view in range(NUM_VIEWS)])

    def on_features(self, classifier, network, labelled, test, unlabelled=()):
        """Fit scikit-learn's classifier on frozen features; return probabilities of one view and of eight."""
        features = self.views(network, np.concatenate([labelled, unlabelled]).astype(int))[0]
        labels = np.concatenate([self.data.labels[labelled], np.full(len(unlabelled), -1)])
        classifier.fit(features, labels)
        each = np.zeros((NUM_VIEWS, len(test), self.data.num_classes))
        for view, some in enumerate(self.views(network, test)):
            each[view][:, classifier.classes_] = classifier.predict_proba(some)
        return np.stack([each[0], each.mean(axis=0)])

    def train(self, method, seed, number):
        """Train one method on one fold; return probabilities of its galaxies, and a line to print."""
        started, fold = time.process_time(), self.folds[number]
        name, _, rest = method.partition(", ")
        if name == "active learning":
            probabilities = self.learn_actively(rest, seed, number)
        else:
            few = int(rest.removesuffix(" labels")) if rest.endswith("labels") else 0
            rows = self.draw(fold.train, few, seed, number) if few else fold.train
            probabilities = self.predict(name, rest, rows, fold, seed, few)
        right = np.mean(probabilities.argmax(axis=-1) == self.data.labels[fold.test], axis=-1)
        scores = ", ".join(f"{each:.3f}" for each in right)
        return probabilities, f"accuracy {scores}, {time.process_time() - started:.0f} CPU s"

    def predict(self, name, rest, rows, fold, seed, few):
        """Probabilities of one view and of eight, by one method."""
        others = np.setdiff1d(fold.train, rows)
        probe = make_pipeline(StandardScaler(), LogisticRegression(C=self.settings["probe_strength"], max_iter=2000))
        if name in ("linear probe", "self-training"):
            network = begin(self.size, NUM_CLASSES, seed, self.pretrained("simulation", seed))
            if name == "self-training":
                return self.on_features(SelfTrainingClassifier(probe, threshold=0.8), network, rows, fold.test, others)
            return self.on_features(probe, network, rows, fold.test)
        if name.endswith("alone"):
            network = begin(self.size, NUM_CLASSES, seed, self.pretrained(name.removesuffix(" alone"), seed))
            if rest == "AdaBN":
                adapt(network, np.asarray(self.data.images[fold.train]))
        elif name.endswith("FixMatch"):
            start = self.pretrained("simulation", seed) if name.startswith("simulation") else None
            network = self.fixmatch(rows, others, seed, start)
        else:
            start = None if name == "from scratch" else self.pretrained(name, seed)
            epochs = int(rest.removesuffix(" epochs")) if rest.endswith("epochs") else None
            network = self.fine_tune(rows, fold.validation, seed, start, bool(few), epochs)
        return np.stack([predict(network, self.data, fold.test) for predict in (gu.predict, predict_with_tta)])

    def learn_actively(self, acquisition, seed, number):
        """Choose labels in rounds, on frozen features; return probabilities after each round."""
        about, fold = self.settings["active"], self.folds[number]
        network = begin(self.size, NUM_CLASSES, seed, self.pretrained("simulation", seed))
        scaler = StandardScaler().fit(self.views(network, fold.train)[0])
        pool, test = (scaler.transform(self.views(network, rows)[0]) for rows in (fold.train, fold.test))
        random = np.random.default_rng([seed, number])
        known = list(random.permutation(len(pool))[: about["first"]])
        probabilities, heads = [], (head(pool.shape[1], self.data.num_classes, seed, about) for _ in range(99))
        used = next(heads)
        for turn in range(about["rounds"] + 1):
            used = gu.reinitialise(used, next(heads))
            some = np.random.default_rng([seed, turn]).choice(known, about["steps"] * about["batch_size"])
            targets = np.eye(self.data.num_classes)[self.data.labels[fold.train[some]]]
            used.fit(pool[some], targets, batch_size=about["batch_size"], shuffle=False, verbose=0)
            probabilities.append(used.predict(test, verbose=0))
            keras.utils.set_random_seed(seed + turn)
            drawn = np.stack([np.asarray(used(pool, training=True)) for _ in range(about["samples"])])
            score = {
                "random": lambda _: random.random(len(pool)),
                "entropy": lambda p: entropy(p.mean(axis=0)),
                "BALD": lambda p: entropy(p.mean(axis=0)) - entropy(p).mean(axis=0),
            }
            if acquisition == "k-centre":
                known += k_centre(pool, known, about["added"])
            else:
                values = score[acquisition](drawn)
                values[known] = -np.inf
                known += list(np.argsort(values)[::-1][: about["added"]])
        return np.stack(probabilities)


class Bare(keras.utils.PyDataset):
    """Batches of images alone, each with an unused target, all of one size."""

    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def __len__(self):
        return len(self.batches) - 1  # the last one may be smaller, and has fewer others to be told from

    def on_epoch_end(self):
        self.batches.on_epoch_end()

    def __getitem__(self, index):
        (images,) = self.batches[index]
        return images, np.zeros(len(images), np.float32)


def head(num_features, num_classes, seed, about):
    """A small network with dropout, for Monte-Carlo dropout."""
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((num_features,))
    x = keras.layers.Dropout(0.5)(keras.layers.Dense(128, activation="relu")(inputs))
    model = keras.Model(inputs, keras.layers.Dense(num_classes, activation="softmax")(x))
    model.compile(keras.optimizers.Adam(about["rate"]), "categorical_crossentropy")
    return model


def entropy(p):
    """Entropy of probabilities along the last axis, nats."""
    return -(p * np.log(np.clip(p, 1e-12, 1))).sum(axis=-1)


def k_centre(points, known, count):
    """Greedy k-centre: again and again the point that is farthest from all known ones."""
    nearest = np.min([((points - points[k]) ** 2).sum(axis=1) for k in known], axis=0)
    chosen = []
    for _ in range(count):
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, ((points - points[chosen[-1]]) ** 2).sum(axis=1))
    return chosen


# --- What it costs ----------------------------------------------------------------------------------------------------


def plan(options, settings):
    """Print what everything costs, from a few steps that are timed here, in CPU seconds."""
    size = settings["image_size"]
    network = gu.models.compact_cnn(size, NUM_CLASSES, recipe_layers(1), 1)
    network.compile("adam", "categorical_crossentropy")
    random = np.random.default_rng(1)
    batch = random.integers(0, 256, (32, size, size, 3)).astype(np.float32), np.eye(10)[random.integers(10, size=32)]
    network.train_on_batch(*batch)
    network.predict_on_batch(batch[0])
    seconds = []
    for step in (network.train_on_batch, lambda x, _: network.predict_on_batch(x)):
        started = time.process_time()
        for _ in range(20):
            step(*batch)
        seconds.append((time.process_time() - started) / 640)
    trainings = options.folds * options.seeds
    few, train, about = settings["few_label_steps"] * settings["few_label_batch_size"], 639, settings["fixmatch"]
    # A weak view is looked at, which is a third of a training step.
    match = settings["few_label_steps"] * (settings["few_label_batch_size"] + about["unlabelled"] * 4 / 3)
    test = 9 * 160 * seconds[1] + 12  # with the seconds in which Keras translates a network
    kinds, rows = {}, []
    for method in options.methods:
        name = method.partition(", ")[0].removesuffix(" alone")
        if method.endswith("AdaBN") or "alone" in method:
            images, need = 0, name
        elif name in ("linear probe", "self-training", "active learning"):
            images, need = 0, "simulation"
        elif "FixMatch" in method:
            images, need = match, "simulation" if name.startswith("simulation") else None
        else:
            epochs = 90 if method.endswith("90 epochs") else settings["epochs"]
            images = few if method.endswith("labels") else epochs * train
            need = None if name == "from scratch" else name
        for kind in {None: (), "SDSS then simulation": ("SDSS", "SDSS then simulation")}.get(need, (need,)):
            kinds[kind] = options.seeds * settings["pretraining_images"] * seconds[0]
        # Small heads, eleven of them: what they take is mostly the handling of arrays.
        heads = 45 if name == "active learning" else 0
        rows.append((method, trainings * (images * seconds[0] + test + heads)))
    for kind in kinds:
        if kind in SURVEYS:
            kinds[kind] += settings["simulated_per_class"] * NUM_CLASSES / 60
    rows = [(f"pretraining: {kind}", cost) for kind, cost in kinds.items()] + rows
    for name, cost in rows:
        print(f"{name:<45}{cost / 3600:>8.2f} CPU h")
    total = sum(cost for _, cost in rows) / 3600
    print(f"{'all, on these images of ' + str(size) + ' px':<45}{total:>8.2f} CPU h")
    print(f"1,000 images take {1000 * seconds[0]:.1f} CPU s of training, {1000 * seconds[1]:.1f} of prediction")


def main():
    """Read the options, then plan or work."""
    parser = stored_predictions.arguments(__doc__.splitlines()[0], [*METHODS, *EXTRA], "few_labels", folds=5, seeds=3)
    parser.add_argument("sdss_folder", type=Path)
    parser.add_argument("--image-size", type=int, default=SETTINGS["image_size"])
    parser.add_argument("--plan", action="store_true", help="say what everything costs and stop")
    parser.add_argument("--epochs", type=int, default=SETTINGS["epochs"], help="on all labels")
    parser.add_argument("--tiny", action="store_true", help="try every method on almost nothing")
    parser.set_defaults(methods=list(METHODS))
    options = parser.parse_args()
    if options.tiny and options.output == parser.get_default("output"):
        parser.error("--tiny would write over what was measured: name another --output")
    settings = SETTINGS | {"image_size": options.image_size, "epochs": options.epochs}
    if options.tiny:
        settings |= {"simulated_per_class": 12, "pretraining_images": 120, "epochs": 1, "few_label_steps": 2}
        settings["active"] = SETTINGS["active"] | {"rounds": 2, "steps": 2}
    if options.plan:
        return plan(options, settings)

    def prepare_training(galaxies, folds, groups):
        return Experiment(galaxies, folds, options.sdss_folder, settings).train

    about = {"counts": COUNTS, "spreads": SPREADS, "recipe": gu.recipes.COMPACT_CNN.to_dict()}
    about["sdss"] = gu.load(options.sdss_folder).fingerprint
    return stored_predictions.run(options, prepare_training, settings | about)


if __name__ == "__main__":
    main()
