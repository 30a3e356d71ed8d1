"""Intervals hold the truth as often as they say: a few rows of the measured table, again, with a fixed seed."""

import json
import runpy
from pathlib import Path

import pytest

MEASURED = Path(__file__).resolve().parents[2] / "book" / "measured"
SIMULATION = runpy.run_path(str(MEASURED / "coverage_simulation.py"))
# 300 trials: at 95 %, one row in a hundred lies outside 92 to 98 % by chance; the seeds are fixed.
TRIALS, LEAST = 300, 0.92


@pytest.mark.parametrize("galaxies", [5, 10])
def test_recall_of_a_small_class_is_covered(galaxies):
    found = SIMULATION["recall_of_a_class"](galaxies, 0.8, TRIALS)
    assert found["now"] >= LEAST > found["before"] or galaxies > 5


def test_galaxies_in_pairs_are_covered_by_group_and_not_one_by_one():
    one_by_one, by_group = (SIMULATION["accuracy_of_one_network"](448, True, by, TRIALS) for by in (False, True))
    assert by_group >= LEAST > one_by_one


@pytest.mark.parametrize(("seeds", "ratio", "in_pairs"), [(2, 15, False), (3, 4, False), (8, 1, True)])
def test_recipes_are_covered_over_seeds(seeds, ratio, in_pairs):
    found = SIMULATION["over_seeds"](seeds, 448, ratio, TRIALS, in_pairs=in_pairs)
    assert found["difference"] >= LEAST and found["mean"] >= LEAST


def test_the_measured_table_says_the_same():
    table = json.loads((MEASURED / "coverage_simulation.json").read_text(encoding="utf-8"))
    assert all(row["now"] >= 0.93 for row in table["recall of a class"].values())
    assert all(row["difference"] >= 0.93 for name, row in table["recipes over seeds, 449 galaxies"].items() if "collapse" not in name)
