"""The super-resolution network: how it is counted, what it keeps, what its losses are, and what it refuses."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
from toy_galaxies import toy_galaxies, toy_split

import galaxy_utils as gu
from galaxy_utils.augmentation import super_resolution_gan, upscale
from galaxy_utils.augmentation.super_resolution import DepthToSpace
from galaxy_utils.data.prepare import area_average
from galaxy_utils.errors import DataError
from galaxy_utils.evaluation.resolution import enlarge_bicubic

# Keras' own variables still trip over NumPy's newer `copy` argument.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

RECIPE = gu.Recipe("test", 4, 8, 3e-3, learning_rate_schedule="cosine")
PIXELS = {"feature_layer": "block_4_convolution", "feature_weight": 0, "adversarial_weight": 0}


@pytest.fixture(scope="module")
def galaxies():
    return toy_galaxies(side=32, noise=5)


@pytest.fixture(scope="module")
def split():
    """Rows alone: with so little noise, these galaxies would count as copies of one another."""
    return toy_split()


@pytest.fixture(scope="module")
def classifier():
    return gu.models.four_block_cnn(32, 4, pooling="average")


def build(classifier, **options):
    return super_resolution_gan(32, classifier, **{"feature_layer": "block_4_convolution", **options})


def with_random_weights(generator):
    random = np.random.default_rng(1)
    generator.set_weights([random.normal(0, 0.1, weights.shape) for weights in generator.get_weights()])
    return generator


def test_eight_and_nine_layers(classifier):
    model = build(classifier)
    for part, expected in ((model.generator, 8), (model.discriminator, 9)):
        assert sum(bool(layer.trainable_weights) for layer in part.layers) == expected


def test_four_channels_of_a_pixel_become_two_by_two_pixels():
    found = np.asarray(DepthToSpace()(np.arange(8.0).reshape(1, 1, 2, 4)))[0, ..., 0]
    np.testing.assert_array_equal(found, [[0, 1, 4, 5], [2, 3, 6, 7]])


def test_untrained_it_is_the_bicubic_image(galaxies, split, classifier):
    small = area_average(galaxies.images[split.test], 16)
    difference = upscale(build(classifier, **PIXELS), small).astype(int) - enlarge_bicubic(small)
    assert np.abs(difference).mean() < 3


def test_the_small_image_is_kept_whatever_the_weights_are(classifier):
    small = np.random.default_rng(1).random((3, 16, 20, 3), np.float32)
    large = np.asarray(with_random_weights(build(classifier).generator)(small))
    assert np.std(large) > 1.5 * np.std(small)
    np.testing.assert_allclose(large.reshape(3, 16, 2, 20, 2, 3).mean(axis=(2, 4)), small, atol=1e-4)


def test_the_noise_is_new_in_training_and_the_same_afterwards(classifier):
    noise = build(classifier).generator.get_layer("noise")
    even = np.full((2, 32, 32, 3), 0.1, np.float32)
    fixed = [np.asarray(noise(even)) for _ in range(2)]
    np.testing.assert_array_equal(*fixed)
    np.testing.assert_array_equal(fixed[0][..., :3], even)
    # Every pixel of every image gets numbers of its own: equal ones would be a pattern.
    assert len(np.unique(fixed[0][..., 3:])) > 0.99 * fixed[0][..., 3:].size
    first, second = (np.asarray(noise(even, training=True))[..., 3:].ravel() for _ in range(2))
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.1


def test_it_learns_to_beat_the_bicubic_image_and_goes_on_from_a_checkpoint(galaxies, split, classifier, tmp_path):
    def trained():
        model = build(classifier, **PIXELS)
        gu.fit(model, galaxies, split, RECIPE, targets="images", checkpoint=tmp_path / "sr.npz", progress=False)
        return gu.reconstruct(model, galaxies, split.test)

    restored, originals = trained(), galaxies.images[split.test]
    bicubic = enlarge_bicubic(area_average(originals, 16))
    errors = [np.mean((images - originals.astype(float)) ** 2) for images in (bicubic, restored)]
    assert errors[1] < 0.95 * errors[0]
    np.testing.assert_array_equal(trained(), restored)


def test_each_loss_reaches_the_weights_that_it_is_meant_for(galaxies, classifier):
    import tensorflow as tf

    model = build(classifier, feature_weight=0.5, adversarial_weight=0.25)
    # With a last layer at zero nothing but that layer would have a gradient.
    with_random_weights(model.generator)
    batch = galaxies.images[:8].astype(np.float32)
    with tf.GradientTape(persistent=True) as tape:
        made = model(batch)
        together = model.compute_loss(None, batch / 255, made)
        found = {name: mean.result() for name, mean in model.means.items()}
        wanted = model.features(batch)
        features = tf.reduce_mean((model.features(255 * made) - wanted) ** 2) / (np.var(wanted) + 1e-6)
        pixels = tf.reduce_mean((batch / 255 - made) ** 2)
        of_generator = pixels + 0.5 * features + 0.25 * tf.reduce_mean(tf.nn.softplus(-model.discriminator(made)))
        real, fake = model.discriminator(batch / 255), model.discriminator(tf.stop_gradient(made))
        of_discriminator = tf.reduce_mean(tf.nn.softplus(-real) + tf.nn.softplus(fake))
    assert float(together) == pytest.approx(float(of_generator + of_discriminator), rel=1e-4)
    assert float(found["pixel_loss"]) == pytest.approx(float(pixels), rel=1e-4)
    for part, own in ((model.generator, of_generator), (model.discriminator, of_discriminator)):
        values = [weight.value for weight in part.trainable_weights]
        for a, b in zip(tape.gradient(together, values), tape.gradient(own, values), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
    # The caller's classifier stays as trainable as it was, and its copy is not trained.
    assert all(layer.trainable for layer in classifier.layers)
    trained = {id(weight) for weight in model.trainable_weights}
    assert trained == {id(w) for part in (model.generator, model.discriminator) for w in part.trainable_weights}


def test_all_losses_train_together(galaxies, split, classifier):
    model = build(classifier)
    run = gu.fit(model, galaxies, split, RECIPE.replace(epochs=1), targets="images", progress=False)
    for name in ("pixel_loss", "feature_loss", "discriminator_loss", "generator_loss", "ranking_accuracy"):
        assert np.isfinite(run.history[name]).all() and np.isfinite(run.history[f"val_{name}"]).all()


def test_what_is_not_a_number_is_no_image(classifier):
    model = build(classifier)
    model.generator.set_weights([np.full_like(array, np.nan) for array in model.generator.get_weights()])
    with pytest.raises(DataError, match="not a number"):
        upscale(model, np.zeros((2, 16, 16, 3), np.uint8))


@pytest.mark.parametrize(
    "options, named",
    [
        ({"image_size": 40}, "multiple of 16(.|\n)*found: 40"),
        ({"image_size": 48}, "another size"),
        ({"feature_weight": -1}, "found: -1"),
        ({"adversarial_weight": np.nan}, "found: nan"),
        ({"feature_layer": "none"}, "No such layer: none"),
    ],
)
def test_what_cannot_be_built_is_refused(options, named, classifier):
    with pytest.raises(ValueError, match=named):
        super_resolution_gan(**{"image_size": 32, "feature_network": classifier, **PIXELS, **options})


def test_a_last_batch_of_one_galaxy_counts_as_one(galaxies, classifier):
    """Keras' own average of the whole loss is one over galaxies; the history's parts add up to it."""
    model, rows = build(classifier, feature_weight=0.5, adversarial_weight=0.25), np.arange(9)
    run = gu.fit(
        model, galaxies, SimpleNamespace(train=rows, validation=rows), RECIPE.replace(epochs=1), targets="images",
        progress=False,
    )  # fmt: skip
    parts = {name: values[-1] for name, values in run.history.items() if name.startswith("val_")}
    weights = {"pixel_loss": 1, "feature_loss": 0.5, "generator_loss": 0.25, "discriminator_loss": 1}
    total = sum(weight * parts[f"val_{name}"] for name, weight in weights.items())
    assert total == pytest.approx(parts["val_loss"], rel=1e-4)


def test_mixed_precision_trains(galaxies, split):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = build(gu.models.four_block_cnn(32, 4, pooling="average"))
        sampling = gu.augmentation.variational_autoencoder(256).get_layer("sample_latent")
    finally:
        keras.config.set_dtype_policy("float32")
    run = gu.fit(model, galaxies, split, RECIPE.replace(epochs=1), targets="images", progress=False)
    assert np.isfinite(run.history["loss"]).all()
    # The weight of the divergence is too small for 16 bits.
    statistics = np.concatenate([np.ones((1, 64)), np.zeros((1, 64))], axis=1)
    sampling(statistics)
    assert float(sampling.losses[0]) == pytest.approx(sampling.divergence_weight * 32, rel=1e-4)
