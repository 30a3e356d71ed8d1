"""Both papers' networks: what they are made of, what goes in and what comes out."""

import keras
import numpy as np
import pytest

from galaxy_utils.errors import ConfigurationError
from galaxy_utils.models import compact_cnn, four_block_cnn, three_block_cnn

BUILDERS = (
    four_block_cnn,
    three_block_cnn,
    lambda *arguments, **options: four_block_cnn(*arguments, pooling="average", **options),
    compact_cnn,
)


def images(count, side, seed=1):
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def test_four_blocks_have_the_layers_of_the_paper_in_order():
    network = four_block_cnn(256)
    assert network.get_layer("dense").count_params() == 33_554_944
    block = ["Conv2D", "BatchNormalization", "MaxPooling2D", "Dropout"]
    expected = ["InputLayer", "Rescaling", *4 * block, "Flatten", "Dense", "Dropout", "Dense"]
    assert [type(layer).__name__ for layer in network.layers] == expected
    convolutions = [layer for layer in network.layers if isinstance(layer, keras.layers.Conv2D)]
    assert [(layer.filters, *layer.kernel_size) for layer in convolutions] == [(n, 3, 3) for n in (32, 64, 128, 256)]
    assert {layer.rate for layer in network.layers if isinstance(layer, keras.layers.Dropout)} == {0.25}


def test_average_pooling_replaces_one_layer_and_three_blocks_have_no_dropout():
    flat, average = four_block_cnn(32), four_block_cnn(32, pooling="average")
    differing = [(a.name, b.name) for a, b in zip(flat.layers, average.layers, strict=True) if a.name != b.name]
    assert differing == [("flatten", "global_average_pooling")]
    # The dense layer then sees 256 averages, whatever the image's size.
    assert average.get_layer("dense").count_params() == 256 * 512 + 512
    kinds = [type(layer).__name__ for layer in three_block_cnn(32).layers]
    assert kinds == ["InputLayer", "Rescaling", *3 * ["Conv2D", "MaxPooling2D"], "Flatten", "Dense", "Dense"]


def test_without_dropout_in_its_blocks_the_network_starts_with_the_same_weights():
    usual, without = four_block_cnn(32, seed=3), four_block_cnn(32, seed=3, block_dropout=0)
    assert [layer.name for layer in without.layers if isinstance(layer, keras.layers.Dropout)] == ["dense_dropout"]
    for first, second in zip(usual.get_weights(), without.get_weights(), strict=True):
        np.testing.assert_array_equal(first, second)
    assert four_block_cnn(32, block_dropout=0.1).get_layer("block_4_dropout").rate == 0.1
    narrow = four_block_cnn(32, first_filters=8)
    assert [narrow.get_layer(f"block_{n}_convolution").filters for n in (1, 2, 3, 4)] == [8, 16, 32, 64]
    assert narrow.get_layer("dense").units == 128


def test_the_compact_network_has_one_million_parameters_at_any_size():
    assert compact_cnn(96).count_params() == compact_cnn(24).count_params() == 1_169_898
    assert compact_cnn(96, pooling="flatten").get_layer("flatten").output.shape == (None, 6 * 6 * 256)


@pytest.mark.parametrize("build", BUILDERS)
def test_images_become_probabilities_and_lose_no_fraction(build):
    network, whole = build(16, 7), images(4, 16)
    floats, probabilities = whole.astype(np.float32), network.predict(whole, verbose=0)
    assert probabilities.shape == (4, 7) and probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(probabilities, network.predict(floats, verbose=0))
    rescale = network.get_layer("rescale_to_unit_interval")
    pixels = keras.Model(network.input, rescale.output).predict(floats + 0.25, verbose=0)
    np.testing.assert_allclose(pixels, (whole + 0.25) / 255, rtol=1e-6)


@pytest.mark.parametrize("build", BUILDERS)
def test_the_seed_alone_decides_the_weights(build):
    first = build(16, seed=3)
    keras.layers.Dense(3).build((None, 5))  # Draws from Keras' global generator, which must not matter.
    second, other = build(16, seed=3), build(16, seed=4)
    for one, two in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    starts = [
        tuple(layer.get_weights()[0].ravel()[:4])
        for network in (first, other)
        for layer in network.layers
        if layer.name.endswith(("convolution", "dense", "probabilities"))
    ]
    assert len(set(starts)) == len(starts), "two layers share their random numbers"


def test_the_seed_alone_decides_dropout():
    first, second = four_block_cnn(16, seed=3), four_block_cnn(16, seed=3)
    again = first(images(4, 16), training=True)
    np.testing.assert_array_equal(again, second(images(4, 16), training=True))
    assert not np.array_equal(again, second(images(4, 16), training=True))


def test_softmax_stays_float32_under_mixed_precision():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        network = four_block_cnn(16)
        assert network.get_layer("block_1_convolution").compute_dtype == "float16"
        assert network.predict(images(3, 16), verbose=0).dtype == np.float32
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize(
    "build, options, named",
    [
        (four_block_cnn, {"image_size": 15}, "at least 16"),
        (three_block_cnn, {"image_size": 7}, "at least 8"),
        (four_block_cnn, {"image_size": 64.0}, "64.0"),
        (four_block_cnn, {"image_size": "64"}, "'64'"),
        (four_block_cnn, {"image_size": 64, "pooling": "max"}, "'flatten' or 'average'"),
        (four_block_cnn, {"image_size": 64, "num_classes": 1}, "num_classes"),
        (three_block_cnn, {"image_size": 64, "seed": -1}, "seed"),
        (four_block_cnn, {"image_size": 64, "block_dropout": 1.0}, "block_dropout"),
    ],
)
def test_what_cannot_be_built_is_refused(build, options, named):
    with pytest.raises(ConfigurationError, match=named):
        build(**options)
