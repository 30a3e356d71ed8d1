"""Networks whose weights are no numbers generate nothing: black images would pass for galaxies."""

import numpy as np
import pytest

from galaxy_utils import augmentation as add
from galaxy_utils.errors import DataError
from galaxy_utils.models import compact_cnn


def spoiled(network):
    network.set_weights([np.full_like(array, np.nan) for array in network.get_weights()])
    return network


def test_what_is_not_a_number_is_no_image():
    gan = add.conditional_gan(16, 2)
    spoiled(gan.generator)
    with pytest.raises(DataError, match="not a number"):
        add.generate_images(gan, [0, 1])
    enlarging = add.super_resolution_gan(16, compact_cnn(16))
    spoiled(enlarging.generator)
    with pytest.raises(DataError, match="not a number"):
        add.upscale(enlarging, np.zeros((2, 8, 8, 3), np.uint8))
