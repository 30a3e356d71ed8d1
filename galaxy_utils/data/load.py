"""One door to all sources of galaxies."""

from pathlib import Path

from galaxy_utils.data.sources import identify_source
from galaxy_utils.profiles import get_profile


def load(source, profile="demo", seed=1):
    """Return galaxies with labels; what happens to them next does not depend on where they came from.

    Args:
        source: `"simulated"` (a survey rendered on this machine), `"galaxy10"` (the official file, downloaded once,
            2.54 GB), the path of an HDF5 file in the same format, or the path of a folder with one sub-folder of images
            per class.
        profile: Name of a profile; it decides how many galaxies are simulated, and nothing else here.
        seed: Seed of the simulated survey; other sources ignore it.

    Returns:
        A `GalaxyDataset`. Its images are read when they are indexed.

    Raises:
        ConfigurationError: There is no such source; the message lists the valid ones.
        DataError: The file or folder does not hold what it must.
        DownloadError: The official file could not be fetched.

    Example:
        >>> gu.load("simulated", profile="smoke")  # doctest: +SKIP
        GalaxyDataset('simulated': 400 galaxies, 10 classes, 256 px, 400 simulated galaxies (GalSim), not real ones)
    """
    profile = get_profile(profile)
    kind = identify_source(source)
    # Each source is imported only when it is asked for: GalSim alone takes half a second.
    if kind == "simulated":
        from galaxy_utils.data.simulated import load_simulated

        return load_simulated(profile, seed)
    if kind == "folder":
        from galaxy_utils.data.folder import open_folder

        return open_folder(Path(source).expanduser())
    from galaxy_utils.data.galaxy10 import fetch_galaxy10, open_galaxy10

    return open_galaxy10(fetch_galaxy10() if kind == "galaxy10" else Path(source).expanduser())
