"""Training towards images, and towards images and labels together; networks that bring losses of their own."""

from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras import layers
from toy_galaxies import WatchedImages, toy_galaxies, toy_split

from galaxy_utils.errors import ConfigurationError
from galaxy_utils.evaluation import evaluate
from galaxy_utils.recipes import Recipe
from galaxy_utils.training import encode, fit, predict, reconstruct

# Keras' own variables still trip over NumPy's newer `copy` argument.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

QUICK = Recipe("quick", epochs=2, batch_size=32, learning_rate=3e-3, label_smoothing=0.1)
# One step with a learning rate too small to change anything: the training loss is that of the initial weights.
STANDSTILL = QUICK.replace(epochs=1, learning_rate=1e-12)


def small_networks(latent_layers=(), model_class=keras.Model, dropout=0.2):
    """Return an autoencoder and an autoencoder–classifier for 16 px and four classes, on one encoder and decoder."""
    # Every layer has a name: those that Keras makes up differ from one building to the next.
    initial = [keras.initializers.HeNormal(seed) for seed in range(4)]
    pixels = keras.Input((16, 16, 3), name="pixels")
    x = layers.Rescaling(1 / 255, name="rescale")(pixels)
    x = layers.Conv2D(8, 3, 2, padding="same", activation="relu", kernel_initializer=initial[0], name="convolution")(x)
    x = layers.Dense(6, kernel_initializer=initial[1], name="dense")(layers.Flatten(name="flatten")(x))
    for layer in latent_layers:
        x = layer(x)
    encoder = keras.Model(pixels, x, name="encoder")
    latent = keras.Input((6,), name="latent")
    x = layers.Dense(16 * 16 * 3, activation="sigmoid", kernel_initializer=initial[2], name="dense")(latent)
    decoder = keras.Model(latent, layers.Reshape((16, 16, 3), name="reshape")(x), name="decoder")
    images = keras.Input((16, 16, 3), name="images")
    vectors = encoder(images)
    noisy = layers.Dropout(dropout, seed=5, name="dropout")(vectors)
    classes = layers.Dense(4, activation="softmax", kernel_initializer=initial[3], name="classes")(noisy)
    alone = model_class(images, decoder(vectors), name="alone")
    return alone, keras.Model(images, {"reconstruction": decoder(vectors), "classification": classes}, name="joint")


def autoencoder(**options):
    return small_networks(**options)[0]


def joint(**options):
    return small_networks(**options)[1]


@keras.saving.register_keras_serializable("tests")
class Sampling(layers.Layer):
    """Adds noise, and a divergence as a loss of its own."""

    def __init__(self, weight=0.01, **options):
        super().__init__(**{"name": "sampling", **options})
        self.weight = weight
        self.generator = keras.random.SeedGenerator(9)

    def call(self, mean):
        self.add_loss(self.weight * keras.ops.mean(keras.ops.square(mean)))
        return mean + 0.1 * keras.random.normal(keras.ops.shape(mean), seed=self.generator)

    def get_config(self):
        return {**super().get_config(), "weight": self.weight}


@keras.saving.register_keras_serializable("tests")
class Doubled(keras.Model):
    """A network with its own idea of the loss."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return 2 * keras.ops.mean(keras.ops.square(y - y_pred)) + 1


def squared_error(model, galaxies, rows):
    images = galaxies.images[rows].astype(float) / 255
    outputs = model.predict(galaxies.images[rows], verbose=0)
    return ((outputs["reconstruction"] if isinstance(outputs, dict) else outputs) - images) ** 2


def variables(model):
    return [keras.ops.convert_to_numpy(variable) for variable in model.variables]


# Images as targets


def test_an_autoencoder_learns_to_give_back_its_input():
    galaxies, split, model = toy_galaxies(noise=5), toy_split(), autoencoder()
    before = squared_error(model, galaxies, split.validation).mean()
    run = fit(model, galaxies, split, QUICK.replace(epochs=8, learning_rate=1e-2), targets="images")
    assert set(run.history) == {"loss", "val_loss", "learning_rate"}
    after = squared_error(model, galaxies, split.validation).mean()
    assert run.history["val_loss"][-1] == pytest.approx(after, rel=1e-5) and after < 0.5 * before
    assert "training loss" in str(run)
    images = reconstruct(model, galaxies, split.test[::-1], batch_size=7)
    assert images.shape == (32, 16, 16, 3) and images.dtype == np.uint8
    expected = model.predict(galaxies.images[split.test[::-1]], verbose=0)
    np.testing.assert_allclose(images / 255, expected, atol=0.51 / 255)


def test_images_are_only_ever_read_a_batch_at_a_time():
    watched = WatchedImages(toy_galaxies().images)
    galaxies = toy_galaxies().replace(images=watched, fingerprint="watched")
    model = joint()
    fit(model, galaxies, toy_split(), QUICK.replace(batch_size=8, epochs=1), targets="images and labels")
    for use in (predict, encode, reconstruct):
        assert len(use(model, galaxies, np.arange(60), batch_size=8)) == 60
    assert len(watched.reads) > 20 and max(map(len, watched.reads)) == 8


def test_balanced_classes_weigh_whole_images():
    galaxies = toy_galaxies(noise=5)
    # Sixteen galaxies of 16 px: a weight per galaxy and a weight per column look alike.
    rows = np.concatenate([np.flatnonzero(galaxies.labels == 0)[:13], np.flatnonzero(galaxies.labels == 3)[:3]])
    split = SimpleNamespace(train=rows, validation=np.arange(16))
    model = autoencoder()
    errors = squared_error(model, galaxies, rows).mean(axis=(1, 2, 3))
    run = fit(model, galaxies, split, STANDSTILL.replace(balanced_classes=True), targets="images")
    balanced = (errors[:13].mean() + errors[13:].mean()) / 2
    assert abs(balanced - errors.mean()) > 1e-3
    assert run.history["loss"][0] == pytest.approx(balanced, rel=1e-5)


# Images and labels


def test_the_joint_loss_is_the_weighted_sum_of_both():
    galaxies, split, model = toy_galaxies(), toy_split(), joint()
    # The last batch holds a single galaxy, which must not count as much as the other 32 together.
    split.validation = np.arange(96, 129)
    recipe = QUICK.replace(epochs=5, reconstruction_weight=5.0, classification_weight=0.5)
    history = fit(model, galaxies, split, recipe, targets="images and labels").history
    parts = {"loss", "reconstruction_loss", "classification_loss", "accuracy"}
    assert set(history) == parts | {f"val_{name}" for name in parts} | {"learning_rate"}
    for prefix in ("", "val_"):
        weighted = 5 * np.array(history[f"{prefix}reconstruction_loss"])
        weighted += 0.5 * np.array(history[f"{prefix}classification_loss"])
        np.testing.assert_allclose(history[f"{prefix}loss"], weighted, rtol=1e-5)
    probabilities = predict(model, galaxies, split.validation)
    scores = evaluate(probabilities, galaxies.labels[split.validation], galaxies.class_names, bootstrap_samples=0)
    assert history["val_classification_loss"][-1] == pytest.approx(scores.cross_entropy, rel=1e-5)
    assert history["val_accuracy"][-1] == pytest.approx(scores.accuracy) and scores.accuracy > 0.6
    error = squared_error(model, galaxies, split.validation).mean()
    assert history["val_reconstruction_loss"][-1] == pytest.approx(error, rel=1e-5)
    np.testing.assert_allclose(
        encode(model, galaxies, split.test), model.get_layer("encoder").predict(galaxies.images[split.test], verbose=0),
        atol=1e-5,
    )  # fmt: skip


def test_a_weight_of_zero_leaves_that_half_untrained():
    galaxies, split = toy_galaxies(), toy_split()
    for field, untouched in (("reconstruction_weight", "decoder"), ("classification_weight", "classes")):
        model = joint()
        fixed = [layer for layer in model.layers if layer.name.startswith(untouched) and layer.weights]
        before = [weights for layer in fixed for weights in layer.get_weights()]
        fit(model, galaxies, split, QUICK.replace(**{field: 0}), targets="images and labels")
        after = [weights for layer in fixed for weights in layer.get_weights()]
        assert before and all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


# Losses of a network's own


def test_losses_of_layers_are_added():
    galaxies, split, model = toy_galaxies(), toy_split(), autoencoder(latent_layers=[Sampling(weight=0.5)])
    mean = keras.Model(model.get_layer("encoder").input, model.get_layer("encoder").layers[-2].output)
    divergence = 0.5 * np.square(mean.predict(galaxies.images[split.validation], verbose=0)).mean()
    run = fit(model, galaxies, split, STANDSTILL, targets="images")
    assert divergence > 0.05
    # The reconstruction is of a noisy vector, so it varies a little from call to call.
    error = squared_error(model, galaxies, split.validation).mean()
    assert run.history["val_loss"][0] == pytest.approx(error + divergence, rel=1e-2)


def test_a_network_s_own_loss_is_used():
    galaxies, split, model = toy_galaxies(), toy_split(), autoencoder(model_class=Doubled)
    run = fit(model, galaxies, split, STANDSTILL, targets="images")
    error = squared_error(model, galaxies, split.validation).mean()
    assert run.history["val_loss"][0] == pytest.approx(2 * error + 1, rel=1e-5)


def test_a_network_s_own_settings_tell_its_checkpoints_apart(tmp_path):
    galaxies, split, path = toy_galaxies(), toy_split(), tmp_path / "training.npz"
    fit(autoencoder(latent_layers=[Sampling(0.5)]), galaxies, split, QUICK, targets="images", checkpoint=path)
    for model in (autoencoder(latent_layers=[Sampling(0.6)]), autoencoder(model_class=Doubled)):
        with pytest.raises(ConfigurationError, match="network"):
            fit(model, galaxies, split, QUICK, targets="images", checkpoint=path)


# Resume, also on the other backend


class Interrupted(Exception):
    """Stops a training in the middle of an epoch."""


def interrupt():
    raise Interrupted("Interrupted")


def assert_resumes(folder):
    """A training that is interrupted in its third epoch ends as one that is not; used by both backends' tests."""
    split = SimpleNamespace(train=np.arange(64), validation=np.arange(64, 96))
    recipe = QUICK.replace(epochs=4, clip_norm=1.0, restore_best_weights=True, balanced_classes=True)
    builds = {"images and labels": joint}
    if keras.backend.backend() == "tensorflow":  # JAX compiles for long; `test_training.py` has a classifier alone.
        builds["images"] = lambda: autoencoder(latent_layers=[Sampling()])
    for targets, build in builds.items():
        watched = WatchedImages(toy_galaxies(96).images)
        galaxies = toy_galaxies(96).replace(images=watched, fingerprint="watched")
        undisturbed, checkpoint = build(), Path(folder) / f"{targets}.npz"
        whole = fit(undisturbed, galaxies, split, recipe, targets=targets, progress=False)
        # Three reads an epoch: 2 of training, 1 of validation. Stop at the second read of the third epoch.
        watched.reads, watched.at_read, watched.action = [], len(watched.reads) - 3 * 2 + 2, interrupt
        with pytest.raises(Exception, match="Interrupted"):  # TensorFlow wraps it in an error of its own.
            fit(build(), galaxies, split, recipe, targets=targets, checkpoint=checkpoint, progress=False)
        watched.at_read, model = None, build()
        resumed = fit(model, galaxies, split, recipe, targets=targets, checkpoint=checkpoint, progress=False)
        assert resumed.resumed_from == 2
        assert resumed.history == whole.history and whole.history["loss"][-1] < whole.history["loss"][0]
        for one, two in zip(variables(model), variables(undisturbed), strict=True):
            np.testing.assert_array_equal(one, two)
    assert reconstruct(model, galaxies, np.arange(3)).dtype == np.uint8
    assert keras.backend.backend() in str(folder)


def test_an_interrupted_training_ends_as_an_undisturbed_one(tmp_path):
    folder = tmp_path / keras.backend.backend()
    folder.mkdir()
    assert_resumes(folder)


# What is refused


@pytest.fixture(scope="module")
def refusing():
    """Both kinds of networks, built once."""
    return dict(zip(("alone", "joint"), small_networks(), strict=True))


class Wordless(keras.Model):
    """A network that does not say what it takes."""


@pytest.mark.parametrize(
    "use, named",
    [
        (lambda n: fit(n["alone"], toy_galaxies(), toy_split(), QUICK), r"expected: .*\(4,\)"),
        (lambda n: fit(n["joint"], toy_galaxies(), toy_split(), QUICK), "'reconstruction': .*'classification': "),
        (lambda n: fit(n["joint"], toy_galaxies(), toy_split(), QUICK, targets="images"), "other targets"),
        (
            lambda n: fit(n["alone"], toy_galaxies(), toy_split(), QUICK, targets="images and labels"),
            "'classification'",
        ),
        (lambda n: fit(n["alone"], toy_galaxies(side=20), toy_split(), QUICK, targets="images"), "at 16 px"),
        (lambda n: fit(Wordless(), toy_galaxies(), toy_split(), QUICK), "inputs and outputs"),
        (lambda n: predict(n["alone"], toy_galaxies(), [1]), "num_classes=4"),
        (lambda n: reconstruct(n["alone"], toy_galaxies(side=20), [1]), "at 16 px"),
        (lambda n: encode(n["joint"].get_layer("decoder"), toy_galaxies(), [1]), "shape|size"),
        (lambda n: encode(n["joint"].get_layer("encoder"), toy_galaxies(), [1]), "No such layer: encoder"),
    ],
)
def test_networks_that_do_not_fit_the_targets_are_refused(refusing, use, named):
    with pytest.raises(ValueError, match=named):
        use(refusing)
