"""Transfer learning: a classifier on top of a backbone that was trained on other pictures."""

import hashlib
import inspect
import os
import re
import warnings
from collections import Counter
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path

import numpy as np

from galaxy_utils.classes import NUM_CLASSES
from galaxy_utils.data.download import checksum_mismatch, download
from galaxy_utils.errors import ConfigurationError, DataError
from galaxy_utils.files import cache_folder, explain_read_errors, locked
from galaxy_utils.models.cnn import _augmented, check_integer

# Names a file of weights, or says "imagenet" or "none": `find_weights`.
WEIGHTS_VARIABLE = "GALAXY_UTILS_WEIGHTS"
WEIGHTS_FOLDER = "https://storage.googleapis.com/tensorflow/keras-applications/"
# All five backbones halve the image five times.
SMALLEST_IMAGE = 32
# The parts of a network that `backbone_classifier` builds, by the names of its layers.
INPUT_SCALING, FROZEN_PART = "input_scaling", "frozen_part"
TRAINED_PART, SCALE_CHECK, PROBABILITIES = "trained_part", "scale_check", "class_probabilities"
MOBILENET_SIZES = (96, 128, 160, 192, 224)


@dataclass(frozen=True)
class Backbone:
    """What has to be known about a backbone besides its layers.

    Attributes:
        title: Name as its authors write it.
        builder: Name of the function in `keras.applications`; empty for the network that this module builds.
        scaling: How it wants its input scaled, a mode of `InputScaling`.
        weights_file: Name of the file with its ImageNet weights, below `WEIGHTS_FOLDER`; empty if Keras offers none.
        checksum: MD5 or SHA-256 of that file as Keras states it; `None` where Keras states none.
        weights_bytes: Size of that file.
    """

    title: str
    builder: str
    scaling: str
    weights_file: str = ""
    checksum: str | None = None
    weights_bytes: int = 0


# Files, checksums and kinds of scaling as in the source of keras.applications. Keras offers MobileNetV2's weights for
# five image sizes and takes those for 224 px at any other.
BACKBONES = {
    "resnet50": Backbone(
        "ResNet50", "ResNet50", "caffe",
        "resnet/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "4d473c1dd8becc155b73f8504c6f6626", 94_765_736,
    ),
    "resnet18": Backbone("ResNet18", "", "torch"),
    "mobilenetv2": Backbone(
        "MobileNetV2", "MobileNetV2", "tf",
        "mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_{size}_no_top.h5", None, 9_406_464,
    ),
    "efficientnetv2b0": Backbone(
        "EfficientNetV2-B0", "EfficientNetV2B0", "torch",
        "efficientnet_v2/efficientnetv2-b0_notop.h5", "893217f2bb855e2983157299931e43ff", 24_274_472,
    ),
    "convnexttiny": Backbone(
        "ConvNeXt-Tiny", "ConvNeXtTiny", "torch",
        "convnext/convnext_tiny_notop.h5",
        "d547c096cabd03329d7be5562c5e14798aa39ed24b474157cef5e85ab9e49ef1", 111_650_432,
    ),
}  # fmt: skip


def backbone_classifier(
    backbone="resnet50",
    image_size=224,
    num_classes=NUM_CLASSES,
    weights="imagenet",
    trainable_layers=20,
    head_units=256,
    dropout=0.5,
    batch_statistics_momentum=0.9,
    augmentation=None,
    seed=1,
):
    """Build a classifier from a backbone, with its lower layers frozen: paper 1, section 2.4, and its outlook.

    Paper 1 takes ResNet50 with ImageNet's weights, unfreezes the last 20 layers and adds "custom fully-connected
    layers". Inferred, because it does not say: that the 20 are counted over the 175 layers of the backbone alone, from
    its input to its last activation, so that 8,931,328 parameters of the backbone train (with a pooling layer as the
    176th it would be 7,882,240); global average pooling; one dense layer of 256 neurons with ReLU; dropout 0.5.

    The network has these parts, each a layer of it: what augments the images; `"input_scaling"`, which scales them as
    the backbone wants them; `"frozen_part"`, whose weights and batch statistics never change and which always runs as
    in prediction (batch normalisation with the statistics that it was loaded with, no dropout); `"trained_part"`, the
    unfrozen layers and the head, up to the scores before the softmax; `"scale_check"`, which lets no scores pass if the
    images were on another scale; `"class_probabilities"`, the softmax. Both parts are networks of their own.

    Batch normalisation among the unfrozen layers trains scale and offset and learns the statistics of galaxies: they
    are used in training and averaged for prediction. Keras' own averages are slow (momentum 0.99, MobileNetV2 0.999: a
    thousand steps, more than many a small training has), so that predictions would be made with the statistics of
    photographs long after the weights have left them. `batch_statistics_momentum` replaces their momentum.

    Args:
        backbone: `"resnet50"`, `"resnet18"`, `"mobilenetv2"`, `"efficientnetv2b0"` or `"convnexttiny"`. ResNet18 is
            built here from its paper (He et al. 2015, arXiv:1512.03385, table 1), the others by `keras.applications`.
        image_size: Side of the square images, in pixels; at least 32.
        num_classes: Number of classes.
        weights: Where the weights start. `"imagenet"`: the file of `imagenet_weights`, downloaded once. The path of an
            `.h5` or `.weights.h5` file of the backbone without its top. `None`: random, and then nothing is
            transferred. Or a network that this function built with the same arguments but for `trainable_layers`,
            `batch_statistics_momentum` and `augmentation`: all its weights are taken over, those of the head as well.
            That is how a second stage starts.
        trainable_layers: How many of the backbone's last layers train, as `keras.applications` counts layers; 0 for
            the head alone, `"all"` for everything.
        head_units: Neurons in the head's dense layer; 0 for none.
        dropout: Share of them (without them, of the pooled features) that each training step silences.
        batch_statistics_momentum: Momentum of the unfrozen batch normalisation, from 0 up to, but not, 1; `None` keeps
            the statistics that were loaded, in training too. ConvNeXt has no batch normalisation.
        augmentation: As in `four_block_cnn`.
        seed: Seed of random weights and of dropout: the same seed gives the same network.

    Returns:
        A `keras.Model`. Input: RGB images, shape (n, image_size, image_size, 3), values 0–255, uint8 or float. Images
        on another scale raise a `DataError` or, inside a compiled function such as `model.predict`, make every
        probability NaN. Output: class probabilities, shape (n, num_classes), float32 under every precision policy.

    Raises:
        ConfigurationError: An argument that cannot work.
        DataError: A file of weights that is not one of this backbone.
        DownloadError: The weights are not on this machine and cannot be fetched. The message says from where to
            where.
    """
    about = _checked_backbone(backbone)
    check_integer("image_size", image_size, SMALLEST_IMAGE, "each of the five stages halves the image")
    check_integer("num_classes", num_classes, 2, "a classifier needs something to choose between")
    check_integer("head_units", head_units, 0, "0 leaves the dense layer out")
    check_integer("seed", seed, 0, "seeds are counted from zero")
    _check_share("dropout", dropout)
    if batch_statistics_momentum is not None:
        _check_share("batch_statistics_momentum", batch_statistics_momentum)
    if isinstance(weights, str) and weights == "imagenet":
        weights = imagenet_weights(backbone, image_size)

    import keras
    from keras import layers

    from galaxy_utils.models._transfer_layers import FrozenNetwork, InputScaling, NoAnswerOnWrongScale

    template = _build_backbone(backbone, image_size)
    from_file = isinstance(weights, (str, Path))
    if from_file:
        _load_backbone(template, Path(weights), about.title)
    elif not (weights is None or isinstance(weights, keras.Model)):
        raise ConfigurationError(
            "These are no weights.",
            where="weights",
            expected="'imagenet', None, the path of a file, or a network",
            found=repr(weights),
        )
    trained_names = _trained_names(template, trainable_layers, about.title)
    scaled_images = keras.Input((image_size, image_size, 3), name="scaled_images")
    seeds = _seeds(seed)
    calls = _copy(template, scaled_images, trained_names, batch_statistics_momentum, seeds, from_file)
    features = calls[-1].output
    frozen, trained, cut = _cut(calls)
    if not trained:
        cut = [layers.GlobalAveragePooling2D(name="global_average_pooling")(features)]

    # The trained part: what is above the cut, once more on inputs of its own, and the head.
    inputs = [keras.Input(tensor.shape[1:], name=f"cut_{number}") for number, tensor in enumerate(cut, start=1)]
    tensors = {id(tensor): own for tensor, own in zip(cut, inputs, strict=True)}
    for call in trained:
        tensors[id(call.output)] = call.repeat(tensors)
    x = inputs[0]
    if trained:
        x = layers.GlobalAveragePooling2D(name="global_average_pooling")(tensors[id(features)])
    if head_units:
        initializer = keras.initializers.HeNormal(seed=next(seeds))
        x = layers.Dense(head_units, activation="relu", kernel_initializer=initializer, name="head_dense")(x)
    if dropout:
        x = layers.Dropout(dropout, seed=next(seeds), name="head_dropout")(x)
    scores = layers.Dense(
        num_classes,
        kernel_initializer=keras.initializers.GlorotUniform(seed=next(seeds)),
        dtype="float32",
        name="class_scores",
    )(x)
    trained_part = keras.Model(inputs, scores, name=TRAINED_PART)

    images = keras.Input((image_size, image_size, 3), name="images")
    x = InputScaling(about.scaling, name=INPUT_SCALING)(_augmented(images, augmentation))
    if frozen:
        x = FrozenNetwork(scaled_images, cut, name=FROZEN_PART)(x)
    scores = NoAnswerOnWrongScale(name=SCALE_CHECK)([trained_part(x), images])
    # The softmax comes last, where TensorFlow's cross-entropy finds it and computes with the scores before it: from
    # probabilities it could not tell one in ten million from one in a billion.
    probabilities = layers.Softmax(dtype="float32", name=PROBABILITIES)(scores)
    share = {0: "head_only", "all": "all_layers"}.get(trainable_layers, f"last_{trainable_layers}_layers")
    model = keras.Model(images, probabilities, name=f"{backbone}_{share}")
    if isinstance(weights, keras.Model):
        _take_over(model, weights)
    return model


def backbone_features(backbone="resnet50", image_size=224, weights="imagenet", seed=1):
    """Build the network that sees an image as a backbone does, without a classifier on top.

    Args:
        backbone: As in `backbone_classifier`.
        image_size: Likewise.
        weights: Likewise, but no network.
        seed: Seed of random weights.

    Returns:
        A `keras.Model` from RGB images, shape (n, image_size, image_size, 3), values 0–255, to the backbone's pooled
        features, shape (n, numbers).

    Raises:
        ConfigurationError, DataError, DownloadError: As in `backbone_classifier`.
    """
    network = backbone_classifier(
        backbone, image_size, weights=weights, trainable_layers=0, head_units=0, dropout=0.0, seed=seed
    )

    import keras

    pooled = network.get_layer(FROZEN_PART)(network.get_layer(INPUT_SCALING).output)
    return keras.Model(network.input, pooled, name=f"{backbone}_features")


def imagenet_weights(backbone="resnet50", image_size=224):
    """Return the file with a backbone's ImageNet weights, downloading it first where it is not there yet.

    It lies where Keras itself keeps such files: `models` in the folder that `KERAS_HOME` names, else in `~/.keras`. A
    file of the right name in there is used, whoever put it there, if its checksum is the one that Keras states (for
    MobileNetV2 Keras states none; a file of other weights is still refused when it does not fit the network). Without a
    connection the attempt ends: in seconds, or within minutes behind a firewall that swallows every packet.

    Args:
        backbone: As in `backbone_classifier`.
        image_size: As in `backbone_classifier`; only MobileNetV2 has files for several sizes.

    Returns:
        A `pathlib.Path`.

    Raises:
        ConfigurationError: A backbone that does not exist, or ResNet18, of which Keras has no weights.
        DataError: The file is there, but damaged.
        DownloadError: It is not there and cannot be fetched.
    """
    about, address, path = _official_file(backbone, image_size)
    if not about.weights_file:
        raise ConfigurationError(
            f"Keras offers no ImageNet weights of {about.title}.",
            where="weights",
            expected="the path of an .h5 or .weights.h5 file with weights of this backbone, or None",
            found="'imagenet'",
            remedy="choose one of " + ", ".join(name for name, other in BACKBONES.items() if other.weights_file),
        )
    if path.exists() and (mismatch := checksum_mismatch(path, about.checksum)):
        raise DataError(
            f"The file with {about.title}'s weights is damaged.",
            where=path,
            found=mismatch,
            remedy=f"Delete it; it is then downloaded again from {address}.",
        )
    return download(
        [(address, about.checksum)],
        path,
        size=about.weights_bytes,
        alternative="Or pass weights=<path of the file>. weights=None builds the same network with random weights, "
        "which is not transfer learning.",
        attempts=2,
        timeout=20.0,
        folder_variable="KERAS_HOME",
    )


def find_weights(backbone="resnet50", image_size=224, *, download=False):
    """Return the file that pretrained weights are to be read from, or `None` where there is none on this machine.

    The environment variable `GALAXY_UTILS_WEIGHTS` decides, if it is set: the path of a file; `"imagenet"` for Keras'
    own file, which is then downloaded if need be; or `"none"`. Otherwise Keras' own file is taken if it is here
    (`imagenet_weights` says where), and fetched if `download` says so.

    Args:
        backbone: As in `backbone_classifier`.
        image_size: As in `backbone_classifier`.
        download: Whether to fetch the file where it is not on this machine. Without that, no network is ever used.

    Returns:
        A `pathlib.Path`, or `None`. Whether the file fits the backbone is checked when it is read.

    Raises:
        ConfigurationError: A backbone that does not exist.
        DataError: The variable names a file that does not exist, or the file in Keras' folder is damaged.
        DownloadError: The file was asked for and cannot be fetched.
    """
    about, _, path = _official_file(backbone, image_size)
    wanted = os.environ.get(WEIGHTS_VARIABLE, "").strip()
    if wanted.lower() == "none":
        return None
    if wanted and wanted.lower() != "imagenet":
        named = Path(wanted).expanduser()
        if not named.is_file():
            raise DataError(
                "There is no such file of weights.",
                where=f"the environment variable {WEIGHTS_VARIABLE}",
                expected="the path of a file, 'imagenet' or 'none'",
                found=wanted,
            )
        return named
    is_here = bool(about.weights_file) and path.exists()
    return imagenet_weights(backbone, image_size) if wanted or download or is_here else None


def random_weights(backbone, images, seed=1):
    """Write random weights of a backbone to a file and return its path: a stand-in for pretrained ones, and a control.

    Networks with different seeds that start from this file share their frozen part, as they do with pretrained weights;
    with `weights=None` each seed draws its own. The batch statistics are those of some galaxies, no labels needed:
    with statistics that nobody collected a signal fades away, or grows without bounds, from layer to layer.

    Args:
        backbone: As in `backbone_classifier`.
        images: RGB images 0–255, shape (n, image_size, image_size, 3); a few dozen will do.
        seed: Seed of the weights.

    Returns:
        A `pathlib.Path` in the cache folder.

    Raises:
        ConfigurationError: As in `backbone_classifier`.
        DataError: These are no such images.
    """
    about = _checked_backbone(backbone)
    check_integer("seed", seed, 0, "seeds are counted from zero")
    images = np.asarray(images, np.float32)
    if images.ndim != 4 or len(images) == 0 or images.shape[1] != images.shape[2] or images.shape[3] != 3:
        raise DataError(
            "Batch statistics are collected from square RGB images.",
            where="images",
            expected="shape (n, image_size, image_size, 3)",
            found=f"shape {images.shape}",
        )
    image_size = images.shape[1]
    check_integer("image_size", image_size, SMALLEST_IMAGE, "each of the five stages halves the image")
    digest = hashlib.sha256(images.tobytes()).hexdigest()[:16]
    path = cache_folder() / "random_weights" / f"{backbone}_{image_size}_seed_{seed}_{digest}.weights.h5"
    with locked(path):
        if not path.exists():
            import keras

            from galaxy_utils.models._transfer_layers import InputScaling

            template = _build_backbone(backbone, image_size)
            inputs = keras.Input((image_size, image_size, 3), name="scaled_images")
            # Momentum 0: one pass in training mode leaves the statistics of this very batch.
            calls = _copy(template, inputs, {layer.name for layer in template.layers}, 0.0, _seeds(seed), False)
            _train_pass(calls, inputs, InputScaling(about.scaling)(images))
            template.set_weights(keras.Model(inputs, calls[-1].output).get_weights())
            # Keras takes no other ending. The lock keeps others away until the file has its name.
            partial = path.with_name(f"partial_{path.name}")
            template.save_weights(partial)
            os.replace(partial, path)
    return path


def _official_file(backbone, image_size):
    """Return what is known of a backbone, the address of its ImageNet weights and where Keras keeps them."""
    about = _checked_backbone(backbone)
    size = image_size if image_size in MOBILENET_SIZES else MOBILENET_SIZES[-1]
    address = WEIGHTS_FOLDER + about.weights_file.format(size=size)
    home = Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser()
    return about, address, home / "models" / address.rsplit("/", 1)[1]


@dataclass(frozen=True, eq=False)
class _Call:
    """One use of a layer in a network: enough to use it once more on other tensors."""

    layer: object
    arguments: tuple
    options: dict
    output: object
    trains: bool

    @property
    def tensors(self):
        """The tensors that go in."""
        import keras

        flat = keras.tree.flatten((self.arguments, self.options))
        return [value for value in flat if isinstance(value, keras.KerasTensor)]

    def repeat(self, tensors, **more_options):
        """Call the layer with other tensors instead: `{id(old): new}`."""
        import keras

        arguments, options = keras.tree.map_structure(
            lambda value: tensors.get(id(value), value), (self.arguments, self.options)
        )
        return self.layer(*arguments, **{**options, **more_options})


def _train_pass(calls, inputs, images):
    """Send images through layers in training mode, and let go of each layer's output after its last use.

    A network that is called as a whole keeps them all to its end: of 64 images of 96 px, more than a gigabyte.
    """
    uses, known = Counter(id(tensor) for call in calls for tensor in call.tensors), {id(inputs): images}
    for call in calls:
        in_training = {"training": True} if "training" in inspect.signature(call.layer.call).parameters else {}
        known[id(call.output)] = call.repeat(known, **in_training)
        for tensor in call.tensors:
            uses[id(tensor)] -= 1
            if not uses[id(tensor)]:
                del known[id(tensor)]


def _copy(template, images, trained_names, momentum, seeds, with_weights):
    """Copy a backbone onto other images, with seeds and names of its own; return the uses of its layers in order."""
    import keras

    from galaxy_utils.models._transfer_layers import FixedBatchNormalization

    calls, trained_copies, numbers = [], set(), Counter()

    def copy(layer):
        config = _settled(layer.get_config(), seeds)
        kind = layer.__class__
        # Names that Keras made up depend on what was built before; a checkpoint needs names that stay.
        if re.fullmatch(r"(add|layer_normalization)(_\d+)?", layer.name):
            numbers[kind] += 1
            config["name"] = f"{kind.__name__.lower()}_number_{numbers[kind]}"
        if kind is keras.layers.BatchNormalization and layer.name in trained_names:
            if momentum is None:
                kind = FixedBatchNormalization
            else:
                config["momentum"] = momentum
        copied = kind.from_config(config)
        if layer.name in trained_names:
            trained_copies.add(id(copied))
        return copied

    def call(layer, *arguments, **options):
        output = layer(*arguments, **options)
        calls.append(_Call(layer, arguments, options, output, id(layer) in trained_copies))
        return output

    copied = keras.models.clone_model(template, input_tensors=images, clone_function=copy, call_function=call)
    if with_weights:
        copied.set_weights(template.get_weights())
    return calls


def _cut(calls):
    """Divide the uses of a backbone's layers in two and return also the tensors that cross from below to above.

    A residual connection that spans the boundary makes a tensor of its own.
    """
    import keras

    frozen, trained, trained_outputs, crossing = [], [], set(), {}
    for call in calls:
        # Plain additions are no layers to Keras and not counted: they go with what they add.
        is_plain = not isinstance(call.layer, keras.layers.Layer)
        if call.trains or (is_plain and any(id(tensor) in trained_outputs for tensor in call.tensors)):
            trained.append(call)
            trained_outputs.add(id(call.output))
            crossing |= {id(tensor): tensor for tensor in call.tensors if id(tensor) not in trained_outputs}
        else:
            frozen.append(call)
    return frozen, trained, list(crossing.values())


def _trained_names(template, trainable_layers, title):
    """Return the names of the layers that train, as far as Keras did not make them up."""
    count = len(template.layers)
    if trainable_layers == "all":
        trainable_layers = count
    is_count = isinstance(trainable_layers, Integral) and not isinstance(trainable_layers, bool)
    if not is_count or not 0 <= trainable_layers <= count:
        raise ConfigurationError(
            f"{title} cannot be frozen at this boundary.",
            where="trainable_layers",
            expected=f"an integer from 0 (the head alone) to {count} (its layers), or 'all'",
            found=repr(trainable_layers),
        )
    return {layer.name for layer in template.layers[count - trainable_layers :]}


def _build_backbone(backbone, image_size):
    """Build a backbone without top and without scaling, on images of its own."""
    import keras

    about = BACKBONES[backbone]
    if not about.builder:
        return _resnet18(image_size)
    # The others have their scaling outside in any case.
    options = {"include_preprocessing": False} if backbone in ("efficientnetv2b0", "convnexttiny") else {}
    build = getattr(keras.applications, about.builder)
    return build(include_top=False, weights=None, input_shape=(image_size, image_size, 3), **options)


def _resnet18(image_size, widths=(64, 128, 256, 512)):
    """Build ResNet18 without top: He et al. 2015 (arXiv:1512.03385), table 1, projections where the size changes.

    `widths` are the filters of its stages; tests build a narrower and shorter one.
    """
    import keras
    from keras import layers

    def convolve(x, filters, size, stride, name):
        # Zeros on both sides, as in the paper's own code; "same" would add them on one side only at stride 2.
        if size > 1:
            x = layers.ZeroPadding2D(size // 2, name=f"{name}_pad")(x)
        x = layers.Conv2D(
            filters, size, strides=stride, use_bias=False, kernel_initializer="he_normal", name=f"{name}_conv"
        )(x)
        return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_bn")(x)

    images = keras.Input((image_size, image_size, 3), name="scaled_images")
    x = layers.ReLU(name="conv1_relu")(convolve(images, widths[0], 7, 2, "conv1"))
    x = layers.ZeroPadding2D(1, name="pool1_pad")(x)
    x = layers.MaxPooling2D(3, strides=2, name="pool1_pool")(x)
    for stage, filters in enumerate(widths, start=2):
        for block in (1, 2):
            name = f"conv{stage}_block{block}"
            stride = 2 if block == 1 and stage > 2 else 1
            shortcut = convolve(x, filters, 1, stride, f"{name}_0") if stride == 2 else x
            x = layers.ReLU(name=f"{name}_1_relu")(convolve(x, filters, 3, stride, f"{name}_1"))
            x = layers.Add(name=f"{name}_add")([shortcut, convolve(x, filters, 3, 1, f"{name}_2")])
            x = layers.ReLU(name=f"{name}_out")(x)
    return keras.Model(images, x, name="resnet18")


def _load_backbone(template, path, title):
    """Load a file of weights and make sure that each array of the network came from it.

    Only arrays are read, never a layer's code or settings.
    """
    import h5py

    expected = f"weights of {title} without its top, as `save_weights` of keras.applications' network writes them"
    path = path.expanduser()
    if path.suffix.lower() not in (".h5", ".hdf5"):
        raise ConfigurationError(
            "Weights are read from HDF5 files only.",
            where="weights",
            expected="'imagenet', None, a network, or a path that ends in .weights.h5 or .h5",
            found=repr(str(path)),
        )
    if not path.exists():
        raise DataError("There is no such file of weights.", where=path, expected=expected)
    with explain_read_errors("The file of weights does not fit the network.", path, expected=expected):
        with warnings.catch_warnings():
            # Keras warns of lists that older versions did not save, whether or not there is anything in them. Whether
            # all weights arrived is checked below.
            warnings.filterwarnings("ignore", "Skipping nested container")
            template.load_weights(path)
        arrays = Counter()
        with h5py.File(path) as file:
            file.visititems(lambda _, member: arrays.update(_marks([member])))
    if not all(np.isfinite(array).all() for array in template.get_weights()):
        raise DataError(
            "The file of weights holds numbers that are not finite.",
            where=path,
            remedy="download or copy it again",
        )
    if missing := sum((_marks(template.get_weights()) - arrays).values()):
        raise DataError(
            "The file of weights does not fit the network.",
            where=path,
            expected=expected,
            found=f"{missing} of the network's {len(template.weights)} arrays are not in the file",
        )


def _marks(arrays):
    """Count arrays by shape and content."""
    marks = Counter()
    for array in arrays:
        if hasattr(array, "shape"):
            values = np.asarray(array, np.float32) if np.issubdtype(array.dtype, np.number) else np.empty(0)
            marks[values.shape, hash(values.tobytes())] += 1
    return marks


def _take_over(model, other):
    """Copy all weights of another network that was built here, wherever its boundary lies."""
    mine, theirs = _layers_with_weights(model), _layers_with_weights(other)
    shapes = [{name: [w.shape for w in layer.weights] for name, layer in part.items()} for part in (mine, theirs)]
    if shapes[0] != shapes[1]:
        different = sorted(name for name in mine.keys() | theirs.keys() if shapes[0].get(name) != shapes[1].get(name))
        raise ConfigurationError(
            "The network that the weights come from is built in another way.",
            where=f"weights={other.name}",
            expected="a network that backbone_classifier built with the same backbone, num_classes and head_units",
            found=f"{len(different)} layers that differ, {different[0]!r} among them",
        )
    for name, layer in mine.items():
        layer.set_weights(theirs[name].get_weights())


def _layers_with_weights(model):
    parts = [layer for layer in model.layers if layer.name in (FROZEN_PART, TRAINED_PART)]
    return {layer.name: layer for part in parts for layer in part.layers if layer.weights}


def _settled(config, seeds):
    """Return a layer's settings with a seed and a name wherever Keras would make one up."""
    if isinstance(config, list):
        return [_settled(value, seeds) for value in config]
    if not isinstance(config, dict):
        return config
    if config.get("class_name") == "InputLayer":
        return {**config, "config": {**config["config"], "name": "input"}}
    return {
        key: next(seeds) if key == "seed" and value is None else _settled(value, seeds) for key, value in config.items()
    }


def _seeds(seed):
    """Yield as many seeds as layers need, as signed 32-bit numbers for the backends that keep them so."""
    random = np.random.default_rng(seed)
    while True:
        yield int(random.integers(2**31))


def _checked_backbone(backbone):
    if backbone not in BACKBONES:
        raise ConfigurationError(
            f"There is no backbone {backbone!r}.",
            where="backbone",
            expected=" or ".join(map(repr, BACKBONES)),
        )
    return BACKBONES[backbone]


def _check_share(name, value):
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= value < 1:
        raise ConfigurationError(
            f"The network cannot be built with this {name}.",
            where=name,
            expected="a number from 0 up to, but not, 1",
            found=repr(value),
        )
