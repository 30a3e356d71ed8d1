"""Which file a network's pretrained weights come from: one on this machine, or Keras' own, fetched. Loads no Keras."""

import hashlib
import os
from collections import namedtuple
from pathlib import Path

from galaxy_utils.data.download import checksum_mismatch, download
from galaxy_utils.errors import DataError, DownloadError, StorageError, check_argument

# Names a file of weights, or says "imagenet" or "none": `look_for_weights`.
WEIGHTS_VARIABLE = "GALAXY_UTILS_WEIGHTS"
WEIGHTS_FOLDER = "https://storage.googleapis.com/tensorflow/keras-applications/"
WITHOUT_DOWNLOAD = "Or pass weights=<path of the file>. weights=None is the same network, with nothing transferred."
MOBILENET_SIZES = (96, 128, 160, 192, 224)
# What nobody asked for is tried once: an answer has to come within `timeout` seconds, and a connection has to be fast
# enough for MobileNetV2's 9 MB in a minute.
TRIED_ONCE = {"attempts": 1, "timeout": 5.0, "slowest": 160_000}

# What has to be known about a backbone besides its layers: its name as its authors write it, which is that of the
# function in `keras.applications`; how its input is scaled, a mode of `InputScaling`; the file with its ImageNet
# weights, below `WEIGHTS_FOLDER`; the MD5 or SHA-256 that Keras states of it, if any; and its size.
Backbone = namedtuple("Backbone", "title scaling weights_file checksum weights_bytes")

# As in the source of keras.applications. MobileNetV2's weights were trained at five sizes. Their shapes are the same.
RESNET50 = "resnet/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"
MOBILENET = "mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_{size}_no_top.h5"
BACKBONES = {
    "resnet50": Backbone("ResNet50", "caffe", RESNET50, "4d473c1dd8becc155b73f8504c6f6626", 94_765_736),
    "mobilenetv2": Backbone("MobileNetV2", "tf", MOBILENET, None, 9_406_464),
}


def imagenet_weights(backbone="resnet50", image_size=224, **patience):
    """Return the file with a backbone's ImageNet weights, downloading it first where it is not there yet.

    It lies where Keras itself keeps such files: `models` in the folder that `KERAS_HOME` names, else in `~/.keras`. A
    file of the right name in there is used, whoever put it there, if its checksum is the one that Keras states (for
    MobileNetV2 Keras states none; a file of other weights is still refused when it does not fit the network). Of
    MobileNetV2's files any will do: the one trained at this size, else at 224 px, else at another.

    Args:
        backbone: As in `backbone_classifier`.
        image_size: As in `backbone_classifier`; only MobileNetV2 has files for several sizes.
        **patience: `attempts`, `timeout` and others of `download`. Two attempts, 20 s without data, if not told.

    Returns:
        A `pathlib.Path`.

    Raises:
        ConfigurationError: A backbone that does not exist.
        DataError: The file is there, but damaged.
        DownloadError: It is not there and cannot be fetched.

    Example:
        >>> gu.models.imagenet_weights("mobilenetv2", 96)  # doctest: +SKIP
    """
    about, places = _official_files(backbone, image_size)
    address, path = next((place for place in places if place[1].exists()), places[0])
    if path.exists() and (mismatch := checksum_mismatch(path, about.checksum)):
        remedy = f"Delete it; it is then downloaded again from {address}."
        raise DataError(f"The file with {about.title}'s weights is damaged.", where=path, found=mismatch, remedy=remedy)
    options = {"size": about.weights_bytes, "alternative": WITHOUT_DOWNLOAD, "attempts": 2, "timeout": 20.0}
    return download([(address, about.checksum)], path, **options | patience)


def look_for_weights(backbone, image_size, download=True):
    """Return the file of pretrained weights; or `None`, and in a few words why there is none.

    Args:
        backbone: As in `models.find_weights`, and so the errors.
        image_size: As in `models.find_weights`.
        download: As in `models.find_weights`.

    Returns:
        A path and `""`, or `None` and the reason, which is `""` where the variable asks for none.
    """
    _, places = _official_files(backbone, image_size)
    wanted = os.environ.get(WEIGHTS_VARIABLE, "").strip()
    if wanted.lower() == "none":
        return None, ""
    if wanted and wanted.lower() != "imagenet":
        return Path(wanted).expanduser(), ""
    if not (wanted or download or any(path.exists() for _, path in places)):
        return None, "there are none on this machine, and this profile fetches none"
    try:
        return imagenet_weights(backbone, image_size, **{} if wanted else TRIED_ONCE), ""
    except (DownloadError, StorageError) as error:
        if wanted:
            raise
        # Of a library's long message its first words: "ConnectionError".
        reason = str(error.found).removeprefix(f"{places[0][0]}: ").partition(":")[0]
        return None, f"{WEIGHTS_FOLDER.split('/')[2]}, where Keras keeps them: {reason}"


def describe_weights(path):
    """Say which file pretrained weights were read from, and what they had been trained on.

    Args:
        path: What `find_weights` returned.

    Returns:
        The file's name, the beginning of its SHA-256 and, of a file that has the name and the place of one of Keras'
        own, ImageNet. What another file was trained on is known to whoever named it.

    Raises:
        OSError: There is no such file.

    Example:
        >>> gu.models.describe_weights(gu.models.random_weights("mobilenetv2", images))[-16:]
        'whoever named it'
    """
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:12]
    official = [place for backbone in BACKBONES for _, place in _official_files(backbone, 224)[1]]
    named = f"named in {WEIGHTS_VARIABLE}; what it was trained on is known to whoever named it"
    origin = "trained on ImageNet, as published with keras.applications" if path in official else named
    return f"{path.name} (SHA-256 {digest}…), {origin}"


def _official_files(backbone, image_size):
    """Return what is known of a backbone and, best first, address and place of each file that fits it."""
    check_argument(backbone in BACKBONES, "backbone", backbone, " or ".join(map(repr, BACKBONES)))
    about, home = BACKBONES[backbone], Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser()
    sizes = sorted(MOBILENET_SIZES, key=lambda size: (size != image_size, -size))
    addresses = [WEIGHTS_FOLDER + about.weights_file.format(size=size) for size in sizes]
    return about, [(address, home / "models" / address.rsplit("/", 1)[1]) for address in addresses]
