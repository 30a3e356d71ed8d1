"""Scores, checked against scikit-learn and SciPy wherever these have them."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from scipy.stats import binomtest, entropy
from sklearn import metrics

from galaxy_utils.classes import CLASS_NAMES, OFFICIAL_CLASS_COUNTS
from galaxy_utils.errors import ConfigurationError, DataError
from galaxy_utils.evaluation import accuracy_difference, evaluate, label_entropy, smooth_labels


def predictions(num_galaxies=400, num_classes=10, skill=1.5, seed=1):
    """Labels in the real proportions and probabilities that are right more often than chance."""
    random = np.random.default_rng(seed)
    shares = np.array(OFFICIAL_CLASS_COUNTS[:num_classes]) / sum(OFFICIAL_CLASS_COUNTS[:num_classes])
    labels = random.choice(num_classes, num_galaxies, p=shares)
    logits = random.normal(size=(num_galaxies, num_classes)) + skill * np.eye(num_classes)[labels]
    return softmax(logits, axis=1).astype(np.float32), labels


@pytest.mark.parametrize("seed", range(2))
def test_scores_agree_with_scikit_learn(seed):
    probabilities, labels = predictions(seed=seed)
    predicted = probabilities.argmax(axis=1)
    scores = evaluate(probabilities, labels, CLASS_NAMES, bootstrap_samples=0)
    assert scores.accuracy == pytest.approx(metrics.accuracy_score(labels, predicted))
    assert scores.macro_recall == pytest.approx(metrics.balanced_accuracy_score(labels, predicted))
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
    assert scores.table().loc["macro F1", "value"] == scores.macro_f1
    assert scores.class_table().loc[CLASS_NAMES[2], "recall high"] == scores.intervals["recall"][1][2]
    assert all(name in str(scores) for name in (*CLASS_NAMES, f"{scores.accuracy:.3f}"))


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


def test_a_confidence_of_one_shares_a_bin_with_those_just_below():
    scores = evaluate([[1.0, 0.0], [0.95, 0.05]], [1, 0], "AB", bootstrap_samples=0)
    assert scores.calibration_error == pytest.approx((1 - 0.05) / 2)


@pytest.mark.parametrize("num_galaxies", [200, 3000])
def test_the_reference_is_the_calibration_error_of_a_perfectly_calibrated_network(num_galaxies):
    random, (probabilities, _) = np.random.default_rng(5), predictions(num_galaxies)
    shares = probabilities.astype(float).cumsum(axis=1)
    errors = []
    for _ in range(100):  # labels drawn from the network's own probabilities
        labels = (shares < shares[:, -1:] * random.random((num_galaxies, 1))).sum(axis=1)
        scores = evaluate(probabilities, labels, CLASS_NAMES, bootstrap_samples=0)
        errors.append(scores.calibration_error)
    assert scores.calibration_reference == pytest.approx(np.mean(errors), rel=0.12)


def test_probabilities_of_exactly_zero_and_one_stay_finite():
    probabilities = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    scores = evaluate(probabilities, np.array([0, 1, 1]), "AB", bootstrap_samples=0)
    assert scores.negative_log_likelihood == pytest.approx(-np.log(1e-7) / 3)
    assert np.isfinite(scores.kl_divergence) and scores.calibration_error == pytest.approx(1 / 3)


# Intervals


@pytest.mark.parametrize("groups", [None, "pairs"])
def test_intervals_agree_with_scores_of_actual_resamples(groups):
    probabilities, labels = predictions(300, num_classes=4)
    members = np.arange(300) if groups is None else np.arange(300) // 2
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
        usual = np.ones_like(low, bool) if name != "recall" else scores.support >= 30
        for mine, theirs in zip(scores.intervals[name], (low, high), strict=True):
            np.testing.assert_allclose(np.asarray(mine)[usual], theirs[usual], atol=0.15 * width)


def test_few_galaxies_have_wilsons_interval_and_none_has_none():
    labels = np.repeat([0, 1, 2], [40, 6, 12])
    probabilities = np.full((58, 4), 0.1)
    probabilities[np.arange(58), np.where(np.arange(58) % 3 == 2, 0, labels)] = 0.7
    scores = evaluate(probabilities, labels, "ABCD", bootstrap_samples=500)
    low, high = scores.intervals["recall"]
    for label, (right, number) in {0: (40, 40), 1: (4, 6), 2: (8, 12)}.items():
        wilson = binomtest(right, number).proportion_ci(method="wilson")
        np.testing.assert_allclose((low[label], high[label]), wilson)
    assert all(np.isnan(end[3]) for name in ("precision", "recall", "f1") for end in scores.intervals[name])
    low, high = scores.intervals["precision"]
    np.testing.assert_allclose((low[1], high[1]), binomtest(4, 4).proportion_ci(method="wilson"))


def test_the_same_seed_gives_the_same_intervals():
    probabilities, labels = predictions()
    first, second, other = (evaluate(probabilities, labels, CLASS_NAMES, seed=seed).to_dict() for seed in (3, 3, 4))
    assert first == second != other


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


# Refusing


GOOD, LABELS = np.full((4, 2), 0.5), np.array([0, 1, 0, 1])


@pytest.mark.parametrize(
    "changes, named",
    [
        ({"probabilities": np.full((4, 3), 1 / 3)}, "wrong shape"),
        ({"probabilities": np.zeros((0, 2)), "labels": np.zeros(0, int)}, "at least one"),
        ({"labels": np.array([0, 1])}, "2 labels"),
        ({"probabilities": GOOD * 0.9}, "sum to 1"),
        ({"probabilities": np.array([[2.0, -1.0]] * 4)}, "at least 0"),
        ({"probabilities": np.where(np.arange(8).reshape(4, 2) == 3, np.nan, 0.5)}, "row 1"),
        ({"labels": np.array([0, 1, 2, 0])}, "0 to 2"),
        ({"labels": np.array([0, 1, -1, 0])}, "-1 to 1"),
        ({"labels": np.array([0.0, 1.0, 0.0, 1.0])}, "float64"),
        ({"groups": np.arange(3)}, "groups"),
        ({"label_smoothing": 1.1}, "label_smoothing"),
        ({"bootstrap_samples": -1}, "bootstrap_samples"),
    ],
)
def test_what_does_not_fit_is_refused(changes, named):
    with pytest.raises((DataError, ConfigurationError), match=named):
        evaluate(**{"probabilities": GOOD, "labels": LABELS, "class_names": "AB", **changes})
