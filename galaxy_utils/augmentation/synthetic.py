"""Extra training images from a trained network, with labels, made from the training part alone."""

import hashlib
import math
from dataclasses import dataclass
from numbers import Real

import numpy as np

from galaxy_utils.arrays import array_header, open_or_make_array
from galaxy_utils.data.split import Split, data_fingerprint
from galaxy_utils.errors import ConfigurationError
from galaxy_utils.files import cache_folder, write_atomically
from galaxy_utils.training import encode, reconstruct

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

    A denoising autoencoder gives cleaned copies, a variational one copies decoded from draws around each galaxy's place
    in the latent space. Sources are the rows of `split.train`, each used once before any is used again; no other row is
    looked at.

    Args:
        model: A network from `denoising_autoencoder` or `variational_autoencoder`, trained.
        dataset: The `GalaxyDataset` it was trained on.
        split: The `Split` it was trained with.
        share: Synthetic images among all training images, 0 to 1. At 0.5 there is one for each original, at 0.75 there
            are three. At 1 the originals are not used at all, and there is one synthetic image for each.
        seed: Seed of the choice of sources and of the draws.

    Returns:
        `SyntheticImages`.

    Raises:
        ConfigurationError: A share outside 0 to 1, or a network that does not fit the images.
    """
    if isinstance(share, bool) or not isinstance(share, Real) or not 0 <= share <= 1:
        raise ConfigurationError(
            "The training images cannot have this share of synthetic ones.",
            where="share",
            expected="a number from 0 to 1",
            found=repr(share),
        )
    train = np.asarray(split.train)
    count = len(train) if share == 1 else round(share / (1 - share) * len(train))
    random = np.random.default_rng(seed)
    passes = [random.permutation(train) for _ in range(math.ceil(count / len(train)))]
    sources = np.concatenate([*passes, train[:0]])[:count].astype(np.int64)
    return SyntheticImages(
        images=_images_of(model, dataset, sources, seed),
        labels=np.asarray(dataset.labels)[sources],
        learned_from=train,
        share=float(share),
        made_by=model.name,
        source_rows=sources,
    )


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
    if synthetic.images.shape[1:] != tuple(dataset.images.shape[1:]):
        raise ConfigurationError(
            "The synthetic images have another size than the dataset's.",
            where=f"{synthetic.made_by} on {dataset.name}",
            expected=f"images of shape {tuple(dataset.images.shape[1:])}",
            found=f"images of shape {synthetic.images.shape[1:]}",
        )
    if strangers := len(np.setdiff1d(synthetic.learned_from, split.train)):
        raise ConfigurationError(
            "The synthetic images were learned from galaxies outside the training part: the test would leak.",
            where="synthetic.learned_from",
            expected="rows of split.train",
            found=f"{strangers} other rows",
            remedy="make them with the split that they are added to",
        )
    num_original, sources = len(dataset), synthetic.source_rows

    def extended(column, without_source=np.nan):
        if column is None:
            return None
        if sources is not None:
            return np.concatenate([column, np.asarray(column)[sources]])
        return np.concatenate([column, np.broadcast_to(without_source, (len(synthetic), *column.shape[1:]))])

    longer = dataset.replace(
        name=f"{dataset.name} and synthetic images",
        provenance=f"{dataset.provenance}; training images also from a {synthetic.made_by.replace('_', ' ')}",
        images=_ImagesOnEnd(dataset.images, synthetic.images),
        labels=np.concatenate([dataset.labels, synthetic.labels]),
        vote_fractions=extended(
            dataset.vote_fractions, np.eye(dataset.num_classes, dtype=np.float32)[synthetic.labels]
        ),
        **{name: extended(getattr(dataset, name)) for name in ("ra", "dec", "redshift", "pixel_scale")},
    )
    original_rows = split.train if synthetic.share < 1 else split.train[:0]
    return longer, Split(
        train=np.concatenate([original_rows, num_original + np.arange(len(synthetic))]),
        validation=split.validation,
        test=split.test,
        groups=extended(split.groups, 1 + split.groups.max() + np.arange(len(synthetic))),
        radius=split.radius,
        fractions=split.fractions,
        seed=split.seed,
        fingerprint=data_fingerprint(longer),
    )


def interpolate_latent(model, dataset, first, second, steps=7):
    """Decode evenly spaced points on the straight line between two galaxies in a variational autoencoder's space.

    Args:
        model: A trained network from `variational_autoencoder`.
        dataset: A `GalaxyDataset`.
        first: Row of the galaxy where the walk begins.
        second: Row of the galaxy where it ends.
        steps: How many images, both ends included; at least 2.

    Returns:
        Images, shape (steps, height, width, 3), uint8.

    Raises:
        ConfigurationError: Too few steps, or a network without a latent vector.
    """
    if not steps >= 2:
        raise ConfigurationError(
            "A walk has two ends.", where="steps", expected="an integer, at least 2", found=repr(steps)
        )
    _check_variational(model)
    start, end = _means_and_deviations(model, dataset, [first, second])[0]
    line = np.linspace(0, 1, steps, dtype=np.float32)[:, None]
    return _decode(model, (1 - line) * start + line * end)


class _ImagesOnEnd:
    """Two arrays of images that read as one; nothing is copied before it is asked for."""

    def __init__(self, first, second):
        self.first, self.second = first, second
        self.shape = (len(first) + len(second), *first.shape[1:])
        self.dtype = first.dtype

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, rows):
        rows = np.arange(len(self))[rows]
        if rows.ndim == 0:
            return self.first[int(rows)] if rows < len(self.first) else self.second[int(rows) - len(self.first)]
        is_second = rows >= len(self.first)
        images = np.empty((len(rows), *self.shape[1:]), self.dtype)
        images[~is_second] = self.first[rows[~is_second]]
        images[is_second] = self.second[rows[is_second] - len(self.first)]
        return images


def _images_of(model, dataset, sources, seed):
    """Make the images, or map them into memory where the same network made them before."""
    digest = hashlib.sha256(f"{dataset.fingerprint} {seed}".encode() + sources.tobytes())
    for weights in model.get_weights():
        digest.update(weights.tobytes())
    shape = (len(sources), *dataset.images.shape[1:])
    if not len(sources):
        return np.empty(shape, np.uint8)
    path = cache_folder() / "synthetic" / f"{model.name}_{digest.hexdigest()[:16]}.npy"

    def write():
        random = np.random.default_rng([seed, 1])
        with write_atomically(path, size=math.prod(shape)) as temporary, open(temporary, "wb") as file:
            file.write(array_header(shape, np.uint8))
            for start in range(0, len(sources), IMAGES_AT_ONCE):
                file.write(_redraw(model, dataset, sources[start : start + IMAGES_AT_ONCE], random).data)

    return open_or_make_array(path, shape, np.uint8, write)


def _redraw(model, dataset, rows, random):
    if not _is_variational(model):
        return reconstruct(model, dataset, rows)
    means, deviations = _means_and_deviations(model, dataset, rows)
    return _decode(model, means + deviations * random.standard_normal(means.shape, dtype=np.float32))


def _means_and_deviations(model, dataset, rows):
    means, log_variances = np.split(encode(model, dataset, rows), 2, axis=1)
    return means, np.exp(0.5 * log_variances)


def _decode(model, vectors):
    import keras

    # Called directly: `predict` would be compiled anew for every number of vectors.
    images = keras.ops.convert_to_numpy(model.get_layer("decoder")(vectors, training=False))
    return np.rint(255 * images).astype(np.uint8)


def _is_variational(model):
    return any(layer.name == "sample_latent" for layer in model.layers)


def _check_variational(model):
    if not _is_variational(model):
        raise ConfigurationError(
            "Only a variational autoencoder has a latent space to walk in.",
            where=model.name,
            expected="a network from variational_autoencoder",
        )
