"""Training: `fit` follows a recipe and survives being killed, `predict` gives class probabilities."""

import contextlib
import hashlib
import math
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path

import numpy as np

from galaxy_utils.errors import ConfigurationError, DataError
from galaxy_utils.files import locked
from galaxy_utils.recipes import DESCRIPTIVE_FIELDS, Recipe

TARGETS = ("labels", "votes")


@dataclass(frozen=True)
class TrainingRun:
    """What happened during one training.

    Attributes:
        model_name: Name of the network.
        recipe: The `Recipe` it followed.
        seed: Seed of the order in which the galaxies were seen.
        history: One list per quantity, one number per epoch: `loss`, `accuracy`, `val_loss`, `val_accuracy`,
            `learning_rate`. Losses are smoothed cross-entropies in nats; training values are averages over the epoch,
            taken with dropout while the weights change, validation values are taken at its end without dropout.
        best_epoch: Epoch with the lowest validation loss, counted from 1.
        stopped_early: Whether early stopping ended the training.
        restored_best: Whether the network carries the weights of `best_epoch` instead of the last epoch's.
        resumed_from: How many epochs came from a checkpoint; 0 when all were trained here.
        seconds: Time spent training, in seconds, over all sittings.
    """

    model_name: str
    recipe: Recipe
    seed: int
    history: dict
    best_epoch: int
    stopped_early: bool
    restored_best: bool
    resumed_from: int
    seconds: float

    @property
    def epochs(self):
        """How many epochs were trained."""
        return len(self.history["loss"])

    def __str__(self):
        last = {name: values[-1] for name, values in self.history.items()}
        best = self.history["val_accuracy"][self.best_epoch - 1]
        return (
            f"{self.model_name}, recipe {self.recipe.name}, seed {self.seed}: {self.epochs} epochs in "
            f"{self.seconds:.0f} s{', stopped early' if self.stopped_early else ''}\n"
            f"  last epoch:      training accuracy {last['accuracy']:.3f}, validation {last['val_accuracy']:.3f}\n"
            f"  lowest val loss: epoch {self.best_epoch}, validation accuracy {best:.3f}"
            f"{' (these weights were restored)' if self.restored_best else ''}"
        )


def fit(model, dataset, split, recipe, *, seed=1, checkpoint=None, targets="labels", progress=True):
    """Train a network.

    Images stream from the dataset as 8-bit batches; no larger array of them is made. The order of each epoch depends
    on `seed` and the epoch's number alone. The loss is the cross-entropy against labels smoothed as the recipe says.

    With a checkpoint, the whole state (weights, batch statistics, dropout's generators, optimiser, history, best
    weights) is written after every epoch, in one atomic step. Call the same `fit` again after the process was killed,
    and it ends with the same numbers, bit for bit, as if it had not been, on the same device and versions. A finished
    checkpoint is returned at once. On a GPU, equal bits also need `TF_DETERMINISTIC_OPS=1` in the environment before
    Keras is imported: by default some GPU sums run in whatever order is fastest.

    Args:
        model: A Keras model that ends in class probabilities. Its current weights are the start, unless a checkpoint
            takes their place.
        dataset: A `GalaxyDataset`.
        split: A `Split`, or anything with row indices in `train` and `validation`.
        recipe: A `Recipe`.
        seed: Non-negative integer.
        checkpoint: Path of the checkpoint file, a NumPy `.npz`; `None` writes none.
        targets: `"labels"`, or `"votes"` for the volunteers' vote fractions as soft labels.
        progress: Whether to show a progress bar.

    Returns:
        A `TrainingRun`. The model is trained in place.

    Raises:
        ConfigurationError: Arguments that do not fit together, or a checkpoint of another run.
        DataError: Rows that the dataset does not have, or a damaged checkpoint.
        FloatingPointError: The loss stopped being a finite number.
    """
    if not isinstance(recipe, Recipe):
        raise ConfigurationError("Training follows a recipe.", where="recipe", expected="a Recipe", found=repr(recipe))
    if isinstance(seed, bool) or not isinstance(seed, Integral) or seed < 0:
        raise ConfigurationError("This is no seed.", where="seed", expected="an integer, at least 0", found=repr(seed))
    if targets not in TARGETS:
        raise ConfigurationError(
            f"There are no targets {targets!r}.", where="targets", expected=" or ".join(map(repr, TARGETS))
        )
    if targets == "votes" and dataset.vote_fractions is None:
        raise ConfigurationError(
            "This dataset has no vote fractions to train on.", where=dataset.name, remedy="use targets='labels'"
        )
    _check_fits(model, dataset)
    train_rows = _checked_rows(dataset, split.train, "split.train")
    validation_rows = _checked_rows(dataset, split.validation, "split.validation")

    from galaxy_utils import _training_loop

    path = None if checkpoint is None else Path(checkpoint)
    # What a checkpoint must agree with before it may be continued.
    identity = {
        "recipe": {name: value for name, value in recipe.to_dict().items() if name not in DESCRIPTIVE_FIELDS},
        "seed": int(seed),
        "targets": targets,
        "data fingerprint": dataset.fingerprint,
        "training and validation rows": _hash_rows(train_rows, validation_rows),
        "network": _training_loop.describe_network(model),
    }
    # A second process that asks for the same training waits for the first and then finds it done.
    with locked(path) if path else contextlib.nullcontext():
        return _training_loop.train(
            model,
            dataset,
            train_rows,
            validation_rows,
            recipe,
            seed=int(seed),
            targets=targets,
            checkpoint=path,
            identity=identity,
            progress=progress,
        )


def predict(model, dataset, rows, batch_size=32):
    """Return the class probabilities of some galaxies.

    Args:
        model: A Keras model that ends in class probabilities.
        dataset: A `GalaxyDataset`.
        rows: Row indices, shape (n,).
        batch_size: Images per step.

    Returns:
        Probabilities, shape (n, number of classes), float32, in the order of `rows`.

    Raises:
        ConfigurationError: The network does not fit the images or classes.
        DataError: Rows that the dataset does not have.
    """
    _check_fits(model, dataset)
    rows = _checked_rows(dataset, rows, "rows")

    from galaxy_utils._training_loop import GalaxyBatches

    # The last batch is filled up with rows that are seen again: batches of one shape are compiled once.
    batch_size = min(batch_size, len(rows))
    filled = np.resize(rows, math.ceil(len(rows) / batch_size) * batch_size)
    probabilities = model.predict(GalaxyBatches(dataset, filled, batch_size), verbose=0)
    return np.asarray(probabilities[: len(rows)], dtype=np.float32)


def learning_rate_of_epoch(recipe, validation_losses):
    """Return the learning rate of the epoch that follows those whose validation losses are given.

    It follows from the losses alone, so a resumed training needs no counters that could disagree with its history.

    Args:
        recipe: A `Recipe`.
        validation_losses: One number per finished epoch.
    """
    rate = recipe.learning_rate
    if recipe.learning_rate_schedule == "cosine":
        rate *= 0.5 * (1 + math.cos(math.pi * len(validation_losses) / recipe.epochs))
    if recipe.reduce_learning_rate_patience is not None:
        lowest, waited = math.inf, 0
        for loss in validation_losses:
            waited += 1
            if loss < lowest:
                lowest, waited = loss, 0
            elif waited == recipe.reduce_learning_rate_patience:
                rate *= recipe.reduce_learning_rate_factor
                waited = 0
    return rate


def should_stop(recipe, validation_losses):
    """Return whether early stopping ends the training after these validation losses, one per finished epoch."""
    if recipe.early_stopping_patience is None or not validation_losses:
        return False
    return len(validation_losses) - best_epoch(validation_losses) >= recipe.early_stopping_patience


def best_epoch(validation_losses):
    """Return the first epoch with the lowest validation loss, counted from 1."""
    return int(np.argmin(validation_losses)) + 1


def _check_fits(model, dataset):
    wanted = (dataset.image_size, dataset.images.shape[2], 3)
    takes, gives = tuple(model.input_shape[1:]), tuple(model.output_shape[1:])
    if any(side not in (None, want) for side, want in zip(takes, wanted, strict=True)):
        raise ConfigurationError(
            "The network is built for images of another size.",
            where=f"{model.name} on {dataset.name}",
            expected=f"images of shape {takes}",
            found=f"images of shape {wanted}",
            remedy=f"prepare the dataset at {takes[0]} px, or build the network with image_size={wanted[0]}",
        )
    if gives != (dataset.num_classes,):
        raise ConfigurationError(
            "The network is built for another number of classes.",
            where=f"{model.name} on {dataset.name}",
            expected=f"output of shape ({dataset.num_classes},)",
            found=f"output of shape {gives}",
        )


def _checked_rows(dataset, rows, where):
    rows = np.asarray(rows)
    if rows.ndim != 1 or len(rows) == 0 or not np.issubdtype(rows.dtype, np.integer):
        raise DataError(
            "These are no rows.",
            where=where,
            expected="a one-dimensional array of row indices, at least one",
            found=f"shape {rows.shape}, dtype {rows.dtype}",
        )
    if rows.min() < 0 or rows.max() >= len(dataset):
        raise DataError(
            "The dataset does not have these rows.",
            where=where,
            expected=f"rows 0 to {len(dataset) - 1:,}",
            found=f"rows {rows.min():,} to {rows.max():,}",
            remedy="use the split that was made from this dataset",
        )
    return rows.astype(np.int64)


def _hash_rows(*parts):
    digest = hashlib.sha256()
    for rows in parts:
        digest.update(len(rows).to_bytes(8, "little") + rows.tobytes())
    return digest.hexdigest()[:16]
