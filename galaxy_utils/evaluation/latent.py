"""Vectors, latent or of pixels, asked about their neighbours' labels."""

import numpy as np
from sklearn.neighbors import NearestNeighbors

from galaxy_utils.errors import check_argument


def neighbour_votes(
    train_vectors, train_labels, vectors, *, neighbours=10, num_classes=None, train_groups=None, groups=None
):
    """Let each galaxy's nearest training galaxies (Euclidean distance) vote on its class.

    Args:
        train_vectors: Shape (n, d).
        train_labels: Integers, shape (n,).
        vectors: Vectors of the galaxies that are voted on, shape (m, d).
        neighbours: How many vote on each.
        num_classes: K; `None` for the largest label plus 1.
        train_groups: Sky groups of the training galaxies, shape (n,): nobody votes on a member of the own group, be it
            the galaxy itself or a duplicate of it.
        groups: Sky groups of the galaxies that are voted on, shape (m,).

    Returns:
        Shares of the votes, shape (m, K), float64; rows sum to 1.

    Raises:
        ConfigurationError: A number of neighbours that cannot work.

    Example:
        >>> neighbour_votes([[0.0], [1.0], [9.0]], [0, 0, 1], [[2.0]], neighbours=2)
        array([[1., 0.]])
    """
    train_labels, own = np.asarray(train_labels), np.zeros(len(vectors), int)
    if groups is not None and train_groups is not None:
        own = np.array([np.sum(np.asarray(train_groups) == group) for group in groups])
    count = neighbours + int(own.max(initial=0))
    votes = np.zeros((len(vectors), num_classes or int(train_labels.max()) + 1))
    for row, found in enumerate(nearest(train_vectors, vectors, count)[0]):
        if own[row]:
            found = found[np.asarray(train_groups)[found] != groups[row]]
        votes[row] = np.bincount(train_labels[found[:neighbours]], minlength=votes.shape[1]) / neighbours
    return votes


def nearest(reference, vectors, count):
    """Find the nearest galaxies by Euclidean distance.

    Args:
        reference: Vectors of the galaxies among which to look, shape (n, d).
        vectors: Vectors of the galaxies whose neighbours are wanted, shape (m, d).
        count: How many of each; a galaxy that is in both is its own nearest.

    Returns:
        `(places, distances)`: positions in `reference` and distances, nearest first, each of shape (m, count).

    Raises:
        ConfigurationError: A count that cannot work.
    """
    enough = 1 <= count <= len(reference)
    check_argument(enough, "count", count, f"1 to {len(reference):,}, the galaxies among which to look")
    found = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(reference).kneighbors(vectors)
    return found[1], found[0]
