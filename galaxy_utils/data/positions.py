"""Positions on the sky as people write them: degrees, hours, radians, sexagesimal, with placeholders."""

import numpy as np

from galaxy_utils.errors import DataError

UNKNOWN = ("", "nan", "null", "none", "na", "n/a", "-", "--", "?", "masked")
PLACEHOLDERS = (99, 99.9, 99.99, 999, 999.9, 9999, 99999)
DEGREES = {"d": 1.0, "h": 15.0, "r": 180 / np.pi}


def parse_position(ra, dec, ra_unit="", dec_unit=""):
    """Return right ascension and declination in degrees, right ascension from 0 to 360.

    Args:
        ra: Text: a number with a decimal point or comma, or sexagesimal, `10:20:30.5` or `10h20m30.5s`, then hours
            unless it says degrees. Empty, `nan`, `null` and the like, and -99 beside another placeholder, are unknown.
        dec: Likewise, in degrees.
        ra_unit: Unit of numbers; its first letter counts: degrees, hours or radians.
        dec_unit: Likewise.

    Returns:
        Two numbers, NaN where the position is unknown.

    Raises:
        ValueError: They are no position.

    Example:
        >>> parse_position("10:20:30", "-5:30:00")
        (155.125, -5.5)
        >>> parse_position("-10,5", "2")
        (349.5, 2.0)
    """
    found = f"ra {ra!r}, dec {dec!r}"
    try:
        values = _parse_angle(ra, ra_unit, "hourangle"), _parse_angle(dec, dec_unit, "deg")
        is_unknown = [np.isnan(value) or abs(value) in PLACEHOLDERS for value in values]
        if all(is_unknown) and not abs(values[1]) <= 90:
            return np.nan, np.nan
        if np.isnan(values).any() or (is_unknown[0] and values[0] < 0):
            raise ValueError("only one of them is known")
    # astropy has errors of several kinds.
    except Exception as error:
        raise ValueError(f"{found} are not two numbers") from error
    if not (-180 <= values[0] <= 360 and -90 <= values[1] <= 90):
        raise ValueError(f"{found} are not degrees on the sky (0 to 360 or -180 to 180, -90 to 90)")
    return values[0] % 360, values[1]


def _parse_angle(text, unit, sexagesimal):
    text = text.strip().replace("\u2212", "-").replace(",", ".")
    if text.lower() in UNKNOWN:
        return np.nan
    try:
        value = float(text)
    except ValueError:
        from astropy.coordinates import Angle

        return round(float(Angle(text, sexagesimal).degree), 10)
    return value * (1 if abs(value) in PLACEHOLDERS else DEGREES[unit[:1] or "d"])


def check_positions(ra, dec, where, unit, answer):
    """Return positions in degrees, or ask for the unit of right ascension where its range gives away another one.

    Args:
        ra: Right ascension, shape (n,), NaN where unknown.
        dec: Declination in degrees, likewise.
        where: File and column.
        unit: Unit of `ra` that the file itself states; empty where it does not: then degrees, unless the range of
            values looks like hours or radians.
        answer: How a reader states it, for the message.

    Returns:
        `ra`, from 0 to 360, and `dec`.

    Raises:
        DataError: The unit is not stated, and the values look like hours or radians.
    """
    unit = unit[:1].lower() if unit[:1].lower() in DEGREES else ""
    known = ra[np.isfinite(ra)]
    if not unit and len(known) > 1 and known.min() >= 0 and known.max() <= 24:
        wide, high = np.ptp(known), np.nanmax(dec) - np.nanmin(dec)
        is_radians = known.max() <= 2 * np.pi and wide > 4 and np.nanmax(np.abs(dec)) <= np.pi / 2
        if wide > 12 or is_radians or (len(known) > 4 and high > max(0.1, 3 * wide)):
            problem, expected = "Is right ascension given in degrees, hours or radians?", "degrees, or a stated unit"
            found = f"values from {known.min():g} to {known.max():g}, declinations that span {high:g} degrees"
            raise DataError(problem, where=where, expected=expected, found=found, remedy=f"say it: {answer}")
    return ra * DEGREES[unit or "d"] % 360, dec
