"""Rows of a data set, checked before anything long begins."""

import math

import numpy as np

from galaxy_utils.errors import DataError

# Images are read in blocks of about this many bytes, so that memory stays flat however large the file is.
BLOCK_BYTES = 64 * 2**20
LISTED = 10


def image_blocks(images):
    """Return ranges of rows to read together, in whole chunks of the file so that none is decompressed twice."""
    rows_per_chunk = getattr(images, "rows_per_chunk", 1)
    rows = max(1, BLOCK_BYTES // math.prod(images.shape[1:]) // rows_per_chunk) * rows_per_chunk
    return [(first, min(first + rows, images.shape[0])) for first in range(0, images.shape[0], rows)]


def checked_rows(dataset, rows, where="rows"):
    """Return row indices as int64, those of all rows for `None`.

    Raises:
        DataError: They are no row indices, or the dataset does not have them.
    """
    rows = np.arange(len(dataset)) if rows is None else np.asarray(rows)
    if rows.ndim != 1 or len(rows) == 0 or not np.issubdtype(rows.dtype, np.integer):
        expected, found = "a one-dimensional array of row indices", f"shape {rows.shape}, dtype {rows.dtype}"
        raise DataError("These are no rows.", where=where, expected=expected, found=found)
    if rows.min() < 0 or rows.max() >= len(dataset):
        expected, found = f"rows 0 to {len(dataset) - 1:,}", f"rows {rows.min():,} to {rows.max():,}"
        problem, remedy = "The dataset does not have these rows.", "use the split that was made from this dataset"
        raise DataError(problem, where=where, expected=expected, found=found, remedy=remedy)
    return rows.astype(np.int64)


def check_blank(blank, count, where, name):
    """Say how many images are blank, and refuse more than a few: a file written in part has zeros for the rest.

    Args:
        blank: Rows or names of images of which all pixels have one value.
        count: Number of all images.
        where: Their file or folder.
        name: What stands before an entry of `blank`.

    Raises:
        DataError: More than 3 of them, and more than one in a hundred, are blank.
    """
    if blank:
        told = f"{len(blank):,} of {count:,} images are blank, one value everywhere"
        listed = listing([f"{name} {entry}".strip() for entry in blank])
        if len(blank) > max(3, count / 100):
            remedy = "finish the conversion that wrote them, or leave them out"
            raise DataError(f"{told}.", where=where, expected="images", found=listed, remedy=remedy)
        print(f"{told}:{listed}")


def listing(entries):
    """Return at most ten entries, one a line, and how many more there are."""
    more = [f"and {len(entries) - LISTED:,} more"] if len(entries) > LISTED else []
    return "".join(f"\n    {entry}" for entry in [*entries[:LISTED], *more])
