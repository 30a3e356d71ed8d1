"""Keras classes that networks of `models.transfer` are made of. Imported by functions only, as it loads Keras.

Import it before `keras.models.load_model` reads such a network back in a new process.
"""

import itertools
import math

import keras
from keras import ops

from galaxy_utils.errors import DataError


def is_wrong_scale(images):
    """Return whether a batch cannot be images 0–255: one truth value, as a tensor.

    It is wrong if its largest value is above 0 but not above 1, as after a division by 255, or if a value lies below
    −1, as after the scaling of Keras' own `preprocess_input`.
    """
    largest = ops.max(images)
    return ops.logical_or(ops.logical_and(largest > 0, largest <= 1), ops.min(images) < -1)


@keras.saving.register_keras_serializable("galaxy_utils")
class InputScaling(keras.layers.Layer):
    """Scale RGB images 0–255 as a backbone saw them when it was trained.

    Args:
        mode: `"caffe"`, `"tf"` or `"torch"`, as in `keras.applications.imagenet_utils.preprocess_input`: mean ImageNet
            colours subtracted from blue, green and red; [−1, 1]; mean colours subtracted and divided by their scatter.

    Input and output: shape (n, height, width, 3); the output is float32, also for uint8 and under mixed precision.
    """

    def __init__(self, mode, dtype="float32", **options):
        super().__init__(dtype=dtype, **options)
        self.mode = mode

    def call(self, images):
        images = ops.cast(images, self.compute_dtype)
        return keras.applications.imagenet_utils.preprocess_input(images, data_format="channels_last", mode=self.mode)

    def get_config(self):
        return {**super().get_config(), "mode": self.mode}


@keras.saving.register_keras_serializable("galaxy_utils")
class NoAnswerOnWrongScale(keras.layers.Layer):
    """Pass scores on, unless the images behind them were not 0–255.

    Outside a compiled function a batch on the wrong scale raises an error. Inside one no error can be raised: there all
    scores become NaN, no answer instead of a wrong one. This is done at a network's end because NaN would not survive
    the way through it: TensorFlow's ReLU makes zeros of them.

    Input: scores, shape (n, classes), and images. Output: scores, float32.
    """

    def __init__(self, dtype="float32", **options):
        super().__init__(dtype=dtype, **options)

    def call(self, inputs):
        scores, images = inputs
        wrong = is_wrong_scale(images)
        self._raise_if_known(wrong, images)
        return ops.where(wrong, float("nan"), scores)

    def _raise_if_known(self, wrong, images):
        try:
            known = bool(wrong)
        except TypeError:
            # Every backend refuses to say whether something is true while it still compiles.
            return
        if known:
            raise DataError(
                "The images are on the wrong scale for this network.",
                where="the images that the network was called with",
                expected="RGB values from 0 to 255, uint8 or float; the network scales them itself",
                found=f"values from {float(ops.min(images)):.3g} to {float(ops.max(images)):.3g}",
                remedy="pass the images as they are in the dataset, not divided by 255 and not preprocessed",
            )

    def compute_output_spec(self, inputs):
        return keras.KerasTensor(inputs[0].shape, self.compute_dtype)


@keras.saving.register_keras_serializable("galaxy_utils")
class FrozenNetwork(keras.Model):
    """A network that does not train and always runs as in prediction, also as a part of one that trains.

    `trainable = False` alone would stop batch normalisation, but not dropout. And Keras 3 passes the mode of the whole
    network on to its parts even where a part was called with `training=False`.
    """

    # Keras only reads a network of another class back if its arguments have exactly these names.
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.trainable = False

    def call(self, inputs, training=None, mask=None):
        return super().call(inputs, training=False, mask=mask)


@keras.saving.register_keras_serializable("galaxy_utils")
class FixedBatchNormalization(keras.layers.BatchNormalization):
    """Batch normalisation whose scale and offset train while its mean and variance stay those it was loaded with."""

    def call(self, inputs, training=None, mask=None):
        return super().call(inputs, training=False, mask=mask)


@keras.saving.register_keras_serializable("galaxy_utils")
class FeatureTensors(keras.layers.Layer):
    """Give stored features, one row of numbers for each galaxy, the shapes that they had in the network.

    Args:
        shapes: One shape, without the batch, for each tensor.

    Input: shape (n, numbers of all tensors together). Output: a list of tensors.
    """

    def __init__(self, shapes, **options):
        super().__init__(**options)
        self.shapes = [tuple(shape) for shape in shapes]

    def call(self, features):
        ends = list(itertools.accumulate(math.prod(shape) for shape in self.shapes))
        starts = [0, *ends[:-1]]
        return [
            ops.reshape(features[:, start:end], (-1, *shape))
            for start, end, shape in zip(starts, ends, self.shapes, strict=True)
        ]

    def get_config(self):
        return {**super().get_config(), "shapes": self.shapes}
