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


# A cell that builds a network, trains or plots is read as one piece; every other cell holds one idea.
WORDS_OF_LONG_CELLS = ("layers.", "keras.", "fit(", "compile(", "plt.", "sns.", "axes", "gu.plots.", "class ")


def test_cells_are_short(notebook):
    """Thirty lines where a network is built or trained or a figure drawn, fifteen elsewhere; no line is cut off."""
    for cell in _code_cells(notebook):
        source = "".join(cell["source"])
        lines = [line for line in source.splitlines() if line.strip()]
        long = "solution" in cell["metadata"].get("tags", []) or any(word in source for word in WORDS_OF_LONG_CELLS)
        ideas = [line for line in lines if not line.startswith(("import ", "from "))]
        assert len(ideas) <= (30 if long else 15), source
        # Longer lines are cut off on the page: a reader would have to scroll sideways.
        assert max(map(len, lines), default=0) <= 79, source


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
    tags = [cell["metadata"].get("tags", []) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    # A blank has a folded solution of its own, in the next code cell.
    after_blanks = [now for before, now in zip(tags, tags[1:], strict=False) if "blank" in before]
    assert all("solution" in now for now in after_blanks)
    assert 3 <= sum("solution" in now for now in tags) - len(after_blanks) <= 6
    assert 2 <= len(after_blanks) <= 3


def test_only_the_package_and_public_libraries_are_imported(notebook):
    """A chapter must run where nothing but `galaxy_utils` and its requirements is installed."""
    allowed = {"galaxy_utils", "numpy", "matplotlib", "seaborn", "sklearn", "scipy", "keras", "h5py", "pandas", "PIL"}
    allowed |= {"skimage", "statsmodels", "IPython", "threadpoolctl", "tensorflow"}
    allowed |= {"dask", "distributed", "onnxruntime"}  # chapter 14; the last one only where it is installed
    standard = {"contextlib", "dataclasses", "importlib", "io", "json", "math", "pathlib"}
    standard |= {"tempfile", "time", "warnings"}
    for cell in _code_cells(notebook):
        for line in "".join(cell["source"]).splitlines():
            words = line.split()
            if words[:1] in (["import"], ["from"]):
                assert words[1].split(".")[0] in allowed | standard, line
