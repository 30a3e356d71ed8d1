"""Networks: functions that return a Keras model. Importing this loads no Keras; calling one of them does."""

from galaxy_utils.models.autoencoder import classifier_alone, joint_autoencoder_classifier
from galaxy_utils.models.cnn import paper_1_cnn, paper_2_cnn, small_cnn
from galaxy_utils.models.transfer import (
    BACKBONES,
    backbone_classifier,
    backbone_features,
    find_weights,
    imagenet_weights,
    random_weights,
)

__all__ = [
    "BACKBONES",
    "backbone_classifier",
    "backbone_features",
    "classifier_alone",
    "find_weights",
    "imagenet_weights",
    "joint_autoencoder_classifier",
    "paper_1_cnn",
    "paper_2_cnn",
    "random_weights",
    "small_cnn",
]
