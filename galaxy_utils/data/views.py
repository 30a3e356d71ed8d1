"""Square images in the eight views of the dihedral group D4, where no pixel changes its value; or with fewer pixels."""

import functools

import numpy as np
from PIL import Image

from galaxy_utils import renamed

NUM_VIEWS = 8


def dihedral_view(images, number):
    """Return square images in one of their eight views.

    Args:
        images: Shape (n, side, side, channels).
        number: 0 to 7; 0 is the image as it is, 1 to 3 rotated by 90, 180 and 270 degrees, 4 to 7 the same of its
            mirror image: the views of `augmentation.RandomDihedral`, in the same order.

    Returns:
        Images of the same shape and type; no pixel changes its value.
    """
    mirrored = images[:, :, ::-1] if number >= 4 else images
    return np.rot90(mirrored, number % 4, axes=(1, 2))


def area_average(images, size):
    """Resize square images by exact area averaging: each new pixel is the mean of the area that it covers.

    Args:
        images: Shape (n, side, side, 3), dtype uint8.
        size: New side, pixels.

    Returns:
        Shape (n, size, size, 3), dtype uint8, rounded to integers. n must not be 0.
    """
    num_images, side = images.shape[:2]
    if side == size:
        return np.ascontiguousarray(images)
    if side % size == 0:
        # Whole pixels: Pillow is ten times faster than the general way below, and as exact.
        return np.stack([np.asarray(Image.fromarray(image).reduce(side // size)) for image in images])
    weights, of_bands = _area_weights(side, size)
    rows = weights @ images.reshape(num_images, side, side * 3).astype(np.float32)
    area = rows.reshape(-1, side * 3) @ of_bands.T
    return np.rint(area).astype(np.uint8).reshape(num_images, size, size, 3)


@functools.lru_cache(8)
def _area_weights(side, size):
    """Return the share of each old pixel in each new one, rows sum to 1; and three interleaved copies of these shares.

    The copies average the columns of all three bands in one matrix product.
    """
    edges, old = np.arange(size + 1)[:, None] * (side / size), np.arange(side)
    overlap = np.minimum(edges[1:], old + 1) - np.maximum(edges[:-1], old)
    weights = (overlap.clip(min=0) * (size / side)).astype(np.float32)
    return weights, np.kron(weights, np.eye(3, dtype=np.float32))


class ViewedImages:
    """Lazy images in one of their views: stands in for a dataset's `images`.

    Args:
        images: Array or lazy array, shape (n, side, side, 3).
        number: As in `dihedral_view`.
    """

    def __init__(self, images, number):
        self.images, self.number = images, number
        self.shape, self.dtype = images.shape, images.dtype

    def __getitem__(self, rows):
        chosen = np.asarray(self.images[rows])
        return dihedral_view(chosen[None], self.number)[0] if chosen.ndim == 3 else dihedral_view(chosen, self.number)


__getattr__ = renamed.forwarding(__name__)
