"""Paper 1's network that reconstructs and classifies at once, and the same network without its decoder."""

import math

import keras
from keras import layers
from keras.initializers import Constant, GlorotUniform, HeNormal, VarianceScaling

from galaxy_utils.classes import NUM_CLASSES
from galaxy_utils.errors import check_integer, check_number
from galaxy_utils.models.cnn import layer_seeds

ENCODER_FILTERS = (32, 64, 128, 256)
SKY = -2.5  # The sigmoid of this is 0.08, about the mean brightness of a galaxy's image.


def joint_autoencoder_classifier(image_size=256, num_classes=NUM_CLASSES, latent_dim=128, dropout=0.25, seed=1):
    """Build the autoencoder–classifier of paper 1 (progressive iteration, 2025), section 2.3 and figure 4.

    Encoder: four convolutions, each of which halves the image; then one vector of 128 numbers. Decoder: transposed
    convolutions back to the image, with a sigmoid. Classifier: 256 neurons with batch normalisation and dropout on the
    vector; softmax. Encoder and decoder are layers called `"encoder"` and `"decoder"` and models of their own.

    Train it with `fit(..., targets="images and labels")`.

    Inferred, because the paper does not say or the figure's labels are damaged: 32 filters in the first convolution
    (the figure reads "128x128x3", 64 and 128 follow) and 256 in the fourth, which the figure leaves out; 3×3 kernels
    with stride 2, zero padding and ReLU; a dense layer without activation as the way into the latent vector and one
    with ReLU as the way out; a decoder that mirrors the encoder, with 4×4 kernels, because 3×3 at stride 2 overlap
    unevenly and make chequerboards (Odena et al. 2016); ReLU before batch normalisation; its momentum 0.9; the dropout
    rate 0.25, that of the paper's other network. Initial weights follow He et al. (2015), because the usual ones halve
    the signal at every ReLU and with ten of them the decoder learns nothing for epochs; the reconstruction starts as
    dark as the sky.

    Args:
        image_size: Side of the square images, in pixels: a multiple of 16, because each of four stages halves it and
            the decoder has to arrive at the same size again.
        num_classes: Number of classes.
        latent_dim: Numbers in the latent vector.
        dropout: Share of the 256 activations that each training step sets to zero.
        seed: Seed of the initial weights and of dropout: the same seed gives the same network.

    Returns:
        A `keras.Model`. Input: RGB images, shape (n, image_size, image_size, 3), values 0–255, uint8 or float. Output:
        a dictionary with `"reconstruction"`, the images in [0, 1], and `"classification"`, class probabilities, shape
        (n, num_classes); both float32 under every precision policy.

    Raises:
        ConfigurationError: A size, a number of classes, a latent dimension, a dropout rate or a seed that cannot work.

    Example:
        >>> joint_autoencoder_classifier(32).get_layer("encoder").output.shape
        (None, 128)
    """
    return _build("joint_autoencoder_classifier", image_size, num_classes, latent_dim, dropout, seed, with_decoder=True)


def encoder_classifier(image_size=256, num_classes=NUM_CLASSES, latent_dim=128, dropout=0.25, seed=1):
    """Build `joint_autoencoder_classifier` without its decoder: the baseline for what reconstruction contributes.

    Everything that is left is the same, down to the initial weights and the random numbers of dropout. Train it with
    `fit(..., targets="labels")`.

    Args:
        image_size: As in `joint_autoencoder_classifier`.
        num_classes: Likewise.
        latent_dim: Likewise.
        dropout: Likewise.
        seed: Likewise.

    Returns:
        A `keras.Model` with the same input; its output is the class probabilities, shape (n, num_classes), float32.

    Raises:
        ConfigurationError: As in `joint_autoencoder_classifier`.

    Example:
        >>> encoder_classifier(32, num_classes=4).output.shape
        (None, 4)
    """
    return _build("encoder_classifier", image_size, num_classes, latent_dim, dropout, seed, with_decoder=False)


def _build(name, image_size, num_classes, latent_dim, dropout, seed, with_decoder):
    shrinks_by = 2 ** len(ENCODER_FILTERS)
    check_integer("image_size", image_size, shrinks_by, "four stages halve the image", multiple_of=shrinks_by)
    check_integer("num_classes", num_classes, 2)
    check_integer("latent_dim", latent_dim, 1)
    check_number("dropout", dropout, "[0, 1)")

    # One seed for every layer, the decoder's last: the other parts start alike with and without it.
    seeds = layer_seeds(seed)
    halve_or_double = {"strides": 2, "padding": "same"}

    pixels = keras.Input((image_size, image_size, 3), name="pixels")
    x = layers.Rescaling(1 / 255, name="rescale_to_unit_interval")(pixels)
    for number, filters in enumerate(ENCODER_FILTERS, start=1):
        options = {**halve_or_double, "activation": "relu", "kernel_initializer": HeNormal(next(seeds))}
        x = layers.Conv2D(filters, 3, name=f"convolution_{number}", **options)(x)
    smallest = tuple(x.shape[1:])
    x = layers.Flatten(name="flatten")(x)
    start = GlorotUniform(next(seeds))
    x = layers.Dense(latent_dim, kernel_initializer=start, dtype="float32", name="latent_vector")(x)
    encoder = keras.Model(pixels, x, name="encoder")

    images = keras.Input((image_size, image_size, 3), name="images")
    vectors = encoder(images)
    x = layers.Dense(256, activation="relu", kernel_initializer=HeNormal(next(seeds)), name="dense")(vectors)
    x = layers.BatchNormalization(momentum=0.9, name="dense_batch_normalisation")(x)
    x = layers.Dropout(dropout, seed=next(seeds), name="dense_dropout")(x)
    # float32 also under mixed precision, as for the reconstruction below.
    options = {"activation": "softmax", "kernel_initializer": GlorotUniform(next(seeds)), "dtype": "float32"}
    probabilities = layers.Dense(num_classes, name="class_probabilities", **options)(x)
    if not with_decoder:
        return keras.Model(images, probabilities, name=name)

    latent = keras.Input((latent_dim,), name="latent")
    start = HeNormal(next(seeds))
    x = layers.Dense(math.prod(smallest), activation="relu", kernel_initializer=start, name="dense")(latent)
    x = layers.Reshape(smallest, name="reshape")(x)
    for number, filters in enumerate(ENCODER_FILTERS[-2::-1], start=1):
        # A stride of 2 leaves each output pixel a quarter of the kernel, and Keras counts a transposed kernel's inputs
        # as its outputs: 8 by "fan_out" is He's 2 by the inputs that really arrive.
        start = VarianceScaling(8.0, "fan_out", seed=next(seeds))
        options = {**halve_or_double, "activation": "relu", "kernel_initializer": start}
        x = layers.Conv2DTranspose(filters, 4, name=f"transposed_convolution_{number}", **options)(x)
    options = {**halve_or_double, "activation": "sigmoid", "kernel_initializer": GlorotUniform(next(seeds))}
    options |= {"bias_initializer": Constant(SKY), "dtype": "float32"}
    x = layers.Conv2DTranspose(3, 4, name=f"transposed_convolution_{len(ENCODER_FILTERS)}", **options)(x)
    decoder = keras.Model(latent, x, name="decoder")
    return keras.Model(images, {"reconstruction": decoder(vectors), "classification": probabilities}, name=name)
