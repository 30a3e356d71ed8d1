import subprocess
import sys
import zlib
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

import galaxy_utils as gu
from galaxy_utils.data.galaxy10 import open_galaxy10
from galaxy_utils.data.prepare import area_average
from galaxy_utils.errors import ConfigurationError, DataError, StorageError
from galaxy_utils.files import cache_folder


def exact_area_average(image, size):
    """Mean over the exact area of each new pixel, in float64: repeat pixels until the ratio is whole."""
    side = image.shape[0]
    fine = np.repeat(np.repeat(image.astype(np.float64), size, axis=0), size, axis=1)
    return fine.reshape(size, side, size, side, 3).mean(axis=(1, 3))


@pytest.mark.parametrize(("side", "size"), [(32, 16), (32, 8), (48, 16), (30, 20), (32, 12), (25, 24), (16, 20)])
def test_area_average_is_exact(side, size):
    images = np.random.default_rng(side).integers(0, 256, (5, side, side, 3), dtype=np.uint8)
    averaged = area_average(images, size)
    assert averaged.shape == (5, size, size, 3) and averaged.dtype == np.uint8
    assert np.all(area_average(np.full_like(images, 255), size) == 255)
    exact = np.stack([exact_area_average(image, size) for image in images])
    # Rounding costs half a step. Pillow divides by multiplying: with nine pixels it may round 0.44 up or 0.56 down.
    assert np.abs(averaged - exact).max() <= (0.56 if side == 3 * size else 0.5001)


def test_prepare_crops_the_centre_shrinks_it_and_adjusts_the_pixel_scale(write_galaxy10):
    dataset = open_galaxy10(write_galaxy10())
    prepared = gu.prepare(dataset, image_size=8, crop_fraction=0.5)
    centre = dataset.images[:][:, 8:24, 8:24]
    assert np.array_equal(prepared.images, area_average(centre, 8))
    assert isinstance(prepared.images, np.memmap) and not prepared.images.flags.writeable
    assert prepared.pixel_scale == pytest.approx(0.262 * 2)
    assert np.array_equal(prepared.labels, dataset.labels) and np.array_equal(prepared.ra, dataset.ra)
    assert prepared.source_fingerprint == dataset.fingerprint != prepared.fingerprint


@pytest.mark.parametrize("crop_fraction", [0.3, 0.5, 0.6, 0.77, 1.0])
def test_the_crop_keeps_the_centre_in_the_centre(write_galaxy10, crop_fraction):
    ring = np.zeros((60, 32, 32, 3), np.uint8)
    ring[:, 15:17, 15:17] = 255
    images = np.asarray(gu.prepare(open_galaxy10(write_galaxy10(images=ring)), 8, crop_fraction).images)
    assert np.array_equal(images, images[:, ::-1, ::-1])


def test_every_block_and_chunk_layout_gives_the_same_images(write_galaxy10, monkeypatch):
    dataset = open_galaxy10(write_galaxy10())
    expected = np.asarray(gu.prepare(dataset, 16, 1.0).images)
    whole = gu.prepare(dataset, 32, 1.0)
    assert np.array_equal(whole.images, dataset.images[:]) and np.array_equal(whole.pixel_scale, dataset.pixel_scale)
    monkeypatch.setattr("galaxy_utils.data.rows.BLOCK_BYTES", 32 * 32 * 3 * 10)
    for number, chunks in enumerate([(1, 32, 32, 3), (7, 8, 8, 1), (25, 32, 16, 3)]):
        monkeypatch.setenv("GALAXY_UTILS_CACHE", str(cache_folder() / str(number)))
        dataset = open_galaxy10(write_galaxy10(f"{number}.h5", image_options={"chunks": chunks}))
        assert dataset.images.rows_per_chunk == chunks[0]
        assert np.array_equal(gu.prepare(dataset, 16, 1.0).images, expected)


def test_the_second_call_opens_the_first_ones_file_and_other_settings_another(write_galaxy10):
    dataset = open_galaxy10(write_galaxy10())
    expected = np.array(gu.prepare(dataset, 8).images)
    (file,) = (cache_folder() / "prepared").glob("*.npy")
    written = file.stat().st_mtime_ns
    gu.prepare(dataset, 8)
    assert file.stat().st_mtime_ns == written
    # A damaged one is written again.
    file.write_bytes(file.read_bytes()[:-100])
    assert np.array_equal(gu.prepare(dataset, 8).images, expected)
    gu.prepare(dataset, 16)
    gu.prepare(dataset, 8, 1.0)
    assert len(list((cache_folder() / "prepared").glob("*.npy"))) == 3
    assert len({gu.prepare(dataset, size, crop).fingerprint for size in (8, 16) for crop in (0.5, 1.0)}) == 4


def test_a_damaged_image_is_named(write_galaxy10):
    path = write_galaxy10(image_options={"chunks": (10, 32, 32, 3), "compression": "gzip"})
    with h5py.File(path) as file:
        chunk = file["images"].id.get_chunk_info_by_coord((40, 0, 0, 0))
    with open(path, "r+b") as file:
        file.seek(chunk.byte_offset)
        file.write(bytes(chunk.size))
    with pytest.raises(DataError, match="small.h5, rows 0 to 59"):
        open_galaxy10(path)


@pytest.mark.parametrize(("image_size", "crop_fraction"), [(17, 0.5), (7, 0.5), (64, 1.0), (8, 0), (8, 1.1), (8, -0.5)])
def test_impossible_settings_are_refused(write_galaxy10, image_size, crop_fraction):
    with pytest.raises(ConfigurationError, match="image_size|crop_fraction"):
        gu.prepare(open_galaxy10(write_galaxy10()), image_size, crop_fraction)


def test_a_full_disk_is_noticed_first_and_leaves_nothing(write_galaxy10, monkeypatch):
    dataset = open_galaxy10(write_galaxy10())
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.raises(StorageError, match="no room"):
        gu.prepare(dataset, 8)
    assert not list(cache_folder().rglob("*.npy"))


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak memory where Linux keeps it")
def test_memory_stays_flat_while_a_larger_file_is_prepared(tmp_path):
    path = tmp_path / "large.h5"
    num_galaxies = 1000
    with h5py.File(path, "w") as file:
        # 197 MB of images in a small file; two pixels of each hold its number.
        file.create_dataset("images", (num_galaxies, 256, 256, 3), np.uint8, chunks=(16, 256, 256, 3), compression=1)
        block = np.full((16, 256, 256, 3), 7, np.uint8)
        for start in range(0, num_galaxies, 16):
            block[:, 9, 9, :2] = 8 + np.stack(np.divmod(np.arange(start, start + 16), 64), axis=1)
            file["images"].id.write_direct_chunk((start, 0, 0, 0), zlib.compress(block.tobytes(), 1))
        file["ans"] = (np.arange(num_galaxies) % 10).astype(np.uint8)
        for key in ("ra", "dec", "redshift", "pxscale"):
            file[key] = np.full(num_galaxies, 0.5)
    program = f"""
import galaxy_utils as gu
def peak_memory():
    return next(int(line.split()[1]) / 1e3 for line in open("/proc/self/status") if line.startswith("VmHWM"))
dataset, prepare = gu.load({str(path)!r}), gu.prepare
before = peak_memory()
images = prepare(dataset, 128, 1.0).images
grown = peak_memory() - before
assert images[-1][8:].max() == 7 and images[0][8:].min() == 7
print(grown)
"""
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert float(finished.stdout) < 100
