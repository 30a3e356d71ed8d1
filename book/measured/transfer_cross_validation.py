"""How good is a pretrained backbone on few real images: probed, with the paper's recipe, and fine-tuned as a whole?

    python book/measured/transfer_cross_validation.py REAL_FOLDER [--backbone mobilenetv2] [--weights FILE]
        [--variants NAME ...] [--image-size 128] [--crop-fraction 0.5] [--folds 5] [--output FILE]

REAL_FOLDER holds one sub-folder of real images per class. The folds are those of small_recipe_cross_validation.py: the
same galaxies, the same seed, each galaxy tested once by a network that never saw its patch of sky. Variants that choose
something by looking (the probe's regularisation, the epoch at which to stop) look at a seventh of the fold's training
galaxies, held back by sky group. Full fine-tuning chooses nothing, so it trains on all of them, as the small CNN does.

Each training has a checkpoint: kill the program and start it again, and it goes on where it was. `--list` shows the
variants, `--only-folds 1` tries a variant in the first fold.
"""

import argparse
import json
import time
import zlib
from pathlib import Path

import numpy as np
from cross_validation import accuracy, compare, describe_machine, hold_back_validation, make_folds, summarise
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

import galaxy_utils as gu
from galaxy_utils.data.split import OVERLAP_RADIUS
from galaxy_utils.data.views import NUM_VIEWS, ViewedImages
from galaxy_utils.evaluation import predict_with_tta
from galaxy_utils.evaluation.latent import neighbour_votes
from galaxy_utils.files import artifacts_folder, write_json
from galaxy_utils.models.stored_features import cache_frozen_features, fit_on_frozen_features, trained_part_alone

PROBE = "probe"
# Inverse strengths of the regularisation, and numbers of neighbours, among which the validation rows choose.
INVERSE_STRENGTHS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
NEIGHBOURS = (5, 10, 20, 40, 80)

# When every layer trains, with augmentation and without anything chosen on a validation set. The learning rate was
# chosen from 3e-4 and 1e-3 on one fold of 799 real images, divided otherwise than the folds on which this program
# compares it with paper 1's recipe.
FINE_TUNING = gu.recipes.COMPACT_CNN.replace(
    name="fine_tuning", epochs=40, learning_rate=1e-3, source="this book, chapter 7"
)
# Before it, paper 1's transfer learning in the careful order: a head with random weights would send large, meaningless
# gradients into the layers below it, so it is trained alone until it has something to say.
HEAD_FIRST = FINE_TUNING.replace(name="head_first", epochs=30)


def linear_probe(views, labels, fold, num_classes):
    """Fit logistic regression to features, shape (n, views, numbers); return its answers to the test rows."""
    examples, targets = np.concatenate(views[fold.train]), np.repeat(labels[fold.train], views.shape[1])
    scaler = StandardScaler().fit(examples)
    examples = scaler.transform(examples)
    classifier = LogisticRegression(max_iter=3000, warm_start=True)

    def answers(rows):
        found = np.zeros((len(rows), num_classes))
        single = classifier.predict_proba(scaler.transform(np.concatenate(views[rows])))
        found[:, classifier.classes_] = single.reshape(len(rows), views.shape[1], -1).mean(axis=1)
        return found

    def fitted(strength):
        with threadpool_limits(limits=1):  # Several threads spend the solver's many small products waiting.
            classifier.set_params(C=strength).fit(examples, targets)
        return answers(fold.validation), answers(fold.test)

    return _best({strength: fitted(strength) for strength in INVERSE_STRENGTHS}, labels[fold.validation])


def nearest_neighbours(views, labels, fold, num_classes):
    """Let the training galaxies vote whose features, averaged over their views, are nearest in direction."""
    averaged = views.mean(axis=1)
    averaged = (averaged - averaged[fold.train].mean(axis=0)) / np.maximum(averaged[fold.train].std(axis=0), 1e-12)
    averaged /= np.maximum(np.linalg.norm(averaged, axis=1, keepdims=True), 1e-12)

    def voted(number, rows):
        settings = {"neighbours": number, "num_classes": num_classes}
        votes = neighbour_votes(averaged[fold.train], labels[fold.train], averaged[rows], **settings)
        # One voter more has the opinion of the class shares: it breaks ties and keeps probabilities from zero.
        counts = np.bincount(labels[fold.train], minlength=num_classes) + 1 / num_classes
        return (number * votes + counts / counts.sum()) / (number + 1)

    votes = {number: (voted(number, fold.validation), voted(number, fold.test)) for number in NEIGHBOURS}
    return _best(votes, labels[fold.validation])


def _best(answers, labels):
    """Return the setting whose answers have the lowest validation loss, and its answers to the test rows."""
    losses = {
        setting: -np.log(np.clip(validation[np.arange(len(labels)), labels], 1e-7, 1)).mean()
        for setting, (validation, _) in answers.items()
    }
    setting = min(losses, key=losses.get)
    return setting, answers[setting][1]


# What each variant does. `title` is its name in the book, `kind` decides about the procedure; the rest are settings.
VARIANTS = {
    PROBE: {"title": "linear probe", "kind": "features", "classify": linear_probe, "views": 1},
    "probe-8": {"title": "linear probe, eight views", "kind": "features", "classify": linear_probe, "views": NUM_VIEWS},
    "neighbours": {
        "title": "nearest neighbours, eight views",
        "kind": "features",
        "classify": nearest_neighbours,
        "views": NUM_VIEWS,
    },
    # Paper 1 compares its fine-tuned network with one that is not: the same head, trained by the same recipe.
    "paper-head-only": {"title": "paper's recipe, head only", "kind": "frozen", "trainable_layers": 0},
    "paper": {"title": "paper's recipe, last 20 layers", "kind": "frozen", "trainable_layers": 20},
    # A few hundred images make few steps: the same with larger ones.
    "paper-rate-1e-4": {
        "title": "paper's recipe, rate 1e-4",
        "kind": "frozen",
        "trainable_layers": 20,
        "learning_rate": 1e-4,
    },
    "paper-rate-1e-3": {
        "title": "paper's recipe, rate 1e-3",
        "kind": "frozen",
        "trainable_layers": 20,
        "learning_rate": 1e-3,
    },
    "paper-two-stages": {
        "title": "paper's recipe, head first",
        "kind": "frozen",
        "trainable_layers": 20,
        "head_first": True,
    },
    "fine-tuning": {"title": "all layers, with augmentation", "kind": "whole"},
    # What could be wrong with fine-tuning, one thing at a time.
    "fine-tuning-slow-statistics": {"title": "slow batch statistics", "kind": "whole", "momentum": 0.999},
    "fine-tuning-no-head-first": {"title": "head not trained first", "kind": "whole", "head_first": False},
    "fine-tuning-rate-1e-4": {"title": "learning rate 1e-4", "kind": "whole", "learning_rate": 1e-4},
    "fine-tuning-rate-3e-4": {"title": "learning rate 3e-4", "kind": "whole", "learning_rate": 3e-4},
    "fine-tuning-flips-only": {"title": "only flips and turns", "kind": "whole", "rotation": 0, "zoom": 0, "shift": 0},
    "fine-tuning-last-100": {"title": "last 100 layers only", "kind": "whole", "trainable_layers": 100},
    "fine-tuning-random-start": {
        "title": "random weights at the start",
        "kind": "whole",
        "weights": None,
        "head_first": False,
        "learning_rate": 1e-3,
    },
}


class Experiment:
    """Everything that the folds of all variants share."""

    def __init__(self, options):
        self.options = options
        self.galaxies = gu.load(options.real_folder)
        self.folds, self.groups = make_folds(self.galaxies, options.folds, options.seed)
        self.prepared = gu.prepare(self.galaxies, options.image_size, options.crop_fraction)
        tag = f"{options.backbone}_{options.image_size}_{options.crop_fraction}_seed{options.seed}"
        if Path(options.weights).is_file():
            tag += f"_{zlib.crc32(Path(options.weights).read_bytes()):08x}"
        self.checkpoints = artifacts_folder() / "transfer" / tag
        self.computing_seconds = {}

    def features(self, network, galaxies):
        """Return stored features, and how long computing them took when this program did it."""
        started = time.perf_counter()
        features = cache_frozen_features(network, galaxies, progress=False)
        # Every fold that uses them is charged for them.
        seconds = self.computing_seconds.setdefault(features.fingerprint, time.perf_counter() - started)
        return features, seconds

    def network(self, trainable_layers, weights="given", augmentation=None, momentum=0.9):
        """Build the network; `weights` may be another one, whose place it takes."""
        return gu.models.backbone_classifier(
            self.options.backbone,
            self.options.image_size,
            self.galaxies.num_classes,
            weights=self.options.weights if isinstance(weights, str) and weights == "given" else weights,
            trainable_layers=trainable_layers,
            batch_statistics_momentum=momentum,
            augmentation=augmentation,
            seed=self.options.seed,
        )

    def recipe(self, recipe, learning_rate=None):
        """Return a recipe with another learning rate, if given, and no more epochs than the command line allows."""
        epochs = recipe.epochs if self.options.epochs is None else min(recipe.epochs, self.options.epochs)
        return recipe.replace(epochs=epochs, learning_rate=learning_rate or recipe.learning_rate)

    def head_first(self, fold, number, flips, folder, weights="given"):
        """Train the head on the frozen backbone; return the network."""
        first = self.network(0, weights, gu.augmentation.RandomDihedral(self.options.seed) if flips else None)
        recipe = self.recipe(HEAD_FIRST)
        checkpoint = self.checkpoints / folder / f"head_{recipe.epochs}_fold_{number}.npz"
        # What is flipped anew in each epoch has no features to store.
        train = gu.fit if flips else fit_on_frozen_features
        run = train(first, self.prepared, fold, recipe, seed=self.options.seed, checkpoint=checkpoint, progress=False)
        return first, run.seconds

    def run_fold(self, name, number):
        """Return the answers to a fold, those with eight views, the seconds of training, and what else to note."""
        settings = {key: value for key, value in VARIANTS[name].items() if key != "title"}
        procedure = {"features": self.run_features, "frozen": self.run_frozen, "whole": self.run_whole}
        return procedure[settings.pop("kind")](name, number, **settings)

    def run_features(self, name, number, classify, views):
        """Classify the pooled features of the frozen backbone."""
        fold = hold_back_validation(self.folds[number - 1], self.galaxies, self.groups, self.options.seed)
        galaxies, network = self.prepared, self.network(0)
        turned = [
            galaxies.replace(images=ViewedImages(galaxies.images, view), fingerprint=f"{galaxies.fingerprint}_{view}")
            for view in range(views)
        ]
        features, seconds = zip(*(self.features(network, view) for view in turned), strict=True)
        started = time.perf_counter()
        arrays = np.stack([np.float32(each.images) for each in features], axis=1)
        setting, answers = classify(arrays, galaxies.labels, fold, galaxies.num_classes)
        seconds = time.perf_counter() - started + sum(seconds)
        return answers, None, seconds, {"setting": setting}

    def run_frozen(self, name, number, trainable_layers, head_first=False, learning_rate=None):
        """Train the top on stored features with paper 1's recipe, early stopping and all."""
        fold = hold_back_validation(self.folds[number - 1], self.galaxies, self.groups, self.options.seed)
        weights, seconds = self.head_first(fold, number, False, name) if head_first else ("given", 0.0)
        network = self.network(trainable_layers, weights)
        recipe = self.recipe(gu.recipes.RESNET50_FINE_TUNING, learning_rate)
        features, computing = self.features(network, self.prepared)
        run = gu.fit(
            trained_part_alone(network),
            features,
            fold,
            recipe,
            seed=self.options.seed,
            checkpoint=self.checkpoints / name / f"{recipe.epochs}_fold_{number}.npz",
            progress=False,
        )
        return *self.answers(network, fold), seconds + computing + run.seconds, {"epochs": run.epochs}

    def run_whole(
        self,
        name,
        number,
        weights="given",
        trainable_layers="all",
        head_first=True,
        momentum=0.9,
        rotation=180,
        zoom=0.2,
        shift=0.05,
        learning_rate=None,
    ):
        """Fine-tune the network as a whole, with augmentation."""
        fold, seed, seconds = self.folds[number - 1], self.options.seed, 0.0
        if head_first:
            weights, seconds = self.head_first(fold, number, True, "head", weights)
        augmentation = [gu.augmentation.RandomDihedral(seed)]
        if rotation or zoom or shift:
            augmentation.append(gu.augmentation.RandomRotationZoomShift(rotation, zoom, shift, seed))
        network = self.network(trainable_layers, weights, augmentation, momentum)
        recipe = self.recipe(FINE_TUNING, learning_rate)
        run = gu.fit(
            network,
            self.prepared,
            fold,
            recipe,
            seed=seed,
            checkpoint=self.checkpoints / name / f"{recipe.epochs}_fold_{number}.npz",
        )
        return *self.answers(network, fold), seconds + run.seconds, {"training": run.history["accuracy"][-1]}

    def answers(self, network, fold):
        """Return the answers to a fold, to the images as they are and averaged over eight views."""
        return gu.predict(network, self.prepared, fold.test), predict_with_tta(network, self.prepared, fold.test)


def main():
    """Run what was asked for, print the table, write the measured results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("real_folder", type=Path, nargs="?")
    parser.add_argument("--backbone", default="mobilenetv2")
    parser.add_argument("--weights", default="imagenet", help="'imagenet' or a file of the backbone without its top")
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--crop-fraction", type=float, default=0.5)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--only-folds", type=int, default=None, help="how many of the folds to run; all by default")
    parser.add_argument("--epochs", type=int, default=None, help="at most so many epochs in every training")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=[PROBE, "probe-8", "neighbours", "paper"])
    parser.add_argument("--list", action="store_true", help="show the variants and stop")
    parser.add_argument("--output", type=Path, default=None, help="JSON file for the results")
    options = parser.parse_args()
    if options.list:
        for name, settings in VARIANTS.items():
            shown = {key: getattr(value, "__name__", value) for key, value in settings.items()}
            print(f"{name:<32}{shown}")
        return
    if options.real_folder is None:
        parser.error("name the folder with the real images")
    experiment = Experiment(options)
    results, reference = {}, None
    for name in options.variants:
        print(name, flush=True)
        numbers = range(1, (options.only_folds or options.folds) + 1)
        answers, averaged, seconds, accuracies, notes = [], [], [], [], []
        for number in numbers:
            single, eight, taken, note = experiment.run_fold(name, number)
            test = experiment.folds[number - 1].test
            answers.append(single)
            averaged.append(eight)
            seconds.append(taken)
            notes.append(note)
            accuracies.append(accuracy(single, test, experiment.galaxies))
            views = "" if eight is None else f", eight views {accuracy(eight, test, experiment.galaxies):.3f}"
            print(
                f"  fold {number}: accuracy {accuracies[-1]:.3f}{views}, {len(test)} galaxies, {taken:.1f} s, {note}",
                flush=True,
            )
        rows = np.concatenate([experiment.folds[number - 1].test for number in numbers])
        # Features of eight views answer for all of them at once.
        best = np.concatenate(answers if averaged[0] is None else averaged)
        score = summarise(np.concatenate(answers), rows, experiment.galaxies, experiment.groups)
        with_views = summarise(best, rows, experiment.galaxies, experiment.groups)
        reference = best if reference is None else reference
        difference = compare(reference, best, rows, experiment.galaxies, experiment.groups)
        results[name] = {
            "title": VARIANTS[name]["title"],
            "folds": len(answers),
            "galaxies": len(rows),
            "accuracy_of_folds": accuracies,
            "accuracy": score.accuracy,
            "interval": list(score.intervals["accuracy"]),
            "eight_views_accuracy": None if averaged[0] is None else with_views.accuracy,
            "eight_views_interval": None if averaged[0] is None else list(with_views.intervals["accuracy"]),
            "eight_views_minus_one": None
            if averaged[0] is None
            else compare(np.concatenate(answers), best, rows, experiment.galaxies, experiment.groups),
            "seconds_of_folds": seconds,
            "notes_of_folds": notes,
            "minus_first_variant": difference,
        }
        low, high = score.intervals["accuracy"]
        print(
            f"  {score.accuracy:.3f} ({low:.3f} to {high:.3f}); with eight views where they are not part of it "
            f"{with_views.accuracy:.3f}; minus {options.variants[0]} {100 * difference[0]:+.1f} points "
            f"({100 * difference[1]:+.1f} to {100 * difference[2]:+.1f}); {np.mean(seconds):.0f} s a fold",
            flush=True,
        )
    if options.output:
        given = {key: str(value) if isinstance(value, Path) else value for key, value in vars(options).items()}
        # Neither folders of this machine nor the place of the results belong into them.
        del given["real_folder"], given["output"], given["list"]
        given["weights"] = Path(options.weights).name
        recipes = (gu.recipes.RESNET50_FINE_TUNING, HEAD_FIRST, FINE_TUNING)
        content = {
            "program": "book/measured/transfer_cross_validation.py",
            "settings": given,
            "data": {
                "name": experiment.galaxies.name,
                "galaxies": len(experiment.galaxies),
                "fingerprint": experiment.galaxies.fingerprint,
                "radius_arcsec": OVERLAP_RADIUS,
            },
            "recipes": {recipe.name: recipe.to_dict() for recipe in recipes},
            "results": results,
            **describe_machine(),
        }
        write_json(options.output, json.loads(json.dumps(content)))
        print(f"written: {options.output}")


if __name__ == "__main__":
    main()
