"""Random geometric augmentation as layers: a galaxy has no up, no left and no exact place.

The layers act in training only, draw anew for every image, and pass images through unchanged everywhere else. Importing
this module loads Keras, so nothing imports it before one of its layers is asked for.
"""

import math
import re

import keras
import numpy as np
from keras import ops

from galaxy_utils.data.views import NUM_VIEWS, dihedral_view
from galaxy_utils.errors import ConfigurationError, check_integer, check_number


class _RandomLayer(keras.layers.Layer):
    """What all of them share: a seed, a name, and doing nothing outside training."""

    def __init__(self, seed=1, dtype="float32", name=None, **options):
        # A name that Keras made up would depend on what was built before, and a checkpoint needs names that stay.
        name = name or re.sub(r"(?<!^)(?=[A-Z])", "_", type(self).__name__).lower()
        # float32 also under mixed precision: brightness from 0 to 255 with fractions does not fit into 16 bits.
        super().__init__(dtype=dtype, name=name, **options)
        check_integer("seed", seed, 0)
        self.seed, self.amounts = seed, ()
        # A variable of the network: checkpoints hold it, so that a resumed training draws what it would have drawn.
        self.generator = keras.random.SeedGenerator(seed)

    def set_amounts(self, **amounts):
        """Keep the largest changes as attributes. Each is given with its limit: `name=(value, limit)`."""
        for name, (value, limit) in amounts.items():
            check_number(name, value, f"[0, {limit}]")
            setattr(self, name, float(value))
        self.amounts = tuple(amounts)

    def build(self, input_shape):
        if len(input_shape) != 4 or input_shape[1] != input_shape[2]:
            expected = "square images, shape (n, side, side, channels)"
            raise ConfigurationError("Only squares can be turned.", expected=expected, found=tuple(input_shape))
        super().build(input_shape)

    def call(self, images, training=False):
        return self.transform(images) if training else images

    def compute_output_spec(self, images, training=False):
        return keras.KerasTensor(images.shape, images.dtype)

    def get_config(self):
        return {**super().get_config(), "seed": self.seed, **{name: getattr(self, name) for name in self.amounts}}


@keras.saving.register_keras_serializable("galaxy_utils")
class RandomDihedral(_RandomLayer):
    """Random dihedral (D4) augmentation: each image in one of its eight flips and 90° rotations.

    Pixels are moved, never changed, so 8-bit images stay what they were.

    Args:
        seed: Seed of the draws.

    Input and output: images, shape (n, side, side, channels), of any type.

    Example:
        >>> tuple(RandomDihedral(seed=1)(np.zeros((2, 8, 8, 3), np.uint8), training=True).shape)
        (2, 8, 8, 3)
    """

    def transform(self, images):
        side = images.shape[1]
        pixels = np.arange(side**2, dtype=np.int32).reshape(1, side, side, 1)
        # Where the pixels of each view come from. One look-up for the whole batch is several times quicker than to
        # mirror it along one axis after the other and to choose image by image.
        views = np.stack([dihedral_view(pixels, number).ravel() for number in range(NUM_VIEWS)])
        num_images = ops.shape(images)[0]
        drawn = keras.random.randint((num_images,), 0, NUM_VIEWS, seed=self.generator)
        first_pixels = ops.arange(num_images, dtype="int32")[:, None] * side**2
        sources = ops.take(views, drawn, axis=0) + first_pixels
        moved = ops.take(ops.reshape(images, (-1, images.shape[-1])), sources, axis=0)
        return ops.reshape(moved, ops.shape(images))


@keras.saving.register_keras_serializable("galaxy_utils")
class RandomRotationZoomShift(_RandomLayer):
    """Rotate, zoom and shift each image about its centre by amounts drawn at random.

    All three happen in one bilinear interpolation: three in a row would blur the image three times. What comes in from
    outside is the image's own border, mirrored. The sky in these pictures is neither black nor even, so corners of one
    constant would tell a network by how much an image was turned.

    Args:
        rotation: Largest angle either way, in degrees; 180 turns freely.
        zoom: Largest enlargement less 1; at 0.2 sizes are drawn between 1 / 1.2 and 1.2, evenly in the logarithm.
        shift: Largest shift along each axis, as a share of the side.
        seed: Seed of the draws.

    Input and output: images, shape (n, side, side, channels), of any type; integers are rounded.

    Example:
        >>> RandomRotationZoomShift(rotation=30.0, seed=1).get_config()["zoom"]
        0.2
    """

    def __init__(self, rotation=180.0, zoom=0.2, shift=0.05, seed=1, **options):
        super().__init__(seed, **options)
        self.set_amounts(rotation=(rotation, 180), zoom=(zoom, 1), shift=(shift, 0.5))
        # TensorFlow's interpolation has no XLA kernel.
        self.supports_jit = keras.backend.backend() != "tensorflow"

    def transform(self, images):
        draws = keras.random.uniform((4, ops.shape(images)[0]), -1.0, 1.0, seed=self.generator)
        angle = draws[0] * math.radians(self.rotation)
        size = ops.exp(draws[1] * math.log1p(self.zoom))
        return move_images(images, angle, size, draws[2] * self.shift, draws[3] * self.shift)


@keras.saving.register_keras_serializable("galaxy_utils")
class RandomShiftAndBrightness(_RandomLayer):
    """Shift each image by whole pixels and make it brighter or darker, by amounts drawn at random.

    Gradients pass through, so that a generator can learn from a discriminator that sees its images through this layer.
    What comes in at a border repeats the border.

    Args:
        shift: Largest shift along each axis, as a share of the side.
        brightness: Largest change of brightness either way, in units of the images.
        seed: Seed of the draws.

    Input and output: images, shape (n, side, side, channels), float; values are not clipped.

    Example:
        >>> RandomShiftAndBrightness(shift=0.1, seed=1).get_config()["shift"]
        0.1
    """

    def __init__(self, shift=0.0625, brightness=0.1, seed=1, **options):
        super().__init__(seed, **options)
        self.set_amounts(shift=(shift, 0.5), brightness=(brightness, math.inf))

    def transform(self, images):
        num_images, side = ops.shape(images)[0], images.shape[1]
        pixels = round(self.shift * side)
        if pixels:
            drawn = keras.random.randint((2, num_images, 1), -pixels, pixels + 1, seed=self.generator)
            sources = ops.clip(ops.arange(side, dtype="int32")[None, None] + drawn, 0, side - 1)
            # Matrices that pick rows and columns: their gradient is a matrix product, too, and quick on every backend.
            rows, columns = ops.one_hot(sources[0], side), ops.one_hot(sources[1], side)
            images = ops.einsum("nij,njkc->nikc", rows, images)
            images = ops.einsum("nij,nkjc->nkic", columns, images)
        return images + self.brightness * keras.random.uniform((num_images, 1, 1, 1), -1.0, 1.0, seed=self.generator)


def move_images(images, angle, size, right, down):
    """Rotate, enlarge and shift images about their centres, in one bilinear interpolation.

    Args:
        images: Shape (n, side, side, channels).
        angle: Counter-clockwise as seen on screen, radians, shape (n,).
        size: Enlargement, shape (n,).
        right: Shift to the right as a share of the side, shape (n,).
        down: Shift downwards, likewise.

    Returns:
        Images of the same shape and type.
    """
    side = images.shape[1]
    centre = (side - 1) / 2
    cosine, sine = ops.cos(angle) / size, ops.sin(angle) / size
    # Interpolation asks where each output pixel comes from, so this is the inverse: back by the shift, then turned and
    # shrunk about the centre. Rows of an image count downwards.
    across, along = centre + right * side, centre + down * side
    zeros = ops.zeros_like(cosine)
    rows = (
        cosine, -sine, centre - cosine * across + sine * along,
        sine, cosine, centre - sine * across - cosine * along,
        zeros, zeros,
    )  # fmt: skip
    dtype = keras.backend.standardize_dtype(images.dtype)
    integers = "int" in dtype
    moved = ops.image.affine_transform(
        ops.cast(images, "float32") if integers else images,
        ops.stack(rows, axis=1),
        interpolation="bilinear",
        fill_mode="reflect",
        data_format="channels_last",
    )
    return ops.cast(ops.round(moved), dtype) if integers else moved
