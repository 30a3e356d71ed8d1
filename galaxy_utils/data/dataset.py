"""The one type that every source of galaxies returns."""

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from galaxy_utils.classes import CLASS_NAMES
from galaxy_utils.data.rows import checked_rows, image_blocks
from galaxy_utils.errors import DataError
from galaxy_utils.wording import counted

COLUMNS = ("labels", "ra", "dec", "redshift", "pixel_scale", "vote_fractions")


@dataclass(frozen=True, eq=False)
class GalaxyDataset:
    """Galaxies with labels, whatever their source: official file, simulated survey or a folder of images.

    Attributes:
        name: Short name of the source, e.g. `"galaxy10"`, `"simulated"` or the folder's name.
        provenance: One line for figure captions that says what these galaxies are, e.g. "simulated, not real".
        images: Lazy array, shape (n, height, width, 3), dtype uint8, RGB. Slices and integer arrays work as in NumPy;
            nothing is read before it is indexed. `images[i]` is one image.
        labels: Shape (n,), dtype int64.
        class_names: One name per label.
        ra: Right ascension, degrees, shape (n,), float64; `None` where the source has no coordinates. A single
            galaxy without coordinates has NaN.
        dec: Declination, degrees, likewise.
        redshift: Shape (n,), float64, NaN where unknown; `None` where the source has none.
        pixel_scale: Shape (n,), float64, arcseconds per pixel of `images`; `None` where unknown.
        vote_fractions: Shape (n, number of classes), float32, rows sum to 1; `None` where the source has none.
        is_simulated: Whether the galaxies were made by a program.
        crop_fraction: Share of each source image's side that `prepare` kept; 1 where it was not prepared.
        fingerprint: Sixteen hexadecimal digits that change when the data change.
        source_fingerprint: Fingerprint of the dataset that this one was prepared from; its own where it was not
            prepared. Ties a split to its data at every image size.

    Example:
        >>> galaxies.image_size, galaxies.num_classes, len(galaxies)
        (32, 10, 400)
    """

    name: str
    provenance: str
    images: Any
    labels: np.ndarray
    class_names: tuple = CLASS_NAMES
    ra: np.ndarray | None = None
    dec: np.ndarray | None = None
    redshift: np.ndarray | None = None
    pixel_scale: np.ndarray | None = None
    vote_fractions: np.ndarray | None = None
    is_simulated: bool = False
    crop_fraction: float = 1.0
    fingerprint: str = ""
    source_fingerprint: str = ""

    def __post_init__(self):
        if len(self.images.shape) != 4 or self.images.shape[-1] != 3 or self.images.dtype != np.uint8:
            problem, expected = "The images are not 8-bit RGB.", "shape (n, height, width, 3), dtype uint8"
            found = f"shape {tuple(self.images.shape)}, dtype {self.images.dtype}"
            raise DataError(problem, where=f"images of {self.name}", expected=expected, found=found)
        for column in COLUMNS:
            values = getattr(self, column)
            if values is not None and len(values) != len(self):
                problem, where = "A column must have one entry per image.", f"{column} of {self.name}"
                expected, found = f"{len(self):,} entries", f"{len(values):,} entries"
                raise DataError(problem, where=where, expected=expected, found=found)
        labels = np.asarray(self.labels)
        if labels.dtype.kind not in "iu" or (len(labels) and not 0 <= labels.min() <= labels.max() < self.num_classes):
            expected, where = f"integers from 0 to {self.num_classes - 1}", f"labels of {self.name}"
            found = f"{labels.min()} to {labels.max()}, {labels.dtype}"
            raise DataError("The labels are no classes.", where=where, expected=expected, found=found)
        if not self.fingerprint:
            object.__setattr__(self, "fingerprint", compute_fingerprint(self))
        if not self.source_fingerprint:
            object.__setattr__(self, "source_fingerprint", self.fingerprint)

    def __len__(self):
        return int(self.images.shape[0])

    @property
    def num_classes(self):
        """Number of classes, also of those without a galaxy."""
        return len(self.class_names)

    @property
    def image_size(self):
        """Side of the (square) images, in pixels."""
        return int(self.images.shape[1])

    @property
    def class_counts(self):
        """Galaxies in each class, shape (number of classes,), int64."""
        return np.bincount(self.labels, minlength=self.num_classes)

    def arrays(self, rows=None):
        """Return images, shape (n, height, width, 3), uint8, and labels, shape (n,), as NumPy arrays in memory.

        Args:
            rows: Row indices, shape (n,); `None` for all.

        Example:
            >>> images, labels = galaxies.arrays(split.train[:100])
            >>> images.shape, labels.dtype
            ((100, 32, 32, 3), dtype('int64'))
        """
        rows = checked_rows(self, rows)
        return np.asarray(self.images[rows]), self.labels[rows]

    def keras_dataset(self, rows=None, batch_size=32, *, shuffle=False, seed=1, targets="labels"):
        """Return batches for `model.fit`, `evaluate` and `predict`: a `keras.utils.PyDataset`.

        Pass `shuffle=False` to `model.fit` beside it: Keras would put the batches into another order once more.

        Args:
            rows: Row indices, shape (n,); `None` for all.
            batch_size: Images in a batch; the last one holds what is left.
            shuffle: Whether each epoch has an order of its own, which follows from `seed` and the epoch's number: the
                same that `gu.fit` uses.
            seed: Seed of these orders.
            targets: What comes with the images, as in `gu.fit`: `"labels"` (one-hot vectors, float32), `"votes"`,
                `"images"`, `"images and labels"`, `"conditions"`; `None` for nothing.

        Example:
            >>> train = galaxies.keras_dataset(split.train, shuffle=True)
            >>> images, labels = train[0]
            >>> images.dtype, labels.shape
            (dtype('uint8'), (32, 10))
        """
        from galaxy_utils.data.batches import GalaxyBatches

        return GalaxyBatches(self, rows, batch_size, shuffle=shuffle, seed=seed, targets=targets)

    def tf_dataset(self, rows=None, batch_size=32, *, shuffle=False, seed=1, targets="labels"):
        """Return the batches of `keras_dataset` as a `tf.data.Dataset`; each pass over it is an epoch.

        Example:
            >>> for images, labels in galaxies.tf_dataset(split.train).take(1):
            ...     print(images.shape, labels.dtype.name)
            (32, 32, 32, 3) float32
        """
        import tensorflow as tf

        batches = self.keras_dataset(rows, batch_size, shuffle=shuffle, seed=seed, targets=targets)

        def epoch():
            batches.on_epoch_end()
            yield from (batches[number] for number in range(len(batches)))

        signature = tf.nest.map_structure(lambda part: tf.TensorSpec((None, *part.shape[1:]), part.dtype), batches[0])
        stream = tf.data.Dataset.from_generator(epoch, output_signature=signature)
        return stream.apply(tf.data.experimental.assert_cardinality(len(batches)))

    def replace(self, **changes):
        """Return a copy with some attributes changed; the fingerprints follow unless they are given.

        New images are read once, all of them, so that their fingerprint is another one as soon as one pixel is.
        """
        copy = replace(self, **{"fingerprint": "-", "source_fingerprint": "", **changes})
        if "fingerprint" in changes:
            return copy
        # Images that stay are vouched for by the old fingerprint: a large file is not read again.
        known = compute_fingerprint(copy, None if "images" in changes else self.fingerprint)
        return replace(copy, fingerprint=known, source_fingerprint=changes.get("source_fingerprint", known))

    def __repr__(self):
        counts = f"{counted(len(self), 'galaxies')}, {counted(self.num_classes, 'classes')}"
        return f"GalaxyDataset({self.name!r}: {counts}, {self.image_size} px, {self.provenance})"


def compute_fingerprint(dataset, images=None):
    """Return sixteen hexadecimal digits over the columns and every image of a dataset.

    Args:
        dataset: A `GalaxyDataset`.
        images: Text that stands for the images where they are known; `None` reads them all.
    """
    digest = hashlib.sha256(repr((tuple(dataset.images.shape), dataset.class_names, images)).encode())
    for name in COLUMNS:
        column = getattr(dataset, name)
        digest.update(b"-" if column is None else np.ascontiguousarray(column).tobytes())
    for first, last in image_blocks(dataset.images) if images is None else ():
        digest.update(np.ascontiguousarray(dataset.images[first:last]))
    return digest.hexdigest()[:16]
