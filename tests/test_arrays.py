"""Arrays in files: sound ones are mapped, others are not there; nothing is unpickled."""

import numpy as np
import pytest

from galaxy_utils.arrays import array_header, described, open_array, read_arrays, write_arrays

IMAGES = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)


def test_a_sound_file_is_mapped_and_cannot_be_changed(tmp_path):
    np.save(tmp_path / "a.npy", IMAGES)
    opened = open_array(tmp_path / "a.npy", IMAGES.shape, np.uint8)
    assert isinstance(opened, np.memmap) and not opened.flags.writeable
    np.testing.assert_array_equal(opened, IMAGES)
    assert (tmp_path / "a.npy").read_bytes() == array_header(IMAGES.shape, np.uint8) + IMAGES.tobytes()


def test_every_other_file_counts_as_none(tmp_path):
    path = tmp_path / "a.npy"
    assert open_array(path, IMAGES.shape, np.uint8) is None
    np.save(path, IMAGES)
    for shape, dtype in (((2, 4, 4), np.uint8), (IMAGES.shape, np.int8)):
        assert open_array(path, shape, dtype) is None
    whole = path.read_bytes()
    for content in (
        b"",
        whole[:-1],
        whole[:60],
        whole + b"\0",
        whole[:150] + b"\0" + whole[150:],
        b"PK" + whole,
        whole.replace(b"|u1", b"|O8"),
        b"\x93NUMPY" + bytes(90),
    ):
        path.write_bytes(content)
        assert open_array(path, IMAGES.shape, np.uint8) is None
    np.save(path, np.asfortranarray(IMAGES))
    assert open_array(path, IMAGES.shape, np.uint8) is None
    path.unlink()
    path.mkdir()
    assert open_array(path, IMAGES.shape, np.uint8) is None


def test_arrays_come_back_with_their_description(tmp_path):
    write_arrays(tmp_path / "a.npz", {"images": IMAGES, "about": np.array('{"epoch": 3}')})
    arrays = read_arrays(tmp_path / "a.npz")
    assert described(arrays, "about") == {"epoch": 3}
    assert list(arrays) == ["images"]
    np.testing.assert_array_equal(arrays["images"], IMAGES)


def test_nothing_is_unpickled(tmp_path):
    np.savez(tmp_path / "objects.npz", a=np.array({"a": 1}, dtype=object))
    with pytest.raises(ValueError, match="allow_pickle"):
        read_arrays(tmp_path / "objects.npz")
