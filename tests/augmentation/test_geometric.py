"""Layers that move images: exactly where exactness is promised, evenly drawn, only in training, alike on backends."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from scipy import ndimage

import galaxy_utils as gu
from galaxy_utils.augmentation.geometric import (
    RandomDihedral,
    RandomRotationZoomShift,
    RandomShiftAndBrightness,
    move_images,
)
from galaxy_utils.errors import ConfigurationError

LAYERS = (RandomDihedral, RandomRotationZoomShift)


def images(count=4, side=16, seed=1):
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def eight_views(image):
    return [np.rot90(way, turns) for way in (image, image[:, ::-1]) for turns in range(4)]


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_every_image_is_exactly_one_of_its_eight_views_and_all_are_equally_likely(dtype):
    repeated = np.repeat(images(1, 6), 4000, axis=0).astype(dtype)
    shown = np.asarray(RandomDihedral(seed=3)(repeated, training=True))
    assert shown.dtype == dtype
    counts = [int(np.sum((shown == view).all(axis=(1, 2, 3)))) for view in eight_views(repeated[0])]
    assert sum(counts) == 4000
    # 500 of each are expected, with a standard deviation of 21.
    assert min(counts) > 400 and max(counts) < 600


def test_images_do_not_mix():
    batch = images(64)
    shown = np.asarray(RandomDihedral(seed=5)(batch, training=True))
    for before, after in zip(batch, shown, strict=True):
        assert any(np.array_equal(view, after) for view in eight_views(before))


@pytest.mark.parametrize("layer", LAYERS)
def test_nothing_happens_outside_training(layer):
    batch = images()
    np.testing.assert_array_equal(layer()(batch), batch)
    network = keras.Sequential([keras.Input((16, 16, 3)), layer()])
    np.testing.assert_array_equal(network.predict(batch, verbose=0), batch)


@pytest.mark.parametrize("layer", LAYERS)
def test_the_seed_alone_decides_and_every_call_draws_anew(layer):
    batch = images(32).astype("float32")
    first, second, other = layer(seed=2), layer(seed=2), layer(seed=3)
    once = np.asarray(first(batch, training=True))
    np.testing.assert_array_equal(once, second(batch, training=True))
    assert not np.array_equal(once, other(batch, training=True))
    assert not np.array_equal(once, first(batch, training=True))


@pytest.mark.parametrize("layer", LAYERS)
def test_layers_survive_saving(layer, tmp_path):
    options = {} if layer is RandomDihedral else {"rotation": 30.0, "zoom": 0.1, "shift": 0.2}
    network = gu.models.four_block_cnn(16, augmentation=layer(seed=7, **options))
    network.save(tmp_path / "network.keras")
    restored = keras.models.load_model(tmp_path / "network.keras")
    kept = restored.layers[1].get_config()
    assert isinstance(restored.layers[1], layer)
    assert kept["seed"] == 7 and {name: kept[name] for name in options} == options
    np.testing.assert_array_equal(network.predict(images(), verbose=0), restored.predict(images(), verbose=0))


@pytest.mark.parametrize("build", [gu.models.four_block_cnn, gu.models.three_block_cnn, gu.models.compact_cnn])
def test_augmentation_changes_nothing_else_in_the_network(build):
    plain = build(16)
    augmented = build(16, augmentation=[RandomDihedral(), RandomRotationZoomShift()])
    assert [layer.name for layer in augmented.layers if not isinstance(layer, LAYERS)] == [
        layer.name for layer in plain.layers
    ]
    np.testing.assert_array_equal(plain.predict(images(), verbose=0), augmented.predict(images(), verbose=0))
    assert plain.count_params() == sum(
        int(np.prod(weight.shape)) for weight in augmented.weights if "seed" not in weight.path
    )


def test_brightness_keeps_its_fractions_under_mixed_precision():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        batch = images().astype("float32") + 0.03
        shown = np.asarray(RandomDihedral()(batch, training=True))
        assert shown.dtype == np.float32 and set(np.unique(shown)) == set(np.unique(batch))
    finally:
        keras.config.set_dtype_policy("float32")


def test_naming_the_package_loads_no_keras():
    code = "import sys; import galaxy_utils as gu; gu.augmentation; assert 'keras' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def blob(row, column, side=33):
    """An image with one round spot."""
    y, x = np.indices((side, side))
    spot = 200 * np.exp(-((y - row) ** 2 + (x - column) ** 2) / 4)
    return np.repeat(spot[None, :, :, None], 3, axis=3).astype("float32")


def centre_of(image):
    return np.array(ndimage.center_of_mass(image[0, :, :, 0]))


def numbers(*values):
    return (np.array([value], "float32") for value in values)


def test_moves_go_where_they_say():
    right_of_centre = blob(16, 24)
    stay = dict(zip(("angle", "size", "right", "down"), numbers(0, 1, 0, 0), strict=True))
    np.testing.assert_allclose(move_images(right_of_centre, **stay), right_of_centre, atol=1e-3)
    # A quarter turn counter-clockwise takes what is right of the centre above it; rows count downwards.
    (quarter,) = numbers(np.pi / 2)
    np.testing.assert_allclose(centre_of(move_images(right_of_centre, **stay | {"angle": quarter})), (8, 16), atol=0.05)
    (larger,) = numbers(1.5)
    np.testing.assert_allclose(centre_of(move_images(right_of_centre, **stay | {"size": larger})), (16, 28), atol=0.2)
    right, down = numbers(-4 / 33, 2 / 33)
    moved = move_images(right_of_centre, **stay | {"right": right, "down": down})
    np.testing.assert_allclose(centre_of(moved), (18, 20), atol=0.05)


def test_a_rotation_agrees_with_scipy_up_to_the_corners():
    batch = ndimage.gaussian_filter(images(1, 33, seed=4).astype("float32"), (0, 2, 2, 0))
    angle, size, right, down = numbers(np.radians(30), 1, 0, 0)
    moved = np.asarray(move_images(batch, angle, size, right, down))
    # SciPy's positive angles turn from rows to columns, which is counter-clockwise on screen too.
    expected = ndimage.rotate(batch[0], 30, axes=(0, 1), reshape=False, order=1, mode="reflect")
    np.testing.assert_allclose(moved[0], expected, atol=0.05)


def test_free_moves_keep_type_brightness_and_invent_no_dark_corner():
    sky = np.full((64, 16, 16, 3), 34, np.uint8)
    moved = np.asarray(RandomRotationZoomShift(180, 0.5, 0.2)(sky, training=True))
    assert moved.dtype == np.uint8
    np.testing.assert_array_equal(moved, sky)


def test_draws_stay_within_their_limits():
    spot = np.repeat(blob(16, 16), 300, axis=0)
    moved = np.asarray(RandomRotationZoomShift(rotation=0, zoom=0, shift=0.1)(spot, training=True))
    offsets = np.array([centre_of(image[None]) for image in moved]) - 16
    assert 3.0 < np.abs(offsets).max() <= 3.35  # 0.1 of 33 pixels
    assert np.abs(offsets.mean(axis=0)).max() < 0.4
    widths = []
    for image in np.asarray(RandomRotationZoomShift(rotation=180, zoom=0.5, shift=0)(spot, training=True))[..., 0]:
        widths.append(np.sqrt(image.sum() / image.max() / (4 * np.pi)))
    assert 1 / 1.55 < min(widths) < 0.75 and 1.4 < max(widths) < 1.55


@pytest.mark.parametrize(
    "build, named",
    [
        (lambda: RandomDihedral(seed=-1), "-1"),
        (lambda: RandomRotationZoomShift(rotation=181), "181"),
        (lambda: RandomRotationZoomShift(zoom=-0.1), "-0.1"),
        (lambda: RandomRotationZoomShift(shift=0.6), "0.6"),
        (lambda: RandomDihedral()(np.zeros((1, 8, 9, 3), "float32"), training=True), r"\(1, 8, 9, 3\)"),
    ],
)
def test_what_cannot_work_is_refused(build, named):
    with pytest.raises(ConfigurationError, match=named):
        build()


ON_JAX = """
import sys
import keras
import numpy as np
sys.path.insert(0, sys.argv[1])
import galaxy_utils as gu
from galaxy_utils.augmentation.geometric import move_images
from toy_galaxies import toy_galaxies, toy_split

image = np.random.default_rng(1).integers(0, 256, (1, 17, 17, 3)).astype("float32")
moved = move_images(image, *(np.array([v], "float32") for v in (0.5, 1.2, 0.1, -0.05)))
np.save(sys.argv[2], np.asarray(moved))

augmentation = gu.augmentation
galaxies, split = toy_galaxies(64), toy_split(64)
recipe = gu.Recipe("test", epochs=1, batch_size=16)
images = keras.Input((16, 16, 3))
moved = augmentation.RandomRotationZoomShift()(augmentation.RandomDihedral()(images))
averages = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(moved))
network = keras.Model(images, keras.layers.Dense(4, activation="softmax")(averages))
assert np.isfinite(gu.fit(network, galaxies, split, recipe, progress=False).history["loss"][0])
split = gu.split(galaxies, fractions=(0.5, 0.25, 0.25))
for model in (augmentation.denoising_autoencoder(16), augmentation.variational_autoencoder(16, 4)):
    before = [weights.copy() for weights in model.get_weights()]
    gu.fit(model, galaxies, split, recipe, targets="images", progress=False)
    assert any(not np.array_equal(a, b) for a, b in zip(before, model.get_weights()))
synthetic = augmentation.make_synthetic(model, galaxies, split, share=0.5)
assert synthetic.images.shape == (32, 16, 16, 3)
"""


def test_layers_and_autoencoders_train_on_jax_and_move_images_alike(tmp_path):
    result = subprocess.run(
        [sys.executable, "-c", ON_JAX, os.path.dirname(os.path.dirname(__file__)), tmp_path / "moved.npy"],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    image = np.random.default_rng(1).integers(0, 256, (1, 17, 17, 3)).astype("float32")
    here = np.asarray(move_images(image, *numbers(0.5, 1.2, 0.1, -0.05)))
    np.testing.assert_allclose(np.load(tmp_path / "moved.npy"), here, atol=0.05)


def test_shifts_move_whole_pixels_and_brightness_adds():
    layer = RandomShiftAndBrightness(shift=0.25, brightness=0.1)
    image = np.random.default_rng(1).random((8, 8, 3)).astype(np.float32)
    moved = np.asarray(layer(np.stack([image] * 200), training=True))
    padded = np.pad(image, ((2, 2), (2, 2), (0, 0)), mode="edge")
    seen = set()
    for each in moved:
        offsets = [
            (row, column)
            for row in range(5)
            for column in range(5)
            if np.ptp(each - padded[row : row + 8, column : column + 8]) < 1e-5
        ]
        assert len(offsets) == 1
        seen.update(offsets)
    assert len(seen) == 25  # every shift of up to a quarter of 8 pixels along each axis
    assert 0.05 < np.abs(moved.mean(axis=(1, 2, 3)) - image.mean()).max() < 0.25
    np.testing.assert_array_equal(layer(image[None], training=False), image[None])
    with pytest.raises(ConfigurationError, match="found: -1"):
        RandomShiftAndBrightness(brightness=-1)


def test_gradients_pass_through_shifts():
    import tensorflow as tf

    layer = RandomShiftAndBrightness(shift=0.25)
    images = tf.random.normal((4, 8, 8, 3), seed=1)
    with tf.GradientTape() as tape:
        tape.watch(images)
        # Pixels that were shifted out count nothing, border pixels several times; together they count once each.
        total = tf.reduce_sum(layer(images, training=True))
    gradient = tape.gradient(total, images).numpy()
    np.testing.assert_allclose(gradient.sum(axis=(1, 2, 3)), 8 * 8 * 3, rtol=1e-5)


@pytest.mark.parametrize("layer", [RandomDihedral, RandomRotationZoomShift, RandomShiftAndBrightness])
def test_names_do_not_depend_on_what_was_built_before(layer):
    # A checkpoint would otherwise be refused by a program that has built another network first.
    first, second = layer(), layer()
    assert first.name == second.name
    assert layer(name="mine").name == layer.from_config(layer(name="mine").get_config()).name == "mine"
