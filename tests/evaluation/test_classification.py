"""Scores, checked against scikit-learn and SciPy wherever these have them."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from scipy.stats import binom, entropy
from sklearn import metrics

from galaxy_utils.classes import CLASS_NAMES, OFFICIAL_CLASS_COUNTS
from galaxy_utils.errors import ConfigurationError, DataError
from galaxy_utils.evaluation import (
    accuracy_difference,
    evaluate,
    label_entropy,
    smooth_labels,
    smoothing_from_entropy,
)


def predictions(num_galaxies=400, num_classes=10, skill=1.5, seed=1):
    """Labels in the real proportions and probabilities that are right more often than chance."""
    random = np.random.default_rng(seed)
    shares = np.array(OFFICIAL_CLASS_COUNTS[:num_classes]) / sum(OFFICIAL_CLASS_COUNTS[:num_classes])
    labels = random.choice(num_classes, num_galaxies, p=shares)
    logits = random.normal(size=(num_galaxies, num_classes)) + skill * np.eye(num_classes)[labels]
    return softmax(logits, axis=1).astype(np.float32), labels


@pytest.mark.parametrize("seed", range(5))
def test_scores_agree_with_scikit_learn(seed):
    probabilities, labels = predictions(seed=seed)
    predicted = probabilities.argmax(axis=1)
    scores = evaluate(probabilities, labels, CLASS_NAMES, bootstrap_samples=0)
    assert scores.accuracy == pytest.approx(metrics.accuracy_score(labels, predicted))
    assert scores.balanced_accuracy == pytest.approx(metrics.balanced_accuracy_score(labels, predicted))
    per_class = metrics.precision_recall_fscore_support(labels, predicted, labels=range(10), zero_division=0)
    for mine, theirs in zip((scores.precision, scores.recall, scores.f1, scores.support), per_class, strict=True):
        np.testing.assert_allclose(mine, theirs)
    macro = metrics.precision_recall_fscore_support(labels, predicted, average="macro", zero_division=0)
    np.testing.assert_allclose((scores.macro_precision, scores.macro_recall, scores.macro_f1), macro[:3])
    np.testing.assert_array_equal(scores.confusion_matrix, metrics.confusion_matrix(labels, predicted))
    exact = probabilities.astype(float) / probabilities.astype(float).sum(axis=1, keepdims=True)
    expected = metrics.log_loss(labels, exact, labels=range(10))
    assert scores.negative_log_likelihood == pytest.approx(expected, rel=1e-6)


def test_classes_without_a_galaxy_are_left_out_of_averages():
    probabilities, labels = predictions()
    kept = ~np.isin(labels, (4, 7))
    probabilities, labels = probabilities[kept], labels[kept]
    scores = evaluate(probabilities, labels, CLASS_NAMES, bootstrap_samples=20)
    present = sorted(set(labels))
    expected = metrics.precision_recall_fscore_support(
        labels, probabilities.argmax(axis=1), labels=present, average="macro", zero_division=0
    )
    np.testing.assert_allclose((scores.macro_precision, scores.macro_recall, scores.macro_f1), expected[:3])
    assert np.isnan(scores.recall[[4, 7]]).all() and not np.isnan(scores.recall[present]).any()
    content = json.loads(json.dumps(scores.to_dict(), allow_nan=False))
    assert content["recall"][4] is None and content["support"][4] == 0


def test_a_class_that_is_never_called_has_precision_zero():
    probabilities = np.tile([0.7, 0.2, 0.1], (6, 1))
    scores = evaluate(probabilities, np.array([0, 0, 0, 1, 1, 2]), "ABC", bootstrap_samples=0)
    np.testing.assert_allclose(scores.precision, [0.5, 0, 0])
    np.testing.assert_allclose(scores.recall, [1, 0, 0])
    assert scores.accuracy == 0.5 and scores.macro_recall == pytest.approx(1 / 3)


@st.composite
def probabilities_and_labels(draw):
    num_classes = draw(st.integers(2, 12))
    num_galaxies = draw(st.integers(1, 20))
    seed, sharpness = draw(st.integers(0, 2**32 - 1)), draw(st.floats(0.01, 1.5))
    random = np.random.default_rng(seed)
    return (
        softmax(sharpness * random.normal(size=(num_galaxies, num_classes)), axis=1),
        random.integers(0, num_classes, num_galaxies),
        draw(st.floats(0, 1)),
    )


@given(probabilities_and_labels())
@settings(max_examples=200, deadline=None)
def test_kl_divergence_is_cross_entropy_minus_the_labels_entropy(case):
    probabilities, labels, smoothing = case
    num_classes = probabilities.shape[1]
    scores = evaluate(probabilities, labels, range(num_classes), label_smoothing=smoothing, bootstrap_samples=0)
    smoothed = smooth_labels(labels, num_classes, smoothing)
    # SciPy computes the divergence and the entropy from their own definitions.
    assert scores.kl_divergence == pytest.approx(entropy(smoothed, probabilities, axis=1).mean(), abs=1e-9)
    assert label_entropy(smoothing, num_classes) == pytest.approx(entropy(smoothed[0]), abs=1e-12)
    assert scores.cross_entropy - scores.kl_divergence == pytest.approx(entropy(smoothed[0]), abs=1e-12)
    assert scores.kl_divergence >= -1e-12


def test_the_divergence_vanishes_where_the_prediction_is_the_smoothed_label():
    labels = np.arange(10)
    scores = evaluate(smooth_labels(labels, 10, 0.1), labels, CLASS_NAMES, label_smoothing=0.1, bootstrap_samples=0)
    assert scores.kl_divergence == pytest.approx(0, abs=1e-12)
    assert scores.cross_entropy == pytest.approx(0.5003, abs=5e-5)


@pytest.mark.parametrize(
    "cross_entropy, divergence", [(1.0458, 0.5455), (1.5169, 1.0167)], ids=["ResNet50", "autoencoder"]
)
def test_paper_1_smoothed_its_labels_by_a_tenth(cross_entropy, divergence):
    # Both numbers are rounded to four digits, so their difference is certain to 0.0001.
    assert cross_entropy - divergence == pytest.approx(label_entropy(0.1, 10), abs=1.01e-4)
    assert smoothing_from_entropy(cross_entropy - divergence, 10) == pytest.approx(0.1, abs=5e-4)


@pytest.mark.parametrize("smoothing, expected", [(0.05, 0.2824), (0.1, 0.5003), (0.2, 0.8669)])
def test_known_entropies(smoothing, expected):
    assert label_entropy(smoothing, 10) == pytest.approx(expected, abs=5e-5)


@given(smoothing=st.floats(0, 1), num_classes=st.integers(2, 50))
@settings(max_examples=100, deadline=None)
def test_smoothing_is_recovered_from_its_entropy(smoothing, num_classes):
    recovered = smoothing_from_entropy(label_entropy(smoothing, num_classes), num_classes)
    assert label_entropy(recovered, num_classes) == pytest.approx(label_entropy(smoothing, num_classes), abs=1e-9)
    if smoothing < 0.99:  # Near 1 the entropy is flat: many smoothings share it within rounding.
        assert recovered == pytest.approx(smoothing, abs=1e-6)


@pytest.mark.parametrize("value", [-0.1, 2.31, np.nan])
def test_entropies_that_no_smoothing_has_are_refused(value):
    with pytest.raises(ConfigurationError, match=r"0 to 2\.3026"):
        smoothing_from_entropy(value, 10)


def test_calibration_error_by_hand():
    # Two bins of ten: 0.95 is right in 1 of 2 cases (gap 0.45), 0.65 in 2 of 2 (gap 0.35); weights one half each.
    probabilities = np.array([[0.95, 0.05], [0.95, 0.05], [0.65, 0.35], [0.35, 0.65]])
    scores = evaluate(probabilities, np.array([0, 1, 0, 1]), "AB", bootstrap_samples=0, calibration_bins=10)
    assert scores.calibration_error == pytest.approx(0.5 * 0.45 + 0.5 * 0.35)


def test_calibration_error_agrees_with_a_loop_over_bins():
    probabilities, labels = predictions(2000)
    confidence, correct = probabilities.max(axis=1).astype(float), probabilities.argmax(axis=1) == labels
    expected = 0.0
    for low in np.arange(15) / 15:
        inside = (confidence > low) & (confidence <= low + 1 / 15)
        if inside.any():
            expected += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    scores = evaluate(probabilities, labels, CLASS_NAMES, bootstrap_samples=0)
    assert scores.calibration_error == pytest.approx(expected)


def test_probabilities_of_exactly_zero_and_one_stay_finite():
    probabilities = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    scores = evaluate(probabilities, np.array([0, 1, 1]), "AB", bootstrap_samples=0)
    assert scores.negative_log_likelihood == pytest.approx(-np.log(1e-7) / 3)
    assert np.isfinite(scores.kl_divergence) and scores.calibration_error == pytest.approx(1 / 3)


# Intervals


def test_the_accuracy_interval_is_that_of_the_binomial():
    probabilities, labels = predictions(1000)
    scores = evaluate(probabilities, labels, CLASS_NAMES, bootstrap_samples=4000)
    expected = binom.ppf([0.025, 0.975], 1000, scores.accuracy) / 1000
    np.testing.assert_allclose(scores.intervals["accuracy"], expected, atol=0.004)


@pytest.mark.parametrize("groups", [None, "pairs"])
def test_intervals_agree_with_scores_of_actual_resamples(groups):
    probabilities, labels = predictions(150, num_classes=4)
    members = np.arange(150) if groups is None else np.arange(150) // 2
    scores = evaluate(
        probabilities, labels, "ABCD", bootstrap_samples=3000, groups=None if groups is None else members, seed=1
    )
    random, resampled = np.random.default_rng(99), {"macro_f1": [], "cross_entropy": [], "recall": []}
    for _ in range(400):
        drawn = random.choice(members.max() + 1, members.max() + 1)
        rows = np.concatenate([np.nonzero(members == member)[0] for member in drawn])
        again = evaluate(probabilities[rows], labels[rows], "ABCD", bootstrap_samples=0)
        for name, values in resampled.items():
            values.append(getattr(again, name))
    for name, values in resampled.items():
        low, high = np.nanpercentile(values, [2.5, 97.5], axis=0)
        width = np.max(high - low)
        np.testing.assert_allclose(scores.intervals[name][0], low, atol=0.15 * width)
        np.testing.assert_allclose(scores.intervals[name][1], high, atol=0.15 * width)


def test_groups_that_share_their_fate_widen_the_interval():
    probabilities, labels = predictions(200, num_classes=4)
    four_copies, groups = np.repeat(probabilities, 4, axis=0), np.repeat(np.arange(200), 4)

    def width(groups):
        scores = evaluate(four_copies, np.repeat(labels, 4), "ABCD", bootstrap_samples=2000, groups=groups)
        low, high = scores.intervals["accuracy"]
        return high - low

    assert width(groups) / width(None) == pytest.approx(2, rel=0.1)  # The square root of the copies.


def test_the_same_seed_gives_the_same_intervals():
    probabilities, labels = predictions()
    first, second, other = (evaluate(probabilities, labels, CLASS_NAMES, seed=seed).to_dict() for seed in (3, 3, 4))
    assert first == second != other


def test_every_interval_holds_its_score():
    probabilities, labels = predictions()
    scores = evaluate(probabilities, labels, CLASS_NAMES)
    assert set(scores.intervals) >= {"accuracy", "macro_f1", "kl_divergence", "negative_log_likelihood", "recall"}
    for name, (low, high) in scores.intervals.items():
        assert np.all(low <= getattr(scores, name)) and np.all(getattr(scores, name) <= high), name


def test_a_paired_comparison_is_sharper_than_two_intervals():
    probabilities, labels = predictions(600)
    better = softmax(np.log(probabilities) + 0.3 * np.eye(10)[labels], axis=1)
    difference, low, high = accuracy_difference(probabilities, better, labels)
    first, second = (evaluate(p, labels, CLASS_NAMES) for p in (probabilities, better))
    assert difference == pytest.approx(second.accuracy - first.accuracy)
    assert 0 < low < difference < high
    assert high - low < np.diff(first.intervals["accuracy"])[0]
    assert accuracy_difference(better, probabilities, labels)[0] == pytest.approx(-difference)
    assert accuracy_difference(better, better, labels) == (0, 0, 0)


# Leaving out, printing, refusing


def test_excluded_galaxies_do_not_count():
    probabilities, labels = predictions()
    exclude = np.zeros(len(labels), bool)
    exclude[::7] = True
    without = evaluate(probabilities, labels, CLASS_NAMES, exclude=exclude, groups=np.arange(len(labels)) // 2)
    expected = evaluate(
        probabilities[~exclude], labels[~exclude], CLASS_NAMES, groups=(np.arange(len(labels)) // 2)[~exclude]
    )
    assert without.excluded == exclude.sum() and without.num_galaxies == (~exclude).sum()
    assert {**without.to_dict(), "excluded": 0} == expected.to_dict()


def test_an_evaluation_prints_every_score_and_class():
    probabilities, labels = predictions()
    scores = evaluate(probabilities, labels, CLASS_NAMES, bootstrap_samples=100)
    text = str(scores)
    assert f"{scores.accuracy:.3f}" in text and f"{scores.intervals['accuracy'][0]:.3f}" in text
    assert all(name in text for name in CLASS_NAMES)
    assert [row["class"] for row in scores.class_table()] == list(CLASS_NAMES)
    assert {row["score"]: row["value"] for row in scores.table()}["macro F1"] == scores.macro_f1


GOOD, LABELS = np.full((4, 2), 0.5), np.array([0, 1, 0, 1])


@pytest.mark.parametrize(
    "changes, named",
    [
        ({"probabilities": np.full((4, 3), 1 / 3)}, "wrong shape"),
        ({"probabilities": np.zeros((0, 2)), "labels": np.zeros(0, int)}, "wrong shape"),
        ({"probabilities": GOOD * 0.9}, "sum to 1"),
        ({"probabilities": np.array([[2.0, -1.0]] * 4)}, "negative"),
        ({"probabilities": np.where(np.arange(8).reshape(4, 2) == 3, np.nan, 0.5)}, "row 1"),
        ({"labels": np.array([0, 1, 2, 0])}, "0 to 2"),
        ({"labels": np.array([0, 1, -1, 0])}, "-1 to 1"),
        ({"labels": np.array([0.0, 1.0, 0.0, 1.0])}, "float64"),
        ({"labels": np.array([0, 1])}, "4 integers"),
        ({"groups": np.arange(3)}, "groups"),
        ({"exclude": np.ones(4, bool)}, "left out"),
        ({"exclude": np.array([1, 0, 0])}, "exclude"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(changes, named):
    with pytest.raises(DataError, match=named):
        evaluate(**{"probabilities": GOOD, "labels": LABELS, "class_names": "AB", **changes})


@pytest.mark.parametrize(
    "changes", [{"label_smoothing": -0.1}, {"label_smoothing": 1.1}, {"bootstrap_samples": -1}, {"calibration_bins": 0}]
)
def test_settings_that_cannot_work_are_refused(changes):
    with pytest.raises(ConfigurationError, match=next(iter(changes))):
        evaluate(GOOD, LABELS, "AB", **changes)
