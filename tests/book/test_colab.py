"""Colab without Colab: set-up cells in a bare environment. `make colab`, once a week, runs all chapters there."""

import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "book" / "tools"))

from colab import Rehearsal, RehearsalError, _set_up_cell  # noqa: E402

import galaxy_utils  # noqa: E402


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory):
    """A bare machine."""
    return Rehearsal(tmp_path_factory.mktemp("rehearsal"))


@pytest.fixture(scope="module")
def printed(rehearsal):
    """What the set-up cells of two chapters print, run one after the other on the bare machine."""
    return rehearsal.run_set_up_cells(list(rehearsal.chapters)[:2])


def test_the_machine_is_bare_and_has_tensorflow(rehearsal):
    assert {"tensorflow", "keras", "numpy", "ipykernel"} <= set(rehearsal.bare)
    assert not {"galaxy-utils", "galsim"} & set(rehearsal.bare)


def test_the_set_up_cell_of_every_chapter_prepares_the_machine(rehearsal, printed):
    """The first installs, the second changes nothing; `run_set_up_cells` has compared all versions."""
    assert len({_set_up_cell(path) for path in rehearsal.chapters.values()}) == 1, "one text in all chapters"
    after = rehearsal.versions()
    assert after["galaxy-utils"] == galaxy_utils.__version__ and "galsim" in after
    assert after["tensorflow"] == rehearsal.bare["tensorflow"]
    assert printed.count(f"Keras {rehearsal.bare['keras']} on ") == 2
    assert printed.count("keep_on_drive=True") == 2


def test_a_set_up_that_replaces_something_is_noticed(rehearsal, printed, monkeypatch):
    monkeypatch.setitem(rehearsal.bare, "tensorflow", "1.0")
    with pytest.raises(RehearsalError, match=r"changed more.*(.|\n)*tensorflow"):
        rehearsal.check_unchanged()
