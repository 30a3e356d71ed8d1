"""The official Galaxy10 DECaLS file: where it comes from, and how it is checked when it is opened."""

import contextlib
import hashlib
import json
from pathlib import Path

import h5py
import numpy as np

from galaxy_utils.classes import NUM_CLASSES, OFFICIAL_CLASS_COUNTS
from galaxy_utils.data.dataset import GalaxyDataset
from galaxy_utils.data.download import download
from galaxy_utils.data.hdf5_images import HDF5Images, check_readable, explain_hdf5_errors, unit_of
from galaxy_utils.data.positions import DEGREES, check_positions
from galaxy_utils.data.rows import check_blank, image_blocks
from galaxy_utils.data.sources import check_signature, own_name
from galaxy_utils.errors import DataError, StorageError
from galaxy_utils.files import cache_folder, write_json
from galaxy_utils.progress import progress_bar

# (address, SHA-256), tried in this order. Only addresses that serve this very file belong here: the copies on Hugging
# Face hold the same galaxies in other formats.
SHA_256 = "19aefc477c41bb7f77ff07599a6b82a038dc042f889a111b0d4d98bb755c1571"
MIRRORS = (("https://zenodo.org/records/10845026/files/Galaxy10_DECals.h5", SHA_256),)
APPROXIMATE_BYTES = 2_540_000_000
# Larger files are read from beginning to end when they are first seen, and again when their size or time has changed.
LARGE_FILE = 64 * 2**20

# Key → (NumPy kinds of number, rows that are right, how a message calls them). Redshifts may be unknown.
COLUMNS = {
    "ans": ("ui", lambda label: (label >= 0) & (label < NUM_CLASSES), f"integer labels 0 to {NUM_CLASSES - 1}"),
    "ra": ("f", lambda ra: (ra >= -180) & (ra <= 360), "finite degrees, 0 to 360 or -180 to 180"),
    "dec": ("f", lambda dec: abs(dec) <= 90, "finite degrees, -90 to 90"),
    "redshift": ("f", lambda redshift: np.full(redshift.shape, True), "floating point numbers"),
    "pxscale": ("f", lambda scale: (scale >= 1e-6) & (scale < np.inf), "arcseconds per pixel above 0"),
}
VOTES = ("f", lambda votes: np.isclose(votes.sum(axis=1), 1, atol=1e-3) & (votes >= 0).all(axis=1),
         "fractions that sum to 1 in each row")  # fmt: skip
# Attribute of the data set → key of the file.
FLOATS = {"ra": "ra", "dec": "dec", "redshift": "redshift", "pixel_scale": "pxscale"}


def fetch_galaxy10():
    """Return the path of the official file, downloading its 2.54 GB first where it is not there yet.

    Raises:
        DownloadError: The file could not be fetched; the message says where to put it by hand.
    """
    path = cache_folder() / "galaxy10" / "Galaxy10_DECals.h5"
    alternative = 'To work without it: DATASET=simulated, or load("simulated"), needs no download.'
    return download(MIRRORS, path, size=APPROXIMATE_BYTES, alternative=alternative)


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
    if not path.is_file():
        raise DataError("There is no such file.", where=path, expected="an HDF5 file")
    check_signature(path)
    with explain_hdf5_errors(path), h5py.File(path, "r") as file:
        shape = _find(file, path, "images").shape or ()
        dtype = file["images"].dtype
        if len(shape) != 4 or shape[3] != 3 or shape[1] != shape[2] or dtype != np.uint8 or 0 in shape:
            expected = "at least one image: shape (n, side, side, 3), dtype uint8"
            raise _wrong(path, "images", expected, f"shape {shape}, dtype {dtype}")
        num_galaxies, votes = shape[0], None
        columns = {key: _read_column(file, path, key, (num_galaxies,), *about) for key, about in COLUMNS.items()}
        if "vote_fractions" in file:
            votes = _read_column(file, path, "vote_fractions", (num_galaxies, NUM_CLASSES), *VOTES).astype(np.float32)
        is_simulated = bool(file.attrs.get("simulated", False))
        unit = unit_of(file["ra"])
        answer = 'file["ra"].attrs["units"] = "deg", "h" or "rad"; for radians the same of file["dec"]'
        columns["dec"] = columns["dec"] * DEGREES[unit_of(file["dec"]) or "d"]
        columns["ra"], columns["dec"] = check_positions(columns["ra"], columns["dec"], f"{path}, key ra", unit, answer)
        images = HDF5Images(path)
        is_whole = not (file["images"].is_virtual or file["images"].external or file["images"].file != file)
        content, blank = _look_at_images(path, images, is_whole)
    check_blank(blank, num_galaxies, path, "row")
    digest = hashlib.sha256(content.encode())
    for values in (*columns.values(), votes):
        digest.update(b"-" if values is None else np.ascontiguousarray(values).tobytes())

    labels = columns["ans"].astype(np.int64)
    if is_simulated:
        name, provenance = "simulated", f"{num_galaxies:,} simulated galaxies (GalSim), not real ones"
    elif tuple(np.bincount(labels, minlength=NUM_CLASSES)) == OFFICIAL_CLASS_COUNTS:
        name, provenance = "galaxy10", f"Galaxy10 DECaLS, all {num_galaxies:,} galaxies"
    else:
        name, official = own_name(path.stem), sum(OFFICIAL_CLASS_COUNTS)
        provenance = f"{num_galaxies:,} galaxies from {path.name}, not the {official:,} of Galaxy10 DECaLS"
    floats = {name: columns[key].astype(np.float64) for name, key in FLOATS.items()}
    about = {"is_simulated": is_simulated, "fingerprint": digest.hexdigest()[:16]}
    return GalaxyDataset(name, provenance, images, labels, **floats, vote_fractions=votes, **about)


def _find(file, path, key):
    dataset = file.get(key)
    if not isinstance(dataset, h5py.Dataset):
        raise _wrong(path, key, f"a data set {key!r}", sorted(file), "The file lacks a key.")
    check_readable(dataset, path)
    return dataset


def _wrong(path, key, expected, found, problem="The file does not hold what it must."):
    return DataError(problem, where=f"{path}, key {key!r}", expected=expected, found=found)


def _read_column(file, path, key, shape, kinds, is_right, expected):
    dataset = _find(file, path, key)
    if dataset.shape != shape or dataset.dtype.kind not in kinds:
        found = f"shape {dataset.shape}, dtype {dataset.dtype}"
        raise _wrong(path, key, f"{expected}, one per image: shape {shape}", found)
    values = dataset[:]
    wrong = ~is_right(values.astype(np.float64))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise _wrong(path, key, expected, f"{values[row].tolist()} in row {row}, {wrong.sum():,} such rows in all")
    return values


def _look_at_images(path, images, is_whole):
    """Return a hash over every image, and the rows of which all pixels have one value.

    Of a large file this is kept in the cache: as long as its size and its time stay, it is not read again. Images that
    lie in other files are read each time.
    """
    size, time = path.stat().st_size, path.stat().st_mtime_ns
    record = cache_folder() / "checked" / f"{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]}.json"
    is_kept = is_whole and size > LARGE_FILE
    # Where there is no sound record, it is made again.
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        known = json.loads(record.read_text(encoding="utf-8")) if is_kept else {}
        if known["file"] == [size, time]:
            return known["content"], known["blank"]
    digest, blank = hashlib.sha256(repr(images.shape).encode()), []
    with progress_bar(len(images), f"Checking {path.name}") as bar:
        for first, last in image_blocks(images):
            block = images[first:last]
            digest.update(block)
            pixels = block.reshape(len(block), -1)
            blank += (first + np.flatnonzero((pixels == pixels[:, :1]).all(axis=1))).tolist()
            bar.update(last - first)
    if is_kept:
        with contextlib.suppress(StorageError):
            write_json(record, {"file": [size, time], "content": digest.hexdigest(), "blank": blank})
    return digest.hexdigest(), blank
