"""What a latent space knows: how well classes part in it, who lies near whom, what changes along an axis.

Every function takes vectors, shape (n, d): `encode` makes them from galaxies, `averaged_pixels` makes the control that
needs no network. Principal components come from scikit-learn's `PCA` as it is.
"""

from dataclasses import dataclass
from numbers import Integral
from pathlib import Path

import numpy as np

from galaxy_utils.arrays import read_arrays, write_arrays
from galaxy_utils.errors import ConfigurationError, DataError
from galaxy_utils.evaluation.significance import mean_with_interval
from galaxy_utils.files import explain_read_errors, locked


@dataclass(frozen=True)
class Separation:
    """How well the classes part in a space.

    Attributes:
        neighbour_accuracy: Share of galaxies whose nearest training galaxies vote for their class.
        neighbour_interval: Its 95 % interval, `(low, high)`.
        silhouette: Mean silhouette of the classes (Rousseeuw 1987), −1 to 1: of each galaxy, the mean distance to the
            nearest other class minus that to its own, divided by the larger of the two. 0 is no separation.
        silhouette_interval: Its 95 % interval. Each galaxy's silhouette is held fixed while galaxies are resampled.
        dimensions: Numbers in a vector.
    """

    neighbour_accuracy: float
    neighbour_interval: tuple
    silhouette: float
    silhouette_interval: tuple
    dimensions: int


def separation(
    train_vectors,
    train_labels,
    vectors,
    labels,
    *,
    neighbours=10,
    bootstrap_samples=1000,
    seed=1,
    groups=None,
):
    """Measure how well classes part, on galaxies that the space was not made from.

    Args:
        train_vectors: Vectors of the training galaxies, whose labels vote, shape (n, d).
        train_labels: Their labels, integers, shape (n,).
        vectors: Vectors of the galaxies that are scored, shape (m, d).
        labels: Their labels, shape (m,).
        neighbours: How many training galaxies vote on each.
        bootstrap_samples: Resamplings behind each interval.
        seed: Seed of the resamplings.
        groups: Sky groups of the scored galaxies, shape (m,), drawn together; `None` draws single galaxies.

    Returns:
        A `Separation`.

    Raises:
        DataError: Arrays that do not fit together, or scored galaxies of a single class.
        ConfigurationError: A number of neighbours that cannot work.
    """
    labels = np.asarray(labels)
    votes = neighbour_votes(train_vectors, train_labels, vectors, neighbours=neighbours)
    if len(labels) != len(votes) or not 2 <= len(np.unique(labels)) < len(labels):
        raise DataError(
            "The separation of these classes cannot be measured.",
            where="labels",
            expected=f"{len(votes):,} labels, of at least two classes and fewer classes than galaxies",
            found=f"{len(labels):,} labels of {len(np.unique(labels))} classes",
        )

    from sklearn.metrics import silhouette_samples

    interval = {"bootstrap_samples": bootstrap_samples, "seed": seed, "groups": groups}
    accuracy, *accuracy_interval = mean_with_interval(votes.argmax(axis=1) == labels, **interval)
    silhouette, *silhouette_interval = mean_with_interval(silhouette_samples(vectors, labels), **interval)
    return Separation(
        accuracy, tuple(accuracy_interval), silhouette, tuple(silhouette_interval), int(np.shape(vectors)[1])
    )


def neighbour_votes(train_vectors, train_labels, vectors, *, neighbours=10, train_groups=None, groups=None):
    """Return how the nearest training galaxies of each galaxy vote.

    Args:
        train_vectors: Shape (n, d).
        train_labels: Integers, shape (n,).
        vectors: Shape (m, d).
        neighbours: How many training galaxies vote.
        train_groups: Sky groups of the training galaxies, shape (n,).
        groups: Sky groups of the others, shape (m,). With both, nobody votes on a galaxy of its own group: not itself,
            not its twin.

    Returns:
        Shares of the votes, shape (m, largest label + 1), float64; rows sum to 1. A tie goes to the smaller label when
        the largest share is taken.

    Raises:
        DataError: Vectors of different lengths, or columns that do not fit them.
        ConfigurationError: A number of neighbours that cannot work.
    """
    train_vectors, vectors = _checked_vectors(train_vectors, "train_vectors"), _checked_vectors(vectors, "vectors")
    train_labels = np.asarray(train_labels)
    if train_vectors.shape[1] != vectors.shape[1] or train_labels.shape != (len(train_vectors),):
        raise DataError(
            "Vectors and labels do not belong together.",
            where="train_vectors, train_labels, vectors",
            expected=f"vectors of {train_vectors.shape[1]} numbers, {len(train_vectors):,} labels",
            found=f"vectors of {vectors.shape[1]} numbers, labels of shape {train_labels.shape}",
        )
    own = np.zeros(len(vectors), int)
    if groups is not None and train_groups is not None:
        own = np.array([np.sum(np.asarray(train_groups) == group) for group in groups])
    places, _ = nearest(train_vectors, vectors, neighbours + int(own.max(initial=0)))
    votes = np.zeros((len(vectors), int(train_labels.max()) + 1))
    for row, found in enumerate(places):
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
        DataError: Something that is no set of vectors.
        ConfigurationError: A count that cannot work.
    """
    reference, vectors = _checked_vectors(reference, "reference"), _checked_vectors(vectors, "vectors")
    if isinstance(count, bool) or not isinstance(count, Integral) or not 1 <= count <= len(reference):
        raise ConfigurationError(
            "There cannot be so many neighbours.",
            where="count of neighbours",
            expected=f"1 to {len(reference):,}, the galaxies among which to look",
            found=repr(count),
        )

    from sklearn.neighbors import NearestNeighbors

    distances, places = NearestNeighbors(n_neighbors=int(count), algorithm="brute").fit(reference).kneighbors(vectors)
    return places, distances


def walk(decoder, components, axis=0, reach=2.0, steps=7, start=None):
    """Decode points along a principal axis.

    Args:
        decoder: A Keras model from vectors to images in [0, 1], usually `model.get_layer("decoder")`.
        components: A fitted scikit-learn `PCA` of the latent space.
        axis: Which principal axis, counted from 0.
        reach: How far to go to either side, in standard deviations of the galaxies along this axis.
        steps: How many points, at least 2; an odd number has the start in its middle.
        start: Vector to start from, shape (d,); `None` for the mean of the galaxies.

    Returns:
        `(images, positions)`: uint8, shape (steps, height, width, 3), and the steps in standard deviations.

    Raises:
        ConfigurationError: An axis, a reach or a number of steps that cannot work.
    """
    if not isinstance(axis, Integral) or not 0 <= axis < len(components.components_):
        raise ConfigurationError(
            "There is no such principal axis.",
            where="axis",
            expected=f"0 to {len(components.components_) - 1}",
            found=repr(axis),
        )
    if not np.isfinite(reach) or reach <= 0:
        raise ConfigurationError("A walk has to go somewhere.", where="reach", expected="above 0", found=repr(reach))
    if not isinstance(steps, Integral) or steps < 2:
        raise ConfigurationError("This is no walk.", where="steps", expected="at least 2", found=repr(steps))
    positions = np.linspace(-reach, reach, steps)
    direction = components.components_[axis] * np.sqrt(components.explained_variance_[axis])
    vectors = (components.mean_ if start is None else np.asarray(start)) + positions[:, None] * direction
    images = np.asarray(decoder.predict_on_batch(vectors.astype(np.float32)))
    return np.rint(255 * np.clip(images, 0, 1)).astype(np.uint8), positions


def umap_plane(train_vectors, vectors, seed=1):
    """Lay vectors out in a plane with UMAP (McInnes et al. 2018), if its library is installed.

    Args:
        train_vectors: Vectors from which the layout is learned, shape (n, d).
        vectors: Vectors that are laid out, shape (m, d).
        seed: Seed of the layout.

    Returns:
        Points, shape (m, 2), float32; `None` without the library, which is called `umap-learn` and is optional.
    """
    try:
        import umap
    except ImportError:
        return None
    layout = umap.UMAP(random_state=seed, n_jobs=1).fit(_checked_vectors(train_vectors, "train_vectors"))
    return layout.transform(_checked_vectors(vectors, "vectors"))


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
    arrays = {}
    for part, values in vectors.items():
        rows = np.asarray(split.part(part))
        arrays[f"{part}_vectors"], arrays[f"{part}_rows"] = _checked_vectors(values, part), rows
        if len(values) != len(rows):
            raise DataError(
                "These vectors do not belong to this part.",
                where=part,
                expected=f"{len(rows):,} vectors",
                found=f"{len(values):,}",
            )
    with locked(path):
        write_arrays(path, {**arrays, "fingerprint": np.array(split.fingerprint)})


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
        parts = [name.removesuffix("_vectors") for name in arrays if name.endswith("_vectors")]
        vectors = {part: _checked_vectors(arrays[f"{part}_vectors"], part) for part in parts}
        rows = {part: arrays[f"{part}_rows"] for part in parts}
        if not parts or any(rows[part].shape != (len(vectors[part]),) for part in parts):
            raise ValueError("vectors and rows do not belong together")
        return vectors, rows, str(arrays["fingerprint"])


def _checked_vectors(vectors, name):
    vectors = np.asarray(vectors)
    if vectors.ndim != 2 or 0 in vectors.shape or not np.isfinite(vectors).all():
        raise DataError(
            "These are no vectors.",
            where=name,
            expected="finite numbers, shape (galaxies, dimensions)",
            found=f"shape {vectors.shape}" if vectors.ndim != 2 or 0 in vectors.shape else "NaN or infinity",
        )
    return vectors
