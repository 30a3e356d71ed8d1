"""Intervals hold the truth as often as they say: a few rows of the measured table, again, with a fixed seed."""

import json
import runpy
from pathlib import Path

import pytest

MEASURED = Path(__file__).resolve().parents[2] / "book" / "measured"
SIMULATION = runpy.run_path(str(MEASURED / "coverage_simulation.py"))
TRIALS, LEAST = 200, 0.92  # the seeds are fixed


def test_recall_of_a_small_class_is_covered():
    found = SIMULATION["recall_of_a_class"](5, 0.8, TRIALS)
    assert found["now"] >= LEAST > found["before"]


def test_galaxies_in_pairs_are_covered_by_group_and_not_one_by_one():
    one_by_one, by_group = (SIMULATION["accuracy_of_one_network"](448, True, by, TRIALS) for by in (False, True))
    assert by_group >= LEAST > one_by_one


@pytest.mark.parametrize(("seeds", "ratio", "in_pairs"), [(3, 4, False), (8, 1, True)])
def test_recipes_are_covered_over_seeds(seeds, ratio, in_pairs):
    found = SIMULATION["over_seeds"](seeds, 448, ratio, TRIALS, in_pairs=in_pairs)
    assert found["difference"] >= LEAST and found["mean"] >= LEAST


def test_the_measured_table_says_the_same():
    table = json.loads((MEASURED / "coverage_simulation.json").read_text(encoding="utf-8"))
    assert all(row["now"] >= LEAST for row in table["recall of a class"].values())
    rows = table["recipes over seeds, 449 galaxies"].items()
    assert all(row["difference"] >= LEAST for name, row in rows if "collapse" not in name)
