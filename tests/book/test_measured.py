"""The simulated ledger judges as the package's does, and useless rounds are seldom kept: a short run, fixed seeds."""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import binom

import galaxy_utils as gu
from galaxy_utils.evaluation import paired_difference

MEASURED = Path(__file__).resolve().parents[2] / "book" / "measured"
sys.path.insert(0, str(MEASURED))
SURVEY, THROUGHPUT = (runpy.run_path(str(MEASURED / f"{name}.py")) for name in ("survey_of_100000", "throughput"))
SIMULATION = runpy.run_path(str(MEASURED / "ledger_simulation.py"))
RULE = gu.Rule(error_rate=0.4, max_rounds=4)  # a tenth a round, so that a few hundred rounds show it


def scores_of(random, spread, collapse, groups):
    """Scores of eight networks of a recipe whose mean is 0, shape (8, galaxies)."""
    lucky = 0.02 * spread * random.normal(size=(8, 1))
    fallen = 0.4 * (collapse - (random.random((8, 1)) < collapse))
    hard = 0.3 * random.normal(size=groups.max() + 1)[groups]
    return lucky + fallen + hard + 0.3 * random.normal(size=(8, len(groups)))


@pytest.mark.parametrize(
    ("spreads", "collapse", "members"),
    [((1, 1), 0, 1), ((1, 8), 0, 1), ((8, 1), 0, 1), ((1, 1), 0.1, 1), ((1, 1), 0, 2)],
)
def test_useless_rounds_are_seldom_kept(spreads, collapse, members):
    random, kept, trials, groups = np.random.default_rng(1), 0, 400, np.arange(300) // members
    for _ in range(trials):
        best, new = (scores_of(random, spread, collapse, groups) for spread in spreads)
        # KL divergence falls where accuracy rises.
        kl_change, accuracy_change = paired_difference(-best, -new, groups), paired_difference(best, new, groups)
        kept += RULE.verdict(kl_change, accuracy_change)[0] == "keep"
    assert kept <= binom.ppf(0.999, trials, sum(RULE.levels))


def test_a_useful_round_is_kept():
    random, groups, kept = np.random.default_rng(1), np.arange(300), 0
    for _ in range(100):
        best, new = scores_of(random, 1, 0, groups), scores_of(random, 1, 0, groups) + 0.15
        kept += RULE.verdict(paired_difference(-best, -new), paired_difference(best, new))[0] == "keep"
    assert kept >= 95


def test_the_program_asks_for_as_much_as_the_package():
    first, second = np.random.default_rng(2).normal(size=(2, 8, 300)) + np.linspace(0, 0.2, 8)[:, None]
    estimate = paired_difference(first, second)
    variance, freedom = SIMULATION["welch"](*(x.mean(axis=1)[None, :, None] for x in (first, second)), "Welch")
    assert variance.item() == pytest.approx(estimate.seed_variance)
    assert freedom.item() == pytest.approx(estimate.degrees_of_freedom)
    rule = gu.Rule(error_rate=SIMULATION["ERROR_RATE"], max_rounds=SIMULATION["ROUNDS"])
    assert SIMULATION["LEVELS"] == pytest.approx(rule.levels)
    # Just as much as is needed, and a little less.
    for factor, kept in ((1.001, True), (0.999, False)):
        needed = factor * estimate.half_width(rule.levels[0])
        change, galaxies = np.array([[-needed, 0.0]]), np.full((1, 2), estimate.galaxy_variance)
        networks = [np.repeat(x.mean(axis=1)[None, :, None], 2, axis=2) for x in (first, second)]
        assert SIMULATION["better"](change, galaxies, *networks, "Welch", SIMULATION["LEVELS"]).item() is kept


def test_the_measured_table_keeps_the_promise_and_a_short_run_says_the_same():
    table = json.loads((MEASURED / "ledger_simulation.json").read_text(encoding="utf-8"))
    chosen = table["designs"][table["chosen"]]
    assert max(chosen["wrong_keeps"].values()) <= table["error_rate"]
    random = np.random.default_rng(3)
    assert SIMULATION["wrong_keeps"](random, table["chosen"], 500) <= binom.ppf(0.999, 500, table["error_rate"]) / 500
    assert set(table["sensitivity"]) == set(SIMULATION["sensitivity"](10))
    kept, trainings = SIMULATION["power"](random, table["chosen"], (0.0, 0.10), 449, 500)
    assert kept == pytest.approx(chosen["power"]["449"]["points"][table["points"].index(0.10)], abs=0.02)
    assert trainings == pytest.approx(chosen["trainings"]["10 points"], abs=0.1)


def test_the_cut_outs_of_a_survey_are_the_same_again_and_no_two_are_alike(tmp_path):
    wide = np.random.default_rng(1).integers(0, 256, (3, 72, 72, 3), dtype=np.uint8)
    cutouts = [SURVEY["cutout"](wide, number) for number in range(30)]
    assert {image.shape for image in cutouts} == {(64, 64, 3)} and len({image.tobytes() for image in cutouts}) == 30
    SURVEY["write_shards"](tmp_path, wide, 30, 20)
    paths = sorted(tmp_path.iterdir())
    before = [(path.stat().st_mtime_ns, path.read_bytes()) for path in paths]
    assert [pq.read_metadata(path).num_rows for path in paths] == [20, 10]
    # What is there stays; what is not is made again as it was.
    paths[1].unlink()
    SURVEY["write_shards"](tmp_path, wide, 30, 20)
    assert paths[0].stat().st_mtime_ns == before[0][0] and paths[1].read_bytes() == before[1][1]


def test_a_row_that_is_missing_twice_or_another_makes_catalogues_differ(tmp_path):
    names = [f"{number:07d}.jpg" for number in range(4)]

    def catalogue(name, identifiers, values):
        (tmp_path / name).mkdir()
        for part in range(2):
            rows = slice(2 * part, 2 * part + 2)
            table = pa.table({"id": identifiers[rows], "p": pa.array(values[rows], pa.float64())})
            pq.write_table(table, tmp_path / name / f"part-{part:06d}.parquet")
        return tmp_path / name

    first = catalogue("first", names, [0.1, 0.2, 0.3, None])
    same = catalogue("same", names, [0.1, 0.2, 0.3, None])
    twice = catalogue("twice", [*names[:3], names[0]], [0.1, 0.2, 0.3, None])
    other = catalogue("other", names, [0.1, 0.2, 0.3001, None])
    assert SURVEY["compare"](first, same, 4)["equal"]
    assert not SURVEY["compare"](twice, twice, 4)["equal"] and not SURVEY["compare"](first, same, 5)["equal"]
    assert SURVEY["compare"](first, other, 4)["parts_with_equal_rows"] == 1
    (same / "part-000001.parquet").unlink()
    assert not SURVEY["compare"](first, same, 4)["equal"]


def test_the_speed_of_running_workers_leaves_their_start_and_end_out():
    steady = [100 + 0.5 * part for part in range(12)]
    started_late = [100, 108, *(108 + 0.5 * part for part in range(1, 10)), 130]
    for times in (steady, started_late):
        assert THROUGHPUT["speed_of"](times, 2) == pytest.approx(1024)


def test_verdicts_are_counted_where_the_words_decide():
    lines = [
        "three blocks: +16.3 points over raw-pixel neighbours (+12.5 to +20.3): better",
        "average pooling: +4.1 points (-0.1 to +8.3), inconclusive",
        "  significantly better: KL -0.250 nats (significant beyond 0.118), accuracy +13.5 points",
        "gain: linear probe, self-training",
        "loss: none",
        "mean loss 2.271 nats, the best weights kept",
    ]
    figure = {"data": {"image/png": "", "text/plain": "shown again: better"}}
    cells = [
        {"id": "cell-1", "outputs": [{"text": [f"{line}\n" for line in lines[:3]]}, figure]},
        {"id": "measured-1", "outputs": [{"data": {"text/plain": [f"{line}\n" for line in lines[3:]]}}]},
    ]
    found = runpy.run_path(str(MEASURED / "verdicts.py"))["verdicts_of"]({"cells": cells})
    assert [decided for _, decided in found["built"]] == [True, False, True]
    assert found["measured"] == [("gain: linear probe, self-training", True)] * 2
