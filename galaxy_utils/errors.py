"""The package's own errors. Every message says what was wrong, where, what was expected and what to do."""

from numbers import Integral, Real


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
        self.found = found


class ConfigurationError(GalaxyUtilsError, ValueError):
    """An argument, profile, recipe or setting is not valid."""


class DataError(GalaxyUtilsError, ValueError):
    """A file or array does not hold what it must hold."""


class DownloadError(GalaxyUtilsError, OSError):
    """A file could not be fetched from any of its addresses."""


class StorageError(GalaxyUtilsError, OSError):
    """A file could not be written: the disk is full, or its folder cannot be written to."""


def check_argument(is_right, name, value, expected):
    """Refuse an argument that is not right, by name.

    Args:
        is_right: Whether it is.
        name: The argument's name.
        value: What was given.
        expected: What would have been right.

    Raises:
        ConfigurationError: It is not.

    Example:
        >>> check_argument("average" in ("flatten", "average"), "pooling", "average", "'flatten' or 'average'")
    """
    if not is_right:
        raise ConfigurationError(f"This is no valid {name}.", where=name, expected=expected, found=repr(value))


def check_integer(name, value, smallest, reason="", *, multiple_of=1):
    """Refuse an argument that is no integer, too small or no multiple of a number, by name.

    Args:
        name: The argument's name.
        value: What was given.
        smallest: Smallest valid value.
        reason: Why it cannot be smaller, or another.
        multiple_of: What it must be a multiple of.

    Raises:
        ConfigurationError: The value is not valid.

    Example:
        >>> check_integer("image_size", 64, 16)
    """
    is_integer = isinstance(value, Integral) and not isinstance(value, bool)
    kind = f"a multiple of {multiple_of}" if multiple_of > 1 else "an integer"
    expected = f"{kind}, at least {smallest}" + f": {reason}" * bool(reason)
    check_argument(is_integer and value >= smallest and value % multiple_of == 0, name, value, expected)


def check_number(name, value, interval):
    """Refuse an argument that is no number, or one outside an interval, by name.

    Args:
        name: The argument's name.
        value: What was given.
        interval: Valid values as mathematicians write them: `"[0, 1)"` holds 0 and not 1.

    Raises:
        ConfigurationError: The value is not valid.

    Example:
        >>> check_number("dropout", 0.25, "[0, 1)")
    """
    low, high = map(float, interval[1:-1].split(","))
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    inside = is_number and low <= value <= high
    inside = inside and not (value == low and interval[0] == "(") and not (value == high and interval[-1] == ")")
    check_argument(inside, name, value, f"a number in {interval}")
