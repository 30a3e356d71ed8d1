"""Frozen features: training on them is training the whole network, and an interrupted computation goes on."""

import functools
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from galaxy_utils.frozen_features import (
    cache_frozen_features,
    fit_on_frozen_features,
    frozen_features_bytes,
    trained_part_alone,
)
from toy_galaxies import WatchedImages, toy_galaxies, toy_split

from galaxy_utils import files, frozen_features
from galaxy_utils.augmentation import RandomDihedral, RandomRotationZoomShift
from galaxy_utils.data.views import NUM_VIEWS, dihedral_view
from galaxy_utils.errors import ConfigurationError, DataError, StorageError
from galaxy_utils.files import cache_folder
from galaxy_utils.models import backbone_classifier, four_block_cnn, transfer
from galaxy_utils.recipes import Recipe
from galaxy_utils.training import fit, predict

# Keras' own variables still trip over NumPy's newer `copy` argument.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SIDE, GALAXIES = 32, 64
RECIPE = Recipe("quick", epochs=2, batch_size=16, learning_rate=1e-4, label_smoothing=0.1)


# Two stages of eight and sixteen filters in place of ResNet18's four: the same building blocks, compiled in less time.
NUMBERS = 16
SHORT_RESNET = functools.partial(transfer._resnet18, widths=(8, NUMBERS))


@pytest.fixture(scope="module", autouse=True)
def short_backbone():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transfer, "_resnet18", SHORT_RESNET)
        yield


# What processes of their own begin with: no fixture reaches them.
IN_A_CHILD = """
import test_frozen_features
from galaxy_utils.models import transfer
transfer._resnet18 = test_frozen_features.SHORT_RESNET
"""


def galaxies(**changes):
    return toy_galaxies(GALAXIES, side=SIDE, **changes)


def network(trainable_layers=3, **options):
    options = {"weights": None, "head_units": 8, **options}
    return backbone_classifier("resnet18", SIDE, 4, trainable_layers=trainable_layers, **options)


@pytest.fixture(scope="module")
def still():
    """A network that no test trains: two tensors cross its boundary."""
    return network(3)


def assert_same_training(trainable_layers):
    """Train the slow and the quick way and compare everything. Also run in a process of its own, on JAX."""
    data, split = galaxies(), toy_split(GALAXIES)
    slow, quick = network(trainable_layers), network(trainable_layers)
    expected = fit(slow, data, split, RECIPE, progress=False)
    run = fit_on_frozen_features(quick, data, split, RECIPE, dtype="float32", progress=False)
    assert run.model_name == slow.name and run.epochs == 2
    for name, values in expected.history.items():
        np.testing.assert_allclose(run.history[name], values, rtol=1e-3, atol=1e-5, err_msg=name)
    before = network(trainable_layers).get_layer("trained_part").get_weights()
    for start, one, two in zip(before, slow.get_layer("trained_part").get_weights(), trained(quick), strict=True):
        # Rounding is small beside what training changed.
        assert np.abs(one - two).max() <= 0.02 * np.abs(one - start).max() + 1e-6
    np.testing.assert_allclose(predict(quick, data, split.test), predict(slow, data, split.test), atol=2e-4)
    return quick, data, split, expected


def trained(model):
    return model.get_layer("trained_part").get_weights()


def test_training_on_features_is_training_the_whole_network():
    quick, data, split, expected = assert_same_training(3)
    # The whole network and its trained part are one: what the part answers to stored features, the whole answers to
    # images.
    features = cache_frozen_features(quick, data, dtype="float32")
    assert features.seconds == 0 and 0 < features.computing_seconds < 600
    np.testing.assert_allclose(
        predict(trained_part_alone(quick), features, split.test), predict(quick, data, split.test), atol=1e-5
    )
    # 16 bits change little.
    rounded = network(3)
    run = fit_on_frozen_features(rounded, data, split, RECIPE, progress=False)
    np.testing.assert_allclose(run.history["val_loss"], expected.history["val_loss"], rtol=0.02)


def test_the_same_on_jax(tmp_path, monkeypatch):
    pytest.importorskip("jax")
    tests = Path(__file__).parent
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")  # Compiling takes longer than the few steps.
    monkeypatch.setenv("PYTHONPATH", f"{tests}:{tests.parent}")
    code = IN_A_CHILD + "test_frozen_features.assert_same_training(3)"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert child.returncode == 0, child.stderr


def test_features_are_the_output_of_the_frozen_part(still):
    data = galaxies()
    features = cache_frozen_features(still, data, dtype="float32")
    scaled = still.get_layer("input_scaling")(data.images[:5].astype(np.float32))
    tensors = still.get_layer("frozen_part")(scaled)
    assert len(tensors) == 2
    expected = np.concatenate([np.asarray(tensor).reshape(5, -1) for tensor in tensors], axis=1)
    np.testing.assert_allclose(features.array[:5, 0], expected, rtol=1e-4, atol=1e-4)
    assert isinstance(features.array, np.memmap) and not features.array.flags.writeable
    assert frozen_features_bytes(still, data, dtype="float32") == features.array.nbytes
    assert frozen_features_bytes(still, data, views=8) == 4 * features.array.nbytes


def test_pooled_features_are_all_that_a_head_alone_needs():
    head_only = network(0)
    features = cache_frozen_features(head_only, galaxies())
    assert features.array.shape == (GALAXIES, 1, NUMBERS) and features.array.dtype == np.float16


def test_eight_views_are_drawn_anew_each_epoch(monkeypatch):
    data, split, augmented = galaxies(), toy_split(GALAXIES), network(0, augmentation=RandomDihedral())
    features = cache_frozen_features(augmented, data)
    assert features.array.shape[1] == NUM_VIEWS
    turned = data.replace(images=dihedral_view(data.images, 5), fingerprint="view 5")
    np.testing.assert_allclose(
        features.array[:, 5], cache_frozen_features(network(0), turned).array[:, 0], rtol=2e-3, atol=2e-3
    )
    drawn = []

    def in_views(self, rows, views):
        drawn.append((rows, views))
        return self.array[rows, views]

    monkeypatch.setattr(frozen_features._FeatureRows, "in_views", in_views)
    fit(trained_part_alone(augmented), features, split, RECIPE, progress=False)
    rows, views = (np.concatenate(part) for part in zip(*drawn, strict=True))
    assert set(views) == set(range(NUM_VIEWS)) and set(rows) == set(split.train)
    pairs = set(zip(rows, views, strict=True))
    assert len(pairs) > 1.5 * len(split.train), "both epochs showed the same views"


def test_an_old_file_never_meets_other_weights_data_or_boundaries(still):
    data = galaxies()
    names = set()

    def compute(model, dataset, **options):
        cache_frozen_features(model, dataset, **options)
        names.update(path.name for path in (cache_folder() / "frozen_features").glob("*.npy"))
        return len(names)

    assert compute(still, data) == compute(still, data) == 1
    assert compute(still, data, dtype="float32") == 2
    assert compute(still, galaxies(seed=2)) == 3
    assert compute(network(0), data) == 4
    other = network(3, seed=2)
    assert compute(other, data) == 5
    # Only what is frozen counts: another head does not, nor does its training.
    other.get_layer("trained_part").set_weights([weight + 1 for weight in trained(other)])
    assert compute(other, data) == 5
    kernel = other.get_layer("frozen_part").get_layer("conv1_conv").kernel
    kernel.assign(kernel + 0.01)
    assert compute(other, data) == 6


KILLED = """
import os, signal, sys
from test_frozen_features import galaxies, network
from toy_galaxies import WatchedImages
from galaxy_utils.frozen_features import cache_frozen_features

data = galaxies()
watched = WatchedImages(data.images, at_read=13, action=lambda: os.kill(os.getpid(), signal.SIGKILL))
cache_frozen_features(network(0), data.replace(images=watched, fingerprint="kill-test"), batch_size=2)
"""


def test_a_killed_computation_is_taken_up_where_it_was(tmp_path, monkeypatch):
    tests = Path(__file__).parent
    monkeypatch.setenv("PYTHONPATH", f"{tests}:{tests.parent}")
    # Two batches of two make a chunk: of 24 rows five chunks are whole when the process dies, and four count.
    in_chunks = "import galaxy_utils.frozen_features as module; module.BATCHES_PER_CHUNK = 2"
    code = IN_A_CHILD + in_chunks + KILLED
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=180, check=False)
    assert child.returncode == -signal.SIGKILL, child.stderr
    partial = next((cache_folder() / "frozen_features").glob("*.partial"))
    assert not list((cache_folder() / "frozen_features").glob("*.npy"))
    size_before = partial.stat().st_size
    assert size_before > 16 * NUMBERS * 2

    monkeypatch.setattr(frozen_features, "BATCHES_PER_CHUNK", 2)
    data, model = galaxies(), network(0)
    watched = WatchedImages(data.images)
    resumed = cache_frozen_features(model, data.replace(images=watched, fingerprint="kill-test"), batch_size=2)
    first = min(int(read.min()) for read in watched.reads)
    assert 8 <= first <= 22 and first % 4 == 0
    fresh = cache_frozen_features(model, data.replace(fingerprint="never killed"), batch_size=2)
    np.testing.assert_array_equal(resumed.array, fresh.array)
    assert not partial.exists()


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b"no features"), lambda path: os.truncate(path, 500)])
def test_a_damaged_file_is_computed_again(still, damage):
    expected = np.array(cache_frozen_features(still, galaxies()).array)
    path = next((cache_folder() / "frozen_features").glob("*.npy"))
    damage(path)
    np.testing.assert_array_equal(cache_frozen_features(still, galaxies()).array, expected)


def test_a_full_disk_is_noticed_beforehand(still, monkeypatch):
    monkeypatch.setattr(files.shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
    watched = WatchedImages(galaxies().images)
    with pytest.raises(StorageError, match="no room"):
        cache_frozen_features(still, galaxies().replace(images=watched, fingerprint="full"))
    assert not watched.reads


def test_numbers_too_large_for_16_bits_are_reported():
    model = network(0)
    layers = [layer for layer in model.get_layer("frozen_part").layers if layer.name == "conv3_block2_2_bn"]
    layers[0].set_weights([weight * 1e6 for weight in layers[0].get_weights()[:1]] + layers[0].get_weights()[1:])
    with pytest.raises(DataError, match="dtype='float32'"):
        cache_frozen_features(model, galaxies())
    assert np.isfinite(cache_frozen_features(model, galaxies(), dtype="float32").array).all()


def test_what_cannot_be_computed_once_is_refused(still):
    for model, message in (
        (network("all"), "Nothing of this network is frozen"),
        (four_block_cnn(SIDE, 4), "no frozen and trained part"),
        (network(0, augmentation=[RandomDihedral(), RandomRotationZoomShift()]), "random_rotation_zoom_shift"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            cache_frozen_features(model, galaxies())
    with pytest.raises(ConfigurationError, match="another size"):
        cache_frozen_features(still, toy_galaxies(8, side=16))
    for options in ({"dtype": "int8"}, {"views": 3}):
        with pytest.raises(ConfigurationError):
            cache_frozen_features(still, galaxies(), **options)
    features = cache_frozen_features(still, galaxies())
    with pytest.raises(ConfigurationError, match="frozen features into its trained part"):
        predict(still, features, [0])


def test_the_trained_part_survives_saving(still, tmp_path):
    alone = trained_part_alone(still)
    alone.save(tmp_path / "part.keras")
    loaded = keras.models.load_model(tmp_path / "part.keras")
    rows = np.random.default_rng(1).normal(size=(3, alone.input.shape[1])).astype(np.float32)
    np.testing.assert_array_equal(np.asarray(loaded(rows)), np.asarray(alone(rows)))
