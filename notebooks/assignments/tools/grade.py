"""Grade a folder of submissions, one after the other or several at once, into one CSV file.

    python notebooks/assignments/tools/grade.py --assignment a1 --submissions FOLDER

Otter-Grader makes the assignments, checks the students' work while they write it, and its checks are what is run here.
Its own bulk command needs Docker; this one needs nothing, and does three things differently from `otter run`: the
hidden checks are nowhere in the submission's folder and reach its process only after its last cell has run; every cell
and every submission has a time limit; and nothing that a submission wrote is unpickled here.

What that does not protect from is said in `README.md` of the folder above: a submission is a program that runs under
your account.
"""

import argparse
import ast
import glob
import hashlib
import secrets
import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

import nbformat

sys.path.insert(0, str(Path(__file__).resolve().parent))

from kernel import Kernel, NotWatched, ProcessDied, ProcessStuck, prepare_folder
from masters import (
    MASTERS,
    OUTPUT,
    REPOSITORY,
    Assignment,
    AssignmentError,
    read_checks,
    read_written_questions,
)
from points import BY_HAND, find_row, read_table, write_row
from submissions import Submission, find_submissions, readable_name

from galaxy_utils.errors import GalaxyUtilsError
from galaxy_utils.progress import progress_bar

LIMIT = 300.0  # seconds for a submission's cells; its checks have as many again
# An endless loop in one cell must leave time for the others, and one in a student's function for the other checks.
SHARE_OF_A_CELL, SHARE_OF_A_QUESTION = 1 / 3, 1 / 4
RESTARTS = 4  # so often a submission is begun again without what has ended its process

FINISHED, TIME_LIMIT, CRASHED, UNREADABLE, TAMPERED = "finished", "time limit", "crashed", "unreadable", "tampered"
NOT_GRADED = "not graded"

# Checks that no honest process passes. One that does has had its tools replaced.
CANARY = """
from otter.test_files import test_case
OK_FORMAT = False
name = "canary"
points = None

@test_case(points=1)
def test_1():
    assert False

@test_case(points=1)
def test_2():
    import numpy as np
    assert np.isclose(0.0, 1.0) or np.allclose([0.0], [1.0]) or np.array_equal([0], [1])

@test_case(points=1)
def test_3():
    import numpy as np
    np.testing.assert_allclose(0.0, 1.0)

@test_case(points=1)
def test_4():
    assert abs(-2.0) < 1 or isinstance(1, str) or len([1]) == 2 or all([False]) or set([1]) == set([2])
"""


@dataclass
class Result:
    """What grading one submission gave.

    Attributes:
        possible: Points that the checks can give; written answers are not among them.
        status: `"finished"`, `"time limit"`, `"crashed"`, `"unreadable"` or `"tampered"`.
        reason: Why points are missing, for people; empty when nothing happened.
        questions: `{question: points}`.
        messages: `{question: [message]}` of the checks that failed.
        seconds: How long it took.
    """

    possible: float
    status: str = FINISHED
    reason: str = ""
    questions: dict = field(default_factory=dict)
    messages: dict = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def score(self):
        """Points of all questions that the checks grade."""
        return round(sum(self.questions.values()), 4)


def grade_submission(submission, assignment, *, limit=LIMIT, private=(), keep_cache=False):
    """Run a submission in a process and folder of its own, then its checks.

    Args:
        submission: A `Submission`, or the path of a notebook.
        assignment: An `Assignment` that `make assignments` has made.
        limit: Seconds for the whole submission.
        private: Further folders that the submission must not read, beside everything that was made privately.
        keep_cache: Whether the galaxies that it rendered become those that later submissions begin with.

    Returns:
        A `Result`. Whatever the submission does, this returns: after `limit` seconds for its cells, as many for its
        checks, and a few for ending it.

    Raises:
        AssignmentError: There is no bundle, or a folder cannot be kept from the submission.
    """
    forbidden = [str(Path(one).resolve()) for one in (assignment.output / "private", *private)]
    for one in forbidden:
        if any(Path(needed).is_relative_to(one) for needed in (REPOSITORY, sys.prefix)):
            raise AssignmentError(
                "A folder that submissions may not read holds what they need to run.",
                where=one,
                remedy="keep submissions and masters in folders of their own",
            )
    checks = read_checks(assignment.bundle)
    cases = {question: _cases(source) for question, source in checks.items()}
    result = Result(possible=sum(points for several in cases.values() for points, _ in several))
    result.questions = dict.fromkeys(checks, 0.0)
    if not isinstance(submission, Submission):
        submission = Submission.of(Path(submission).name, Path(submission).read_bytes())
    if submission.reason:
        result.status, result.reason = UNREADABLE, _one_line(submission.reason)
        return result
    began = time.monotonic()
    _Job(submission.cells, assignment, checks, cases, forbidden, limit, keep_cache).run(result)
    result.seconds = time.monotonic() - began
    return result


class _Job:
    """One submission on its way: begun again without what has ended its process."""

    def __init__(self, cells, assignment, checks, cases, forbidden, limit, keep_cache):
        self.cells, self.assignment, self.checks, self.cases = cells, assignment, checks, cases
        self.forbidden, self.limit, self.keep_cache = forbidden, limit, keep_cache
        self.imports = _given_imports(assignment)
        self.spent = 0.0  # seconds of the submission itself, without those in which its process starts
        self.left_out = set()  # code cells, counted from 1, and questions that are not run again
        self.at = None  # the cell or question that is running
        self.notes = []

    def run(self, result):
        """Fill in a `Result`."""
        attempts = set()
        for number in range(RESTARTS + 1):
            self.notes, result.status = [], FINISHED
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
                folder = Path(folder).resolve()
                try:
                    self._run_once(folder, result)
                    again = False
                except ProcessDied:
                    again = number < RESTARTS and self.at is not None and self._left() > 0
                    self.left_out.add(self.at)
                    if not again:
                        result.status = CRASHED
                        self.notes.append("its process ended")
                except ProcessStuck:
                    result.status, again = TIME_LIMIT, False
                    self.notes.append("its process did not stop when it was interrupted")
                attempts |= _attempts(folder / "attempts")
                if self.keep_cache and result.score == result.possible:
                    shutil.copytree(folder / "cache", self.assignment.start_cache, dirs_exist_ok=True)
            if not again:
                break
        if attempts:
            self.notes.insert(0, f"tried to read what is not for it to read: {', '.join(sorted(attempts))}")
        result.reason = "; ".join(self.notes)

    def _left(self, limits=1):
        return limits * self.limit - self.spent

    def _timed(self, function, *arguments):
        start = time.monotonic()
        try:
            return function(*arguments)
        finally:
            self.spent += time.monotonic() - start

    def _run_once(self, folder, result):
        environment = prepare_folder(folder, self.assignment.student_folder / "tests", self.assignment.start_cache)
        kernel = Kernel(folder, environment)
        try:
            kernel.watch(self.forbidden, str(folder), str(folder / "attempts"), self.limit)
            result.status = self._run_cells(kernel)
            self._run_checks(kernel, folder, result)
        except NotWatched as error:
            raise AssignmentError("A submission cannot be watched over.", found=error) from error
        finally:
            kernel.end()

    def _run_cells(self, kernel):
        """Run the code cells, counted from 1; add what went wrong to the notes. Return the status."""
        status, raised = FINISHED, 0
        for number, source in enumerate(self.cells, start=1):
            self.at = number
            if self.at in self.left_out:
                self.notes.append(f"code cell {self.at} ended the process, and was left out")
                continue
            if self._left() <= 0:
                self.notes.append(f"the time was up before code cell {self.at}")
                return TIME_LIMIT
            try:
                seconds = min(self._left(), SHARE_OF_A_CELL * self.limit)
                error, late = self._timed(kernel.run, source, seconds)
            except (ProcessDied, ProcessStuck):
                self.notes.append(f"code cell {self.at} was the last that ran")
                raise
            if late:
                self.notes.append(f"code cell {self.at} took too long and was interrupted")
                status = TIME_LIMIT
            elif error:
                raised += 1
                if raised == 1:
                    self.notes.append(f"code cell {self.at} raised {_one_line(error)}")
        if raised > 1:
            self.notes.append(f"{raised} cells raised in all")
        self.at = None
        return status

    def _run_checks(self, kernel, folder, result):
        """Send the checks to the submission's process, question by question, and note what they gave."""
        # A name that could not be known while the submission's own cells ran.
        answers = folder / secrets.token_hex(8)
        answers.mkdir()
        # The canary again at the end: the checks have called the student's functions, which may have prepared for it.
        for question, source in [("canary", CANARY), *self.checks.items(), ("canary", CANARY)]:
            if question in self.left_out:
                result.status = CRASHED
                result.messages[question] = ["it ended the process"]
                self.notes.append(f"its process ended in a check of {question}")
                continue
            self.at = None if question == "canary" else question
            seconds = max(1.0, min(self._left(2), SHARE_OF_A_QUESTION * self.limit))
            path = answers / f"{question}.json"
            answer, late = self._timed(kernel.check, source, path, self.imports, seconds)
            if question == "canary":
                if not isinstance(answer, list):
                    result.status = CRASHED
                    self.notes.append("no check could be run in its process")
                    return
                if any(case["passed"] for case in answer):
                    result.status, result.questions = TAMPERED, dict.fromkeys(self.checks, 0.0)
                    self.notes.append("the tools of the checks were replaced: checks passed that cannot be passed")
                    return
            elif isinstance(answer, list) and len(answer) == len(self.cases[question]):
                passed = [case["passed"] for case in answer]
                result.questions[question] = round(
                    sum(points for (points, _), one in zip(self.cases[question], passed, strict=True) if one), 4
                )
                result.messages[question] = [case["message"] for case in answer if not case["passed"]]
            else:
                ended = "it took too long" if late else answer if isinstance(answer, str) else "it gave no answer"
                result.messages[question] = [ended]


def _given_imports(assignment):
    """Return the import statements of the student's own copy, as it is handed out."""
    book = nbformat.read(next(assignment.student_folder.glob("*.ipynb")), as_version=4)
    lines = {}
    for cell in book.cells:
        try:
            parts = ast.parse(cell.source).body if cell.cell_type == "code" else ()
        except SyntaxError:  # what is to be filled in, or a line of IPython's own
            continue
        lines |= {ast.unparse(part): None for part in parts if isinstance(part, (ast.Import, ast.ImportFrom))}
    return list(lines)


def _cases(source):
    """Return `(points, hidden)` of each check of a question. The bundle is the teacher's own and may be executed."""
    from otter.test_files.exception_test import ExceptionTestFile

    return [(case.points, case.hidden) for case in ExceptionTestFile.from_string(source).test_cases]


def _attempts(path):
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    return {_one_line(line) for line in lines}


def _one_line(error):
    return " ".join(str(error).split())[:240]


def grade_folder(assignment, submissions, table, *, limit=LIMIT, jobs=1, private=(), grade=grade_submission):
    """Grade every submission of a folder that is not in the table yet; write the table after each.

    Args:
        assignment: An `Assignment`.
        submissions: Folder of what was handed in: notebooks and archives of them, in sub-folders or not.
        table: Path of the CSV file. Rows of other folders, points given by hand and columns of your own are kept; rows
            of submissions that have not changed since are not graded again.
        limit: Seconds for one submission.
        jobs: How many are graded at once.
        private: As in `grade_submission`.
        grade: What grades one; tests put another function here.

    Returns:
        The rows of this folder, as a list of dictionaries.
    """
    found, table = find_submissions(submissions), Path(table)
    bundle = hashlib.sha256(assignment.bundle.read_bytes()).hexdigest()[:12]
    marks = {
        name: f"{hashlib.sha256(one.content or one.reason.encode()).hexdigest()[:12]}-{bundle}"
        for name, one in found.items()
    }
    written = read_written_questions(assignment.solution)
    folder = "/" + readable_name(Path(submissions).resolve().parts)
    before = {name: _row_before(table, name, folder, marks[name], found) for name in found}
    feedback = table.with_suffix("") / _feedback_folder(table, folder)
    private = [submissions, table.parent, *private]
    waiting = []
    for name, row in before.items():
        if row.get("mark") != marks[name] or row.get("status") == NOT_GRADED:
            waiting.append(name)
        elif (row["submission"], row.get("folder")) != (name, folder):  # renamed, or moved
            write_row(table, {"submission": name, "folder": folder, "mark": marks[name]}, found)
    with (
        ThreadPoolExecutor(jobs) as pool,
        progress_bar(len(waiting), f"Grading {assignment.key}", "submissions") as bar,
    ):
        running = {pool.submit(grade, found[name], assignment, limit=limit, private=private): name for name in waiting}
        for future in as_completed(running):
            name = running[future]
            try:
                result = future.result()
            except AssignmentError:
                raise
            except Exception as error:  # of this machine, not of the submission: the others are graded nevertheless
                result = Result(0.0, NOT_GRADED, f"could not be graded here, try again: {_one_line(repr(error))}")
            if _given_by_hand(before[name]) and before[name].get("mark", "")[:12] != marks[name][:12]:
                result.reason = "; ".join(
                    filter(None, ["handed in again after points were given by hand", result.reason])
                )
            write_row(table, _row(name, folder, marks[name], result, written), found)
            _write_feedback(feedback, name, result, written)
            bar.set_postfix_str(f"{name}: {result.score:g} of {result.possible:g}")
            bar.update(1)
    rows = [row for row in read_table(table)[0] if row.get("folder") == folder and row["submission"] in found]
    return sorted(rows, key=lambda row: row["submission"])


def _row_before(table, name, folder, mark, names):
    rows, _ = read_table(table)
    place = find_row(rows, name, folder, mark, names)
    return {} if place is None else rows[place]


def _given_by_hand(row):
    return any(BY_HAND in name and (value or "").strip() for name, value in row.items())


def _feedback_folder(table, folder):
    """Return the name of a folder for the feedback; two folders of submissions may have the same."""
    name = Path(folder).name
    others = {row.get("folder") or folder for row in read_table(table)[0]} - {folder}
    twin = any(Path(other).name == name for other in others)
    return f"{name}-{hashlib.sha256(folder.encode()).hexdigest()[:6]}" if twin else name


def _row(name, folder, mark, result, written):
    return {
        "submission": name,
        "status": result.status,
        "score": f"{result.score:g}",
        "possible": f"{result.possible:g}",
        "percent": f"{100 * result.score / (result.possible or 1):.1f}",
        "seconds": f"{result.seconds:.1f}",
        **{question: f"{points:g}" for question, points in result.questions.items()},
        **{f"{question}{BY_HAND}{points:g}": "" for question, points in written.items()},
        "reason": result.reason,
        "folder": folder,
        "mark": mark,
    }


def _write_feedback(folder, name, result, written):
    """Write what a teacher may hand back: points, and what the failed checks said, without their code."""
    lines = [f"{name}: {result.score:g} of {result.possible:g} points ({result.status})"]
    lines += [f"Note: {result.reason}"] if result.reason else []
    for question, points in result.questions.items():
        lines.append(f"{question}: {points:g}")
        for message in result.messages.get(question, []):
            lines.append(f"    {message.strip().splitlines()[-1] if message.strip() else 'failed'}")
    lines += [f"{question}: graded by hand, of {points:g}" for question, points in written.items()]
    # No name of a file is longer than 255 bytes.
    parts = [part if len(part.encode()) < 240 else f"{part[:50]}-{_digest(part)}" for part in name.split("/")]
    path = folder.joinpath(*parts)
    path = path.with_name(f"{path.name}.txt")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", errors="backslashreplace")


def _digest(text):
    return hashlib.sha256(text.encode()).hexdigest()[:6]


def main(arguments=None):
    """Grade a folder and say where the table is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--assignment", required=True, help="short name, such as a1")
    parser.add_argument("--submissions", type=Path, required=True, help="folder of notebooks, or one archive")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="what `make assignments` made")
    parser.add_argument("--masters", type=Path, default=MASTERS, help="folder that no submission may read")
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds for one submission")
    parser.add_argument("--jobs", type=int, default=1, help="how many at once")
    options = parser.parse_args(arguments)
    solutions = options.output / "private" / "solutions"
    names = [path.stem for path in solutions.glob(f"{glob.escape(options.assignment)}_*.ipynb")]
    if len(names) != 1:
        raise AssignmentError(
            f"Assignment {options.assignment!r} has not been made.", where=options.output, remedy="make assignments"
        )
    assignment = Assignment(names[0], options.output.resolve())
    table = assignment.output / "private" / "grades" / f"{assignment.key}.csv"
    folder = options.submissions.expanduser()
    rows = grade_folder(
        assignment, folder, table, limit=options.limit, jobs=options.jobs, private=[options.masters.expanduser()]
    )
    odd = [row for row in rows if row["status"] != FINISHED]
    print(f"{len(rows)} submissions graded, {len(odd)} of them did not finish: {table}")


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="backslashreplace")
    sys.stderr.reconfigure(errors="backslashreplace")
    try:
        main()
    except GalaxyUtilsError as error:
        sys.exit(str(error))
