"""Batches for Keras: 8-bit images read when they are asked for, with what is wanted of them. Loads Keras."""

import math

import keras
import numpy as np

from galaxy_utils.data.rows import checked_rows
from galaxy_utils.errors import ConfigurationError, check_argument

# The two outputs that a network can be trained towards. A network with both returns a dictionary with these keys.
CLASSIFICATION, RECONSTRUCTION = "classification", "reconstruction"
# What stands in their place for a network that is told the classes and brings a loss of its own.
CONDITION = "condition"

# What a network can be trained towards, with the outputs that it needs for that.
TARGETS = {
    "labels": (CLASSIFICATION,),
    "votes": (CLASSIFICATION,),
    "images": (RECONSTRUCTION,),
    "images and labels": (RECONSTRUCTION, CLASSIFICATION),
    "conditions": (CONDITION,),
}


class GalaxyBatches(keras.utils.PyDataset):
    """Batches of a dataset's images, uint8, with the targets of their galaxies, float32.

    `GalaxyDataset.keras_dataset` makes them. The order of an epoch follows from the seed and the epoch's number alone.
    Stored features can stand in for images.

    Args:
        dataset: A `GalaxyDataset`, or what takes its place.
        rows: Row indices, shape (n,).
        batch_size: Images in a batch; the last one holds what is left.
        shuffle: Whether each epoch has an order of its own.
        seed: Seed of these orders.
        targets: As in `gu.fit`; `None` for images alone.
        balanced_classes: Whether to add weights with which each class counts the same.

    Attributes:
        epoch: Number of the epoch, counted from 0, whose order is given; Keras moves it on.

    Raises:
        ConfigurationError: Targets that do not exist, or that this dataset does not have.
        DataError: Rows that the dataset does not have.
    """

    def __init__(
        self, dataset, rows, batch_size=32, *, shuffle=False, seed=1, targets="labels", balanced_classes=False
    ):
        super().__init__()
        check_argument(targets in (None, *TARGETS), "targets", targets, " or ".join(map(repr, TARGETS)))
        if targets == "votes" and dataset.vote_fractions is None:
            problem = "This dataset has no vote fractions to train on."
            raise ConfigurationError(problem, where=dataset.name, remedy="use targets='labels'")
        self.images, self.rows, self.batch_size = dataset.images, checked_rows(dataset, rows), batch_size
        self.outputs = TARGETS.get(targets, ())
        self.classes = dataset.vote_fractions if targets == "votes" else np.eye(dataset.num_classes)[dataset.labels]
        self.weights = _balancing_weights(dataset.labels[self.rows]) if balanced_classes else None
        self.shuffle, self.seed = shuffle, seed
        # Keras ends an "epoch" once before the first, when it has looked at a batch.
        self.epoch = -1

    def __len__(self):
        return math.ceil(len(self.rows) / self.batch_size)

    def on_epoch_end(self):
        """Move on to the order of the next epoch."""
        self.epoch += 1

    def __getitem__(self, index):
        order, epoch = np.arange(len(self.rows)), max(self.epoch, 0)
        if self.shuffle:
            order = np.random.default_rng([self.seed, epoch]).permutation(order)
        chosen = order[index * self.batch_size : (index + 1) * self.batch_size]
        rows = self.rows[chosen]
        images = np.asarray(self.images[rows])
        targets, weights = {}, {}
        for output in self.outputs:
            is_image = output == RECONSTRUCTION
            targets[output] = images * np.float32(1 / 255) if is_image else self.classes[rows].astype(np.float32)
            if self.weights is not None:
                # One number per galaxy has to say that it stands for all of the galaxy's pixels: Keras would pair a
                # plain row of them with the columns of the images.
                weights[output] = self.weights[chosen].reshape(-1, 1, 1) if is_image else self.weights[chosen]
        # Networks with one output take its target and weights bare, those with several a dictionary.
        if len(self.outputs) < 2:
            return images, *targets.values(), *weights.values()
        return (images, targets, weights) if weights else (images, targets)


def _balancing_weights(labels):
    # The usual n / (K · n_class), over the classes that occur: the weights average to 1.
    counts = np.bincount(labels)
    return (len(labels) / (np.count_nonzero(counts) * counts[labels])).astype(np.float32)
