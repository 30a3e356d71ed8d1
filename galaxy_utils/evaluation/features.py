"""Simple classifiers on the features of a frozen backbone: the rungs of the ladder below fine-tuning."""

from dataclasses import dataclass

import numpy as np

from galaxy_utils.errors import ConfigurationError, DataError
from galaxy_utils.evaluation.baselines import neighbour_probabilities

# Inverse strengths of the regularisation, and numbers of neighbours, among which the validation set chooses.
INVERSE_STRENGTHS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
NEIGHBOURS = (5, 10, 20, 40, 80)


@dataclass(frozen=True, eq=False)
class FeaturePredictions:
    """What a classifier on features answered.

    Attributes:
        probabilities: Class probabilities of the rows asked for, shape (n, number of classes), float64. `evaluate`
            scores them.
        setting: The inverse strength of the regularisation, or the number of neighbours, that was chosen.
        validation_losses: `{setting: loss}`: mean −log p of the label over the validation rows, in nats, by which it
            was chosen.
    """

    probabilities: np.ndarray
    setting: float
    validation_losses: dict


def linear_probe(features, split, *, part="test", inverse_strengths=INVERSE_STRENGTHS):
    """Train a linear classifier (logistic regression) on features and let it answer.

    What it reaches is what the features hold in a form that needs no further layer (Alain & Bengio 2017). Features are
    brought to mean 0 and variance 1 over the training rows. Several views of a galaxy are so many training examples,
    and the answer to a galaxy is the mean over its views.

    Args:
        features: `FrozenFeatures` of a network with `trainable_layers=0`, or anything with `array`, shape
            (n, views, numbers), `labels` and `num_classes`.
        split: A `Split`, or anything with row indices in `train`, `validation` and `part`.
        part: Whose rows to answer: `"train"`, `"validation"` or `"test"`.
        inverse_strengths: scikit-learn's `C`, ascending: the larger, the weaker the regularisation.

    Returns:
        `FeaturePredictions`.

    Raises:
        ConfigurationError: An unknown part or nothing to choose from.
        DataError: Training rows of a single class.
    """
    train, validation, rows = _checked_parts(split, part, inverse_strengths, "inverse_strengths")
    labels = np.asarray(features.labels)
    if len(np.unique(labels[train])) < 2:
        raise DataError("A classifier needs training galaxies of two classes.", where="split.train")

    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    num_views = features.array.shape[1]
    examples = np.concatenate([_vectors(features, train, view) for view in range(num_views)])
    scaler = StandardScaler().fit(examples)
    examples = scaler.transform(examples)

    def answers(rows):
        total = np.zeros((len(rows), features.num_classes))
        for view in range(num_views):
            answer = classifier.predict_proba(scaler.transform(_vectors(features, rows, view)))
            total[:, classifier.classes_] += answer
        return total / num_views

    # Each strength starts from the solution of the one before.
    classifier = LogisticRegression(max_iter=3000, warm_start=True)
    losses, best = {}, None
    for inverse_strength in inverse_strengths:
        # The solver's many small products spend their time waiting for each other when several threads share them:
        # with 2,000 galaxies on two cores one thread was twenty times faster than two.
        with threadpool_limits(limits=1):
            classifier.set_params(C=inverse_strength).fit(examples, np.tile(labels[train], num_views))
        losses[inverse_strength] = _loss(answers(validation), labels[validation])
        if losses[inverse_strength] == min(losses.values()):
            best = inverse_strength, answers(rows)
    return FeaturePredictions(best[1], best[0], losses)


def nearest_neighbours(features, split, *, part="test", neighbours=NEIGHBOURS):
    """Let the training galaxies vote whose features are nearest in direction to a galaxy's.

    Nothing is trained. Features are brought to mean 0 and variance 1 over the training rows, averaged over a galaxy's
    views, and compared by the angle between them (cosine similarity).

    Args:
        features: As in `linear_probe`.
        split: As in `linear_probe`.
        part: As in `linear_probe`.
        neighbours: Numbers of neighbours to choose from, ascending.

    Returns:
        `FeaturePredictions`.

    Raises:
        ConfigurationError: An unknown part, nothing to choose from, or fewer training galaxies than neighbours.
    """
    train, validation, rows = _checked_parts(split, part, neighbours, "neighbours")
    if not 1 <= min(neighbours) <= len(train):
        raise ConfigurationError(
            "There cannot be so many neighbours.",
            where="neighbours",
            expected=f"1 to {len(train):,}, the galaxies in the training set",
            found=repr(tuple(neighbours)),
        )
    labels, num_views = np.asarray(features.labels), features.array.shape[1]

    def averaged(rows):
        return np.mean([_vectors(features, rows, view) for view in range(num_views)], axis=0)

    mean, scatter = averaged(train).mean(axis=0), np.maximum(averaged(train).std(axis=0), 1e-12)

    def directions(rows):
        vectors = (averaged(rows) - mean) / scatter
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)

    # Between vectors of length 1, the Euclidean distance orders as the angle does.
    known, asked = directions(train), [directions(part_rows) for part_rows in (validation, rows)]
    votes = {
        number: [
            neighbour_probabilities(known, labels[train], vectors, number, features.num_classes) for vectors in asked
        ]
        for number in neighbours
        if number <= len(train)
    }
    losses = {number: _loss(validation_votes, labels[validation]) for number, (validation_votes, _) in votes.items()}
    best = min(losses, key=losses.get)
    return FeaturePredictions(votes[best][1], best, losses)


def _vectors(features, rows, view):
    # Computing in 16 bits would lose what storing in 16 bits kept.
    return np.asarray(features.array[rows, view], np.float32)


def _loss(probabilities, labels):
    return float(-np.log(np.clip(probabilities[np.arange(len(labels)), labels], 1e-7, 1)).mean())


def _checked_parts(split, part, settings, name):
    if part not in ("train", "validation", "test"):
        raise ConfigurationError(
            f"There is no part {part!r} to answer.", where="part", expected="'train', 'validation' or 'test'"
        )
    if not len(settings):
        raise ConfigurationError("There is nothing to choose from.", where=name, expected="at least one number")
    return tuple(np.asarray(getattr(split, which)) for which in ("train", "validation", part))
