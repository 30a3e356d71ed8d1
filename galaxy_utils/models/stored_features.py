"""What is frozen is computed once: its output is kept on disk, and the rest of the network trains on that.

Below the freezing boundary of a network of `models.backbone_classifier` nothing changes in training, so every epoch
would compute the same numbers again. `fit_on_frozen_features` does it once and ends with the same network.
"""

import hashlib
from dataclasses import dataclass, replace

import keras
import numpy as np

from galaxy_utils.arrays import open_or_make_array
from galaxy_utils.data.dataset import GalaxyDataset
from galaxy_utils.errors import ConfigurationError, DataError
from galaxy_utils.files import cache_folder, write_atomically
from galaxy_utils.models.transfer import FROZEN_PART, INPUT_SCALING, PROBABILITIES, SCALE_CHECK, TRAINED_PART
from galaxy_utils.progress import progress_bar
from galaxy_utils.training import fit


@dataclass(frozen=True, eq=False)
class FrozenFeatures(GalaxyDataset):
    """A dataset whose `images` are the output of a network's frozen part. Takes its place in `fit` and `predict`.

    Attributes:
        images: Shape (n, *shape of the tensor that crosses the boundary), float16 or float32, mapped from the file;
            with `trainable_layers=0` the pooled features, shape (n, numbers).

    Example:
        >>> network = gu.models.backbone_classifier("mobilenetv2", 32, weights=None, trainable_layers=0)
        >>> features = gu.cache_frozen_features(network, galaxies, progress=False)
        >>> features.images.dtype, features.labels is galaxies.labels
        (dtype('float16'), True)
    """

    def __post_init__(self):
        pass  # What is checked there is true of images.


def cache_frozen_features(model, dataset, *, dtype="float16", batch_size=32, progress=True):
    """Compute what a network's frozen part makes of every galaxy and keep it on disk; open it where it is there.

    The file goes to `cache_folder()/frozen_features`, under a name made of the data's fingerprint, the network's name,
    a hash of what is frozen, and the type: another backbone, other weights or another boundary never meet an old file.
    Of two processes that ask at once one works and the other waits. Memory holds one batch at a time.

    Args:
        model: A network of `models.backbone_classifier` of which something is frozen, without augmentation.
        dataset: A `GalaxyDataset`.
        dtype: `"float16"`, half the disk and an error of up to 1/2048 of each number, or `"float32"`, exact.
        batch_size: Images per step.
        progress: Whether to show a progress bar.

    Returns:
        `FrozenFeatures`.

    Raises:
        ConfigurationError: A network without a frozen part or with augmentation, or images of another size.
        DataError: Features that do not fit into 16 bits.
        StorageError: No room on the disk, or a cache folder that cannot be written to.

    Example:
        >>> network = gu.models.backbone_classifier("mobilenetv2", 32, weights=None, trainable_layers=0)
        >>> gu.cache_frozen_features(network, galaxies, progress=False).images.shape
        (400, 1280)
    """
    bottom = _frozen_network(model, dataset)
    path = cache_folder() / "frozen_features" / f"{dataset.fingerprint}_{model.name}_{_digest(bottom)}_{dtype}.npy"
    shape = len(dataset), *bottom.output.shape[1:]

    def compute():
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        title = f"Computing frozen features, {size / 2**20:,.0f} MiB on disk"
        bar = progress_bar(len(dataset), title, disable=not progress or None)
        with write_atomically(path, size) as temporary, bar:
            array = np.lib.format.open_memmap(temporary, "w+", dtype, shape)
            for first in range(0, len(dataset), batch_size):
                rows = np.arange(first, min(first + batch_size, len(dataset)))
                # The last batch is filled up with rows that are seen again: batches of one shape are compiled once.
                batch = bottom.predict_on_batch(np.asarray(dataset.images[np.resize(rows, batch_size)]))
                with np.errstate(over="ignore"):  # float16 reaches 65,504. What lies above becomes infinite.
                    array[rows] = np.asarray(batch)[: len(rows)]
                if not np.isfinite(array[rows]).all():
                    remedy = "Pass dtype='float32', or look at the weights of the frozen part."
                    raise DataError(f"Frozen features do not fit into {dtype}.", where=model.name, remedy=remedy)
                bar.update(len(rows))
            array.flush()
            del array

    array = open_or_make_array(path, shape, dtype, compute)
    fingerprint = hashlib.sha256(path.stem.encode()).hexdigest()[:16]
    about = {"vote_fractions": dataset.vote_fractions, "is_simulated": dataset.is_simulated}
    about |= {"fingerprint": fingerprint, "source_fingerprint": dataset.source_fingerprint}
    return FrozenFeatures(dataset.name, dataset.provenance, array, dataset.labels, dataset.class_names, **about)


def fit_on_frozen_features(model, dataset, split, recipe, *, dtype="float16", progress=True, **options):
    """Train a network whose lower part is frozen, computing that part only once: `fit`, several times faster.

    With `dtype="float32"` it ends with the weights that `fit` would give it, up to rounding.

    Args:
        model: A network of `models.backbone_classifier` of which something is frozen, without augmentation.
        dataset: As in `fit`.
        split: As in `fit`.
        recipe: As in `fit`.
        dtype: As in `cache_frozen_features`.
        progress: As in `fit`.
        **options: As in `fit`.

    Returns:
        A `TrainingRun`. Its `seconds` do not include the computing of the features.

    Example:
        >>> network = gu.models.backbone_classifier("mobilenetv2", 32, weights=None, trainable_layers=0)
        >>> recipe = gu.Recipe("a new head", epochs=2)
        >>> gu.fit_on_frozen_features(network, galaxies, split, recipe, progress=False).epochs
        2
    """
    features = cache_frozen_features(model, dataset, dtype=dtype, progress=progress)
    run = fit(trained_part_alone(model), features, split, recipe, progress=progress, **options)
    return replace(run, model_name=model.name)


def trained_part_alone(model):
    """Return the trained part of a network as one that takes `FrozenFeatures`. It shares all weights with the network.

    Args:
        model: A network of `models.backbone_classifier` of which something is frozen.

    Returns:
        A `keras.Model` from features, in the shape in which they are stored, to class probabilities.
    """
    _check_parts(model)
    features = keras.Input(model.get_layer(TRAINED_PART).input.shape[1:], name="frozen_features")
    scores = model.get_layer(TRAINED_PART)(features)
    probabilities = keras.layers.Softmax(dtype="float32", name=PROBABILITIES)(scores)
    return keras.Model(features, probabilities, name=f"{model.name}_on_frozen_features")


def _check_parts(model):
    if not {FROZEN_PART, TRAINED_PART} <= {layer.name for layer in model.layers}:
        remedy = "train it with fit, or build it by models.backbone_classifier with fewer trainable_layers"
        raise ConfigurationError("No part of this network is frozen.", where=model.name, remedy=remedy)


def _frozen_network(model, dataset):
    """Return the network from images to the tensor that crosses the boundary."""
    _check_parts(model)
    own = (INPUT_SCALING, FROZEN_PART, TRAINED_PART, SCALE_CHECK, PROBABILITIES, "images")
    if augmenting := ", ".join(layer.name for layer in model.layers if layer.name not in own):
        remedy = "train with fit, or build the network without augmentation"
        raise ConfigurationError("Augmented images have no fixed features.", found=augmenting, remedy=remedy)
    takes, given = model.input.shape[1:], tuple(dataset.images.shape[1:])
    if takes != given:
        raise ConfigurationError("The network is built for images of another size.", expected=takes, found=given)
    images = keras.Input(takes, name="images")
    return keras.Model(images, model.get_layer(FROZEN_PART)(model.get_layer(INPUT_SCALING)(images)))


def _digest(bottom):
    """Hash what a frozen network computes: its layers and weights, but not the seeds behind them."""
    names = [(type(layer).__name__, layer.name) for layer in bottom.get_layer(FROZEN_PART).layers]
    policies = [layer.dtype_policy.name for layer in bottom.get_layer(FROZEN_PART).layers]
    digest = hashlib.sha256(repr((names, policies, keras.backend.backend())).encode())
    for array in bottom.get_weights():
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]
