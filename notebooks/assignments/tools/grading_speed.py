"""Measure how long a class takes to grade: sixty submissions of one assignment, some of them odd.

    python notebooks/assignments/tools/grading_speed.py                     # sixty, two at once
    python notebooks/assignments/tools/grading_speed.py --submissions 12 --jobs 1

Of every fifteen submissions one never ends, one kills its process, one has lost its metadata, five are untouched copies
and the others are solutions. Everything happens in a temporary folder. Prints seconds, scores and reasons.
"""

import argparse
import collections
import os
import sys
import tempfile
import time
from pathlib import Path

import nbformat

sys.path.insert(0, str(Path(__file__).resolve().parent))

from grade import grade_folder
from make import make_assignment
from masters import find_masters


def write_submissions(assignment, folder, count):
    """Write `count` notebooks."""
    solution = nbformat.read(assignment.solution, as_version=4)
    untouched = nbformat.read(next(assignment.student_folder.glob("*.ipynb")), as_version=4)
    for number in range(count):
        kind = number % 15
        submission = nbformat.from_dict(dict(untouched if kind % 3 == 0 else solution))
        submission.cells = [nbformat.from_dict(dict(cell)) for cell in submission.cells]
        if kind == 7:
            submission.cells.append(nbformat.v4.new_code_cell("while True: pass"))
        elif kind == 10:
            submission.cells.append(nbformat.v4.new_code_cell("import os; os._exit(1)"))
        elif kind == 13:
            submission.metadata = nbformat.from_dict({})
        # Equal files would still be graded one by one; a name makes them as different as real ones.
        submission.cells.append(nbformat.v4.new_markdown_cell(f"Student {number}"))
        nbformat.write(submission, folder / f"student_{number:02d}.ipynb")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--assignment", default="a1")
    parser.add_argument("--submissions", type=int, default=60)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="grading_speed_") as folder:
        folder = Path(folder)
        os.environ["GALAXY_UTILS_CACHE"] = str(folder / "made" / "private" / "cache")
        import galaxy_utils

        galaxy_utils.load("simulated", profile="smoke", seed=11)
        assignment = make_assignment(find_masters()[options.assignment], folder / "made")
        (folder / "submissions").mkdir()
        write_submissions(assignment, folder / "submissions", options.submissions)
        start = time.perf_counter()
        rows = grade_folder(assignment, folder / "submissions", folder / "made" / "grades.csv", jobs=options.jobs)
        seconds = time.perf_counter() - start
    print(f"{len(rows)} submissions of {options.assignment}, {options.jobs} at once: {seconds:.0f} s")
    print(f"the slowest took {max(float(row['seconds']) for row in rows):.0f} s")
    kinds = collections.Counter((row["status"], row["score"], row["possible"], row["reason"][:60]) for row in rows)
    for (status, score, possible, reason), count in sorted(kinds.items()):
        print(f"  {count:2d} × {status}, {score} of {possible}. {reason}")


if __name__ == "__main__":
    main()
