"""A super-resolution network (SRGAN) that doubles an image's side, as paper 2 used one. Importing this loads Keras."""

import keras
import numpy as np
from keras import layers, ops

from galaxy_utils.augmentation.adversarial import frozen_scores
from galaxy_utils.errors import ConfigurationError, check_integer, check_number
from galaxy_utils.models.cnn import layer_seeds
from galaxy_utils.training import finite

DISCRIMINATOR_FILTERS = (16, 16, 32, 32, 64, 64, 64, 64)
# Channels inside the generator, and at the full size, where each costs most.
CHANNELS, DETAIL_CHANNELS = 24, 12
# How much stronger the discriminator sees what halving an image takes from it.
HIGH_PASS_CONTRAST = 10
MEANS = ("pixel_loss", "feature_loss", "generator_loss", "discriminator_loss", "ranking_accuracy")


def super_resolution_gan(
    image_size, feature_network, *, feature_layer="block_1b_relu", feature_weight=1e-3, adversarial_weight=3e-4, seed=1
):
    """Build a network that is shown galaxies at half their size and is asked for the originals (Ledig et al. 2017).

    It is the network that chapter 8 builds in its cells. Paper 2 states the factor of 2, "8 generator layers and 9
    discriminator layers", and nothing else. Here layers with weights are counted. Generator: a 5×5 convolution; two
    residual blocks of two 3×3 convolutions, with a skip connection over both; a sub-pixel convolution (Shi et al.
    2016); two 3×3 convolutions. Discriminator: eight 3×3 convolutions, every second with stride 2; a dense layer.

    What differs from Ledig et al., so that minutes suffice:

    - The generator adds detail to the bicubic interpolation instead of making the whole image.
    - One step of back-projection (Irani and Peleg 1991) shifts each block of 2×2 pixels so that its mean is the small
      pixel again: nothing that the network invents can change what was seen.
    - The generator has a per-pixel noise input: new noise in each step of training, the same
      for each batch afterwards.
    - The discriminator has a high-pass input beside the image: what halving takes from it, ten times as strong.
    - There is no batch normalisation (Lim et al. 2017 measured it to do harm).
    - The feature extractor is not VGG, which knows photographs, but a classifier of galaxies.

    The loss of the generator is a sum of three: pixels (mean squared error of values 0 to 1), features (mean squared
    difference of a classifier's feature maps, in units of their variance in the originals) and adversarial
    (cross-entropy of the discriminator's prediction), the last two with weights. Train the network with
    `gu.fit(..., targets="images")`. The history holds `pixel_loss`, `feature_loss`, `generator_loss` (adversarial),
    `discriminator_loss` and `ranking_accuracy`: how often the discriminator gives an original a higher score than what
    was generated from it.

    Args:
        image_size: Side of the originals, pixels; a multiple of 16.
        feature_network: A Keras model of images 0–255 of this size, usually a trained classifier; a frozen copy of it
            is used.
        feature_layer: Name of the layer whose output counts as features; the default is one of `compact_cnn`.
        feature_weight: Weight of the feature (perceptual) loss.
        adversarial_weight: Weight of the adversarial loss.
        seed: Seed of the initial weights and of the noise.

    Returns:
        A `keras.Model`. Input: RGB images, shape (n, image_size, image_size, 3), values 0–255; they are halved inside
        by averaging 2×2 pixels. Output: the same images as they come back, in [0, 1], float32. Its attributes
        `generator`, from images in [0, 1] of any size to images of twice that size, and `discriminator` are models of
        their own.

    Raises:
        ConfigurationError: A size, a weight or a seed that cannot work, or a feature network for another size.
        ValueError: The feature network has no such layer.

    Example:
        >>> network = super_resolution_gan(32, gu.models.compact_cnn(32))
        >>> network.generator.count_params()
        35031
    """
    check_integer("image_size", image_size, 16, "the discriminator halves the image four times", multiple_of=16)
    check_number("feature_weight", feature_weight, "[0, inf)")
    check_number("adversarial_weight", adversarial_weight, "[0, inf)")
    seeds = layer_seeds(seed)
    parts = {
        "generator": _generator(seed, seeds),
        "discriminator": _discriminator(image_size, seeds),
        "features": _feature_extractor(feature_network, feature_layer, image_size),
    }
    return SuperResolutionGAN(image_size, parts, feature_weight, adversarial_weight)


def upscale(model, images, batch_size=32):
    """Return images at twice their size, by the generator of a trained network.

    Args:
        model: A network from `super_resolution_gan`, trained, or any with an attribute `generator` like its.
        images: Shape (n, height, width, 3), uint8; sides of any length. Read batch by batch.
        batch_size: Images per step.

    Returns:
        Images, shape (n, 2 · height, 2 · width, 3), uint8.

    Raises:
        DataError: The generator's output is not a number.

    Example:
        >>> network = super_resolution_gan(32, gu.models.compact_cnn(32))
        >>> upscale(network, images[:, ::2, ::2]).shape
        (5, 32, 32, 3)
    """
    count, height, width, bands = images.shape
    enlarged = np.empty((count, 2 * height, 2 * width, bands), np.uint8)
    for start in range(0, count, batch_size):
        small = np.asarray(images[start : start + batch_size], np.float32) / 255
        large = finite(model.generator, model.generator.predict_on_batch(small))
        enlarged[start : start + batch_size] = np.rint(255 * large.clip(0, 1))
    return enlarged


@keras.saving.register_keras_serializable("galaxy_utils")
class DepthToSpace(layers.Layer):
    """Turn 4c channels of n × n pixels into c channels of 2n × 2n: the second half of a sub-pixel convolution."""

    def call(self, x):
        batch, height, width, channels = ops.shape(x)
        x = ops.reshape(x, (batch, height, width, 2, 2, channels // 4))
        x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
        return ops.reshape(x, (batch, 2 * height, 2 * width, channels // 4))


@keras.saving.register_keras_serializable("galaxy_utils")
class NoiseInput(layers.Layer):
    """Put three maps of random numbers beside feature maps: new ones in training, the same ones otherwise."""

    def __init__(self, seed, **options):
        super().__init__(**options)
        self.seed, self.numbers = seed, keras.random.SeedGenerator(seed)

    def call(self, x, training=False):
        seed = self.numbers if training else self.seed
        noise = keras.random.normal((*ops.shape(x)[:3], 3), seed=seed)
        return ops.concatenate([x, ops.cast(noise, x.dtype)], axis=-1)

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}


PARTS = ("generator", "discriminator", "features")


@keras.saving.register_keras_serializable("galaxy_utils")
class SuperResolutionGAN(keras.Model):
    """What `super_resolution_gan` returns: generator and discriminator that train against each other in one `fit`.

    `compute_loss` adds two losses that must not reach the same weights: the discriminator's, on generated images whose
    gradient is stopped, and the generator's, through a discriminator whose weights are stopped. Each network then gets
    its own gradient from one backward pass, whatever the backend.
    """

    def __init__(self, image_size, parts, feature_weight, adversarial_weight):
        images = keras.Input((image_size, image_size, 3), name="images")
        small = layers.AveragePooling2D(2, name="halve")(layers.Rescaling(1 / 255, name="rescale")(images))
        super().__init__(images, parts["generator"](small), name="super_resolution_gan")
        self.generator, self.discriminator, self.features = (parts[name] for name in PARTS)
        self.feature_weight, self.adversarial_weight = feature_weight, adversarial_weight
        self.means = {name: keras.metrics.Mean(name=name) for name in MEANS}

    def get_config(self):
        parts = {name: keras.saving.serialize_keras_object(getattr(self, name)) for name in PARTS}
        weights = {name: getattr(self, name) for name in ("feature_weight", "adversarial_weight")}
        return {"image_size": self.input.shape[1], "parts": parts, **weights}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        parts = {name: keras.saving.deserialize_keras_object(part) for name, part in config["parts"].items()}
        return cls(**config | {"parts": parts})

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        y = ops.cast(y, "float32")
        pixel = ops.mean(ops.square(y - y_pred))
        # float32 also under mixed precision: the losses are added, and squares do not fit into 16 bits.
        of_original, found = (ops.cast(self.features(255 * each, training=False), "float32") for each in (y, y_pred))
        wanted = ops.stop_gradient(of_original)
        difference = ops.mean(ops.square(found - wanted))
        feature = difference / (ops.var(wanted) + 1e-6)
        real = self.discriminator(y, training=training)
        fake = self.discriminator(ops.stop_gradient(y_pred), training=training)
        adversarial = ops.mean(ops.softplus(-frozen_scores(self.discriminator, y_pred, training)))
        of_discriminator = ops.mean(ops.softplus(-real) + ops.softplus(fake))
        ranking = ops.mean(ops.cast(real > fake, "float32"))
        values = (pixel, feature, adversarial, of_discriminator, ranking)
        for mean, value in zip(self.means.values(), values, strict=True):
            mean.update_state(value, sample_weight=ops.shape(y)[0])  # a last batch may be a small one
        # The discriminator's own loss has no weight: Adam's steps do not depend on one.
        return pixel + self.feature_weight * feature + self.adversarial_weight * adversarial + of_discriminator


def _convolution(x, filters, kernel, name, seed, **options):
    options = {"kernel_initializer": keras.initializers.HeNormal(seed)} | options
    return layers.Conv2D(filters, kernel, padding="same", name=name, **options)(x)


def _generator(noise_seed, seeds):
    small = keras.Input((None, None, 3), name="small_images")
    x = first = layers.LeakyReLU(0.2, name="first_relu")(_convolution(small, CHANNELS, 5, "first", next(seeds)))
    for name in ("block_1", "block_2"):
        residual = layers.LeakyReLU(0.2, name=f"{name}_relu")(_convolution(x, CHANNELS, 3, f"{name}a", next(seeds)))
        x = layers.Add(name=f"{name}_add")([x, _convolution(residual, CHANNELS, 3, f"{name}b", next(seeds))])
    x = layers.Add(name="skip")([x, first])
    x = DepthToSpace(name="depth_to_space")(_convolution(x, 4 * DETAIL_CHANNELS, 3, "sub_pixel", next(seeds)))
    x = NoiseInput(noise_seed, name="noise")(x)
    # Leaky, because most pixels are dark sky and plain ones die on it.
    x = layers.LeakyReLU(0.2, name="mix_relu")(_convolution(x, DETAIL_CHANNELS, 3, "mix", next(seeds)))
    # 0 in the beginning, so that training starts from the bicubic image and not from noise.
    detail = _convolution(x, 3, 3, "detail", None, kernel_initializer="zeros")
    bicubic = layers.UpSampling2D(2, interpolation="bicubic", dtype="float32", name="bicubic")(small)
    large = layers.Add(dtype="float32", name="add_detail")([bicubic, detail])
    again = layers.AveragePooling2D(2, dtype="float32", name="halved_again")(large)
    lost = layers.Subtract(dtype="float32", name="lost")([small, again])
    lost = layers.UpSampling2D(2, dtype="float32", name="lost_enlarged")(lost)
    large = layers.Add(dtype="float32", name="back_projection")([large, lost])
    generator = keras.Model(small, large, name="generator")
    # The four pixels that one becomes start equal: no chessboard has to be unlearned (Aitken et al. 2017).
    kernel = generator.get_layer("sub_pixel").kernel
    kernel.assign(ops.tile(kernel[..., :DETAIL_CHANNELS], (1, 1, 1, 4)))
    return generator


def _discriminator(image_size, seeds):
    images = keras.Input((image_size, image_size, 3), name="images")
    x = layers.Rescaling(2, -1, name="rescale")(images)
    low = layers.UpSampling2D(2, name="low_pass")(layers.AveragePooling2D(2, name="low_pass_halve")(x))
    high = layers.Rescaling(HIGH_PASS_CONTRAST, name="high_pass_contrast")(layers.Subtract(name="high_pass")([x, low]))
    x = layers.Concatenate(name="image_and_high_pass")([x, high])
    for number, filters in enumerate(DISCRIMINATOR_FILTERS, start=1):
        x = _convolution(x, filters, 3, f"convolution_{number}", next(seeds), strides=1 if number % 2 else 2)
        x = layers.LeakyReLU(0.2, name=f"leaky_relu_{number}")(x)
    last = keras.initializers.GlorotUniform(next(seeds))
    score = layers.Dense(1, kernel_initializer=last, dtype="float32", name="score")(layers.Flatten(name="flatten")(x))
    return keras.Model(images, score, name="discriminator")


def _feature_extractor(network, layer_name, image_size):
    """Return a frozen copy of a network up to the layer whose features count."""
    takes, wanted = tuple(network.input.shape[1:]), (image_size, image_size, 3)
    if takes != wanted:
        problem = "The feature network takes images of another size."
        raise ConfigurationError(problem, where=network.name, expected=wanted, found=takes)
    part = keras.Model(network.input, network.get_layer(layer_name).output, name="features")
    # Layers are shared between models, and freezing them here would freeze them in the caller's network.
    frozen = keras.models.clone_model(part)
    frozen.set_weights(part.get_weights())
    frozen.trainable = False
    return frozen
