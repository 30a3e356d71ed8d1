"""Writes what `make faults` has found into README.md beside it: fault × tried × survived × lost.

python tests/faults/table.py          # `make faults`: the table of this run
python tests/faults/table.py --merge  # after single tests with FAULTS=all: other rows stay as they stand there
"""

import json
import os
import re
import sys

from harness import REPOSITORY, RESULTS, when_and_what

BEGIN, END = "<!-- table of faults, written by `make faults` -->", "<!-- end of the table -->"


def table(rows):
    """Return the table in Markdown, one row a fault, in the order of the groups."""
    lines = ["| What was done | to what | tried | survived | lost |", "|---|---|---:|---:|---:|"]
    for row in sorted(rows, key=lambda row: (row["group"], row["fault"])):
        lost = row["tried"] - row["survived"]
        lines.append(f"| {row['group']} | {row['fault']} | {row['tried']:,} | {row['survived']:,} | {lost:,} |")
    tried, survived = (sum(row[count] for row in rows) for count in ("tried", "survived"))
    lines.append(f"| **All** | | **{tried:,}** | **{survived:,}** | **{tried - survived:,}** |")
    return "\n".join(lines)


def rows_of(text):
    """Return the rows of a table that `table` has written."""
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    return [
        {"group": cell[0], "fault": cell[1], "tried": _number(cell[2]), "survived": _number(cell[3])}
        for cell in cells
        if len(cell) == 5 and cell[2][:1].isdigit()
    ]


def _number(text):
    return int(text.replace(",", ""))


def main():
    """Put the table between its two marks."""
    rows = [json.loads(path.read_text(encoding="utf-8")) for path in RESULTS.glob("*.json")]
    if not rows:
        sys.exit(f"There are no results in {RESULTS}: `make faults` makes them.")
    path = REPOSITORY / "tests" / "faults" / "README.md"
    text = path.read_text(encoding="utf-8")
    marked = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.DOTALL)
    new = list(rows)
    if "--merge" in sys.argv:
        again = {(row["group"], row["fault"]) for row in rows}
        old = rows_of(marked.search(text).group())
        rows += [row for row in old if (row["group"], row["fault"]) not in again]
    groups = ", ".join(sorted({row["group"] for row in new}))
    how = f"Rows of {groups} tried again, the others before," if "--merge" in sys.argv else "Tried"
    dated = f"{how} on {when_and_what()}, with {os.cpu_count()} cores."
    path.write_text(marked.sub(lambda _: f"{BEGIN}\n{dated}\n\n{table(rows)}\n{END}", text), encoding="utf-8")
    print(table(rows))


if __name__ == "__main__":
    main()
