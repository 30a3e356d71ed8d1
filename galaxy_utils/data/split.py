"""An honest split: galaxies that show the same piece of sky never stand on both sides of it."""

import hashlib
import json
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from galaxy_utils.classes import CLASS_NAMES
from galaxy_utils.data.copies import find_copies
from galaxy_utils.data.positions import pairs_within
from galaxy_utils.errors import ConfigurationError, DataError, check_argument, check_integer, check_number
from galaxy_utils.files import explain_read_errors, write_json

PARTS = ("train", "validation", "test")

# Two cut-outs of 256 pixels at 0.262 arcseconds share some sky when their centres lie less than 67 arcseconds apart in
# both directions: along the diagonal, 256 · 0.262 · √2 = 95. Up to version 0.1 the radius was 33.5, half a
# cut-out, which only keeps those together that show each other's centre.
OVERLAP_RADIUS = 95.0


@dataclass(frozen=True, eq=False)
class Split:
    """Which galaxies train, which choose, and which are only looked at once.

    Attributes:
        train: Row indices, sorted, int64.
        validation: Likewise.
        test: Likewise.
        groups: Shape (n,), int64: rows with the same number show the same piece of sky.
        radius: Galaxies closer than this share a group, arcseconds.
        fractions: Wanted shares of train, validation and test.
        seed: Seed of the draw.
        fingerprint: Fingerprint of the data that were split. A dataset and its prepared copies share it, so one split
            serves every image size.
        hash: SHA-256 over the three parts and all of the above.

    Example:
        >>> parts = gu.split(galaxies)
        >>> set(parts.groups[parts.train]) & set(parts.groups[parts.test])
        set()
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    groups: np.ndarray
    radius: float
    fractions: tuple
    seed: int
    fingerprint: str
    hash: str = field(init=False)

    def __post_init__(self):
        for name in (*PARTS, "groups"):
            rows = np.array(getattr(self, name), dtype=np.int64)
            rows.setflags(write=False)
            object.__setattr__(self, name, rows)
        object.__setattr__(self, "fractions", tuple(float(fraction) for fraction in self.fractions))
        object.__setattr__(self, "hash", hashlib.sha256(json.dumps(self._content()).encode()).hexdigest())

    def _content(self):
        settings = {"radius": float(self.radius), "fractions": list(self.fractions), "seed": int(self.seed)}
        rows = {name: getattr(self, name).tolist() for name in (*PARTS, "groups")}
        return {"fingerprint": self.fingerprint, **settings, **rows}

    def part(self, name):
        """Return the rows of `"train"`, `"validation"` or `"test"`.

        Raises:
            ConfigurationError: There is no such part.
        """
        check_argument(name in PARTS, "part", name, f"one of {', '.join(PARTS)}")
        return getattr(self, name)

    def with_fewer(self, num_train, seed=1):
        """Return the same split with at most `num_train` training galaxies, drawn at random; the rest stay unused.

        Args:
            num_train: Training galaxies to keep, at least 1.
            seed: Seed of the draw.

        Raises:
            ConfigurationError: `num_train` is no integer, or smaller than 1.
        """
        check_integer("num_train", num_train, 1)
        drawn = np.random.default_rng(seed).permutation(self.train)[:num_train]
        return replace(self, train=np.sort(drawn))

    @property
    def sizes(self):
        """Galaxies in each part, as a dictionary."""
        return {name: len(self.part(name)) for name in PARTS}

    def save(self, path):
        """Write the split as JSON, with its hash."""
        write_json(path, {"hash": self.hash, **self._content()})

    @classmethod
    def load(cls, path, dataset):
        """Read a split that `save` wrote, and check that it is whole and belongs to `dataset`.

        A split keeps the radius that it was made with.

        Args:
            path: The JSON file.
            dataset: The galaxies it must belong to.

        Raises:
            DataError: The file is missing, unreadable, was changed by hand, or belongs to other data.
        """
        path = Path(path)
        remedy = "Delete the file and split again."
        if not path.exists():
            raise DataError("There is no saved split.", where=path, remedy="Make one with split().")
        with explain_read_errors("The saved split cannot be read.", path, remedy=remedy):
            content = json.loads(path.read_text(encoding="utf-8"))
            written_hash = content.pop("hash")
            split = cls(**content)
        if split.hash != written_hash:
            raise DataError("The saved split was changed after it was written.", where=path, remedy=remedy)
        if split.fingerprint != data_fingerprint(dataset):
            raise DataError("The saved split belongs to other data.", where=path, remedy=remedy)
        return split

    def __repr__(self):
        sizes = ", ".join(f"{name} {size:,}" for name, size in self.sizes.items())
        return f'Split({sizes}; groups within {self.radius:g}", seed {self.seed}, hash {self.hash[:12]})'


def split(dataset, radius=OVERLAP_RADIUS, fractions=(0.65, 0.15, 0.20), seed=1):
    """Divide galaxies into train, validation and test by sky group, class by class, in two stages.

    The test part is drawn first, then the validation part from what is left (paper 1's two-stage stratified split), and
    the rest trains. Whole groups are drawn: first those of several galaxies, then single galaxies until each class has
    its share, which therefore comes out within one galaxy wherever a class has enough single galaxies.

    Args:
        dataset: A `GalaxyDataset`, or any object with `labels`, `ra` and `dec`.
        radius: Galaxies closer than this share a group, arcseconds. At the default, the diagonal of a cut-out,
            no part shows sky that another part shows too.
        fractions: Shares of train, validation and test; they sum to 1.
        seed: The same seed gives the same split.

    Returns:
        A `Split`. Its rows are in the order of the dataset, which may be that of the classes: shuffle before you take
        the first few.

    Raises:
        ConfigurationError: `fractions` or `radius` make no sense.
        DataError: A class has too few galaxies, or too few groups, for three parts.

    Example:
        >>> sum(gu.split(galaxies).sizes.values())
        400
    """
    if len(fractions) != 3 or min(fractions) <= 0 or not np.isclose(sum(fractions), 1):
        raise ConfigurationError("fractions must be three numbers above 0 that sum to 1.", found=repr(fractions))
    check_number("radius", radius, "[0, 3600)")
    labels, groups = np.asarray(dataset.labels), galaxy_groups(dataset, radius)
    random = np.random.default_rng(seed)
    is_test = _draw(labels, groups, np.ones(len(labels), bool), fractions[2], random)
    is_validation = _draw(labels, groups, ~is_test, fractions[1] / (1 - fractions[2]), random)
    parts = {"train": ~is_test & ~is_validation, "validation": is_validation, "test": is_test}
    for label, class_name in enumerate(getattr(dataset, "class_names", CLASS_NAMES)):
        # A class that the data lack altogether is missing from no part.
        if label not in labels:
            continue
        if missing := [name for name, is_part in parts.items() if not np.any(labels[is_part] == label)]:
            problem = f"Class {class_name!r} has too few galaxies or sky groups: none is left for {missing[0]}."
            found = f"{np.sum(labels == label)} galaxies in {len(np.unique(groups[labels == label]))} groups"
            remedy = "Add galaxies of this class, leave the class out, or use a smaller radius."
            raise DataError(problem, expected="at least 3 groups of each class", found=found, remedy=remedy)
    rows = [np.flatnonzero(is_part) for is_part in parts.values()]
    return Split(*rows, groups, radius, fractions, seed, data_fingerprint(dataset))


def _draw(labels, groups, candidates, fraction, random):
    """Draw whole groups among the candidate rows so that each class gives `fraction` of its rows; return a mask."""
    drawn = np.zeros(len(labels), bool)
    rows = random.permutation(np.flatnonzero(candidates))
    sizes = np.bincount(groups)[groups]

    # Groups of several galaxies, the largest first. A group is drawn when that brings the counts of its classes nearer
    # to `fraction` of what was seen of them so far.
    members = {}
    for row in rows[sizes[rows] > 1]:
        members.setdefault(groups[row], []).append(row)
    num_classes = labels.max() + 1
    seen, taken = np.zeros((2, num_classes))
    for group in sorted(members.values(), key=len, reverse=True):
        counts = np.bincount(labels[group], minlength=num_classes)
        seen += counts
        if np.sum((taken + counts - fraction * seen) ** 2) < np.sum((taken - fraction * seen) ** 2):
            drawn[group] = True
            taken += counts

    # Single galaxies make up each class's number, at least one wherever one can be spared.
    singles = rows[sizes[rows] == 1]
    for label in range(num_classes):
        wanted = max(1, round(fraction * np.sum(labels[rows] == label))) - int(taken[label])
        drawn[singles[labels[singles] == label][: max(0, wanted)]] = True
    return drawn


def galaxy_groups(dataset, radius=OVERLAP_RADIUS):
    """Number the groups of galaxies that must not be parted.

    Galaxies closer than `radius` share a group, and so do copies of one image, whatever their coordinates: identical
    pixels, turned, mirrored, saved again, resized, slightly shifted (`data.copies.find_copies`). A line says how many
    copies were found that coordinates do not tell.

    Args:
        dataset: A `GalaxyDataset`, or any object with `labels`, `ra` and `dec` (`None` or NaN where unknown; then it
            needs `images` too).
        radius: Arcseconds.

    Returns:
        Shape (n,), int64, numbered from 0 in the order of each group's first row.

    Raises:
        DataError: Galaxies without coordinates have no images either.
    """
    ra, dec = _coordinates(dataset)
    pairs = pairs_within(ra, dec, radius)
    groups = _connected(pairs, len(ra))
    if getattr(dataset, "images", None) is None:
        if np.isnan(ra).any():
            raise DataError("Some galaxies have no coordinates, and there are no images to compare instead.")
        return groups
    copies, rows = find_copies(dataset), np.arange(len(ra))
    found = np.stack([rows, copies["turned"]], axis=1), copies["near"]
    same, near = (some[groups[some[:, 0]] != groups[some[:, 1]]] for some in found)
    if len(same) or len(near):
        told = f"{len(same):,} identical, turned or mirrored copies of images and {len(near):,} pairs of similar ones"
        print(f"{told} (saved again, resized, shifted) without coordinates or at others: each stays with its original")
    return _connected(np.concatenate([pairs, same, near]), len(ra))


def sky_groups(ra, dec, radius=OVERLAP_RADIUS):
    """Number the groups of galaxies that are linked by distances of at most `radius` on the sphere.

    Args:
        ra: Right ascension, degrees, shape (n,). A galaxy with NaN stands alone.
        dec: Declination, degrees, likewise.
        radius: Arcseconds.

    Returns:
        Shape (n,), int64, numbered from 0 in the order of each group's first row.
    """
    return _connected(pairs_within(ra, dec, radius), len(ra))


def close_pairs(ra, dec, radius=OVERLAP_RADIUS):
    """Return the pairs of rows at most `radius` arcseconds apart, shape (k, 2), int64, sorted."""
    return np.unique(pairs_within(ra, dec, radius), axis=0)


def exact_pairs(dataset):
    """Return the pairs of rows that show the very same thing.

    That is: identical coordinates or, for galaxies without coordinates, identical pixels.

    Args:
        dataset: As for `galaxy_groups`.

    Returns:
        Row pairs, shape (k, 2), int64, sorted, the smaller row first. Three equal rows make three pairs.
    """
    ra, dec = _coordinates(dataset)
    known = np.flatnonzero(~np.isnan(ra))
    pairs = _equal_pairs({row: (ra[row], dec[row]) for row in known})
    if len(known) < len(ra):
        # All images are compared: a galaxy without coordinates may repeat one that has them.
        identical = _equal_pairs(dict(enumerate(find_copies(dataset)["identical"])))
        pairs = np.concatenate([pairs, identical[np.isnan(ra[identical]).any(axis=1)]])
    return np.unique(np.sort(pairs, axis=1), axis=0)


def conflicting_rows(dataset):
    """Return a mask, shape (n,): galaxies that stand in the data a second time under another label."""
    labels = np.asarray(dataset.labels)
    pairs = exact_pairs(dataset)
    return np.isin(np.arange(len(labels)), pairs[labels[pairs[:, 0]] != labels[pairs[:, 1]]])


def data_fingerprint(dataset):
    """Return the fingerprint that ties a split to its data: the source's, or a hash of labels and coordinates."""
    if fingerprint := getattr(dataset, "source_fingerprint", ""):
        return fingerprint
    columns = (dataset.labels, dataset.ra, dataset.dec)
    content = b"".join(b"-" if column is None else np.ascontiguousarray(column).tobytes() for column in columns)
    return hashlib.sha256(content).hexdigest()[:16]


def _coordinates(dataset):
    if dataset.ra is None or dataset.dec is None:
        return np.full((2, len(dataset.labels)), np.nan)
    places = np.array([dataset.ra, dataset.dec], float)
    places[:, np.isnan(places).any(axis=0)] = np.nan
    return places


def _connected(pairs, num_rows):
    links = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(num_rows, num_rows))
    _, groups = connected_components(links, directed=False)
    return groups.astype(np.int64)


def _equal_pairs(keys):
    rows_of_key = {}
    for row, key in keys.items():
        rows_of_key.setdefault(key, []).append(row)
    pairs = [pair for rows in rows_of_key.values() if len(rows) > 1 for pair in combinations(rows, 2)]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)
