"""The Keras classes behind `conditional_gan`. Importing this module loads Keras."""

import keras
import numpy as np
from keras import layers, ops

from galaxy_utils.augmentation._adversarial import AdversarialModel
from galaxy_utils.augmentation.conditional_gan import generate_images, read_snapshots, write_snapshots
from galaxy_utils.models.cnn import layer_seeds

SKY = -2.5  # The sigmoid of this is 0.08, about the mean brightness of a galaxy's image.
# Scatter of the sky in images of 64 px, as a share of the full brightness range. Learned weights of 1 multiply it: were
# it the beginning of the weights themselves, forty steps of the optimiser could make it zero.
SKY_NOISE = 0.03
NUDGE = 0.05  # Scatter of the noise that measures how steep the discriminator is, likewise.


@keras.saving.register_keras_serializable("galaxy_utils")
class ConditionalGAN(AdversarialModel):
    """What `conditional_gan` returns; arguments and losses are described there."""

    def __init__(
        self,
        image_size,
        num_classes,
        *,
        loss,
        augmentation,
        averaging,
        smoothness,
        one_view,
        grain,
        spectral_normalisation,
        latent_dim,
        smallest,
        seed,
    ):
        images = keras.Input((image_size, image_size, 3), name="images")
        real = layers.Rescaling(1 / 255, name="rescale_to_unit_interval")(images)
        if one_view:
            real = OneView(name="one_view")(real)
        super().__init__(images, real, name="conditional_gan")
        self.generator = _generator(image_size, smallest, num_classes, latent_dim, grain, layer_seeds(seed))
        self.averaged_generator = None
        if averaging:
            self.averaged_generator = _generator(
                image_size, smallest, num_classes, latent_dim, grain, layer_seeds(seed)
            )
            self.averaged_generator.trainable = False
        self.discriminator = _discriminator(image_size, num_classes, spectral_normalisation, layer_seeds(seed + 1))
        if augmentation is None:
            augmentation = []
        self.augmentation = list(augmentation) if isinstance(augmentation, (list, tuple)) else [augmentation]
        self.adversarial_loss, self.averaging, self.one_view = loss, averaging, one_view
        self.smoothness = smoothness
        self.latent_dim, self.grain, self.classes = latent_dim, grain, np.arange(num_classes)
        self.vectors = keras.random.SeedGenerator(seed)
        self.settings = {
            "image_size": image_size,
            "num_classes": num_classes,
            "loss": loss,
            "augmentation": [keras.saving.serialize_keras_object(layer) for layer in self.augmentation],
            "averaging": averaging,
            "smoothness": smoothness,
            "one_view": one_view,
            "grain": grain,
            "spectral_normalisation": spectral_normalisation,
            "latent_dim": latent_dim,
            "seed": seed,
        }
        self.add_means()

    @property
    def best_generator(self):
        """The generator from which galaxies are drawn."""
        return self.generator if self.averaged_generator is None else self.averaged_generator

    def get_config(self):
        return dict(self.settings)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        num_images = ops.shape(y_pred)[0]
        vectors = keras.random.normal((num_images, self.latent_dim), seed=self.vectors)
        # Each drawn galaxy has the class of a real one, so that classes never tell real from drawn.
        inputs = [vectors, y]
        if self.grain:
            inputs.append(keras.random.normal((num_images, *y_pred.shape[1:]), seed=self.vectors))
        drawn = self.generator(inputs, training=training)
        shown = ops.concatenate([ops.cast(y_pred, drawn.dtype), drawn], axis=0)
        for layer in self.augmentation:
            # Validation galaxies, too: the discriminator knows no others.
            shown = layer(shown, training=True)
        real, drawn = shown[:num_images], shown[num_images:]
        # Scored in one batch: twice as quick as two, and a discriminator without batch statistics does not mind.
        judged = ops.concatenate([real, ops.stop_gradient(drawn)], axis=0)
        classes = ops.concatenate([y, y], axis=0)
        if self.smoothness:
            noise = NUDGE * keras.random.normal(ops.shape(judged), seed=self.vectors)
            judged = ops.concatenate([judged, judged + noise], axis=0)
            classes = ops.concatenate([classes, classes], axis=0)
        scores = self.discriminator([judged, classes], training=training)[:, 0]
        of_real, of_drawn = scores[:num_images], scores[num_images : 2 * num_images]
        wished = self.judged([[drawn, y]], training)[:, 0]
        if self.adversarial_loss == "relativistic":
            discriminator_loss = ops.softplus(of_drawn - of_real)
            generator_loss = ops.softplus(ops.stop_gradient(of_real) - wished)
        else:
            discriminator_loss = ops.softplus(-of_real) + ops.softplus(of_drawn)
            generator_loss = ops.softplus(-wished)
        if self.smoothness:
            # The mean square of a score's change under small noise is the squared gradient times the noise's variance:
            # a penalty on steepness without a second derivative, which not every backend gives through `fit`.
            changes = ops.square(scores[2 * num_images :] - scores[: 2 * num_images]) / NUDGE**2
            steepness = changes[:num_images] + changes[num_images:]
            discriminator_loss = discriminator_loss + self.smoothness / 2 * steepness
        if sample_weight is not None:
            discriminator_loss, generator_loss = sample_weight * discriminator_loss, sample_weight * generator_loss
        losses = {
            "discriminator_loss": ops.mean(discriminator_loss),
            "generator_loss": ops.mean(generator_loss),
            "ranking_accuracy": ops.mean(ops.cast(of_real > of_drawn, "float32")),
        }
        self.note(losses)
        if training and self.averaged_generator is not None:
            self._move_average()
        return losses["discriminator_loss"] + losses["generator_loss"]

    def _move_average(self):
        for average, latest in zip(self.averaged_generator.weights, self.generator.weights, strict=True):
            latest = ops.stop_gradient(latest.value)
            average.assign(self.averaging * average.value + (1 - self.averaging) * latest)


@keras.saving.register_keras_serializable("galaxy_utils")
class OneView(layers.Layer):
    """Show each image in the one of its eight exact views whose long axis points between right and lower right.

    The long axis is that of the second moments of the squared brightness above the sky near the centre. Of the two
    views that are left, the one with more light on the right is chosen.

    Input and output: images, shape (n, side, side, channels), values 0 to 1.
    """

    def call(self, images):
        side = images.shape[1]
        across = (np.arange(side, dtype=np.float32) - (side - 1) / 2)[None, None, :]
        down = np.swapaxes(across, 1, 2)
        # A window of a sixth of the side: neighbours and stars further out have no say.
        window = np.exp(-(across**2 + down**2) / (2 * (side / 6) ** 2))

        def light(images):
            return ops.square(ops.relu(ops.mean(images, axis=-1) - 0.15)) * window

        def moment(images, weights):
            return ops.sum(light(images) * weights, axis=(1, 2))

        def either(condition, first, second):
            return ops.where(ops.reshape(condition, (-1, 1, 1, 1)), first, second)

        is_upright = moment(images, down**2 - across**2) > 0
        images = either(is_upright, ops.transpose(images, (0, 2, 1, 3)), images)
        points_up = moment(images, across * down) < 0
        images = either(points_up, ops.flip(images, axis=1), images)
        is_left = moment(images, across) < 0
        return either(is_left, ops.flip(images, axis=(1, 2)), images)

    def compute_output_spec(self, images):
        return keras.KerasTensor(images.shape, images.dtype)


class SampleSnapshots(keras.callbacks.Callback):
    """What `sample_snapshots` returns."""

    def __init__(self, path, labels, every, seed):
        super().__init__()
        self.path, self.labels, self.every, self.seed = path, labels, every, seed

    def on_epoch_end(self, epoch, logs=None):
        number = epoch + 1
        if number != 1 and number % self.every and number != self.params["epochs"]:
            return
        # Frames of later epochs are from another training in the same place.
        frames = read_snapshots(self.path) if self.path.is_file() else {}
        frames = {kept: images for kept, images in frames.items() if kept < number}
        write_snapshots(self.path, {**frames, number: generate_images(self.model, self.labels, self.seed)})


def _filters(side, width=1024):
    """Channels of the feature maps of one side: most where there are fewest pixels."""
    return int(np.clip(width // side, 16, 128))


def _generator(image_size, smallest, num_classes, latent_dim, grain, seeds):
    vectors = keras.Input((latent_dim,), name="vectors")
    classes = keras.Input((num_classes,), name="classes")
    x = layers.Concatenate(name="vector_and_class")([vectors, classes])
    side = smallest
    x = layers.Dense(
        side * side * _filters(side), use_bias=False, kernel_initializer=keras.initializers.HeNormal(next(seeds)),
        name="to_pixels",
    )(x)  # fmt: skip
    x = layers.Reshape((side, side, _filters(side)), name="reshape")(x)
    x = _normalised(x, side)
    while side < image_size:
        x = layers.Conv2D(
            _filters(2 * side), 3, padding="same", use_bias=False, name=f"at_{side}_pixels",
            kernel_initializer=keras.initializers.HeNormal(next(seeds)),
        )(x)  # fmt: skip
        side *= 2
        # Transposed convolutions, the usual way, weave a chequered pattern into the dark sky.
        x = layers.UpSampling2D(2, interpolation="bilinear", name=f"to_{side}_pixels")(x)
        x = _normalised(x, side)
    # float32 also under mixed precision, like every output of this package.
    image = layers.Conv2D(
        3, 5, padding="same", activation="sigmoid", dtype="float32",
        bias_initializer=keras.initializers.Constant(SKY),
        kernel_initializer=keras.initializers.GlorotUniform(next(seeds)), name="image",
    )(x)  # fmt: skip
    if not grain:
        return keras.Model([vectors, classes], image, name="generator")
    pixels = keras.Input((image_size, image_size, 3), name="grain")
    noise = layers.Dense(
        3, use_bias=False, dtype="float32", kernel_initializer=keras.initializers.Identity(), name="noise"
    )(layers.Rescaling(SKY_NOISE, dtype="float32", name="rescale_to_noise_of_sky")(pixels))
    image = layers.Add(dtype="float32", name="image_with_noise")([image, noise])
    return keras.Model([vectors, classes, pixels], image, name="generator")


def _normalised(x, side):
    x = layers.BatchNormalization(momentum=0.9, name=f"batch_normalisation_{side}")(x)
    return layers.LeakyReLU(0.2, name=f"leaky_relu_{side}")(x)


def _discriminator(image_size, num_classes, spectral_normalisation, seeds):
    def normalised(layer):
        if not spectral_normalisation:
            return layer
        return layers.SpectralNormalization(layer, name=f"{layer.name}_spectral_normalisation")

    images = keras.Input((image_size, image_size, 3), name="images")
    classes = keras.Input((num_classes,), name="classes")
    x = layers.Rescaling(2, -1, name="rescale")(images)
    x = layers.Concatenate(name="image_and_class_maps")([x, ClassMaps(image_size, name="class_maps")(classes)])
    side = image_size
    while side > 7:
        side = -(-side // 2)
        x = normalised(
            layers.Conv2D(
                _filters(side, 512), 5 if 2 * side >= image_size else 4, strides=2, padding="same",
                kernel_initializer=keras.initializers.HeNormal(next(seeds)), name=f"to_{side}_pixels",
            )
        )(x)  # fmt: skip
        x = layers.LeakyReLU(0.2, name=f"leaky_relu_{side}")(x)
    x = layers.Flatten(name="flatten")(x)
    score = normalised(
        layers.Dense(1, dtype="float32", kernel_initializer=keras.initializers.GlorotUniform(next(seeds)), name="score")
    )(x)
    return keras.Model([images, classes], score, name="discriminator")


@keras.saving.register_keras_serializable("galaxy_utils")
class ClassMaps(layers.Layer):
    """Make one map for each class, full of its entry in the one-hot vector, by broadcasting.

    Repeating and reshaping, which looks shorter, would mix classes and pixels into stripes.
    """

    def __init__(self, side, **options):
        super().__init__(**options)
        self.side = side

    def call(self, classes):
        return ops.broadcast_to(
            classes[:, None, None, :], (ops.shape(classes)[0], self.side, self.side, classes.shape[-1])
        )

    def compute_output_spec(self, classes):
        return keras.KerasTensor((classes.shape[0], self.side, self.side, classes.shape[-1]), classes.dtype)

    def get_config(self):
        return {**super().get_config(), "side": self.side}
