"""Writes what `make faults` has found into CONTRIBUTING.md: fault × tried × survived × lost."""

import json
import re
import sys

from harness import REPOSITORY, RESULTS

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


def main():
    """Put the table between its two marks."""
    rows = [json.loads(path.read_text(encoding="utf-8")) for path in RESULTS.glob("*.json")]
    if not rows:
        sys.exit(f"There are no results in {RESULTS}: `make faults` makes them.")
    path = REPOSITORY / "CONTRIBUTING.md"
    text = path.read_text(encoding="utf-8")
    marked = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.DOTALL)
    path.write_text(marked.sub(lambda _: f"{BEGIN}\n{table(rows)}\n{END}", text), encoding="utf-8")
    print(table(rows))


if __name__ == "__main__":
    main()
