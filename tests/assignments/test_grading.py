"""A whole class is graded, whatever it hands in: real kernels, a toy assignment, hostile notebooks."""

import csv
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil
import pytest
from toy_wheel import write_wheel

pytest.importorskip("otter")

from grade import Result, find_submissions, grade_folder, grade_submission
from make import make_assignment
from masters import AssignmentError, find_masters

import galaxy_utils as gu

REPOSITORY = Path(__file__).resolve().parents[2]
LIMIT = 10.0  # a cell may take a third of it, one question's checks a quarter: little for an endless loop

METADATA = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
CONFIG = "# ASSIGNMENT CONFIG\ninit_cell: false\nexport_cell: false\ntests:\n  files: true\n  ok_format: false"
TOY = [
    ("raw", CONFIG),
    ("code", "import numpy as np"),
    ("raw", "# BEGIN QUESTION\nname: q1\npoints: 2"),
    ("markdown", "Set `answer`."),
    ("raw", "# BEGIN SOLUTION"),
    ("code", "answer = 42  # SOLUTION"),
    ("raw", "# END SOLUTION"),
    ("raw", "# BEGIN TESTS"),
    ("code", 'def test_q1_form(answer):\n    assert isinstance(answer, int), "A whole number."'),
    ("code", '# HIDDEN\ndef test_q1_value(answer):\n    assert answer == 42, "the deep one"'),
    ("raw", "# END TESTS"),
    ("raw", "# END QUESTION"),
    ("raw", "# BEGIN QUESTION\nname: q2\npoints: 2"),
    ("markdown", "Write `double`."),
    ("raw", "# BEGIN SOLUTION"),
    ("code", "def double(x):\n    return 2 * x  # SOLUTION"),
    ("raw", "# END SOLUTION"),
    ("raw", "# BEGIN TESTS"),
    ("code", 'def test_q2_form(double):\n    assert double(1) == 2, "Twice 1 is 2."'),
    ("code", '# HIDDEN\ndef test_q2_value(double):\n    assert double(-3) == -6, "also below zero"'),
    ("raw", "# END TESTS"),
    ("raw", "# END QUESTION"),
    ("raw", "# BEGIN QUESTION\nname: q3\npoints: 5\nmanual: true"),
    ("markdown", "Why?"),
    ("raw", "# BEGIN SOLUTION"),
    ("markdown", "**Rubric.** 5 points: because."),
    ("raw", "# END SOLUTION"),
    ("raw", "# END QUESTION"),
]
RIGHT = ["import numpy as np", "answer = 42", "def double(x):\n    return 2 * x"]


def notebook(*sources, **metadata):
    """A notebook of code cells."""
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(s) for s in sources], metadata=metadata)


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """The toy assignment, made."""
    folder = tmp_path_factory.mktemp("toy")
    cells = [getattr(nbformat.v4, f"new_{kind}_cell")(source) for kind, source in TOY]
    master = nbformat.v4.new_notebook(cells=cells, metadata=METADATA)
    (folder / "masters").mkdir()
    nbformat.write(master, folder / "masters" / "t1_toy.ipynb")
    return make_assignment(folder / "masters" / "t1_toy.ipynb", folder / "made")


def stripped():
    """The right answers as an editor leaves them that keeps no metadata and no ids; and for another kernel."""
    content = json.loads(nbformat.writes(notebook(*RIGHT)))
    content["metadata"] = {"kernelspec": {"name": "some_old_kernel", "display_name": "?"}}
    for cell in content["cells"]:
        cell.pop("id")
        cell["metadata"] = {}
    return json.dumps({**content, "nbformat_minor": 4})


def hostile(toy):
    """`{name: (content, score of 4, status, words of the reason)}`."""
    bundle, master = str(toy.bundle), str(toy.output.parent / "masters")
    peek = f"try:\n    text = open({bundle!r}, 'rb').read()\nexcept PermissionError:\n    text = None"
    look = f"import os\ntry:\n    names = os.listdir({master!r})\nexcept PermissionError:\n    names = []"
    patch = "import numpy as np\nfor name in ('isclose', 'allclose'):\n    setattr(np, name, lambda *a, **k: True)"
    fake = "from otter.test_files.exception_test import test_case\ntest_case.call_func = lambda *a: None"
    defiant = "import time\nwhile True:\n    try:\n        time.sleep(60)\n    except BaseException:\n        pass"
    late = "import numpy as np\ndef double(x):\n    np.isclose = lambda *a, **k: True\n    return 2 * x"
    leaves = "import os\ndef double(x):\n    os._exit(0)"
    stays = "import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'],"
    stays += " start_new_session=True)"
    first, second, third = RIGHT
    hiding = "from numpy import *\nfrom os import *\nfrom PIL.Image import *\nopen = 'yes'\nglobals = locals = 1"
    any_function = "def double(x):\n    return 2 * x if any(one > 0 for one in (0, 1)) else np.nan"
    hidden = "any = all = isinstance = str = next = repr = True\nnp = 3\n__name__ = exec = 0"
    return {
        "right.ipynb": (notebook(*RIGHT), 4, "finished", ""),
        "stripped.ipynb": (stripped(), 4, "finished", ""),
        "half.ipynb": (notebook(first, second, "def double(x):\n    return x + 1"), 3, "finished", ""),
        "raises.ipynb": (notebook(first, second, "1 / 0", third), 4, "finished", "cell 3 raised ZeroDivisionError"),
        "endless.ipynb": (notebook(first, second, "while True:\n    pass"), 2, "time limit", "cell 3 took too long"),
        "talkative.ipynb": (notebook("while True: print(9)", *RIGHT), 4, "time limit", "cell 1 took too long"),
        "endless_function.ipynb": (
            notebook(first, second, "def double(x):\n    while True:\n        pass"), 2, "finished", ""
        ),
        "exits_in_check.ipynb": (
            notebook(first, second, "def double(x):\n    raise SystemExit"), 2, "finished", ""
        ),
        "hides.ipynb": (notebook("%pylab inline", hiding, first, second, any_function), 4, "finished", ""),
        "hides_late.ipynb": (notebook(first, second, any_function, hidden), 4, "finished", ""),
        "exit.ipynb": (notebook(*RIGHT, "quit()", "exit()"), 4, "finished", ""),
        "crash.ipynb": (
            notebook(first, "import os\nos.kill(os.getpid(), 9)", second, third, "import os\nos._exit(1)"),
            4, "finished", "cell 2 ended the process, and was left out; code cell 5 ended",
        ),
        "defiant.ipynb": (notebook(*RIGHT, defiant), 0, "time limit", "did not stop"),
        "peek.ipynb": (notebook(first, second, peek, look), 2, "finished", "tried to read"),
        "patched_numpy.ipynb": (notebook(*RIGHT, patch), 0, "tampered", "cannot be passed"),
        "patched_otter.ipynb": (notebook(first, fake), 0, "tampered", "cannot be passed"),
        "patches_late.ipynb": (notebook(first, second, late), 0, "tampered", "cannot be passed"),
        "leaves_in_check.ipynb": (notebook(first, second, leaves), 2, "crashed", "its process ended"),
        "stays.ipynb": (notebook(*RIGHT, stays), 4, "finished", ""),
        "empty.ipynb": ("", 0, "unreadable", "no notebook"),
        "no_cells.ipynb": (notebook(), 0, "finished", ""),
        "in a folder/ä b.ipynb": (notebook(*RIGHT), 4, "finished", ""),
    }  # fmt: skip


@pytest.fixture(scope="module")
def graded(toy, tmp_path_factory):
    """All hostile notebooks, graded in one go: `{name: row}`, the table's path, and what ran afterwards."""
    folder = tmp_path_factory.mktemp("submissions")
    for name, (content, *_) in hostile(toy).items():
        (folder / name).parent.mkdir(exist_ok=True)
        text = content if isinstance(content, str) else nbformat.writes(content)
        (folder / name).write_text(text, encoding="utf-8")
    table = toy.output / "private" / "grades" / "t1.csv"
    masters = toy.output.parent / "masters"
    before = set(psutil.pids())
    rows = grade_folder(toy, folder, table, limit=LIMIT, jobs=3, private=[masters])
    left = [
        process.cmdline()
        for process in psutil.process_iter(["cmdline"])
        if process.pid not in before and "time.sleep(600)" in " ".join(process.info["cmdline"] or [])
    ]
    return {row["submission"]: row for row in rows}, table, folder, left


@pytest.mark.skipif(importlib.util.find_spec("pip") is None, reason="this Python has no pip")
def test_what_a_submission_installs_or_removes_is_its_own(toy, tmp_path, monkeypatch):
    """With the real pip, from wheels made here."""
    graders_own = tmp_path / "site-packages"
    shutil.unpack_archive(write_wheel(tmp_path, "small_thing_of_the_grader", "3"), graders_own, "zip")
    wheel = write_wheel(tmp_path, "small_handed_in_thing", "3")
    monkeypatch.setattr(sys, "path", [*sys.path, str(graders_own)])
    cells = [
        f"%pip install --quiet --no-index --no-deps {wheel}\n!pip uninstall --yes small_thing_of_the_grader",
        "import small_handed_in_thing, small_thing_of_the_grader, sys\n"
        "assert small_handed_in_thing.__file__.startswith(sys.prefix)",
    ]
    nbformat.write(notebook(*cells, *RIGHT), tmp_path / "pip.ipynb")
    result = grade_submission(tmp_path / "pip.ipynb", toy)
    assert (result.score, result.reason) == (4, "")
    assert importlib.util.find_spec("small_handed_in_thing") is None
    assert (graders_own / "small_thing_of_the_grader.py").exists()


def test_a_process_that_does_not_answer_at_first_is_started_again(toy, tmp_path, monkeypatch):
    """As when another program took one of its ports: this says nothing about the submission."""
    from jupyter_client.blocking import BlockingKernelClient

    answers, asked = BlockingKernelClient.wait_for_ready, []

    def first_one_is_dead(client, timeout=None):
        asked.append(timeout)
        if len(asked) == 1:
            raise RuntimeError("Kernel died before replying to kernel_info")
        return answers(client, timeout)

    monkeypatch.setattr(BlockingKernelClient, "wait_for_ready", first_one_is_dead)
    nbformat.write(notebook(*RIGHT), tmp_path / "right.ipynb")
    result = grade_submission(tmp_path / "right.ipynb", toy)
    assert (result.score, result.status, result.reason, len(asked)) == (4, "finished", "", 2)


def test_every_notebook_gets_the_points_that_it_deserves_and_a_reason(graded, toy):
    found = {name: (float(row["score"]), row["status"]) for name, row in graded[0].items()}
    expected = hostile(toy)
    other = {name: row["reason"] for name, row in graded[0].items() if found[name] != expected[name][1:3]}
    assert not other
    assert found.keys() == expected.keys()
    for name, (*_, words) in expected.items():
        reason = graded[0][name]["reason"]
        assert words in reason if words else not reason, (name, reason)


def test_an_attempt_to_read_hidden_checks_is_named(graded, toy):
    reason = graded[0]["peek.ipynb"]["reason"]
    assert str(toy.bundle) in reason and str(toy.output.parent / "masters") in reason


def test_the_table_has_points_by_question_and_room_for_written_answers(graded):
    with open(graded[1], newline="", encoding="utf-8") as file:
        rows = {row["submission"]: row for row in csv.DictReader(file)}
    assert set(rows) == set(graded[0])
    half = rows["half.ipynb"]
    assert (half["q1"], half["q2"], half["q3, by hand, of 5"]) == ("2", "1", "")
    assert half["possible"] == "4" and half["percent"] == "75.0" and float(half["seconds"]) > 0


def feedback(graded):
    return graded[1].with_suffix("") / graded[2].name


def test_feedback_says_what_failed_and_shows_no_code(graded):
    text = (feedback(graded) / "half.ipynb.txt").read_text(encoding="utf-8")
    assert "q2: 1" in text and "also below zero" in text and "q3: graded by hand" in text
    assert "assert" not in text.replace("AssertionError", "")
    slow = (feedback(graded) / "endless_function.ipynb.txt").read_text(encoding="utf-8")
    assert "it took too long" in slow


def test_nothing_that_a_submission_started_goes_on(graded):
    assert graded[3] == []


def test_graded_again_only_what_has_changed(graded, toy):
    """And a table that was cut short by a kill is continued."""
    _, table, folder, _ = graded
    before = table.read_text(encoding="utf-8")
    asked = []

    def count(path, assignment, **options):
        asked.append(path.name)
        return Result(possible=4.0, questions={"q1": 1.0, "q2": 0.0})

    grade_folder(toy, folder, table, grade=count)
    assert asked == [] and table.read_text(encoding="utf-8") == before
    lines = before.splitlines(keepends=True)
    table.write_text("".join(line for line in lines if not line.startswith("half.")), encoding="utf-8")
    (folder / "no_cells.ipynb").write_text(nbformat.writes(notebook("answer = 1")), encoding="utf-8")
    rows = grade_folder(toy, folder, table, grade=count)
    assert sorted(asked) == ["half.ipynb", "no_cells.ipynb"] and len(rows) == len(hostile(toy))


def test_a_batch_that_is_killed_is_continued(toy, tmp_path):
    """Really killed: what was graded until then stands in the table."""
    folder, table = tmp_path / "submissions", tmp_path / "grades.csv"
    folder.mkdir()
    for number in range(12):
        (folder / f"s{number:02d}.ipynb").write_text(f"no notebook {number}", encoding="utf-8")
    program = f"""
import sys, time
sys.path.insert(0, {str(REPOSITORY / "notebooks" / "assignments" / "tools")!r})
from grade import grade_folder, grade_submission
from masters import Assignment
from pathlib import Path
def slow(*arguments, **options):
    time.sleep(0.3)
    return grade_submission(*arguments, **options)
grade_folder(Assignment({toy.name!r}, Path({str(toy.output)!r})), {str(folder)!r}, {str(table)!r}, grade=slow)
"""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen([sys.executable, "-c", program], env=environment) as process:
        deadline = time.monotonic() + 60
        while not (table.exists() and table.read_text().count("\n") > 3) and time.monotonic() < deadline:
            time.sleep(0.1)
        process.kill()
    done = table.read_text(encoding="utf-8").count("\n") - 1
    assert 3 <= done < 12
    asked = []

    def count(path, assignment, **options):
        asked.append(path)
        return grade_submission(path, assignment, **options)

    assert len(grade_folder(toy, folder, table, grade=count)) == 12
    assert len(asked) == 12 - done


def test_a_real_assignment_from_end_to_end(shared_cache, tmp_path):
    """The command line, on the first assignment: a solution, an untouched copy."""
    output, folder = tmp_path / "made", tmp_path / "submissions"
    folder.mkdir()
    assignment = make_assignment(find_masters()["a1"], output)
    gu.load("simulated", profile="smoke", seed=11)
    shutil.copytree(shared_cache, assignment.start_cache)  # as `make assignments` leaves it
    student = next(assignment.student_folder.glob("*.ipynb"))
    (folder / "solution.ipynb").write_bytes(assignment.solution.read_bytes())
    (folder / "untouched.ipynb").write_bytes(student.read_bytes())
    command = [
        sys.executable,
        REPOSITORY / "notebooks" / "assignments" / "tools" / "grade.py",
        "--assignment",
        "a1",
        "--submissions",
        folder,
    ]
    subprocess.run([*command, "--output", output, "--jobs", "2"], check=True, timeout=240, capture_output=True)
    with open(output / "private" / "grades" / "a1.csv", newline="", encoding="utf-8") as file:
        rows = {row["submission"]: row for row in csv.DictReader(file)}
    assert rows["solution.ipynb"]["score"] == rows["solution.ipynb"]["possible"] == "17"
    assert rows["untouched.ipynb"]["score"] == "0" and rows["untouched.ipynb"]["status"] == "finished"


def test_mistakes_of_the_teacher_are_named(toy, tmp_path):
    with pytest.raises(AssignmentError, match="no submissions"):
        find_submissions(tmp_path)
    with pytest.raises(AssignmentError, match="no master notebooks"):
        find_masters(tmp_path)
    with pytest.raises(AssignmentError, match="folders of their own"):
        grade_submission(tmp_path / "x.ipynb", toy, private=[REPOSITORY.parent])
    with pytest.raises(AssignmentError, match="make assignments"):
        grade_submission(tmp_path / "x.ipynb", type(toy)("t2_none", toy.output))


def test_a_master_whose_solution_would_be_published_is_refused(tmp_path):
    """A solution outside a solution block stays in the student's copy."""
    cells = [getattr(nbformat.v4, f"new_{kind}_cell")(source) for kind, source in TOY]
    cells.insert(1, nbformat.v4.new_code_cell("secret = 1  # SOLUTION"))
    master = nbformat.v4.new_notebook(cells=cells, metadata=METADATA)
    nbformat.write(master, tmp_path / "t1_toy.ipynb")
    with pytest.raises(AssignmentError, match="shows a solution"):
        make_assignment(tmp_path / "t1_toy.ipynb", tmp_path / "made")
