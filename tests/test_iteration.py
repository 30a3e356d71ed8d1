"""The ledger: refuses what cannot be compared, decides by its rule, forgets nothing, and replays."""

import dataclasses
import json
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import binom
from toy_answers import DEVICE, toy_answers, toy_measurement, toy_survey
from toy_galaxies import toy_galaxies

import galaxy_utils as gu
from galaxy_utils import iteration
from galaxy_utils.errors import ConfigurationError, DataError
from galaxy_utils.evaluation import evaluate, galaxy_divergences, paired_difference
from galaxy_utils.iteration import KEEP, REVERT, Ledger, Rule, compare, gains_by_class, train_network
from galaxy_utils.measurement import combine
from galaxy_utils.profiles import PROFILES
from galaxy_utils.recipes import FOUR_BLOCK_CNN, THREE_BLOCK_CNN

SEEDS = (1, 2, 3)


@pytest.fixture(scope="module")
def survey():
    return toy_survey()


@pytest.fixture
def ledger(tmp_path, survey):
    return Ledger.create(tmp_path / "ledger.jsonl", *survey, seeds=SEEDS)


def add_round(ledger, survey, name, skill=1.0, *, recipe=THREE_BLOCK_CNN, measured=None, settings=None, **factors):
    """Propose, measure and decide a round with networks of this skill."""
    proposal = ledger.propose(name, recipe, **(settings or {}), **factors)
    for seed in proposal.seeds:
        proposal.add(toy_measurement(survey, seed, skill, recipe=proposal.recipe, **(measured or {})))
    return proposal.decide()


def add_path(ledger, survey):
    """A start, a clear improvement, a clear worsening, nothing clear, and a reference."""
    add_round(ledger, survey, "baseline", 1.0, network="small", crop=1.0)
    add_round(ledger, survey, "crop", 2.0, crop=0.5)
    add_round(ledger, survey, "wide", 1.0, network="wide")
    add_round(ledger, survey, "deep", 2.01, network="deep")
    paper = {"reference": True}
    add_round(ledger, survey, "as the paper", 3.0, recipe=FOUR_BLOCK_CNN, settings=paper, network="paper", views=8)
    return ledger


def open_test(ledger, survey, skill=2.0, name=None):
    measurements = [toy_measurement(survey, seed, skill, part="test") for seed in SEEDS]
    return ledger.open_test({name or ledger.best.name: measurements})


# --- What a student sees ---


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_the_example_in_the_module_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    # Rendering takes the longest and is not what is tried here.
    monkeypatch.setitem(PROFILES, "smoke", dataclasses.replace(PROFILES["smoke"], simulated_galaxies=200))
    example = "\n".join(line for line in iteration.__doc__.splitlines() if line.startswith("    "))
    names = {}
    exec(compile(textwrap.dedent(example), iteration.__file__, "exec"), names)
    assert [one.verdict for one in names["ledger"].rounds][0] == "start"
    assert names["ledger"]["pooling"].changes == {"pooling": ["flatten", "average"]}
    assert names["ledger"]["pooling"].cost["parameters"] < names["ledger"]["baseline"].cost["parameters"]
    assert "pooling: flatten → average" in capsys.readouterr().out
    assert len(Ledger("artifacts/ledger.jsonl").replay()) == 2


def test_a_path_is_walked_and_printed(ledger, survey):
    add_path(ledger, survey)
    verdicts = {one.name: one.verdict for one in ledger.rounds}
    assert verdicts == {
        "baseline": "start",
        "crop": "keep",
        "wide": "revert",
        "deep": "revert",
        "as the paper": "reference",
    }
    assert ledger.best.name == "crop" and len(ledger) == 5
    assert ledger["wide"].against == ledger["deep"].against == "crop"
    assert ledger["crop"].changes == {"crop": [1.0, 0.5]}
    assert ledger["as the paper"].changes["network"] == ["small", "paper"]
    assert ledger["as the paper"].changes["views"] == [None, 8]
    assert ledger["as the paper"].changes["epochs"] == [10, 50]
    assert ledger["wide"].recipe == THREE_BLOCK_CNN and ledger["wide"].factors == {"network": "wide", "crop": 0.5}
    assert ledger["crop"].reason.startswith("KL fell by") and "cost within the allowance" in ledger["crop"].reason
    assert ledger["wide"].reason.startswith("KL rose by")
    assert ledger["deep"].reason.startswith("no clear improvement: KL")
    add_round(ledger, survey, "a name of sixty characters, " + "x" * 20 + " and no more", 2.0, network="long name")
    text = str(ledger)
    assert max(map(len, text.splitlines())) <= iteration.LINE_WIDTH
    for part in ("crop: 1.0 → 0.5", "500 validation galaxies, seeds 1, 2, 3", "at most 2 factors", "12 tries"):
        assert part in " ".join(text.split())
    assert "Best: crop. The test part is unopened." in text and ledger.provenance in text


def test_the_table_holds_the_scores_of_the_book(ledger, survey):
    add_path(ledger, survey)
    row = ledger.table()[1]
    answers = [toy_measurement(survey, seed, 2.0) for seed in SEEDS]
    scores = [evaluate(m.probabilities, m.labels, "abcd", bootstrap_samples=0) for m in answers]
    assert row["kl"] == pytest.approx(np.mean([s.kl_divergence for s in scores]))
    assert row["accuracy"] == pytest.approx(np.mean([s.accuracy for s in scores]))
    assert row["kl_low"] < row["kl"] < row["kl_high"] and row["accuracy_low"] < row["accuracy"] < row["accuracy_high"]
    assert row["kl_change"] == pytest.approx(row["kl"] - ledger.table()[0]["kl"])
    assert (row["training_seconds"], row["parameters"], row["inference_seconds"]) == (12.0, 1000, 0.5)
    assert (row["round"], row["verdict"], row["against"], row["changed"]) == (
        "crop",
        "keep",
        "baseline",
        "crop: 1.0 → 0.5",
    )
    assert ledger.table()[0]["kl_change"] is None and ledger.table()[0]["against"] is None
    json.dumps(ledger.table(), allow_nan=False)


def test_a_cell_that_runs_again_trains_nothing_and_finds_its_verdict(ledger, survey, tmp_path):
    add_path(ledger, survey)
    before = ledger.path.read_bytes()
    again = Ledger.create(ledger.path, *survey, seeds=SEEDS)
    for name, factors in (("baseline", {"network": "small", "crop": 1.0}), ("crop", {"crop": 0.5})):
        proposal = again.propose(name, THREE_BLOCK_CNN, **factors)
        assert proposal.seeds == ()
        assert proposal.decide() == ledger[name]
    assert add_round(again, survey, "deep", 99.0, network="deep").verdict == REVERT
    assert ledger.path.read_bytes() == before
    with pytest.raises(ConfigurationError, match="another round called 'crop'"):
        again.propose("crop", crop=0.25)
    with pytest.raises(ConfigurationError, match="reference: crop: 1.0 → 0.5"):
        again.propose("crop", crop=0.5, reference=True)
    with pytest.raises(ConfigurationError, match="another round called 'crop'"):
        again.propose("crop", THREE_BLOCK_CNN.replace(epochs=3), crop=0.5)


def test_the_file_reads_as_text(ledger, survey):
    add_path(ledger, survey)
    lines = [json.loads(line) for line in ledger.path.read_text(encoding="utf-8").splitlines()]
    assert [line["kind"] for line in lines] == ["ledger"] + ["round"] * 5
    assert list(lines[0])[:3] == ["kind", "format", "stated"] and lines[0]["stated"] == str(Rule())
    assert list(lines[2])[:6] == ["kind", "number", "name", "verdict", "reason", "against"]
    assert lines[-1]["hash"] == ledger.last_hash


# --- What it refuses ---


def test_a_round_that_changes_too_much_is_refused_with_a_list(ledger, survey):
    add_round(ledger, survey, "baseline", network="small", crop=1.0)
    recipe = THREE_BLOCK_CNN.replace(learning_rate=1e-4)
    assert len(ledger.propose("two", recipe, crop=0.5).changes) == 2
    with pytest.raises(ConfigurationError) as refused:
        ledger.propose("three", recipe, crop=0.5, views=8)
    for words in ("3 factors", "at most 2", "learning_rate: 0.001 → 0.0001", "crop: 1.0 → 0.5", "views: None → 8"):
        assert words in str(refused.value)
    with pytest.raises(ConfigurationError, match="changes nothing"):
        ledger.propose("again", network="small")
    renamed = THREE_BLOCK_CNN.replace(name="other name", source="elsewhere")
    with pytest.raises(ConfigurationError, match="changes nothing"):
        ledger.propose("renamed", renamed)


def test_the_number_of_changes_is_the_rules(tmp_path, survey):
    ledger = Ledger.create(tmp_path / "strict.jsonl", *survey, seeds=SEEDS, rule=Rule(max_changes=1))
    add_round(ledger, survey, "baseline", network="small", crop=1.0)
    with pytest.raises(ConfigurationError, match="at most 1"):
        ledger.propose("two", crop=0.5, network="wide")


def test_changes_are_counted_against_the_best_round(ledger, survey):
    add_path(ledger, survey)
    proposal = ledger.propose("next", views=4)
    assert proposal.against == "crop" and proposal.changes == {"views": (None, 4)}
    assert proposal.factors == {"network": "small", "crop": 0.5, "views": 4}
    assert "views: None → 4" in str(proposal) and "against crop" in str(proposal)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"split_hash": "f" * 16}, ["differ in split hash", "f" * 16, "0123456789abcdef"]),
        ({"fingerprint": "other data"}, ["differ in data fingerprint", "other data"]),
        ({"part": "test"}, ["differ in part", "validation", "test"]),
        ({"labels": np.zeros(500)}, ["differ in galaxies and labels"]),
        ({"split_hash": "f" * 16, "fingerprint": "other"}, ["differ in split hash, data fingerprint"]),
        ({"seed": 4}, ["Seed 4", "1, 2, 3"]),
        ({"recipe": THREE_BLOCK_CNN.replace(epochs=3).to_dict()}, ["epochs: proposed 10, trained 3"]),
    ],
)
def test_what_cannot_be_compared_is_refused_and_says_in_what(ledger, survey, change, named):
    measurement = dataclasses.replace(toy_measurement(survey, 1), **change)
    with pytest.raises(ConfigurationError) as refused:
        ledger.propose("baseline", THREE_BLOCK_CNN).add(measurement)
    for words in named:
        assert words in str(refused.value)
    if "recipe" not in change:
        with pytest.raises(ConfigurationError, match="cannot be compared"):
            compare([toy_measurement(survey, seed) for seed in (1, 2)], [measurement, toy_measurement(survey, 2)])


def test_a_round_needs_each_seed_once(ledger, survey):
    proposal = ledger.propose("baseline", THREE_BLOCK_CNN)
    proposal.add(toy_measurement(survey, 2))
    assert proposal.seeds == (1, 3)
    with pytest.raises(ConfigurationError, match="Seed 2"):
        proposal.add(toy_measurement(survey, 2))
    with pytest.raises(ConfigurationError, match="ledger's seeds"):
        proposal.decide()
    with pytest.raises(ConfigurationError, match="no measurement"):
        proposal.add("0.7")
    assert len(ledger) == 0


def test_comparing_takes_the_same_seeds_in_the_same_order(survey):
    several = [toy_measurement(survey, seed) for seed in SEEDS]
    for others in (several[:2], several[::-1], [several[0], several[0], several[2]]):
        with pytest.raises(ConfigurationError, match="differ in seeds"):
            compare(several, others)
    with pytest.raises(DataError, match="two or more seeds"):
        compare(several[:1], several[:1])


def test_galaxies_of_one_sky_group_are_compared_as_one(survey):
    first, second = ([toy_measurement(survey, seed, skill) for seed in SEEDS] for skill in (1.0, 1.2))
    hits = [np.stack([m.probabilities.argmax(axis=1) == m.labels for m in several]) for several in (first, second)]
    _, accuracy = compare(first, second)
    assert accuracy == paired_difference(*hits, survey[1].groups[survey[1].validation])
    assert accuracy != paired_difference(*hits)


@pytest.mark.parametrize("name", ["", "  ", "two\nlines", "x" * 61, 7])
def test_a_name_that_is_none_is_refused(ledger, name):
    with pytest.raises(ConfigurationError, match="name of a round"):
        ledger.propose(name, THREE_BLOCK_CNN)


@pytest.mark.parametrize("value", [float("nan"), {"a": 1}, np.zeros(3), [object()]])
def test_a_factor_that_json_cannot_hold_is_refused(ledger, value):
    with pytest.raises(ConfigurationError, match="crop"):
        ledger.propose("baseline", THREE_BLOCK_CNN, crop=value)


def test_other_proposals_that_make_no_sense_are_refused(ledger, survey):
    with pytest.raises(ConfigurationError, match="follows a recipe"):
        ledger.propose("baseline")
    with pytest.raises(ConfigurationError, match="what the recipe says"):
        ledger.propose("baseline", THREE_BLOCK_CNN, epochs=3)
    with pytest.raises(ConfigurationError, match="not a reference"):
        ledger.propose("baseline", THREE_BLOCK_CNN, reference=True)
    with pytest.raises(ConfigurationError, match="no round 'crop'"):
        ledger["crop"]
    add_path(ledger, survey)
    with pytest.raises(ConfigurationError, match="tried before, as 'wide': revert"):
        ledger.propose("wide again", network="wide")
    with pytest.raises(ConfigurationError, match="tried before, as 'baseline'"):
        ledger.propose("back", crop=1.0)


def test_a_reference_cannot_be_proposed_once_its_scores_are_known(ledger, survey):
    add_round(ledger, survey, "baseline", network="small")
    add_round(ledger, survey, "look first", 3.0, settings={"reference": True}, network="wide")
    assert ledger.best.name == "baseline"
    with pytest.raises(ConfigurationError, match="'look first': reference"):
        ledger.propose("then propose", network="wide")


def test_tries_are_limited_because_the_error_rate_is(tmp_path, survey):
    ledger = Ledger.create(tmp_path / "short.jsonl", *survey, seeds=SEEDS, rule=Rule(max_rounds=2))
    add_round(ledger, survey, "baseline", network="small")
    add_round(ledger, survey, "first", network="a")
    add_round(ledger, survey, "reference", settings={"reference": True}, network="b")
    add_round(ledger, survey, "second", network="c")
    with pytest.raises(ConfigurationError, match="All 2 tries"):
        ledger.propose("third", network="d")


@pytest.mark.parametrize(
    "change",
    [
        {"max_changes": 0},
        {"max_rounds": 2.5},
        {"error_rate": 0},
        {"error_rate": 0.5},
        {"kl_share": 1.0},
        {"kl_share": "half"},
        {"training_allowance": 0},
        {"parameter_allowance": float("inf")},
        {"label_smoothing": 1.0},
    ],
)
def test_a_rule_that_cannot_be_is_refused(change):
    with pytest.raises(ConfigurationError, match=next(iter(change))):
        Rule(**change)


def test_a_ledger_is_continued_only_as_it_was_created(ledger, survey):
    add_round(ledger, survey, "baseline", network="small")
    galaxies, split = survey
    assert len(Ledger.create(ledger.path, galaxies, split, seeds=SEEDS)) == 1
    for seeds, rule, named in (((1, 2), None, "another seeds"), (SEEDS, Rule(max_rounds=5), "another rule")):
        with pytest.raises(ConfigurationError, match=named):
            Ledger.create(ledger.path, galaxies, split, seeds=seeds, rule=rule)
    other = toy_survey()[1]
    other.hash = "another split"
    with pytest.raises(ConfigurationError, match="another validation, test"):
        Ledger.create(ledger.path, galaxies, other, seeds=SEEDS)
    for seeds in ((1,), (1, 1), (1, -2), (1, True), (1, 2.5)):
        with pytest.raises(ConfigurationError, match="seeds"):
            Ledger.create(ledger.path.with_name("new.jsonl"), galaxies, split, seeds=seeds)
    with pytest.raises(DataError, match="no ledger"):
        Ledger(ledger.path.with_name("none.jsonl"))


# --- How it decides ---


def test_cost_reverts_what_is_better_but_too_dear(ledger, survey):
    add_round(ledger, survey, "baseline", 1.0, network="small")
    dear = add_round(ledger, survey, "slow", 2.0, network="slow", measured={"training_seconds": 200.0})
    assert dear.verdict == REVERT and "too dear: training seconds × 16.7, allowed × 10" in dear.reason
    large = add_round(ledger, survey, "large", 2.0, network="large", measured={"parameters": 20_000})
    assert large.verdict == REVERT and "parameters × 20.0" in large.reason
    # Seconds of another device are not compared, parameters are.
    elsewhere = {"device": {**DEVICE, "processor": "other"}}
    large = add_round(ledger, survey, "x", 2.0, network="x", measured={**elsewhere, "parameters": 20_000})
    assert large.verdict == REVERT
    slow = add_round(ledger, survey, "y", 2.0, network="y", measured={**elsewhere, "training_seconds": 999.0})
    assert slow.verdict == KEEP and "not compared: training seconds and inference seconds" in slow.reason


def test_without_an_allowance_any_cost_is_kept(tmp_path, survey):
    ledger = Ledger.create(tmp_path / "rich.jsonl", *survey, seeds=SEEDS, rule=Rule(training_allowance=None))
    add_round(ledger, survey, "baseline", 1.0, network="small")
    assert add_round(ledger, survey, "slow", 2.0, network="slow", measured={"training_seconds": 1e6}).verdict == KEEP
    assert "training" not in str(ledger.rule)


def estimate(value, half_width):
    """An `Estimate` without chance of seeds, of which so much is 1.96 standard errors."""
    values = np.random.default_rng(1).normal(size=400)
    values = (values - values.mean()) / values.std(ddof=1) * half_width / 1.96 * 20
    return paired_difference(np.zeros((2, 400)), np.tile(values + value, (2, 1)))


@pytest.mark.parametrize(
    ("kl", "accuracy", "verdict", "words"),
    [
        (-0.2, 0.0, KEEP, "KL fell by 0.200"),
        (-0.2, -0.3, KEEP, "accuracy fell by 30.0"),  # The first objective goes first.
        (+0.2, +0.3, REVERT, "KL rose by 0.200"),
        (-0.01, +0.3, KEEP, "accuracy rose by 30.0"),  # A tie in the first: the second decides.
        (+0.01, +0.3, KEEP, "which is not"),
        (-0.01, +0.01, REVERT, "no clear improvement"),
        (-0.01, -0.3, REVERT, "no clear improvement"),
        (0.0, 0.0, REVERT, "KL did not change, accuracy did not change"),
    ],
)
def test_the_first_objective_goes_first_and_the_second_breaks_ties(kl, accuracy, verdict, words):
    found, reason = Rule().judge(estimate(kl, 0.05), estimate(accuracy, 0.05), {})
    assert found == verdict and words in reason


def test_the_levels_of_all_rounds_and_both_objectives_add_up_to_the_error_rate():
    rule = Rule(error_rate=0.04, max_rounds=7, kl_share=0.6)
    assert 7 * (rule.kl_level + rule.accuracy_level) == pytest.approx(0.04)


def simulated_pair(random, labels, skills, num_seeds, **spreads):
    """KL divergences and hits of recipes with these skills, on new galaxies."""
    difficulty, numbers = int(random.integers(2**31)), []
    for skill in skills:
        answers = [toy_answers(labels, skill, random, difficulty_seed=difficulty, **spreads) for _ in range(num_seeds)]
        kl = np.stack([galaxy_divergences(answer, labels) for answer in answers])
        right = np.stack([answer.argmax(axis=1) == labels for answer in answers]).astype(float)
        numbers.append((kl, right))
    return numbers


def keep_rate(rule, trials, skills, *, num_galaxies=200, num_seeds=3, random_seed=1, **spreads):
    random, labels, kept = np.random.default_rng(random_seed), np.arange(num_galaxies) % 4, 0
    for _ in range(trials):
        (kl_1, right_1), (kl_2, right_2) = simulated_pair(random, labels, skills, num_seeds, **spreads)
        verdict, _ = rule.judge(paired_difference(kl_1, kl_2), paired_difference(right_1, right_2), {})
        kept += verdict == KEEP
    return kept / trials


@pytest.mark.parametrize(
    "spreads",
    [{"luck": 0.0, "own_noise": 0.5}, {"luck": 0.3, "own_noise": 0.3}, {"luck": 0.1, "own_noise": 1.0}],
    ids=str,
)
def test_without_a_true_difference_a_round_is_kept_no_more_often_than_stated(spreads):
    """One try, so that all of the error rate is spent on it; both objectives can keep it."""
    rule, trials = Rule(error_rate=0.1, max_rounds=1, kl_share=0.5), 600
    rate = keep_rate(rule, trials, (1.0, 1.0), **spreads)
    assert rate <= binom.ppf(0.999, trials, 0.1) / trials
    assert rate >= 0.02  # The rule is not safe because it never keeps anything.


def test_granting_the_level_to_both_objectives_would_not_stay_at_the_stated_level():
    """Why the rule divides it: half of the level for each is what the simulation above keeps."""
    halves = Rule(error_rate=0.1, max_rounds=1, kl_share=0.5)
    random, labels, kept = np.random.default_rng(1), np.arange(200) % 4, {"divided": 0, "doubled": 0}
    for _ in range(600):
        # Accuracies that have nothing to do with KL divergences: the two chances of error add up.
        (kl_1, _), (kl_2, _) = simulated_pair(random, labels, (1.0, 1.0), 3)
        right = (random.random((2, 3, 200)) < 0.7).astype(float)
        changes = paired_difference(kl_1, kl_2), paired_difference(*right)
        kept["divided"] += halves.judge(*changes, {})[0] == KEEP
        kept["doubled"] += dataclasses.replace(halves, error_rate=0.2).judge(*changes, {})[0] == KEEP
    assert kept["divided"] <= binom.ppf(0.999, 600, 0.1)
    assert kept["doubled"] > binom.ppf(0.999, 600, 0.1)


def test_over_a_whole_ledger_any_wrong_keep_is_as_rare_as_stated():
    """Twelve tries each, none of which is truly better, against the best so far: 400 ledgers, 4,800 rounds."""
    rule, ledgers, wrong = Rule(error_rate=0.1, kl_share=0.5), 400, 0
    random, labels = np.random.default_rng(1), np.arange(100) % 4
    for _ in range(ledgers):
        tries = simulated_pair(random, labels, [1.0] * (rule.max_rounds + 1), 3)
        best, kept = tries[0], 0
        for candidate in tries[1:]:
            changes = [paired_difference(old, new) for old, new in zip(best, candidate, strict=True)]
            if rule.judge(*changes, {})[0] == KEEP:
                best, kept = candidate, kept + 1
        wrong += kept > 0
    assert wrong <= binom.ppf(0.999, ledgers, 0.1)


def test_a_true_improvement_is_kept():
    assert keep_rate(Rule(), 100, (1.0, 2.0)) > 0.95
    assert keep_rate(Rule(), 100, (2.0, 1.0)) == 0.0


def test_the_same_networks_with_more_views_are_paired_by_network(ledger, survey):
    """Networks differ far more from each other than views change them; only pairing shows the gain."""
    lucky = {seed: 1.0 + 0.15 * seed for seed in SEEDS}
    start = ledger.propose("baseline", THREE_BLOCK_CNN, views=1)
    for seed in SEEDS:
        start.add(toy_measurement(survey, seed, lucky[seed]))
    start.decide()
    verdicts = {}
    for same_networks in (False, True):
        views = 8 + same_networks
        proposal = ledger.propose(f"views {views}", same_networks=same_networks, views=views)
        for seed in SEEDS:
            one = toy_measurement(survey, seed, lucky[seed])
            better = np.log(one.probabilities) + 0.4 * np.eye(4)[one.labels]
            better = np.exp(better) / np.exp(better).sum(axis=1, keepdims=True)
            proposal.add(dataclasses.replace(one, probabilities=better))
        verdicts[same_networks] = proposal.decide()
    assert verdicts[False].verdict == REVERT and verdicts[True].verdict == KEEP
    assert verdicts[True].same_networks and len(ledger.replay()) == 3


def test_an_ensemble_of_kept_rounds_can_be_a_round(ledger, survey):
    add_path(ledger, survey)
    proposal = ledger.propose("ensemble", same_networks=True, members="baseline, crop")
    members = [ledger.measurements(name) for name in ("baseline", "crop")]
    for several in zip(*members, strict=True):
        proposal.add(combine(several))
    one = proposal.decide()
    assert one.verdict == REVERT  # The baseline is much worse and spoils it.
    assert one.cost["parameters"] == 2000 and one.cost["training_seconds"] == 24.0
    ledger.replay()


# --- Class by class ---


def test_gains_by_class_are_paired_differences_within_each_class(survey):
    galaxies, _ = survey
    first, second = ([toy_measurement(survey, seed, skill) for seed in SEEDS] for skill in (1.0, 2.0))
    labels, groups = first[0].labels.copy(), first[0].groups
    gains = gains_by_class(first, second, galaxies.class_names)
    assert list(gains) == list(galaxies.class_names)
    right = [np.stack([m.probabilities.argmax(axis=1) == labels for m in each]) for each in (first, second)]
    for label, gain in enumerate(gains.values()):
        of_class = labels == label
        wanted = paired_difference(right[0][:, of_class], right[1][:, of_class], groups[of_class])
        assert gain == wanted and gain.num_galaxies == of_class.sum()
        assert gain.interval()[0] > 0
    total = sum(gain.value * gain.num_galaxies for gain in gains.values()) / len(labels)
    assert np.isclose(total, right[1].mean() - right[0].mean())
    fewest = min(len(np.unique(groups[labels == label])) for label in range(4))
    assert len(gains_by_class(first, second, galaxies.class_names, at_least=fewest + 1)) < 4
    with pytest.raises(ConfigurationError, match="differ in"):
        gains_by_class(first, [dataclasses.replace(m, split_hash="another") for m in second], galaxies.class_names)


# --- One way to train them all ---


def test_a_network_is_trained_as_it_asks_for():
    galaxies = toy_galaxies(48, side=32)
    split = SimpleNamespace(train=np.arange(32), validation=np.arange(32, 48))
    recipe = FOUR_BLOCK_CNN.replace(epochs=1, batch_size=16, learning_rate=1e-3, reconstruction_weight=10.0)
    plain = gu.models.three_block_cnn(32, 4)
    assert "reconstruction_loss" not in train_network(plain, galaxies, split, recipe).history
    joint = gu.models.joint_autoencoder_classifier(32, 4)
    before = [weights.copy() for weights in joint.get_layer("decoder").get_weights()]
    run = train_network(joint, galaxies, split, recipe.replace(epochs=2, early_stopping_patience=5), seed=3)
    assert "reconstruction_loss" in run.history and run.seed == 3
    assert any(np.any(old != new) for old, new in zip(before, joint.get_layer("decoder").get_weights(), strict=True))


def test_all_validation_galaxies_are_watched_when_the_recipe_looks_at_them():
    galaxies = toy_galaxies(96)
    split = SimpleNamespace(train=np.arange(16), validation=np.arange(16, 96))
    losses = {}
    for patience in (None, 5):
        recipe = THREE_BLOCK_CNN.replace(epochs=1, early_stopping_patience=patience)
        for train in (train_network, gu.fit):
            model = gu.models.three_block_cnn(16, 4, seed=1)
            losses[train, patience] = train(model, galaxies, split, recipe, seed=1).history
    assert losses[train_network, 5] == losses[gu.fit, 5]
    assert losses[train_network, None]["loss"] == losses[gu.fit, None]["loss"]
    assert losses[train_network, None]["val_loss"] != losses[gu.fit, None]["val_loss"]


def test_a_frozen_part_is_computed_once_and_paid_for():
    galaxies = toy_galaxies(48, side=32)
    split = SimpleNamespace(train=np.arange(32), validation=np.arange(32, 48))
    model = gu.models.backbone_classifier("resnet18", 32, 4, weights=None, trainable_layers=0)
    frozen = model.get_layer("frozen_part")
    before = frozen.get_weights()
    run = train_network(model, galaxies, split, FOUR_BLOCK_CNN.replace(epochs=1))
    assert all(np.array_equal(old, new) for old, new in zip(before, frozen.get_weights(), strict=True))
    features = gu.cache_frozen_features(model, galaxies, dtype="float32", progress=False)
    assert run.seconds > features.computing_seconds > 0 and run.model_name == model.name


# --- The test part ---


def test_the_test_part_is_opened_once_and_closes_the_ledger(ledger, survey):
    add_path(ledger, survey)
    waiting = ledger.propose("waiting", network="other")
    for seed in SEEDS:
        waiting.add(toy_measurement(survey, seed, 2.5))
    references = [toy_measurement(survey, seed, 1.0, part="test") for seed in SEEDS]
    best = [toy_measurement(survey, seed, 2.0, part="test") for seed in SEEDS]
    opened = ledger.open_test({"crop": best, "baseline": references})
    assert opened["best"] == "crop" and list(opened["scores"]) == ["crop", "baseline"]
    scores = [evaluate(m.probabilities, m.labels, "abcd", bootstrap_samples=0) for m in best]
    assert opened["scores"]["crop"]["accuracy"][0] == pytest.approx(np.mean([s.accuracy for s in scores]))
    assert opened["scores"]["crop"]["kl"][0] == pytest.approx(np.mean([s.kl_divergence for s in scores]))
    assert ledger.test == opened and opened["opened"] in str(ledger)
    assert max(map(len, str(ledger).splitlines())) <= iteration.LINE_WIDTH
    np.testing.assert_array_equal(ledger.measurements("crop", "test")[0].probabilities, best[0].probabilities)
    for forbidden in (
        lambda: open_test(ledger, survey),
        lambda: ledger.propose("late", network="late"),
        lambda: ledger.propose("late", network="late", reference=True),
        waiting.decide,
    ):
        with pytest.raises(ConfigurationError, match="has been opened") as refused:
            forbidden()
        assert opened["opened"] in str(refused.value) and "'crop'" in str(refused.value)
    # What was decided before can still be looked up and replayed, by another process too.
    assert Ledger(ledger.path).propose("crop", crop=0.5).decide() == ledger["crop"]
    assert len(ledger.replay()) == 5


def test_the_test_part_is_opened_for_the_best_round_only_with_test_answers(ledger, survey):
    with pytest.raises(ConfigurationError, match="at least one round"):
        ledger.open_test({})
    add_path(ledger, survey)
    with pytest.raises(ConfigurationError, match="opened for the best round"):
        open_test(ledger, survey, name="baseline")
    with pytest.raises(ConfigurationError, match="differ in part"):
        ledger.open_test({"crop": [toy_measurement(survey, seed, 2.0) for seed in SEEDS]})
    with pytest.raises(ConfigurationError, match="ledger's seeds"):
        ledger.open_test({"crop": [toy_measurement(survey, 1, 2.0, part="test")]})
    with pytest.raises(ConfigurationError, match="not opened"):
        ledger.measurements("crop", "test")
    assert ledger.test is None


# --- What is in the file stays there ---


def test_replayed_from_the_stored_answers_every_verdict_is_the_same(ledger, survey):
    add_path(ledger, survey)
    open_test(ledger, survey)
    again = Ledger(ledger.path)
    assert again.replay() == ledger.rounds
    assert [m.to_bytes() for m in again.measurements("deep")] == [
        toy_measurement(survey, seed, 2.01).to_bytes() for seed in SEEDS
    ]


def test_changed_or_missing_answers_are_noticed(ledger, survey):
    add_path(ledger, survey)
    path = ledger.path.parent / ledger["crop"].evidence[0]["file"]
    other = ledger.path.parent / ledger["wide"].evidence[0]["file"]
    path.write_bytes(other.read_bytes())
    with pytest.raises(DataError, match="not those that the ledger recorded"):
        ledger.replay()
    path.unlink()
    with pytest.raises(DataError, match=r"crop_validation_seed_1"):
        ledger.replay()


def reseal(path, change):
    """Forge a ledger completely: change an entry and compute all hashes anew."""
    from galaxy_utils.files import locked
    from galaxy_utils.journal import append_entry

    entries = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    change(entries)
    path.unlink()
    for entry in entries:
        with locked(path):
            append_entry(path, {name: value for name, value in entry.items() if name != "hash"})


@pytest.mark.parametrize(
    ("number", "change"),
    [
        (3, {"verdict": "keep"}),
        (2, {"kl": [0.1, 0.0, 0.2]}),
        (2, {"kl_change": [-9.0, -9.1, -8.9, 0.1]}),
        (2, {"cost": {"training_seconds": 1.0, "parameters": 1000.0, "inference_seconds": 0.5}}),
        (3, {"against": "baseline"}),
    ],
)
def test_a_forged_ledger_opens_but_does_not_replay(ledger, survey, number, change):
    add_path(ledger, survey)
    reseal(ledger.path, lambda entries: entries[number].update(change))
    with pytest.raises(DataError, match="says something else"):
        Ledger(ledger.path).replay()


def test_a_changed_line_is_noticed_when_opened(ledger, survey):
    add_path(ledger, survey)
    text = ledger.path.read_text(encoding="utf-8")
    ledger.path.write_text(text.replace('"verdict": "revert"', '"verdict": "keep"', 1), encoding="utf-8")
    for use in (lambda: Ledger(ledger.path), lambda: ledger.propose("next", network="next"), ledger.replay):
        with pytest.raises(DataError, match="line 4"):
            use()


def test_a_file_that_was_replaced_is_noticed(ledger, survey):
    add_path(ledger, survey)
    ledger.path.unlink()
    add_round(Ledger.create(ledger.path, *survey, seeds=SEEDS), survey, "other", network="other")
    with pytest.raises(DataError, match="replaced"):
        ledger.propose("next", network="next")


def test_wherever_a_kill_cuts_the_last_line_the_ledger_opens_and_goes_on(ledger, survey, capsys):
    add_round(ledger, survey, "baseline", 1.0, network="small")
    before = ledger.path.read_bytes()
    add_round(ledger, survey, "crop", 2.0, crop=0.5)
    complete = ledger.path.read_bytes()
    for length in np.linspace(len(before) + 1, len(complete) - 1, 7).astype(int):
        ledger.path.write_bytes(complete[:length])
        again = Ledger(ledger.path)
        assert [one.name for one in again.rounds] == ["baseline"]
        assert "cut off" in capsys.readouterr().out
        assert add_round(again, survey, "crop", 2.0, crop=0.5).verdict == KEEP
    ledger.path.write_bytes(before[:50])
    assert len(Ledger.create(ledger.path, *survey, seeds=SEEDS)) == 0  # Killed while the first line was written.


def test_two_processes_take_turns(ledger, survey):
    add_round(ledger, survey, "baseline", 1.0, network="small")
    other = Ledger(ledger.path)
    proposals = [one.propose(f"step {n}", network=f"step {n}") for n, one in enumerate((ledger, other, other))]
    twin = other.propose("step 0", network="step 0")
    for proposal in (*proposals, twin):
        for seed in SEEDS:
            proposal.add(toy_measurement(survey, seed, 1.0 if proposal is proposals[0] else 2.0))
    assert proposals[0].decide().verdict == REVERT
    with pytest.raises(ConfigurationError, match="Another process"):
        twin.decide()
    assert proposals[1].decide().verdict == KEEP
    with pytest.raises(ConfigurationError, match="best round has changed"):
        proposals[2].decide()
    assert [one.name for one in ledger.rounds] == ["baseline", "step 0"]  # Until it looks again.
    assert ledger.propose("next", views=2).against == "step 1"


PROGRAM = """
import sys
sys.path.insert(0, sys.argv[2])
from toy_answers import toy_measurement, toy_survey
from galaxy_utils.iteration import Ledger, Rule
from galaxy_utils.recipes import THREE_BLOCK_CNN
survey = toy_survey(200)
ledger = Ledger.create(sys.argv[1], *survey, seeds=(1, 2), rule=Rule(max_rounds=100_000))
print("ready", flush=True)
for number in range(len(ledger), 100_000):
    proposal = ledger.propose(f"round {number}", THREE_BLOCK_CNN, network=f"network {number}")
    for seed in proposal.seeds:
        proposal.add(toy_measurement(survey, seed, 1.0 + number % 3))
    proposal.decide()
    print(number, flush=True)
"""


def test_killed_at_random_moments_no_completed_round_is_lost(tmp_path, survey):
    path, completed = tmp_path / "ledger.jsonl", -1
    random = np.random.default_rng(1)
    for _ in range(10):
        command = [sys.executable, "-c", PROGRAM, str(path), str(Path(__file__).parent)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline() == "ready\n"
            time.sleep(random.uniform(0.0, 0.25))
            process.send_signal(signal.SIGKILL)
            printed = [int(line) for line in process.stdout if line.endswith("\n")]
        completed = max([completed, *printed])
        rounds = Ledger(path).rounds
        assert [one.number for one in rounds] == list(range(len(rounds)))
        assert completed + 1 <= len(rounds) <= completed + 2  # One may be complete without having been announced.
        completed = len(rounds) - 1
    assert completed > 3
    Ledger(path).replay()


def test_the_package_offers_them_at_first_hand():
    assert gu.Ledger is Ledger and gu.Rule is Rule and gu.measure.__name__ == "measure"
