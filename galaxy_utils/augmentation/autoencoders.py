"""Two autoencoders that learn to redraw galaxies, as paper 1 used them to make more training images."""

from numbers import Real

from galaxy_utils.errors import ConfigurationError
from galaxy_utils.models.cnn import check_integer, layer_seeds

# Three convolutions with stride 2 on the way in, three transposed ones on the way out.
FILTERS = (32, 64, 64)
SHRINKING = 2 ** len(FILTERS)


def denoising_autoencoder(image_size=64, latent_channels=16, noise=0.1, seed=1):
    """Build an autoencoder that gets noisy images and is asked for the clean ones (Vincent et al. 2008).

    Paper 1 names denoising autoencoders and says nothing about them; all sizes here are this book's. Three convolutions
    with stride 2 leave an eighth of the image's side, squeezed into `latent_channels` channels; transposed convolutions
    lead back. Noise is added in training only: outside it, the network cleans the image it is given.

    Args:
        image_size: Side of the square images, in pixels; a multiple of 8.
        latent_channels: Channels of the narrowest layer. At 64 px, 16 of them make 8 · 8 · 16 = 1,024 numbers, a
            twelfth of the image's 12,288.
        noise: Standard deviation of the added Gaussian noise, as a share of the full brightness range.
        seed: Seed of the initial weights and of the noise.

    Returns:
        A `keras.Model`. Input: RGB images, shape (n, image_size, image_size, 3), values 0–255, uint8 or float. Output:
        images of the same shape in [0, 1], float32. Train it with `gu.fit(..., targets="images")`.

    Raises:
        ConfigurationError: A size, noise or seed that cannot work.
    """
    _check_sizes(image_size, "latent_channels", latent_channels, seed)
    _check_share("noise", noise)
    import keras
    from keras import layers

    seeds = layer_seeds(seed)
    images = keras.Input((image_size, image_size, 3), name="images")
    x = layers.Rescaling(1 / 255, name="rescale_to_unit_interval")(images)
    x = layers.GaussianNoise(noise, seed=next(seeds), name="added_noise")(x)
    x = _shrink(x, seeds)
    x = layers.Conv2D(
        latent_channels, 1, kernel_initializer=keras.initializers.GlorotUniform(next(seeds)), name="latent"
    )(x)
    return keras.Model(images, _grow(x, seeds), name="denoising_autoencoder")


def variational_autoencoder(image_size=64, latent_dim=64, pixel_noise=0.05, seed=1):
    """Build a convolutional variational autoencoder (Kingma and Welling 2014).

    The encoder turns an image into a normal distribution over latent vectors, a draw from it is decoded, and a
    divergence keeps the distributions close to the standard normal one, so that there are galaxies everywhere between
    two galaxies. Paper 1 names variational autoencoders and says nothing about them; all sizes here are this book's.

    The weight of the divergence is not a free number. For pixels that scatter about the drawn image with standard
    deviation σ, the negative evidence bound is, up to a constant, (D / 2σ²) · MSE + divergence, for D values in an
    image and the mean squared error MSE. Divided by D / 2σ², to keep the loss an MSE, the weight is 2σ² / D.

    Args:
        image_size: Side of the square images, in pixels; a multiple of 8.
        latent_dim: Length of the latent vectors.
        pixel_noise: σ as a share of the full brightness range. The sky of Galaxy10's images scatters by about 0.05.
            Larger values make the latent space smoother and the images blurrier.
        seed: Seed of the initial weights and of the draws.

    Returns:
        A `keras.Model` with the input and output of `denoising_autoencoder`. Its layer `"encoder"` is a model from
        images to means followed by logarithms of variances, shape (n, 2 · latent_dim); its layer `"decoder"` is one
        from latent vectors to images in [0, 1].

    Raises:
        ConfigurationError: A size, noise or seed that cannot work.
    """
    _check_sizes(image_size, "latent_dim", latent_dim, seed)
    _check_share("pixel_noise", pixel_noise)
    import keras
    from keras import layers

    from galaxy_utils.augmentation.sampling import SampleLatent

    seeds = layer_seeds(seed)

    def random_weights():
        return keras.initializers.GlorotUniform(next(seeds))

    images = keras.Input((image_size, image_size, 3), name="images")
    x = layers.Rescaling(1 / 255, name="rescale_to_unit_interval")(images)
    x = layers.Flatten(name="flatten")(_shrink(x, seeds))
    statistics = layers.Dense(2 * latent_dim, kernel_initializer=random_weights(), name="means_and_log_variances")(x)
    encoder = keras.Model(images, statistics, name="encoder")

    vectors = keras.Input((latent_dim,), name="latent_vectors")
    side = image_size // SHRINKING
    x = layers.Dense(
        side * side * FILTERS[-1], activation="relu", kernel_initializer=random_weights(), name="from_latent"
    )(vectors)
    x = layers.Reshape((side, side, FILTERS[-1]), name="to_feature_maps")(x)
    decoder = keras.Model(vectors, _grow(x, seeds), name="decoder")

    sample = SampleLatent(2 * pixel_noise**2 / (image_size**2 * 3), seed=next(seeds), name="sample_latent")
    return keras.Model(images, decoder(sample(encoder(images))), name="variational_autoencoder")


def _shrink(x, seeds):
    from keras import layers

    for number, channels in enumerate(FILTERS, start=1):
        x = _stage(x, layers.Conv2D, channels, 3, next(seeds), f"shrink_{number}")
    return x


def _grow(x, seeds):
    import keras
    from keras import layers

    # Kernels of 4 with stride 2 reach each pixel equally often; kernels of 3 would weave a chequered pattern.
    for number, channels in enumerate((FILTERS[1], FILTERS[0]), start=1):
        x = _stage(x, layers.Conv2DTranspose, channels, 4, next(seeds), f"grow_{number}")
    # float32 also under mixed precision, like every output of this package.
    return layers.Conv2DTranspose(
        3, 4, strides=2, padding="same", activation="sigmoid", dtype="float32",
        kernel_initializer=keras.initializers.GlorotUniform(next(seeds)), name="reconstruction",
    )(x)  # fmt: skip


def _stage(x, convolution, channels, kernel, seed, name):
    import keras
    from keras import layers

    weights = keras.initializers.HeNormal(seed)
    x = convolution(channels, kernel, strides=2, padding="same", kernel_initializer=weights, name=name)(x)
    # Most pixels are dark sky. Without batch normalisation a network soon answers black everywhere and stays there,
    # because a sigmoid near 0 lets no gradient through.
    x = layers.BatchNormalization(momentum=0.9, name=f"{name}_batch_normalisation")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def _check_sizes(image_size, latent_name, latent_size, seed):
    check_integer("image_size", image_size, SHRINKING, f"each of the {len(FILTERS)} stages halves the image")
    check_integer(latent_name, latent_size, 1, "nothing can be redrawn from nothing")
    check_integer("seed", seed, 0, "seeds are counted from zero")
    if image_size % SHRINKING:
        raise ConfigurationError(
            "The decoder cannot give back images of this size.",
            where="image_size",
            expected=f"a multiple of {SHRINKING}",
            found=repr(image_size),
        )


def _check_share(name, value):
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < value <= 1:
        raise ConfigurationError(
            f"The autoencoder cannot be built with this {name}.",
            where=name,
            expected="a number above 0 and at most 1, as a share of the full brightness range",
            found=repr(value),
        )
