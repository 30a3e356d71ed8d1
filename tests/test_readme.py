"""The README's Python runs as it stands."""

import re
from pathlib import Path

README = Path(__file__).resolve().parents[1] / "README.md"


def test_first_lines_of_python_run_as_they_stand():
    """Load, prepare and split, fit: a newcomer's first three lines."""
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert blocks
    names = {}
    for block in blocks:
        exec(compile(block, str(README), "exec"), names)
    run = names["run"]
    assert run.epochs >= 1
    assert 0 <= run.history["val_accuracy"][-1] <= 1


def test_pictures_and_pages_that_it_names_exist():
    """No dead link into the repository."""
    text = README.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    assert links
    for link in links:
        assert (README.parent / link).exists(), link
