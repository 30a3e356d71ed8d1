"""Fixtures for all tests: nothing is read from or written to the user's own folders."""

import os
from pathlib import Path

import h5py
import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


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


def galaxy10_columns(num_galaxies=60, side=32, seed=1):
    """Columns of a small, valid file in the format of Galaxy10 DECaLS: noise, all ten classes, one repeated galaxy."""
    random = np.random.default_rng(seed)
    columns = {
        "images": random.integers(0, 256, (num_galaxies, side, side, 3), dtype=np.uint8),
        "ans": np.sort(np.arange(num_galaxies) % 10).astype(np.uint8),
        "ra": random.uniform(0, 360, num_galaxies),
        "dec": random.uniform(-20, 80, num_galaxies),
        "redshift": random.uniform(0, 0.3, num_galaxies),
        "pxscale": np.full(num_galaxies, 0.262),
    }
    columns["redshift"][::7] = np.nan
    for key in ("images", "ra", "dec"):
        columns[key][-1] = columns[key][0]
    return columns


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
