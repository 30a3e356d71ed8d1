"""Denoising and variational autoencoders, with which paper 1 made more training images. Importing this loads Keras."""

import math

import keras
from keras import layers, ops

from galaxy_utils.errors import check_integer, check_number
from galaxy_utils.models.cnn import layer_seeds

# Three convolutions with stride 2 in the encoder, three transposed ones in the decoder.
FILTERS = (32, 64, 64)
SHRINKING = 2 ** len(FILTERS)


@keras.saving.register_keras_serializable("galaxy_utils")
class SampleLatent(layers.Layer):
    """Sample a latent vector from the encoder's normal distribution (reparameterisation), and add the KL term.

    Input: shape (n, 2 · latent_dim), means followed by logarithms of variances. Output: shape (n, latent_dim), a sample
    in training (mean + standard deviation · noise) and the mean elsewhere. The divergence of the distribution from the
    standard normal one, −½ Σ (1 + log σ² − μ² − σ²) nats, times a weight is added to the network's loss (Kingma and
    Welling 2014, appendix B).

    Args:
        divergence_weight: That weight.
        seed: Seed of the noise.
    """

    def __init__(self, divergence_weight, seed=1, **options):
        super().__init__(**options)
        self.divergence_weight, self.seed = divergence_weight, seed
        self.generator = keras.random.SeedGenerator(seed)

    def call(self, statistics, training=False):
        mean, log_variance = ops.split(statistics, 2, axis=-1)
        divergence = -0.5 * ops.sum(1 + log_variance - ops.square(mean) - ops.exp(log_variance), axis=-1)
        self.add_loss(self.divergence_weight * ops.mean(divergence))
        if not training:
            return mean
        noise = keras.random.normal(ops.shape(mean), dtype=mean.dtype, seed=self.generator)
        return mean + ops.exp(0.5 * log_variance) * noise

    def compute_output_spec(self, statistics, training=False):
        return keras.KerasTensor((*statistics.shape[:-1], statistics.shape[-1] // 2), statistics.dtype)

    def get_config(self):
        return {**super().get_config(), "divergence_weight": self.divergence_weight, "seed": self.seed}


def denoising_autoencoder(image_size=64, latent_channels=16, noise=0.1, seed=1):
    """Build an autoencoder that gets noisy images and is asked for the clean ones (Vincent et al. 2008).

    Paper 1 names denoising autoencoders and says nothing about them; all sizes here are this book's. Three convolutions
    with stride 2 leave an eighth of the image's side, squeezed into `latent_channels` channels; transposed convolutions
    lead back. Noise is added in training only: outside it, the network cleans the image it is given.

    Args:
        image_size: Side of the square images, in pixels; a multiple of 8.
        latent_channels: Channels of the bottleneck. At 64 px, 16 of them make 8 · 8 · 16 = 1,024 numbers, a twelfth of
            the image's 12,288.
        noise: Standard deviation of the added Gaussian noise, as a share of the full brightness range.
        seed: Seed of the initial weights and of the noise.

    Returns:
        A `keras.Model`. Input: RGB images, shape (n, image_size, image_size, 3), values 0–255, uint8 or float. Output:
        images of the same shape in [0, 1], float32. Train it with `gu.fit(..., targets="images")`.

    Raises:
        ConfigurationError: A size, noise or seed that cannot work.

    Example:
        >>> denoising_autoencoder(32).output.shape
        (None, 32, 32, 3)
    """
    check_integer("image_size", image_size, SHRINKING, "each of three stages halves the image", multiple_of=SHRINKING)
    check_integer("latent_channels", latent_channels, 1)
    check_number("noise", noise, "(0, 1]")
    seeds = layer_seeds(seed)
    images = keras.Input((image_size, image_size, 3), name="images")
    x = layers.Rescaling(1 / 255, name="rescale_to_unit_interval")(images)
    x = layers.GaussianNoise(noise, seed=next(seeds), name="added_noise")(x)
    x = layers.Conv2D(latent_channels, 1, kernel_initializer=_glorot(seeds), name="latent")(_shrink(x, seeds))
    return keras.Model(images, _grow(x, seeds), name="denoising_autoencoder")


def variational_autoencoder(image_size=64, latent_dim=64, pixel_noise=0.05, seed=1):
    """Build a convolutional variational autoencoder (Kingma and Welling 2014).

    The encoder turns an image into a normal distribution over latent vectors, a sample of it is decoded, and a KL
    divergence keeps the distributions close to the standard normal one, so that there are galaxies everywhere between
    two galaxies. Paper 1 names variational autoencoders and says nothing about them; all sizes here are this book's.

    The weight of the divergence is not a free number. For pixels that scatter about the reconstruction with standard
    deviation σ, the negative evidence lower bound is, up to a constant, (D / 2σ²) · MSE + divergence, for D values in
    an image and the mean squared error MSE. Divided by D / 2σ², to keep the loss an MSE, the weight is 2σ² / D.

    Args:
        image_size: Side of the square images, in pixels; a multiple of 8.
        latent_dim: Length of the latent vectors.
        pixel_noise: σ as a share of the full brightness range. The sky of Galaxy10's images scatters by about 0.05.
            Larger values make the latent space smoother and the images blurrier.
        seed: Seed of the initial weights and of the samples.

    Returns:
        A `keras.Model` with the input and output of `denoising_autoencoder`. Its layer `"encoder"` is a model from
        images to means followed by logarithms of variances, shape (n, 2 · latent_dim); its layer `"decoder"` is one
        from latent vectors to images in [0, 1].

    Raises:
        ConfigurationError: A size, noise or seed that cannot work.

    Example:
        >>> variational_autoencoder(32, latent_dim=8).get_layer("encoder").output.shape
        (None, 16)
    """
    check_integer("image_size", image_size, SHRINKING, "each of three stages halves the image", multiple_of=SHRINKING)
    check_integer("latent_dim", latent_dim, 1)
    check_number("pixel_noise", pixel_noise, "(0, 1]")
    seeds = layer_seeds(seed)
    images = keras.Input((image_size, image_size, 3), name="images")
    x = layers.Rescaling(1 / 255, name="rescale_to_unit_interval")(images)
    x = layers.Flatten(name="flatten")(_shrink(x, seeds))
    # float32 also under mixed precision: the weight of the divergence, 2σ² / D, is smaller than 16 bits can hold.
    options = {"dtype": "float32", "kernel_initializer": _glorot(seeds), "name": "means_and_log_variances"}
    statistics = layers.Dense(2 * latent_dim, **options)(x)
    encoder = keras.Model(images, statistics, name="encoder")

    vectors = keras.Input((latent_dim,), name="latent_vectors")
    shape = (image_size // SHRINKING, image_size // SHRINKING, FILTERS[-1])
    options = {"activation": "relu", "kernel_initializer": _glorot(seeds), "name": "from_latent"}
    x = layers.Dense(math.prod(shape), **options)(vectors)
    x = layers.Reshape(shape, name="to_feature_maps")(x)
    decoder = keras.Model(vectors, _grow(x, seeds), name="decoder")

    weight = 2 * pixel_noise**2 / (image_size**2 * 3)
    sample = SampleLatent(weight, seed=next(seeds), dtype="float32", name="sample_latent")
    return keras.Model(images, decoder(sample(encoder(images))), name="variational_autoencoder")


def _glorot(seeds):
    return keras.initializers.GlorotUniform(next(seeds))


def _shrink(x, seeds):
    for number, channels in enumerate(FILTERS, start=1):
        x = _stage(x, layers.Conv2D, channels, 3, seeds, f"shrink_{number}")
    return x


def _grow(x, seeds):
    # Kernels of 4 with stride 2 reach each pixel equally often; kernels of 3 would weave a chequered pattern.
    for number, channels in enumerate((FILTERS[1], FILTERS[0]), start=1):
        x = _stage(x, layers.Conv2DTranspose, channels, 4, seeds, f"grow_{number}")
    # float32 also under mixed precision, like every output of this package.
    options = {"activation": "sigmoid", "dtype": "float32", "kernel_initializer": _glorot(seeds)}
    return layers.Conv2DTranspose(3, 4, strides=2, padding="same", name="reconstruction", **options)(x)


def _stage(x, convolution, channels, kernel, seeds, name):
    weights = keras.initializers.HeNormal(next(seeds))
    x = convolution(channels, kernel, strides=2, padding="same", kernel_initializer=weights, name=name)(x)
    # Most pixels are dark sky. Without batch normalisation a network soon gives black everywhere and stays there,
    # because a sigmoid near 0 lets no gradient through.
    x = layers.BatchNormalization(momentum=0.9, name=f"{name}_batch_normalisation")(x)
    return layers.ReLU(name=f"{name}_relu")(x)
