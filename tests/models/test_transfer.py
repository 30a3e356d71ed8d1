"""Transfer learning: the backbones, what is frozen, on which scale images come in, and where weights come from."""

import dataclasses
import hashlib
import http.server
import threading
import time

import keras
import numpy as np
import pytest
from toy_galaxies import toy_galaxies, toy_split

from galaxy_utils.checkpoint import describe_network
from galaxy_utils.errors import ConfigurationError, DataError, DownloadError
from galaxy_utils.evaluation import evaluate
from galaxy_utils.models import (
    BACKBONES,
    backbone_classifier,
    backbone_features,
    find_weights,
    imagenet_weights,
    random_weights,
    transfer,
)
from galaxy_utils.models._transfer_layers import FrozenNetwork
from galaxy_utils.recipes import Recipe
from galaxy_utils.training import fit

# Keras' own variables still trip over NumPy's newer `copy` argument.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SIDE = 32
HEAD = ("global_average_pooling", "head_", "class_scores")


def images(count=3, side=SIDE, seed=1):
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def small(trainable_layers=7, **options):
    """Build the quickest of the backbones."""
    options = {"weights": None, "head_units": 8, **options}
    return backbone_classifier("resnet18", SIDE, 4, trainable_layers=trainable_layers, **options)


@pytest.fixture(scope="module")
def whole():
    """A network of which every layer trains. No test changes it."""
    return small("all")


def probabilities(model, pixels):
    """Call a network outside a compiled function: quicker than compiling it for a few images."""
    return np.asarray(model(pixels))


def batch_statistics(network):
    layers = [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]
    return [np.asarray(layer.moving_mean) for layer in layers]


def assert_same(first, second):
    for one, two in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, two)


# What the networks are made of


def test_the_paper_s_last_20_layers_have_8_93_million_parameters():
    assert len(transfer._build_backbone("resnet50", SIDE).layers) == 175
    model = backbone_classifier("resnet50", SIDE, weights=None)
    layers = model.get_layer("trained_part").layers
    head = sum(layer.count_params() for layer in layers if layer.name.startswith(HEAD))
    trainable = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert trainable - head == 8_931_328
    # The boundary lies between two blocks: one tensor crosses it.
    assert [tensor.shape for tensor in model.get_layer("trained_part").inputs] == [(None, 1, 1, 2048)]


@pytest.mark.parametrize("backbone", [name for name, about in BACKBONES.items() if about.builder])
def test_it_is_the_network_of_keras_applications_with_its_own_scaling(backbone, tmp_path):
    module = {"resnet50": "resnet", "mobilenetv2": "mobilenet_v2", "efficientnetv2b0": "efficientnet_v2"}
    module = getattr(keras.applications, module.get(backbone, "convnext"))
    build = getattr(keras.applications, BACKBONES[backbone].builder)
    official = build(include_top=False, weights=None, input_shape=(SIDE, SIDE, 3))
    official.save_weights(tmp_path / "official.weights.h5")
    model = backbone_classifier(
        backbone, SIDE, 4, weights=tmp_path / "official.weights.h5", trainable_layers=20, head_units=0
    )
    # A copy, because preprocess_input changes what it is given.
    features = np.asarray(official(module.preprocess_input(images().astype(np.float32)))).mean(axis=(1, 2))
    kernel, bias = model.get_layer("trained_part").get_layer("class_scores").get_weights()
    logits = features @ kernel + bias
    expected = np.exp(logits - logits.max(axis=1, keepdims=True))
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probabilities(model, images()), expected, atol=2e-4)


def test_features_are_what_the_classifier_pools():
    network = small(0, head_units=0, dropout=0.0)
    features = np.asarray(backbone_features("resnet18", SIDE, None)(images()))
    kernel, bias = network.get_layer("trained_part").get_layer("class_scores").get_weights()
    scores = features @ kernel + bias
    answers = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(answers, probabilities(network, images()), atol=1e-5)


def test_resnet18_has_the_parameters_of_its_paper():
    # 11,689,512 with 1,000 classes, as everybody counts; 513,000 of them are the last layer.
    network = transfer._build_backbone("resnet18", 224)
    assert sum(int(np.prod(weight.shape)) for weight in network.trainable_weights) == 11_689_512 - 513_000
    assert network.output.shape == (None, 7, 7, 512)


@pytest.mark.parametrize("trainable_layers, crossing", [(0, 1), (3, 2), (9, 1), (12, 2)])
def test_the_boundary_changes_nothing_but_what_trains(whole, trainable_layers, crossing):
    model = small(trainable_layers, weights=whole)
    np.testing.assert_allclose(probabilities(model, images()), probabilities(whole, images()), atol=1e-6)
    part = model.get_layer("trained_part")
    assert len(part.inputs) == crossing
    assert len(model.trainable_weights) == len(part.trainable_weights)
    # Without the scaling and the head, `whole` has the layers of the backbone alone.
    layers = [layer for layer in whole.get_layer("trained_part").layers if not layer.name.startswith(HEAD)]
    expected = sum(len(layer.trainable_weights) for layer in layers[len(layers) - trainable_layers :])
    assert len(part.trainable_weights) == expected + 4


def test_additions_of_convnext_may_lie_on_the_boundary():
    model = backbone_classifier("convnexttiny", SIDE, 4, weights=None, trainable_layers=10)
    assert len(model.get_layer("trained_part").inputs) == 2
    again = backbone_classifier("convnexttiny", SIDE, 4, weights=None, trainable_layers=10)
    assert describe_network(model) == describe_network(again), "a layer's name depends on what was built before"


def test_the_seed_alone_decides_the_weights(whole):
    first = whole
    keras.layers.Dense(3).build((None, 5))  # Draws from Keras' global generator, which must not matter.
    second, other = small("all"), small("all", seed=4)
    assert_same(first.get_weights(), second.get_weights())
    assert not np.array_equal(first.get_weights()[0], other.get_weights()[0])
    assert describe_network(first) == describe_network(second) != describe_network(other)


def test_augmentation_comes_first_and_leaves_weights_alone(whole):
    from galaxy_utils.augmentation import RandomDihedral

    plain, augmented = whole, small("all", augmentation=RandomDihedral())
    assert [layer.name for layer in augmented.layers][1].startswith("random_flips")
    assert_same(plain.get_weights(), augmented.get_weights())
    np.testing.assert_array_equal(probabilities(plain, images()), probabilities(augmented, images()))
    assert not np.array_equal(plain(images(), training=False), augmented(images(), training=True))


def test_softmax_and_scaling_stay_float32_under_mixed_precision():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = small()
        assert model.get_layer("trained_part").get_layer("head_dense").compute_dtype == "float16"
        assert model.get_layer("input_scaling").output.dtype == "float32"
        assert probabilities(model, images()).dtype == np.float32
    finally:
        keras.config.set_dtype_policy("float32")


def test_a_saved_network_comes_back_whole(tmp_path):
    model = small(3)
    model.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")
    np.testing.assert_array_equal(probabilities(loaded, images()), probabilities(model, images()))
    assert len(loaded.trainable_weights) == len(model.trainable_weights)
    assert isinstance(loaded.get_layer("frozen_part"), FrozenNetwork)


# What is frozen


@pytest.mark.parametrize("momentum", [0.9, None])
def test_frozen_batch_statistics_never_move(momentum):
    galaxies, split, model = toy_galaxies(64, side=SIDE), toy_split(64), small(3, batch_statistics_momentum=momentum)
    frozen, trained = model.get_layer("frozen_part"), model.get_layer("trained_part")
    frozen_before, statistics_before = frozen.get_weights(), batch_statistics(trained)
    scale_before = trained.trainable_weights[1].numpy()
    fit(model, galaxies, split, Recipe("quick", epochs=1, batch_size=16, learning_rate=1e-3), progress=False)
    assert len(frozen_before) > 80
    assert_same(frozen_before, frozen.get_weights())
    assert len(statistics_before) == 1 and not np.array_equal(scale_before, trained.trainable_weights[1].numpy())
    moved = not np.array_equal(statistics_before[0], batch_statistics(trained)[0])
    assert moved == (momentum is not None)


def test_a_frozen_network_runs_as_in_prediction_inside_one_that_trains():
    inputs = keras.Input((4,))
    x = keras.layers.Dropout(0.5, seed=1)(keras.layers.BatchNormalization()(inputs))
    inner = keras.Input((4,))
    whole = keras.Model(inner, keras.layers.Dense(2, name="top")(FrozenNetwork(inputs, x)(inner)))
    vectors = np.random.default_rng(1).normal(3, 2, (8, 4)).astype(np.float32)
    np.testing.assert_array_equal(whole(vectors, training=True), whole(vectors, training=False))
    assert [weight.path.split("/")[0] for weight in whole.trainable_weights] == ["top", "top"]


def test_unfrozen_batch_normalisation_gets_the_wanted_momentum():
    def momenta(model, part):
        layers = model.get_layer(part).layers
        return {layer.momentum for layer in layers if isinstance(layer, keras.layers.BatchNormalization)}

    model = backbone_classifier("mobilenetv2", SIDE, 4, weights=None, trainable_layers=20)
    assert momenta(model, "trained_part") == {0.9} and momenta(model, "frozen_part") == {0.999}


def test_a_second_stage_starts_from_the_first(whole):
    first = small(0)
    head = first.get_layer("trained_part").get_layer("class_scores")
    head.set_weights([weight + 1 for weight in head.get_weights()])
    second = small(9, weights=first, seed=5, batch_statistics_momentum=None)
    np.testing.assert_allclose(probabilities(first, images()), probabilities(second, images()), atol=1e-6)
    with pytest.raises(ConfigurationError, match="built in another way"):
        small(9, weights=whole, head_units=9)
    with pytest.raises(ConfigurationError, match="built in another way"):
        small(9, weights=keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)]))


# Images on the wrong scale


@pytest.mark.parametrize("wrong", [lambda x: x / 255, lambda x: x / 127.5 - 1, lambda x: x.astype(float) - 110])
def test_images_on_another_scale_are_caught(whole, wrong):
    with pytest.raises(DataError, match="wrong scale"):
        whole(wrong(images()))


def test_inside_a_compiled_function_they_get_no_answer():
    model = small(0)
    assert np.isfinite(model.predict(images(), verbose=0)).all()
    np.testing.assert_array_equal(
        model.predict(images(), verbose=0), model.predict(images().astype(np.float32), verbose=0)
    )
    answers = model.predict(images() / 255, verbose=0)
    assert np.isnan(answers).all()
    with pytest.raises(DataError, match="not finite"):
        evaluate(answers, np.array([0, 1, 2]), "ABCD")


def test_a_black_image_is_not_on_the_wrong_scale(whole):
    assert np.isfinite(probabilities(whole, np.zeros((1, SIDE, SIDE, 3), np.uint8))).all()


# Where weights come from


def test_without_network_and_weights_one_message_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    # Nothing listens there.
    monkeypatch.setattr(transfer, "WEIGHTS_FOLDER", "http://127.0.0.1:9/")
    started = time.perf_counter()
    with pytest.raises(DownloadError) as caught:
        backbone_classifier("resnet50", SIDE)
    assert time.perf_counter() - started < 20
    name = "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"
    for wanted in (f"http://127.0.0.1:9/resnet/{name}", str(tmp_path / "models" / name), "weights=None", "weights=<"):
        assert wanted in str(caught.value)


def test_addresses_are_keras_own_and_secure():
    official = "https://storage.googleapis.com/tensorflow/keras-applications/"
    assert official == transfer.WEIGHTS_FOLDER
    with pytest.raises(ConfigurationError, match="Keras offers no ImageNet weights of ResNet18"):
        imagenet_weights("resnet18")


class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


def test_weights_are_fetched_once_checked_and_kept_where_keras_looks(tmp_path, monkeypatch):
    official = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(SIDE, SIDE, 3))
    served = tmp_path / "served"
    served.mkdir()
    official.save_weights(served / "file.weights.h5")
    content = (served / "file.weights.h5").read_bytes()
    about = dataclasses.replace(
        BACKBONES["mobilenetv2"],
        weights_file="file.weights.h5",
        checksum=hashlib.md5(content).hexdigest(),
        weights_bytes=len(content),
    )
    monkeypatch.setitem(BACKBONES, "mobilenetv2", about)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))

    def serve(*arguments):
        return Handler(*arguments, directory=served)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        monkeypatch.setattr(transfer, "WEIGHTS_FOLDER", f"http://127.0.0.1:{server.server_address[1]}/")
        path = imagenet_weights("mobilenetv2", SIDE)
        server.shutdown()
    assert path == tmp_path / "keras" / "models" / "file.weights.h5" and path.read_bytes() == content
    model = backbone_classifier("mobilenetv2", SIDE, 4, trainable_layers=0)
    np.testing.assert_array_equal(
        model.get_layer("frozen_part").get_layer("Conv_1").get_weights()[0],
        official.get_layer("Conv_1").get_weights()[0],
    )
    path.write_bytes(content[:-1] + b"?")
    with pytest.raises(DataError, match="MD5 is"):
        imagenet_weights("mobilenetv2", SIDE)


def test_weights_are_found_where_they_are_and_never_fetched_unasked(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.delenv("GALAXY_UTILS_WEIGHTS", raising=False)
    # Nothing listens there.
    monkeypatch.setattr(transfer, "WEIGHTS_FOLDER", "http://127.0.0.1:9/")
    assert find_weights("mobilenetv2", 96) is None
    assert find_weights("resnet18") is None
    place = tmp_path / "keras" / "models" / "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_96_no_top.h5"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"weights")
    assert find_weights("mobilenetv2", 96) == place
    assert find_weights("mobilenetv2", 128) is None
    own = tmp_path / "own.weights.h5"
    own.write_bytes(b"weights")
    for value, expected in ((str(own), own), ("none", None)):
        monkeypatch.setenv("GALAXY_UTILS_WEIGHTS", value)
        assert find_weights("mobilenetv2", 96) == expected
    monkeypatch.setenv("GALAXY_UTILS_WEIGHTS", str(tmp_path / "missing.h5"))
    with pytest.raises(DataError, match="GALAXY_UTILS_WEIGHTS"):
        find_weights("mobilenetv2", 96)
    monkeypatch.setenv("GALAXY_UTILS_WEIGHTS", "imagenet")
    with pytest.raises(DownloadError):
        find_weights("mobilenetv2", 128)
    monkeypatch.delenv("GALAXY_UTILS_WEIGHTS")
    with pytest.raises(DownloadError):
        find_weights("resnet50", download=True)


def test_networks_of_several_seeds_share_random_weights_that_lie_in_a_file():
    path = random_weights("resnet18", images(16), seed=3)
    parts = [small(5, weights=path, seed=seed).get_layer("frozen_part") for seed in (1, 2)]
    assert_same(*(part.get_weights() for part in parts))
    # The statistics are those of the images that were given, from the first normalisation on.
    below = keras.Model(parts[0].inputs, parts[0].get_layer("conv1_bn").output)
    scaled = small(0).get_layer("input_scaling")(images(16))
    normalised = np.asarray(below(scaled))
    np.testing.assert_allclose(normalised.mean(axis=(0, 1, 2)), 0, atol=1e-3)
    np.testing.assert_allclose(normalised.std(axis=(0, 1, 2)), 1, atol=1e-2)
    # The same seed writes the same weights, another one others.
    path.unlink()
    assert random_weights("resnet18", images(16), seed=3) == path
    assert_same(small(5, weights=path).get_layer("frozen_part").get_weights(), parts[0].get_weights())
    assert random_weights("resnet18", images(16), seed=4) != path
    with pytest.raises(DataError, match="square RGB"):
        random_weights("resnet18", images(16)[0])


def test_a_pass_that_lets_go_of_tensors_gives_what_the_whole_network_gives():
    template, inputs = transfer._resnet18(SIDE, widths=(8, 16)), keras.Input((SIDE, SIDE, 3))
    names = {layer.name for layer in template.layers}
    calls = transfer._copy(template, inputs, names, 0.0, transfer._seeds(1), with_weights=False)
    network, pixels = keras.Model(inputs, calls[-1].output), images(8).astype(np.float32) / 255
    transfer._train_pass(calls, inputs, pixels)
    found = network.get_weights()
    assert all(mean.any() for mean in batch_statistics(network))
    network(pixels, training=True)
    assert_same(network.get_weights(), found)


def test_files_that_do_not_fit_are_refused(tmp_path):
    def refused(name, write, error=DataError, message="does not fit"):
        write(tmp_path / name)
        with pytest.raises(error, match=message):
            small(weights=tmp_path / name)

    other = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    refused("other.weights.h5", other.save_weights)
    refused("junk.weights.h5", lambda path: path.write_bytes(b"junk" * 100))
    refused("network.keras", other.save, ConfigurationError, "HDF5 files only")
    refused("weights.pickle", lambda path: path.write_bytes(b""), ConfigurationError, "HDF5 files only")
    refused("missing.h5", lambda path: None, message="no such file")
    with pytest.raises(ConfigurationError, match="These are no weights"):
        small(weights=3)


def test_the_real_file_of_weights_fits(shared_folder):
    path = shared_folder / "weights" / "mobilenetv2_160_notop.weights.h5"
    if not path.is_file():
        pytest.skip(f"no such file: {path}")
    model = backbone_classifier("mobilenetv2", 64, 4, weights=str(path), trainable_layers=20)
    answers = probabilities(model, images(4, 64))
    assert np.isfinite(answers).all() and np.ptp(answers, axis=0).max() > 1e-3
    with pytest.raises(DataError, match="does not fit"):
        backbone_classifier("resnet18", 64, 4, weights=path)


@pytest.mark.parametrize(
    "options, named",
    [
        ({"backbone": "vgg16"}, "'resnet50' or 'resnet18'"),
        ({"image_size": 31}, "at least 32"),
        ({"num_classes": 1}, "num_classes"),
        ({"trainable_layers": -1}, "trainable_layers"),
        ({"trainable_layers": 1000}, "trainable_layers"),
        ({"trainable_layers": True}, "True"),
        ({"trainable_layers": "20"}, "'20'"),
        ({"dropout": 1.0}, "dropout"),
        ({"head_units": -1}, "head_units"),
        ({"batch_statistics_momentum": 1.0}, "batch_statistics_momentum"),
        ({"seed": -1}, "seed"),
    ],
)
def test_what_cannot_be_built_is_refused(options, named):
    arguments = {"backbone": "resnet18", "image_size": SIDE, "num_classes": 4, "weights": None, **options}
    with pytest.raises(ConfigurationError, match=named):
        backbone_classifier(**arguments)
