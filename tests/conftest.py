"""Fixtures for all tests: nothing is read from or written to the user's own folders."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import pytest
from filelock import FileLock
from toy_galaxies import galaxy10_columns

REPOSITORY = Path(__file__).resolve().parents[1]
# Three workers, and two chapters, share two cores: threads of one process would only wait for each other.
# The last turns on faster kernels, as the build does.
for name in ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_ENABLE_ONEDNN_OPTS"):
    os.environ.setdefault(name, "1")
# One worker builds the smoke book; files that do not need it are the others' meanwhile, the longest first. What reads
# the book comes as soon as it is there, and short files last, so that all workers end together.
ORDER = ("test_build", "assignments", "faults", "augmentation", "catalogue", "test_training", "models", "test_colab")
ORDER += ("test_reading", "browser", "test_network_in", "all others")


def pytest_collection_modifyitems(items):
    """Give the files an order in which no worker waits for the other."""
    paths = {item.path: str(item.path.relative_to(REPOSITORY)) for item in items}
    last = len(ORDER) - 1
    items.sort(key=lambda item: next((n for n, name in enumerate(ORDER) if name in paths[item.path]), last))


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    """Give every test, and every process that it starts, an empty cache and artifacts folder."""
    monkeypatch.setenv("GALAXY_UTILS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GALAXY_UTILS_ARTIFACTS", str(tmp_path / "artifacts"))


@pytest.fixture(scope="session")
def shared_folder():
    """The folder with real data, which is never part of the project: beside the checkout or where a variable says."""
    folder = Path(os.environ.get("GALAXY_UTILS_SHARED") or REPOSITORY.parent / "shared")
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} does not exist (GALAXY_UTILS_SHARED can name another folder)")
    return folder


@pytest.fixture
def write_galaxy10(tmp_path):
    """A function that writes a small valid file, with columns replaced, or left out where `None`; returns its path."""

    def write(name="small.h5", attributes=None, image_options=None, **changes):
        path = tmp_path / name
        with h5py.File(path, "w") as file:
            for key, values in {**galaxy10_columns(), **changes}.items():
                if values is not None:
                    file.create_dataset(key, data=values, **(image_options or {} if key == "images" else {}))
            file.attrs.update(attributes or {})
        return path

    return write


@pytest.fixture(scope="session")
def common_folder(tmp_path_factory):
    """A temporary folder that all processes of one test run share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def run_build(common_folder):
    """A function that runs the build of a checkout in a process of its own, as `make book` does.

    All builds share one cache, so that the survey is rendered once. None reads pretrained weights that lie on this
    machine, unless a test says so.
    """

    def run(checkout, *options):
        return subprocess.run(
            [sys.executable, checkout / "book" / "tools" / "build.py", *map(str, options)],
            capture_output=True,
            text=True,
            timeout=1800,
            env={
                "GALAXY_UTILS_WEIGHTS": "none",
                **os.environ,
                "GALAXY_UTILS_CACHE": str(common_folder / "cache_of_builds"),
            },
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def copy_checkout():
    """A function that copies what the build reads into a folder, so that a test may edit it; returns the folder."""

    def copy(folder, notebooks=True):
        ignored = shutil.ignore_patterns("__pycache__", "*checkpoints")
        for name in ("book", "galaxy_utils", "notebooks"):
            shutil.copytree(REPOSITORY / name, folder / name, ignore=ignored)
        for name in ("_config.yml", "pyproject.toml", "requirements.lock"):
            shutil.copy(REPOSITORY / name, folder / name)
        if not notebooks:
            shutil.rmtree(folder / "notebooks")
            (folder / "notebooks").mkdir()
        return folder

    return copy


@pytest.fixture(scope="session")
def first_build(common_folder, run_build, copy_checkout):
    """The whole book in the smoke profile, built once for all processes: a dictionary.

    `checkout` and `options` are for building again; `status` and `output` are those of the first build; `html` holds
    a copy of its pages that no later build changes.
    """
    folder = common_folder / "smoke_book"
    with FileLock(common_folder / "smoke_book.lock"):
        if not (folder / "result.json").exists():
            checkout = copy_checkout(folder)
            options = ("--profile", "smoke", "--output", str(checkout / "_build"))
            result = run_build(checkout, *options)
            if result.returncode == 0:
                shutil.copytree(checkout / "_build" / "html", folder / "first_html")
            done = {"status": result.returncode, "output": result.stdout + result.stderr, "options": options}
            (folder / "result.json").write_text(json.dumps(done), encoding="utf-8")
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    return {**result, "checkout": folder, "html": folder / "first_html"}
