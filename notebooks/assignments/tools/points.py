"""The table of points: read whatever program has saved it, written without touching what others put there."""

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path

from masters import AssignmentError
from submissions import decode

from galaxy_utils.files import locked, write_atomically

BY_HAND = ", by hand, of "
LAST = ("reason", "folder", "mark")
NUMBER = re.compile(r"\d+\.\d+")


@dataclass(frozen=True)
class Form:
    """How a program has written a table: what stands between values, whether with a byte order mark, decimals."""

    delimiter: str = ","
    encoding: str = "utf-8"
    decimal: str = "."


def read_table(path):
    """Return `(rows, Form)` of a table, also one that Excel, LibreOffice or Numbers has saved; none where none is.

    Raises:
        AssignmentError: The file is no such table; it is left as it is.
    """
    path = Path(path)
    if not path.exists() or not path.stat().st_size:
        return [], Form()
    content = path.read_bytes()
    text = decode(content).removeprefix("\ufeff")
    for delimiter in ",;\t|":
        lines = [line for line in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if any(line)]
        if lines and lines[0][0].strip().startswith("sep="):
            lines = lines[1:]
        header = [name.strip() for name in lines[0]] if lines else []
        if {"submission", "score"} <= set(header):
            rows = [{name: value for name, value in zip(header, line, strict=False) if name} for line in lines[1:]]
            # With a byte order mark where one was, or where another encoding was: that program needs it.
            plain = content == text.encode("utf-8", "surrogateescape")
            return rows, Form(delimiter, "utf-8" if plain else "utf-8-sig", _decimal(rows, delimiter))
    raise AssignmentError(
        "This is no table of points, so nothing is graded into it.",
        where=path,
        expected="a CSV file with the columns submission and score",
        found=repr(text[:60]),
        remedy="save it as CSV again, or move it away: a new one is then made, without points given by hand",
    )


def _decimal(rows, delimiter):
    values = " ".join(row.get(name) or "" for row in rows for name in ("score", "percent", "seconds"))
    if delimiter == "," or re.search(r"\d\.\d", values):
        return "."
    return "," if delimiter == ";" or re.search(r"\d,\d", values) else "."


def find_row(rows, name, folder, mark, names):
    """Return the place of a submission's row, or `None`.

    Args:
        rows: Rows as `read_table` gives them.
        name: The submission's name.
        folder: Where it was handed in, as text.
        mark: What its content and the checks give.
        names: Names of all submissions in that folder: a row of another name may be one that was renamed.
    """

    fitting = (
        lambda row: row["submission"] == name and row["folder"] == folder,
        lambda row: row["mark"] == mark and row["folder"] == folder and row["submission"] not in names,
        lambda row: row["submission"] == name and not row["folder"],  # a table of before there were folders
        lambda row: row["submission"] == name and row["mark"] == mark and not Path(row["folder"]).exists(),
    )
    known = [{column: (row.get(column) or "").strip() for column in ("submission", "folder", "mark")} for row in rows]
    return next((place for fits in fitting for place, row in enumerate(known) if fits(row)), None)


def write_row(path, row, names):
    """Put a row into a table, in the place of the one that it had; whatever else stands there is kept.

    The table is read again first: somebody may have typed points meanwhile, another run may have graded.

    Args:
        path: The table.
        row: Values by column. Those given by hand are not among them, or empty.
        names: As in `find_row`.
    """
    with locked(path):
        rows, form = read_table(path)
        row = {
            name: value.replace(".", form.decimal) if NUMBER.fullmatch(value) else value for name, value in row.items()
        }
        place = find_row(rows, row["submission"], row["folder"], row["mark"], names)
        if place is None:
            later = (
                place
                for place, other in enumerate(rows)
                if other.get("folder") == row["folder"] and other["submission"] > row["submission"]
            )
            rows.insert(next(later, len(rows)), row)
        else:
            rows[place] = row | rows[place] | {name: value for name, value in row.items() if BY_HAND not in name}
        columns = list(dict.fromkeys(name for row in rows for name in row))
        columns.sort(key=lambda name: LAST.index(name) if name in LAST else -1)
        with (
            write_atomically(path) as temporary,
            open(temporary, "w", newline="", encoding=form.encoding, errors="backslashreplace") as file,
        ):
            writer = csv.DictWriter(file, columns, restval="", delimiter=form.delimiter)
            writer.writeheader()
            writer.writerows(rows)
