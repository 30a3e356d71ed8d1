"""Unequal classes: which are rare, and the split that shows a generator nothing else."""

import dataclasses

import numpy as np

from galaxy_utils.classes import OFFICIAL_CLASS_COUNTS
from galaxy_utils.errors import DataError

# Paper 2, section 3.4, calls classes with fewer images than this underrepresented, out of 17,736 in the official file.
PAPER_2_THRESHOLD = 1750
# The classes under it in the official file: Disturbed, Cigar Shaped Smooth, Edge-on without Bulge.
PAPER_2_RARE = (0, 4, 8)


def rare_classes(dataset, otherwise=None):
    """Return the classes that paper 2 calls underrepresented: with fewer than 1,750 of 17,736 images.

    For a dataset of another size the threshold is the same share of it, 9.87 %.

    Args:
        dataset: A `GalaxyDataset`.
        otherwise: Labels, or names of classes, to take as well where fewer than two classes lie under the threshold, as
            in a sample that is balanced by design. Those that the dataset lacks are left out; where fewer than two are
            left, its smallest classes fill the two places. `None` for none.

    Returns:
        Labels, ascending, int64. Classes without a single galaxy are not among them: nothing can be learned about them.

    Raises:
        DataError: No class lies under the threshold, and `otherwise` is `None`.

    Example:
        >>> gu.augmentation.rare_classes(galaxies, otherwise=(0, 4, 8)).tolist()
        [0, 4, 8]
    """
    counts = dataset.class_counts
    limit = PAPER_2_THRESHOLD * len(dataset) / sum(OFFICIAL_CLASS_COUNTS)
    rare = np.flatnonzero((counts > 0) & (counts < limit))
    if len(rare) < 2 and otherwise is not None:
        named = [label for label, name in enumerate(dataset.class_names) if {label, name} & set(otherwise)]
        rare = np.union1d(rare, np.intersect1d(np.asarray(named, np.int64), np.flatnonzero(counts)))
        smallest = [label for label in np.argsort(counts, kind="stable") if counts[label] and label not in rare]
        rare = np.union1d(rare, smallest[: max(0, 2 - len(rare))]).astype(np.int64)
    if not len(rare):
        expected = f"a class with fewer than {limit:,.1f} of {len(dataset):,} galaxies"
        found, remedy = f"a smallest class with {counts[counts > 0].min():,}", "name the classes to take otherwise"
        raise DataError("No class is rare.", where=dataset.name, expected=expected, found=found, remedy=remedy)
    return rare


def with_classes(dataset, split, classes, at_least=20):
    """Return the split with the training and validation galaxies of some classes only; the test part stays whole.

    Args:
        dataset: A `GalaxyDataset`.
        split: Its `Split`.
        classes: Labels.
        at_least: Training images that each of these classes must have. With fewer, a generator memorises them.

    Returns:
        A `Split`.

    Raises:
        DataError: A class has too few training images.

    Example:
        >>> few = gu.augmentation.with_classes(galaxies, split, [0, 4])
        >>> np.unique(galaxies.labels[few.train]).tolist()
        [0, 4]
    """
    labels = np.asarray(dataset.labels)
    found = np.bincount(labels[split.train], minlength=dataset.num_classes)
    if too_few := [f"{dataset.class_names[label]} {found[label]}" for label in classes if found[label] < at_least]:
        problem, expected = "Too few training images to learn a class from.", f"at least {at_least} of each class"
        remedy = "leave the class out, add galaxies to it, or lower at_least and look for copies"
        raise DataError(problem, where=dataset.name, expected=expected, found=", ".join(too_few), remedy=remedy)
    train, validation = (rows[np.isin(labels[rows], classes)] for rows in (split.train, split.validation))
    return dataclasses.replace(split, train=train, validation=validation)
