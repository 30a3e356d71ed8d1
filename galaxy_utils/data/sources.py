"""What a reader may name as source of galaxies. Standard library only: it is checked before anything is installed."""

from pathlib import Path

from galaxy_utils.errors import ConfigurationError

VALID_SOURCES = (
    '"simulated" (rendered here, no download), "galaxy10" (the official file, downloaded once, 2.54 GB), '
    "the path of an .h5 file with Galaxy10's keys, or the path of a folder with one sub-folder of images per class"
)


def identify_source(source):
    """Return what kind of source `source` names: `"simulated"`, `"galaxy10"`, `"file"` or `"folder"`.

    Raises:
        ConfigurationError: It is none of these. The message lists what is valid.
    """
    name = str(source)
    if name in ("simulated", "galaxy10"):
        return name
    path = Path(name).expanduser()
    if name and path.is_dir():
        return "folder"
    if name and path.is_file():
        return "file"
    raise ConfigurationError(
        f"There is no source of galaxies {name!r}.",
        where="dataset",
        expected=VALID_SOURCES,
        found="neither a known name nor an existing path",
    )
