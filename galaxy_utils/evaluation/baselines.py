"""Control rows: what a table's numbers must beat before they mean anything."""

import numpy as np

from galaxy_utils.errors import ConfigurationError
from galaxy_utils.evaluation.classification import evaluate

MAJORITY_CLASS = "majority class"
NEAREST_NEIGHBOURS = "raw-pixel nearest neighbours"
UNTRAINED_NETWORK = "untrained network"


def baselines(
    dataset,
    split,
    *,
    part="test",
    neighbours=10,
    neighbour_image_size=16,
    untrained_model=None,
    label_smoothing=0.1,
    bootstrap_samples=1000,
    seed=1,
    exclude=None,
):
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
        neighbours: How many neighbours vote.
        neighbour_image_size: Side of the averaged images, in pixels.
        untrained_model: A network fresh from its builder to use instead of the default.
        label_smoothing: As in `evaluate`.
        bootstrap_samples: As in `evaluate`.
        seed: Seed of the resamplings and of the untrained network.
        exclude: Mask over the rows of `part`, as in `evaluate`.

    Returns:
        `{name: Evaluation}`, in the order above.

    Raises:
        ConfigurationError: An unknown part or too many neighbours.
    """
    if part not in ("test", "validation"):
        raise ConfigurationError(
            f"There is no part {part!r} to score.", where="part", expected="'test' or 'validation'"
        )
    train, rows = np.asarray(split.train), np.asarray(getattr(split, part))
    if not 1 <= neighbours <= len(train):
        raise ConfigurationError(
            "There cannot be so many neighbours.",
            where="neighbours",
            expected=f"1 to {len(train):,}, the galaxies in the training set",
            found=repr(neighbours),
        )
    class_shares = _class_shares(dataset.labels[train], dataset.num_classes)
    votes_of_neighbours = neighbour_probabilities(
        averaged_pixels(dataset, train, neighbour_image_size),
        dataset.labels[train],
        averaged_pixels(dataset, rows, neighbour_image_size),
        neighbours,
        dataset.num_classes,
    )

    from galaxy_utils.models import four_block_cnn
    from galaxy_utils.training import predict

    if untrained_model is None:
        untrained_model = four_block_cnn(dataset.image_size, dataset.num_classes, pooling="average", seed=seed)
    groups = getattr(split, "groups", None)
    return {
        name: evaluate(
            probabilities,
            dataset.labels[rows],
            dataset.class_names,
            label_smoothing=label_smoothing,
            bootstrap_samples=bootstrap_samples,
            seed=seed,
            groups=None if groups is None else np.asarray(groups)[rows],
            exclude=exclude,
        )
        for name, probabilities in (
            (MAJORITY_CLASS, np.tile(class_shares, (len(rows), 1))),
            (NEAREST_NEIGHBOURS, votes_of_neighbours),
            (UNTRAINED_NETWORK, predict(untrained_model, dataset, rows)),
        )
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
    """
    from sklearn.neighbors import KNeighborsClassifier

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
    from PIL import Image

    vectors = np.empty((len(rows), size, size, 3), np.float32)
    for place, row in enumerate(rows):
        image = Image.fromarray(np.asarray(dataset.images[int(row)]))
        vectors[place] = np.asarray(image.resize((size, size), Image.Resampling.BOX))
    return vectors.reshape(len(rows), -1) / 255
