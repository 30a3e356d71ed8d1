"""Scores of class probabilities against labels, with bootstrap intervals. All logarithms are natural (nats)."""

import math
from dataclasses import dataclass
from numbers import Real

import numpy as np

from galaxy_utils.errors import ConfigurationError, DataError
from galaxy_utils.evaluation.significance import (
    CONFIDENCE,
    bootstrap_sums,
    check_count,
    checked_column,
    mean_with_interval,
    percentile_interval,
)

CALIBRATION_BINS = 15
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
    "calibration_error": "expected calibration error",
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
            accuracy over equally wide bins of confidence, weighted by the galaxies in each (Guo et al. 2017, eq. 3).
        precision: Per class, shape (K,): of the galaxies called this class, the share that are. 0 when none is called
            so; NaN for a class without galaxies.
        recall: Per class, shape (K,): of the galaxies of this class, the share called so. NaN likewise.
        f1: Per class, shape (K,): harmonic mean of both. NaN likewise.
        support: Galaxies per class, shape (K,), int64.
        confusion_matrix: Shape (K, K), int64: true class by row, predicted class by column.
        intervals: `{score: (low, high)}`: percentile bootstrap intervals (95 %) of every score above but the
            calibration error, whose bootstrap is biased upwards. Per-class scores have an array of shape (K,) for
            `low` and for `high`.
        class_names: One name per class.
        label_smoothing: ε of the smoothed labels.
        calibration_bins: Bins behind `calibration_error`.
        bootstrap_samples: Resamplings behind the intervals.
        resampled: What was drawn with replacement: `"galaxies"` or `"groups"`.
        excluded: Galaxies left out on request.
    """

    accuracy: float
    macro_precision: float
    macro_recall: float
    macro_f1: float
    cross_entropy: float
    kl_divergence: float
    negative_log_likelihood: float
    calibration_error: float
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    support: np.ndarray
    confusion_matrix: np.ndarray
    intervals: dict
    class_names: tuple
    label_smoothing: float
    calibration_bins: int
    bootstrap_samples: int
    resampled: str
    excluded: int

    @property
    def num_galaxies(self):
        """How many galaxies were scored."""
        return int(self.support.sum())

    @property
    def balanced_accuracy(self):
        """The same number as `macro_recall`, under its other name."""
        return self.macro_recall

    def table(self):
        """Return one dictionary per score: `score`, `value`, `low`, `high` (`None` without an interval)."""
        rows = []
        for score, title in SCORES.items():
            low, high = self.intervals.get(score, (None, None))
            rows.append({"score": title, "value": getattr(self, score), "low": low, "high": high})
        return rows

    def class_table(self):
        """Return one dictionary per class: `class`, `precision`, `recall`, `f1`, `support`."""
        columns = zip(self.class_names, self.precision, self.recall, self.f1, self.support, strict=True)
        return [
            {"class": name, "precision": float(p), "recall": float(r), "f1": float(f), "support": int(n)}
            for name, p, r, f, n in columns
        ]

    def to_dict(self):
        """Return everything as a dictionary that JSON can hold; what is undefined becomes `None`."""
        return _to_json({name: getattr(self, name) for name in self.__dataclass_fields__})

    def __repr__(self):
        left_out = f", {self.excluded:,} left out" if self.excluded else ""
        lines = [
            f"{self.num_galaxies:,} galaxies{left_out}; {CONFIDENCE:.0%} intervals from {self.bootstrap_samples:,} "
            f"resamplings of {self.resampled}; label smoothing {self.label_smoothing:g}"
        ]
        for row in self.table():
            interval = "" if row["low"] is None else f"  ({row['low']:.3f} to {row['high']:.3f})"
            lines.append(f"  {row['score']:<34}{row['value']:7.3f}{interval}")
        width = max(map(len, self.class_names)) + 2
        lines.append(f"  {'class':<{width}}precision  recall      F1  galaxies")
        for row in self.class_table():
            lines.append(
                f"  {row['class']:<{width}}{row['precision']:9.3f} {row['recall']:7.3f} {row['f1']:7.3f} "
                f"{row['support']:9,}"
            )
        return "\n".join(lines)


def evaluate(
    probabilities,
    labels,
    class_names,
    *,
    label_smoothing=0.1,
    bootstrap_samples=1000,
    seed=1,
    groups=None,
    exclude=None,
    calibration_bins=CALIBRATION_BINS,
):
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
        exclude: Mask, shape (n,): galaxies to leave out, such as those that carry two labels.
        calibration_bins: Equally wide bins of confidence behind the calibration error.

    Returns:
        An `Evaluation`.

    Raises:
        DataError: Arrays that do not fit together, labels outside the classes, or rows that are no probabilities.
        ConfigurationError: A setting that cannot work.
    """
    class_names = tuple(class_names)
    probabilities, labels = _checked_predictions(probabilities, labels, len(class_names))
    _check_smoothing(label_smoothing)
    check_count("bootstrap_samples", bootstrap_samples, 0)
    check_count("calibration_bins", calibration_bins, 1)
    groups = checked_column(groups, len(labels), "groups")
    excluded = 0
    if exclude is not None:
        exclude = checked_column(exclude, len(labels), "exclude").astype(bool)
        excluded = int(exclude.sum())
        if excluded == len(labels):
            raise DataError("Every galaxy is left out.", where="exclude", expected="at least one galaxy to score")
        probabilities, labels = probabilities[~exclude], labels[~exclude]
        groups = None if groups is None else groups[~exclude]

    columns = _additive_columns(probabilities, labels, label_smoothing, calibration_bins)
    settings = (len(class_names), label_smoothing, calibration_bins)
    scores = _scores(columns.sum(axis=0, keepdims=True), *settings)
    intervals = {}
    if bootstrap_samples:
        resampled = _scores(bootstrap_sums(columns, groups, bootstrap_samples, seed), *settings)
        for name in (*SCORES, "precision", "recall", "f1"):
            if name != "calibration_error":
                low, high = percentile_interval(resampled[name])
                intervals[name] = (float(low), float(high)) if low.ndim == 0 else (low, high)
    return Evaluation(
        **{name: float(scores[name][0]) for name in SCORES},
        **{name: scores[name][0] for name in ("precision", "recall", "f1")},
        support=scores["confusion_matrix"][0].sum(axis=1).astype(np.int64),
        confusion_matrix=scores["confusion_matrix"][0].astype(np.int64),
        intervals=intervals,
        class_names=class_names,
        label_smoothing=float(label_smoothing),
        calibration_bins=int(calibration_bins),
        bootstrap_samples=int(bootstrap_samples),
        resampled="galaxies" if groups is None else "groups",
        excluded=excluded,
    )


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
    """
    num_classes = np.shape(first)[-1]
    first, labels = _checked_predictions(first, labels, num_classes)
    second, labels = _checked_predictions(second, labels, num_classes)
    gains = (second.argmax(axis=1) == labels).astype(float) - (first.argmax(axis=1) == labels)
    return mean_with_interval(gains, bootstrap_samples=bootstrap_samples, seed=seed, groups=groups)


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
    """
    num_classes = np.shape(probabilities)[-1]
    probabilities, labels = _checked_predictions(probabilities, labels, num_classes)
    log_probabilities = np.log(np.clip(probabilities, PROBABILITY_FLOOR, 1))
    return _cross_entropies(log_probabilities, labels, label_smoothing) - label_entropy(label_smoothing, num_classes)


def smooth_labels(labels, num_classes, label_smoothing):
    """Return smoothed one-hot labels: 1 − ε + ε/K for the true class, ε/K for each other (Szegedy et al. 2016).

    Args:
        labels: Integers, shape (n,).
        num_classes: K.
        label_smoothing: ε, 0 for plain one-hot.

    Returns:
        Shape (n, K), float64; rows sum to 1.
    """
    _check_smoothing(label_smoothing)
    return np.eye(num_classes)[np.asarray(labels)] * (1 - label_smoothing) + label_smoothing / num_classes


def label_entropy(label_smoothing, num_classes):
    """Return the entropy of one smoothed label, in nats: the lowest cross-entropy that any prediction can reach."""
    _check_smoothing(label_smoothing)
    other = label_smoothing / num_classes
    true = 1 - label_smoothing + other
    return -true * math.log(true) - ((num_classes - 1) * other * math.log(other) if other else 0.0)


def smoothing_from_entropy(entropy, num_classes):
    """Return the label smoothing ε whose labels have this entropy: the inverse of `label_entropy`.

    A table that states cross-entropy and KL divergence thereby states ε too, because their difference is that entropy.

    Args:
        entropy: In nats, from 0 up to log(num_classes).
        num_classes: Number of classes.

    Raises:
        ConfigurationError: No smoothing gives this entropy.
    """
    largest = label_entropy(1.0, num_classes)
    # The largest entropy, computed in another order, may lie a rounding error above it.
    if not 0 <= entropy <= largest * (1 + 1e-12):
        raise ConfigurationError(
            "No label smoothing has this entropy.",
            where="entropy",
            expected=f"0 to {math.log(num_classes):.4f} nats for {num_classes} classes",
            found=repr(entropy),
        )
    from scipy.optimize import brentq

    entropy = min(entropy, largest)
    return brentq(lambda smoothing: label_entropy(smoothing, num_classes) - entropy, 0, 1, xtol=1e-12)


# Every score is a function of sums over galaxies: cells of the confusion matrix, logarithms, bins of confidence. A
# bootstrap therefore only has to resample and add these columns, once for all scores.


def _additive_columns(probabilities, labels, label_smoothing, calibration_bins):
    num_galaxies, num_classes = probabilities.shape
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    log_probabilities = np.log(np.clip(probabilities, PROBABILITY_FLOOR, 1))
    cells = np.eye(num_classes**2)[labels * num_classes + predicted]
    # Bins are (low, high]: a probability of exactly 1 belongs to the last one.
    bins = np.clip(np.ceil(confidence * calibration_bins).astype(int) - 1, 0, calibration_bins - 1)
    surplus = np.eye(calibration_bins)[bins] * (confidence - (predicted == labels))[:, None]
    cross_entropy = _cross_entropies(log_probabilities, labels, label_smoothing)
    likelihood = -log_probabilities[np.arange(num_galaxies), labels]
    return np.column_stack([cells, surplus, cross_entropy, likelihood])


def _cross_entropies(log_probabilities, labels, label_smoothing):
    return -(smooth_labels(labels, log_probabilities.shape[1], label_smoothing) * log_probabilities).sum(axis=1)


def _scores(sums, num_classes, label_smoothing, calibration_bins):
    """Return `{score: array}` from summed columns, shape (samples, columns); the first axis of each is the samples."""
    confusion, surplus, cross_entropy, likelihood = np.split(
        sums, np.cumsum([num_classes**2, calibration_bins, 1]), axis=1
    )
    confusion = confusion.reshape(-1, num_classes, num_classes)
    correct, support, called = np.einsum("sii->si", confusion), confusion.sum(axis=2), confusion.sum(axis=1)
    galaxies = support.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        occurs = support > 0
        recall = correct / support
        precision = np.where(occurs, np.where(called > 0, correct / called, 0.0), np.nan)
        f1 = np.where(occurs, 2 * correct / (support + called), np.nan)
    cross_entropy = cross_entropy[:, 0] / galaxies
    return {
        "accuracy": correct.sum(axis=1) / galaxies,
        "macro_precision": np.nanmean(precision, axis=1),
        "macro_recall": np.nanmean(recall, axis=1),
        "macro_f1": np.nanmean(f1, axis=1),
        "cross_entropy": cross_entropy,
        "kl_divergence": cross_entropy - label_entropy(label_smoothing, num_classes),
        "negative_log_likelihood": likelihood[:, 0] / galaxies,
        "calibration_error": np.abs(surplus).sum(axis=1) / galaxies,
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "confusion_matrix": confusion,
    }


def _checked_predictions(probabilities, labels, num_classes):
    probabilities = np.asarray(probabilities, dtype=np.float64)
    labels = np.asarray(labels)
    if probabilities.ndim != 2 or probabilities.shape[1] != num_classes or len(probabilities) == 0 or num_classes < 2:
        raise DataError(
            "The probabilities have the wrong shape.",
            where="probabilities",
            expected=f"(n, {num_classes}): one column per class (two or more), at least one row",
            found=f"{probabilities.shape}",
        )
    if not np.isfinite(probabilities).all() or probabilities.min() < 0:
        row = int(np.nonzero(~(np.isfinite(probabilities) & (probabilities >= 0)).all(axis=1))[0][0])
        raise DataError(
            "Some probabilities are negative or not finite.", where=f"row {row:,}", found=probabilities[row].tolist()
        )
    error = np.abs(probabilities.sum(axis=1) - 1)
    if error.max() > 1e-3:
        row = int(error.argmax())
        raise DataError(
            "The probabilities of a galaxy must sum to 1.",
            where=f"row {row:,}",
            found=f"a sum of {probabilities[row].sum():.6g}",
            remedy="pass the softmax output, not logits",
        )
    if labels.shape != (len(probabilities),) or not np.issubdtype(labels.dtype, np.integer):
        raise DataError(
            "The labels do not fit the probabilities.",
            where="labels",
            expected=f"{len(probabilities):,} integers",
            found=f"shape {labels.shape}, dtype {labels.dtype}",
        )
    if labels.min() < 0 or labels.max() >= num_classes:
        raise DataError(
            "There are labels outside the classes.",
            where="labels",
            expected=f"0 to {num_classes - 1}",
            found=f"{labels.min()} to {labels.max()}",
        )
    return probabilities, labels.astype(np.int64)


def _check_smoothing(label_smoothing):
    if not isinstance(label_smoothing, Real) or not 0 <= label_smoothing <= 1:
        raise ConfigurationError(
            "This is no label smoothing.", where="label_smoothing", expected="0 to 1", found=repr(label_smoothing)
        )


def _to_json(value):
    if isinstance(value, dict):
        return {name: _to_json(member) for name, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [_to_json(member) for member in value]
    if isinstance(value, np.ndarray):
        return _to_json(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
