"""The super-resolution network: how it is counted, what it learns, what its losses are, and what it refuses."""

import keras
import numpy as np
import pytest
from toy_galaxies import toy_galaxies

import galaxy_utils as gu
from galaxy_utils.augmentation import super_resolution_gan, upscale
from galaxy_utils.augmentation._super_resolution_model import LostDetail
from galaxy_utils.errors import ConfigurationError
from galaxy_utils.evaluation.resolution import enlarge_bicubic, halve, peak_signal_to_noise

# Keras' own variables still trip over NumPy's newer `copy` argument.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

RECIPE = gu.Recipe("test", 10, 8, 3e-3, learning_rate_schedule="cosine")
PIXELS_ALONE = {"feature_weight": 0, "adversarial_weight": 0}


@pytest.fixture(scope="module")
def galaxies():
    return toy_galaxies(side=32, noise=5)


@pytest.fixture(scope="module")
def classifier():
    return gu.models.four_block_cnn(32, 4, pooling="average")


def layers_with_weights(model):
    return [layer for layer in model.layers if isinstance(layer, (keras.layers.Conv2D, keras.layers.Dense))]


def test_eight_and_nine_layers(classifier):
    model = super_resolution_gan(32, classifier)
    for part, expected in ((model.generator, 8), (model.discriminator, 9)):
        counted = layers_with_weights(part)
        assert len(counted) == expected
        # Nothing else has weights.
        assert all(layer in counted or not layer.trainable_weights for layer in part.layers)


def test_it_starts_from_the_bicubic_image(galaxies, split):
    model = super_resolution_gan(32, **PIXELS_ALONE)
    small = halve(galaxies.images[split.test])
    difference = upscale(model, small).astype(int) - enlarge_bicubic(small)
    assert np.abs(difference).mean() < 3


def test_the_small_image_is_kept_whatever_the_weights_are(classifier):
    generator = super_resolution_gan(32, classifier).generator
    random = np.random.default_rng(1)
    generator.set_weights([random.normal(0, 0.1, weights.shape) for weights in generator.get_weights()])
    small = random.random((3, 16, 20, 3), np.float32)
    large = np.asarray(generator(small))
    assert np.std(large) > 1.5 * np.std(small)
    np.testing.assert_allclose(large.reshape(3, 16, 2, 20, 2, 3).mean(axis=(2, 4)), small, atol=1e-4)


def test_even_sky_stays_even_whatever_the_weights_are():
    generator = super_resolution_gan(32, **PIXELS_ALONE).generator
    random = np.random.default_rng(1)
    generator.set_weights([random.normal(0, 0.1, weights.shape) for weights in generator.get_weights()])
    # Far from the edge, where the padding is seen, nothing tells one pixel from the next.
    large = np.asarray(generator(np.full((1, 40, 40, 3), 0.1, np.float32)))[0, 30:-30, 30:-30]
    np.testing.assert_allclose(large, 0.1, atol=1e-5)


def test_the_discriminator_sees_what_halving_loses():
    smooth = np.repeat(np.repeat(np.random.default_rng(1).random((2, 4, 4, 3), np.float32), 2, axis=1), 2, axis=2)
    chequered = smooth + 0.01 * (-1) ** np.indices((8, 8)).sum(axis=0)[..., None].astype(np.float32)
    for images, lost in ((smooth, 0), (chequered, 0.1)):
        shown = np.asarray(LostDetail()(images))
        np.testing.assert_allclose(shown[..., :3], images)
        np.testing.assert_allclose(np.abs(shown[..., 3:]), lost, atol=1e-4)


def test_the_grain_is_new_in_training_and_steady_afterwards(classifier):
    grain = super_resolution_gan(32, classifier).generator.get_layer("grain")
    even = np.full((2, 32, 32, 3), 0.1, np.float32)
    steady = [np.asarray(grain(even)) for _ in range(2)]
    np.testing.assert_array_equal(*steady)
    np.testing.assert_array_equal(steady[0][..., :3], even)
    numbers = steady[0][..., 3:]
    # Every pixel of every image gets numbers of its own: equal ones would be a pattern.
    assert len(np.unique(numbers)) > 0.99 * numbers.size and numbers.std() == pytest.approx(1, abs=0.05)
    first, second = (np.asarray(grain(even, training=True))[..., 3:] for _ in range(2))
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.1
    without = super_resolution_gan(32, classifier, adversarial_weight=0)
    assert "grain" not in [layer.name for layer in without.generator.layers]


def test_it_learns_to_beat_the_bicubic_image_and_goes_through_fit(galaxies, split, tmp_path):
    model = super_resolution_gan(32, **PIXELS_ALONE)
    run = gu.fit(model, galaxies, split, RECIPE, targets="images", checkpoint=tmp_path / "sr.npz", progress=False)
    originals = galaxies.images[split.test]
    bicubic = peak_signal_to_noise(originals, enlarge_bicubic(halve(originals))).mean()
    restored = gu.reconstruct(model, galaxies, split.test)
    assert peak_signal_to_noise(originals, restored).mean() > bicubic + 0.2
    np.testing.assert_allclose(restored, upscale(model, halve(originals)), atol=3)
    assert set(run.history) >= {"pixel_loss", "val_pixel_loss"} and "feature_loss" not in run.history
    again = super_resolution_gan(32, **PIXELS_ALONE)
    gu.fit(again, galaxies, split, RECIPE, targets="images", checkpoint=tmp_path / "sr.npz", progress=False)
    np.testing.assert_array_equal(gu.reconstruct(again, galaxies, split.test), restored)


def test_the_loss_is_the_weighted_sum_and_freezes_the_feature_network(galaxies, classifier):
    import tensorflow as tf

    weights = {"pixel_weight": 2.0, "feature_weight": 0.5, "adversarial_weight": 0.25}
    model = super_resolution_gan(32, classifier, **weights)
    images = keras.ops.convert_to_tensor(galaxies.images[:8].astype(np.float32) / 255)
    made = model(galaxies.images[:8].astype(np.float32))
    loss = float(model.compute_loss(None, images, made))
    found = {name: float(mean.result()) for name, mean in model.means.items()}
    expected = 2 * found["pixel_loss"] + 0.5 * found["feature_loss"] + 0.25 * found["generator_loss"]
    assert loss == pytest.approx(expected + found["discriminator_loss"], rel=1e-5)
    assert found["pixel_loss"] == pytest.approx(float(np.mean((np.asarray(images) - np.asarray(made)) ** 2)), rel=1e-4)
    # The caller's classifier stays as trainable as it was, and its copy is not trained.
    assert classifier.trainable and all(layer.trainable for layer in classifier.layers)
    trained = {id(weight) for weight in model.trainable_weights}
    assert trained == {id(w) for part in (model.generator, model.discriminator) for w in part.trainable_weights}
    with tf.GradientTape(persistent=True) as tape:
        adversarial = super_resolution_gan(32, classifier, pixel_weight=0, feature_weight=0, adversarial_weight=1.0)
        made = adversarial(galaxies.images[:8].astype(np.float32))
        together = adversarial.compute_loss(None, images, made)
        of_generator = tf.reduce_mean(tf.nn.softplus(-adversarial.discriminator(made)))
        fixed = tf.stop_gradient(made)
        of_discriminator = tf.reduce_mean(
            tf.nn.softplus(-adversarial.discriminator(images)) + tf.nn.softplus(adversarial.discriminator(fixed))
        )
    for part, own in ((adversarial.generator, of_generator), (adversarial.discriminator, of_discriminator)):
        values = [weight.value for weight in part.trainable_weights]
        for a, b in zip(tape.gradient(together, values), tape.gradient(own, values), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-7)


def test_all_losses_train_together(galaxies, split, classifier):
    model = super_resolution_gan(32, classifier)
    run = gu.fit(model, galaxies, split, RECIPE.replace(epochs=1), targets="images", progress=False)
    for name in ("pixel_loss", "feature_loss", "discriminator_loss", "generator_loss", "ranking_accuracy"):
        assert np.isfinite(run.history[name]).all() and np.isfinite(run.history[f"val_{name}"]).all()


def test_any_even_size_can_be_doubled():
    model = super_resolution_gan(32, **PIXELS_ALONE)
    assert upscale(model, np.zeros((2, 20, 24, 3), np.uint8)).shape == (2, 40, 48, 3)


@pytest.mark.parametrize(
    "options, named",
    [
        ({"image_size": 40}, "32 or 48\n.*found: 40"),
        ({"pixel_weight": -1}, "pixel_weight\n.*\n.*found: -1"),
        ({"feature_weight": 0.1}, "feature_network"),
        ({"pixel_weight": 0}, "nothing to learn"),
        ({"channels": 0}, "channels\n.*\n.*found: 0"),
    ],
)
def test_what_cannot_be_built_is_refused(options, named):
    with pytest.raises(ConfigurationError, match=named):
        super_resolution_gan(**{"image_size": 32, **PIXELS_ALONE, **options})


def test_a_feature_network_must_fit(classifier):
    with pytest.raises(ConfigurationError, match="48, 48, 3"):
        super_resolution_gan(48, classifier)
    with pytest.raises(ConfigurationError, match="block_1_convolution"):
        super_resolution_gan(32, classifier, feature_layer="dense")
