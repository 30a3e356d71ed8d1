"""Solutions score everything, untouched copies nothing, plausible wrong answers lose points."""

import contextlib
import io
import shutil
from pathlib import Path

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager

pytest.importorskip("otter")

from make import make_assignment
from masters import find_masters, read_checks, read_written_questions
from wrong_answers import WORTH, WRONG_ANSWERS

REPOSITORY = Path(__file__).resolve().parents[2]
KEYS = list(find_masters(REPOSITORY / "notebooks" / "assignments"))


class World:
    """One assignment, made once, with the names that its untouched copy and its solution leave behind.

    Both begin with the same cells, up to the first question. These run once, and some of them train a network.
    """

    def __init__(self, key, folder):
        self.assignment = make_assignment(find_masters(REPOSITORY / "notebooks" / "assignments")[key], folder)
        self.checks = read_checks(self.assignment.bundle)
        # A copy to run in: Otter writes a log beside the notebook.
        self.folder = shutil.copytree(self.assignment.student_folder, folder / "work")
        (student,) = self.assignment.student_folder.glob("*.ipynb")
        untouched, solution = (_cells(path) for path in (student, self.assignment.solution))
        same = [one == other for one, other in zip(untouched, solution, strict=False)]
        common = same.index(False)
        names = {"__name__": "__main__"}
        assert not self._run(solution[:common], names)
        # The untouched copy first, and scored at once: the solution goes on with the same objects.
        mine = dict(names)
        self._run(untouched[common:], mine)
        self.untouched = {question: self.score(question, mine) for question in self.checks}
        assert not self._run(solution[common:], names)
        self.solution = names

    def _run(self, cells, names):
        """Run cells in this process, without a kernel; those that raise are passed over, as in grading.

        Returns:
            What the cells raised.
        """
        errors = []
        with contextlib.chdir(self.folder), contextlib.redirect_stdout(io.StringIO()):
            for cell in cells:
                try:
                    exec(compile(TransformerManager().transform_cell(cell), "<cell>", "exec"), names)
                except Exception as error:
                    errors.append(f"{type(error).__name__}: {error}")
        return errors

    def score(self, question, names):
        """`(points, possible, messages of the failed checks)` of one question."""
        from otter.test_files.exception_test import ExceptionTestFile

        checks = ExceptionTestFile.from_string(self.checks[question])
        with contextlib.chdir(self.folder):
            checks.run(names)
        failed = [case.message for case in checks.test_case_results if not case.passed]
        return checks.score, checks.possible, failed


def _cells(notebook):
    return [cell.source for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code"]


@pytest.fixture(scope="module")
def worlds(tmp_path_factory):
    """A function that gives the `World` of an assignment."""
    made = {}

    def world(key):
        if key not in made:
            made[key] = World(key, tmp_path_factory.mktemp(key))
        return made[key]

    return world


@pytest.mark.parametrize("key", KEYS)
def test_the_solution_scores_everything(worlds, key):
    world = worlds(key)
    for question in world.checks:
        points, possible, failed = world.score(question, world.solution)
        assert points == pytest.approx(possible), failed


@pytest.mark.parametrize("key", KEYS)
def test_the_untouched_copy_scores_nothing(worlds, key):
    for question, (points, _, failed) in worlds(key).untouched.items():
        assert points == 0, question
        assert all("Error at line" in message for message in failed)


@pytest.mark.parametrize("key", KEYS)
def test_every_question_has_two_wrong_answers_in_the_table(worlds, key):
    assert set(WRONG_ANSWERS[key]) == set(worlds(key).checks)
    assert all(len(answers) >= 2 for answers in WRONG_ANSWERS[key].values())


@pytest.mark.parametrize(
    ("key", "question", "mistake"),
    [(k, q, mistake) for k, questions in WRONG_ANSWERS.items() for q, ms in questions.items() for mistake in ms],
)
def test_a_wrong_answer_loses_points(worlds, key, question, mistake):
    world = worlds(key)
    names = dict(world.solution)
    with contextlib.chdir(world.folder):  # some write a ledger
        exec(WRONG_ANSWERS[key][question][mistake], names)
    points, possible, failed = world.score(question, names)
    assert points <= 0.75 * possible, f"{mistake} scores {points} of {possible}"
    # The check noticed the mistake; it did not stumble over something else.
    assert all("AssertionError" in message for message in failed), failed
    worth, reason = WORTH.get((key, question, mistake), (points, ""))
    assert points == worth and reason in "".join(failed), failed


@pytest.mark.parametrize("key", KEYS)
def test_a_student_cannot_read_what_is_hidden(worlds, key):
    """Neither in the notebook nor in the folder; `make_assignment` refuses it too, this looks at every hidden line."""
    world = worlds(key)
    published = "\n".join(
        path.read_text(encoding="utf-8") for path in world.assignment.student_folder.rglob("*") if path.is_file()
    )
    hidden = [
        line.strip()
        for source in world.checks.values()
        for check in source.split("@test_case(")[1:]
        if "hidden=True" in check.splitlines()[0]
        for line in check.splitlines()[1:]
        if line.strip().startswith(("def ", "assert "))
    ]
    assert hidden
    assert not [line for line in hidden if line in published]
    assert read_written_questions(world.assignment.solution)


def test_making_an_assignment_twice_gives_the_same_bytes(worlds, tmp_path):
    """What was graded before counts as graded only as long as the bundle is the same."""
    world = worlds("a1")
    again = make_assignment(find_masters(REPOSITORY / "notebooks" / "assignments")["a1"], tmp_path)
    assert again.bundle.read_bytes() == world.assignment.bundle.read_bytes()
