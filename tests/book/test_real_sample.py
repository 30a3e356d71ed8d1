"""The sample of real galaxies that this book measured can be cut out of the official file."""

import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from toy_galaxies import toy_galaxies

import galaxy_utils as gu
from galaxy_utils.classes import NUM_CLASSES
from galaxy_utils.errors import DataError

MEASURED = Path(__file__).resolve().parents[2] / "book" / "measured"


def test_its_rows_become_a_folder_that_is_read_with_positions(tmp_path):
    cut_out = runpy.run_path(str(MEASURED / "real_sample.py"))["cut_out"]
    galaxies = toy_galaxies(40)
    positions = {"ra": np.linspace(10, 300, 40), "dec": np.linspace(-60, 60, 40)}
    galaxies = galaxies.replace(**positions)
    rows = np.array([3, 8, 17, 26, 31])
    sample = tmp_path / "sample.csv"
    pd.DataFrame({"row": rows, "label": galaxies.labels[rows]}).to_csv(sample, index=False)
    cut_out(galaxies, tmp_path / "sample", sample)
    read = gu.load(tmp_path / "sample")
    assert sorted(read.ra) == pytest.approx(positions["ra"][rows])
    place = np.argsort(read.ra)
    np.testing.assert_array_equal(np.asarray(read.images)[place], np.asarray(galaxies.images)[rows])
    pd.DataFrame({"row": rows, "label": 1 - galaxies.labels[rows]}).to_csv(sample, index=False)
    with pytest.raises(DataError, match="not the official file"):
        cut_out(galaxies, tmp_path / "other", sample)


def test_the_list_has_seventy_galaxies_of_each_class():
    listed = pd.read_csv(MEASURED / "real_sample.csv")
    assert listed.row.is_unique and listed.groupby("label").size().tolist() == [70] * NUM_CLASSES
