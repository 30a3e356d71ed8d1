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
import csv
import hashlib
import json
import os
import queue
import secrets
import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent))

from masters import (
    MASTERS,
    OUTPUT,
    REPOSITORY,
    Assignment,
    AssignmentError,
    read_checks,
    read_written_questions,
)

from galaxy_utils.errors import GalaxyUtilsError
from galaxy_utils.files import write_atomically
from galaxy_utils.progress import progress_bar

LIMIT = 300.0  # seconds for a submission's cells; its checks have as many again
# An endless loop in one cell must leave time for the others, and one in a student's function for the other checks.
SHARE_OF_A_CELL, SHARE_OF_A_QUESTION = 1 / 3, 1 / 4
GRACE = 5.0  # seconds in which an interrupted cell must stop
TOKEN = "GALAXY_BOOK_GRADING"
# Whatever else is in the grader's environment (keys, tokens, addresses) is none of a submission's business.
PASSED_ON = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR", "KERAS_BACKEND", "SYSTEMROOT", "OMP_NUM_THREADS")

FINISHED, TIME_LIMIT, CRASHED, UNREADABLE, TAMPERED = "finished", "time limit", "crashed", "unreadable", "tampered"

# Runs in the submission's process before its first cell. An audit hook cannot be taken out again from Python. It sees
# what Python opens or lists, not what another program does that Python starts.
GUARD = """
def _(private, own, log):
    import os, sys
    watched = {"open", "os.listdir", "os.scandir"}
    started = {"os.system", "subprocess.Popen", "os.exec", "os.posix_spawn"}
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    fspath, realpath, write, text = os.fspath, os.path.realpath, os.write, (str, bytes, os.PathLike)
    decode, denied = os.fsdecode, PermissionError

    def hook(event, arguments):
        found = None
        if event in watched and arguments and isinstance(arguments[0], text):
            path = realpath(decode(fspath(arguments[0])))
            if not path.startswith(own + "/") and any((path + "/").startswith(one + "/") for one in private):
                found = path
        elif event in started:
            found = next((one for one in private if one in repr(arguments)), None)
        if found:
            write(descriptor, (found + "\\n").encode())
            raise denied(f"{found} is not for submissions to read")

    sys.addaudithook(hook)
_(*%s)
del _
"""

# Runs in the submission's process after its last cell. The names are the function's own, so that whatever the student
# called `json` or `open` is left alone.
CHECK = """
def _(environment, source, path):
    import json
    from otter.test_files.exception_test import ExceptionTestFile
    checks = ExceptionTestFile.from_string(source)
    try:
        checks.run(environment)
        answer = [{"passed": case.passed is True, "message": case.message} for case in checks.test_case_results]
    except BaseException as error:
        answer = f"the check was ended by {type(error).__name__}"
    with open(path, "w", encoding="utf-8") as file:
        json.dump(answer, file)
_(globals(), *%s)
"""

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


class ProcessDied(Exception):
    """The submission's process ended."""


class ProcessStuck(Exception):
    """The submission's process did not stop when it was interrupted."""


class Kernel:
    """A Jupyter kernel in a folder of its own, of which only answers to cells are read."""

    def __init__(self, folder, environment):
        from jupyter_client.manager import start_new_kernel

        with open(os.devnull, "w") as silence:
            # The name is given, because a notebook's metadata may name any kernel, or none.
            self._manager, self._client = start_new_kernel(
                kernel_name="python3", cwd=str(folder), env=environment, stdout=silence, stderr=silence
            )
        self._token = environment[TOKEN]

    def run(self, source, seconds):
        """Run one cell; after `seconds` it is interrupted.

        Returns:
            `(error, late)`: what it raised, in one line, or `None`; and whether it was interrupted.

        Raises:
            ProcessDied, ProcessStuck: There is nothing left to run in.
        """
        message = self._client.execute(source, store_history=False, allow_stdin=False, stop_on_error=False)
        deadline, late = time.monotonic() + seconds, False
        while True:
            try:
                reply = self._client.get_shell_msg(timeout=0.5)
            except queue.Empty:
                if not self._manager.is_alive():
                    raise ProcessDied from None
                if time.monotonic() > deadline:
                    if late:
                        raise ProcessStuck from None
                    self._manager.interrupt_kernel()
                    deadline, late = time.monotonic() + GRACE, True
                continue
            if reply["parent_header"].get("msg_id") == message:
                content = reply["content"]
                error = f"{content['ename']}: {content['evalue']}" if content["status"] == "error" else None
                return error, late

    def end(self):
        """End the kernel and every process that it started and that still carries its token."""
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)
        for process in psutil.process_iter():
            try:
                if process.environ().get(TOKEN) == self._token:
                    process.kill()
            except (psutil.Error, OSError):
                continue  # Another user's, or gone by now.


def grade_submission(path, assignment, *, limit=LIMIT, private=(), keep_cache=False):
    """Run a submission in a process and folder of its own, then its checks.

    Args:
        path: The submitted notebook.
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
    start = time.monotonic()
    try:
        notebook = nbformat.read(path, as_version=4)
        cells = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    except Exception as error:  # nbformat raises whatever its input makes it raise
        result.status, result.reason = UNREADABLE, f"no notebook can be read from this file: {_one_line(error)}"
        return result
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        folder = Path(folder).resolve()
        environment = _prepare_folder(folder, assignment)
        guard = GUARD % repr((forbidden, str(folder), str(folder / "attempts")))
        kernel = Kernel(folder / "work", environment)
        notes = []
        try:
            if error := kernel.run(guard, limit)[0]:
                raise AssignmentError("A submission cannot be watched over.", found=error)
            result.status = _run_cells(kernel, cells, start, limit, notes)
            _run_checks(kernel, checks, cases, folder, start, limit, result)
            if result.status == CRASHED:
                notes.append("no check could be run in its process")
            elif result.status == TAMPERED:
                notes.append("the tools of the checks were replaced: checks passed that cannot be passed")
        except ProcessDied:
            result.status = CRASHED
            notes.append("its process ended")
        except ProcessStuck:
            result.status = TIME_LIMIT
            notes.append("its process did not stop when it was interrupted")
        finally:
            kernel.end()
        if attempts := _attempts(folder / "attempts"):
            notes.insert(0, f"tried to read what is not for it to read: {', '.join(attempts)}")
        if keep_cache and result.score == result.possible:
            shutil.copytree(folder / "cache", assignment.start_cache, dirs_exist_ok=True)
    result.reason = "; ".join(notes)
    result.seconds = time.monotonic() - start
    return result


def _prepare_folder(folder, assignment):
    """Fill a submission's folder: visible checks, galaxies rendered before. Return its environment."""
    shutil.copytree(assignment.student_folder / "tests", folder / "work" / "tests")
    if assignment.start_cache.is_dir():
        # A copy: what one submission writes there must not reach the next.
        shutil.copytree(assignment.start_cache, folder / "cache")
    (folder / "cache").mkdir(exist_ok=True)
    (folder / "home").mkdir()
    return {
        **{name: os.environ[name] for name in PASSED_ON if name in os.environ},
        "HOME": str(folder / "home"),
        "IPYTHONDIR": str(folder / "home"),
        "MPLCONFIGDIR": str(folder / "cache" / "matplotlib"),
        "MPLBACKEND": "agg",
        "GALAXY_UTILS_CACHE": str(folder / "cache"),
        "PYTHONPATH": str(REPOSITORY),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        TOKEN: secrets.token_hex(16),
    }


def _run_cells(kernel, cells, start, limit, notes):
    """Run a submission's code cells, counted from 1; add what went wrong to the notes. Return the status."""
    status, raised = FINISHED, 0
    for number, source in enumerate(cells, start=1):
        left = limit - (time.monotonic() - start)
        if left <= 0:
            notes.append(f"the time was up before code cell {number}")
            return TIME_LIMIT
        try:
            error, late = kernel.run(source, min(left, SHARE_OF_A_CELL * limit))
        except (ProcessDied, ProcessStuck):
            notes.append(f"code cell {number} was the last that ran")
            raise
        if late:
            notes.append(f"code cell {number} took too long and was interrupted")
            status = TIME_LIMIT
        elif error:
            raised += 1
            if raised == 1:
                notes.append(f"code cell {number} raised {_one_line(error)}")
    if raised > 1:
        notes.append(f"{raised} cells raised in all")
    return status


def _run_checks(kernel, checks, cases, folder, start, limit, result):
    """Send the checks to the submission's process, question by question, and note what they gave."""
    # A name that could not be known while the submission's own cells ran.
    answers = folder / secrets.token_hex(8)
    answers.mkdir()
    # The canary again at the end: the checks have called the student's functions, which may have prepared something.
    for question, source in [("canary", CANARY), *checks.items(), ("canary", CANARY)]:
        path = answers / f"{question}.json"
        path.unlink(missing_ok=True)
        left = 2 * limit - (time.monotonic() - start)
        _, late = kernel.run(CHECK % repr((source, str(path))), max(1.0, min(left, SHARE_OF_A_QUESTION * limit)))
        answer = _read_answer(path)
        if question == "canary":
            if not isinstance(answer, list):
                result.status = CRASHED
                return
            if any(case["passed"] for case in answer):
                result.status, result.questions = TAMPERED, dict.fromkeys(checks, 0.0)
                return
        elif isinstance(answer, list) and len(answer) == len(cases[question]):
            passed = [case["passed"] for case in answer]
            result.questions[question] = round(
                sum(points for (points, _), one in zip(cases[question], passed, strict=True) if one), 4
            )
            result.messages[question] = [case["message"] for case in answer if not case["passed"]]
        else:
            ended = "it took too long" if late else answer if isinstance(answer, str) else "it gave no answer"
            result.messages[question] = [ended]


def _read_answer(path):
    """Return what a check wrote, if it has the form of an answer; a submission may have written it instead."""
    try:
        answer = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if isinstance(answer, str):
        return answer
    cases = answer if isinstance(answer, list) else None
    if cases is not None and all(isinstance(c, dict) and isinstance(c.get("passed"), bool) for c in cases):
        return [{"passed": c["passed"], "message": str(c.get("message", ""))} for c in cases]
    return None


def _cases(source):
    """Return `(points, hidden)` of each check of a question. The bundle is the teacher's own and may be executed."""
    from otter.test_files.exception_test import ExceptionTestFile

    return [(case.points, case.hidden) for case in ExceptionTestFile.from_string(source).test_cases]


def _attempts(path):
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    return sorted({_one_line(line) for line in lines})


def _one_line(error):
    return " ".join(str(error).split())[:160]


def find_submissions(folder):
    """Return `{name: path}`: every notebook under a folder, named by its path in it."""
    folder = Path(folder)
    found = {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*.ipynb"))
        if ".ipynb_checkpoints" not in path.parts
    }
    if not found:
        raise AssignmentError("There are no submissions.", where=folder, expected="notebooks, *.ipynb")
    return found


def grade_folder(assignment, submissions, table, *, limit=LIMIT, jobs=1, private=(), grade=grade_submission):
    """Grade every submission of a folder that is not in the table yet; write the table after each.

    Args:
        assignment: An `Assignment`.
        submissions: Folder of notebooks, in sub-folders or not.
        table: Path of the CSV file. Rows of submissions that have not changed since are kept.
        limit: Seconds for one submission.
        jobs: How many are graded at once.
        private: As in `grade_submission`.
        grade: What grades one; tests put another function here.

    Returns:
        The rows, as a list of dictionaries.
    """
    found, table = find_submissions(submissions), Path(table)
    bundle = hashlib.sha256(assignment.bundle.read_bytes()).hexdigest()[:12]
    marks = {name: f"{hashlib.sha256(path.read_bytes()).hexdigest()[:12]}-{bundle}" for name, path in found.items()}
    written = read_written_questions(assignment.solution)
    rows = {row["submission"]: row for row in _read_table(table) if row["mark"] == marks.get(row["submission"])}
    private = [submissions, table.parent, *private]
    waiting = [name for name in found if name not in rows]
    with (
        ThreadPoolExecutor(jobs) as pool,
        progress_bar(len(waiting), f"Grading {assignment.key}", "submissions") as bar,
    ):
        running = {pool.submit(grade, found[name], assignment, limit=limit, private=private): name for name in waiting}
        for future in as_completed(running):
            name, result = running[future], future.result()
            rows[name] = _row(name, marks[name], result, written)
            _write_table(table, [rows[one] for one in sorted(rows)])
            _write_feedback(table.with_suffix("") / f"{name}.txt", name, result, written)
            bar.set_postfix_str(f"{name}: {result.score:g} of {result.possible:g}")
            bar.update(1)
    return [rows[name] for name in sorted(rows)]


def _row(name, mark, result, written):
    return {
        "submission": name,
        "status": result.status,
        "score": f"{result.score:g}",
        "possible": f"{result.possible:g}",
        "percent": f"{100 * result.score / result.possible:.1f}",
        "seconds": f"{result.seconds:.1f}",
        **{question: f"{points:g}" for question, points in result.questions.items()},
        **{f"{question}, by hand, of {points:g}": "" for question, points in written.items()},
        "reason": result.reason,
        "mark": mark,
    }


def _read_table(path):
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _write_table(path, rows):
    names = list(dict.fromkeys(name for row in rows for name in row))
    with write_atomically(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, restval="")
        writer.writeheader()
        writer.writerows(rows)


def _write_feedback(path, name, result, written):
    """Write what a teacher may hand back: points, and what the failed checks said, without their code."""
    lines = [f"{name}: {result.score:g} of {result.possible:g} points ({result.status})"]
    lines += [f"Note: {result.reason}"] if result.reason else []
    for question, points in result.questions.items():
        lines.append(f"{question}: {points:g}")
        for message in result.messages.get(question, []):
            lines.append(f"    {message.strip().splitlines()[-1] if message.strip() else 'failed'}")
    lines += [f"{question}: graded by hand, of {points:g}" for question, points in written.items()]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main(arguments=None):
    """Grade a folder and say where the table is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--assignment", required=True, help="short name, such as a1")
    parser.add_argument("--submissions", type=Path, required=True, help="folder of notebooks")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="what `make assignments` made")
    parser.add_argument("--masters", type=Path, default=MASTERS, help="folder that no submission may read")
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds for one submission")
    parser.add_argument("--jobs", type=int, default=1, help="how many at once")
    options = parser.parse_args(arguments)
    names = [path.stem for path in (options.output / "private" / "solutions").glob(f"{options.assignment}_*.ipynb")]
    if len(names) != 1:
        raise AssignmentError(
            f"Assignment {options.assignment!r} has not been made.", where=options.output, remedy="make assignments"
        )
    assignment = Assignment(names[0], options.output.resolve())
    table = assignment.output / "private" / "grades" / f"{assignment.key}.csv"
    rows = grade_folder(
        assignment, options.submissions, table, limit=options.limit, jobs=options.jobs, private=[options.masters]
    )
    odd = [row for row in rows if row["status"] != FINISHED]
    print(f"{len(rows)} submissions graded, {len(odd)} of them did not finish: {table}")


if __name__ == "__main__":
    try:
        main()
    except GalaxyUtilsError as error:
        sys.exit(str(error))
