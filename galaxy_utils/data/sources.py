"""What a reader may name as source of galaxies. Standard library only: it is checked before anything is installed."""

import difflib
import os
import re
import unicodedata
from pathlib import Path

from galaxy_utils.errors import ConfigurationError, DataError

NAMED_SOURCES = ("simulated", "galaxy10")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif")
# What systems and editors put beside files of their own accord.
LITTER = ("__MACOSX", ".git", ".ipynb_checkpoints", ".DS_Store", "Thumbs.db", "desktop.ini")
# Names of a split's parts, such as images_training or test_set.
AROUND = "(?:images?|set|data|[^a-z])*"
PART = re.compile(f"{AROUND}(?:train|training|valid|validation|val|dev|test|testing|holdout){AROUND}")
HDF5_SUFFIXES = (".h5", ".hdf5")
# The first eight bytes of every HDF5 file (HDF5 file format specification, section II.A).
HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
NAMES_IN_A_MESSAGE = 8
VALID_SOURCES = (
    '"simulated" (rendered here, no download), "galaxy10" (the official file, downloaded once, 2.54 GB), '
    "the path of an .h5 or .hdf5 file with Galaxy10's keys, or a folder with one sub-folder of images per class"
)


def identify_source(source):
    """Return what kind of source `source` names: `"simulated"`, `"galaxy10"`, `"file"` or `"folder"`.

    Raises:
        ConfigurationError: It is none of these. The message lists what is valid.
        DataError: It is a file that is not HDF5, or a folder without one sub-folder of images for each class.
    """
    name = str(source)
    if name in NAMED_SOURCES:
        return name
    path = Path(name).expanduser()
    if name and path.is_dir():
        find_images(path)
        return "folder"
    if path.is_file() and path.suffix.lower() in HDF5_SUFFIXES:
        check_signature(path)
        return "file"
    near = difflib.get_close_matches(name.lower(), NAMED_SOURCES, n=1)
    if path.is_file():
        found = f"a file that does not end in {' or '.join(HDF5_SUFFIXES)}"
    elif path.suffix.lower() in HDF5_SUFFIXES or len(path.parts) > 1:
        found = f"a path that does not exist ({path.absolute()})"
    else:
        found = "neither a known name nor an existing path"
    problem, remedy = f"There is no source of galaxies {name!r}.", f'Did you mean "{near[0]}"?' if near else None
    raise ConfigurationError(problem, where="dataset", expected=VALID_SOURCES, found=found, remedy=remedy)


def find_images(folder):
    """Return the images of every class and what else lies in a folder, without opening an image.

    All images below a class folder are its own, in sub-folders too. Names are compared in their composed form (NFC):
    systems store é as one character or as two.

    Args:
        folder: `Path` of the folder above the class folders.

    Returns:
        `{class name: files}`, both sorted, and the sorted files that are no images of a class.

    Raises:
        DataError: There are no classes, only one, some without an image, or the sub-folders are parts of a split.
    """
    images, others, seen = {}, [], set()
    for place, names, files in os.walk(folder, onerror=refuse, followlinks=True):
        status = os.stat(place)
        # A link to a folder above would lead round in a circle.
        if (status.st_dev, status.st_ino) in seen:
            names.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        names[:] = sorted(set(names) - set(LITTER))
        parts = Path(place).relative_to(folder).parts
        if not parts:
            images = {composed(name): [] for name in names if not is_hidden(name)}
        # A folder with an image's name is named with what cannot be read.
        for file in [*files, *(name for name in names if _is_image(name))]:
            if _is_image(file) and parts and not any(map(is_hidden, (*parts, file))):
                images[composed(parts[0])].append(Path(place, file))
            elif file not in LITTER and not file.startswith("._") and file not in names:
                others.append(Path(place, file))
    images = {name: sorted(images[name], key=lambda file: composed(str(file))) for name in sorted(images)}
    _check_classes(folder, images, others)
    return images, sorted(others)


def own_name(name):
    """Return the name of a reader's own data: reports and cards take those of the built-in sources at their word."""
    return f"own_{name}" if name in NAMED_SOURCES else name


def composed(name):
    """Return a name in its composed form (NFC)."""
    return unicodedata.normalize("NFC", name)


def is_hidden(name):
    """Return whether a file or folder of this name is left out."""
    return name.startswith((".", "__"))


def _is_image(name):
    return Path(name).suffix.lower() in IMAGE_SUFFIXES


def refuse(error):
    """What `os.walk` is to do with a folder that cannot be read."""
    raise DataError("A folder cannot be read.", where=error.filename, found=error.strerror, remedy="make it readable")


def _check_classes(folder, images, others):
    beside = [file.name for file in others if file.parent == folder]
    full, empty = ([name for name, files in images.items() if bool(files) == wanted] for wanted in (True, False))
    expected = f"one sub-folder per class, each with files that end in {', '.join(IMAGE_SUFFIXES)}"
    if not full:
        problem = "The folder holds no galaxies: it has no sub-folders with images."
        found = f"sub-folders without an image: {_shortened(empty)}" if empty else "no sub-folder"
        remedy = "Name the folder above the class folders. Other sources: " + VALID_SOURCES
    elif parts := [name for name in full if PART.fullmatch(name.lower())]:
        problem, found = f"These sub-folders are parts of a split, not classes: {_shortened(parts)}.", None
        remedy = "Put the images of all parts into one folder per class: split() divides them. Where the class folders "
        remedy += "lie below, name one part. A class that is really called so needs another name."
    elif empty:
        problem, remedy = f"No images in {_shortened(empty)}.", "Add images, or remove the empty sub-folders."
        found = f"{len(empty):,} of {len(images):,} sub-folders without an image that can be read"
    elif len(full) == 1:
        problem = f"There is only one class, {full[0]!r}."
        found = f"{len(images[full[0]]):,} images in {full[0]}; beside it {_shortened(beside) or 'nothing'}"
        remedy = "Sort the images into one sub-folder per class; where a table beside them says the classes, a few "
        remedy += f"lines of Python do it. Where the classes lie deeper, name {folder / full[0]}."
    else:
        return
    if any(".fit" in file.name.lower() for file in others):
        remedy = f"FITS files are not read: stretch them to 8 bits (astropy.visualization), save them as PNG. {remedy}"
    raise DataError(problem, where=f"dataset {folder.absolute()}", expected=expected, found=found, remedy=remedy)


def _shortened(names):
    more = len(names) - NAMES_IN_A_MESSAGE
    return ", ".join(names[:NAMES_IN_A_MESSAGE]) + (f" and {more:,} more" if more > 0 else "")


def check_signature(path):
    """Refuse a file that does not begin as every HDF5 file does.

    Args:
        path: `Path` of the file.

    Raises:
        DataError: It begins otherwise.
    """
    with open(path, "rb") as file:
        begins = file.read(16)
    if not begins.startswith(HDF5_SIGNATURE):
        found = f"{path.stat().st_size:,} bytes that begin with {begins!r}"
        remedy = "Download it again; a web page saved under this name is a common cause."
        expected = "an HDF5 file in the format of Galaxy10 DECaLS"
        raise DataError("The file is not HDF5.", where=path, expected=expected, found=found, remedy=remedy)
