"""Fixtures for the assignments: everything is made once, and all tests share one cache of galaxies."""

import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "notebooks" / "assignments" / "tools"))


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory):
    """One cache for all tests and all workers: rendering the survey takes longer than most tests here."""
    folder = tmp_path_factory.getbasetemp()
    if folder.name.startswith("popen-"):  # pytest-xdist gives each worker a folder in a common one
        folder = folder.parent
    return folder / "assignments-cache"


@pytest.fixture(autouse=True)
def own_folders(shared_cache, tmp_path, monkeypatch):
    """Replace the fixture of all other tests, which gives each test an empty cache."""
    monkeypatch.setenv("GALAXY_UTILS_CACHE", str(shared_cache))
    monkeypatch.setenv("GALAXY_UTILS_ARTIFACTS", str(tmp_path / "artifacts"))
