"""The conditional GAN: what each part's loss moves, what it sees, that it resumes, and what it generates."""

import keras
import numpy as np
import pytest
from toy_galaxies import WatchedImages

import galaxy_utils as gu
from galaxy_utils.augmentation import (
    CanonicalOrientation,
    add_generated,
    add_synthetic,
    conditional_gan,
    generate_images,
    relativistic_gan,
)
from galaxy_utils.data.views import dihedral_view
from galaxy_utils.errors import ConfigurationError, DataError

# Keras' own variables still trip over NumPy's newer `copy` argument.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

QUICK = gu.Recipe("quick", epochs=2, batch_size=16, learning_rate=1e-3, beta_1=0.5)
EPOCHS = 20


def train(gan, galaxies, split, recipe=QUICK, **options):
    return gu.fit(gan, galaxies, split, recipe, targets="conditions", progress=False, **options)


def weights_of(gan):
    return [w for part in (gan.generator, gan.ema_generator, gan.discriminator) for w in part.get_weights()]


def equal(first, second):
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.fixture
def batch(galaxies):
    """Eight canonical images and their one-hot classes."""
    images = CanonicalOrientation()(galaxies.images[:8].astype(np.float32) / 255)
    return images, keras.ops.convert_to_tensor(np.eye(4, dtype=np.float32)[galaxies.labels[:8]])


def test_it_learns_to_generate_what_it_is_asked_for(galaxies, split):
    gan = relativistic_gan(16, 4)
    run = train(gan, galaxies, split, gu.Recipe("test", EPOCHS, 16, 1e-3, beta_1=0.5))
    labels = np.repeat(np.arange(4), 25)
    generated = generate_images(gan, labels).astype(float)
    # Red or blue, and small or large, as the class says: half, and equal, where it is not heard.
    redness = (generated[..., 0] - generated[..., 2]).sum(axis=(1, 2))
    light = generated.sum(axis=(1, 2, 3))
    assert np.mean((redness > 0) == (labels % 2 == 0)) > 0.75
    assert light[labels >= 2].mean() > 1.4 * light[labels < 2].mean()
    assert len(run.history["val_ranking_accuracy"]) == EPOCHS
    # No two are the same, and the seed decides.
    assert len(np.unique(generated.reshape(100, -1), axis=0)) == 100
    assert np.array_equal(generate_images(gan, labels), generated)
    assert not np.array_equal(generate_images(gan, labels, 2), generated)


@pytest.mark.parametrize("relativistic", [False, True])
def test_each_network_is_moved_by_its_own_loss_only(batch, relativistic):
    """Gradients of the one sum of losses, against gradients of the two losses by themselves."""
    import tensorflow as tf

    gan, (images, classes) = conditional_gan(16, 4, loss="relativistic" if relativistic else "cross_entropy"), batch
    random = keras.random.SeedGenerator(1)
    latent, noise = keras.random.normal((8, 64), seed=random), keras.random.normal((8, 16, 16, 3), seed=random)

    with tf.GradientTape(persistent=True) as tape:
        together = gan.compute_loss(None, classes, images)
        fake = gan.generator([latent, classes, noise], training=True)
        of_real, of_fake = gan.discriminator([images, classes]), gan.discriminator([fake, classes])
        if relativistic:
            of_discriminator, of_generator = tf.nn.softplus(of_fake - of_real), tf.nn.softplus(of_real - of_fake)
        else:
            of_discriminator = tf.nn.softplus(-of_real) + tf.nn.softplus(of_fake)
            of_generator = tf.nn.softplus(-of_fake)
        own = (gan.discriminator, tf.reduce_mean(of_discriminator)), (gan.generator, tf.reduce_mean(of_generator))
    for part, loss in own:
        weights = [variable.value for variable in part.trainable_variables]
        for found, expected in zip(tape.gradient(together, weights), tape.gradient(loss, weights), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6)


@pytest.fixture(scope="module")
def trained(galaxies, split):
    """The history and the weights of an undisturbed training."""
    gan = relativistic_gan(16, 4)
    return train(gan, galaxies, split).history, weights_of(gan)


def test_training_only_sees_the_training_part(galaxies, split, trained):
    """Not one bit of the weights depends on a validation or test galaxy, and no test galaxy is ever read."""
    outside = np.setdiff1d(np.arange(len(galaxies)), split.train)
    scrambled = np.array(galaxies.images)
    scrambled[outside] = np.random.default_rng(1).integers(0, 256, scrambled[outside].shape)
    watched, gan = WatchedImages(scrambled), relativistic_gan(16, 4)
    before = weights_of(gan)
    train(gan, galaxies.replace(images=watched, fingerprint="watched"), split)
    assert not np.isin(np.concatenate([np.ravel(rows) for rows in watched.reads]), split.test).any()
    assert equal(weights_of(gan), trained[1]) and not equal(weights_of(gan), before)


class Killed(Exception):
    pass


class KilledAfter(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            raise Killed


def test_it_resumes_bit_for_bit(galaxies, split, trained, tmp_path):
    resumed, path = relativistic_gan(16, 4), tmp_path / "gan.npz"
    with pytest.raises(Killed):
        train(relativistic_gan(16, 4), galaxies, split, checkpoint=path, callbacks=[KilledAfter()])
    run = train(resumed, galaxies, split, checkpoint=path)
    assert run.resumed_from == 1 and run.history == trained[0] and equal(weights_of(resumed), trained[1])
    with pytest.raises(ConfigurationError, match="another training"):
        train(relativistic_gan(16, 4, loss="cross_entropy"), galaxies, split, checkpoint=path)


def test_the_label_maps_are_full_of_their_entry():
    network = conditional_gan(16, 3).discriminator
    maps = keras.Model(network.inputs, network.get_layer("label_maps").output)
    classes = np.array([[1, 0, 0], [0, 0, 1]], np.float32)
    found = np.asarray(maps([np.zeros((2, 16, 16, 3), np.float32), classes]))
    np.testing.assert_array_equal(found, np.broadcast_to(classes[:, None, None], (2, 16, 16, 3)))


def test_the_canonical_orientation_is_the_same_for_all_eight():
    row, column = np.indices((16, 16)) - 7.5
    # An ellipse at 30° below the right, brighter on the right.
    along, across = column * 0.866 + row * 0.5, row * 0.866 - column * 0.5
    image = np.exp(-(along**2) / 18 - across**2 / 4) * (1 + 0.3 * np.tanh(along))
    image = np.repeat(image[None, ..., None], 3, axis=-1).astype(np.float32)
    for number in range(8):
        np.testing.assert_allclose(CanonicalOrientation()(dihedral_view(image, number)), image, atol=1e-6)


def test_the_average_follows_the_generator(batch):
    gan, (images, classes) = conditional_gan(16, 4, ema_decay=0.9), batch
    before, kernel = gan.ema_generator.get_weights()[0], gan.generator.weights[0]
    np.testing.assert_array_equal(before, gan.generator.get_weights()[0])
    kernel.assign(kernel.value + 1)
    gan.compute_loss(None, classes, images, training=False)
    np.testing.assert_array_equal(gan.ema_generator.get_weights()[0], before)
    gan.compute_loss(None, classes, images)
    np.testing.assert_allclose(gan.ema_generator.get_weights()[0], before + 0.1, rtol=1e-5, atol=1e-6)


def test_the_penalty_is_the_squared_gradient_of_the_score(batch):
    import tensorflow as tf

    smooth, steep = (conditional_gan(16, 4, gradient_penalty=weight) for weight in (2.0, 0.0))
    images, classes = batch
    latent, noise = keras.random.normal((8, 64)), keras.random.normal((8, 16, 16, 3))
    squares = []
    for several in (images, steep.generator([latent, classes, noise], training=True)):
        with tf.GradientTape() as tape:
            tape.watch(several)
            scores = steep.discriminator([several, classes])
        squares.append(np.sum(np.square(tape.gradient(scores, several)), axis=(1, 2, 3)).mean())
    # Both have the same weights and draw the same vectors, so the penalty is what their losses differ by.
    penalties = []
    for _ in range(24):
        smooth.random.state.assign(steep.random.state)
        penalties.append(smooth.compute_loss(None, classes, images) - steep.compute_loss(None, classes, images))
    assert np.mean(penalties) == pytest.approx(2.0 / 2 * sum(squares), rel=0.2)


def test_generated_images_train_with_the_real_ones_and_leave_the_others_alone(galaxies, split):
    gan = relativistic_gan(16, 4)  # Untrained: what matters is where its images go.
    counts = np.array([3, 0, 0, 5])
    synthetic = add_generated(gan, galaxies, split, counts)
    longer, parts = add_synthetic(galaxies, split, synthetic)
    new = np.setdiff1d(parts.train, split.train)
    np.testing.assert_array_equal(longer.labels[new], [0] * 3 + [3] * 5)
    np.testing.assert_array_equal(longer.images[new], synthetic.images)
    # A larger network's images come at the dataset's size.
    assert add_generated(relativistic_gan(32, 4), galaxies, split, counts).images.shape == (8, 16, 16, 3)
    for part in ("validation", "test"):
        np.testing.assert_array_equal(parts.part(part), split.part(part))
    alone = add_generated(gan, galaxies, split, counts, alone=True)
    np.testing.assert_array_equal(add_synthetic(galaxies, split, alone)[1].train, new)
    other = gu.split(galaxies, fractions=(0.6, 0.2, 0.2), seed=2)
    with pytest.raises(ConfigurationError, match="would leak"):
        add_synthetic(galaxies, other, synthetic)


def test_what_is_not_a_number_is_no_image():
    """Black images would pass for galaxies."""
    gan = conditional_gan(16, 2)
    gan.generator.set_weights([np.full_like(array, np.nan) for array in gan.generator.get_weights()])
    with pytest.raises(DataError, match="not a number"):
        generate_images(gan, [0, 1])


@pytest.mark.parametrize(
    "call, named",
    [
        (lambda: conditional_gan(36), "found: 36"),
        (lambda: conditional_gan(4), "found: 4"),
        (lambda: conditional_gan(16, loss="hinge"), "found: 'hinge'"),
        (lambda: conditional_gan(16, ema_decay=1.0), "found: 1.0"),
        (lambda: conditional_gan(16, gradient_penalty=-1), "found: -1"),
        (lambda: generate_images(conditional_gan(16, 4), [4]), "0 to 3"),
    ],
)
def test_what_cannot_be_is_refused(call, named):
    with pytest.raises(ConfigurationError, match=named):
        call()
