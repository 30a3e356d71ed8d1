"""Every master notebook keeps the habits that students, teachers and Otter rely on."""

import json
import re
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
MASTERS = sorted((REPOSITORY / "notebooks" / "assignments").glob("*.ipynb"))
NUMBER = r"(\d+(?:\.\d+)?)"


@pytest.fixture(params=MASTERS, ids=lambda path: path.stem)
def cells(request):
    """`[(type, source)]` of one master."""
    notebook = json.loads(request.param.read_text(encoding="utf-8"))
    return [(cell["cell_type"], "".join(cell["source"])) for cell in notebook["cells"]]


def _questions(cells):
    """`[(settings, points of its checks, text of its cells)]` of each question."""
    questions = []
    for kind, source in cells:
        if source.startswith("# BEGIN QUESTION"):
            questions.append((yaml.safe_load(source), [], []))
        elif questions:
            questions[-1][2].append(source)
            if kind == "code" and "BEGIN TEST CONFIG" in source:
                settings = yaml.safe_load(source.split("END TEST CONFIG")[0].replace('"""', ""))
                questions[-1][1].append(settings)
    return questions


def test_there_are_assignments():
    assert len(MASTERS) >= 1


def test_no_outputs_are_stored_and_cells_are_short(cells):
    for kind, source in cells:
        lines = [line for line in source.splitlines() if line.strip()]
        if kind == "code":
            is_check, is_solution = "BEGIN TEST CONFIG" in source, "SOLUTION" in source
            assert len(lines) <= (25 if is_check or is_solution else 12), source
            assert max(map(len, lines)) <= 79, source


def test_outputs_are_not_stored():
    for path in MASTERS:
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            assert not cell.get("outputs") and cell.get("execution_count") is None, path


def test_the_front_page_says_what_students_ask(cells):
    """Goals, minutes, points and how it is graded, before anything else."""
    front = next(source for kind, source in cells if kind == "markdown")
    for part in ("# Assignment", "**Minutes**", "**Points**", "**You will be able to**", "**How it is graded.**"):
        assert part in front


def test_points_add_up_and_the_front_page_states_them(cells):
    front = next(source for kind, source in cells if kind == "markdown")
    questions = _questions(cells)
    written = sum(settings["points"] for settings, _, _ in questions if settings.get("manual"))
    checked = sum(settings["points"] for settings, _, _ in questions if not settings.get("manual"))
    stated = re.search(rf"\*\*Points\*\* {NUMBER}: {NUMBER} by checks, {NUMBER} for", front)
    assert [float(number) for number in stated.groups()] == [checked + written, checked, written]
    for settings, checks, _ in questions:
        if not settings.get("manual"):
            assert sum(check["points"] for check in checks) == pytest.approx(settings["points"]), settings["name"]


def test_every_question_has_a_check_that_teaches_one_that_is_hidden_or_a_rubric(cells):
    for settings, checks, texts in _questions(cells):
        if settings.get("manual"):
            assert any("**Rubric.**" in text for text in texts), settings["name"]
            continue
        assert {check["hidden"] for check in checks} == {True, False}, settings["name"]
        visible = [t for t in texts if "BEGIN TEST CONFIG" in t and "hidden: false" in t]
        for text in visible:
            # Without its message a failed check only says that something is wrong.
            asserts = re.findall(r"^\s+assert\b", text, flags=re.MULTILINE)
            assert asserts and text.count('"') >= 2 * len(asserts), settings["name"]


def test_questions_are_numbered_in_order(cells):
    questions = _questions(cells)
    assert [settings["name"] for settings, _, _ in questions] == [f"q{n}" for n in range(1, len(questions) + 1)]
    for number, (_, _, texts) in enumerate(questions, start=1):
        assert texts[0].startswith(f"## Task {number} · ")
