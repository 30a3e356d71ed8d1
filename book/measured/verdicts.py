"""Every verdict that the executed chapters print, and how many of them are decided.

    python book/measured/verdicts.py EXECUTED_FOLDER [--output FILE]

EXECUTED_FOLDER holds the executed notebooks of a build, such as `_build/executed/simulated-demo-1-…`. A verdict is a
line, or a row of a table, that says of a comparison that one side is better, or that it is inconclusive; a line that
lists several methods under one verdict counts each. What a section *Measured at length* prints comes from stored
predictions; all else was trained in that build.
"""

import argparse
import json
import re
from pathlib import Path

from galaxy_utils.files import write_json

UNDECIDED = re.compile(r"\binconclusive\b|\bundecided$|, undecided;|\branges overlap\b")
WORDS = "better than random|worse than random|better|worse|significant( at 5 %)?|above 0|below 0|a gain|a loss"
DECIDED = re.compile(rf"[:,\d] +({WORDS})$|significantly (better|worse):|worse than the one with none$")
LIST = re.compile(r"^(inconclusive|gain|loss|better|worse): (?!none)[^0-9]+$")


def verdicts_of(notebook):
    """Return `{"built": […], "measured": […]}`: (line, decided) for each verdict of an executed notebook."""
    found = {"built": [], "measured": []}
    for cell in notebook["cells"]:
        where = "measured" if cell.get("id", "").startswith("measured") else "built"
        lines = []
        for output in cell.get("outputs", ()):
            if "image/png" in output.get("data", ()):
                continue  # its text repeats what the figure shows
            text = output.get("text") or output.get("data", {}).get("text/plain", "")
            lines += "".join(text).splitlines()
        lists = [line for line in lines if LIST.match(line)]
        for line in lists or lines:
            if UNDECIDED.search(line) or DECIDED.search(line) or line in lists:
                number = 1 + line.count(", ") if line in lists else 1
                decided = not UNDECIDED.search(line)
                found[where] += [(" ".join(line.split()), decided)] * number
    return found


def main():
    """Read the notebooks, count, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("executed_folder", type=Path)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("verdicts.json"))
    options = parser.parse_args()
    chapters, totals = {}, {where: {"decided": 0, "inconclusive": 0} for where in ("built", "measured")}
    for path in sorted(options.executed_folder.glob("[0-9][0-9]_*.ipynb")):
        found = verdicts_of(json.loads(path.read_text(encoding="utf-8")))
        for where, verdicts in found.items():
            decided = sum(each for _, each in verdicts)
            totals[where]["decided"] += decided
            totals[where]["inconclusive"] += len(verdicts) - decided
        chapters[path.stem] = {where: [line for line, _ in verdicts] for where, verdicts in found.items() if verdicts}
    write_json(options.output, {"run": options.executed_folder.name, "totals": totals, "chapters": chapters})
    print(f"written: {options.output}: {totals}")


if __name__ == "__main__":
    main()
