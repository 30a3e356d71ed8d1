"""Layers that move images: exactly where exactness is promised, evenly drawn, only in training, on every backend."""

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

LAYERS = (RandomDihedral, RandomRotationZoomShift, RandomShiftAndBrightness)


def images(count=4, side=16, seed=1):
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_every_image_is_exactly_one_of_its_eight_views_and_all_are_equally_likely(dtype):
    batch = np.repeat(images(4, 6), 1000, axis=0).astype(dtype)
    shown = np.asarray(RandomDihedral(seed=3)(batch, training=True))
    assert shown.dtype == dtype
    views = [np.rot90(m, k, axes=(1, 2)) for m in (batch, batch[:, :, ::-1]) for k in range(4)]
    counts = [int(np.sum((shown == view).all(axis=(1, 2, 3)))) for view in views]
    # 500 of each are expected, with a standard deviation of 21.
    assert sum(counts) == 4000 and min(counts) > 400 and max(counts) < 600


@pytest.mark.parametrize("layer", LAYERS)
def test_nothing_happens_outside_training_and_the_seed_decides_in_it(layer):
    batch = images(32).astype("float32")
    np.testing.assert_array_equal(layer()(batch), batch)
    first, second, other = layer(seed=2), layer(seed=2), layer(seed=3)
    once = np.asarray(first(batch, training=True))
    np.testing.assert_array_equal(once, second(batch, training=True))
    assert not np.array_equal(once, other(batch, training=True))
    assert not np.array_equal(once, first(batch, training=True))


def test_augmented_networks_survive_saving_and_start_like_plain_ones(tmp_path):
    plain, moving = gu.models.compact_cnn(16), RandomRotationZoomShift(30.0, 0.1, 0.2, seed=7)
    network = gu.models.compact_cnn(16, augmentation=[RandomDihedral(), moving])
    np.testing.assert_array_equal(plain.predict(images(), verbose=0), network.predict(images(), verbose=0))
    network.save(tmp_path / "network.keras")
    restored = keras.models.load_model(tmp_path / "network.keras")
    kept = restored.layers[2].get_config()
    assert [kept[name] for name in ("rotation", "zoom", "shift", "seed")] == [30.0, 0.1, 0.2, 7]
    np.testing.assert_array_equal(network.predict(images(), verbose=0), restored.predict(images(), verbose=0))


def numbers(*values):
    return [np.array([value], "float32") for value in values]


def test_rotation_zoom_and_shift_agree_with_scipy():
    batch = ndimage.gaussian_filter(images(1, 33, seed=4).astype("float32"), (0, 2, 2, 0))
    # SciPy's positive angles turn from rows to columns, which is counter-clockwise on screen too.
    expected = ndimage.rotate(batch[0], 30, axes=(0, 1), reshape=False, order=1, mode="reflect")
    moved = np.asarray(move_images(batch, *numbers(np.radians(30), 1, 0, 0)))
    np.testing.assert_allclose(moved[0], expected, atol=0.05)
    moved = np.asarray(move_images(batch, *numbers(0, 1, -4 / 33, 2 / 33)))
    np.testing.assert_allclose(moved[0, 2:, :-4], batch[0, :-2, 4:], atol=0.05)
    rows = np.abs(np.arange(33) - 16) / 1.5 * np.sign(np.arange(33) - 16) + 16
    expected = ndimage.map_coordinates(batch[0, ..., 0], np.meshgrid(rows, rows, indexing="ij"), order=1)
    np.testing.assert_allclose(np.asarray(move_images(batch, *numbers(0, 1.5, 0, 0)))[0, ..., 0], expected, atol=0.05)


def test_draws_stay_within_their_limits_and_invent_no_dark_corner():
    sky = np.full((64, 16, 16, 3), 34, np.uint8)
    np.testing.assert_array_equal(RandomRotationZoomShift(180, 0.5, 0.2)(sky, training=True), sky)
    ramp = np.broadcast_to(np.arange(33.0, dtype="float32")[:, None, None], (300, 33, 33, 3))
    offsets = np.asarray(RandomRotationZoomShift(0, 0, 0.1)(ramp, training=True))[:, 16, 16, 0] - 16
    assert 3.0 < np.abs(offsets).max() <= 3.31 and np.abs(offsets.mean()) < 0.4  # 0.1 of 33 pixels


def test_shifts_move_whole_pixels_brightness_adds_and_gradients_pass():
    layer, image = RandomShiftAndBrightness(0.25, 0.1), np.random.default_rng(1).random((8, 8, 3)).astype(np.float32)
    padded, seen = np.pad(image, ((2, 2), (2, 2), (0, 0)), mode="edge"), set()
    for each in np.asarray(layer(np.stack([image] * 200), training=True)):
        fits = [(r, c) for r in range(5) for c in range(5) if np.ptp(each - padded[r : r + 8, c : c + 8]) < 1e-5]
        assert len(fits) == 1 and abs(np.mean(each - padded[fits[0][0] :, fits[0][1] :][:8, :8])) <= 0.1
        seen.update(fits)
    assert len(seen) == 25  # every shift of up to a quarter of 8 pixels along each axis


def test_what_cannot_work_is_refused():
    with pytest.raises(ConfigurationError, match="seed(.|\n)*-1"):
        RandomDihedral(seed=-1)
    with pytest.raises(ConfigurationError, match="rotation(.|\n)*181"):
        RandomRotationZoomShift(rotation=181)
    with pytest.raises(ConfigurationError, match="brightness(.|\n)*-0.1"):
        RandomShiftAndBrightness(brightness=-0.1)
    with pytest.raises(ConfigurationError, match=r"\(1, 8, 9, 3\)"):
        RandomDihedral()(np.zeros((1, 8, 9, 3), "float32"), training=True)
