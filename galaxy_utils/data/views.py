"""The dihedral group D4: a square image rotated by 0, 90, 180 and 270 degrees, mirrored or not; no pixel changes."""

import numpy as np

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
