"""Half the side and twice the side of images: what a super-resolution network is trained and compared with."""

import numpy as np
from PIL import Image

from galaxy_utils.data.prepare import area_average


def halve(images):
    """Return images at half their side, each pixel the mean of four, as larger pixels of a telescope would be.

    Args:
        images: Shape (n, side, side, 3), uint8, even side.
    """
    return area_average(np.asarray(images), images.shape[1] // 2)


def enlarge_bicubic(images):
    """Return images at twice their side, by bicubic interpolation: what every enlargement has to beat.

    Args:
        images: Shape (n, height, width, 3), uint8; read one by one.

    Returns:
        Shape (n, 2 · height, 2 · width, 3), uint8.

    Example:
        >>> enlarge_bicubic(np.zeros((5, 8, 8, 3), np.uint8)).shape
        (5, 16, 16, 3)
    """
    count, height, width, bands = images.shape
    enlarged = np.empty((count, 2 * height, 2 * width, bands), np.uint8)
    for number in range(count):
        image = Image.fromarray(np.asarray(images[number]))
        enlarged[number] = image.resize((2 * width, 2 * height), Image.Resampling.BICUBIC)
    return enlarged
