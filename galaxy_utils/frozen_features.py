"""What is frozen is computed once: its output is kept on disk, and the rest of the network trains on that.

Below the freezing boundary of a network of `models.backbone_classifier` nothing changes in training, so every epoch
would compute the same numbers again. `fit_on_frozen_features` does it once and ends with the same network.
"""

import contextlib
import hashlib
import json
import math
import os
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from tqdm.std import tqdm

from galaxy_utils.arrays import array_header, open_or_make_array
from galaxy_utils.data.views import NUM_VIEWS, dihedral_view
from galaxy_utils.errors import ConfigurationError, DataError, StorageError
from galaxy_utils.files import cache_folder, check_free_space, explain_write_errors, write_json
from galaxy_utils.models.transfer import FROZEN_PART, INPUT_SCALING, PROBABILITIES, SCALE_CHECK, TRAINED_PART
from galaxy_utils.progress import progress_bar
from galaxy_utils.training import fit

DTYPES = ("float16", "float32")
# What is written is handed to the disk after this many batches; an interruption costs no more than twice as many.
BATCHES_PER_CHUNK = 8


@dataclass(frozen=True, eq=False)
class FrozenFeatures:
    """The output of a network's frozen part for every galaxy of a dataset. Takes its place in `fit` and `predict`.

    Attributes:
        name: Name of the dataset.
        array: Shape (n, views, numbers), float16 or float32, mapped from the file. The numbers are those of all tensors
            that cross the freezing boundary, one tensor after the other; with `trainable_layers=0` they are the pooled
            features.
        labels: As in `GalaxyDataset`.
        class_names: As in `GalaxyDataset`.
        vote_fractions: As in `GalaxyDataset`.
        fingerprint: Sixteen hexadecimal digits that change with the data, the frozen weights or the boundary.
        seconds: How long the computing took in this call; 0 when the file was there.
        computing_seconds: How long it took in whichever call it was; `None` where nobody wrote it down. An interrupted
            computation counts as if it had gone on at the speed of its last part.
    """

    name: str
    array: Any
    labels: np.ndarray
    class_names: tuple
    vote_fractions: np.ndarray | None
    fingerprint: str
    seconds: float
    computing_seconds: float | None = None

    def __len__(self):
        return len(self.array)

    @property
    def num_classes(self):
        """Number of classes, also of those without a galaxy."""
        return len(self.class_names)

    @property
    def images(self):
        """What `fit` reads in place of images: one row of numbers for each galaxy."""
        return _FeatureRows(self.array)


class _FeatureRows:
    """Rows of features in the first view or, in training, in any."""

    def __init__(self, array):
        self.array, self.dtype = array, array.dtype
        self.shape, self.num_views = (len(array), array.shape[2]), array.shape[1]

    def __getitem__(self, rows):
        return self.array[rows, 0]

    def in_views(self, rows, views):
        return self.array[rows, views]


def cache_frozen_features(model, dataset, *, views=None, dtype="float16", batch_size=32, progress=True):
    """Compute what a network's frozen part makes of every galaxy and keep it on disk; open it where it is there.

    The file goes to `cache_folder()/frozen_features`, under a name made of the data's fingerprint, the backbone, its
    boundary, a hash of the frozen weights, the views and the type: another backbone, other weights or another boundary
    never meet an old file. An interrupted computation is taken up where it was. Of two processes that ask at once one
    works and the other waits. Memory holds one batch at a time. The bar says beforehand how much the disk will hold.

    Args:
        model: A network of `models.backbone_classifier` of which something is frozen.
        dataset: A `GalaxyDataset`.
        views: How many of each image's eight views: 1 or 8. `None`: 8 if the network has the augmenting layer
            `RandomDihedral`, which draws from them, and 1 if it has none.
        dtype: `"float16"`, half the disk and an error of up to 1/2048 of each number, or `"float32"`, exact.
        batch_size: Images per step.
        progress: Whether to show a progress bar.

    Returns:
        `FrozenFeatures`.

    Raises:
        ConfigurationError: A network without a frozen part, or with augmentation that cannot be kept on disk.
        DataError: Features that do not fit into 16 bits.
        StorageError: No room on the disk, or a cache folder that cannot be written to.
    """
    bottom, shapes, views = _checked(model, dataset, views, dtype)
    shape = (len(dataset), views, sum(map(math.prod, shapes)))
    digest = _digest_frozen_part(model, views)
    path = cache_folder() / "frozen_features" / f"{dataset.fingerprint}_{model.name}_{views}_{dtype}_{digest}.npy"
    started = time.perf_counter()
    seconds = 0.0

    def compute():
        nonlocal seconds
        done_before = _compute(path, bottom, dataset, shape, np.dtype(dtype), batch_size, progress)
        seconds = time.perf_counter() - started
        write_json(_record_of(path), {"seconds": seconds * len(dataset) / (len(dataset) - done_before)})

    array = open_or_make_array(path, shape, dtype, compute)
    return FrozenFeatures(
        name=dataset.name,
        array=array,
        labels=dataset.labels,
        class_names=dataset.class_names,
        vote_fractions=dataset.vote_fractions,
        fingerprint=hashlib.sha256(path.stem.encode()).hexdigest()[:16],
        seconds=seconds,
        computing_seconds=_recorded_seconds(path),
    )


def frozen_features_bytes(model, dataset, *, views=None, dtype="float16"):
    """Return how many bytes `cache_frozen_features` will write with the same arguments."""
    _, shapes, views = _checked(model, dataset, views, dtype)
    return len(dataset) * views * sum(map(math.prod, shapes)) * np.dtype(dtype).itemsize


def fit_on_frozen_features(
    model, dataset, split, recipe, *, seed=1, checkpoint=None, targets="labels", dtype="float16", progress=True
):
    """Train a network whose lower part is frozen, computing that part only once: `fit`, several times faster.

    The trained part learns from the stored output of the frozen part by `fit` itself, so that recipe, checkpoints and
    history are the same. Both parts stay what they were, parts of `model`, which is trained when this returns. Without
    augmentation and with `dtype="float32"` it ends with the weights that `fit` would give it, up to rounding; with
    `RandomDihedral` each epoch draws every galaxy's view anew, from other random numbers than the layer's.

    Args:
        model: A network of `models.backbone_classifier` of which something is frozen.
        dataset: As in `fit`.
        split: As in `fit`.
        recipe: As in `fit`.
        seed: As in `fit`.
        checkpoint: As in `fit`; a checkpoint of `fit` itself is another one.
        targets: `"labels"` or `"votes"`.
        dtype: As in `cache_frozen_features`.
        progress: As in `fit`.

    Returns:
        A `TrainingRun`. Its `seconds` do not include the computing of the features.

    Raises:
        ConfigurationError: As in `fit` and `cache_frozen_features`.
        DataError: As in `fit` and `cache_frozen_features`.
        FloatingPointError: The loss stopped being a finite number.
    """
    features = cache_frozen_features(model, dataset, dtype=dtype, progress=progress)
    run = fit(
        trained_part_alone(model),
        features,
        split,
        recipe,
        seed=seed,
        checkpoint=checkpoint,
        targets=targets,
        progress=progress,
    )
    return replace(run, model_name=model.name)


def trained_part_alone(model):
    """Return the trained part of a network as one that takes `FrozenFeatures`. It shares all weights with the network.

    Args:
        model: A network of `models.backbone_classifier` of which something is frozen.

    Returns:
        A `keras.Model`. Input: shape (n, numbers), as in `FrozenFeatures`. Output: class probabilities.

    Raises:
        ConfigurationError: A network without a frozen part.
    """
    parts = _parts(model)

    import keras

    from galaxy_utils.models._transfer_layers import FeatureTensors

    trained = parts[TRAINED_PART]
    shapes = [tensor.shape[1:] for tensor in trained.inputs]
    features = keras.Input((sum(map(math.prod, shapes)),), name="frozen_features")
    scores = trained(FeatureTensors(shapes, name="feature_tensors")(features))
    probabilities = keras.layers.Softmax(dtype="float32", name=PROBABILITIES)(scores)
    return keras.Model(features, probabilities, name=f"{model.name}_on_frozen_features")


def _parts(model):
    parts = {layer.name: layer for layer in model.layers}
    if TRAINED_PART not in parts:
        raise ConfigurationError(
            "The network has no frozen and trained part.",
            where=model.name,
            expected="a network of models.backbone_classifier",
        )
    if FROZEN_PART not in parts:
        raise ConfigurationError(
            "Nothing of this network is frozen, so nothing can be computed once.",
            where=model.name,
            remedy="train it with fit, or build it with fewer trainable_layers",
        )
    return parts


def _checked(model, dataset, views, dtype):
    """Check everything; return the network below the boundary, the shapes of its outputs and the number of views."""
    parts = _parts(model)
    if dtype not in DTYPES:
        raise ConfigurationError(
            f"Features cannot be stored as {dtype!r}.", where="dtype", expected=" or ".join(map(repr, DTYPES))
        )
    if views not in (None, 1, NUM_VIEWS):
        raise ConfigurationError(
            "An image has one view or eight.", where="views", expected=f"1, {NUM_VIEWS} or None", found=repr(views)
        )
    takes = tuple(model.input.shape[1:])
    if takes != tuple(dataset.images.shape[1:]):
        raise ConfigurationError(
            "The network is built for images of another size.",
            where=f"{model.name} on {dataset.name}",
            expected=f"images of shape {takes}",
            found=f"images of shape {tuple(dataset.images.shape[1:])}",
        )

    import keras

    from galaxy_utils.augmentation import RandomDihedral

    own = (INPUT_SCALING, FROZEN_PART, TRAINED_PART, SCALE_CHECK, PROBABILITIES)
    inputs = keras.layers.InputLayer
    augmenting = [layer for layer in model.layers if layer.name not in own and not isinstance(layer, inputs)]
    if views is None:
        if others := [layer.name for layer in augmenting if not isinstance(layer, RandomDihedral)]:
            raise ConfigurationError(
                "Augmentation with endlessly many outcomes cannot be computed once.",
                where=model.name,
                expected="no augmentation, or RandomDihedral alone, which has eight outcomes",
                found=", ".join(others),
                remedy="train with fit, or build the network without these layers",
            )
        views = NUM_VIEWS if augmenting else 1
    images = keras.Input(takes, name="images")
    crossing = parts[FROZEN_PART](parts[INPUT_SCALING](images))
    bottom = keras.Model(images, crossing, name=f"{model.name}_below_the_boundary")
    return bottom, [tensor.shape[1:] for tensor in bottom.outputs], views


def _digest_frozen_part(model, views):
    """Hash what the frozen part computes: its layers, its outputs and its weights, but not the seeds behind them."""
    import keras

    parts = _parts(model)
    frozen = parts[FROZEN_PART]
    about = (
        parts[INPUT_SCALING].mode,
        [(type(layer).__name__, layer.name) for layer in frozen.layers],
        [(tuple(tensor.shape), tensor.dtype) for tensor in frozen.outputs],
        views,
        keras.backend.backend(),
    )
    digest = hashlib.sha256(repr(about).encode())
    for weight in frozen.weights:
        digest.update(np.ascontiguousarray(keras.ops.convert_to_numpy(weight)).tobytes())
    return digest.hexdigest()[:16]


def _record_of(path):
    """Where it is written how long a file of features took to compute."""
    return path.with_suffix(".json")


def _recorded_seconds(path):
    """Return what is written there, or `None` where nobody wrote it down or the note is damaged."""
    try:
        return float(json.loads(_record_of(path).read_text())["seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _compute(path, bottom, dataset, shape, dtype, batch_size, progress):
    """Write the features to a file beside `path`, from where an earlier attempt left off, and rename it.

    Return how many rows were there before.
    """
    header = array_header(shape, dtype)
    num_galaxies, views, numbers = shape
    row_bytes = views * numbers * dtype.itemsize
    chunk = batch_size * BATCHES_PER_CHUNK
    partial = path.with_name(f"{path.name}.partial")
    done = _rows_done(partial, header, row_bytes, chunk)
    check_free_space(path, (num_galaxies - done) * row_bytes)
    size = num_galaxies * row_bytes / 2**20
    title = f"Computing frozen features, {size:,.0f} MiB on disk"
    bar = progress_bar(num_galaxies, title) if progress else tqdm(disable=True)
    # Ordinary writes: the pages of a mapped array would count as this process's memory.
    with _gone_when_full(partial), open(partial, "r+b" if done else "wb") as file, bar:
        if not done:
            file.write(header)
        file.truncate(len(header) + done * row_bytes)
        file.seek(0, os.SEEK_END)
        bar.update(done)
        for first in range(done, num_galaxies, batch_size):
            rows = np.arange(first, min(first + batch_size, num_galaxies))
            file.write(_features(bottom, dataset, rows, views, batch_size, dtype).tobytes())
            bar.update(len(rows))
            if (rows[-1] + 1) % chunk == 0:
                file.flush()
                os.fsync(file.fileno())
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
    return done


@contextlib.contextmanager
def _gone_when_full(partial):
    """Remove a partial file that has filled the disk; one whose computing was interrupted stays, to be continued."""
    try:
        with explain_write_errors(partial):
            yield
    except StorageError:
        partial.unlink(missing_ok=True)
        raise


def _rows_done(partial, header, row_bytes, chunk):
    """Return how many rows of an unfinished file can be relied upon: whole chunks, but for the last one.

    A power cut may leave a last chunk that has its length but not its content.
    """
    if not partial.exists():
        return 0
    with open(partial, "rb") as file:
        if file.read(len(header)) != header:
            return 0
    whole = (partial.stat().st_size - len(header)) // row_bytes // chunk
    return max(0, whole - 1) * chunk


def _features(bottom, dataset, rows, views, batch_size, dtype):
    """Return the features of one batch: shape (n, views, numbers)."""
    # The last batch is filled up with rows that are seen again: batches of one shape are compiled once.
    images = np.asarray(dataset.images[np.resize(rows, batch_size)])
    batch = []
    for number in range(views):
        tensors = bottom.predict_on_batch(dihedral_view(images, number))
        tensors = tensors if isinstance(tensors, (list, tuple)) else [tensors]
        # float16 reaches 65,504. What lies above becomes infinite and is reported below.
        with np.errstate(over="ignore"):
            flat = [np.asarray(tensor).reshape(batch_size, -1).astype(dtype) for tensor in tensors]
        batch.append(np.concatenate(flat, axis=1)[: len(rows)])
    batch = np.stack(batch, axis=1)
    if not np.isfinite(batch).all():
        raise DataError(
            f"Frozen features do not fit into {dtype}.",
            where=f"{bottom.name}, rows {rows[0]} to {rows[-1]}",
            remedy="Pass dtype='float32'." if dtype == np.float16 else "Look at the weights of the frozen part.",
        )
    return batch
