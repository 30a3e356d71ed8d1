"""What a reader may name as source of galaxies. Standard library only: it is checked before anything is installed."""

import difflib
import os
from pathlib import Path

from galaxy_utils.errors import ConfigurationError, DataError

NAMED_SOURCES = ("simulated", "galaxy10")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
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
        DataError: It is a file that is not HDF5, or a folder of which a sub-folder holds no image.
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
    raise ConfigurationError(
        f"There is no source of galaxies {name!r}.",
        where="dataset",
        expected=VALID_SOURCES,
        found=found,
        remedy=f'Did you mean "{near[0]}"?' if near else None,
    )


def find_images(folder):
    """Return the images of every class folder, `{sub-folder: files}`, both sorted, without opening an image.

    Hidden files and folders are left alone.

    Args:
        folder: `Path` of the folder above the class folders.

    Raises:
        DataError: There is no sub-folder, none that holds an image, or some that hold none.
    """
    images = {
        entry: _image_files(entry)
        for entry in sorted(folder.iterdir())
        if entry.is_dir() and not entry.name.startswith((".", "__"))
    }
    empty = [entry.name for entry, files in images.items() if not files]
    expected = f"one sub-folder per class, each with files that end in {', '.join(IMAGE_SUFFIXES)}"
    if len(empty) == len(images):
        raise DataError(
            "The folder holds no galaxies: it has no sub-folders with images.",
            where=f"dataset {folder.absolute()}",
            expected=expected,
            found=f"sub-folders without an image: {_shortened(empty)}" if empty else "no sub-folder",
            remedy="Name the folder above the class folders. Other sources: " + VALID_SOURCES,
        )
    if empty:
        raise DataError(
            f"No images in {_shortened(empty)}.",
            where=f"dataset {folder.absolute()}",
            expected=expected,
            found=f"{len(empty):,} of {len(images):,} sub-folders without an image that can be read",
            remedy="Add images, or remove the empty sub-folders.",
        )
    return images


def _image_files(folder):
    if not os.access(folder, os.R_OK | os.X_OK):
        return []
    return sorted(
        file for file in folder.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".")
    )


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
        raise DataError(
            "The file is not HDF5.",
            where=path,
            expected="an HDF5 file in the format of Galaxy10 DECaLS",
            found=f"{path.stat().st_size:,} bytes that begin with {begins!r}",
            remedy="Download it again; a web page saved under this name is a common cause.",
        )
