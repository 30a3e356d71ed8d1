"""A small book: a copy of the project with two small chapters, the second of which needs the first."""

import shutil
from pathlib import Path

import nbformat

REPOSITORY = Path(__file__).resolve().parents[2]
KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}
PARAMETERS = 'dataset_source = "simulated"\nprofile_name = "demo"\nseed = 1'
# Each cell notes that it ran; the first chapter leaves a file for the second.
FIRST = """import time, pathlib, galaxy_utils.files as files
for step in range(10):
    time.sleep(0.1)
files.write_json(files.artifacts_folder() / "split.json", list(range(1000)))
print("the first chapter is done")"""
SECOND = """import json, time, galaxy_utils.files as files
rows = json.loads((files.artifacts_folder() / "split.json").read_text())
for step in range(10):
    time.sleep(0.1)
print("the second chapter has seen", len(rows), "rows")"""


# Long enough to describe a page.
SENTENCE = "This small page stands in a book that is built, killed and built again."


def write_small_book(folder):
    """A copy of the project with two small chapters and a landing page."""
    for name in ("book", "galaxy_utils"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.md"))
    for name in ("_config.yml", "requirements.lock", "pyproject.toml"):
        shutil.copy(REPOSITORY / name, folder / name)
    (folder / "notebooks").mkdir()
    for name, cell, needs in (("01_first", FIRST, []), ("02_second", SECOND, ["01_first"])):
        notebook = nbformat.v4.new_notebook(metadata={"kernelspec": KERNEL, "galaxy_book": {"needs": needs}})
        notebook.cells = [
            nbformat.v4.new_markdown_cell(f"# {name}\n\n{SENTENCE}"),
            nbformat.v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}),
            nbformat.v4.new_code_cell(cell),
        ]
        nbformat.write(notebook, folder / "notebooks" / f"{name}.ipynb")
    (folder / "book" / "index.md").write_text(f"# A small book\n\n{SENTENCE}\n")
    pages = "".join(f"  - file: {page}\n" for page in ("notebooks/01_first", "notebooks/02_second", "this_copy"))
    (folder / "book" / "_toc.yml").write_text(f"format: jb-book\nroot: index\nchapters:\n{pages}")
