"""Training: `fit` follows a recipe and survives being killed; `predict`, `encode` and `reconstruct` use the result."""

import contextlib
import hashlib
import logging
import math
import weakref
from dataclasses import dataclass

import keras
import numpy as np

from galaxy_utils.checkpoint import Checkpoint, describe_compiled
from galaxy_utils.data.batches import CLASSIFICATION, RECONSTRUCTION, GalaxyBatches
from galaxy_utils.data.rows import checked_rows
from galaxy_utils.errors import ConfigurationError, DataError, check_argument, check_integer
from galaxy_utils.files import locked
from galaxy_utils.keras_settings import check_keras_settings
from galaxy_utils.progress import progress_bar
from galaxy_utils.recipes import DESCRIPTIVE_FIELDS, Recipe
from galaxy_utils.wording import counted

AVERAGE = "average_over_galaxies"
# Optimisers that `fit` made from a recipe: a network with one of these was not compiled by its owner.
_FROM_RECIPES = weakref.WeakSet()

# TensorFlow warns when functions are compiled often, whichever they are. A chapter that trains several small networks
# compiles each of them once, as it must.
logging.getLogger("tensorflow").addFilter(lambda record: "tf.function retracing" not in record.getMessage())


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
        compiled_with: Optimiser and loss, where they are not those that the recipe names.

    Example:
        >>> run.epochs, run.best_epoch, len(run.history["val_loss"])
        (1, 1, 1)
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
    compiled_with: str = ""

    @property
    def epochs(self):
        """How many epochs were trained."""
        return len(self.history["loss"])

    def __str__(self):
        lines = [
            f"{self.model_name}, recipe {self.recipe.name}, seed {self.seed}: {counted(self.epochs, 'epochs')} in "
            f"{self.seconds:.0f} s{', stopped early' if self.stopped_early else ''}"
        ]
        lines += [f"  not as the recipe says: {self.compiled_with}"] * bool(self.compiled_with)
        names = [name for name in sorted(self.history) if f"val_{name}" in self.history]
        epochs = {"last epoch": self.epochs}
        # Two networks that train against each other have no lowest loss that would mean anything.
        if "discriminator_loss" not in self.history:
            epochs[f"lowest val loss, epoch {self.best_epoch}"] = self.best_epoch
        for title, epoch in epochs.items():
            for name in names:
                training, validation = self.history[name][epoch - 1], self.history[f"val_{name}"][epoch - 1]
                values = f"training {name.replace('_', ' ')} {training:.4g}, validation {validation:.4g}"
                lines.append(f"  {title}: {values}")
        lines[-1] += " (these weights were restored)" * self.restored_best
        return "\n".join(lines)


def fit(
    model, dataset, split, recipe, *, seed=1, checkpoint=None, targets="labels",
    optimizer=None, loss=None, metrics=None, callbacks=(), progress=True,
):  # fmt: skip
    """Train a network with `compile` and `fit` of Keras, as a recipe says.

    A network that comes compiled keeps its optimiser, loss and metrics; the recipe's optimiser, learning rate, clipping
    and loss weights then do not count, and the run says so. Its schedules count in any case: they multiply whatever
    learning rate the optimiser begins with.

    Images stream from the dataset as 8-bit batches; no larger array of them is made. The order of each epoch depends
    on `seed` and the epoch's number alone.

    What the loss is depends on `targets`:

    - `"labels"`: the cross-entropy against labels smoothed as the recipe says.
    - `"votes"`: the same against the volunteers' vote fractions, as soft labels.
    - `"images"`: the mean squared error against the input itself, scaled to [0, 1]: an autoencoder.
    - `"images and labels"`: both, each times its weight in the recipe. The network returns a dictionary with the keys
      `"reconstruction"` and `"classification"`.
    - `"conditions"`: whatever the network's own `compute_loss` says, which is given the images as the network returns
      them and the one-hot labels: a generator that makes galaxies of a class.

    What a network adds by itself counts too: losses of its layers (`add_loss`), such as the divergence of a variational
    autoencoder, or a `compute_loss` of its own. A class of networks or layers whose settings change the training names
    them in its `get_config`, so that a checkpoint can tell two of them apart.

    With a checkpoint, the whole state is written after every epoch by `gu.Checkpoint`. Call the same `fit` again after
    the process was killed, and it ends with the same numbers, bit for bit. A finished checkpoint is returned at once.

    Args:
        model: A Keras model made from inputs and outputs, with the outputs that `targets` needs: class probabilities,
            images in [0, 1], or both. Its current weights are the start, unless a checkpoint takes their place.
        dataset: A `GalaxyDataset`.
        split: A `Split`, or anything with row indices in `train` and `validation`.
        recipe: A `Recipe`.
        seed: Non-negative integer.
        checkpoint: Path of the checkpoint file, a NumPy `.npz`; `None` writes none.
        targets: `"labels"`, `"votes"`, `"images"`, `"images and labels"` or `"conditions"`.
        optimizer: A Keras optimiser in place of the recipe's.
        loss: A loss in place of the one above, as in `compile`.
        metrics: Metrics in place of the accuracy, as in `compile`.
        callbacks: Further Keras callbacks. They are called before the checkpoint is written, so that one which writes
            files has written them when the training goes on; the checkpoint holds their counters.
        progress: Whether to show a progress bar.

    Returns:
        A `TrainingRun`. The model is trained in place.

    Raises:
        ConfigurationError: Arguments that do not fit together, or a checkpoint of another run.
        DataError: Rows that the dataset does not have, or a damaged checkpoint.
        StorageError: The checkpoint cannot be written: a full disk, or a closed folder.
        FloatingPointError: The loss stopped being a finite number. The network has its last good weights: those with
            which the last epoch with a finite loss ended, or this call began. A checkpoint holds them, too.

    Example:
        >>> run = gu.fit(gu.models.three_block_cnn(32), galaxies, split, gu.recipes.THREE_BLOCK_CNN)
        >>> run.epochs
        10
    """
    check_argument(isinstance(recipe, Recipe), "recipe", recipe, "a Recipe")
    check_integer("seed", seed, 0)
    rows = [checked_rows(dataset, getattr(split, part), f"split.{part}") for part in ("train", "validation")]
    options = {"batch_size": recipe.batch_size, "seed": int(seed), "targets": targets}
    batches = GalaxyBatches(dataset, rows[0], shuffle=True, balanced_classes=recipe.balanced_classes, **options)
    validation = GalaxyBatches(dataset, rows[1], **options)
    _check_fits(model, dataset, batches.outputs, no_others=True)
    compiled_with = _compile(model, recipe, batches.outputs, {"optimizer": optimizer, "loss": loss, "metrics": metrics})
    keeper, *others = _recipe_callbacks(recipe)
    watched = [*others, keeper, *callbacks]
    identity = {
        "recipe": {name: value for name, value in recipe.to_dict().items() if name not in DESCRIPTIVE_FIELDS},
        "seed": int(seed),
        "targets": targets,
        "data fingerprint": dataset.fingerprint,
        "training and validation rows": hashlib.sha256(repr([part.tolist() for part in rows]).encode()).hexdigest(),
    }
    # A second process that asks for the same training waits for the first and then finds it done.
    with locked(checkpoint) if checkpoint else contextlib.nullcontext():
        saved = Checkpoint(checkpoint, watched, identity)
        saved.resume(model, batches)
        resumed_from = saved.epochs
        if saved.complete:
            saved.remind()
            keeper.set_model(model)
            keeper.on_train_end()
        else:
            total = (recipe.epochs - resumed_from) * len(batches)
            with progress_bar(total, f"Training {model.name}", "batches", disable=not progress or None) as bar:
                options = {"initial_epoch": resumed_from, "epochs": recipe.epochs, "shuffle": False, "verbose": 0}
                callbacks = [_Names(), *watched, _Bar(bar), saved]
                model.fit(batches, validation_data=validation, callbacks=callbacks, **options)
    about = {"best_epoch": int(np.argmin(saved.history["val_loss"])) + 1, "stopped_early": saved.stopped}
    about |= {"restored_best": recipe.restore_best_weights, "resumed_from": resumed_from, "seconds": saved.seconds}
    return TrainingRun(model.name, recipe, int(seed), saved.history, compiled_with=compiled_with, **about)


def reinitialise(model, like):
    """Start a compiled network anew: its weights, its optimiser and its learning rate become those of another one.

    What Keras has translated for training stays. That translation takes seconds, which is longer than many a small
    training: where one network is trained from several seeds, build it once, and start it anew for each. A training
    from here on gives what it would give with the other network.

    Args:
        model: A compiled `keras.Model`, which is changed in place.
        like: A model that was built and compiled in the same way, from another seed. The states of its layers' random
            generators (dropout) are taken over as well.

    Returns:
        `model`.

    Raises:
        ConfigurationError: One of the two is not compiled.
        ValueError: The two networks have other layers.

    Example:
        >>> network, other = (gu.models.three_block_cnn(32, seed=seed) for seed in (1, 2))
        >>> for each in (network, other):
        ...     each.compile("adam", "categorical_crossentropy")
        >>> network = gu.reinitialise(network, other)
    """
    for one in (model, like):
        check_argument(one.compiled, "network", one.name, "one that is compiled")
        one.optimizer.build(one.trainable_variables)
    pairs = zip(model.variables + model.optimizer.variables, like.variables + like.optimizer.variables, strict=True)
    for own, new in pairs:
        own.assign(new)
    return model


def _compile(model, recipe, outputs, given):
    """Compile a network as a recipe says, with what was given in its place; describe what differs."""
    given = {name: value for name, value in given.items() if value is not None}
    if model.compiled and model.optimizer not in _FROM_RECIPES:
        if given:
            found = f"also {', '.join(given)} in the call of fit"
            remedy = "give them to compile, or hand over a network that is not compiled"
            raise ConfigurationError("The network is compiled already.", where=model.name, found=found, remedy=remedy)
        return _describe_hand(model)
    model.compile(**{"optimizer": make_optimizer(recipe), **_losses(recipe, outputs, "loss" in given), **given})
    _FROM_RECIPES.add(model.optimizer)
    return _describe_hand(model) if {"optimizer", "loss"} & given.keys() else ""


def _describe_hand(model):
    # Under mixed precision Keras wraps the optimiser in another one.
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    rate, loss = float(keras.ops.convert_to_numpy(optimizer.learning_rate)), describe_compiled(model)["loss"]
    loss = loss.get("class_name", "one for each output") if isinstance(loss, dict) else loss
    return f"{type(optimizer).__name__}, learning rate {rate:.4g}, loss {loss or 'of its own'}"


def make_optimizer(recipe):
    """Return the Keras optimiser that a recipe names, with its learning rate and clipping."""
    options = {"learning_rate": recipe.learning_rate, "global_clipnorm": recipe.clip_norm}
    if recipe.optimizer == "sgd":
        return keras.optimizers.SGD(momentum=recipe.beta_1, **options)
    kind = keras.optimizers.AdamW if recipe.optimizer == "adamw" else keras.optimizers.Adam
    options |= {"weight_decay": recipe.weight_decay, "beta_1": recipe.beta_1, "beta_2": recipe.beta_2}
    return kind(**options)


def _recipe_callbacks(recipe):
    """Return Keras' callbacks for a recipe: the one that keeps the best weights and stops, then the schedules."""
    patience = recipe.early_stopping_patience or recipe.epochs
    yield keras.callbacks.EarlyStopping(patience=patience, restore_best_weights=recipe.restore_best_weights, mode="min")
    if recipe.learning_rate_schedule == "cosine":
        # Factors from one epoch to the next, so that reductions on a plateau stay.
        shares = [0.5 * (1 + math.cos(math.pi * epoch / recipe.epochs)) for epoch in range(recipe.epochs)]
        yield keras.callbacks.LearningRateScheduler(
            lambda epoch, rate: rate * shares[epoch] / shares[max(epoch - 1, 0)]
        )
    if recipe.reduce_learning_rate_patience is not None:
        options = {"factor": recipe.reduce_learning_rate_factor, "patience": recipe.reduce_learning_rate_patience}
        yield keras.callbacks.ReduceLROnPlateau(**options, mode="min", min_delta=0)


def _losses(recipe, outputs, other_loss):
    """Return what `compile` has to know about the outputs of a network: losses, their weights, metrics."""
    smoothing = recipe.label_smoothing
    entropy = keras.losses.CategoricalCrossentropy(label_smoothing=smoothing)
    losses = {RECONSTRUCTION: keras.losses.MeanSquaredError(), CLASSIFICATION: entropy}
    metrics = {CLASSIFICATION: [keras.metrics.CategoricalAccuracy(name="accuracy")]}
    if len(outputs) == 1:
        return {"loss": losses.get(outputs[0]), "metrics": metrics.get(outputs[0])}
    weights = {RECONSTRUCTION: recipe.reconstruction_weight, CLASSIFICATION: recipe.classification_weight}
    # Keras reports each output's loss, too, but on TensorFlow it lets a last batch of one galaxy count as much as a
    # full one. These averages are over galaxies and take that report's place in the history.
    entropy = keras.metrics.CategoricalCrossentropy(name=AVERAGE, label_smoothing=smoothing)
    averages = {RECONSTRUCTION: [keras.metrics.MeanSquaredError(name=AVERAGE)], CLASSIFICATION: [entropy]}
    about = {"loss": losses, "loss_weights": weights, "metrics": metrics}
    return about if other_loss else {**about, "weighted_metrics": averages}


class _Names(keras.callbacks.Callback):
    """Gives accuracies and losses one name in the history, whether or not a network has a second output."""

    def on_epoch_end(self, epoch, logs=None):
        for name in list(logs):
            plain = name.replace(f"{CLASSIFICATION}_accuracy", "accuracy").replace(AVERAGE, "loss")
            logs[plain] = logs.pop(name)


class _Bar(keras.callbacks.Callback):
    """Moves a progress bar on."""

    def __init__(self, bar):
        super().__init__()
        self.bar = bar

    def on_epoch_begin(self, epoch, logs=None):
        self.bar.set_description_str(f"Training {self.model.name}, epoch {epoch + 1}/{self.params['epochs']}")

    def on_train_batch_end(self, batch, logs=None):
        self.bar.update(1)

    def on_epoch_end(self, epoch, logs=None):
        shown, form = ("val_accuracy", ".3f") if "val_accuracy" in logs else ("val_loss", ".5f")
        self.bar.set_postfix_str(f"validation {shown[4:]} {logs[shown]:{form}}")


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

    Example:
        >>> gu.predict(model, galaxies, split.test[:5]).shape
        (5, 10)
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
        ConfigurationError: The network does not fit the images.
        ValueError: The network has no layer called `"encoder"`; Keras names those that it has.
        DataError: Rows that the dataset does not have.

    Example:
        >>> network = gu.models.joint_autoencoder_classifier(32, latent_dim=8)
        >>> gu.encode(network, galaxies, split.test[:5]).shape
        (5, 8)
    """
    _check_fits(model, dataset, ())
    return _run(model.get_layer("encoder"), dataset, rows, batch_size)


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

    Example:
        >>> gu.reconstruct(gu.augmentation.denoising_autoencoder(32), galaxies, split.test[:5]).shape
        (5, 32, 32, 3)
    """
    _check_fits(model, dataset, (RECONSTRUCTION,))
    return _run(_part(model, RECONSTRUCTION), dataset, rows, batch_size, as_images=True)


def _part(model, output):
    """Return the part of a network that leads to one output, so that the other is not computed."""
    if not isinstance(ends(model)[1], dict):
        return model
    return keras.Model(model.input, model.output[output], name=f"{model.name}_{output}")


def ends(model):
    """Return the input and the output of a network, as Keras describes them.

    Raises:
        ConfigurationError: A network that does not say.
    """
    if isinstance(model, keras.Sequential) and model.built:
        return model.inputs[0], model.outputs[0]
    if not hasattr(model, "output"):
        problem = f"The network ({type(model).__name__}) does not say what its inputs and outputs are."
        remedy = "build it as keras.Model(inputs, outputs), or begin a Sequential with keras.Input"
        raise ConfigurationError(problem, remedy=remedy)
    return model.input, model.output


def _run(network, dataset, rows, batch_size, as_images=False):
    """Return a network's output for every row, one batch at a time."""
    rows = checked_rows(dataset, rows)
    # The last batch is filled up with rows that are seen again: batches of one shape are compiled once.
    batch_size = min(batch_size, len(rows))
    filled = np.resize(rows, math.ceil(len(rows) / batch_size) * batch_size)
    batches = GalaxyBatches(dataset, filled, batch_size, targets=None)
    if not as_images:
        return finite(network, network.predict(batches, verbose=0)[: len(rows)])
    # Images are brought back to 8 bits batch by batch: as floats they would take four times the dataset's memory.
    images = np.empty((len(filled), *ends(network)[1].shape[1:]), np.uint8)
    for number in range(len(batches)):
        values = finite(network, network.predict_on_batch(*batches[number]))
        images[number * batch_size :][:batch_size] = np.rint(255 * np.clip(values, 0, 1))
    return images[: len(rows)]


def finite(network, values):
    """Refuse what is not a number: it must not pass for a prediction."""
    values = np.asarray(values, dtype=np.float32)
    if (wrong := ~np.isfinite(values).reshape(len(values), -1).all(axis=1)).any():
        galaxies = f"{counted(int(wrong.sum()), 'galaxies')} of {len(values):,}"
        problem = f"The output of {network.name} is not a number for {galaxies}."
        remedy = "see whether its training diverged (train again with a lower learning rate); pass images from 0 to 255"
        raise DataError(problem, remedy=remedy)
    return values


def _check_fits(model, dataset, outputs, no_others=False):
    """Check that a network takes the dataset's images and gives the outputs named, or these and `no_others`."""
    check_keras_settings()
    entry, output = ends(model)
    images, takes = tuple(dataset.images.shape[1:]), tuple(entry.shape[1:])
    where = f"{model.name} on {dataset.name}"
    if len(takes) != len(images) or any(side not in (None, own) for side, own in zip(takes, images, strict=True)):
        problem = "The network takes something else than this dataset holds."
        remedy = f"prepare the dataset at {takes[0]} px or build the network with image_size={images[0]}; images go "
        remedy += "into a whole network, frozen features into its trained part"
        raise ConfigurationError(problem, where=where, expected=takes, found=images, remedy=remedy)
    # A network with a single output does not name it; its shape has to tell whether it is the one that is wanted.
    named = output if isinstance(output, dict) else dict.fromkeys(outputs[:1], output)
    gives = {name: tuple(tensor.shape[1:]) for name, tensor in named.items() if no_others or name in outputs}
    wanted = {name: (dataset.num_classes,) if name == CLASSIFICATION else images for name in outputs}
    if gives != wanted:
        problem = "The network's outputs, or their shapes, are not those that this needs."
        remedy = f"build the network with num_classes={dataset.num_classes}, or choose other targets"
        raise ConfigurationError(problem, where=where, expected=wanted, found=gives, remedy=remedy)
