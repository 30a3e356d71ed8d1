"""The conditional GAN: what each part's loss moves, what it sees, that it resumes, and what it draws."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from toy_galaxies import WatchedImages

import galaxy_utils as gu
from galaxy_utils.augmentation import (
    RandomDihedral,
    add_generated,
    add_synthetic,
    conditional_gan,
    generate_images,
    read_snapshots,
    relativistic_gan,
    sample_snapshots,
)
from galaxy_utils.data.views import dihedral_view
from galaxy_utils.errors import ConfigurationError, DataError

# Keras' own variables still trip over NumPy's newer `copy` argument.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

QUICK = gu.Recipe("quick", epochs=3, batch_size=16, learning_rate=1e-3, beta_1=0.5)


def train(gan, galaxies, split, recipe=QUICK, **options):
    return gu.fit(gan, galaxies, split, recipe, targets="conditions", progress=False, **options)


def values(model):
    return [keras.ops.convert_to_numpy(variable).copy() for variable in model.variables]


def equal(first, second):
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_it_learns_to_draw_what_it_is_asked_for(galaxies, split):
    gan = relativistic_gan(16, 4)
    run = train(gan, galaxies, split, gu.Recipe("test", 30, 16, 1e-3, beta_1=0.5))
    labels = np.repeat(np.arange(4), 25)
    drawn = generate_images(gan, labels).astype(float)
    # Red or blue, and small or large, as the class says.
    redness = (drawn[..., 0] - drawn[..., 2]).sum(axis=(1, 2))
    light = drawn.sum(axis=(1, 2, 3))
    assert np.mean((redness > 0) == (labels % 2 == 0)) > 0.9
    assert light[labels >= 2].mean() > 1.5 * light[labels < 2].mean()
    assert len(run.history["ranking_accuracy"]) == 30 and "discriminator loss" in str(run)
    # No two are the same, and the seed decides.
    assert len(np.unique(drawn.reshape(100, -1), axis=0)) == 100
    assert np.array_equal(generate_images(gan, labels), drawn) and not np.array_equal(
        generate_images(gan, labels, 2), drawn
    )


def test_each_network_is_moved_by_its_own_loss_only(galaxies):
    """Gradients of the one sum of losses, against gradients of the two losses by themselves."""
    import tensorflow as tf

    gan = conditional_gan(16, 4, loss="cross_entropy")
    images = keras.ops.convert_to_tensor(galaxies.images[:8].astype(np.float32) / 255)
    classes = keras.ops.convert_to_tensor(np.eye(4, dtype=np.float32)[galaxies.labels[:8]])
    vectors = keras.random.normal((8, gan.latent_dim), seed=keras.random.SeedGenerator(1))

    def scores(drawn):
        return gan.discriminator([drawn, classes])

    with tf.GradientTape(persistent=True) as tape:
        together = gan.compute_loss(images, classes, images)
        drawn = gan.generator([vectors, classes], training=True)
        of_discriminator = tf.reduce_mean(tf.nn.softplus(-scores(images)) + tf.nn.softplus(scores(drawn)))
        of_generator = tf.reduce_mean(tf.nn.softplus(-scores(drawn)))
    for part, own in ((gan.discriminator, of_discriminator), (gan.generator, of_generator)):
        weights = [variable.value for variable in part.trainable_variables]
        for found, expected in zip(tape.gradient(together, weights), tape.gradient(own, weights), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6)


def test_training_only_sees_the_training_part(galaxies, split):
    """Not one bit of the weights depends on a validation or test galaxy, and no test galaxy is ever read."""
    outside = np.setdiff1d(np.arange(len(galaxies)), split.train)
    scrambled = np.array(galaxies.images)
    scrambled[outside] = np.random.default_rng(1).integers(0, 256, scrambled[outside].shape)

    def weights_of(gan):
        return [w for part in (gan.generator, gan.averaged_generator, gan.discriminator) for w in values(part)]

    def weights_after(images):
        watched, gan = WatchedImages(images), relativistic_gan(16, 4)
        train(gan, galaxies.replace(images=watched, fingerprint="watched"), split, QUICK.replace(epochs=2))
        assert not np.isin(np.concatenate([np.ravel(rows) for rows in watched.reads]), split.test).any()
        return weights_of(gan)

    trained = weights_after(galaxies.images)
    assert equal(trained, weights_after(scrambled)) and not equal(trained, weights_of(relativistic_gan(16, 4)))


class Killed(Exception):
    pass


class KilledAfter(keras.callbacks.Callback):
    def __init__(self, epochs):
        super().__init__()
        self.epochs = epochs

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epochs:
            raise Killed


def test_it_resumes_bit_for_bit_with_its_film(galaxies, split, tmp_path):
    asked_for = np.arange(4)

    def run(name, kill=()):
        gan = relativistic_gan(16, 4)
        film = sample_snapshots(tmp_path / f"{name}.film.npz", asked_for, every=2)
        callbacks = [film, *(KilledAfter(epochs) for epochs in kill)]
        options = {"checkpoint": tmp_path / f"{name}.npz", "callbacks": callbacks}
        return gan, train(gan, galaxies, split, QUICK.replace(epochs=4), **options)

    whole, whole_run = run("whole")
    with pytest.raises(Killed):
        run("parts", kill=[2])
    resumed, resumed_run = run("parts")
    assert resumed_run.resumed_from == 2
    assert equal(values(whole), values(resumed)) and whole_run.history == resumed_run.history
    films = [read_snapshots(tmp_path / f"{name}.film.npz") for name in ("whole", "parts")]
    assert list(films[0]) == list(films[1]) == [1, 2, 4]
    for first, second in zip(films[0].values(), films[1].values(), strict=True):
        np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(films[0][4], generate_images(whole, asked_for))
    # A finished checkpoint gives the generator back without a step of training.
    again, again_run = run("whole")
    assert again_run.resumed_from == 4 and equal(values(whole), values(again))


def test_a_checkpoint_of_another_gan_is_refused(galaxies, split, tmp_path):
    train(conditional_gan(16, 4), galaxies, split, QUICK.replace(epochs=1), checkpoint=tmp_path / "gan.npz")
    for changes in ({"loss": "relativistic"}, {"one_view": True}, {"augmentation": RandomDihedral()}):
        with pytest.raises(ConfigurationError, match="another training"):
            train(conditional_gan(16, 4, **changes), galaxies, split, QUICK, checkpoint=tmp_path / "gan.npz")


def test_a_loss_that_is_no_number_stops_and_leaves_the_last_good_weights(galaxies, split, tmp_path):
    class Poison(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                self.good = self.model.get_weights()
                self.model.generator.weights[0].assign(np.full(self.model.generator.weights[0].shape, np.nan))

    gan, poison = relativistic_gan(16, 4), Poison()
    with pytest.raises(FloatingPointError, match="(?s)epoch 3 is nan.*learning rate.*after epoch 2"):
        train(gan, galaxies, split, QUICK, callbacks=[poison], checkpoint=tmp_path / "gan.npz")
    assert equal(gan.get_weights(), poison.good)
    assert np.isfinite(generate_images(gan, np.arange(4)).astype(float)).all()
    again = relativistic_gan(16, 4)
    assert train(again, galaxies, split, QUICK, checkpoint=tmp_path / "gan.npz").resumed_from == 2


def test_class_maps_are_full_of_their_entry():
    from galaxy_utils.augmentation._conditional_gan_model import ClassMaps

    classes = np.array([[1, 0, 0], [0, 0, 1]], np.float32)
    maps = np.asarray(ClassMaps(4)(classes))
    for galaxy in range(2):
        for label in range(3):
            np.testing.assert_array_equal(maps[galaxy, :, :, label], classes[galaxy, label])


def test_one_view_is_the_same_for_all_eight():
    from galaxy_utils.augmentation._conditional_gan_model import OneView

    row, column = np.indices((16, 16)) - 7.5
    # An ellipse at 30° below the right, brighter on the right.
    along, across = column * 0.866 + row * 0.5, row * 0.866 - column * 0.5
    image = np.exp(-(along**2) / 18 - across**2 / 4) * (1 + 0.3 * np.tanh(along))
    image = np.repeat(image[None, ..., None], 3, axis=-1).astype(np.float32)
    shown = [np.asarray(OneView()(dihedral_view(image, number))) for number in range(8)]
    for other in shown:
        np.testing.assert_allclose(other, image, atol=1e-6)


def test_the_average_follows_the_generator(galaxies):
    gan = conditional_gan(16, 4, averaging=0.9)
    images = keras.ops.convert_to_tensor(galaxies.images[:8].astype(np.float32) / 255)
    classes = keras.ops.convert_to_tensor(np.eye(4, dtype=np.float32)[galaxies.labels[:8]])
    before, kernel = gan.averaged_generator.get_weights()[0], gan.generator.weights[0]
    np.testing.assert_array_equal(before, gan.generator.get_weights()[0])
    kernel.assign(kernel.value + 1)
    gan.compute_loss(None, classes, images, training=False)
    np.testing.assert_array_equal(gan.averaged_generator.get_weights()[0], before)
    gan.compute_loss(None, classes, images)
    np.testing.assert_allclose(gan.averaged_generator.get_weights()[0], before + 0.1, rtol=1e-5, atol=1e-6)
    assert gan.best_generator is gan.averaged_generator and conditional_gan(16, 4).averaged_generator is None


def test_the_penalty_is_the_squared_gradient_of_the_score(galaxies):
    import tensorflow as tf

    smooth, steep = (conditional_gan(16, 4, smoothness=weight) for weight in (2.0, 0.0))
    images = keras.ops.convert_to_tensor(galaxies.images[:16].astype(np.float32) / 255)
    classes = keras.ops.convert_to_tensor(np.eye(4, dtype=np.float32)[galaxies.labels[:16]])
    drawn = steep.generator([keras.random.normal((16, steep.latent_dim)), classes], training=True)
    squares = []
    for several in (images, drawn):
        with tf.GradientTape() as tape:
            tape.watch(several)
            scores = steep.discriminator([several, classes])
        squares.append(np.sum(np.square(tape.gradient(scores, several)), axis=(1, 2, 3)).mean())
    # Both have the same weights and draw the same vectors, so the penalty is what their losses differ by.
    penalties = []
    for _ in range(40):
        smooth.vectors.state.assign(steep.vectors.state)
        penalties.append(smooth.compute_loss(None, classes, images) - steep.compute_loss(None, classes, images))
    assert np.mean(penalties) == pytest.approx(2.0 / 2 * sum(squares), rel=0.15)


def test_drawn_images_train_with_the_real_ones_and_leave_the_others_alone(galaxies, split):
    gan = relativistic_gan(16, 4)  # Untrained: what matters is where its images go.
    synthetic = add_generated(gan, galaxies, split, np.array([3, 0, 0, 5]))
    longer, parts = add_synthetic(galaxies, split, synthetic)
    new = np.setdiff1d(parts.train, split.train)
    np.testing.assert_array_equal(longer.labels[new], [0] * 3 + [3] * 5)
    np.testing.assert_array_equal(longer.images[new], synthetic.images)
    np.testing.assert_array_equal(longer.vote_fractions[new], np.eye(4)[longer.labels[new]])
    # A larger network's images come at the dataset's size.
    assert add_generated(relativistic_gan(32, 4), galaxies, split, np.array([1, 0, 0, 1])).images.shape == (
        2,
        16,
        16,
        3,
    )
    for part in ("validation", "test"):
        np.testing.assert_array_equal(parts.part(part), split.part(part))
    # Nobody shares a group with them.
    assert len(np.unique(parts.groups[new])) == 8 and not np.isin(parts.groups[new], split.groups).any()
    alone = add_generated(gan, galaxies, split, np.array([3, 0, 0, 5]), alone=True)
    np.testing.assert_array_equal(add_synthetic(galaxies, split, alone)[1].train, new)
    other = gu.split(galaxies, fractions=(0.6, 0.2, 0.2), seed=2)
    with pytest.raises(ConfigurationError, match="would leak"):
        add_synthetic(galaxies, other, synthetic)


@pytest.mark.parametrize(
    "call, error, named",
    [
        (lambda: conditional_gan(36), ConfigurationError, "32 or 40\n.*found: 36"),
        (lambda: conditional_gan(4), ConfigurationError, "found: 4"),
        (lambda: conditional_gan(16, loss="hinge"), ConfigurationError, "found: 'hinge'"),
        (lambda: conditional_gan(16, averaging=1.0), ConfigurationError, "found: 1.0"),
        (lambda: conditional_gan(16, smoothness=-1), ConfigurationError, "found: -1"),
        (lambda: conditional_gan(16, latent_dim=0), ConfigurationError, "found: 0"),
        (lambda: generate_images(conditional_gan(16, 4), [4]), ConfigurationError, "0 to 3"),
        (lambda: read_snapshots("nowhere.npz"), DataError, "nowhere.npz"),
    ],
)
def test_what_cannot_be_is_refused(call, error, named):
    with pytest.raises(error, match=named):
        call()


def test_a_network_without_a_loss_of_its_own_is_refused(galaxies, split):
    images = keras.Input((16, 16, 3))
    with pytest.raises(ConfigurationError, match="bring its own loss"):
        train(keras.Model(images, keras.layers.Rescaling(1 / 255)(images)), galaxies, split)


ON_JAX = """
import keras, numpy as np
from toy_galaxies import toy_galaxies
import galaxy_utils as gu
from galaxy_utils.augmentation import generate_images, relativistic_gan

assert keras.backend.backend() == "jax"
galaxies = toy_galaxies(noise=20)
split = gu.split(galaxies, fractions=(0.6, 0.2, 0.2))
recipe = gu.Recipe("test", 3, 16, 1e-3, beta_1=0.5)
gan = relativistic_gan(16, 4)
before = [part.get_weights()[0] for part in (gan.generator, gan.averaged_generator, gan.discriminator)]
run = gu.fit(gan, galaxies, split, recipe, targets="conditions", checkpoint="gan.npz", progress=False)
after = [part.get_weights()[0] for part in (gan.generator, gan.averaged_generator, gan.discriminator)]
assert not any(np.array_equal(*pair) for pair in zip(before, after))
assert all(np.isfinite(values).all() for values in run.history.values())
    assert 0 < run.history["ranking_accuracy"][-1] <= 1
drawn = generate_images(gan, np.arange(4))
again = relativistic_gan(16, 4)
run = gu.fit(again, galaxies, split, recipe, targets="conditions", checkpoint="gan.npz", progress=False)
assert run.resumed_from == 3
np.testing.assert_array_equal(generate_images(again, np.arange(4)), drawn)
print("all is well")
"""


def test_the_same_on_jax(tmp_path, monkeypatch):
    pytest.importorskip("jax")
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setenv("PYTHONPATH", f"{Path(__file__).parents[1]}:{Path(__file__).parents[2]}")
    child = subprocess.run([sys.executable, "-c", ON_JAX], capture_output=True, text=True, cwd=tmp_path)
    assert child.stdout.strip() == "all is well", child.stderr


def test_spectral_normalisation_limits_every_layer_of_the_discriminator(galaxies):
    gan = conditional_gan(16, 4, spectral_normalisation=True)
    images = keras.ops.convert_to_tensor(galaxies.images[:8].astype(np.float32) / 255)
    classes = keras.ops.convert_to_tensor(np.eye(4, dtype=np.float32)[galaxies.labels[:8]])
    for _ in range(30):  # Each call is one step of the power iteration.
        gan.discriminator([images, classes], training=True)
    kernels = [layer.layer.kernel for layer in gan.discriminator.layers if hasattr(layer, "layer")]
    assert len(kernels) == 3
    for kernel in kernels:
        matrix = keras.ops.convert_to_numpy(kernel).reshape(-1, kernel.shape[-1])
        assert np.linalg.svd(matrix, compute_uv=False)[0] == pytest.approx(1, abs=0.05)
