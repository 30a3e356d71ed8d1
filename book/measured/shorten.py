"""Run a chapter at full size without its hours of training: Keras does one step of each kind, and notes what was asked.

`Shortened()` replaces four methods of `keras.Model` in this process, for good:

- `fit` trains one step of the last epoch that was asked for, and one of validation, callbacks and all. Its history is
  as long as it would have been: the one epoch's values, repeated. Before the first training on a set of images, a tiny
  network trains for a whole epoch on the same batches: so every image passes through the input pipeline and memory.
- `evaluate` does one step.
- `predict` answers for one batch, and repeats that answer for all others, in as much memory as they would take.
  Probabilities are drawn at random instead, so that no statistic meets constant rows.
- `predict_on_batch` answers for the first large batch of its kind and repeats that answer, until a network trains. It
  is what the package's loops over all images call: `gu.reconstruct`, `augmentation.upscale`, stored features.

Two functions of the package are replaced as well. `augmentation.generate_images` generates one batch. And a ledger's
rounds are all found promising: a round with all its seeds is the most that it can cost.

What callbacks predict at the end of an epoch is noted once. Early stopping is not known beforehand: a training counts
with all the epochs that it may take.
"""

import copy
import inspect
import re
import time
import weakref

import count_operations
import keras
import numpy as np

import galaxy_utils as gu
from galaxy_utils.augmentation import gan

# Smaller batches are computed whenever they are asked for.
LARGE_BATCH = 16
FIT, PREDICT, EVALUATE = keras.Model.fit, keras.Model.predict, keras.Model.evaluate
PREDICT_ON_BATCH, GENERATE = keras.Model.predict_on_batch, gan.generate_images


class Passing(keras.Model):
    """A tiny network whose loss asks for no targets: it only has the batches pass by."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return keras.ops.mean(y_pred)


class Shortened:
    """Replaces Keras' methods when it is made.

    Attributes:
        trainings: What was asked for: a list of dictionaries with `network`, `input` (shape of one image), `images`
            (all epochs together), `batch_size`, `times` (how many were alike), `gflop_per_image` and `counted`.
        predictions: The same for answers, validation's among them.
        seconds: Of the processor, what this program itself took, passing images and counting: no part of a chapter.
    """

    def __init__(self):
        self.trainings, self.predictions, self.seconds = [], [], 0.0
        self._passed, self._counts, self._calls = set(), {}, 0
        self._answers = weakref.WeakKeyDictionary()
        # Functions, not bound methods: in a class they become methods of the networks.
        keras.Model.fit = lambda model, *given, **options: self._fit(model, given, options)
        keras.Model.evaluate = lambda model, *given, **options: self._evaluate(model, given, options)
        keras.Model.predict = lambda model, *given, **options: self._predict(model, given, options)
        keras.Model.predict_on_batch = lambda model, x: self._predict_on_batch(model, x)
        gan.generate_images = gu.augmentation.generate_images = self._generate
        gu.Rule.promising = lambda *changes: True

    def _fit(self, model, given, options):
        options = _bound(FIT, model, given, options)
        epochs = options["epochs"] - options["initial_epoch"]
        if epochs <= 0:
            return FIT(**options)
        self._answers.clear()
        self._pass_all(options["x"])
        validation = options["validation_data"]
        once = {"initial_epoch": options["epochs"] - 1, "steps_per_epoch": 1}
        history = FIT(**options | once | {"validation_steps": None if validation is None else 1})
        for name, values in history.history.items():
            history.history[name] = values * (epochs // options["validation_freq"] if name[:4] == "val_" else epochs)
        for callback in options["callbacks"] or ():
            if isinstance(callback, gu.Checkpoint):
                for values in callback.history.values():
                    values += values[-1:] * (options["epochs"] - len(values))
        # Arrays, where there are no batches yet.
        batch_size = options["batch_size"] or 32
        images, batch = _images(options["x"]), _batch(options["x"], options["y"], batch_size)
        self._note(self.trainings, model, batch, epochs * images, count_operations.training_operations)
        if validation is not None:
            arrays = validation if isinstance(validation, tuple) else (validation, None)
            images, batch = _images(arrays[0]), _batch(*arrays[:2], options["validation_batch_size"] or batch_size)
            images *= epochs // options["validation_freq"]
            self._note(self.predictions, model, batch, images, count_operations.validation_operations)
        return history

    def _evaluate(self, model, given, options):
        if options.get("_use_cached_eval_dataset"):  # the validation of a training
            return EVALUATE(model, *given, **options)
        options = _bound(EVALUATE, model, given, options)
        batch = _batch(options["x"], options["y"], options["batch_size"] or 32)
        scores = EVALUATE(**options | {"steps": 1})
        self._note(self.predictions, model, batch, _images(options["x"]), count_operations.validation_operations)
        return scores

    def _predict(self, model, given, options):
        options = _bound(PREDICT, model, given, options)
        batch, images = _batch(options["x"], None, options["batch_size"] or 32)[0], _images(options["x"])
        size = len(keras.tree.flatten(batch)[0])
        if images <= size:
            return PREDICT(**options)
        key = _shape(batch)
        if key not in self._answers.setdefault(model, {}):
            self._answers[model][key] = PREDICT(**options | {"steps": 1})
        self._note(self.predictions, model, (batch,), images, _forward)
        return keras.tree.map_structure(lambda answer: self._repeated(answer, images), self._answers[model][key])

    def _predict_on_batch(self, model, x):
        size = len(keras.tree.flatten(x)[0])
        if size < LARGE_BATCH:
            return PREDICT_ON_BATCH(model, x)
        answers, key = self._answers.setdefault(model, {}), ("batch", size, _shape(x))
        if key not in answers:
            answers[key] = PREDICT_ON_BATCH(model, x)
        self._note(self.predictions, model, (x,), size, _forward)
        return keras.tree.map_structure(np.copy, answers[key])

    def _generate(self, network, labels, seed=1):
        labels = np.asarray(labels)
        made = GENERATE(network, labels[: gan.IMAGES_AT_ONCE], seed)
        if len(labels) <= len(made):
            return made
        generator = network.ema_generator or network.generator
        inputs = [np.zeros((len(made), *entry.shape[1:]), np.float32) for entry in generator.inputs]
        self._note(self.predictions, generator, (inputs,), len(labels), _forward)
        return np.resize(made, (len(labels), *made.shape[1:]))

    def _repeated(self, answer, images):
        self._calls += 1
        answer = np.asarray(answer)
        several = answer.ndim == 2 and answer.shape[1] > 1
        if several and (answer >= 0).all() and np.allclose(answer.sum(axis=1), 1, atol=0.01):
            random = np.random.default_rng([self._calls, images])
            return random.dirichlet(np.ones(answer.shape[1]), images).astype(answer.dtype)
        # As Keras does: one array for each batch, and then all of them in one.
        batches = [answer.copy() for _ in range(-(-images // len(answer)))]
        batches[-1] = batches[-1][: images - len(answer) * (len(batches) - 1)]
        return np.concatenate(batches)

    def _pass_all(self, x):
        """Have all images of a data set pass by, in the batches that a training is to get, once for each such set."""
        if not isinstance(x, keras.utils.PyDataset) or (first := np.asarray(x[0][0])).ndim != 4:
            return
        key = (_images(x), first.shape[1:])
        if key not in self._passed:
            started = time.process_time()
            self._passed.add(key)
            inputs = keras.Input(first.shape[1:])
            mean = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(inputs))
            network = Passing(inputs, keras.layers.Dense(1)(mean), name="passing")
            network.compile("sgd")
            FIT(network, copy.copy(x), shuffle=False, verbose=0)
            self.seconds += time.process_time() - started

    def _note(self, notes, model, data, images, count):
        started = time.process_time()
        name, shape = re.sub(r"_\d+$", "", model.name), _shape(data[0])
        size = len(keras.tree.flatten(data)[0])
        trained = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
        alike = (count.__name__, type(model).__name__, name, shape, size, trained, model.count_params())
        alike += (tuple(type(layer).__name__ for layer in model.layers),)
        if alike not in self._counts:
            counted = count(model, data)
            self._counts[alike] = counted if isinstance(counted, tuple) else (counted, "counted")
        operations, how = self._counts[alike]
        note = {"network": name, "input": shape, "batch_size": size}
        note |= {"gflop_per_image": float(f"{operations / 1e9:.5g}"), "counted": how}
        for other in notes:
            if note.items() <= other.items():
                break
        else:
            notes.append(other := {**note, "images": 0, "times": 0})
        other["images"] += int(images)
        other["times"] += 1
        self.seconds += time.process_time() - started


def _forward(model, data):
    return count_operations.forward_operations(model, data[0])


def _bound(function, model, given, options):
    """Return all arguments of a call by name, those that were not given, too."""
    bound = inspect.signature(function).bind(model, *given, **options)
    bound.apply_defaults()
    bound.arguments.pop("kwargs", None)
    return dict(bound.arguments)


def _images(x):
    """Count the images in what `fit` or `predict` was given."""
    if isinstance(x, keras.utils.PyDataset):
        first, last = (len(keras.tree.flatten(x[number])[0]) for number in (0, len(x) - 1))
        return first * (len(x) - 1) + last
    return len(keras.tree.flatten(x)[0])


def _batch(x, y, batch_size):
    """Return the first batch: inputs, and targets and weights where there are any."""
    if isinstance(x, keras.utils.PyDataset):
        batch = x[0]
        return tuple(batch) if isinstance(batch, (tuple, list)) else (batch,)
    arrays = (x,) if y is None else (x, y)
    return keras.tree.map_structure(lambda array: np.asarray(array[:batch_size]), arrays)


def _shape(inputs):
    """Return the shape of one image, or of each input of a network that has several."""
    shapes = tuple(tuple(np.shape(array)[1:]) for array in keras.tree.flatten(inputs))
    return shapes[0] if len(shapes) == 1 else shapes
