"""The Keras classes behind `super_resolution`. Importing this module loads Keras."""

import keras
import numpy as np
from keras import layers, ops

from galaxy_utils.augmentation._adversarial import AdversarialModel
from galaxy_utils.augmentation.super_resolution import DISCRIMINATOR_FILTERS, FACTOR
from galaxy_utils.errors import ConfigurationError
from galaxy_utils.models.cnn import layer_seeds

# One random number for each colour of a pixel.
GRAIN_MAPS = 3
# Channels at the full size, where each costs most.
DETAIL_CHANNELS = 12
# How much stronger the discriminator sees what halving an image takes from it.
DETAIL_CONTRAST = 10


@keras.saving.register_keras_serializable("galaxy_utils")
class BicubicEnlargement(layers.Layer):
    """Double the side of images by bicubic interpolation."""

    def call(self, images):
        height, width = ops.shape(images)[1], ops.shape(images)[2]
        return ops.image.resize(
            images, (FACTOR * height, FACTOR * width), interpolation="bicubic", data_format="channels_last"
        )

    def compute_output_shape(self, shape):
        return (shape[0], *_doubled(shape[1:3]), shape[3])


@keras.saving.register_keras_serializable("galaxy_utils")
class Grain(layers.Layer):
    """Put maps of random numbers beside feature maps: new ones in training, always the same ones otherwise."""

    def __init__(self, seed, **options):
        super().__init__(**options)
        self.seed = seed
        self.numbers = keras.random.SeedGenerator(seed)

    def call(self, x, training=False):
        shape = (*ops.shape(x)[:3], GRAIN_MAPS)
        grain = keras.random.normal(shape, seed=self.numbers if training else self.seed)
        return ops.concatenate([x, ops.cast(grain, x.dtype)], axis=-1)

    def compute_output_spec(self, x, training=False):
        return keras.KerasTensor((*x.shape[:3], x.shape[3] + GRAIN_MAPS), x.dtype)

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}


@keras.saving.register_keras_serializable("galaxy_utils")
class KeepSmallImage(layers.Layer):
    """Shift each block of FACTOR × FACTOR pixels so that its mean is the small pixel that it came from."""

    def call(self, large, small):
        return large + _repeat(small - _halve(large))

    def compute_output_spec(self, large, small):
        return keras.KerasTensor(large.shape, large.dtype)


@keras.saving.register_keras_serializable("galaxy_utils")
class LostDetail(layers.Layer):
    """Put beside images what halving takes from them, made stronger: the noise of a dark sky is hard to see."""

    def call(self, images):
        return ops.concatenate([images, DETAIL_CONTRAST * (images - _repeat(_halve(images)))], axis=-1)

    def compute_output_spec(self, images):
        return keras.KerasTensor((*images.shape[:3], 2 * images.shape[3]), images.dtype)


@keras.saving.register_keras_serializable("galaxy_utils")
class SuperResolutionGAN(AdversarialModel):
    """What `super_resolution_gan` returns; the losses are described there."""

    def __init__(
        self,
        image_size,
        feature_network,
        feature_layer,
        channels,
        seed,
        *,
        pixel_weight,
        feature_weight,
        adversarial_weight,
    ):
        seeds = layer_seeds(seed)
        # Without an opponent every random number is only an error.
        generator = _generator(channels, seed if adversarial_weight else None, seeds)
        images = keras.Input((image_size, image_size, 3), name="images")
        x = layers.Rescaling(1 / 255, name="rescale_to_unit_interval")(images)
        halved = layers.AveragePooling2D(FACTOR, name="halve")(x)
        super().__init__(images, generator(halved), name="super_resolution_gan")
        self.generator = generator
        self.pixel_weight, self.feature_weight = float(pixel_weight), float(feature_weight)
        self.adversarial_weight = float(adversarial_weight)
        self.discriminator = _discriminator(image_size, seeds) if adversarial_weight else None
        self.features = None if feature_network is None else _frozen_features(feature_network, feature_layer, images)
        self.settings = {
            "image_size": image_size,
            "channels": channels,
            "seed": seed,
            "features": None if feature_network is None else f"{feature_network.name}, {self.features.layers[-1].name}",
            "pixel_weight": self.pixel_weight,
            "feature_weight": self.feature_weight,
            "adversarial_weight": self.adversarial_weight,
        }
        names = ["pixel_loss"] + ["feature_loss"] * (self.features is not None)
        self.add_means(*names, adversarial=self.discriminator is not None)

    def get_config(self):
        return dict(self.settings)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        losses = {"pixel_loss": ops.mean(ops.square(y - y_pred))}
        loss = self.pixel_weight * losses["pixel_loss"]
        if self.features is not None:
            wanted = ops.stop_gradient(self.features(255 * y, training=False))
            differences = ops.square(self.features(255 * y_pred, training=False) - wanted)
            losses["feature_loss"] = ops.mean(differences) / (ops.var(wanted) + 1e-6)
            loss = loss + self.feature_weight * losses["feature_loss"]
        if self.discriminator is not None:
            y = ops.cast(y, "float32")
            of_originals = self.discriminator(y, training=training)
            of_made = self.discriminator(ops.stop_gradient(y_pred), training=training)
            losses["discriminator_loss"] = ops.mean(ops.softplus(-of_originals) + ops.softplus(of_made))
            losses["generator_loss"] = ops.mean(ops.softplus(-self.judged([y_pred], training)))
            losses["ranking_accuracy"] = ops.mean(ops.cast(of_originals > of_made, "float32"))
            # The discriminator's own loss has no weight: Adam's steps do not depend on one.
            loss = loss + losses["discriminator_loss"] + self.adversarial_weight * losses["generator_loss"]
        self.note(losses)
        return loss


def _halve(images):
    return ops.average_pool(images, FACTOR, FACTOR, data_format="channels_last")


def _repeat(images):
    return ops.repeat(ops.repeat(images, FACTOR, axis=1), FACTOR, axis=2)


def _doubled(sides):
    return tuple(side and FACTOR * side for side in sides)


def _generator(channels, grain, seeds):
    def convolution(x, filters, kernel, name, initializer=None):
        initializer = initializer or keras.initializers.HeNormal(next(seeds))
        return layers.Conv2D(filters, kernel, padding="same", kernel_initializer=initializer, name=name)(x)

    small = keras.Input((None, None, 3), name="small_images")
    x = first = layers.LeakyReLU(0.2, name="first_leaky_relu")(convolution(small, channels, 5, "first"))
    for number in (1, 2):
        block = layers.LeakyReLU(0.2, name=f"block_{number}_leaky_relu")(
            convolution(x, channels, 3, f"block_{number}a")
        )
        x = layers.Add(name=f"block_{number}_add")([x, convolution(block, channels, 3, f"block_{number}b")])
    x = layers.Add(name="skip_add")([first, convolution(x, channels, 3, "closing")])
    # A transposed or sub-pixel convolution has other weights for each of the four pixels that one becomes, and with an
    # opponent it chequers even sky (Odena et al. 2016). Here all four have the same.
    x = layers.UpSampling2D(FACTOR, interpolation="bilinear", name="double")(x)
    if grain is not None:
        # Asked for the noise of the sky and given no chance, a generator weaves it from its feature maps.
        x = Grain(grain, name="grain")(x)
    x = convolution(x, DETAIL_CHANNELS, 3, "mix")
    # Leaky, because most pixels are dark sky and plain ones die on it.
    x = layers.LeakyReLU(0.2, name="mix_leaky_relu")(x)
    # Near 0 in the beginning, so that training starts from the bicubic image and not from noise.
    detail = convolution(x, 3, 3, "detail", keras.initializers.RandomNormal(stddev=3e-3, seed=next(seeds)))
    enlarged = BicubicEnlargement(name="bicubic")(small)
    large = layers.Add(dtype="float32", name="add_detail")([enlarged, detail])
    return keras.Model(small, KeepSmallImage(dtype="float32", name="keep_small_image")(large, small), name="generator")


def _discriminator(image_size, seeds):
    images = keras.Input((image_size, image_size, 3), name="images")
    x = LostDetail(name="lost_detail")(layers.Rescaling(2, -1, name="rescale")(images))
    for number, filters in enumerate(DISCRIMINATOR_FILTERS, start=1):
        x = layers.Conv2D(
            filters, 3, strides=1 if number % 2 else 2, padding="same", name=f"convolution_{number}",
            kernel_initializer=keras.initializers.HeNormal(next(seeds)),
        )(x)  # fmt: skip
        x = layers.LeakyReLU(0.2, name=f"leaky_relu_{number}")(x)
    x = layers.Flatten(name="flatten")(x)
    score = layers.Dense(
        1, dtype="float32", kernel_initializer=keras.initializers.GlorotUniform(next(seeds)), name="score"
    )(x)
    return keras.Model(images, score, name="discriminator")


def _frozen_features(network, layer_name, images):
    """Return a copy of a network up to the layer whose features count."""
    if tuple(network.input.shape[1:]) != tuple(images.shape[1:]):
        raise ConfigurationError(
            "The feature network takes images of another size.",
            where=network.name,
            expected=f"images of shape {tuple(images.shape[1:])}",
            found=f"images of shape {tuple(network.input.shape[1:])}",
        )
    with_maps = [layer.name for layer in network.layers if len(layer.output.shape) == 4]
    if layer_name is not None and layer_name not in with_maps:
        raise ConfigurationError(
            "The feature network has no such layer with feature maps.",
            where="feature_layer",
            expected=f"one of {', '.join(with_maps)}",
            found=repr(layer_name),
        )
    part = keras.Model(network.input, network.get_layer(layer_name or with_maps[-1]).output, name="feature_network")
    # Layers are shared between models, and freezing them here would freeze them in the caller's network.
    frozen = keras.models.clone_model(part)
    frozen.set_weights([np.asarray(weights) for weights in part.get_weights()])
    frozen.trainable = False
    return frozen
