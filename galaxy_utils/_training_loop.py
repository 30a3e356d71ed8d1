"""What `training.fit` needs Keras for. Imported by functions only, so that `import galaxy_utils` stays quick."""

import hashlib
import json
import logging
import math
import time
from dataclasses import dataclass, field

import keras
import numpy as np
from tqdm.std import tqdm

from galaxy_utils.arrays import described, read_arrays, write_arrays
from galaxy_utils.errors import ConfigurationError, DataError
from galaxy_utils.files import explain_read_errors
from galaxy_utils.progress import progress_bar
from galaxy_utils.training import (
    CLASSIFICATION,
    CONDITION,
    RECONSTRUCTION,
    TARGETS,
    TrainingRun,
    best_epoch,
    learning_rate_of_epoch,
    should_stop,
)
from galaxy_utils.wording import counted

CHECKPOINT_FORMAT = 1
AVERAGE = "average_over_galaxies"
_SOUND_CHECKPOINT = {
    "expected": "a checkpoint that training wrote",
    "remedy": "delete the file to start the training again",
}

# TensorFlow warns when functions are compiled often, whichever they are. A chapter that trains several small networks
# compiles each of them once, as it must.
logging.getLogger("tensorflow").addFilter(lambda record: "tf.function retracing" not in record.getMessage())


class GalaxyBatches(keras.utils.PyDataset):
    """Batches of 8-bit images, read when they are asked for, with the wanted targets and weights of the galaxies.

    Frozen features stand in for images; where they were stored in several views, each epoch draws one a galaxy.
    """

    def __init__(self, dataset, rows, batch_size, outputs=(), labels=None, weights=None):
        super().__init__()
        self.images, self.rows, self.batch_size = dataset.images, rows, batch_size
        self.outputs, self.labels, self.weights = outputs, labels, weights
        self.order = np.arange(len(rows))
        self.num_views, self.views = getattr(dataset.images, "num_views", 1), None

    def shuffle(self, seed, epoch):
        """Put the rows in the order, and in the views, that belong to this seed and epoch."""
        random = np.random.default_rng([seed, epoch])
        self.order = random.permutation(len(self.rows))
        if self.num_views > 1:
            self.views = random.integers(self.num_views, size=len(self.rows))

    def __len__(self):
        return math.ceil(len(self.rows) / self.batch_size)

    def __getitem__(self, index):
        chosen = self.order[index * self.batch_size : (index + 1) * self.batch_size]
        rows = self.rows[chosen]
        images = np.asarray(self.images[rows] if self.views is None else self.images.in_views(rows, self.views[chosen]))
        targets, weights = {}, {}
        for output in self.outputs:
            is_image = output == RECONSTRUCTION
            targets[output] = images * np.float32(1 / 255) if is_image else self.labels[chosen]
            if self.weights is not None:
                # One number per galaxy has to say that it stands for all of the galaxy's pixels: Keras would pair a
                # plain row of them with the columns of the images.
                weights[output] = self.weights[chosen].reshape(-1, 1, 1) if is_image else self.weights[chosen]
        # Networks with one output take its target and weights bare, those with several a dictionary.
        if len(self.outputs) < 2:
            return images, *targets.values(), *weights.values()
        return (images, targets, weights) if weights else (images, targets)


class _Conductor(keras.callbacks.Callback):
    """Sets order and learning rate before an epoch; records, decides and saves after it."""

    def __init__(self, batches, recipe, seed, state, save, bar):
        super().__init__()
        self.batches, self.recipe, self.seed = batches, recipe, seed
        self.state, self.save, self.bar = state, save, bar

    def on_train_begin(self, logs=None):
        self.good_weights = self.model.get_weights()

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.perf_counter()
        self.bar.set_description_str(f"Training {self.model.name}, epoch {epoch + 1}/{self.recipe.epochs}")
        self.batches.shuffle(self.seed, epoch)
        self.model.optimizer.learning_rate = learning_rate_of_epoch(self.recipe, self.state.history["val_loss"])

    def on_train_batch_end(self, batch, logs=None):
        self.bar.update(min(self.batches.batch_size, len(self.batches.rows) - batch * self.batches.batch_size))

    def on_epoch_end(self, epoch, logs=None):
        state, history = self.state, self.state.history
        rate = learning_rate_of_epoch(self.recipe, history["val_loss"])
        # Accuracy has one name, whether or not a network has a second output.
        logs = {name.replace(f"{CLASSIFICATION}_accuracy", "accuracy"): value for name, value in logs.items()}
        for name in [name for name in logs if name.endswith(AVERAGE)]:
            logs[name.replace(AVERAGE, "loss")] = logs.pop(name)
        for name, value in {**logs, "learning_rate": rate}.items():
            history.setdefault(name, []).append(float(value))
        if not math.isfinite(history["loss"][-1]):
            kept = f"those after epoch {epoch}" if epoch else "those before training"
            raise FloatingPointError(
                f"The training loss of epoch {epoch + 1} is {history['loss'][-1]}: the training diverged. "
                f"Lower the recipe's learning rate ({self.recipe.learning_rate}) or set its clip_norm. "
                f"The network's weights are {kept}."
            )
        self.good_weights = self.model.get_weights()
        losses = history["val_loss"]
        if self.recipe.restore_best_weights and best_epoch(losses) == len(losses):
            # The same arrays, which nobody changes: a second copy of a large network takes a quarter of a gigabyte.
            state.best_weights = self.good_weights
        if should_stop(self.recipe, losses):
            self.model.stop_training = True
            state.stopped_early = True
        state.complete = state.stopped_early or epoch + 1 == self.recipe.epochs
        state.seconds += time.perf_counter() - self.started
        self.save(self.model, state)
        shown, form = ("accuracy", ".3f") if "val_accuracy" in history else ("loss", ".5f")
        latest = f"validation {shown} {history[f'val_{shown}'][-1]:{form}}"
        self.bar.set_postfix_str(latest)

    def on_train_end(self, logs=None):
        # The loop may have gone on from a checkpoint, or stopped early.
        epochs = counted(round(self.bar.n / len(self.batches.rows)), "epochs")
        images = counted(len(self.batches.rows), "images")
        self.bar.set_description_str(f"Training {self.model.name}: {epochs} of {images}")


@dataclass
class _State:
    """Everything about a training that is not a variable of the model or of its optimiser."""

    history: dict = field(default_factory=lambda: {"loss": [], "val_loss": []})
    best_weights: list | None = None
    stopped_early: bool = False
    complete: bool = False
    seconds: float = 0.0


def train(
    model, dataset, train_rows, validation_rows, recipe, *, seed, targets, checkpoint, identity, callbacks, progress
):
    """Compile and train, from the checkpoint if there is one. The arguments are those of `training.fit`, checked."""
    outputs = TARGETS[targets]
    if CONDITION in outputs and type(model).compute_loss is keras.Model.compute_loss:
        raise ConfigurationError(
            f"With targets={targets!r} a network has to bring its own loss.",
            where=model.name,
            expected="a class of networks with a method compute_loss, such as those of conditional_gan",
            found=type(model).__name__,
        )
    model.compile(
        optimizer=keras.optimizers.Adam(
            recipe.learning_rate, recipe.beta_1, recipe.beta_2, global_clipnorm=recipe.clip_norm
        ),
        **_losses(recipe, outputs),
    )
    model.optimizer.build(model.trainable_variables)
    state = _State()
    if checkpoint is not None and checkpoint.exists():
        load_checkpoint(checkpoint, model, state, identity)
    resumed_from = len(state.history["loss"])

    def save(model, state):
        if checkpoint is not None:
            save_checkpoint(checkpoint, model, state, identity)

    if not state.complete:
        one_hot = np.eye(dataset.num_classes, dtype=np.float32)
        wanted = dataset.vote_fractions.astype(np.float32) if targets == "votes" else one_hot[dataset.labels]
        weights = _class_balancing_weights(dataset.labels[train_rows]) if recipe.balanced_classes else None
        batches = GalaxyBatches(dataset, train_rows, recipe.batch_size, outputs, wanted[train_rows], weights)
        validation_batches = GalaxyBatches(
            dataset, validation_rows, recipe.batch_size, outputs, wanted[validation_rows]
        )
        total = (recipe.epochs - resumed_from) * len(train_rows)
        description = f"Training {model.name}"
        with progress_bar(total, description, show_count=False) if progress else tqdm(disable=True) as bar:
            conductor = _Conductor(batches, recipe, seed, state, save, bar)
            try:
                model.fit(
                    batches,
                    validation_data=validation_batches,
                    initial_epoch=resumed_from,
                    epochs=recipe.epochs,
                    callbacks=[*callbacks, conductor],
                    shuffle=False,
                    verbose=0,
                )
            except FloatingPointError:
                model.set_weights(conductor.good_weights)
                raise
    if state.best_weights is not None:
        model.set_weights(state.best_weights)
    return TrainingRun(
        model_name=model.name,
        recipe=recipe,
        seed=seed,
        history=state.history,
        best_epoch=best_epoch(state.history["val_loss"]),
        stopped_early=state.stopped_early,
        restored_best=state.best_weights is not None,
        resumed_from=resumed_from,
        seconds=state.seconds,
    )


def _losses(recipe, outputs):
    """Return what `compile` has to know about the outputs of a network: losses, their weights, metrics."""
    losses = {
        RECONSTRUCTION: keras.losses.MeanSquaredError(),
        CLASSIFICATION: keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing),
    }
    metrics = {CLASSIFICATION: [keras.metrics.CategoricalAccuracy(name="accuracy")]}
    if len(outputs) == 1:
        return {"loss": losses.get(outputs[0]), "metrics": metrics.get(outputs[0])}
    weights = {RECONSTRUCTION: recipe.reconstruction_weight, CLASSIFICATION: recipe.classification_weight}
    # Keras reports each output's loss, too, but on TensorFlow it lets a last batch of one galaxy count as much as a
    # full one. These averages are over galaxies and take that report's place in the history.
    averages = {
        RECONSTRUCTION: [keras.metrics.MeanSquaredError(name=AVERAGE)],
        CLASSIFICATION: [keras.metrics.CategoricalCrossentropy(name=AVERAGE, label_smoothing=recipe.label_smoothing)],
    }
    return {"loss": losses, "loss_weights": weights, "metrics": metrics, "weighted_metrics": averages}


def describe_network(model):
    """Return a short text that two networks share only when layers, settings and seeds are the same."""
    # The layers are named one by one as well, because a network of a class of its own may leave them out.
    members = [keras.saving.serialize_keras_object(member) for member in (model, *model.layers)]
    config = [(member["class_name"], member["config"]) for member in members]
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:16]
    return f"{model.name}, {model.count_params():,} parameters, {digest}, on {keras.backend.backend()}"


def save_checkpoint(path, model, state, identity):
    """Write the whole state of a training to one file, atomically."""
    content = {"format": CHECKPOINT_FORMAT, "identity": identity}
    for name in ("history", "stopped_early", "complete", "seconds"):
        content[name] = getattr(state, name)
    # `variables` holds more than `get_weights()`: also the state of each dropout's random generator.
    groups = {
        "model": [keras.ops.convert_to_numpy(variable) for variable in model.variables],
        "optimizer": [keras.ops.convert_to_numpy(variable) for variable in model.optimizer.variables],
        "best": state.best_weights or [],
    }
    arrays = {f"{group}_{number}": array for group, members in groups.items() for number, array in enumerate(members)}
    write_arrays(path, {"content": np.array(json.dumps(content)), **arrays})


def load_checkpoint(path, model, state, identity):
    """Put the state of a training back into `model`, its optimiser and `state`.

    Raises:
        ConfigurationError: The checkpoint belongs to another training.
        DataError: The file is damaged or no checkpoint.
    """
    # No pickle: a checkpoint from elsewhere cannot run code.
    with explain_read_errors("The checkpoint cannot be read.", path, **_SOUND_CHECKPOINT):
        arrays = read_arrays(path)
        content = described(arrays, "content")
        found_format, found_identity = content["format"], dict(content["identity"])
        for name, kind in (("history", dict), ("stopped_early", bool), ("complete", bool), ("seconds", float)):
            if not isinstance(content[name], kind):
                raise TypeError(f"{name} is {content[name]!r}")
        lengths = {len([*map(float, values)]) for values in content["history"].values()}
        if not {"loss", "val_loss"} <= set(content["history"]) or len(lengths) != 1:
            raise ValueError("the history is not one number per quantity and epoch")
    if found_format != CHECKPOINT_FORMAT:
        raise _damaged(path, f"format {found_format}; this version reads format {CHECKPOINT_FORMAT}")
    if differences := _differences(found_identity, json.loads(json.dumps(identity))):
        raise ConfigurationError(
            "The checkpoint belongs to another training.",
            where=path,
            found="; ".join(differences),
            remedy="give this training a checkpoint path of its own, or delete the file to start again",
        )
    groups = {"model": model.variables, "optimizer": model.optimizer.variables, "best": model.weights}
    if not any(name.startswith("best_") for name in arrays):
        del groups["best"]
    expected = {
        f"{group}_{number}": (tuple(variable.shape), np.dtype(variable.dtype).kind)
        for group, variables in groups.items()
        for number, variable in enumerate(variables)
    }
    if {name: (array.shape, array.dtype.kind) for name, array in arrays.items()} != expected:
        raise _damaged(path, "arrays that do not belong to this network")
    for group in ("model", "optimizer"):
        for number, variable in enumerate(groups[group]):
            variable.assign(arrays[f"{group}_{number}"])
    if "best" in groups:
        state.best_weights = [arrays[f"best_{number}"] for number in range(len(model.weights))]
    for name in ("history", "stopped_early", "complete", "seconds"):
        setattr(state, name, content[name])


def _damaged(path, found):
    return DataError("The checkpoint cannot be read.", where=path, found=found, **_SOUND_CHECKPOINT)


def _differences(theirs, mine, prefix=""):
    lines = []
    for name in sorted({*theirs, *mine}):
        there, here = theirs.get(name), mine.get(name)
        if isinstance(there, dict) and isinstance(here, dict):
            lines += _differences(there, here, f"{name} ")
        elif there != here:
            lines.append(f"{prefix}{name} is {there!r} in the file, {here!r} here")
    return lines


def _class_balancing_weights(labels):
    # The usual n / (K · n_class), over the classes that occur: the weights average to 1.
    counts = np.bincount(labels)
    return (len(labels) / (np.count_nonzero(counts) * counts[labels])).astype(np.float32)
