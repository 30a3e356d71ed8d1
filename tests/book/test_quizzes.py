"""Quick questions: every answer says why it is right or wrong, without a mouse, a script or a network."""

import json
import re
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("[0-9][0-9]_*.ipynb"))
# HTML's own folding element: reached by Tab, opened by Enter or Space, read by screen readers, and shown by Colab.
ANSWER = re.compile(r"^<details><summary>(.+)</summary>\n\n(.+)\n\n</details>$", re.MULTILINE)


def questions(path):
    """Sources of the cells tagged `quiz`."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if "quiz" in cell["metadata"].get("tags", [])]


@pytest.mark.parametrize("path", [path for path in NOTEBOOKS if questions(path)], ids=lambda path: path.stem)
def test_every_question_has_one_right_answer_and_explains_all(path):
    assert 2 <= len(questions(path)) <= 3
    for question in questions(path):
        assert re.match(r"\*\*Quick question\.\*\* .+\?\n", question)
        answers = ANSWER.findall(question)
        assert len(answers) == question.count("<details>") >= 3
        assert sum(text.startswith("**Right.** ") for _, text in answers) == 1
        for summary, text in answers:
            assert text.startswith(("**Right.** ", "**No.** ")) and len(text.split()) >= 10
            assert not re.search(r"[*`$]", summary), "Markdown is not read inside a summary"


def test_the_right_answer_is_not_always_in_the_same_place():
    places = set()
    for path in NOTEBOOKS:
        for question in questions(path):
            answers = ANSWER.findall(question)
            places.add(next(n for n, (_, text) in enumerate(answers) if text.startswith("**Right.**")))
    assert len(places) >= 2


def test_every_chapter_has_questions():
    assert [path.stem[:2] for path in NOTEBOOKS if questions(path)] == [f"{number:02}" for number in range(1, 15)]
