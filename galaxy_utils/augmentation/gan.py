"""A conditional generative adversarial network (GAN): asked for a class, its generator makes a galaxy of that class.

Chapter 9 builds the same network in its cells, piece by piece.
"""

import keras
import numpy as np
from keras import layers, ops
from keras.initializers import Constant, GlorotUniform, HeNormal

from galaxy_utils.augmentation.adversarial import frozen_scores
from galaxy_utils.augmentation.geometric import RandomShiftAndBrightness
from galaxy_utils.augmentation.synthetic import SyntheticImages
from galaxy_utils.classes import NUM_CLASSES
from galaxy_utils.data.prepare import area_average
from galaxy_utils.data.views import NUM_VIEWS, dihedral_view
from galaxy_utils.errors import DataError, check_argument, check_integer, check_number
from galaxy_utils.models.autoencoder import SKY
from galaxy_utils.models.cnn import layer_seeds
from galaxy_utils.training import finite

# Scatter of the sky in images of 64 px, as a share of the full brightness range. Learned weights of 1 multiply it: were
# it the beginning of the weights themselves, forty steps of the optimiser could make it zero.
SKY_NOISE = 0.03
STEP = 0.05  # Scatter of the noise that measures the gradient of the discriminator, likewise.
# As many images are generated at a time, so that memory stays flat.
IMAGES_AT_ONCE = 64
LATENT_DIM = 64
MEANS = ("discriminator_loss", "generator_loss", "ranking_accuracy")
LOSSES = ("cross_entropy", "relativistic")


def conditional_gan(
    image_size=64, num_classes=NUM_CLASSES, *, loss="cross_entropy", augmentation=None, ema_decay=0.0,
    gradient_penalty=0.0, canonical_orientation=True, seed=1,
):  # fmt: skip
    """Build a generator and a discriminator that are both told the class, as one model for one `fit`.

    The loss and the conditioning are paper 2's (section 3.4); it does not state the architecture, which is this book's.
    Generator: 64 random numbers and the class through a dense layer to 4 to 7 pixels a side; convolution, bilinear
    upsampling, batch normalisation and leaky ReLU until `image_size`; a convolution with a sigmoid, to which a
    per-pixel noise input is added (asked for the sky's noise without one, a generator weaves a pattern). Discriminator:
    strided convolutions on the image and one map for each class; a dense layer. It has no batch normalisation, through
    which real and generated images would see each other.

    The other arguments stabilise the training; `relativistic_gan` is the combination that this book uses.

    Args:
        image_size: Side of the square images, pixels: 4, 5, 6 or 7 times a power of 2, at least 8.
        num_classes: Number of classes. Those without training images are never trained.
        loss: `"cross_entropy"`, whose generator's part is non-saturating (Goodfellow et al. 2014), or `"relativistic"`:
            the discriminator says which of two images, of the same class, is the real one (Jolicoeur-Martineau 2019).
        augmentation: A layer that changes what the discriminator sees, real and generated images alike, and lets
            gradients through (Zhao et al. 2020).
        ema_decay: Decay of the exponential moving average (EMA) of the generator's weights, 0 up to, but not, 1. With 0
            there is none.
        gradient_penalty: γ: half of it times the squared gradient of the score by the image is added to the
            discriminator's loss, at real and at generated images (R1 and R2, Mescheder et al. 2018), measured by the
            change of the score under small noise.
        canonical_orientation: Whether each real galaxy is shown in a canonical one of its eight orientations.
        seed: Seed of the initial weights and of all draws in training.

    Returns:
        A `ConditionalGAN`. Input: RGB images, shape (n, image_size, image_size, 3), values 0–255. Output: the real
        images as the loss is given them, in [0, 1]. Train it with `gu.fit(..., targets="conditions")`, or with Keras'
        `fit` on images and one-hot classes. The history holds `discriminator_loss`, `generator_loss` and
        `ranking_accuracy`: how often the real image of a pair has the higher score.

    Raises:
        ConfigurationError: A size, loss or setting that cannot work.

    Example:
        >>> gan = conditional_gan(32, 3)
        >>> gan.generator.output.shape
        (None, 32, 32, 3)
    """
    check_integer("num_classes", num_classes, 1, "there is no image without a class")
    check_number("ema_decay", ema_decay, "[0, 1)")
    check_number("gradient_penalty", gradient_penalty, "[0, inf)")
    check_argument(loss in LOSSES, "loss", loss, " or ".join(LOSSES))
    options = {"loss": loss, "augmentation": augmentation, "ema_decay": ema_decay, "gradient_penalty": gradient_penalty}
    options |= {"canonical_orientation": canonical_orientation, "seed": seed}
    return ConditionalGAN(image_size, num_classes, **options)


def relativistic_gan(image_size=64, num_classes=NUM_CLASSES, *, seed=1, **changes):
    """Build the conditional GAN that this book uses: `conditional_gan` with what stabilises it.

    Relativistic loss, gradient penalty 0.02, EMA of the weights over about 50 steps, and shifts and changes of
    brightness before the discriminator. Train it with `recipes.RELATIVISTIC_GAN`.

    Args:
        image_size: As in `conditional_gan`.
        num_classes: Likewise.
        seed: Likewise.
        changes: Other arguments of `conditional_gan`, which take the place of the combination's.

    Returns:
        A `ConditionalGAN`.

    Raises:
        ConfigurationError: A size, a number of classes or a seed that cannot work.

    Example:
        >>> relativistic_gan(32, 3).ema_decay
        0.98
    """
    settings = {"loss": "relativistic", "ema_decay": 0.98, "gradient_penalty": 0.02}
    settings |= {"augmentation": RandomShiftAndBrightness(seed=seed)} | changes
    return conditional_gan(image_size, num_classes, seed=seed, **settings)


@keras.saving.register_keras_serializable("galaxy_utils")
class ConditionalGAN(keras.Model):
    """What `conditional_gan` returns: two networks that train against each other in one `fit`.

    `compute_loss` adds two losses that must not reach the same weights: the discriminator's, on generated images whose
    gradient is stopped, and the generator's, through a discriminator whose weights are stopped. So each network gets
    its own gradient from one backward pass, whatever the backend.

    Attributes:
        generator: From latent vectors, one-hot classes and noise of the images' shape to images in [0, 1].
        ema_generator: The same with averaged weights, or `None`.
        discriminator: From images in [0, 1] and one-hot classes to scores, shape (n, 1).
    """

    def __init__(self, image_size, num_classes, **options):
        images = keras.Input((image_size, image_size, 3), name="images")
        real = layers.Rescaling(1 / 255, name="rescale_to_unit_interval")(images)
        if options["canonical_orientation"]:
            real = CanonicalOrientation(name="canonical_orientation")(real)
        super().__init__(images, real, name="conditional_gan")
        self.generator = build_generator(image_size, num_classes, options["seed"])
        self.discriminator = build_discriminator(image_size, num_classes, options["seed"] + 1)
        self.latent_dim, self.num_classes, self.options = LATENT_DIM, num_classes, options
        self.augmentation, self.ema_decay = options["augmentation"], options["ema_decay"]
        self.ema_generator = None
        if self.ema_decay:
            self.ema_generator = build_generator(image_size, num_classes, options["seed"])
            self.ema_generator.trainable = False
        self.random = keras.random.SeedGenerator(options["seed"])
        self.means = {name: keras.metrics.Mean(name=name) for name in MEANS}

    def get_config(self):
        # What a checkpoint compares, beside the layers, and what the network is made from again.
        layer = self.augmentation and keras.saving.serialize_keras_object(self.augmentation)
        sizes = {"image_size": self.input.shape[1], "num_classes": self.num_classes}
        return {**self.options, **sizes, "augmentation": layer}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        layer = config["augmentation"] and keras.saving.deserialize_keras_object(config["augmentation"])
        return cls(**config | {"augmentation": layer})

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        number = ops.shape(y)[0]
        latent = keras.random.normal((number, self.latent_dim), seed=self.random)
        noise = keras.random.normal((number, *y_pred.shape[1:]), seed=self.random)
        # Each generated galaxy has the class of a real one, so that classes never tell real from generated.
        fake = self.generator([latent, y, noise], training=training)
        both = ops.concatenate([ops.cast(y_pred, fake.dtype), fake])
        if self.augmentation is not None:
            # Validation galaxies, too: the discriminator knows no others.
            both = self.augmentation(both, training=True)
        real, fake = both[:number], both[number:]
        # Scored in one batch: twice as quick as two, and a discriminator without batch statistics does not mind.
        shown, classes = ops.concatenate([real, ops.stop_gradient(fake)]), ops.concatenate([y, y])
        scores = self.discriminator([shown, classes], training=training)[:, 0]
        of_real, of_fake = scores[:number], scores[number:]
        fooled = frozen_scores(self.discriminator, [fake, y], training)[:, 0]
        if self.options["loss"] == "relativistic":
            discriminator_loss = ops.softplus(of_fake - of_real)
            generator_loss = ops.softplus(ops.stop_gradient(of_real) - fooled)
        else:
            discriminator_loss = ops.softplus(-of_real) + ops.softplus(of_fake)
            generator_loss = ops.softplus(-fooled)
        if gamma := self.options["gradient_penalty"]:
            # The mean square of a score's change under small noise is its squared gradient times the noise's variance:
            # no second derivative, which not every backend gives through `fit`.
            moved = shown + STEP * keras.random.normal(ops.shape(shown), seed=self.random)
            change = self.discriminator([moved, classes], training=training)[:, 0] - scores
            squared = ops.square(change) / STEP**2
            discriminator_loss += gamma / 2 * (squared[:number] + squared[number:])
        if sample_weight is not None:
            discriminator_loss, generator_loss = sample_weight * discriminator_loss, sample_weight * generator_loss
        discriminator_loss, generator_loss = ops.mean(discriminator_loss), ops.mean(generator_loss)
        ranking = ops.mean(ops.cast(of_real > of_fake, "float32"))
        for mean, value in zip(self.means.values(), (discriminator_loss, generator_loss, ranking), strict=True):
            mean.update_state(value, sample_weight=ops.shape(y)[0])  # a last batch may be a small one
        if training and self.ema_generator is not None:
            for average, latest in zip(self.ema_generator.weights, self.generator.weights, strict=True):
                latest = ops.stop_gradient(latest.value)
                average.assign(self.ema_decay * average.value + (1 - self.ema_decay) * latest)
        return discriminator_loss + generator_loss


def build_generator(image_size, num_classes, seed=1):
    """Build the generator of `conditional_gan`, whose docstring describes it."""
    check_integer("image_size", image_size, 8, "a generator doubles the side of 4 to 7 pixels at least once")
    seeds, side = layer_seeds(seed), image_size
    while side > 7 and side % 2 == 0:
        side //= 2
    check_argument(side <= 7, "image_size", image_size, "4 to 7 times a power of 2, such as 32, 48, 64, 96 or 128")

    def normalised(x):
        x = layers.BatchNormalization(momentum=0.9, name=f"batch_normalisation_{side}")(x)
        return layers.LeakyReLU(0.2, name=f"leaky_relu_{side}")(x)

    def filters(side):
        return int(np.clip(1024 // side, 16, 128))

    latent, label = keras.Input((LATENT_DIM,), name="latent"), keras.Input((num_classes,), name="label")
    noise = keras.Input((image_size, image_size, 3), name="noise")
    x = layers.Concatenate(name="latent_and_label")([latent, label])
    options = {"use_bias": False, "kernel_initializer": HeNormal(next(seeds))}
    x = layers.Dense(side**2 * filters(side), name="to_pixels", **options)(x)
    x = normalised(layers.Reshape((side, side, filters(side)), name="reshape")(x))
    while side < image_size:
        options = {"padding": "same", "use_bias": False, "kernel_initializer": HeNormal(next(seeds))}
        x = layers.Conv2D(filters(2 * side), 3, name=f"at_{side}_pixels", **options)(x)
        side *= 2
        # Transposed convolutions, the usual way, weave a chequered pattern into the dark sky.
        x = normalised(layers.UpSampling2D(2, interpolation="bilinear", name=f"to_{side}_pixels")(x))
    # float32 also under mixed precision, like every output of this package.
    options = {"kernel_initializer": GlorotUniform(next(seeds)), "bias_initializer": Constant(SKY), "dtype": "float32"}
    image = layers.Conv2D(3, 5, padding="same", activation="sigmoid", name="smooth_image", **options)(x)
    sky = layers.Rescaling(SKY_NOISE, dtype="float32", name="rescale_to_noise_of_sky")(noise)
    sky = layers.Dense(3, use_bias=False, kernel_initializer="identity", dtype="float32", name="noise_of_sky")(sky)
    image = layers.Add(dtype="float32", name="image")([image, sky])
    return keras.Model([latent, label, noise], image, name="generator")


def build_discriminator(image_size, num_classes, seed=1):
    """Build the discriminator of `conditional_gan`, whose docstring describes it."""
    seeds, side = layer_seeds(seed), image_size
    image, label = keras.Input((image_size, image_size, 3), name="image"), keras.Input((num_classes,), name="label")
    # One map for each class, made by broadcasting: repeating and reshaping would mix classes and pixels into stripes.
    maps = layers.Reshape((1, 1, num_classes), name="label_as_pixel")(label)
    maps = layers.UpSampling2D(image_size, name="label_maps")(maps)
    x = layers.Concatenate(name="image_and_label_maps")([layers.Rescaling(2, -1, name="rescale")(image), maps])
    while side > 7:
        kernel, side = 5 if side == image_size else 4, -(-side // 2)
        filters, options = int(np.clip(512 // side, 16, 128)), {"strides": 2, "padding": "same"}
        start = HeNormal(next(seeds))
        x = layers.Conv2D(filters, kernel, kernel_initializer=start, name=f"to_{side}_pixels", **options)(x)
        x = layers.LeakyReLU(0.2, name=f"leaky_relu_{side}")(x)
    last = GlorotUniform(next(seeds))
    score = layers.Dense(1, kernel_initializer=last, dtype="float32", name="score")(layers.Flatten(name="flatten")(x))
    return keras.Model([image, label], score, name="discriminator")


@keras.saving.register_keras_serializable("galaxy_utils")
class CanonicalOrientation(layers.Layer):
    """Show each image in that one of its eight orientations whose long axis points between right and lower right.

    The long axis is that of the second moments of the squared brightness above the sky near the centre. Of the two
    orientations that are left, the one with more light on the right is chosen. A generator then need not learn every
    galaxy eight times.

    Input and output: images, shape (n, side, side, channels), values 0 to 1.

    Example:
        >>> tuple(CanonicalOrientation()(np.float32(images) / 255).shape)
        (5, 32, 32, 3)
    """

    def call(self, images):
        side = images.shape[1]
        across = (np.arange(side, dtype=np.float32) - (side - 1) / 2)[None, None, :]
        down = np.swapaxes(across, 1, 2)
        # A window of a sixth of the side: neighbours and stars further out have no say.
        window = np.exp(-(across**2 + down**2) / (2 * (side / 6) ** 2))

        def changed(images, change, weights, below_zero):
            light = ops.square(ops.relu(ops.mean(images, axis=-1) - 0.15)) * window
            moment = below_zero * ops.sum(light * weights, axis=(1, 2))
            return ops.where(ops.reshape(moment > 0, (-1, 1, 1, 1)), change(images), images)

        images = changed(images, lambda images: ops.transpose(images, (0, 2, 1, 3)), down**2 - across**2, 1)
        images = changed(images, lambda images: ops.flip(images, axis=1), across * down, -1)
        return changed(images, lambda images: ops.flip(images, axis=(1, 2)), across, -1)


def generate_images(gan, labels, seed=1):
    """Generate one galaxy for each label, in an orientation drawn at random.

    Args:
        gan: A network from `conditional_gan`, trained.
        labels: Integers, shape (n,): the class that each is to have.
        seed: Seed of the latent vectors: the same seed gives the same galaxies.

    Returns:
        Images, shape (n, image_size, image_size, 3), uint8, from the averaged generator where there is one.

    Raises:
        ConfigurationError: A label that the network has no class for.
        DataError: The generator's output is not a number.

    Example:
        >>> generate_images(relativistic_gan(32, 3), [0, 2]).shape
        (2, 32, 32, 3)
    """
    labels = np.asarray(labels)
    known = labels.ndim == 1 and np.isin(labels, np.arange(gan.num_classes)).all()
    check_argument(known, "labels", labels, f"integers from 0 to {gan.num_classes - 1}, shape (n,)")
    random = np.random.default_rng(seed)
    latent = random.standard_normal((len(labels), gan.latent_dim), dtype=np.float32)
    orientations = random.integers(NUM_VIEWS, size=len(labels))
    one_hot = np.eye(gan.num_classes, dtype=np.float32)[labels.astype(int)]
    generator = gan.ema_generator or gan.generator
    images = np.empty((len(labels), *gan.output.shape[1:]), np.uint8)
    for start in range(0, len(labels), IMAGES_AT_ONCE):
        few = slice(start, start + IMAGES_AT_ONCE)
        noise = random.standard_normal(images[few].shape, dtype=np.float32)
        generated = finite(gan, generator([latent[few], one_hot[few], noise], training=False))
        images[few] = np.rint(255 * np.clip(generated, 0, 1))
    for number in range(NUM_VIEWS):
        images[orientations == number] = dihedral_view(images[orientations == number], number)
    return images


def add_generated(gan, dataset, split, counts, seed=1, alone=False):
    """Generate training images of some classes, for `add_synthetic`.

    Args:
        gan: A network from `conditional_gan`, trained with this dataset and split (or with some classes of it).
        dataset: The `GalaxyDataset`. Where its images are smaller than those of the network, generated ones are
            averaged down as real ones were.
        split: The `Split`. Its training rows are noted, so that the images can only be added to a training part that
            holds them all.
        counts: How many images of each class, shape (number of classes,).
        seed: Seed of the latent vectors.
        alone: Whether they are to take the place of the real training images instead of joining them.

    Returns:
        `SyntheticImages` without source galaxies.

    Raises:
        ConfigurationError: Counts that do not fit the classes.
        DataError: Images of a class that has no training galaxy.

    Example:
        >>> made = add_generated(relativistic_gan(32), galaxies, split, [3] + [0] * 9)
        >>> made.images.shape, made.labels.tolist()
        ((3, 32, 32, 3), [0, 0, 0])
    """
    counts = np.asarray(counts)
    fits = counts.shape == (dataset.num_classes,) and counts.dtype.kind in "iu" and (counts >= 0).all()
    check_argument(fits, "counts", counts, f"{dataset.num_classes} integers, at least 0")
    present = np.bincount(np.asarray(dataset.labels)[split.train], minlength=dataset.num_classes) > 0
    if missing := [dataset.class_names[label] for label in np.flatnonzero((counts > 0) & ~present)]:
        expected = "a training galaxy of each class that is to be generated"
        raise DataError(f"Class {missing[0]!r} was never shown.", where=dataset.name, expected=expected)
    labels = np.repeat(np.arange(dataset.num_classes), counts)
    images = generate_images(gan, labels, seed)
    if len(images) and images.shape[1] > dataset.image_size:
        images = area_average(images, dataset.image_size)
    share = 1.0 if alone else len(labels) / (len(labels) + len(split.train))
    return SyntheticImages(images, labels, np.asarray(split.train), share, gan.name)
