"""Rows of a data set, checked before anything long begins."""

import numpy as np

from galaxy_utils.errors import DataError


def checked_rows(dataset, rows, where="rows"):
    """Return row indices as int64.

    Raises:
        DataError: They are no row indices, or the dataset does not have them.
    """
    rows = np.asarray(rows)
    if rows.ndim != 1 or len(rows) == 0 or not np.issubdtype(rows.dtype, np.integer):
        raise DataError(
            "These are no rows.",
            where=where,
            expected="a one-dimensional array of row indices, at least one",
            found=f"shape {rows.shape}, dtype {rows.dtype}",
        )
    if rows.min() < 0 or rows.max() >= len(dataset):
        raise DataError(
            "The dataset does not have these rows.",
            where=where,
            expected=f"rows 0 to {len(dataset) - 1:,}",
            found=f"rows {rows.min():,} to {rows.max():,}",
            remedy="use the split that was made from this dataset",
        )
    return rows.astype(np.int64)
