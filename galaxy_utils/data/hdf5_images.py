"""Images that stay in an HDF5 file until they are indexed."""

import os
from pathlib import Path

import h5py
import numpy as np

from galaxy_utils.files import explain_read_errors


class HDF5Images:
    """A lazy, read-only view of one data set of an HDF5 file, indexed along its first axis as in NumPy.

    The file is opened on first use and once per process, so that the object can be pickled and survives a fork.
    h5py itself only takes strictly increasing index lists; here they may be unsorted, repeated or negative.

    Args:
        path: The HDF5 file.
        key: Name of the data set in it.

    Attributes:
        shape: Shape of the whole data set, first axis = rows.
        dtype: Type of its values.
        rows_per_chunk: Rows that the file stores together. Reading one of them decompresses all of them.
    """

    def __init__(self, path, key="images"):
        self.path = Path(path).absolute()
        self.key = key
        self._file = None
        self._process = None
        dataset = self._dataset()
        self.shape = tuple(dataset.shape)
        self.dtype = dataset.dtype
        self.rows_per_chunk = dataset.chunks[0] if dataset.chunks else 1

    def __len__(self):
        return self.shape[0]

    @property
    def ndim(self):
        """Number of axes."""
        return len(self.shape)

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
        return {**self.__dict__, "_file": None, "_process": None}

    def __repr__(self):
        return f"HDF5Images({str(self.path)!r}, {self.key!r}, shape={self.shape}, dtype={self.dtype})"

    def close(self):
        """Close the file; the next access opens it again."""
        if self._file is not None and self._process == os.getpid():
            self._file.close()
        self._file = None

    def _dataset(self):
        # An HDF5 handle that crosses a fork shares its file position with the parent: each process opens its own.
        if self._file is None or self._process != os.getpid():
            self._file = h5py.File(self.path, "r")
            self._process = os.getpid()
        return self._file[self.key]

    def _read(self, first, last):
        with explain_read_errors(
            f"Images cannot be read: {self.path.name}, rows {first} to {last - 1}, damaged.",
            self.path,
            remedy="delete the file and download or copy it again",
        ):
            return self._dataset()[first:last]
