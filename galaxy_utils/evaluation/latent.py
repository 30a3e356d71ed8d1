"""Latent vectors: kept in a file beside the network that made them, and asked about their neighbours' labels."""

from pathlib import Path

import numpy as np
from sklearn.neighbors import NearestNeighbors

from galaxy_utils.arrays import read_arrays, write_arrays
from galaxy_utils.errors import ConfigurationError, DataError
from galaxy_utils.files import explain_read_errors, locked


def neighbour_votes(train_vectors, train_labels, vectors, *, neighbours=10, train_groups=None, groups=None):
    """Let each galaxy's nearest training galaxies (Euclidean distance) vote on its class.

    Args:
        train_vectors: Shape (n, d).
        train_labels: Integers, shape (n,).
        vectors: Vectors of the galaxies that are voted on, shape (m, d).
        neighbours: How many vote on each.
        train_groups: Sky groups of the training galaxies, shape (n,): nobody votes on a member of the own group, be it
            the galaxy itself or a duplicate of it.
        groups: Sky groups of the galaxies that are voted on, shape (m,).

    Returns:
        Shares of the votes, shape (m, largest label + 1), float64; rows sum to 1.

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
    votes = np.zeros((len(vectors), int(train_labels.max()) + 1))
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
    if not 1 <= count <= len(reference):
        expected = f"1 to {len(reference):,}, the galaxies among which to look"
        raise ConfigurationError("There are not so many neighbours.", expected=expected, found=count)
    found = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(reference).kneighbors(vectors)
    return found[1], found[0]


def save_vectors(path, vectors, split):
    """Keep latent vectors, and which galaxies they belong to, in a `.npz` file.

    Args:
        path: The file.
        vectors: {part of the split: vectors of its galaxies, shape (n, d)}.
        split: The `Split` that says which galaxies a part has.

    Raises:
        DataError: Another number of vectors than the part has galaxies.
        StorageError: The file cannot be written.
    """
    arrays = {"fingerprint": np.array(split.fingerprint)}
    for part, values in vectors.items():
        arrays[f"{part}_vectors"], arrays[f"{part}_rows"] = np.asarray(values), np.asarray(split.part(part))
        if len(values) != len(arrays[f"{part}_rows"]):
            raise DataError("There must be one vector for each galaxy of a part.", where=part, found=len(values))
    with locked(path):
        write_arrays(path, arrays)


def load_vectors(path):
    """Read what `save_vectors` wrote.

    Returns:
        `(vectors, rows, fingerprint)`: {part: vectors, shape (n, d)}, {part: rows of the dataset, shape (n,)}, and the
        fingerprint of the source data.

    Raises:
        DataError: The file is missing or holds something else.
    """
    path, remedy = Path(path), "run the chapter that writes it again"
    if not path.is_file():
        raise DataError("There are no such vectors.", where=path, remedy=remedy)
    with explain_read_errors("The vectors cannot be read.", path, remedy=remedy):
        arrays = read_arrays(path)
        vectors, rows = (
            {name.removesuffix(kind): array for name, array in arrays.items() if name.endswith(kind)}
            for kind in ("_vectors", "_rows")
        )
        if not vectors or any(len(rows[part]) != len(values) for part, values in vectors.items()):
            raise ValueError("vectors and rows do not belong together")
        return vectors, rows, str(arrays["fingerprint"])
