"""A Keras callback that saves the whole state of a training, so that a killed one ends as if it had not been killed."""

import hashlib
import json
import math
import re
import time
import weakref
from pathlib import Path

import keras
import numpy as np

from galaxy_utils.arrays import described, read_arrays, write_arrays
from galaxy_utils.errors import ConfigurationError
from galaxy_utils.files import explain_read_errors

CHECKPOINT_FORMAT = 3
# Epochs that no training has: where one that stopped early goes on.
NEVER = 2**31
# Optimiser → what a network was compiled with when its training began: schedules change the learning rate later.
_COMPILED = weakref.WeakKeyDictionary()


class Checkpoint(keras.callbacks.Callback):
    """Save everything that a training consists of after every epoch, in one atomic step, and take it up again.

    One file holds all variables of the network (batch statistics and the generators of dropout and augmentation too),
    those of the optimiser, the history, and what the other callbacks remember: patience counters, best values, best
    weights. Keras' own `BackupAndRestore` leaves out the last two and deletes its file in the end. A training that is
    killed and started again ends with the same bits, on the same device and versions; on a GPU this also needs
    `TF_DETERMINISTIC_OPS=1` in the environment before Keras is imported.

    It also stops a training whose loss is no finite number any more, and gives the network its last good weights.

    Two lines make any training of Keras go on, `resume` and the last callback::

        stopping = keras.callbacks.EarlyStopping(patience=5, restore_best_weights=True)
        checkpoint = gu.Checkpoint("training.npz", callbacks=[stopping])
        first_epoch = checkpoint.resume(model, train)
        model.fit(train, validation_data=validation, initial_epoch=first_epoch, epochs=50, shuffle=False,
                  callbacks=[stopping, checkpoint])

    Args:
        path: The file, a NumPy `.npz` without pickle; `None` saves nothing and still keeps the history.
        callbacks: The other callbacks whose memory is saved. They stand before this one in `fit`.
        identity: What tells this training from others besides its network, optimiser and loss: any `{name: value}`
            that JSON can hold, such as the seed and the fingerprint of the data.

    Attributes:
        history: `{quantity: one number per epoch}` over all sittings.
        seconds: Time spent training, over all sittings.
        complete: Whether all epochs are done, or early stopping ended them.
        stopped: Whether early stopping did.

    Example:
        >>> gu.Checkpoint("training.npz").resume(model, galaxies.keras_dataset(split.train))  # there is none yet
        0
    """

    def __init__(self, path, callbacks=(), identity=None):
        super().__init__()
        self.path, self.identity = None if path is None else Path(path), identity
        self.watched = {}
        for callback in callbacks:
            name = type(callback).__name__
            of_that_name = sum(type(other).__name__ == name for other in self.watched.values())
            self.watched[f"{name} {of_that_name}"] = callback
        self._about = None

    def resume(self, model, data=None):
        """Put the saved state into a compiled network and its optimiser, where there is any.

        Args:
            model: The compiled network.
            data: What `fit` gets; batches of `GalaxyDataset.keras_dataset` are told which epoch they are in.

        Returns:
            The `initial_epoch` for `fit`: how many epochs are done. After early stopping it is larger than any number
            of epochs, so that `fit` trains no more.

        Raises:
            ConfigurationError: A network that is not compiled, or the checkpoint of another training.
            DataError: The file is damaged or no checkpoint.
        """
        if not model.compiled:
            raise ConfigurationError("The network is not compiled.", where=model.name, remedy="call compile first")
        model.optimizer.build(model.trainable_variables)
        self.history, self.seconds, self.stopped, self.complete, self._memory = {}, 0.0, False, False, {}
        self._data = data
        self._about = {**(self.identity or {}), "compiled": describe_compiled(model)}
        if self.path is not None:
            self._about = json.loads(json.dumps({**self._about, "network": describe_network(model)}))
            if self.path.exists():
                self._load(model)
        if not (self.complete or self.stopped):
            _build_metrics(model, data)
        return NEVER if self.stopped else self.epochs

    @property
    def epochs(self):
        """How many epochs are done."""
        return len(self.history.get("loss", ()))

    def remind(self):
        """Give the watched callbacks back what they remembered. Training does so by itself."""
        for name, memory in self._memory.items():
            for attribute, value in memory.items() if name in self.watched else ():
                setattr(self.watched[name], attribute, value)

    def on_train_begin(self, logs=None):
        if self._about is None:
            problem = "It is not known whether to begin or to go on."
            remedy = "checkpoint.resume(model, data) before fit"
            raise ConfigurationError(problem, where=self.path, remedy=remedy)
        # The other callbacks have just forgotten everything.
        self._fresh = {name: _remembered(callback) for name, callback in self.watched.items()}
        self.remind()
        self._good_weights = self.model.get_weights()

    def on_epoch_begin(self, epoch, logs=None):
        self._started = time.perf_counter()
        if hasattr(self._data, "epoch"):
            self._data.epoch = epoch

    def on_epoch_end(self, epoch, logs=None):
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        logs = {"learning_rate": rate, **logs}
        bad = [name for name in ("loss", "val_loss") if name in logs and not math.isfinite(logs[name])]
        if bad:
            self.model.set_weights(self._good_weights)
            raise FloatingPointError(
                f"The {bad[0]} of epoch {epoch + 1} is {logs[bad[0]]}: the training diverged. Lower the learning rate "
                f"({logs['learning_rate']:.3g}) or clip the gradients. The network's weights are those "
                f"{f'after epoch {epoch}' if epoch else 'before training'}."
            )
        for name, value in logs.items():
            # Keras keeps the rate in 32 bits; more digits than these say nothing.
            value = float(f"{value:.7g}") if name == "learning_rate" else float(value)
            self.history.setdefault(name, []).append(value)
        self._good_weights = None  # Two copies at a time are enough.
        self._good_weights = self.model.get_weights()
        self.stopped = bool(self.model.stop_training)
        self.complete = self.stopped or epoch + 1 == self.params["epochs"]
        self.seconds += time.perf_counter() - self._started
        if self.path is not None:
            self._save()

    def _save(self):
        content = {"format": CHECKPOINT_FORMAT, "identity": self._about, "callbacks": {}}
        content |= {name: getattr(self, name) for name in ("history", "seconds", "stopped", "complete")}
        to_numpy = keras.ops.convert_to_numpy
        arrays = {f"{group}_{number}": to_numpy(value) for group, number, value in self._variables(self.model)}
        for name, callback in self.watched.items():
            fresh, content["callbacks"][name] = self._fresh[name], {}
            for attribute, value in _remembered(callback).items():
                if isinstance(value, list):
                    if [array.shape for array in value] == [tuple(weights.shape) for weights in self.model.weights]:
                        arrays |= {f"{name}|{attribute}|{number}": array for number, array in enumerate(value)}
                elif attribute not in fresh or isinstance(fresh[attribute], list) or fresh[attribute] != value:
                    content["callbacks"][name][attribute] = value
        write_arrays(self.path, {"content": np.array(json.dumps(content)), **arrays})

    @staticmethod
    def _variables(model):
        # `variables` holds more than `get_weights()`: also the state of each random generator.
        for group, variables in (("model", model.variables), ("optimizer", model.optimizer.variables)):
            for number, variable in enumerate(variables):
                yield group, number, variable

    def _load(self, model):
        # No pickle: a checkpoint from elsewhere cannot run code.
        with explain_read_errors("The checkpoint cannot be read.", self.path, remedy="delete the file to start again"):
            arrays = read_arrays(self.path)
            content = described(arrays, "content")
            if content["format"] != CHECKPOINT_FORMAT:
                raise ValueError(f"format {content['format']}; this version reads format {CHECKPOINT_FORMAT}")
            if differences := _differences(dict(content["identity"]), self._about):
                problem, found = "The checkpoint belongs to another training.", "; ".join(differences)
                remedy = "give this training a checkpoint path of its own, or delete the file to start again"
                raise ConfigurationError(problem, where=self.path, found=found, remedy=remedy)
            self.history = {name: [*map(float, values)] for name, values in content["history"].items()}
            if len(set(map(len, self.history.values()))) != 1:
                raise ValueError("the history is not one number per quantity and epoch")
            self.seconds, self.stopped, self.complete = (content[name] for name in ("seconds", "stopped", "complete"))
            self._memory = {name: dict(values) for name, values in content["callbacks"].items()}
            for name in [name for name in arrays if "|" in name]:
                callback, attribute, number = name.split("|")
                weights = self._memory[callback].setdefault(attribute, model.get_weights())
                weights[int(number)] = arrays[name].reshape(weights[int(number)].shape)
            for group, number, variable in self._variables(model):
                variable.assign(arrays[f"{group}_{number}"])


def _build_metrics(model, data):
    """Make the variables of a network's metrics, where targets are shaped as its outputs are.

    Keras makes those of optimiser and metrics in the first training step, and TensorFlow then translates that step a
    second time. Made before, it is translated once.
    """
    batch = data[0] if isinstance(data, keras.utils.PyDataset) else None
    targets = batch[1:2] if isinstance(batch, tuple) else ()
    # A class of its own that computes its loss by itself has no outputs of this kind.
    shapes = [tuple(output.shape[1:]) for output in getattr(model, "outputs", None) or ()]
    if shapes and [target.shape[1:] for target in keras.tree.flatten(targets)] == shapes:
        model.compute_metrics(None, targets[0], targets[0])
        model.reset_metrics()


def _remembered(callback):
    """Return the numbers and weights that a callback holds now."""
    memory = {}
    for name, value in vars(callback).items():
        value = value.item() if isinstance(value, np.generic) else value
        is_weights = isinstance(value, list) and value and all(isinstance(member, np.ndarray) for member in value)
        # Keras turns the sign of `min_delta` when it first needs it, and would turn it once more.
        is_setting = name.startswith("_") or name == "min_delta"
        if not is_setting and (is_weights or value is None or isinstance(value, (int, float))):
            memory[name] = value
    return memory


def _differences(theirs, mine, prefix=""):
    lines = []
    for name in sorted({*theirs, *mine}):
        there, here = theirs.get(name), mine.get(name)
        if isinstance(there, dict) and isinstance(here, dict):
            lines += _differences(there, here, f"{prefix}{name} ")
        elif there != here:
            lines.append(f"{prefix}{name} is {there!r} in the file, {here!r} here")
    return lines


def describe_compiled(model):
    """Return what a network was compiled with when it was first asked about: optimiser, loss and their weights."""
    if model.optimizer not in _COMPILED:
        config, optimizer = model.get_compile_config() or {}, keras.saving.serialize_keras_object(model.optimizer)
        about = {name: config.get(name) for name in ("loss", "loss_weights")}
        about["optimizer"] = {**optimizer["config"], "name": optimizer["class_name"]}
        _COMPILED[model.optimizer] = json.loads(_unnumbered(about))
    return _COMPILED[model.optimizer]


def describe_network(model):
    """Return a short text that two networks share only when layers, settings and seeds are the same.

    Numbers that Keras made up, such as in `dense_7`, do not count: they differ from one building to the next.
    """
    # The layers are named one by one as well, because a network of a class of its own may leave them out.
    members = [keras.saving.serialize_keras_object(member) for member in (model, *model.layers)]
    config = _unnumbered([[member["class_name"], member["config"]] for member in members])
    digest = hashlib.sha256(config.encode()).hexdigest()[:16]
    name = json.loads(_unnumbered(model.name))
    return f"{name}, {model.count_params():,} parameters, {digest}, on {keras.backend.backend()}"


def _unnumbered(value):
    """Return what Keras serialised as JSON, in which `"dense_7"` is `"dense"`."""
    text = json.dumps(value, sort_keys=True, default=lambda other: type(other).__name__)
    # Not where a colon follows: `"beta_1": 0.9` is a setting.
    return re.sub(r'"([a-z0-9_]+?)_[0-9]+"(?!:)', r'"\1"', text)
