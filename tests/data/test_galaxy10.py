import os
import subprocess
import sys

import h5py
import numpy as np
import pytest
from toy_galaxies import galaxy10_columns

from galaxy_utils.data.galaxy10 import MIRRORS, open_galaxy10
from galaxy_utils.errors import DataError


def test_a_valid_file_becomes_a_dataset(write_galaxy10):
    path = write_galaxy10(pxscale=np.full(60, 0.4), another=np.arange(3), vote_fractions=np.full((60, 10), 0.1))
    dataset = open_galaxy10(path)
    with h5py.File(path) as file:
        assert np.array_equal(dataset.images[:], file["images"][:])
        assert np.array_equal(dataset.labels, file["ans"][:])
        assert np.array_equal(dataset.redshift, file["redshift"][:], equal_nan=True)
        assert np.array_equal(dataset.pixel_scale, file["pxscale"][:])
    assert np.isnan(dataset.redshift).any()
    assert dataset.labels.dtype == np.int64
    assert dataset.vote_fractions.dtype == np.float32
    assert open_galaxy10(write_galaxy10("without.h5")).vote_fractions is None
    assert not dataset.is_simulated


def test_provenance_tells_official_partial_and_simulated_files_apart(write_galaxy10):
    partial = open_galaxy10(write_galaxy10())
    assert "60 galaxies" in partial.provenance and "not the 17,736" in partial.provenance
    # A reader's own data are not taken for the official file because they are called like it.
    assert open_galaxy10(write_galaxy10("galaxy10.h5")).name == "own_galaxy10"
    simulated = open_galaxy10(write_galaxy10("simulated.h5", attributes={"simulated": True}))
    assert simulated.is_simulated and "not real" in simulated.provenance


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"images": None}, ["'images'", "lacks a key"]),
        ({"dec": None}, ["'dec'", "lacks a key"]),
        ({"images": np.zeros((60, 32, 32), np.uint8)}, ["'images'", "(n, side, side, 3)", "(60, 32, 32)"]),
        ({"images": np.zeros((60, 32, 24, 3), np.uint8)}, ["'images'", "(60, 32, 24, 3)"]),
        ({"images": np.zeros((60, 32, 32, 3), np.float32)}, ["'images'", "uint8", "float32"]),
        ({"images": np.zeros((0, 32, 32, 3), np.uint8)}, ["'images'", "at least one image"]),
        ({"ans": np.zeros(60)}, ["'ans'", "integer", "float64"]),
        ({"ans": np.zeros((60, 1), np.uint8)}, ["'ans'", "(60, 1)"]),
        ({"ans": np.zeros(59, np.uint8)}, ["'ans'", "(60,)", "(59,)"]),
        ({"ans": np.r_[np.zeros(59), 10].astype(np.uint8)}, ["'ans'", "0 to 9", "10 in row 59"]),
        ({"ans": np.r_[np.zeros(59), -1].astype(np.int8)}, ["'ans'", "-1 in row 59"]),
        ({"ra": np.r_[np.nan, np.zeros(59)]}, ["'ra'", "finite", "nan in row 0"]),
        ({"dec": np.r_[np.zeros(59), np.inf]}, ["'dec'", "inf in row 59"]),
        ({"dec": np.full(60, 91.0)}, ["'dec'", "60 such rows"]),
        ({"redshift": np.zeros(60, int)}, ["'redshift'", "floating point"]),
        ({"pxscale": np.zeros(60)}, ["'pxscale'", "above 0"]),
        ({"vote_fractions": np.full((60, 10), 0.2)}, ["sum to 1", "in row 0", "60 such rows"]),
        ({"vote_fractions": np.full((60, 9), 1 / 9)}, ["(60, 10)", "(60, 9)"]),
    ],
)
def test_wrong_contents_are_refused_with_key_expected_and_found(write_galaxy10, changes, told):
    path = write_galaxy10(**changes)
    with pytest.raises(DataError) as caught:
        open_galaxy10(path)
    for words in [str(path), "expected", "found", *told]:
        assert words in str(caught.value)


def test_missing_and_truncated_files_are_refused(write_galaxy10, tmp_path):
    with pytest.raises(DataError, match="no such file"):
        open_galaxy10(tmp_path / "absent.h5")
    whole = write_galaxy10()
    cut = tmp_path / "cut.h5"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    with pytest.raises(DataError, match="truncated"):
        open_galaxy10(cut)


def test_fingerprint_follows_the_data(write_galaxy10):
    first = open_galaxy10(write_galaxy10("a.h5")).fingerprint
    assert open_galaxy10(write_galaxy10("b.h5")).fingerprint == first
    assert open_galaxy10(write_galaxy10("c.h5", ra=np.arange(60.0))).fingerprint != first
    # Changed in place, in one pixel, at the same size and time.
    path = write_galaxy10("d.h5")
    dataset, status = open_galaxy10(path), path.stat()
    dataset.images.close()
    with h5py.File(path, "r+") as file:
        file["images"][31, 5, 6, 1] ^= 1
    with pytest.raises(DataError, match="changed after it was loaded"):
        dataset.images[0]
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert open_galaxy10(path).fingerprint != first


def test_a_large_file_is_looked_at_once_and_again_when_its_time_changes(write_galaxy10, monkeypatch):
    monkeypatch.setattr("galaxy_utils.data.galaxy10.LARGE_FILE", 0)
    path = write_galaxy10()
    first = open_galaxy10(path).fingerprint
    monkeypatch.setattr("galaxy_utils.data.galaxy10.image_blocks", lambda images: pytest.fail("read again"))
    assert open_galaxy10(path).fingerprint == first
    os.utime(path, ns=(0, 0))
    with pytest.raises(BaseException, match="read again"):
        open_galaxy10(path)


def test_rows_that_were_never_written_are_refused_and_a_few_blank_ones_counted(write_galaxy10, capsys):
    images = galaxy10_columns()["images"]
    images[57:] = 0
    assert len(open_galaxy10(write_galaxy10(images=images))) == 60
    assert "3 of 60 images are blank" in capsys.readouterr().out
    images[30:] = 0
    with pytest.raises(DataError, match="30 of 60 images are blank"):
        open_galaxy10(write_galaxy10(images=images))


def test_a_virtual_data_set_needs_its_parts_and_follows_them(write_galaxy10, tmp_path):
    part, whole = write_galaxy10("part.h5"), write_galaxy10("whole.h5", images=None)
    layout = h5py.VirtualLayout((60, 32, 32, 3), "u1")
    layout[:] = h5py.VirtualSource("part.h5", "images", (60, 32, 32, 3))
    with h5py.File(whole, "r+") as file:
        file.create_virtual_dataset("images", layout)
    first = open_galaxy10(whole).fingerprint
    with h5py.File(part, "r+") as file:
        file["images"][0] = 255 - file["images"][0]
    assert open_galaxy10(whole).fingerprint != first
    part.unlink()
    with pytest.raises(DataError, match="part.h5"):
        open_galaxy10(whole)


def test_a_file_that_is_open_elsewhere_is_sound(write_galaxy10):
    path = write_galaxy10()
    program = f"import h5py; f = h5py.File({str(path)!r}, 'r+'); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=-1, stdout=-1) as other:
        other.stdout.readline()
        with pytest.raises(DataError, match="open in another") as caught:
            open_galaxy10(path)
        other.communicate(b"\n")
    assert "The file is sound" in str(caught.value) and "elete" not in str(caught.value)


@pytest.mark.parametrize("key", ["images", "ra"])
def test_a_filter_that_is_not_installed_is_named(write_galaxy10, key):
    path = write_galaxy10(**{key: None})
    with h5py.File(path, "r+") as file:
        # 32015, Zstandard, is not part of h5py; marked optional, so that values can be written without it.
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        values = galaxy10_columns()[key]
        plan.set_chunk(values.shape)
        plan.set_filter(32015, h5py.h5z.FLAG_OPTIONAL)
        space = h5py.h5s.create_simple(values.shape)
        h5py.h5d.create(file.id, key.encode(), h5py.h5t.py_create(values.dtype), space, plan)
    with pytest.raises(DataError, match=f"filter 32015.*{key}[\\s\\S]*hdf5plugin[\\s\\S]*sound"):
        open_galaxy10(path)


def test_the_unit_of_right_ascension_is_asked_for_and_taken_from_the_file(write_galaxy10):
    hours = galaxy10_columns()["ra"] / 15
    path = write_galaxy10(ra=hours)
    with pytest.raises(DataError, match="degrees, hours or radians"):
        open_galaxy10(path)
    with h5py.File(path, "r+") as file:
        file["ra"].attrs["units"] = "hours"
    np.testing.assert_allclose(open_galaxy10(path).ra, 15 * hours)
    path = write_galaxy10(**{key: np.radians(galaxy10_columns()[key]) for key in ("ra", "dec")})
    with h5py.File(path, "r+") as file:
        file["ra"].attrs["units"] = file["dec"].attrs["units"] = "rad"
    np.testing.assert_allclose(open_galaxy10(path).dec, galaxy10_columns()["dec"])
    around_zero = np.linspace(-180, 180, 60)
    np.testing.assert_allclose(open_galaxy10(write_galaxy10(ra=around_zero)).ra, around_zero % 360)


def test_the_official_mirrors_are_https_with_full_checksums():
    assert MIRRORS
    for address, checksum in MIRRORS:
        assert address.startswith("https://")
        assert len(bytes.fromhex(checksum)) == 32
