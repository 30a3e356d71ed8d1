"""The autoencoder-classifier of paper 1: its shapes, its seeds, and its twin without a decoder."""

import keras
import numpy as np
import pytest
from toy_galaxies import toy_galaxies, toy_split

from galaxy_utils.errors import ConfigurationError
from galaxy_utils.models import encoder_classifier, joint_autoencoder_classifier
from galaxy_utils.recipes import JOINT_AUTOENCODER
from galaxy_utils.training import encode, fit, predict, reconstruct

SHORT = JOINT_AUTOENCODER.replace(epochs=2, batch_size=32)


def test_the_shapes_are_those_of_figure_4():
    model = joint_autoencoder_classifier(256)
    shapes = {layer.name: tuple(layer.output.shape[1:]) for layer in model.get_layer("encoder").layers}
    assert shapes["convolution_1"][:2] == (128, 128)
    assert (shapes["convolution_2"], shapes["convolution_3"]) == ((64, 64, 64), (32, 32, 128))
    assert shapes["latent_vector"] == (128,)
    assert model.get_layer("dense").units == 256
    assert model.get_layer("decoder").layers[-1].activation is keras.activations.sigmoid


@pytest.mark.parametrize("size", [16, 48])
def test_images_come_back_in_their_size(size):
    model = joint_autoencoder_classifier(size, num_classes=4, latent_dim=7)
    images = np.random.default_rng(1).integers(0, 256, (2, size, size, 3), dtype=np.uint8)
    outputs = model.predict_on_batch(images)
    assert outputs["reconstruction"].shape == (2, size, size, 3)
    np.testing.assert_allclose(outputs["classification"].sum(axis=1), 1, atol=1e-5)
    vectors = model.get_layer("encoder").predict_on_batch(images)
    assert vectors.shape == (2, 7)
    decoded = model.get_layer("decoder").predict_on_batch(vectors)
    np.testing.assert_allclose(decoded, outputs["reconstruction"], atol=1e-5)


def test_outputs_stay_float32_under_mixed_precision():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = joint_autoencoder_classifier(16, num_classes=4)
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.get_layer("encoder").get_layer("convolution_1").compute_dtype == "float16"
    assert {output.dtype for output in model.output.values()} == {"float32"}


def test_without_weight_on_the_reconstruction_the_decoder_might_as_well_be_missing():
    """The comparison of chapter 5 rests on this: both start alike, see the same and draw the same random numbers."""
    galaxies, split = toy_galaxies(), toy_split()
    alone, joint = encoder_classifier(16, 4), joint_autoencoder_classifier(16, 4)
    assert not np.array_equal(alone.get_weights()[0], encoder_classifier(16, 4, seed=2).get_weights()[0])
    np.testing.assert_array_equal(predict(alone, galaxies, [0, 1]), predict(joint, galaxies, [0, 1]))
    first = fit(alone, galaxies, split, SHORT)
    second = fit(joint, galaxies, split, SHORT.replace(reconstruction_weight=0), targets="images and labels")
    np.testing.assert_allclose(first.history["val_loss"], second.history["val_loss"], rtol=1e-5)
    np.testing.assert_allclose(first.history["loss"], second.history["classification_loss"], rtol=1e-5)


def test_both_tasks_are_learned():
    galaxies, split = toy_galaxies(noise=20), toy_split()
    model = joint_autoencoder_classifier(16, 4, latent_dim=8)
    recipe = SHORT.replace(epochs=12, batch_size=16, reconstruction_weight=100.0)
    history = fit(model, galaxies, split, recipe, targets="images and labels").history
    average = galaxies.images[split.train].mean(axis=0)
    of_average = np.mean(((galaxies.images[split.validation] - average) / 255) ** 2)
    assert history["val_reconstruction_loss"][-1] < 0.7 * of_average and history["accuracy"][-1] > 0.8
    assert encode(model, galaxies, [3, 5]).shape == (2, 8)
    assert reconstruct(model, galaxies, [3, 5]).shape == (2, 16, 16, 3)


@pytest.mark.parametrize("options", [{"latent_dim": 0}, {"image_size": 50}, {"num_classes": 1}, {"dropout": 1.0}])
def test_what_cannot_work_is_refused_by_name(options):
    (name, value), *_ = options.items()
    with pytest.raises(ConfigurationError, match=f"(?s){name}.*{value}"):
        encoder_classifier(**{"image_size": 32, **options})
