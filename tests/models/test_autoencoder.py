"""The autoencoder-classifier of paper 1: its shapes, its seeds, and its twin without a decoder."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from toy_galaxies import toy_galaxies, toy_split

from galaxy_utils.errors import ConfigurationError
from galaxy_utils.models import encoder_classifier, joint_autoencoder_classifier
from galaxy_utils.recipes import JOINT_AUTOENCODER
from galaxy_utils.training import encode, fit, predict, reconstruct

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SHORT = JOINT_AUTOENCODER.replace(epochs=2, batch_size=32)


def test_the_shapes_are_those_of_figure_4():
    model = joint_autoencoder_classifier(256)
    shapes = {layer.name: tuple(layer.output.shape[1:]) for layer in model.get_layer("encoder").layers}
    assert shapes["convolution_1"][:2] == (128, 128)
    assert (shapes["convolution_2"], shapes["convolution_3"]) == ((64, 64, 64), (32, 32, 128))
    assert shapes["latent_vector"] == (128,)
    assert model.get_layer("dense").units == 256
    assert model.get_layer("decoder").layers[-1].activation is keras.activations.sigmoid


@pytest.mark.parametrize("size", [16, 32, 64, 128, 256])
def test_images_come_back_in_their_size(size):
    model = joint_autoencoder_classifier(size, num_classes=4, latent_dim=7)
    images = np.random.default_rng(1).integers(0, 256, (2, size, size, 3), dtype=np.uint8)
    outputs = model.predict_on_batch(images)
    assert outputs["reconstruction"].shape == (2, size, size, 3)
    assert 0 <= outputs["reconstruction"].min() < outputs["reconstruction"].max() <= 1
    np.testing.assert_allclose(outputs["classification"].sum(axis=1), 1, atol=1e-5)
    vectors = model.get_layer("encoder").predict_on_batch(images)
    assert vectors.shape == (2, 7)
    drawn = model.get_layer("decoder").predict_on_batch(vectors)
    np.testing.assert_allclose(drawn, outputs["reconstruction"], atol=1e-5)


def test_outputs_stay_float32_under_mixed_precision():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = joint_autoencoder_classifier(16, num_classes=4)
    finally:
        keras.config.set_dtype_policy(before)
    assert model.get_layer("encoder").get_layer("convolution_1").compute_dtype == "float16"
    assert {output.dtype for output in model.output.values()} == {"float32"}


def test_the_seed_decides_the_initial_weights_whatever_was_built_before():
    first = joint_autoencoder_classifier(16, seed=3).get_weights()
    keras.random.SeedGenerator()
    second = joint_autoencoder_classifier(16, seed=3).get_weights()
    other = joint_autoencoder_classifier(16, seed=4).get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_without_weight_on_the_reconstruction_the_decoder_might_as_well_be_missing():
    """The comparison of chapter 5 rests on this: both start alike, see the same and draw the same random numbers."""
    galaxies, split = toy_galaxies(), toy_split()
    alone, joint = encoder_classifier(16, 4), joint_autoencoder_classifier(16, 4)
    np.testing.assert_array_equal(predict(alone, galaxies, [0, 1]), predict(joint, galaxies, [0, 1]))
    first = fit(alone, galaxies, split, SHORT)
    second = fit(joint, galaxies, split, SHORT.replace(reconstruction_weight=0), targets="images and labels")
    np.testing.assert_allclose(first.history["val_loss"], second.history["val_loss"], rtol=1e-5)
    np.testing.assert_allclose(first.history["loss"], second.history["classification_loss"], rtol=1e-5)
    np.testing.assert_allclose(
        predict(alone, galaxies, split.test), predict(joint, galaxies, split.test), rtol=1e-3, atol=1e-5
    )


def test_both_tasks_are_learned():
    galaxies, split = toy_galaxies(noise=20), toy_split()
    model = joint_autoencoder_classifier(16, 4, latent_dim=8)
    recipe = SHORT.replace(epochs=20, batch_size=16, reconstruction_weight=100.0)
    history = fit(model, galaxies, split, recipe, targets="images and labels").history
    average = galaxies.images[split.train].mean(axis=0)
    of_average = np.mean(((galaxies.images[split.validation] - average) / 255) ** 2)
    assert history["val_reconstruction_loss"][-1] < 0.7 * of_average
    assert history["accuracy"][-1] > 0.8
    assert encode(model, galaxies, [3, 5]).shape == (2, 8)
    assert reconstruct(model, galaxies, [3, 5]).shape == (2, 16, 16, 3)


@pytest.mark.parametrize("build", [joint_autoencoder_classifier, encoder_classifier])
@pytest.mark.parametrize(
    "options, named",
    [
        ({"latent_dim": 0}, "latent_dim(.|\n)*0"),
        ({"latent_dim": 2.5}, "2.5"),
        ({"image_size": 50}, "48 or 64"),
        ({"image_size": 8}, "at least 16"),
        ({"image_size": "64"}, "'64'"),
        ({"num_classes": 1}, "num_classes"),
        ({"dropout": 1.0}, "dropout"),
        ({"dropout": -0.1}, "-0.1"),
        ({"seed": -1}, "seed"),
    ],
)
def test_what_cannot_work_is_refused_by_name(build, options, named):
    with pytest.raises(ConfigurationError, match=named):
        build(**{"image_size": 32, **options})


def test_images_of_another_size_are_refused():
    with pytest.raises(ConfigurationError, match="prepare the dataset at 32 px"):
        fit(joint_autoencoder_classifier(32, 4), toy_galaxies(), toy_split(), SHORT, targets="images and labels")


ON_JAX = """
import keras, numpy as np
from types import SimpleNamespace
from toy_galaxies import toy_galaxies
from galaxy_utils.models import joint_autoencoder_classifier
from galaxy_utils.recipes import JOINT_AUTOENCODER
from galaxy_utils.training import fit

assert keras.backend.backend() == "jax"
model = joint_autoencoder_classifier(16, 4)
before = [weights.copy() for weights in model.get_weights()]
split = SimpleNamespace(train=np.arange(16), validation=np.arange(16, 32))
recipe = JOINT_AUTOENCODER.replace(epochs=1, batch_size=16)
run = fit(model, toy_galaxies(32), split, recipe, targets="images and labels")
changed = [not np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True)]
assert all(changed), changed
assert np.isfinite(run.history["val_reconstruction_loss"]).all()
"""


def test_a_step_on_jax_moves_every_weight(monkeypatch):
    pytest.importorskip("jax")
    tests = Path(__file__).parents[1]
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setenv("PYTHONPATH", f"{tests}:{tests.parent}")
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")  # Compiling takes longer than the step.
    child = subprocess.run([sys.executable, "-c", ON_JAX], capture_output=True, text=True, timeout=180, check=False)
    assert child.returncode == 0, child.stderr
