"""Arrays in files: mapped into memory when they are sound, and never more of them unpacked than the file holds."""

import io
import json
import math
import zipfile
from pathlib import Path

import numpy as np

from galaxy_utils.files import locked, write_atomically


def open_array(path, shape, dtype):
    """Map the array of a `.npy` file into memory.

    Args:
        path: The file.
        shape: Shape that it must have.
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
    sound = array.shape == tuple(shape) and array.dtype == dtype and array.flags.c_contiguous
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
    size = sum(array.nbytes + 512 for array in arrays.values())
    with write_atomically(path, size) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)


def read_arrays(path):
    """Return `{name: array}` of a `.npz` file. Nothing in it can run, or take more memory than the file has bytes.

    Raises:
        Exception: Whatever NumPy and zipfile say of a damaged file; the caller uses `explain_read_errors`.
        ValueError: An array that is packed, or larger than its place in the file.
    """
    arrays = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            name = member.filename.removesuffix(".npy")
            if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
                raise ValueError(f"{name} is packed; arrays are stored as they are here")
            with archive.open(member) as file:
                version = np.lib.format.read_magic(file)
                read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
                shape, _, dtype = read[version](file)
                if dtype.hasobject or math.prod(shape) * dtype.itemsize > member.file_size:
                    raise ValueError(f"{name} is no array of numbers, or larger than its place in the file")
            # Read to the end, which checks the checksum.
            with archive.open(member) as file:
                arrays[name] = np.lib.format.read_array(file, allow_pickle=False)
    return arrays


def described(arrays, key):
    """Take the text in JSON that stands among arrays under `key`, and return what it says."""
    return json.loads(str(arrays.pop(key)))
