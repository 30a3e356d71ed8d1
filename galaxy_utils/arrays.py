"""Arrays in files: mapped into memory when they are sound, many in one archive, nothing unpickled."""

import io
import json
from pathlib import Path

import numpy as np

from galaxy_utils.files import locked, write_atomically


def open_array(path, shape, dtype):
    """Map the array of a `.npy` file into memory.

    Args:
        path: The file.
        shape: Shape that it must have; `None` in it stands for any length.
        dtype: Type that it must have.

    Returns:
        A read-only memory-mapped array, or `None` where there is no file, or one that is damaged or something else:
        whoever asks can then make it again.
    """
    # Devices and folders are no files either.
    if not Path(path).is_file():
        return None
    try:
        array = np.lib.format.open_memmap(path, mode="r")
    # A damaged header makes NumPy and the parser of Python behind it raise nearly anything.
    except Exception:
        return None
    fits = array.ndim == len(shape) and all(map(lambda length, found: length in (None, found), shape, array.shape))
    sound = fits and array.dtype == dtype and array.flags.c_contiguous
    # In a file that is longer, something was put in: everything behind it would be shifted.
    return array if sound and array.offset + array.nbytes == Path(path).stat().st_size else None


def open_or_make_array(path, shape, dtype, make):
    """Map the array of a `.npy` file into memory, and let it be made first where there is no sound one.

    What is there is opened without a lock, so that a cache which somebody else has filled may be read-only.

    Args:
        path: The file.
        shape: As in `open_array`.
        dtype: As in `open_array`.
        make: Function without arguments that writes the file. It is called by one process; others wait for it.

    Returns:
        A read-only memory-mapped array.
    """
    array = open_array(path, shape, dtype)
    if array is None:
        with locked(path):
            # Another process may have made it while this one waited for the lock.
            array = open_array(path, shape, dtype)
            if array is None:
                make()
                array = open_array(path, shape, dtype)
    return array


def array_header(shape, dtype):
    """Return the bytes with which a `.npy` file of this shape and type begins."""
    header = io.BytesIO()
    description = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, description)
    return header.getvalue()


def write_arrays(path, arrays):
    """Write named arrays into a `.npz` file, atomically. The caller holds `locked(path)`.

    Args:
        path: The file.
        arrays: `{name: array}`.
    """
    with write_atomically(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)


def read_arrays(path):
    """Return `{name: array}` of a `.npz` file, whose checksums are looked at. Nothing is unpickled.

    Raises:
        Exception: Whatever NumPy and zipfile say of a damaged file; the caller uses `explain_read_errors`.
    """
    with np.load(path, allow_pickle=False) as archive:
        return dict(archive)


def described(arrays, key):
    """Take the text in JSON that stands among arrays under `key`, and return what it says."""
    return json.loads(str(arrays.pop(key)))
