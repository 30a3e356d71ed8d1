"""Baselines: what a table's numbers must beat before they mean anything."""

import numpy as np

from galaxy_utils.data.prepare import area_average
from galaxy_utils.errors import check_argument
from galaxy_utils.evaluation.classification import evaluate
from galaxy_utils.evaluation.latent import neighbour_votes
from galaxy_utils.models.cnn import four_block_cnn
from galaxy_utils.training import predict

MAJORITY_CLASS = "majority class"
NEAREST_NEIGHBOURS = "raw-pixel nearest neighbours"
UNTRAINED_NETWORK = "untrained network"
NEIGHBOURS, NEIGHBOUR_SIDE = 10, 16  # how many vote, and how many pixels a side are compared


def baselines(dataset, split, *, part="test", seed=1, **options):
    """Score three predictors that know nothing about galaxies, on the same rows as the networks.

    - Majority class: the training set's class shares for every galaxy, so it always calls the commonest class.
    - Raw-pixel nearest neighbours: the images, area-averaged to 16 pixels a side and scaled to [0, 1], are compared by
      Euclidean distance with the training images; the ten nearest vote.
    - Untrained network: paper 1's network (average pooling) with its initial random weights.

    Args:
        dataset: A `GalaxyDataset`.
        split: A `Split`, or anything with row indices in `train` and in `part`; its `groups`, if it has them, are
            resampled together.
        part: `"test"` or `"validation"`.
        seed: Seed of the resamplings and of the untrained network.
        **options: `label_smoothing` and `bootstrap_samples` of `evaluate`.

    Returns:
        `{name: Evaluation}`, in the order above.

    Raises:
        ConfigurationError: An unknown part, or fewer than ten training galaxies.

    Example:
        >>> list(gu.baselines(galaxies, split, bootstrap_samples=0))
        ['majority class', 'raw-pixel nearest neighbours', 'untrained network']
    """
    check_argument(part in ("test", "validation"), "part", part, "'test' or 'validation'")
    train, rows = np.asarray(split.train), np.asarray(getattr(split, part))
    train_pixels, pixels = (averaged_pixels(dataset, some, NEIGHBOUR_SIDE) for some in (train, rows))
    labels, num_classes = dataset.labels[train], dataset.num_classes
    # One imaginary galaxy spread over all classes keeps a class without training galaxies from probability zero,
    # which would make cross-entropy and KL divergence infinite.
    counts = np.bincount(labels, minlength=num_classes) + 1 / num_classes
    shares = counts / counts.sum()
    votes = NEIGHBOURS * neighbour_votes(train_pixels, labels, pixels, neighbours=NEIGHBOURS, num_classes=num_classes)
    untrained_model = four_block_cnn(dataset.image_size, num_classes, pooling="average", seed=seed)
    predictions = {
        MAJORITY_CLASS: np.tile(shares, (len(rows), 1)),
        # One further voter has the opinion of the class shares: it breaks ties.
        NEAREST_NEIGHBOURS: (votes + shares) / (NEIGHBOURS + 1),
        UNTRAINED_NETWORK: predict(untrained_model, dataset, rows),
    }
    if getattr(split, "groups", None) is not None:
        options["groups"] = np.asarray(split.groups)[rows]
    options["seed"] = seed
    return {
        name: evaluate(probabilities, dataset.labels[rows], dataset.class_names, **options)
        for name, probabilities in predictions.items()
    }


def averaged_pixels(dataset, rows, size):
    """Return images, area-averaged to `size` pixels, in [0, 1] as vectors: shape (n, 3 · size²), float32.

    Example:
        >>> averaged_pixels(galaxies, [0, 1], 16).shape
        (2, 768)
    """
    vectors = [area_average(np.asarray(dataset.images[int(row)])[None], size).ravel() for row in rows]
    return np.float32(vectors) / 255
