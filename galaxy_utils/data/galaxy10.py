"""The official Galaxy10 DECaLS file: where it comes from, and how it is checked when it is opened."""

import hashlib
from pathlib import Path

import h5py
import numpy as np

from galaxy_utils.classes import CLASS_NAMES, NUM_CLASSES, OFFICIAL_CLASS_COUNTS
from galaxy_utils.data.dataset import GalaxyDataset
from galaxy_utils.data.download import download
from galaxy_utils.data.hdf5_images import HDF5Images
from galaxy_utils.data.sources import check_signature
from galaxy_utils.errors import DataError
from galaxy_utils.files import cache_folder, explain_read_errors

FILE_NAME = "Galaxy10_DECals.h5"
# (address, SHA-256), tried in this order. Only addresses that serve this very file belong here: the copies on Hugging
# Face hold the same galaxies in other formats.
MIRRORS = (
    (
        "https://zenodo.org/records/10845026/files/Galaxy10_DECals.h5",
        "19aefc477c41bb7f77ff07599a6b82a038dc042f889a111b0d4d98bb755c1571",
    ),
)
APPROXIMATE_BYTES = 2_540_000_000
FETCH_AGAIN = "Delete it and download or copy it again."

# Key → (number of axes, NumPy kinds of number, what that is called in a message).
COLUMNS = {
    "ans": (1, "ui", "integers, shape (n,)"),
    "ra": (1, "f", "floating point, shape (n,)"),
    "dec": (1, "f", "floating point, shape (n,)"),
    "redshift": (1, "f", "floating point, shape (n,)"),
    "pxscale": (1, "f", "floating point, shape (n,)"),
}


def fetch_galaxy10():
    """Return the path of the official file, downloading its 2.54 GB first where it is not there yet.

    Raises:
        DownloadError: The file could not be fetched; the message says where to put it by hand.
    """
    return download(
        MIRRORS,
        cache_folder() / "galaxy10" / FILE_NAME,
        size=APPROXIMATE_BYTES,
        alternative='To work without it: DATASET=simulated, or load("simulated"), needs no download.',
    )


def open_galaxy10(path):
    """Open a file in the format of Galaxy10 DECaLS, official, partial or simulated, and check all of its columns.

    Keys: `images` (n, side, side, 3) uint8; `ans` integer label 0–9; `ra`, `dec` in degrees; `redshift`, NaN where
    unknown; `pxscale` in arcseconds per pixel; optionally `vote_fractions` (n, 10). Other keys are left alone. A file
    whose root attribute `simulated` is true holds galaxies made by a program. In the official file rows are sorted by
    class, and 59 galaxies stand in it twice, under two labels.

    Args:
        path: The HDF5 file.

    Returns:
        A `GalaxyDataset` whose images stay in the file until they are indexed.

    Raises:
        DataError: The file is missing, not HDF5, truncated, or does not hold what it must; the message names file and
            key, what was expected and what was found.
    """
    path = Path(path)
    with _open_hdf5(path) as file, explain_read_errors("The file is damaged.", path, remedy=FETCH_AGAIN):
        num_galaxies, side = _check_images(file, path)
        columns = {key: _read_column(file, path, key, num_galaxies) for key in COLUMNS}
        vote_fractions = _read_vote_fractions(file, path, num_galaxies)
        is_simulated = bool(file.attrs.get("simulated", False))
        images = HDF5Images(path)
    _check_values(path, columns)

    labels = columns["ans"].astype(np.int64)
    if is_simulated:
        name, provenance = "simulated", f"{num_galaxies:,} simulated galaxies (GalSim), not real ones"
    elif tuple(np.bincount(labels, minlength=NUM_CLASSES)) == OFFICIAL_CLASS_COUNTS:
        name, provenance = "galaxy10", f"Galaxy10 DECaLS, all {num_galaxies:,} galaxies"
    else:
        official = sum(OFFICIAL_CLASS_COUNTS)
        name = path.stem
        provenance = f"{num_galaxies:,} galaxies from {path.name}, not the {official:,} of Galaxy10 DECaLS"
    return GalaxyDataset(
        name=name,
        provenance=provenance,
        images=images,
        labels=labels,
        ra=columns["ra"].astype(np.float64),
        dec=columns["dec"].astype(np.float64),
        redshift=columns["redshift"].astype(np.float64),
        pixel_scale=columns["pxscale"].astype(np.float64),
        vote_fractions=vote_fractions,
        is_simulated=is_simulated,
        fingerprint=_file_fingerprint(path, columns),
    )


def _open_hdf5(path):
    if not path.is_file():
        raise DataError("There is no such file.", where=path, expected="an HDF5 file")
    check_signature(path)
    size = f"a complete HDF5 file; this one has {path.stat().st_size:,} bytes"
    with explain_read_errors("The file is truncated or damaged.", path, expected=size, remedy=FETCH_AGAIN):
        return h5py.File(path, "r")


def _find(file, path, key):
    dataset = file.get(key)
    if not isinstance(dataset, h5py.Dataset):
        raise DataError(
            "The file lacks a key.", where=f"{path}, key {key!r}", expected=f"a data set {key!r}", found=sorted(file)
        )
    return dataset


def _wrong(path, key, expected, found):
    return DataError(
        "The file does not hold what it must.", where=f"{path}, key {key!r}", expected=expected, found=found
    )


def _check_images(file, path):
    images = _find(file, path, "images")
    shape = images.shape or ()
    if len(shape) != 4 or shape[3] != 3 or shape[1] != shape[2] or images.dtype != np.uint8:
        raise _wrong(path, "images", "shape (n, side, side, 3), dtype uint8", f"shape {shape}, dtype {images.dtype}")
    if 0 in shape:
        raise _wrong(path, "images", "at least one image", f"shape {shape}")
    return shape[0], shape[1]


def _read_column(file, path, key, num_galaxies):
    axes, kinds, description = COLUMNS[key]
    dataset = _find(file, path, key)
    if dataset.ndim != axes or dataset.dtype.kind not in kinds:
        raise _wrong(path, key, description, f"shape {dataset.shape}, dtype {dataset.dtype}")
    if len(dataset) != num_galaxies:
        raise _wrong(path, key, f"{num_galaxies:,} entries, one per image", f"{len(dataset):,} entries")
    return dataset[:]


def _read_vote_fractions(file, path, num_galaxies):
    key = "vote_fractions"
    if key not in file:
        return None
    dataset = _find(file, path, key)
    if dataset.shape != (num_galaxies, NUM_CLASSES) or dataset.dtype.kind != "f":
        expected = f"floating point, shape ({num_galaxies}, {NUM_CLASSES})"
        raise _wrong(path, key, expected, f"shape {dataset.shape}, dtype {dataset.dtype}")
    fractions = dataset[:].astype(np.float32)
    wrong = ~np.isclose(fractions.sum(axis=1), 1, atol=1e-3) | (fractions < 0).any(axis=1)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise _wrong(path, key, "fractions that sum to 1 in each row", f"row {row}: {fractions[row].tolist()}")
    return fractions


def _check_values(path, columns):
    allowed = {
        "ans": (0, NUM_CLASSES - 1, f"labels 0 to {NUM_CLASSES - 1} ({CLASS_NAMES[0]} to {CLASS_NAMES[-1]})"),
        "ra": (0, 360, "finite degrees, 0 to 360"),
        "dec": (-90, 90, "finite degrees, -90 to 90"),
        "pxscale": (1e-6, np.inf, "arcseconds per pixel above 0"),
    }
    for key, (lowest, highest, expected) in allowed.items():
        values = columns[key].astype(np.float64)
        wrong = ~(np.isfinite(values) & (values >= lowest) & (values <= highest))
        if wrong.any():
            row = int(np.argmax(wrong))
            raise _wrong(path, key, expected, f"{values[row]:g} in row {row}, {wrong.sum():,} such rows in all")


def _file_fingerprint(path, columns, sampled_blocks=64, block_bytes=65536):
    """Hash the columns, the file's size and evenly spaced blocks of its bytes.

    Bytes rather than decoded images: where a file compresses hundreds of images together, decoding 64 of them would
    decompress nearly all of it.
    """
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    for values in columns.values():
        digest.update(np.ascontiguousarray(values).tobytes())
    with open(path, "rb") as file:
        for start in np.linspace(0, max(0, size - block_bytes), sampled_blocks).astype(int):
            file.seek(int(start))
            digest.update(file.read(block_bytes))
    return digest.hexdigest()[:16]
