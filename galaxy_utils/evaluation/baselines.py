"""Baselines: what a table's numbers must beat before they mean anything."""

import numpy as np
from PIL import Image
from sklearn.neighbors import KNeighborsClassifier

from galaxy_utils.errors import ConfigurationError
from galaxy_utils.evaluation.classification import evaluate
from galaxy_utils.models.cnn import four_block_cnn
from galaxy_utils.training import predict

MAJORITY_CLASS = "majority class"
NEAREST_NEIGHBOURS = "raw-pixel nearest neighbours"
UNTRAINED_NETWORK = "untrained network"


def baselines(dataset, split, *, part="test", neighbours=10, untrained_model=None, seed=1, **options):
    """Score three predictors that know nothing about galaxies, on the same rows as the networks.

    - Majority class: the training set's class shares for every galaxy, so it always calls the commonest class.
    - Raw-pixel nearest neighbours: the images, area-averaged to a few pixels and scaled to [0, 1], are compared by
      Euclidean distance with the training images; the neighbours vote.
    - Untrained network: paper 1's network (average pooling) with its initial random weights.

    Args:
        dataset: A `GalaxyDataset`.
        split: A `Split`, or anything with row indices in `train` and in `part`; its `groups`, if it has them, are
            resampled together.
        part: `"test"` or `"validation"`.
        neighbours: How many neighbours vote; their images are averaged to 16 pixels a side.
        untrained_model: A network fresh from its builder to use instead of the default.
        seed: Seed of the resamplings and of the untrained network.
        **options: `label_smoothing`, `bootstrap_samples` and `exclude` (a mask over the rows of `part`) of `evaluate`.

    Returns:
        `{name: Evaluation}`, in the order above.

    Raises:
        ConfigurationError: An unknown part.
        ValueError: More neighbours than training galaxies.
    """
    if part not in ("test", "validation"):
        raise ConfigurationError(f"There is no part {part!r} to score.", expected="'test' or 'validation'")
    train, rows = np.asarray(split.train), np.asarray(getattr(split, part))
    train_pixels, pixels = (averaged_pixels(dataset, some, 16) for some in (train, rows))
    train_labels, num_classes = dataset.labels[train], dataset.num_classes
    if untrained_model is None:
        untrained_model = four_block_cnn(dataset.image_size, num_classes, pooling="average", seed=seed)
    predictions = {
        MAJORITY_CLASS: np.tile(_class_shares(train_labels, num_classes), (len(rows), 1)),
        NEAREST_NEIGHBOURS: neighbour_probabilities(train_pixels, train_labels, pixels, neighbours, num_classes),
        UNTRAINED_NETWORK: predict(untrained_model, dataset, rows),
    }
    if getattr(split, "groups", None) is not None:
        options["groups"] = np.asarray(split.groups)[rows]
    options["seed"] = seed
    return {
        name: evaluate(probabilities, dataset.labels[rows], dataset.class_names, **options)
        for name, probabilities in predictions.items()
    }


def neighbour_probabilities(train_vectors, train_labels, vectors, neighbours, num_classes):
    """Let the nearest training vectors (Euclidean distance) vote on the class of each vector.

    Args:
        train_vectors: Shape (m, numbers).
        train_labels: Integers, shape (m,).
        vectors: Shape (n, numbers).
        neighbours: How many vote, 1 to m.
        num_classes: K.

    Returns:
        Probabilities, shape (n, K), float64, all above zero: one further voter has the opinion of the class shares.

    Example:
        >>> neighbour_probabilities([[0.0], [1.0], [5.0]], [0, 0, 1], [[0.2]], neighbours=2, num_classes=2).round(2)
        array([[0.88, 0.12]])
    """
    classifier = KNeighborsClassifier(neighbours, algorithm="brute").fit(train_vectors, train_labels)
    votes = np.zeros((len(vectors), num_classes))
    votes[:, classifier.classes_] = classifier.predict_proba(vectors) * neighbours
    # The further voter breaks ties and keeps probabilities from zero.
    return (votes + _class_shares(train_labels, num_classes)) / (neighbours + 1)


def _class_shares(labels, num_classes):
    # One imaginary galaxy spread over all classes keeps a class without training galaxies from probability zero,
    # which would make cross-entropy and KL divergence infinite.
    counts = np.bincount(labels, minlength=num_classes) + 1 / num_classes
    return counts / counts.sum()


def averaged_pixels(dataset, rows, size):
    """Return images, area-averaged to `size` pixels, in [0, 1] as vectors: shape (n, 3 · size²), float32."""
    vectors = np.empty((len(rows), size, size, 3), np.float32)
    for place, row in enumerate(rows):
        image = Image.fromarray(np.asarray(dataset.images[int(row)]))
        vectors[place] = np.asarray(image.resize((size, size), Image.Resampling.BOX))
    return vectors.reshape(len(rows), -1) / 255
