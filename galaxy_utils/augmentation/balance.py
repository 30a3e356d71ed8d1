"""Unequal classes: which are rare, how many images they lack, and two ways to fill them up without a generator.

A third way, class weights in the loss, is part of a recipe: `recipe.replace(balanced_classes=True)`.
"""

import dataclasses

import numpy as np

from galaxy_utils.classes import OFFICIAL_CLASS_COUNTS
from galaxy_utils.errors import ConfigurationError, DataError

# Paper 2, section 3.4, calls classes with fewer images than this underrepresented, out of 17,736 in the official file.
PAPER_2_THRESHOLD = 1750
# The classes under it in the official file: Disturbed, Cigar Shaped Smooth, Edge-on without Bulge.
PAPER_2_RARE = (0, 4, 8)


def rare_classes(dataset, threshold=PAPER_2_THRESHOLD, otherwise=None):
    """Return the classes that paper 2 calls underrepresented: with fewer than 1,750 of 17,736 images.

    For a dataset of another size the threshold is the same share of it, 9.87 %.

    Args:
        dataset: A `GalaxyDataset`.
        threshold: Images in the official file's numbers.
        otherwise: Labels to take as well where fewer than two classes lie under the threshold, as in a sample that is
            balanced by design: usually `PAPER_2_RARE`. Those without a galaxy are left out. `None` for none.

    Returns:
        Labels, ascending, int64. Classes without a single galaxy are not among them: nothing can be learned about them.

    Raises:
        ConfigurationError: A threshold that is none.
        DataError: No class lies under it, and there is no galaxy of a class in `otherwise`.
    """
    official = sum(OFFICIAL_CLASS_COUNTS)
    if not 0 < threshold <= official:
        raise ConfigurationError(
            "This is no threshold.", where="threshold", expected=f"above 0, at most {official:,}", found=repr(threshold)
        )
    counts = dataset.class_counts
    limit = threshold * len(dataset) / official
    rare = np.flatnonzero((counts > 0) & (counts < limit))
    if len(rare) < 2 and otherwise is not None:
        rare = np.union1d(rare, np.intersect1d(np.asarray(otherwise, np.int64), np.flatnonzero(counts)))
    if not len(rare):
        raise DataError(
            "No class is rare.",
            where=dataset.name,
            expected=f"a class with fewer than {limit:,.1f} of {len(dataset):,} galaxies",
            found=f"a smallest class with {counts[counts > 0].min():,}",
            remedy="raise the threshold, or name the classes to take otherwise",
        )
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
    """
    labels = np.asarray(dataset.labels)
    found = np.bincount(labels[split.train], minlength=dataset.num_classes)
    if too_few := [f"{dataset.class_names[label]} {found[label]}" for label in classes if found[label] < at_least]:
        raise DataError(
            "There are too few training images to learn a class from.",
            where=f"training part of {dataset.name}",
            expected=f"at least {at_least} of each class",
            found=", ".join(too_few),
            remedy="leave the class out, add galaxies to it, or lower at_least and look for copies",
        )
    train, validation = (rows[np.isin(labels[rows], classes)] for rows in (split.train, split.validation))
    return dataclasses.replace(split, train=train, validation=validation)


def missing_images(dataset, split, target=None, classes=None):
    """Return how many training images each class lacks.

    Args:
        dataset: A `GalaxyDataset`.
        split: Its `Split`.
        target: Training images that each class is to have; `None` for as many as the largest has.
        classes: Labels that are to be filled up; `None` for all that occur.

    Returns:
        Shape (number of classes,), int64; 0 for classes that have enough and for those that are not to be filled up.
    """
    counts = np.bincount(np.asarray(dataset.labels)[split.train], minlength=dataset.num_classes)
    wanted = np.maximum((counts.max() if target is None else target) - counts, 0)
    chosen = (counts > 0) & (True if classes is None else np.isin(np.arange(len(counts)), classes))
    return np.where(chosen, wanted, 0).astype(np.int64)


def oversample(dataset, split, counts, seed=1):
    """Return the split with training galaxies of some classes listed several times.

    Args:
        dataset: A `GalaxyDataset`.
        split: Its `Split`.
        counts: How many entries to add to each class, shape (number of classes,), usually from `missing_images`.
        seed: Seed of the choice. Each galaxy of a class is repeated once before any is repeated again.

    Returns:
        A `Split` with the same validation and test parts.

    Raises:
        DataError: Entries are asked for in a class without training galaxies.
    """
    labels, random, added = np.asarray(dataset.labels)[split.train], np.random.default_rng(seed), [split.train]
    for label in np.flatnonzero(counts):
        members, name = split.train[labels == label], dataset.class_names[label]
        if not len(members):
            raise DataError(f"Class {name!r} has no training galaxy to repeat.", where=dataset.name)
        passes = -(-int(counts[label]) // len(members))
        order = np.concatenate([random.permutation(members) for _ in range(passes)])
        added.append(order[: counts[label]])
    return dataclasses.replace(split, train=np.sort(np.concatenate(added)))
