"""How many floating-point operations does a step of a network take? Counted in TensorFlow's graph, not measured.

The network's own `train_step`, whatever it is, is traced for one batch of fixed size; `tf.compat.v1.profiler` then adds
up the operations of every node: convolutions and matrix products, forwards and backwards, biases, pooling, sums over
elements, the optimiser. A multiplication and an addition are two operations. Not counted are the few kinds of nodes for
which TensorFlow knows no number, such as a batch normalisation on its fused path, a comparison of two images in
`where`, or an interpolation: they take time, but hardly any arithmetic.
"""

import keras
import numpy as np
import tensorflow as tf


def training_operations(model, data):
    """Count the operations of one training step.

    Args:
        model: A Keras network that has been compiled and trained for a step, so that everything in it is built.
        data: A batch as `fit` hands it on: `(images, targets)`, with sample weights or without.

    Returns:
        `(operations for each image, how)`: `how` is `"counted"`, or `"3 x forward"` where the step cannot be traced.
    """
    try:
        return _operations(lambda *batch: model.train_step(batch), data) / _length(data), "counted"
    except Exception:  # whatever a train_step of somebody's own may do with a graph
        return 3 * forward_operations(model, data[0]), "3 x forward"


def validation_operations(model, data):
    """Count the operations for each image of one step of `evaluate`; the arguments are those of `training_operations`.

    It is more than the network's answer where the loss asks further networks, such as a discriminator.
    """
    try:
        return _operations(lambda *batch: model.test_step(batch), data) / _length(data)
    except Exception:
        return forward_operations(model, data[0])


def forward_operations(model, inputs):
    """Count the operations for each image of one step of `predict`.

    Args:
        model: A Keras network.
        inputs: A batch of what it takes: an array, or a list or dictionary of arrays.
    """
    return _operations(lambda batch: model(batch, training=False), (inputs,)) / _length(inputs)


def _operations(step, data):
    def specification(array):
        array = np.asarray(array)
        return tf.TensorSpec(array.shape, np.float32 if array.dtype == np.float64 else array.dtype)

    specifications = keras.tree.map_structure(specification, tuple(data))
    graph = tf.function(step, autograph=False).get_concrete_function(*specifications).graph
    profiler = tf.compat.v1.profiler
    options = profiler.ProfileOptionBuilder.float_operation() | {"output": "none"}
    return profiler.profile(graph, options=options).total_float_ops


def _length(data):
    return len(keras.tree.flatten(data)[0])
