"""A backbone of two residual blocks in place of those of keras.applications: compiled in a second."""

import contextlib

import keras
import pytest
from keras import layers

from galaxy_utils.pretrained import BACKBONES, Backbone


def build(include_top, weights, input_tensor):
    """Sixteen layers; the last block begins with the sixth from the end."""
    assert not include_top and weights is None
    x = layers.Conv2D(4, 3, strides=4, padding="same", use_bias=False, name="stem")(input_tensor)
    x = layers.BatchNormalization(name="stem_bn")(x)
    x = layers.Dropout(0.5, name="stem_dropout")(x)
    for number in (1, 2):
        shortcut = x
        for half in "ab":
            x = layers.Conv2D(4, 3, padding="same", use_bias=False, name=f"block_{number}{half}")(x)
            x = layers.BatchNormalization(name=f"block_{number}{half}_bn")(x)
        x = layers.Add(name=f"block_{number}_add")([x, shortcut])
        x = layers.ReLU(name=f"block_{number}_relu")(x)
    return keras.Model(input_tensor, x)


@contextlib.contextmanager
def toy_backbone():
    """Offer it as the backbone "toy"."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.applications, "Toy", build, raising=False)
        patch.setitem(BACKBONES, "toy", Backbone("Toy", "tf", "toy/toy.weights.h5", None, 10_000))
        yield
