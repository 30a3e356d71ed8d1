"""One setting says where the book lies on the web; badges, set-up cells and links follow from it."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml

import galaxy_utils
from galaxy_utils.errors import ConfigurationError

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "book" / "tools"))

from address import COLAB, differing, read_address, rewritten  # noqa: E402

GITHUB = "https://github.com/some-school/galaxies.of-2026"


@pytest.fixture
def checkout(tmp_path):
    """The files that name the address, in a folder that a test may change."""
    shutil.copytree(REPOSITORY / "notebooks", tmp_path / "notebooks")
    for name in (
        "pyproject.toml",
        "_config.yml",
        "README.md",
        "CITATION.cff",
        "book/index.md",
        "galaxy_utils/__init__.py",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(REPOSITORY / name, tmp_path / name)
    return tmp_path


def set_address(checkout, repository, reference="main"):
    """Change the setting and rewrite what follows from it."""
    path = checkout / "pyproject.toml"
    text = re.sub(r'^repository = "[^"]*"', f'repository = "{repository}"', path.read_text(), flags=re.MULTILINE)
    text = re.sub(r'^reference = "[^"]*"', f'reference = "{reference}"', text, flags=re.MULTILINE)
    path.write_text(text, encoding="utf-8")
    for file, content in rewritten(checkout).items():
        file.write_text(content, encoding="utf-8")


def notebooks(checkout):
    """`{file name: cells}` of all chapters."""
    paths = sorted((checkout / "notebooks").glob("[0-9]*.ipynb"))
    return {path.name: json.loads(path.read_text(encoding="utf-8"))["cells"] for path in paths}


def theme_options(checkout):
    """What the book's theme is told."""
    config = yaml.safe_load((checkout / "_config.yml").read_text(encoding="utf-8"))
    return config["sphinx"]["config"]["html_theme_options"]


def everything(checkout):
    """All text that the address could stand in."""
    return "\n".join(path.read_text(encoding="utf-8") for path in rewritten(checkout))


def test_this_checkout_agrees_with_its_setting():
    """After a change of the setting, the version, or a notebook: `make address`."""
    assert not differing(REPOSITORY)


def test_every_chapter_begins_with_the_same_set_up_cell():
    chapters = notebooks(REPOSITORY)
    cells = [next(cell for cell in cells if cell["cell_type"] == "code") for cells in chapters.values()]
    assert chapters and all(cell == cells[0] for cell in cells)
    source = "".join(cells[0]["source"])
    assert len([line for line in source.splitlines() if line.strip()]) <= 10
    assert f'galaxy_utils.set_up("{galaxy_utils.__version__}"' in source


def test_every_assignment_begins_with_one_that_also_brings_otter(checkout):
    set_address(checkout, GITHUB)
    masters = sorted((checkout / "notebooks" / "assignments").glob("*.ipynb"))
    assert masters
    for path in masters:
        text = path.read_text(encoding="utf-8")
        cell = next(cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code")
        assert GITHUB in "".join(cell["source"]) and 'extra="assignments")' in "".join(cell["source"])
        assert COLAB not in text  # a badge would open the solutions


def test_with_an_address_every_place_names_it(checkout):
    set_address(checkout, GITHUB, "v1.2")
    for name, cells in notebooks(checkout).items():
        number = next(number for number, cell in enumerate(cells) if cell["cell_type"] == "code")
        assert f'"git+{GITHUB}@v1.2"' in "".join(cells[number]["source"])
        badge = f"({COLAB}/github/some-school/galaxies.of-2026/blob/v1.2/notebooks/{name})"
        assert "".join(cells[number - 1]["source"]).endswith(badge)
    options = theme_options(checkout)
    assert (options["repository_url"], options["repository_branch"]) == (GITHUB, "v1.2")
    assert options["launch_buttons"] == {"colab_url": COLAB} and options["use_repository_button"] is True
    readme = (checkout / "README.md").read_text(encoding="utf-8")
    assert f"git clone {GITHUB} galaxies" in readme and "/blob/v1.2/notebooks/01_" in readme
    assert "/blob/v1.2/notebooks/01_" in (checkout / "book" / "index.md").read_text(encoding="utf-8")
    citation = yaml.safe_load((checkout / "CITATION.cff").read_text(encoding="utf-8"))
    assert (citation["repository-code"], citation["version"]) == (GITHUB, galaxy_utils.__version__)


def test_without_an_address_nothing_links_anywhere(checkout):
    set_address(checkout, GITHUB)
    set_address(checkout, "")
    assert COLAB not in everything(checkout) and "some-school" not in everything(checkout)
    assert not {"launch_buttons", "repository_url", "use_repository_button"} & set(theme_options(checkout))
    assert "say where to get it" in "".join(notebooks(checkout).popitem()[1][1]["source"])


def test_there_and_back_changes_nothing(checkout):
    before = everything(checkout)
    set_address(checkout, GITHUB)
    assert everything(checkout) != before
    set_address(checkout, "https://git.school.example/physics/galaxies")
    assert COLAB not in everything(checkout)  # Colab opens GitHub only, but the cell installs from anywhere
    assert "git+https://git.school.example/physics/galaxies@main" in everything(checkout)
    shutil.copy(REPOSITORY / "pyproject.toml", checkout / "pyproject.toml")
    for path, text in rewritten(checkout).items():
        path.write_text(text, encoding="utf-8")
    assert everything(checkout) == before


def test_a_forgotten_rewrite_is_found(checkout):
    set_address(checkout, GITHUB)
    path = checkout / "notebooks" / "01_meet_the_galaxies.ipynb"
    path.write_text(path.read_text(encoding="utf-8").replace("some-school", "another-school"), encoding="utf-8")
    assert list(differing(checkout)) == [path]


@pytest.mark.parametrize(
    ("repository", "reference"),
    [("github.com/a/b", "main"), (f"{GITHUB}.git", "main"), (f"{GITHUB}/", "main"), (GITHUB, "a b"), (GITHUB, "")],
)
def test_what_is_no_address_is_refused(checkout, repository, reference):
    with pytest.raises(ConfigurationError, match=r"This is no (address|branch)"):
        set_address(checkout, repository, reference)


def test_the_site_is_named_where_the_book_is_cited(checkout):
    path = checkout / "pyproject.toml"
    settings = path.read_text(encoding="utf-8")
    path.write_text(settings.replace('site = ""', 'site = "https://some-school.example/galaxies"'), encoding="utf-8")
    assert read_address(checkout).site == "https://some-school.example/galaxies/"
    assert "url: https://some-school.example/galaxies/\n" in rewritten(checkout)[checkout / "CITATION.cff"]
    path.write_text(settings.replace('site = ""', 'site = "some-school.example"'), encoding="utf-8")
    with pytest.raises(ConfigurationError, match="This is no address of a site"):
        rewritten(checkout)


def test_the_rendered_book_has_the_buttons(checkout, tmp_path):
    """Jupyter Book takes them from the settings as they are written; other keys of the same name do nothing."""
    set_address(checkout, GITHUB)
    # The settings name an extension of the book's own.
    (checkout / "book" / "tools").mkdir(parents=True, exist_ok=True)
    shutil.copy(REPOSITORY / "book" / "tools" / "docstrings.py", checkout / "book" / "tools")
    source = tmp_path / "source"
    (source / "notebooks").mkdir(parents=True)
    (source / "_toc.yml").write_text("format: jb-book\nroot: index\nchapters: [{file: notebooks/01_small}]\n")
    (source / "index.md").write_text("# Index\n")
    (source / "references.bib").touch()
    cells = [nbformat.v4.new_markdown_cell("# Small"), nbformat.v4.new_code_cell("1")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), source / "notebooks" / "01_small.ipynb")
    program = Path(sys.executable).with_name("jupyter-book")
    command = [program, "build", source, "--config", checkout / "_config.yml", "--path-output", tmp_path / "out"]
    subprocess.run(command, check=True, capture_output=True)
    page = (tmp_path / "out" / "_build" / "html" / "notebooks" / "01_small.html").read_text(encoding="utf-8")
    assert f"{COLAB}/github/some-school/galaxies.of-2026/blob/main/notebooks/01_small.ipynb" in page
    assert f'href="{GITHUB}"' in page
