"""Convolutional networks, both papers' and a compact modern one, from 8-bit pixels to class probabilities."""

import keras
import numpy as np
from keras import layers

from galaxy_utils.classes import NUM_CLASSES
from galaxy_utils.errors import check_argument, check_integer, check_number


def four_block_cnn(
    image_size=256, num_classes=NUM_CLASSES, pooling="flatten", augmentation=None, seed=1,
    block_dropout=0.25, first_filters=32):  # fmt: skip
    """Build the baseline CNN of paper 1 (progressive iteration, 2025), section 2.2.

    Four blocks of 3×3 convolution, ReLU, batch normalisation, 2×2 max pooling and dropout 0.25; flatten; 512 neurons
    with ReLU; dropout 0.25; softmax. At 256 px the layer of 512 neurons has 65,536 × 512 + 512 = 33,554,944
    parameters, the figure in the paper.

    Inferred, because the paper does not say: the filters of the first three blocks (32, 64, 128; "progressively
    increases the number of feature channels", and only the last, 256, follows from its arithmetic), zero padding (the
    paper's 256 → 16 pixels needs it) and the momentum 0.9 of batch normalisation.

    Args:
        image_size: Side of the square images, in pixels; at least 16. A size that is not a multiple of 16 loses the
            odd row and column at each pooling.
        num_classes: Number of classes.
        pooling: `"flatten"` as in the paper, or `"average"`, which replaces that one layer by global average pooling
            and leaves everything else as it is.
        augmentation: A layer, or several in a list, that changes the images in training, such as
            `gu.augmentation.RandomDihedral()`. It comes before everything else; weights do not depend on it.
        seed: Seed of the initial weights and of dropout: the same seed gives the same network.
        block_dropout: Share of each block's activations that a training step sets to zero, 0.25 as in the paper. 0
            leaves these four layers out and changes nothing else, the initial weights included.
        first_filters: Filters of the first block, 32 as in the paper; each later block has twice as many as the one
            before, and the dense layer 16 times as many. Eight make a network of the same kind that trains on a laptop.

    Returns:
        A `keras.Model`. Input: RGB images, shape (n, image_size, image_size, 3), values 0–255, uint8 or float; the
        first layer scales them to [0, 1] in float32. Output: class probabilities, shape (n, num_classes), float32
        under every precision policy.

    Raises:
        ConfigurationError: A size, a number of classes, a pooling, a seed or a dropout that cannot work.

    Example:
        >>> four_block_cnn(image_size=256).get_layer("dense").count_params()
        33554944
    """
    check_number("block_dropout", block_dropout, "[0, 1)")
    _check_network(image_size, 16, num_classes, pooling)
    check_integer("first_filters", first_filters, 1)
    seeds = layer_seeds(seed)
    images, x = _scaled_images(image_size, augmentation)
    for number, block in enumerate(("block_1", "block_2", "block_3", "block_4")):
        x = _convolution(x, first_filters * 2**number, block, seeds)
        # Keras' own momentum, 0.99, averages over hundreds of steps: more than a small profile's epoch has.
        x = layers.BatchNormalization(momentum=0.9, name=f"{block}_batch_normalisation")(x)
        x = layers.MaxPooling2D(2, name=f"{block}_max_pooling")(x)
        # Drawn also where it is not used: all other layers keep their seeds, so that the two networks compare.
        dropout_seed = next(seeds)
        if block_dropout:
            x = layers.Dropout(block_dropout, seed=dropout_seed, name=f"{block}_dropout")(x)
    x = _dense(_pooled(x, pooling), 16 * first_filters, "relu", "dense", seeds)
    x = layers.Dropout(0.25, seed=next(seeds), name="dense_dropout")(x)
    name = "four_block_cnn" if pooling == "flatten" else "four_block_cnn_average_pooling"
    return keras.Model(images, _class_probabilities(x, num_classes, seeds), name=name)


def three_block_cnn(image_size=256, num_classes=NUM_CLASSES, seed=1, augmentation=None):
    """Build the network of paper 2 (augmentation by adversarial networks), section 3.2.

    Three convolutions with 32, 64 and 128 filters, each followed by pooling; 512 neurons; softmax.

    Inferred, because the paper does not say: 3×3 kernels, zero padding, ReLU, 2×2 max pooling, no dropout and no
    batch normalisation (none is mentioned).

    Args:
        image_size: Side of the square images, in pixels; at least 8.
        num_classes: Number of classes.
        seed: Seed of the initial weights: the same seed gives the same network.
        augmentation: As in `four_block_cnn`.

    Returns:
        A `keras.Model` with the input and output of `four_block_cnn`.

    Raises:
        ConfigurationError: A size, a number of classes or a seed that cannot work.

    Example:
        >>> three_block_cnn(image_size=64, num_classes=4).output.shape
        (None, 4)
    """
    _check_network(image_size, 8, num_classes)
    seeds = layer_seeds(seed)
    images, x = _scaled_images(image_size, augmentation)
    for block, filters in (("block_1", 32), ("block_2", 64), ("block_3", 128)):
        x = _convolution(x, filters, block, seeds)
        x = layers.MaxPooling2D(2, name=f"{block}_max_pooling")(x)
    x = _dense(_pooled(x, "flatten"), 512, "relu", "dense", seeds)
    return keras.Model(images, _class_probabilities(x, num_classes, seeds), name="three_block_cnn")


def compact_cnn(image_size=96, num_classes=NUM_CLASSES, augmentation=None, seed=1, pooling="average"):
    """Build a compact network in today's manner: no large dense layer, most weights in the last convolutions.

    One 5×5 convolution that halves the image; three blocks of 2×2 max pooling and two 3×3 convolutions with 64, 128 and
    256 filters; each convolution with batch normalisation and ReLU; global average pooling; dropout 0.3; softmax. 1.2
    million parameters at any image size. Train it with `recipes.COMPACT_CNN` and with the layers of `gu.augmentation`:
    it is the recipe that makes it good.

    The first convolution looks at 25 pixels at once and halves the image, so that a picture of 96 px costs no more than
    one of 64 px in a network that begins with 3×3 at full size, and arms and bars span more pixels.

    Args:
        image_size: Side of the square images, in pixels; at least 16.
        num_classes: Number of classes.
        augmentation: As in `four_block_cnn`.
        seed: Seed of the initial weights and of dropout: the same seed gives the same network.
        pooling: `"average"`, or `"flatten"` to see what average pooling is good for.

    Returns:
        A `keras.Model` with the input and output of `four_block_cnn`.

    Raises:
        ConfigurationError: A size, a number of classes, a pooling or a seed that cannot work.

    Example:
        >>> compact_cnn(image_size=96).count_params()
        1169898
    """
    _check_network(image_size, 16, num_classes, pooling)
    seeds = layer_seeds(seed)

    def convolution(x, filters, kernel, strides, name):
        start = keras.initializers.HeNormal(seed=next(seeds))
        options = {"padding": "same", "use_bias": False, "kernel_initializer": start}
        x = layers.Conv2D(filters, kernel, strides, name=f"{name}_convolution", **options)(x)
        x = layers.BatchNormalization(momentum=0.9, name=f"{name}_batch_normalisation")(x)
        return layers.ReLU(name=f"{name}_relu")(x)

    images, x = _scaled_images(image_size, augmentation)
    x = convolution(x, 32, 5, 2, "stem")
    for block, filters in (("block_1", 64), ("block_2", 128), ("block_3", 256)):
        x = layers.MaxPooling2D(2, name=f"{block}_max_pooling")(x)
        x = convolution(convolution(x, filters, 3, 1, f"{block}a"), filters, 3, 1, f"{block}b")
    x = layers.Dropout(0.3, seed=next(seeds), name="dropout")(_pooled(x, pooling))
    return keras.Model(images, _class_probabilities(x, num_classes, seeds), name="compact_cnn")


def _scaled_images(image_size, augmentation):
    """Return a network's input and its values in [0, 1]."""
    # The input is declared float: 8-bit images are cast on the device, and float images 0–255 are not cut to integers.
    images = keras.Input((image_size, image_size, 3), name="images")
    return images, layers.Rescaling(1 / 255, name="rescale_to_unit_interval")(_augmented(images, augmentation))


def _convolution(x, filters, block, seeds):
    start = keras.initializers.GlorotUniform(seed=next(seeds))
    options = {"padding": "same", "activation": "relu", "kernel_initializer": start}
    return layers.Conv2D(filters, 3, name=f"{block}_convolution", **options)(x)


def _dense(x, units, activation, name, seeds, **options):
    start = keras.initializers.GlorotUniform(seed=next(seeds))
    return layers.Dense(units, activation, kernel_initializer=start, name=name, **options)(x)


def _class_probabilities(x, num_classes, seeds):
    # float32 also under mixed precision: probabilities near 0 and 1 do not survive in 16 bits.
    return _dense(x, num_classes, "softmax", "class_probabilities", seeds, dtype="float32")


def _check_network(image_size, smallest, num_classes, pooling="flatten"):
    check_integer("image_size", image_size, smallest, "each halving needs something to halve")
    check_integer("num_classes", num_classes, 2, "a classifier needs something to choose between")
    check_argument(pooling in ("flatten", "average"), "pooling", pooling, "'flatten' or 'average'")


def _pooled(x, pooling):
    """Turn feature maps into one vector."""
    if pooling == "flatten":
        return layers.Flatten(name="flatten")(x)
    return layers.GlobalAveragePooling2D(name="global_average_pooling")(x)


def _augmented(images, augmentation):
    """Pass images through one augmenting layer, several, or none."""
    if augmentation is None:
        return images
    for layer in augmentation if isinstance(augmentation, (list, tuple)) else [augmentation]:
        images = layer(images)
    return images


def layer_seeds(seed):
    """Give every layer a seed of its own instead of Keras' global generator, which depends on what was built before.

    Args:
        seed: Seed of the network.

    Returns:
        An iterator over more seeds than any network here has layers.

    Raises:
        ConfigurationError: No seed: an integer, at least 0.
    """
    check_integer("seed", seed, 0)
    # Halved, because some backends keep seeds as signed 32-bit numbers.
    return iter((np.random.SeedSequence(seed).generate_state(64) // 2).tolist())
