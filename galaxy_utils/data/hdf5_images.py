"""Images that stay in an HDF5 file until they are indexed."""

import contextlib
import os
import re
from pathlib import Path

import h5py
import numpy as np

from galaxy_utils.data.positions import DEGREES
from galaxy_utils.errors import DataError, GalaxyUtilsError

# What HDF5 says of files that are sound, what that means, and what to do.
SOUND = (
    ("locks available|errno = (37|38|95)\\b", "This disk knows no locks.",
     "set the environment variable HDF5_USE_FILE_LOCKING to FALSE before Python starts"),
    ("lock file|already open|errno = 11\\b", "The file is open in another program or notebook.",
     "close it there, or end that notebook's kernel, and load it again. After a crash: h5clear -s FILE"),
    ("errno = (1|13)\\b|[Pp]ermission", "The file may not be read by you.", "change its permissions"),
    ("plugin|is not installed|not registered", "The file is packed with a filter that is not installed here.",
     "run `pip install hdf5plugin`, and `import hdf5plugin` before the file is loaded"),
    ("errno = (5|23|24|107|116)\\b", "The disk or the network does not give the file.", "connect it and try again"),
)  # fmt: skip


@contextlib.contextmanager
def explain_hdf5_errors(path, what="The file"):
    """Turn what HDF5 says into an error that tells a damaged file from a sound one that cannot be read now.

    Args:
        path: The file.
        what: What was read, as the beginning of a sentence about its damage.

    Raises:
        DataError: Instead of any exception that is not one of this package's own.
    """
    try:
        yield
    except GalaxyUtilsError:
        raise
    except Exception as error:
        found = f"{type(error).__name__}: {str(error)[:500]}"
        size = path.stat().st_size if path.is_file() else 0
        problem, expected = f"{what} is truncated or damaged.", f"a complete HDF5 file; this one has {size:,} bytes"
        remedy = "if it is still being copied or written, wait; otherwise copy or download it again beside this one"
        for pattern, sound_problem, sound_remedy in reversed(SOUND):
            if re.search(pattern, str(error)):
                problem, remedy = sound_problem, f"{sound_remedy}. The file is sound."
                expected = "a file that can be read now"
        raise DataError(problem, where=path, expected=expected, found=found, remedy=remedy) from error


def check_readable(dataset, path):
    """Refuse a data set whose filter or whose parts in other files are missing: HDF5 would fail, or give zeros.

    Raises:
        DataError: The message names the filter or the missing file.
    """
    plan = dataset.id.get_create_plist()
    for number in range(plan.get_nfilters()):
        code, _, _, name = plan.get_filter(number)
        if not h5py.h5z.filter_avail(code):
            raise OSError(f"filter {code} ({name.decode(errors='replace')}) of {dataset.name} is not installed")
    parts = [part.file_name for part in dataset.virtual_sources()] if dataset.is_virtual else []
    for name in parts + [part[0] for part in dataset.external or ()]:
        part = Path(dataset.file.filename).absolute().parent / name
        # A pattern stands for many files; where some of those are missing, images are blank.
        if name != "." and "%" not in name and not part.is_file():
            found, remedy = "no such file; HDF5 would give zeros", "copy all parts, as they lay beside one another"
            problem = f"A part of {dataset.name} is missing."
            raise DataError(problem, where=path, expected=f"the file {part}", found=found, remedy=remedy)


def unit_of(dataset):
    """Return the first letter of the angles' unit that a data set's attributes state; empty where they do not."""
    unit = dataset.attrs.get("units", dataset.attrs.get("unit", ""))
    letter = (unit.decode(errors="replace") if isinstance(unit, bytes) else str(unit))[:1].lower()
    return letter if letter in DEGREES else ""


class HDF5Images:
    """A lazy, read-only view of one data set of an HDF5 file, indexed along its first axis as in NumPy.

    The file is opened on first use and once per process, so that the object can be pickled and survives a fork.
    h5py itself only takes strictly increasing index lists; here they may be unsorted, repeated or negative.

    Args:
        path: The HDF5 file; the images are its data set `images`.

    Attributes:
        shape: Shape of the whole data set, first axis = rows.
        dtype: Type of its values.
        rows_per_chunk: Rows that the file stores together. Reading one of them decompresses all of them.
    """

    def __init__(self, path):
        self.path = Path(path).absolute()
        # The number of a process, and the file that it has opened.
        self._opened = None, None
        self._state = self._size_and_time()
        dataset = self._dataset()
        self.shape, self.dtype = tuple(dataset.shape), dataset.dtype
        self.rows_per_chunk = dataset.chunks[0] if dataset.chunks else 1

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, index):
        """Return one row (integer), or a new array of rows (slice, integer array, boolean mask).

        Raises:
            DataError: The file is damaged.
            IndexError: A row does not exist, or the index is none of the above.
        """
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step == 1:
                return self._read(start, max(start, stop))
        # What an array of row numbers gives for the same index: masks, negative rows and errors are NumPy's.
        rows = np.arange(len(self))[index]
        if np.ndim(rows) > 1:
            raise IndexError("index with an integer, a slice, a one-dimensional integer array or a mask")
        if np.ndim(rows) == 0:
            return self._read(rows, rows + 1)[0]
        images = np.empty((len(rows), *self.shape[1:]), self.dtype)
        order = np.argsort(rows, kind="stable")
        # Consecutive rows are read in one go: h5py's own index lists are slow for thousands of rows.
        for run in np.split(order, np.flatnonzero(np.diff(rows[order]) > 1) + 1) if len(rows) else ():
            first, last = rows[run[0]], rows[run[-1]]
            images[run] = self._read(first, last + 1)[rows[run] - first]
        return images

    def __array__(self, dtype=None, copy=None):
        if copy is False:
            raise ValueError("images in a file cannot become an array without being copied")
        return np.asarray(self[:], dtype=dtype)

    def __getstate__(self):
        return {**self.__dict__, "_opened": (None, None)}

    def close(self):
        """Close the file; the next access opens it again."""
        if self._opened[0] == os.getpid():
            self._opened[1].close()
        self._opened = None, None

    def _dataset(self):
        # An HDF5 handle that crosses a fork shares its file position with the parent: each process opens its own.
        if self._opened[0] != os.getpid():
            self._opened = os.getpid(), h5py.File(self.path, "r")
        return self._opened[1]["images"]

    def _size_and_time(self):
        status = self.path.stat()
        return status.st_size, status.st_mtime_ns

    def _read(self, first, last):
        with explain_hdf5_errors(self.path, f"{self.path.name}, rows {first} to {last - 1},"):
            if self._size_and_time() != self._state:
                raise DataError("The file was changed after it was loaded.", where=self.path, remedy="load it again")
            return self._dataset()[first:last]
