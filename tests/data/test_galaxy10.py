import h5py
import numpy as np
import pytest

from galaxy_utils.data.galaxy10 import MIRRORS, fetch_galaxy10, open_galaxy10
from galaxy_utils.errors import DataError
from galaxy_utils.files import cache_folder


def test_a_valid_file_becomes_a_dataset(write_galaxy10):
    path = write_galaxy10()
    dataset = open_galaxy10(path)
    with h5py.File(path) as file:
        assert np.array_equal(dataset.images[:], file["images"][:])
        assert np.array_equal(dataset.labels, file["ans"][:])
        assert np.array_equal(dataset.redshift, file["redshift"][:], equal_nan=True)
        assert np.array_equal(dataset.pixel_scale, file["pxscale"][:])
    assert np.isnan(dataset.redshift).any()
    assert dataset.labels.dtype == np.int64
    assert dataset.vote_fractions is None
    assert not dataset.is_simulated


def test_provenance_tells_official_partial_and_simulated_files_apart(write_galaxy10):
    partial = open_galaxy10(write_galaxy10())
    assert "60 galaxies" in partial.provenance and "not the 17,736" in partial.provenance
    simulated = open_galaxy10(write_galaxy10("simulated.h5", attributes={"simulated": True}))
    assert simulated.is_simulated and "not real" in simulated.provenance


def test_pixel_scale_is_read_and_extra_keys_are_left_alone(write_galaxy10):
    dataset = open_galaxy10(write_galaxy10(pxscale=np.full(60, 0.4), another=np.arange(3)))
    assert np.all(dataset.pixel_scale == 0.4)


def test_vote_fractions_are_read_and_checked(write_galaxy10):
    fractions = np.full((60, 10), 0.1)
    assert open_galaxy10(write_galaxy10(vote_fractions=fractions)).vote_fractions.dtype == np.float32
    fractions[7, 0] = 0.5
    with pytest.raises(DataError, match="row 7"):
        open_galaxy10(write_galaxy10(vote_fractions=fractions))


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
    ],
)
def test_wrong_contents_are_refused_with_key_expected_and_found(write_galaxy10, changes, told):
    path = write_galaxy10(**changes)
    with pytest.raises(DataError) as caught:
        open_galaxy10(path)
    for words in [str(path), "expected", "found", *told]:
        assert words in str(caught.value)


def test_missing_foreign_and_truncated_files_are_refused(write_galaxy10, tmp_path):
    with pytest.raises(DataError, match="no such file"):
        open_galaxy10(tmp_path / "absent.h5")
    page = tmp_path / "page.h5"
    page.write_text("<!DOCTYPE html>")
    with pytest.raises(DataError, match=r"not HDF5[\s\S]*DOCTYPE"):
        open_galaxy10(page)
    whole = write_galaxy10()
    cut = tmp_path / "cut.h5"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    with pytest.raises(DataError, match="truncated"):
        open_galaxy10(cut)


def test_fingerprint_follows_the_data(write_galaxy10):
    first = open_galaxy10(write_galaxy10("a.h5")).fingerprint
    assert open_galaxy10(write_galaxy10("b.h5")).fingerprint == first
    assert open_galaxy10(write_galaxy10("c.h5", ra=np.arange(60.0))).fingerprint != first
    assert open_galaxy10(write_galaxy10("d.h5", images=np.zeros((60, 32, 32, 3), np.uint8))).fingerprint != first


def test_a_file_put_by_hand_is_found_without_a_download():
    path = cache_folder() / "galaxy10" / "Galaxy10_DECals.h5"
    path.parent.mkdir(parents=True)
    path.touch()
    assert fetch_galaxy10() == path


def test_the_official_mirrors_are_https_with_full_checksums():
    assert MIRRORS
    for address, checksum in MIRRORS:
        assert address.startswith("https://")
        assert len(bytes.fromhex(checksum)) == 32
