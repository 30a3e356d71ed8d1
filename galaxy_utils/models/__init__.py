"""Networks: functions that return a Keras model. Importing loads Keras."""

from galaxy_utils import renamed
from galaxy_utils.models.autoencoder import encoder_classifier, joint_autoencoder_classifier
from galaxy_utils.models.cnn import compact_cnn, four_block_cnn, three_block_cnn
from galaxy_utils.models.transfer import backbone_classifier, find_weights, random_weights
from galaxy_utils.pretrained import BACKBONES, describe_weights, imagenet_weights

__getattr__ = renamed.forwarding(__name__)
