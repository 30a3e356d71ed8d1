"""Extra training images from a trained network, with labels, made from the training part alone."""

import dataclasses
from dataclasses import dataclass

import numpy as np

from galaxy_utils.data.split import data_fingerprint
from galaxy_utils.errors import ConfigurationError


@dataclass(frozen=True, eq=False)
class SyntheticImages:
    """Images that a network made after training galaxies.

    Attributes:
        images: Shape (k, height, width, 3), uint8.
        labels: Shape (k,), int64: the class of each.
        learned_from: Rows of the galaxies that the network was trained on, int64.
        share: Share of the training images that are to be synthetic.
        made_by: Name of the network.
        source_rows: Shape (k,), int64: the galaxy that each is a copy of; everything known about it goes with the copy.
            `None` where no single galaxy stands behind an image.

    Example:
        >>> made = SyntheticImages(images, galaxies.labels[:5], split.train, share=0.1, made_by="somebody")
        >>> len(made.labels), made.source_rows
        (5, None)
    """

    images: np.ndarray
    labels: np.ndarray
    learned_from: np.ndarray
    share: float
    made_by: str
    source_rows: np.ndarray | None = None

    def __len__(self):
        return len(self.labels)


def add_synthetic(dataset, split, synthetic):
    """Return the dataset and split with synthetic images among the training galaxies, and nowhere else.

    The synthetic images stand behind the dataset's rows, so that every galaxy keeps its own. A copy belongs to the sky
    group of its source; an image without a source has no coordinates and is a group of its own. Validation and test are
    the same rows as before.

    Args:
        dataset: The `GalaxyDataset` that the images were made from.
        split: The `Split` they were made with, or one with more training galaxies.
        synthetic: `SyntheticImages`. Add several kinds one after the other.

    Returns:
        `(dataset, split)` for `gu.fit`. Without synthetic images these are the two that were given.

    Raises:
        ConfigurationError: Images of another size, or made by a network that has seen galaxies outside this training
            part.

    Example:
        >>> made = SyntheticImages(images, galaxies.labels[:5], split.train, share=0.1, made_by="somebody")
        >>> more, parts = add_synthetic(galaxies, split, made)
        >>> len(more) - len(galaxies), len(parts.train) - len(split.train), len(parts.test) - len(split.test)
        (5, 5, 0)
    """
    if not len(synthetic):
        return dataset, split
    made, wanted = synthetic.images.shape[1:], tuple(dataset.images.shape[1:])
    if made != wanted:
        raise ConfigurationError("The synthetic images have another size.", expected=f"{wanted}", found=f"{made}")
    if strangers := len(np.setdiff1d(synthetic.learned_from, split.train)):
        problem = "The synthetic images were learned from galaxies outside the training part: the test would leak."
        raise ConfigurationError(problem, expected="rows of split.train", found=f"{strangers} other rows")
    sources, rows = synthetic.source_rows, np.arange(len(synthetic))

    def extended(column, without_source=np.nan):
        if column is None:
            return None
        new = np.broadcast_to(without_source, (len(synthetic), *column.shape[1:]))
        return np.concatenate([column, new if sources is None else np.asarray(column)[sources]])

    one_hot = np.eye(dataset.num_classes, dtype=np.float32)[synthetic.labels]
    longer = dataset.replace(
        name=f"{dataset.name} and synthetic images",
        provenance=f"{dataset.provenance}; training images also from a {synthetic.made_by.replace('_', ' ')}",
        images=_ImagesOnEnd(dataset.images, synthetic.images),
        labels=np.concatenate([dataset.labels, synthetic.labels]),
        vote_fractions=extended(dataset.vote_fractions, one_hot),
        **{name: extended(getattr(dataset, name)) for name in ("ra", "dec", "redshift", "pixel_scale")},
    )
    return longer, dataclasses.replace(
        split,
        train=np.concatenate([split.train if synthetic.share < 1 else split.train[:0], len(dataset) + rows]),
        groups=extended(split.groups, 1 + split.groups.max() + rows),
        fingerprint=data_fingerprint(longer),
    )


class _ImagesOnEnd:
    """Two arrays of images that read as one; nothing is copied before it is asked for."""

    def __init__(self, first, second):
        self.first, self.second = first, second
        self.shape, self.dtype = (len(first) + len(second), *first.shape[1:]), first.dtype

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, rows):
        rows = np.arange(len(self))[rows]
        flat = np.atleast_1d(rows)
        second = flat >= len(self.first)
        images = np.empty((len(flat), *self.shape[1:]), self.dtype)
        images[~second] = self.first[flat[~second]]
        images[second] = self.second[flat[second] - len(self.first)]
        return images if rows.ndim else images[0]
