"""Stored features: training on them is training the whole network, and an old file never meets other weights."""

import os

import keras
import numpy as np
import pytest
from toy_backbone import toy_backbone
from toy_galaxies import WatchedImages, toy_galaxies, toy_split

from galaxy_utils.augmentation import RandomDihedral
from galaxy_utils.errors import ConfigurationError, DataError
from galaxy_utils.files import cache_folder
from galaxy_utils.models import backbone_classifier, four_block_cnn
from galaxy_utils.models.stored_features import cache_frozen_features, fit_on_frozen_features, trained_part_alone
from galaxy_utils.recipes import Recipe
from galaxy_utils.training import fit, predict

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
RECIPE = Recipe("quick", epochs=2, batch_size=16, learning_rate=1e-3, label_smoothing=0.1)


@pytest.fixture(scope="module", autouse=True)
def backbone():
    with toy_backbone():
        yield


def galaxies(**changes):
    return toy_galaxies(64, side=32, **changes)


def network(trainable_layers=4, **options):
    return backbone_classifier("toy", 32, 4, None, trainable_layers, **options)


def files():
    return sorted(path.name for path in (cache_folder() / "frozen_features").glob("*.npy"))


@pytest.mark.parametrize("trainable_layers", [0, 4])
def test_training_on_features_is_training_the_whole_network(trainable_layers):
    data, split, slow, quick = galaxies(), toy_split(64), network(trainable_layers), network(trainable_layers)
    expected = fit(slow, data, split, RECIPE, progress=False)
    seen = []
    told = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(epoch))
    run = fit_on_frozen_features(quick, data, split, RECIPE, dtype="float32", progress=False, callbacks=[told])
    assert run.model_name == slow.name and len(seen) == run.epochs
    np.testing.assert_allclose(run.history["val_loss"], expected.history["val_loss"], rtol=1e-3)
    before = network(trainable_layers).trainable_weights
    for start, one, two in zip(before, slow.trainable_weights, quick.trainable_weights, strict=True):
        # Rounding is small beside what training changed.
        change = np.abs(np.asarray(one) - np.asarray(start)).max()
        assert np.abs(np.asarray(one) - np.asarray(two)).max() <= 0.02 * change + 1e-6
    # What the trained part predicts from stored features, the whole predicts from images; 16 bits change little.
    features = cache_frozen_features(quick, data, progress=False)
    assert features.images.dtype == np.float16 and isinstance(features.images, np.memmap)
    alone = predict(trained_part_alone(quick), features, split.test)
    np.testing.assert_allclose(alone, predict(quick, data, split.test), atol=5e-3)


def test_features_are_the_output_of_the_frozen_part_and_computed_once():
    model, data = network(), galaxies()
    features = cache_frozen_features(model, data, dtype="float32", batch_size=10, progress=False)
    expected = model.get_layer("frozen_part")(model.get_layer("input_scaling")(data.images))
    np.testing.assert_allclose(features.images, expected, rtol=1e-4, atol=1e-4)
    watched = WatchedImages(data.images)
    again = cache_frozen_features(model, data.replace(images=watched, fingerprint=data.fingerprint), dtype="float32")
    assert not watched.reads
    assert len(again) == 64 and again.num_classes == data.num_classes and again.fingerprint != data.fingerprint


def test_an_old_file_never_meets_other_weights_data_or_boundaries():
    other = network(seed=2)
    names = []
    for model, data, options in (
        (network(), galaxies(), {}),
        (network(), galaxies(), {"dtype": "float32"}),
        (network(), galaxies(seed=2), {}),
        (network(0), galaxies(), {}),
        (other, galaxies(), {}),
    ):
        cache_frozen_features(model, data, progress=False, **options)
        names.append(files())
    assert [len(each) for each in names] == [1, 2, 3, 4, 5]
    # Only what is frozen counts: another head does not.
    part = other.get_layer("trained_part").get_layer("class_scores")
    part.set_weights([weight + 1 for weight in part.get_weights()])
    cache_frozen_features(other, galaxies(), progress=False)
    assert len(files()) == 5


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b"no features"), lambda path: os.truncate(path, 500)])
def test_a_damaged_file_is_computed_again(damage):
    expected = np.array(cache_frozen_features(network(), galaxies(), progress=False).images)
    damage(next((cache_folder() / "frozen_features").glob("*.npy")))
    np.testing.assert_array_equal(cache_frozen_features(network(), galaxies(), progress=False).images, expected)


def test_what_cannot_be_stored_is_refused():
    for model, message in (
        (network("all"), "No part of this network is frozen"),
        (four_block_cnn(32, 4), "No part of this network is frozen"),
        (network(0, augmentation=RandomDihedral()), "fixed features"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            cache_frozen_features(model, galaxies())
    with pytest.raises(ConfigurationError, match="another size"):
        cache_frozen_features(network(), toy_galaxies(8, side=16))
    large = network()
    norm = large.get_layer("frozen_part").get_layer("block_1b_bn")
    norm.gamma.assign(1e6 * norm.gamma)
    with pytest.raises(DataError, match="dtype='float32'"):
        cache_frozen_features(large, galaxies(), progress=False)
    assert not files(), "a file with numbers that are infinite stays"


def test_features_remember_where_they_come_from_and_how_they_were_computed():
    data = galaxies()
    features = cache_frozen_features(network(), data, progress=False)
    assert features.is_simulated and features.source_fingerprint == data.source_fingerprint
    before = files()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        coarse = network()
    finally:
        keras.config.set_dtype_policy("float32")
    cache_frozen_features(coarse, data, progress=False)
    assert len(files()) == len(before) + 1
