"""What a reader may name as source of galaxies. Standard library only: it is checked before anything is installed."""

import difflib
import os
from pathlib import Path

from galaxy_utils.errors import ConfigurationError, DataError

NAMED_SOURCES = ("simulated", "galaxy10")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
HDF5_SUFFIXES = (".h5", ".hdf5")
VALID_SOURCES = (
    '"simulated" (rendered here, no download), "galaxy10" (the official file, downloaded once, 2.54 GB), '
    "the path of an .h5 or .hdf5 file with Galaxy10's keys, or a folder with one sub-folder of images per class"
)


def identify_source(source):
    """Return what kind of source `source` names: `"simulated"`, `"galaxy10"`, `"file"` or `"folder"`.

    Raises:
        ConfigurationError: It is none of these. The message lists what is valid.
        DataError: It is a folder without sub-folders of images.
    """
    name = str(source)
    if name in NAMED_SOURCES:
        return name
    path = Path(name).expanduser()
    if name and path.is_dir():
        _check_images_in_it(path)
        return "folder"
    if path.is_file() and path.suffix.lower() in HDF5_SUFFIXES:
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


def _check_images_in_it(folder):
    """Refuse at once a folder that cannot be one of images; `open_folder` looks at every class and every image."""
    sub_folders = [entry for entry in folder.iterdir() if entry.is_dir() and os.access(entry, os.R_OK | os.X_OK)]
    if any(file.suffix.lower() in IMAGE_SUFFIXES for sub_folder in sub_folders for file in sub_folder.iterdir()):
        return
    raise DataError(
        "The folder holds no galaxies: it has no sub-folders with images.",
        where=f"dataset {folder.absolute()}",
        expected="one sub-folder per class, with files that end in " + ", ".join(IMAGE_SUFFIXES),
        found=f"{len(sub_folders)} sub-folders without an image",
        remedy="Name the folder above the class folders. Other sources: " + VALID_SOURCES,
    )
