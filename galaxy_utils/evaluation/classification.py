"""Scores of class probabilities against labels, with bootstrap intervals. All logarithms are natural (nats)."""

import json
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import entr, ndtri

from galaxy_utils.errors import DataError, check_integer, check_number
from galaxy_utils.evaluation import significance

CALIBRATION_BINS = 15
# Below so many galaxies, resampling them gives intervals that are too narrow: with five, 69 % hold the true recall
# instead of 95 %. Wilson's interval holds it at any number.
SMALL_CLASS = 30
# Keras' own floor for probabilities inside a logarithm. Without one, a single confident error costs infinitely much.
PROBABILITY_FLOOR = 1e-7

# Scores in the order in which tables show them, with the names that people read.
SCORES = {
    "accuracy": "accuracy",
    "macro_precision": "macro precision",
    "macro_recall": "macro recall (balanced accuracy)",
    "macro_f1": "macro F1",
    "cross_entropy": "cross-entropy, smoothed labels",
    "kl_divergence": "KL divergence, smoothed labels",
    "negative_log_likelihood": "negative log-likelihood",
    "calibration_error": "expected calibration error (ECE)",
    "calibration_reference": "ECE if perfectly calibrated",
}


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Scores of one set of predictions.

    Attributes:
        accuracy: Share of galaxies whose most probable class is their label.
        macro_precision: Mean of the classes' precisions. This and the other macro averages run over the classes that
            have at least one galaxy here.
        macro_recall: Mean of the classes' recalls, which is the balanced accuracy.
        macro_f1: Mean of the classes' F1 scores.
        cross_entropy: Mean cross-entropy −Σ q log p of the probabilities p against smoothed labels q, in nats. It
            cannot fall below `label_entropy(label_smoothing, K)`.
        kl_divergence: Mean Kullback–Leibler divergence Σ q log(q / p), in nats: cross-entropy minus that entropy.
        negative_log_likelihood: Mean −log p of the labelled class, in nats.
        calibration_error: Expected calibration error: mean distance between confidence (the largest probability) and
            accuracy over 15 equally wide bins of confidence, weighted by the galaxies in each (Guo et al. 2017, eq. 3).
        calibration_reference: The calibration error to expect of a perfectly calibrated network with the same
            confidences on as many galaxies. It is not zero, because a bin's accuracy is uncertain. Only what exceeds it
            is miscalibration.
        precision: Per class, shape (K,): of the galaxies called this class, the share that are. 0 when none is called
            so; NaN for a class without galaxies.
        recall: Per class, shape (K,): of the galaxies of this class, the share called so. NaN likewise.
        f1: Per class, shape (K,): harmonic mean of both. NaN likewise.
        support: Galaxies per class, shape (K,), int64.
        confusion_matrix: Shape (K, K), int64: true class by row, predicted class by column.
        intervals: `{score: (low, high)}`: percentile bootstrap intervals (95 %) of every score above but the
            calibration errors, whose bootstrap is biased upwards. Per-class scores have an array of shape (K,) for
            `low` and for `high`, NaN for a class without galaxies. Precision and recall of fewer than 30 galaxies, or
            of 0 or 1, have Wilson's interval instead, which takes galaxies as independent.
        class_names: One name per class.
        label_smoothing: ε of the smoothed labels.
        bootstrap_samples: Resamplings behind the intervals.
        resampled: What was drawn with replacement: `"galaxies"` or `"groups"`.

    Example:
        >>> scores = evaluate([[0.9, 0.1], [0.2, 0.8]], [0, 1], ("spiral", "merger"))
        >>> float(scores.accuracy), scores.support.tolist()
        (1.0, [1, 1])
    """

    accuracy: float
    macro_precision: float
    macro_recall: float
    macro_f1: float
    cross_entropy: float
    kl_divergence: float
    negative_log_likelihood: float
    calibration_error: float
    calibration_reference: float
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    support: np.ndarray
    confusion_matrix: np.ndarray
    intervals: dict
    class_names: tuple
    label_smoothing: float
    bootstrap_samples: int
    resampled: str

    @property
    def num_galaxies(self):
        """How many galaxies were scored."""
        return int(self.support.sum())

    def table(self):
        """Return the scores as a `pandas.DataFrame`: `value`, and the ends `low` and `high` of its interval."""
        rows = [(getattr(self, score), *self.intervals.get(score, (np.nan, np.nan))) for score in SCORES]
        return pd.DataFrame(rows, list(SCORES.values()), ["value", "low", "high"])

    def class_table(self):
        """Return one row per class as a `pandas.DataFrame`: `galaxies`, `precision`, `recall`, its interval, `F1`."""
        low, high = self.intervals.get("recall", (np.nan, np.nan))
        columns = {"galaxies": self.support, "precision": self.precision, "recall": self.recall}
        columns |= {"recall low": low, "recall high": high, "F1": self.f1}
        return pd.DataFrame(columns, index=list(self.class_names))

    def to_dict(self):
        """Return everything as a dictionary that JSON can hold; what is undefined becomes `None`."""
        text = json.dumps(vars(self), default=lambda value: value.tolist())
        return json.loads(text, parse_constant=lambda not_a_number: None)

    def __repr__(self):
        head = f"{self.num_galaxies:,} galaxies; label smoothing {self.label_smoothing:g}; "
        head += f"95 % intervals from {self.bootstrap_samples:,} resamplings of {self.resampled}"
        options = {"float_format": "{:.3f}".format, "na_rep": "–"}
        return "\n".join([head, self.table().to_string(**options), self.class_table().to_string(**options)])


def evaluate(probabilities, labels, class_names, *, label_smoothing=0.1, bootstrap_samples=1000, seed=1, groups=None):
    """Score class probabilities against labels.

    Args:
        probabilities: Shape (n, K); rows sum to 1.
        labels: Integers 0 to K − 1, shape (n,).
        class_names: K names.
        label_smoothing: ε of the smoothed labels behind cross-entropy and KL divergence; paper 1 uses 0.1.
        bootstrap_samples: Resamplings behind each interval; 0 for no intervals.
        seed: Seed of the resamplings.
        groups: Integers, shape (n,): galaxies of one group (one patch of sky) are drawn together, because their
            errors are not independent. `None` draws single galaxies.

    Returns:
        An `Evaluation`.

    Raises:
        DataError: Arrays that do not fit together, labels outside the classes, or rows that are no probabilities.
        ConfigurationError: A setting that cannot work.

    Example:
        >>> scores = evaluate([[0.9, 0.1], [0.4, 0.6], [0.7, 0.3]], [0, 1, 1], ("spiral", "merger"))
        >>> print(f"{scores.accuracy:.3f}", scores.confusion_matrix.tolist())
        0.667 [[1, 0], [1, 1]]
    """
    class_names = tuple(class_names)
    probabilities, labels = _checked_predictions(probabilities, labels, len(class_names))
    check_integer("bootstrap_samples", bootstrap_samples, 0)
    groups = significance.checked_column(groups, len(labels), "groups")
    columns = _additive_columns(probabilities, labels, label_smoothing)
    scores = _scores(columns.sum(axis=0, keepdims=True), len(class_names), label_smoothing)
    confusion = scores.pop("confusion_matrix")[0].astype(np.int64)
    support, called = confusion.sum(axis=1), confusion.sum(axis=0)
    intervals = {}
    if bootstrap_samples:
        sums = significance.bootstrap_sums(columns, groups, bootstrap_samples, seed)
        resampled = _scores(sums, len(class_names), label_smoothing)
        intervals = {name: tuple(significance.percentile_interval(resampled[name])) for name in scores}
        for name, trials in (("precision", called), ("recall", support), ("f1", None)):
            ends = intervals[name] if trials is None else _small_by_wilson(confusion, trials, intervals[name])
            intervals[name] = tuple(np.where(support == 0, np.nan, end) for end in ends)
    about = {name: value[0] for name, value in scores.items()}
    about["calibration_error"], about["calibration_reference"] = _calibration_errors(probabilities, labels)
    about |= {"support": support, "confusion_matrix": confusion, "intervals": intervals, "class_names": class_names}
    about |= {"label_smoothing": label_smoothing, "bootstrap_samples": bootstrap_samples}
    return Evaluation(**about, resampled="galaxies" if groups is None else "groups")


def accuracy_difference(first, second, labels, *, bootstrap_samples=1000, seed=1, groups=None):
    """Return how much more accurate `second` is than `first` on the same galaxies, with its paired interval.

    Both are resampled together, which removes what is common to them: whether a galaxy is easy or hard.

    Args:
        first: Probabilities, shape (n, K).
        second: Probabilities for the same galaxies, shape (n, K).
        labels: Integers, shape (n,).
        bootstrap_samples: Resamplings behind the interval.
        seed: Seed of the resamplings.
        groups: As in `evaluate`.

    Returns:
        `(difference, low, high)`: accuracies' difference and its 95 % interval.

    Raises:
        DataError: Arrays that do not fit together.

    Example:
        >>> difference, low, high = accuracy_difference([[0.6, 0.4], [0.6, 0.4]], [[0.9, 0.1], [0.2, 0.8]], [0, 1])
        >>> difference
        0.5
    """
    num_classes = np.shape(first)[-1]
    first, labels = _checked_predictions(first, labels, num_classes)
    second, labels = _checked_predictions(second, labels, num_classes)
    gains = (second.argmax(axis=1) == labels).astype(float) - (first.argmax(axis=1) == labels)
    return significance.mean_with_interval(gains, bootstrap_samples=bootstrap_samples, seed=seed, groups=groups)


def galaxy_divergences(probabilities, labels, *, label_smoothing=0.1):
    """Return each galaxy's own KL divergence from its smoothed label; their mean is `Evaluation.kl_divergence`.

    Args:
        probabilities: Shape (n, K); rows sum to 1.
        labels: Integers 0 to K − 1, shape (n,).
        label_smoothing: As in `evaluate`.

    Returns:
        Shape (n,), float64, in nats.

    Raises:
        DataError: Arrays that do not fit together, or rows that are no probabilities.
        ConfigurationError: A smoothing that cannot be.

    Example:
        >>> galaxy_divergences([[0.95, 0.05], [0.5, 0.5]], [0, 0], label_smoothing=0.1).round(3).tolist()
        [0.0, 0.495]
    """
    num_classes = np.shape(probabilities)[-1]
    probabilities, labels = _checked_predictions(probabilities, labels, num_classes)
    return _cross_entropies(probabilities, labels, label_smoothing) - label_entropy(label_smoothing, num_classes)


def smooth_labels(labels, num_classes, label_smoothing):
    """Return smoothed one-hot labels: 1 − ε + ε/K for the true class, ε/K for each other (Szegedy et al. 2016).

    Args:
        labels: Integers, shape (n,).
        num_classes: K.
        label_smoothing: ε, 0 for plain one-hot.

    Returns:
        Shape (n, K), float64; rows sum to 1.

    Example:
        >>> smooth_labels([1], 2, 0.1).round(3).tolist()
        [[0.05, 0.95]]
    """
    check_number("label_smoothing", label_smoothing, "[0, 1]")
    return np.eye(num_classes)[np.asarray(labels)] * (1 - label_smoothing) + label_smoothing / num_classes


def label_entropy(label_smoothing, num_classes):
    """Return the entropy of one smoothed label, in nats: the lowest cross-entropy that any prediction can reach.

    Example:
        >>> round(label_entropy(0.1, 10), 4)
        0.5003
    """
    return float(entr(smooth_labels(0, num_classes, label_smoothing)).sum())


# Every score with an interval is a function of sums over galaxies: cells of the confusion matrix and logarithms. A
# bootstrap therefore only has to resample and add these columns, once for all scores.


def _additive_columns(probabilities, labels, label_smoothing):
    num_classes = probabilities.shape[1]
    cells = np.eye(num_classes**2)[labels * num_classes + probabilities.argmax(axis=1)]
    return np.column_stack([cells, *(_cross_entropies(probabilities, labels, ε) for ε in (label_smoothing, 0))])


def _cross_entropies(probabilities, labels, label_smoothing):
    smoothed = smooth_labels(labels, probabilities.shape[1], label_smoothing)
    return -(smoothed * np.log(np.clip(probabilities, PROBABILITY_FLOOR, 1))).sum(axis=1)


def _scores(sums, num_classes, label_smoothing):
    """Return `{score: array}` from summed columns, shape (samples, columns); the first axis of each is the samples."""
    confusion = sums[:, :-2].reshape(-1, num_classes, num_classes)
    correct, support, called = np.einsum("sii->si", confusion), confusion.sum(axis=2), confusion.sum(axis=1)
    galaxies = support.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(support > 0, np.where(called > 0, correct / called, 0.0), np.nan)
        per_class = {"precision": precision, "recall": correct / support, "f1": 2 * correct / (support + called)}
    per_class["f1"][support == 0] = np.nan
    cross_entropy = sums[:, -2] / galaxies
    return {
        "accuracy": correct.sum(axis=1) / galaxies,
        **{f"macro_{name}": np.nanmean(values, axis=1) for name, values in per_class.items()},
        "cross_entropy": cross_entropy,
        "kl_divergence": cross_entropy - label_entropy(label_smoothing, num_classes),
        "negative_log_likelihood": sums[:, -1] / galaxies,
        **per_class,
        "confusion_matrix": confusion,
    }


def _small_by_wilson(confusion, trials, interval):
    """Return an interval of the shares correct / trials, with Wilson's (1927) for few trials and for none or all."""
    square, correct = ndtri((1 + significance.CONFIDENCE) / 2) ** 2, np.diag(confusion)
    half = np.sqrt(square * (correct * (trials - correct) / np.maximum(trials, 1) + square / 4))
    wilson = [(correct + square / 2 + sign * half) / (trials + square) for sign in (-1, 1)]
    return np.where((trials < SMALL_CLASS) | (correct == 0) | (correct == trials), wilson, interval)


def _calibration_errors(probabilities, labels):
    """Return the expected calibration error, and its expectation if every confidence were right."""
    confidence, correct = np.minimum(probabilities.max(axis=1), 1), probabilities.argmax(axis=1) == labels
    bins = np.ceil(confidence * CALIBRATION_BINS).astype(int)  # (low, high]: exactly 1 belongs to the last one
    surplus, variance = (np.bincount(bins, x) for x in (confidence - correct, confidence * (1 - confidence)))
    # The mean distance of a normal variable from its mean is √(2/π) standard deviations.
    return np.abs(surplus).sum() / len(labels), np.sqrt(2 / np.pi * variance).sum() / len(labels)


def _checked_predictions(probabilities, labels, num_classes):
    probabilities, labels = np.asarray(probabilities, dtype=np.float64), np.asarray(labels)
    if probabilities.shape != (len(labels), num_classes) or len(labels) == 0 or num_classes < 2:
        expected = f"a row for each of {len(labels):,} labels (at least one), a column for each of {num_classes}"
        raise DataError("The probabilities have the wrong shape.", expected=expected, found=probabilities.shape)
    wrong = ~((probabilities >= 0).all(axis=1) & (np.abs(probabilities.sum(axis=1) - 1) < 1e-3))
    if wrong.any():
        row, expected = wrong.argmax(), "numbers of at least 0 that sum to 1: the softmax output, not logits"
        found = probabilities[row].tolist()
        raise DataError("These are no probabilities.", where=f"row {row:,}", expected=expected, found=found)
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= num_classes:
        expected = f"integers from 0 to {num_classes - 1}, one for each galaxy"
        found = f"shape {labels.shape}, {labels.dtype}, {labels.min()} to {labels.max()}"
        raise DataError("The labels are no classes.", where="labels", expected=expected, found=found)
    return probabilities, labels.astype(np.int64)
