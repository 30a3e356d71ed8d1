"""The ledger keeps what is better, seldom what is not, and loses nothing that was trained."""

import json

import numpy as np
import pytest
from toy_answers import toy_prediction, toy_survey

import galaxy_utils as gu
from galaxy_utils.errors import ConfigurationError, DataError
from galaxy_utils.evaluation.significance import Estimate
from galaxy_utils.prediction import compare
from galaxy_utils.recipes import THREE_BLOCK_CNN

RULE = gu.Rule(error_rate=0.1, max_rounds=4)
SURVEY = toy_survey()


def network(skill, trained=None):
    """A `train` function for networks of this skill, which notes what it trained."""

    def train(trial, seed):
        if trained is not None:
            trained.append((trial.name, seed))
        return toy_prediction(SURVEY, seed, skill, recipe=trial.recipe)

    return train


@pytest.fixture
def ledger(tmp_path):
    ledger = gu.Ledger.create(tmp_path / "ledger.jsonl", *SURVEY, seeds=range(1, 9), rule=RULE)
    ledger.play("start", network(1.0), THREE_BLOCK_CNN, width=1)
    return ledger


@pytest.mark.parametrize(
    ("kl", "accuracy", "costs", "verdict"),
    [
        (-0.1, 0, {}, "keep"),
        (0, 0.1, {}, "keep"),
        (0, 0, {}, "revert"),
        (0.1, 0.1, {}, "revert"),
        (-0.1, 0, {"training_seconds": 9.0}, "keep"),
        *((-0.1, 0, {cost: 11.0}, "revert") for cost in ("training_seconds", "parameters", "inference_seconds")),
    ],
)
def test_the_rule_by_hand(kl, accuracy, costs, verdict):
    changes = [Estimate(value, 1e-4, 0.0, 4.0, 0, 0, 0, 100, 3) for value in (kl, accuracy)]
    assert gu.Rule().verdict(*changes, costs)[0] == verdict
    assert gu.Rule(error_rate=0.1, max_rounds=10, kl_share=0.8).levels == pytest.approx((0.008, 0.002))


def test_an_interrupted_round_does_not_go_on_with_other_settings(ledger):
    def interrupted(trial, seed):
        if seed == 2:
            raise KeyboardInterrupt
        return network(1.5)(trial, seed)

    with pytest.raises(KeyboardInterrupt):
        ledger.play("wider", interrupted, width=2)
    with pytest.raises(ConfigurationError, match="had other settings(.|\n)*delete"):
        ledger.play("wider", network(1.5), width=3)
    # Whoever deletes the predictions begins anew.
    for path in ledger.path.parent.rglob("wider_*.npz"):
        path.unlink()
    assert ledger.play("wider", network(1.5), width=3).verdict == "keep"


def test_the_better_is_kept_the_worse_reverted_after_screening_and_all_is_judged_again(ledger):
    trained = []
    assert ledger.play("better", network(1.5, trained), width=2).verdict == "keep"
    assert ledger.play("worse", network(1.0, trained), width=3).verdict == "revert"
    assert ledger.play("same", network(1.5001), width=4).verdict == "revert"
    assert [sum(name == one for one, _ in trained) for name in ("better", "worse")] == [8, 3]
    assert ledger.best.name == "better" and ledger["worse"].against == "better"
    assert ledger["worse"].changes == {"width": [2, 3]} and "not excluded" in ledger["same"].reason
    again = gu.Ledger(ledger.path)
    assert again.replay() == ledger.rounds
    assert [row["seeds"] for row in again.table()] == [len(one.seeds) for one in ledger.rounds]


def test_what_was_trained_is_not_trained_again(ledger):
    trained = []

    def killed(trial, seed):
        if seed == 3:
            raise KeyboardInterrupt
        return network(1.5, trained)(trial, seed)

    with pytest.raises(KeyboardInterrupt):
        ledger.play("better", killed, width=2)
    assert len(ledger) == 1
    ledger.play("better", network(1.5, trained), width=2)
    assert sorted(seed for _, seed in trained) == list(range(1, 9))
    assert ledger.play("better", None, width=2) == ledger["better"]


def test_what_the_rule_does_not_allow_is_refused_before_training(ledger):
    for name, factors in (("three", {"width": 2, "depth": 3, "side": 4}), ("nothing", {})):
        with pytest.raises(ConfigurationError, match="changes"):
            ledger.play(name, None, **factors)
    for number in range(4):
        ledger.play(f"try {number}", network(0.5 + number / 10), width=number + 2)
    with pytest.raises(ConfigurationError, match="used up"):
        ledger.play("one more", None, width=9)
    with pytest.raises(ConfigurationError, match="another round"):
        ledger.play("try 1", None, width=77)
    assert ledger.play("reference", network(0.2), width=9, depth=1, side=2, reference=True).verdict == "reference"
    with pytest.raises(ConfigurationError, match="another rule"):
        gu.Ledger.create(ledger.path, *SURVEY, seeds=range(1, 9), rule=gu.Rule(error_rate=0.2))


def test_the_test_part_is_evaluated_once(ledger):
    answers = [toy_prediction(SURVEY, seed, 1.0, part="test") for seed in ledger.seeds]
    with pytest.raises(ConfigurationError):
        ledger.evaluate_test({"start": answers[:-1]})
    scores = ledger.evaluate_test({"start": answers})["scores"]["start"]
    right = np.mean([(each.probabilities.argmax(1) == each.labels).mean() for each in answers])
    assert scores["accuracy"][0] == pytest.approx(right)
    assert np.array_equal(ledger.predictions("start", "test")[0].probabilities, answers[0].probabilities)
    for forbidden in (lambda: ledger.evaluate_test({"start": answers}), lambda: ledger.play("late", None, width=2)):
        with pytest.raises(ConfigurationError, match="closed"):
            forbidden()
    with pytest.warns(DeprecationWarning), pytest.raises(ConfigurationError, match="closed"):
        ledger.open_test({"start": answers})


def test_what_costs_too_much_is_reverted(ledger):
    def costly(trial, seed):
        return toy_prediction(SURVEY, seed, 1.5, recipe=trial.recipe, parameters=1_000_000)

    one = ledger.play("costly", costly, width=2)
    assert one.verdict == "revert" and "budget" in one.reason


def test_a_changed_verdict_and_a_damaged_file_are_noticed(ledger):
    ledger.play("worse", network(0.5), width=2)
    good = ledger.path.read_text()
    ledger.path.write_text(good.replace('"revert"', '"keep"'))
    with pytest.raises(DataError, match="worse"):
        gu.Ledger(ledger.path).replay()
    header, *rounds = map(json.loads, good.splitlines())
    for name, odd in (("factors", 3), ("cost", {}), ("name", True)):
        ledger.path.write_text("\n".join(map(json.dumps, [header, rounds[0] | {name: odd}, *rounds[1:]])))
        with pytest.raises(DataError):
            gu.Ledger(ledger.path).replay()
    for bad in (good[:-20], good.replace('"kl"', '"k"'), json.dumps([1]), "", good.replace("keep", "kept")[5:]):
        ledger.path.write_text(bad)
        with pytest.raises(DataError):
            gu.Ledger(ledger.path)


def test_other_galaxies_and_other_seeds_are_refused(ledger):
    with pytest.raises(ConfigurationError, match="split"):
        ledger.play("other", lambda trial, seed: toy_prediction(SURVEY, seed, split_hash="another"), width=2)
    with pytest.raises(ConfigurationError, match="seed"):
        ledger.play("other", lambda trial, seed: toy_prediction(SURVEY, seed + 1), width=2)


def test_predictions_come_back_as_they_were(tmp_path):
    one = toy_prediction(SURVEY, 1, 1.0)
    one.save(tmp_path / "one.npz")
    again = gu.Prediction.load(tmp_path / "one.npz")
    assert np.array_equal(again.probabilities, one.probabilities) and again.identity == one.identity
    assert again.recipe == one.recipe
    kl, accuracy = compare(*([toy_prediction(SURVEY, s, skill) for s in (1, 2, 3)] for skill in (1.0, 1.5)))
    assert kl.value < 0 < accuracy.value


def test_notebooks_of_version_0_1_still_work(tmp_path):
    ledger = gu.Ledger.create(tmp_path / "ledger.jsonl", *SURVEY, seeds=(1, 2, 3), rule=gu.Rule(max_rounds=3))
    for name, skill in (("start", 1.0), ("better", 2.0)):
        with pytest.warns(DeprecationWarning):
            proposal = ledger.propose(name, THREE_BLOCK_CNN, width=skill)
        for seed in proposal.seeds:
            proposal.add(toy_prediction(SURVEY, seed, proposal.factors["width"]))
        proposal.decide()
    assert ledger.best.name == "better" and len(ledger.last_hash) == 64


def test_impossible_rules_are_refused():
    for wrong in ({"error_rate": 0}, {"kl_share": 1}, {"max_rounds": 0}, {"screening": 1}, {"parameter_allowance": -1}):
        with pytest.raises(ConfigurationError):
            gu.Rule(**wrong)
