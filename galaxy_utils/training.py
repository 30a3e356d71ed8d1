"""Training: `fit` follows a recipe and survives being killed; `predict`, `encode` and `reconstruct` use the result."""

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
from galaxy_utils.wording import counted

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


@dataclass(frozen=True)
class TrainingRun:
    """What happened during one training.

    Attributes:
        model_name: Name of the network.
        recipe: The `Recipe` it followed.
        seed: Seed of the order in which the galaxies were seen.
        history: One list per quantity, one number per epoch: `loss` and `val_loss`, `learning_rate`, `accuracy` and
            `val_accuracy` of networks that classify, `reconstruction_loss` and `classification_loss` (unweighted; with
            `val_` before them too) of those that do both, and whatever else a network's own metrics report.
            Cross-entropies are in nats, squared errors in units of the full brightness range squared. Training values
            are averages over the epoch, taken with dropout while the weights change; validation values are taken at
            its end without dropout.
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
        if "discriminator_loss" in self.history:
            return self._adversarial_text()
        shown, digits = ("accuracy", 3) if "accuracy" in self.history else ("loss", 5)
        training, validation = self.history[shown], self.history[f"val_{shown}"]
        best = validation[self.best_epoch - 1]
        return (
            f"{self.model_name}, recipe {self.recipe.name}, seed {self.seed}: {counted(self.epochs, 'epochs')} in "
            f"{self.seconds:.0f} s{', stopped early' if self.stopped_early else ''}\n"
            f"  last epoch:      training {shown} {training[-1]:.{digits}f}, validation {validation[-1]:.{digits}f}\n"
            f"  lowest val loss: epoch {self.best_epoch}, validation {shown} {best:.{digits}f}"
            f"{' (these weights were restored)' if self.restored_best else ''}"
        )

    def _adversarial_text(self):
        # Two networks that train against each other have no lowest loss that would mean anything.
        lines = [
            f"{self.model_name}, recipe {self.recipe.name}, seed {self.seed}: {counted(self.epochs, 'epochs')} in "
            f"{self.seconds:.0f} s"
        ]
        for part, before in (("training", ""), ("validation", "val_")):
            values = {
                name: self.history[before + name][-1]
                for name in ("discriminator_loss", "generator_loss", "ranking_accuracy")
                if before + name in self.history
            }
            lines.append(f"  {part + ':':<12}" + ", ".join(f"{n.replace('_', ' ')} {v:.3f}" for n, v in values.items()))
        return "\n".join(lines)


def fit(model, dataset, split, recipe, *, seed=1, checkpoint=None, targets="labels", callbacks=(), progress=True):
    """Train a network.

    Images stream from the dataset as 8-bit batches; no larger array of them is made. The order of each epoch depends
    on `seed` and the epoch's number alone.

    What the loss is depends on `targets`:

    - `"labels"`: the cross-entropy against labels smoothed as the recipe says.
    - `"votes"`: the same against the volunteers' vote fractions, as soft labels.
    - `"images"`: the mean squared error against the input itself, scaled to [0, 1]: an autoencoder.
    - `"images and labels"`: both, each times its weight in the recipe. The network returns a dictionary with the keys
      `"reconstruction"` and `"classification"`.
    - `"conditions"`: whatever the network's own `compute_loss` says, which is given the images as the network returns
      them and the one-hot labels: a generator that draws galaxies of a class.

    What a network adds by itself counts too: losses of its layers (`add_loss`), such as the divergence of a variational
    autoencoder, or a `compute_loss` of its own. A class of networks or layers whose settings change the training names
    them in its `get_config`, so that a checkpoint can tell two of them apart; and every layer has a name of its own,
    because those that Keras makes up change from one building to the next.

    With a checkpoint, the whole state (weights, batch statistics, dropout's generators, optimiser, history, best
    weights) is written after every epoch, in one atomic step. Call the same `fit` again after the process was killed,
    and it ends with the same numbers, bit for bit, as if it had not been, on the same device and versions. A finished
    checkpoint is returned at once. On a GPU, equal bits also need `TF_DETERMINISTIC_OPS=1` in the environment before
    Keras is imported: by default some GPU sums run in whatever order is fastest.

    Args:
        model: A Keras model made from inputs and outputs, with the outputs that `targets` needs: class probabilities,
            images in [0, 1], or both. Its current weights are the start, unless a checkpoint takes their place.
        dataset: A `GalaxyDataset`.
        split: A `Split`, or anything with row indices in `train` and `validation`.
        recipe: A `Recipe`.
        seed: Non-negative integer.
        checkpoint: Path of the checkpoint file, a NumPy `.npz`; `None` writes none.
        targets: `"labels"`, `"votes"`, `"images"`, `"images and labels"` or `"conditions"`.
        callbacks: Keras callbacks that watch the training. No checkpoint holds what they remember; they are called
            before it is written, so that one which writes files has written them when the training goes on.
        progress: Whether to show a progress bar.

    Returns:
        A `TrainingRun`. The model is trained in place.

    Raises:
        ConfigurationError: Arguments that do not fit together, or a checkpoint of another run.
        DataError: Rows that the dataset does not have, or a damaged checkpoint.
        StorageError: The checkpoint cannot be written: a full disk, or a closed folder.
        FloatingPointError: The loss stopped being a finite number. The network has its last good weights: those with
            which the last epoch with a finite loss ended, or this call began. A checkpoint holds them, too.
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
    _check_fits(model, dataset, TARGETS[targets])
    if isinstance(model.output, dict) and set(model.output) != set(TARGETS[targets]):
        raise ConfigurationError(
            f"The network has outputs that targets={targets!r} do not train.",
            where=model.name,
            expected=" and ".join(map(repr, TARGETS[targets])),
            found=" and ".join(map(repr, model.output)),
        )
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
            callbacks=callbacks,
            progress=progress,
        )


def predict(model, dataset, rows, batch_size=32):
    """Return the class probabilities of some galaxies.

    Args:
        model: A Keras model that ends in class probabilities, alone or beside a reconstruction, which is not computed.
        dataset: A `GalaxyDataset`.
        rows: Row indices, shape (n,).
        batch_size: Images per step.

    Returns:
        Probabilities, shape (n, number of classes), float32, in the order of `rows`.

    Raises:
        ConfigurationError: The network does not fit the images or classes.
        DataError: Rows that the dataset does not have.
    """
    _check_fits(model, dataset, (CLASSIFICATION,))
    return _run(_part(model, CLASSIFICATION), dataset, rows, batch_size)


def encode(model, dataset, rows, batch_size=32):
    """Return the latent vectors of some galaxies.

    Args:
        model: A Keras model with a layer called `"encoder"` that is itself a model, from images to one vector each.
        dataset: A `GalaxyDataset`.
        rows: Row indices, shape (n,).
        batch_size: Images per step.

    Returns:
        Vectors, shape (n, latent dimensions), float32, in the order of `rows`.

    Raises:
        ConfigurationError: The network has no encoder or does not fit the images.
        DataError: Rows that the dataset does not have.
    """
    _check_fits(model, dataset, ())
    encoders = [layer for layer in model.layers if layer.name == "encoder"]
    if not encoders:
        raise ConfigurationError(
            "The network has no encoder.",
            where=model.name,
            expected="a layer called 'encoder'",
            found=", ".join(layer.name for layer in model.layers),
        )
    return _run(encoders[0], dataset, rows, batch_size)


def reconstruct(model, dataset, rows, batch_size=32):
    """Return what an autoencoder makes of some galaxies, as images like those it was given.

    Args:
        model: A Keras model that ends in images with values in [0, 1], alone or beside class probabilities.
        dataset: A `GalaxyDataset`.
        rows: Row indices, shape (n,).
        batch_size: Images per step.

    Returns:
        Images, shape (n, height, width, 3), uint8, in the order of `rows`. Rounding to 8 bits adds about 1e-6 to a mean
        squared error of values in [0, 1].

    Raises:
        ConfigurationError: The network does not fit the images.
        DataError: Rows that the dataset does not have.
    """
    _check_fits(model, dataset, (RECONSTRUCTION,))
    return _run(_part(model, RECONSTRUCTION), dataset, rows, batch_size, as_images=True)


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


def _part(model, output):
    """Return the part of a network that leads to one output, so that the other is not computed."""
    if not isinstance(model.output, dict):
        return model

    import keras

    return keras.Model(model.input, model.output[output], name=f"{model.name}_{output}")


def _run(network, dataset, rows, batch_size, as_images=False):
    """Return a network's output for every row, one batch at a time."""
    rows = _checked_rows(dataset, rows, "rows")

    from galaxy_utils._training_loop import GalaxyBatches

    # The last batch is filled up with rows that are seen again: batches of one shape are compiled once.
    batch_size = min(batch_size, len(rows))
    filled = np.resize(rows, math.ceil(len(rows) / batch_size) * batch_size)
    batches = GalaxyBatches(dataset, filled, batch_size)
    if not as_images:
        return np.asarray(network.predict(batches, verbose=0)[: len(rows)], dtype=np.float32)
    # Images are brought back to 8 bits batch by batch: as floats they would take four times the dataset's memory.
    images = np.empty((len(filled), *network.output.shape[1:]), np.uint8)
    for number in range(len(batches)):
        values = np.asarray(network.predict_on_batch(*batches[number]))
        images[number * batch_size :][:batch_size] = np.rint(255 * np.clip(values, 0, 1))
    return images[: len(rows)]


def _check_fits(model, dataset, outputs):
    """Check that a network takes the dataset's images and gives at least the outputs named."""
    if not hasattr(model, "output"):
        raise ConfigurationError(
            "The network does not say what it takes and gives.",
            where=type(model).__name__,
            expected="a Keras model made from its inputs and outputs",
            remedy="build it as keras.Model(inputs, outputs); a class of your own can call super().__init__ so",
        )
    images = tuple(dataset.images.shape[1:])
    takes = tuple(model.input.shape[1:])
    where = f"{model.name} on {dataset.name}"
    if len(takes) != len(images):
        raise ConfigurationError(
            "The network takes something else than this dataset holds.",
            where=where,
            expected=f"an array of shape {takes} for each galaxy",
            found=f"arrays of shape {images}",
            remedy="images go into a whole network, frozen features into its trained part",
        )
    if any(side not in (None, want) for side, want in zip(takes, images, strict=True)):
        raise ConfigurationError(
            "The network is built for images of another size.",
            where=where,
            expected=f"images of shape {takes}",
            found=f"images of shape {images}",
            remedy=f"prepare the dataset at {takes[0]} px, or build the network with image_size={images[0]}",
        )
    # A network with a single output does not name it; its shape has to tell whether it is the one that is wanted.
    found = model.output if isinstance(model.output, dict) else dict.fromkeys(outputs[:1], model.output)
    for name in outputs:
        if name not in found:
            raise ConfigurationError(
                f"The network has no output {name!r}.",
                where=where,
                expected="a dictionary of outputs with this key" if len(outputs) > 1 else None,
                found=" and ".join(map(repr, model.output)) if isinstance(model.output, dict) else "a single output",
            )
        gives = tuple(found[name].shape[1:])
        wanted = (dataset.num_classes,) if name == CLASSIFICATION else images
        if gives != wanted:
            raise ConfigurationError(
                "The network is built for another number of classes."
                if name == CLASSIFICATION
                else "The network does not give back images like those it takes.",
                where=where,
                expected=f"output of shape {wanted}",
                found=f"output of shape {gives}",
                remedy=f"build the network with num_classes={dataset.num_classes}" if name == CLASSIFICATION else None,
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
