"""Every notebook keeps the habits that readers, papermill and git rely on."""

import json
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("[0-9][0-9]_*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    """One notebook of the book, as a dictionary."""
    return json.loads(request.param.read_text(encoding="utf-8"))


def _code_cells(notebook):
    """The author's cells: the set-up cell is written by `make address` and tested with it."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code" and cell["id"] != "set-up"]


def test_all_chapters_are_in_the_table_of_contents():
    """A notebook outside the table of contents would be run and never shown."""
    contents = (Path(__file__).resolve().parents[2] / "book" / "_toc.yml").read_text(encoding="utf-8")
    assert NOTEBOOKS
    for path in NOTEBOOKS:
        assert f"notebooks/{path.stem}" in contents


def test_no_outputs_are_stored(notebook):
    """Outputs belong to a build, not to git."""
    for cell in _code_cells(notebook):
        assert cell["outputs"] == []
        assert cell["execution_count"] is None


def test_cells_are_short(notebook):
    """Code over ten lines moves to the package, where it is tested."""
    for cell in _code_cells(notebook):
        lines = [line for line in "".join(cell["source"]).splitlines() if line.strip()]
        assert len(lines) <= (25 if "solution" in cell["metadata"].get("tags", []) else 12), "".join(cell["source"])
        # Longer lines are cut off on the page: a reader would have to scroll sideways.
        assert max(map(len, lines), default=0) <= 79, "".join(cell["source"])


def test_every_chapter_has_its_parts(notebook):
    """What to be able to do, takeaways, exercises with solutions, further reading: in every chapter, in this order."""
    text = "\n".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "markdown").lower()
    assert "will be able to" in text
    headings = [line for line in text.splitlines() if line.startswith("#")]
    places = [
        next(number for number, heading in enumerate(headings) if part in heading)
        for part in ("key takeaways", "exercises", "further reading")
    ]
    assert places == sorted(places)
    solutions = [cell for cell in _code_cells(notebook) if "solution" in cell["metadata"].get("tags", [])]
    assert 3 <= len(solutions) <= 6


def test_only_the_package_and_public_libraries_are_imported(notebook):
    """A chapter must run where nothing but `galaxy_utils` and its requirements is installed."""
    allowed = {"galaxy_utils", "numpy", "matplotlib", "seaborn", "sklearn", "scipy", "keras", "h5py", "pandas", "PIL"}
    for cell in _code_cells(notebook):
        for line in "".join(cell["source"]).splitlines():
            words = line.split()
            if words[:1] in (["import"], ["from"]):
                assert words[1].split(".")[0] in allowed | {"pathlib", "json", "math", "time"}, line
