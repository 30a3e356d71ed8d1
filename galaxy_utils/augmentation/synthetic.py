"""Extra training images from a trained network, with labels, made from the training part alone."""

import dataclasses
import math
import tempfile
from dataclasses import dataclass

import numpy as np

from galaxy_utils.data.split import data_fingerprint
from galaxy_utils.errors import ConfigurationError
from galaxy_utils.files import cache_folder, explain_write_errors
from galaxy_utils.training import encode, finite, reconstruct

# As many images are made at a time, so that memory stays flat.
IMAGES_AT_ONCE = 256


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
    """

    images: np.ndarray
    labels: np.ndarray
    learned_from: np.ndarray
    share: float
    made_by: str
    source_rows: np.ndarray | None = None

    def __len__(self):
        return len(self.labels)


def make_synthetic(model, dataset, split, share=0.5, seed=1):
    """Make as many synthetic images as it takes for them to be a given share of the training images.

    A denoising autoencoder gives cleaned copies, a variational one copies decoded from samples of each galaxy's
    distribution in the latent space. A network counts as variational when it has layers `"encoder"` and `"decoder"`.
    Sources are the rows of `split.train`, each used once before any is used again; no other row is looked at.

    Args:
        model: A trained network like that of `denoising_autoencoder` or `variational_autoencoder`.
        dataset: The `GalaxyDataset` it was trained on.
        split: The `Split` it was trained with.
        share: Synthetic images among all training images, 0 to 1. At 0.5 there is one for each original, at 0.75 there
            are three. At 1 the originals are not used at all, and there is one synthetic image for each.
        seed: Seed of the choice of sources and of the samples.

    Returns:
        `SyntheticImages`.

    Raises:
        ConfigurationError: A share outside 0 to 1, or a network that does not fit the images.

    Example:
        >>> copies = make_synthetic(vae, galaxies, split, share=0.5)  # doctest: +SKIP
        >>> more_galaxies, longer_split = add_synthetic(galaxies, split, copies)  # doctest: +SKIP
    """
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 <= share <= 1:
        raise ConfigurationError("Not a share.", where="share", expected="a number from 0 to 1", found=repr(share))
    train = np.asarray(split.train)
    count = len(train) if share == 1 else round(share / (1 - share) * len(train))
    random = np.random.default_rng(seed)
    passes = [random.permutation(train) for _ in range(math.ceil(count / len(train)))]
    sources = np.concatenate([*passes, train[:0]])[:count].astype(np.int64)
    images = _images_of(model, dataset, sources, np.random.default_rng([seed, 1]))
    return SyntheticImages(images, np.asarray(dataset.labels)[sources], train, float(share), model.name, sources)


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
    """
    if not len(synthetic):
        return dataset, split
    made, wanted = synthetic.images.shape[1:], tuple(dataset.images.shape[1:])
    if made != wanted:
        raise ConfigurationError("The synthetic images have another size.", expected=f"{wanted}", found=f"{made}")
    if strangers := len(np.setdiff1d(synthetic.learned_from, split.train)):
        raise ConfigurationError(
            "The synthetic images were learned from galaxies outside the training part: the test would leak.",
            where="synthetic.learned_from", expected="rows of split.train", found=f"{strangers} other rows",
        )  # fmt: skip
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


def interpolate_latent(model, dataset, first, second, steps=7):
    """Decode evenly spaced points on the straight line between two galaxies in a variational autoencoder's space.

    Args:
        model: A trained network like that of `variational_autoencoder`.
        dataset: A `GalaxyDataset`.
        first: Row of the galaxy where the line begins.
        second: Row of the galaxy where it ends.
        steps: How many images, both ends included; at least 2.

    Returns:
        Images, shape (steps, height, width, 3), uint8.

    Raises:
        ConfigurationError: A network without an encoder.

    Example:
        >>> images = interpolate_latent(vae, galaxies, 0, 1, steps=5)  # doctest: +SKIP
    """
    start, end = np.split(encode(model, dataset, [first, second]), 2, axis=1)[0]
    line = np.linspace(0, 1, steps, dtype=np.float32)[:, None]
    return _decode(model, (1 - line) * start + line * end)


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


def _images_of(model, dataset, sources, random):
    """Make the images, in a file without a name that is mapped into memory: there may be gigabytes of them."""
    shape = (len(sources), *dataset.images.shape[1:])
    folder = cache_folder() / "synthetic"
    with explain_write_errors(folder / model.name, math.prod(shape)):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            for start in range(0, len(sources), IMAGES_AT_ONCE):
                file.write(_reconstructed(model, dataset, sources[start : start + IMAGES_AT_ONCE], random).data)
            file.flush()
            return np.memmap(file, np.uint8, "r", shape=shape) if len(sources) else np.empty(shape, np.uint8)


def _reconstructed(model, dataset, rows, random):
    if not {"encoder", "decoder"} <= {layer.name for layer in model.layers}:
        return reconstruct(model, dataset, rows)
    means, log_variances = np.split(encode(model, dataset, rows), 2, axis=1)
    return _decode(model, means + np.exp(0.5 * log_variances) * random.standard_normal(means.shape, dtype=np.float32))


def _decode(model, vectors):
    # Called directly: `predict` would be compiled anew for every number of vectors.
    return np.rint(255 * finite(model, model.get_layer("decoder")(vectors, training=False))).astype(np.uint8)
