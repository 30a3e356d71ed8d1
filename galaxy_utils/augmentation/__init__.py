"""More training images than were taken: by geometry, autoencoders, adversarial networks. Importing this loads Keras."""

from galaxy_utils import renamed
from galaxy_utils.augmentation.autoencoders import denoising_autoencoder, variational_autoencoder
from galaxy_utils.augmentation.balance import PAPER_2_RARE, rare_classes, with_classes
from galaxy_utils.augmentation.gan import (
    CanonicalOrientation,
    add_generated,
    conditional_gan,
    generate_images,
    relativistic_gan,
)
from galaxy_utils.augmentation.geometric import RandomDihedral, RandomRotationZoomShift, RandomShiftAndBrightness
from galaxy_utils.augmentation.super_resolution import super_resolution_gan, upscale
from galaxy_utils.augmentation.synthetic import SyntheticImages, add_synthetic

__getattr__ = renamed.forwarding(__name__)
