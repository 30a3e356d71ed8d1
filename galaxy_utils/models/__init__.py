"""Networks: functions that return a Keras model. Importing this loads no Keras; calling one of them does."""

from galaxy_utils.models.autoencoder import encoder_classifier, joint_autoencoder_classifier
from galaxy_utils.models.cnn import compact_cnn, four_block_cnn, three_block_cnn
from galaxy_utils.models.transfer import (
    BACKBONES,
    backbone_classifier,
    find_weights,
    imagenet_weights,
    random_weights,
)
from galaxy_utils.renamed import forward

__all__ = [
    "BACKBONES",
    "backbone_classifier",
    "encoder_classifier",
    "find_weights",
    "imagenet_weights",
    "joint_autoencoder_classifier",
    "four_block_cnn",
    "three_block_cnn",
    "random_weights",
    "compact_cnn",
]


def __getattr__(name):
    return forward(__name__, name)
