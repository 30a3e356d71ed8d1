"""Tables beside images that say where on the sky they are, as spreadsheets and catalogue programs write them."""

import codecs
import csv
import re
from collections import Counter

import numpy as np

from galaxy_utils.data.positions import check_positions, parse_position
from galaxy_utils.data.rows import listing
from galaxy_utils.data.sources import composed
from galaxy_utils.errors import DataError
from galaxy_utils.files import explain_read_errors

SUFFIXES = (".csv", ".tsv", ".tab", ".psv", ".txt", ".dat", ".ecsv")
EPOCH = "(?:j?2000)?"
# Names of columns without what is no letter or digit; the last group is the unit.
COLUMNS = {
    "file": re.compile("(?:(?:file|image|img)(?:name|path|file)?|path)()"),
    "ra": re.compile(f"(?:ra|alpha|rightascension){EPOCH}(deg|degrees?|h|hrs?|hours?|hourangle|hms|rad|radians?)?"),
    "dec": re.compile(f"(?:dec?|decl|delta|declination){EPOCH}(deg|degrees?|dms|rad|radians?)?"),
}


def read_manifests(path, files, others):
    """Return coordinates of images from the tables in their folder.

    A table with columns for file, right ascension and declination is read whatever its name; one that is called
    `manifest` must be readable. Delimiters (comma, semicolon, tabulator, bar, spaces), UTF-8 and UTF-16, decimal commas
    and lines of comment are recognised. A file is found by its path below the folder or below the table's own folder,
    or by its name alone where that is unique.

    Args:
        path: The folder.
        files: Paths of the images below it, with `/`.
        others: Paths of the other files in it.

    Returns:
        `ra` and `dec`, degrees, shape (n,), NaN where unknown, `None` without any; and the tables that were read.

    Raises:
        DataError: A table cannot be read, does not fit the images, or leaves the unit of right ascension open.
    """
    rows = {composed(file): row for row, file in enumerate(files)}
    count = Counter(file.rpartition("/")[2] for file in rows)
    unique = {name: row for file, row in rows.items() if count[name := file.rpartition("/")[2]] == 1}
    coordinates, used, lines_of = np.full((2, len(files)), np.nan), [], {}
    text = {"expected": "a table of text in UTF-8 or UTF-16, such as CSV", "remedy": "save it again, as CSV in UTF-8"}
    for table in others:
        is_named = table.name.lower().startswith("manifest")
        if not is_named and table.suffix.lower() not in SUFFIXES:
            continue
        problems = []
        with explain_read_errors("The manifest cannot be read.", table, **text):
            try:
                names, columns, lines = read_table(table)
            except UnicodeDecodeError:
                if is_named:
                    raise
                continue
            if missing := sorted(COLUMNS.keys() - columns.keys()):
                if is_named:
                    problem = f"The manifest lacks the column {', '.join(missing)}."
                    details = {"expected": "columns file, ra, dec", "found": ", ".join(names) or "an empty file"}
                    remedy = "name its columns file, ra and dec, in its first line"
                    raise DataError(problem, where=table, **details, remedy=remedy)
                continue
            used.append(table)
            units = columns["ra"][1], columns["dec"][1]
            is_stated = bool(units[0])
            for number, entries in lines:
                file, ra, dec = ("".join(entries[place : place + 1]) for place, _ in map(columns.get, COLUMNS))
                row = _find(file, table.parent.relative_to(path).as_posix(), rows, unique)
                try:
                    if any(entries[len(names) :]):
                        raise ValueError("more fields than columns; a number with a comma needs quotes around it")
                    if row is None:
                        raise ValueError(f"there is no image {file!r}")
                    if row in lines_of:
                        raise ValueError(f"{file!r} a second time, after {lines_of[row]}")
                    lines_of[row] = f"line {number} of {table.name}"
                    coordinates[:, row] = parse_position(ra, dec, *units)
                    is_stated |= bool(re.search(r"\d\s*[:hd°]|\d\s+\d", ra))
                except ValueError as error:
                    problems.append(f"line {number}: {error}")
        if problems:
            expected = "one line for an image of this folder, with ra and dec in degrees or both empty"
            details = {"expected": expected, "found": listing(problems), "remedy": "correct or remove these lines"}
            raise DataError("The manifest does not fit the images.", where=table, **details)
        answer = "call the column ra_deg, ra_hours or ra_rad"
        coordinates = np.array(check_positions(*coordinates, f"{table}, column ra", "d" if is_stated else "", answer))
    return (None, None, used) if np.isnan(coordinates).all() else (*coordinates.copy(), used)


def read_table(table):
    """Return names of columns, `{"file": (place, unit), …}` of those that fit, and the rows: (line number, fields).

    Raises:
        UnicodeDecodeError: The file is no text.
    """
    raw = table.read_bytes()
    text = raw.decode("utf-16" if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig")
    lines = text.splitlines(keepends=True)
    for number, line in enumerate(lines, 1):
        header, columns = line.strip().lstrip("# "), {}
        delimiter = max(",;\t|", key=header.count)
        options = {"delimiter": delimiter if delimiter in header else " ", "skipinitialspace": True}
        names = next(csv.reader([header], **options), [])
        for place, name in reversed(list(enumerate(names))):
            for kind, pattern in COLUMNS.items():
                if fit := pattern.fullmatch(re.sub("[^a-z0-9]", "", name.lower())):
                    columns[kind] = place, fit.group(1) or ""
        # Comments stand before the names, and sometimes a line that tells a spreadsheet the delimiter.
        if len(columns) == len(COLUMNS) or header and not re.match("#|sep=", line.strip('"\t ')):
            rest = lines[number:] if delimiter in header else [line.strip() + "\n" for line in lines[number:]]
            reader = csv.reader(rest, **options)
            return names, columns, ((number + reader.line_num, row) for row in reader if any(row))
    return [], {}, ()


def _find(file, folder, rows, unique):
    """Return the row of the image that a line names, by the longest end of its path that there is."""
    parts = [part for part in composed(file.strip().replace("\\", "/")).split("/") if part not in ("", ".")]
    ends = ["/".join(parts[start:]) for start in range(len(parts))]
    found = [rows[end] for end in [f"{folder}/{'/'.join(parts)}", *ends] if end in rows]
    return found[0] if found else unique.get(parts[0]) if len(parts) == 1 else None
