"""The package's own errors. Every message says what was wrong, where, what was expected and what to do."""


class GalaxyUtilsError(Exception):
    """Base of all errors that `galaxy_utils` raises on purpose.

    Args:
        problem: One sentence that says what was wrong.
        where: The file, key, argument or class in which it was found.
        expected: What would have been right.
        found: What was there instead.
        remedy: What the reader can do next.
    """

    def __init__(self, problem, *, where=None, expected=None, found=None, remedy=None):
        details = {"where": where, "expected": expected, "found": found, "what to do": remedy}
        lines = [str(problem)]
        lines += [f"  {name}: {value}" for name, value in details.items() if value is not None]
        super().__init__("\n".join(lines))


class ConfigurationError(GalaxyUtilsError, ValueError):
    """An argument, profile, recipe or setting is not valid."""


class DataError(GalaxyUtilsError, ValueError):
    """A file or array does not hold what it must hold."""


class DownloadError(GalaxyUtilsError, OSError):
    """A file could not be fetched from any of its addresses."""


class StorageError(GalaxyUtilsError, OSError):
    """A file could not be written: the disk is full, or its folder cannot be written to."""
