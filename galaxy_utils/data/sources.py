"""What a reader may name as source of galaxies. Standard library only: it is checked before anything is installed."""

import difflib
from pathlib import Path

from galaxy_utils.errors import ConfigurationError

NAMED_SOURCES = ("simulated", "galaxy10")
HDF5_SUFFIXES = (".h5", ".hdf5")
VALID_SOURCES = (
    '"simulated" (rendered here, no download), "galaxy10" (the official file, downloaded once, 2.54 GB), '
    "the path of an .h5 or .hdf5 file with Galaxy10's keys, or a folder with one sub-folder of images per class"
)


def identify_source(source):
    """Return what kind of source `source` names: `"simulated"`, `"galaxy10"`, `"file"` or `"folder"`.

    Raises:
        ConfigurationError: It is none of these. The message lists what is valid.
    """
    name = str(source)
    if name in NAMED_SOURCES:
        return name
    path = Path(name).expanduser()
    if name and path.is_dir():
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
