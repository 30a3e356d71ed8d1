"""Transfer learning: a classifier on top of a backbone of `keras.applications` that was trained on other pictures."""

import contextlib
import hashlib
import math
import os
import warnings
from pathlib import Path

import keras
import numpy as np
from keras import layers, ops

from galaxy_utils.classes import NUM_CLASSES
from galaxy_utils.errors import DataError, check_argument, check_integer, check_number
from galaxy_utils.files import cache_folder, explain_read_errors, locked
from galaxy_utils.models.cnn import _augmented
from galaxy_utils.pretrained import BACKBONES, WEIGHTS_VARIABLE, imagenet_weights, look_for_weights

# The layers of a network that `backbone_classifier` builds.
INPUT_SCALING, FROZEN_PART, TRAINED_PART = "input_scaling", "frozen_part", "trained_part"
SCALE_CHECK, PROBABILITIES = "scale_check", "class_probabilities"
HEAD_UNITS = 256  # neurons in the head's dense layer


@keras.saving.register_keras_serializable("galaxy_utils")
class InputScaling(layers.Layer):
    """Scale RGB images 0–255 as a backbone saw them when it was trained.

    Args:
        mode: `"caffe"` or `"tf"`, as in `keras.applications.imagenet_utils.preprocess_input`: mean ImageNet colours
            subtracted from blue, green and red; or [−1, 1].

    Input and output: shape (n, height, width, 3); the output is float32, also for uint8 and under mixed precision.
    """

    def __init__(self, mode, **options):
        super().__init__(**options)
        self.mode = mode

    def call(self, images):
        images = ops.cast(images, self.compute_dtype)
        return keras.applications.imagenet_utils.preprocess_input(images, mode=self.mode)

    def get_config(self):
        return {**super().get_config(), "mode": self.mode}


@keras.saving.register_keras_serializable("galaxy_utils")
class ScaleCheck(layers.Layer):
    """Pass scores on, unless the images behind them cannot have been 0–255.

    That is so if the largest value of a batch is above 0 but not above 1, as after a division by 255, or if a value
    lies below −1, as after Keras' own `preprocess_input`. Outside a compiled function this raises a `DataError`; inside
    one no error can be raised, and all scores become NaN. It is done at a network's end because NaN would not survive
    the way through it: TensorFlow's ReLU makes zeros of them.

    Input: scores, shape (n, classes), and images. Output: scores, float32.
    """

    def call(self, inputs):
        scores, images = inputs
        largest, smallest = ops.max(images), ops.min(images)
        wrong = ops.logical_or(ops.logical_and(largest > 0, largest <= 1), smallest < -1)
        with contextlib.suppress(TypeError):  # No backend says whether something is true while it still compiles.
            if bool(wrong):
                problem = "The images are on the wrong scale for this network, which scales them itself."
                expected = "RGB values from 0 to 255, neither divided by 255 nor preprocessed"
                found = f"values from {float(smallest):.3g} to {float(largest):.3g}"
                raise DataError(problem, expected=expected, found=found)
        return ops.where(wrong, float("nan"), scores)


@keras.saving.register_keras_serializable("galaxy_utils")
class FrozenNetwork(keras.Model):
    """A network that does not train and always runs as in prediction, also as a part of one that trains.

    `trainable = False` alone would stop batch normalisation, but not dropout, and Keras passes the mode of the whole
    network on to parts that were called with `training=False`.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.trainable = False

    def call(self, inputs, training=None, mask=None):
        return super().call(inputs, training=False, mask=mask)


def backbone_classifier(
    backbone="resnet50", image_size=224, num_classes=NUM_CLASSES, weights="imagenet", trainable_layers=20, dropout=0.5,
    batch_statistics_momentum=0.9, augmentation=None, seed=1,
):  # fmt: skip
    """Build a classifier from a backbone, with its lower layers frozen: paper 1, section 2.4, and its outlook.

    Paper 1 takes ResNet50 with ImageNet's weights, unfreezes the last 20 layers and adds "custom fully-connected
    layers". Inferred, because it does not say: that the 20 are counted over the 175 layers of the backbone alone, from
    its input to its last activation, so that 8,931,328 parameters of the backbone train (with a pooling layer as the
    176th it would be 7,882,240); global average pooling; one dense layer of 256 neurons with ReLU; dropout 0.5.

    The network's layers: what augments the images; `"input_scaling"`; `"frozen_part"`, which always runs as in
    prediction; `"trained_part"`, all that lies above it, up to the scores before the softmax; `"scale_check"`;
    `"class_probabilities"`, the softmax. A single tensor crosses from the frozen to the trained part, so that it can be
    stored. Where the wanted boundary lies inside a residual block, the layers between it and the block's beginning are
    frozen, too, but belong to `"trained_part"`.

    Unfrozen batch normalisation learns the statistics of galaxies. Keras' own averages are slow (momentum 0.99,
    MobileNetV2 0.999: a thousand steps, more than many a small training has), so that predictions would be made with
    the statistics of photographs long after the weights have left them: `batch_statistics_momentum` replaces it.

    Args:
        backbone: One of `BACKBONES`.
        image_size: Side of the square images, in pixels; at least 32.
        num_classes: Number of classes.
        weights: Where the weights start. `"imagenet"`: the file of `imagenet_weights`, downloaded once. The path of an
            `.h5` or `.weights.h5` file of the backbone without its top. `None`: random, and then nothing is
            transferred. Or a network that this function built with the same backbone, classes and head: all its weights
            are taken over. That is how a second stage starts.
        trainable_layers: How many of the backbone's last layers train, as `keras.applications` counts layers; 0 for
            the head alone, `"all"` for everything.
        dropout: Share of them (without them, of the pooled features) that each training step sets to zero.
        batch_statistics_momentum: Momentum of the unfrozen batch normalisation, from 0 up to, but not, 1.
        augmentation: As in `four_block_cnn`.
        seed: Seed of random weights and of dropout: the same seed gives the same network.

    Returns:
        A `keras.Model`. Input: RGB images, shape (n, image_size, image_size, 3), values 0–255, uint8 or float. Images
        on another scale raise a `DataError` or, inside a compiled function such as `model.predict`, make every
        probability NaN. Output: class probabilities, shape (n, num_classes), float32 under every precision policy.

    Raises:
        ConfigurationError: An argument that cannot work.
        DataError: A file of weights that is not one of this backbone.
        DownloadError: The weights are not on this machine and cannot be fetched.

    Example:
        >>> model = backbone_classifier("mobilenetv2", 32, weights=None, trainable_layers=0)
        >>> model.get_layer("frozen_part").output.shape
        (None, 1280)
    """
    network = _build_backbone(backbone, image_size)
    count = len(network.layers)
    trained = count if trainable_layers == "all" else trainable_layers
    check_argument(not isinstance(trained, bool) and trained in range(count + 1), "trainable_layers", trainable_layers,
                   f"an integer from 0 (the head alone) to {count} (its layers), or 'all'")  # fmt: skip
    check_number("dropout", dropout, "[0, 1)")
    check_number("batch_statistics_momentum", batch_statistics_momentum, "[0, 1)")
    check_integer("num_classes", num_classes, 2)
    check_integer("seed", seed, 0)
    if weights == "imagenet":
        weights = imagenet_weights(backbone, image_size)
    if isinstance(weights, (str, Path)):
        _load_weights(network, Path(weights).expanduser(), BACKBONES[backbone].title)
    elif weights is None:
        _randomise(network, seed)
    else:
        check_argument(isinstance(weights, keras.Model), "weights", weights, "'imagenet', None, a file or a network")

    for number, layer in enumerate(network.layers):
        if generator := getattr(layer, "seed_generator", None):  # dropout inside a backbone: Keras draws its seed
            generator.state.assign(np.array([seed, number], "uint32"))
    for layer in network.layers[: count - trained]:
        layer.trainable = False
    for layer in network.layers[count - trained :]:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = batch_statistics_momentum
    pool = layers.GlobalAveragePooling2D(name="global_average_pooling")
    cut = _cut(network, count - trained) if trained else pool(network.output)

    images = keras.Input((image_size, image_size, 3), name="images")
    x = InputScaling(BACKBONES[backbone].scaling, dtype="float32", name=INPUT_SCALING)(_augmented(images, augmentation))
    if cut is not network.inputs[0]:
        x = FrozenNetwork(network.inputs[0], cut, name=FROZEN_PART)(x)
    head = features = keras.Input(cut.shape[1:], name="features")
    if trained:
        head = pool(keras.Model(cut, network.output, name="upper_layers")(head))
    start = keras.initializers.HeNormal(seed)
    head = layers.Dense(HEAD_UNITS, activation="relu", kernel_initializer=start, name="head_dense")(head)
    if dropout:
        head = layers.Dropout(dropout, seed=seed, name="head_dropout")(head)
    start = keras.initializers.GlorotUniform(seed + 1)
    scores = layers.Dense(num_classes, kernel_initializer=start, dtype="float32", name="class_scores")(head)
    scores = keras.Model(features, scores, name=TRAINED_PART)(x)
    scores = ScaleCheck(dtype="float32", name=SCALE_CHECK)([scores, images])
    # TensorFlow's cross-entropy finds the scores before a softmax that comes last, and computes with them.
    probabilities = layers.Softmax(dtype="float32", name=PROBABILITIES)(scores)
    share = {0: "head_only", "all": "all_layers"}.get(trainable_layers, f"last_{trainable_layers}_layers")
    model = keras.Model(images, probabilities, name=f"{backbone}_{share}")
    if isinstance(weights, keras.Model):
        shapes, given = ([weight.shape for weight in each.weights] for each in (model, weights))
        check_argument(shapes == given, "weights", weights.name, "a network of the same backbone, classes and head")
        model.set_weights(weights.get_weights())
    return model


def find_weights(backbone="resnet50", image_size=224, *, download=True):
    """Return the file that pretrained weights are to be read from; where there is none, say why and return `None`.

    The environment variable `GALAXY_UTILS_WEIGHTS` decides, if it is set: the path of a file; `"imagenet"` for Keras'
    own file (`imagenet_weights`), and an error where it cannot be had; or `"none"`. Otherwise Keras' own file is taken
    where it is here; else it is fetched, which is tried once, and given up after seconds without an answer.

    Args:
        backbone: As in `backbone_classifier`.
        image_size: As in `backbone_classifier`.
        download: Whether to fetch the file where it is not on this machine. Without that, no network is ever used,
            unless the variable asks for it.

    Returns:
        A `pathlib.Path` of a file that fits the backbone, or `None`.

    Raises:
        ConfigurationError: A backbone that does not exist.
        DataError: The file does not exist, is damaged, or does not fit the backbone.
        DownloadError: The variable asks for the file, and it cannot be fetched.

    Example:
        >>> gu.models.find_weights("mobilenetv2", 96)  # doctest: +SKIP
    """
    path, reason = look_for_weights(backbone, image_size, download)
    if path:
        _load_weights(_build_backbone(backbone, 32), path, BACKBONES[backbone].title)
    elif reason:
        print(f"No pretrained weights: {reason}.")
    return path


def random_weights(backbone, images, seed=1):
    """Write random weights of a backbone to a file and return its path: a stand-in for pretrained ones, and a baseline.

    Networks with different seeds that start from this file share their frozen part, as they do with pretrained weights;
    with `weights=None` each seed has its own. The batch statistics are those of some galaxies, no labels needed: with
    statistics that nobody collected a signal fades away, or grows without bounds, from layer to layer.

    Args:
        backbone: As in `backbone_classifier`.
        images: RGB images 0–255, shape (n, image_size, image_size, 3); the first 32 are used.
        seed: Seed of the weights.

    Returns:
        A `pathlib.Path` in the cache folder.

    Example:
        >>> gu.models.random_weights("mobilenetv2", images, seed=1).suffix
        '.h5'
    """
    images = np.asarray(images[:32], np.float32)
    image_size = images.shape[1]
    network = _build_backbone(backbone, image_size)
    digest = hashlib.sha256(images.tobytes()).hexdigest()[:16]
    path = cache_folder() / "random_weights" / f"{backbone}_{image_size}_seed_{seed}_{digest}.weights.h5"
    with locked(path):
        if not path.exists():
            _randomise(network, seed)
            for layer in network.layers:
                # Momentum 0: one pass in training mode leaves the statistics of this very batch.
                if isinstance(layer, layers.BatchNormalization):
                    layer.momentum = 0.0
            scaled = InputScaling(BACKBONES[backbone].scaling)(images)
            keras.Model(network.inputs[0], network.output)(scaled, training=True)
            # Keras takes no other ending. The lock keeps others away until the file has its name.
            partial = path.with_name(f"partial_{path.name}")
            network.save_weights(partial)
            os.replace(partial, path)
    return path


def _build_backbone(backbone, image_size):
    """Build a backbone without top and with the weights that Keras happens to give it."""
    check_argument(backbone in BACKBONES, "backbone", backbone, " or ".join(map(repr, BACKBONES)))
    check_integer("image_size", image_size, 32, "each of the five stages halves the image")
    images = keras.Input((image_size, image_size, 3), name="scaled_images")
    return getattr(keras.applications, BACKBONES[backbone].title)(include_top=False, weights=None, input_tensor=images)


def _randomise(network, seed):
    """Give every kernel He et al.'s initial weights, which follow from the seed alone."""
    random = np.random.default_rng(seed)
    for layer in network.layers:
        if (kernel := getattr(layer, "kernel", None)) is not None:
            inputs = math.prod(kernel.shape[:2] if isinstance(layer, layers.DepthwiseConv2D) else kernel.shape[:-1])
            kernel.assign(random.normal(0, math.sqrt(2 / inputs), kernel.shape))


def _cut(network, boundary):
    """Return the last tensor below a boundary, counted in layers, that alone leads from below it to above it."""
    operations = network.operations  # Additions of some backbones are no layers.
    first_above = operations.index(network.layers[boundary])
    inputs = [keras.tree.flatten(operation.input) for operation in operations]
    for above in range(first_above, 0, -1):
        below = {id(operation.output) for operation in operations[:above]}
        crossing = {id(tensor): tensor for each in inputs[above:] for tensor in each if id(tensor) in below}
        if len(crossing) == 1:
            return next(iter(crossing.values()))
    return network.inputs[0]


def _load_weights(network, path, title):
    """Load a file of weights into a backbone. Only arrays are read, never a layer's code or settings."""
    expected = f"weights of {title} without its top, as `save_weights` of keras.applications' network writes them"
    check_argument(path.suffix.lower() in (".h5", ".hdf5"), "weights", str(path), "a path to a .weights.h5 or .h5")
    problem = "There is no such file of weights, or it does not fit the network."
    remedy = f"{WEIGHTS_VARIABLE} names another, or says 'none'. In Keras' folder: delete it, and it is fetched again."
    with explain_read_errors(problem, path, expected=expected, remedy=remedy), warnings.catch_warnings():
        # Keras warns of lists that were not saved, whether or not there is anything in them.
        warnings.filterwarnings("ignore", "Skipping nested container")
        network.load_weights(path)
    if not all(np.isfinite(array).all() for array in network.get_weights()):
        raise DataError("The file of weights holds numbers that are not finite.", where=path)
