"""Transfer learning: the backbones, what is frozen, on which scale images come in, and where weights come from."""

import functools
import hashlib
import http.server
import re
import shutil
import threading

import keras
import numpy as np
import pytest
from toy_backbone import toy_backbone
from toy_galaxies import toy_galaxies, toy_split

from galaxy_utils import pretrained
from galaxy_utils.errors import ConfigurationError, DataError, DownloadError
from galaxy_utils.models import BACKBONES, backbone_classifier, describe_weights, find_weights, random_weights
from galaxy_utils.recipes import Recipe
from galaxy_utils.training import fit

# Keras' own variables still trip over NumPy's newer `copy` argument.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
SIDE = 32


@pytest.fixture(scope="module", autouse=True)
def backbone():
    with toy_backbone():
        yield


def images(count=3, side=SIDE):
    return np.random.default_rng(1).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def small(trainable_layers=6, **options):
    options = {"weights": None, "num_classes": 4, **options}
    return backbone_classifier("toy", SIDE, trainable_layers=trainable_layers, **options)


def numbers(weights):
    return sum(int(np.prod(weight.shape)) for weight in weights)


def test_the_paper_s_last_20_layers_have_8_93_million_parameters():
    model = backbone_classifier("resnet50", SIDE, weights=None)
    part = model.get_layer("trained_part")
    assert numbers(part.get_layer("upper_layers").trainable_weights) == 8_931_328
    # The boundary lies between two blocks. A pooling layer as the 176th would leave one convolution out.
    assert part.input.shape == (None, 1, 1, 2048)
    assert numbers(model.trainable_weights) == 8_931_328 + 2048 * 256 + 256 + 256 * 10 + 10


@pytest.mark.parametrize("backbone", ["resnet50", "mobilenetv2"])
def test_it_is_the_network_of_keras_applications_with_its_own_scaling(backbone, tmp_path):
    module = {"resnet50": "resnet", "mobilenetv2": "mobilenet_v2"}
    module = getattr(keras.applications, module[backbone])
    build = getattr(keras.applications, BACKBONES[backbone].title)
    official = build(include_top=False, weights=None, input_shape=(SIDE, SIDE, 3))
    official.save_weights(tmp_path / "official.weights.h5")
    model = backbone_classifier(backbone, SIDE, weights=tmp_path / "official.weights.h5", trainable_layers=0)
    features = model.get_layer("frozen_part")(model.get_layer("input_scaling")(images()))
    expected = official(module.preprocess_input(images().astype(np.float32)))
    np.testing.assert_allclose(features, np.asarray(expected).mean(axis=(1, 2)), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    "trainable_layers, names",
    [
        (0, "head class"),
        (2, "head class"),
        (4, "block_2b block_2b_bn head class"),
        (5, "block_2a_bn block_2b block_2b_bn head class"),
        (6, "block_2a block_2a_bn block_2b block_2b_bn head class"),
    ],
)
def test_the_boundary_changes_nothing_but_what_trains(trainable_layers, names):
    whole = small("all")
    model = small(trainable_layers, weights=whole, seed=5)
    np.testing.assert_allclose(model(images()), whole(images()), atol=1e-6)
    trained = {weight.path.split("/")[-2].split("_dense")[0].split("_scores")[0] for weight in model.trainable_weights}
    assert trained == set(names.split())


def test_the_seed_alone_decides_the_weights():
    first = small("all")
    keras.layers.Dense(3).build((None, 5))  # Draws from Keras' global generator, which must not matter.
    # With the states of dropout, inside the backbone too.
    for one, two in zip(first.variables, small("all").variables, strict=True):
        np.testing.assert_array_equal(one, two)
    assert not np.array_equal(first.get_weights()[0], small("all", seed=4).get_weights()[0])


def test_augmentation_changes_images_in_training_alone():
    from galaxy_utils.augmentation import RandomDihedral

    plain, augmented = small(0, dropout=0.0), small(0, dropout=0.0, augmentation=RandomDihedral())
    np.testing.assert_array_equal(plain(images()), augmented(images()))
    assert not np.allclose(plain(images(), training=True), augmented(images(), training=True))


def test_probabilities_stay_float32_under_mixed_precision():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        assert np.asarray(small()(images())).dtype == np.float32
    finally:
        keras.config.set_dtype_policy("float32")


def test_frozen_batch_statistics_never_move_and_unfrozen_ones_follow():
    model = small(4)
    frozen, above = model.get_layer("frozen_part"), model.get_layer("trained_part").get_layer("upper_layers")
    before = frozen.get_weights() + above.get_layer("block_2a_bn").get_weights()
    statistics = above.get_layer("block_2b_bn").get_weights()[2]
    galaxies = toy_galaxies(64, side=SIDE)
    fit(model, galaxies, toy_split(64), Recipe("quick", epochs=1, batch_size=16, learning_rate=1e-3), progress=False)
    after = frozen.get_weights() + above.get_layer("block_2a_bn").get_weights()
    assert all(np.array_equal(old, new) for old, new in zip(before, after, strict=True))
    assert not np.array_equal(statistics, above.get_layer("block_2b_bn").get_weights()[2])
    assert above.get_layer("block_2b_bn").momentum == 0.9 and above.get_layer("block_2a_bn").momentum == 0.99
    # Dropout is off in what is frozen, also while the rest trains.
    np.testing.assert_array_equal(frozen(images() / 1.0, training=True), frozen(images() / 1.0, training=False))


@pytest.mark.parametrize("wrong", [lambda x: x / 255, lambda x: x / 127.5 - 1, lambda x: x.astype(float) - 110])
def test_images_on_another_scale_are_caught(wrong):
    model = small(0)
    with pytest.raises(DataError, match="wrong scale"):
        model(wrong(images()))
    assert np.isnan(model.predict(wrong(images()), verbose=0)).all()
    assert np.isfinite(model.predict(images(), verbose=0)).all()
    assert np.isfinite(model(np.zeros((1, SIDE, SIDE, 3)))).all(), "a black image is on no scale"


class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        self.server.requests.append(self.path)


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A folder whose files a server on this machine offers as Keras' own; and the list of what it was asked for."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.delenv("GALAXY_UTILS_WEIGHTS", raising=False)
    (tmp_path / "toy").mkdir()
    small("all").get_layer("trained_part").get_layer("upper_layers").save_weights(tmp_path / "toy" / "96.weights.h5")
    size = (tmp_path / "toy" / "96.weights.h5").stat().st_size
    about = {"weights_file": "toy/{size}.weights.h5", "weights_bytes": size}
    monkeypatch.setitem(BACKBONES, "toy", BACKBONES["toy"]._replace(**about))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=tmp_path)) as server:
        server.requests = []
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        monkeypatch.setattr(pretrained, "WEIGHTS_FOLDER", f"http://127.0.0.1:{server.server_address[1]}/")
        yield tmp_path / "toy", server.requests
        server.shutdown()


def test_weights_are_fetched_once_and_kept_where_keras_looks(served, tmp_path, capsys):
    folder, requests = served
    kept = tmp_path / "keras" / "models"
    assert find_weights("toy", 96, download=False) is None and not requests
    assert "none on this machine" in capsys.readouterr().out
    assert find_weights("toy", 96) == kept / "96.weights.h5" == find_weights("toy", 96)
    assert len(requests) == 1 and not capsys.readouterr().out
    small(weights="imagenet")
    # One that was trained at another size fits: 224 px before the rest, the right size before all.
    for size in (160, 192, 224, 128):
        shutil.copy(folder / "96.weights.h5", kept / f"{size}.weights.h5")
        assert find_weights("toy", 128, download=False).name == f"{size}.weights.h5"
    assert len(requests) == 1


def test_a_file_with_another_checksum_or_another_networks_weights_is_refused(served, monkeypatch):
    path = served[0] / "96.weights.h5"
    path.write_bytes(bytes(path.stat().st_size))  # nothing vouches for it but its size
    with pytest.raises(DataError, match=r"(?s)does not fit.*96.weights.h5.*delete it"):
        find_weights("toy", 96)
    monkeypatch.setitem(BACKBONES, "toy", BACKBONES["toy"]._replace(checksum="0" * 32))
    with pytest.raises(DataError, match="MD5 is"):
        pretrained.imagenet_weights("toy", 96)


def test_without_a_server_there_are_none_and_one_line_says_why(served, monkeypatch, capsys):
    monkeypatch.setattr(pretrained, "WEIGHTS_FOLDER", "http://127.0.0.1:9/")  # nothing listens there
    assert find_weights("toy", 96) is None
    assert re.fullmatch("No pretrained weights: 127.0.0.1:9, .*: ConnectionError.\n", capsys.readouterr().out)
    monkeypatch.setenv("GALAXY_UTILS_WEIGHTS", "ImageNet")
    with pytest.raises(DownloadError, match="weights=None"):
        find_weights("toy", 96)


def test_the_environment_names_the_weights(served, monkeypatch, capsys):
    own = served[0] / "96.weights.h5"
    for value, expected in ((str(own), own), ("None", None)):
        monkeypatch.setenv("GALAXY_UTILS_WEIGHTS", value)
        assert find_weights("toy", 96) == expected
    assert not served[1] and not capsys.readouterr().out
    monkeypatch.setenv("GALAXY_UTILS_WEIGHTS", str(own.with_name("missing.h5")))
    with pytest.raises(DataError, match=r"(?s)missing.h5.*GALAXY_UTILS_WEIGHTS"):
        find_weights("toy", 96)


def test_a_page_can_say_what_its_weights_were_trained_on(served, monkeypatch):
    told = f"96.weights.h5 (SHA-256 {hashlib.sha256((served[0] / '96.weights.h5').read_bytes()).hexdigest()[:12]}…), "
    assert describe_weights(find_weights("toy", 96)).startswith(told + "trained on ImageNet")
    assert describe_weights(served[0] / "96.weights.h5").startswith(told + "named in GALAXY_UTILS_WEIGHTS")
    assert pretrained.BACKBONES["mobilenetv2"].checksum is None, "Keras states none, and none is made up"


def test_random_weights_are_shared_and_their_statistics_are_those_of_the_images():
    path = random_weights("toy", images(8))
    assert path == random_weights("toy", images(8)) != random_weights("toy", images(8), seed=2)
    first, second = (small(0, weights=path, seed=seed).get_layer("frozen_part") for seed in (1, 2))
    assert all(np.array_equal(*pair) for pair in zip(first.get_weights(), second.get_weights(), strict=True))
    stem = keras.Model(first.input, first.get_layer("stem").output)(images(8) / np.float32(127.5) - 1)
    mean = np.asarray(stem).mean(axis=(0, 1, 2))
    np.testing.assert_allclose(first.get_layer("stem_bn").moving_mean, mean, atol=1e-4)


def test_files_that_do_not_fit_are_refused(tmp_path):
    other = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    other.save_weights(tmp_path / "other.weights.h5")
    (tmp_path / "junk.weights.h5").write_bytes(b"junk" * 100)
    upper = small("all").get_layer("trained_part").get_layer("upper_layers")
    upper.set_weights([np.nan * weight for weight in upper.get_weights()])
    upper.save_weights(tmp_path / "nan.weights.h5")
    messages = {"other": "does not fit", "junk": "does not fit", "nan": "not finite", "x": "no such file"}
    for name, message in messages.items():
        with pytest.raises(DataError, match=message):
            small(weights=tmp_path / f"{name}.weights.h5")


def test_the_real_file_of_weights_fits(shared_folder):
    path = shared_folder / "weights" / "mobilenetv2_160_notop.weights.h5"
    if not path.is_file():
        pytest.skip(f"no such file: {path}")
    answers = np.asarray(backbone_classifier("mobilenetv2", 64, 4, weights=str(path))(images(4, 64)))
    assert np.isfinite(answers).all() and np.ptp(answers, axis=0).max() > 1e-3


@pytest.mark.parametrize(
    "options",
    [
        {"backbone": "vgg16"},
        {"image_size": 31},
        {"num_classes": 1},
        {"trainable_layers": -1},
        {"trainable_layers": 1000},
        {"trainable_layers": True},
        {"trainable_layers": "20"},
        {"dropout": 1.0},
        {"batch_statistics_momentum": 1.0},
        {"seed": -1},
        {"weights": 3},
        {"weights": "weights.pickle"},
    ],
)
def test_what_cannot_be_built_is_refused(options):
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        backbone_classifier(
            **{"backbone": "toy", "image_size": SIDE, "trainable_layers": 0, "weights": None, **options}
        )
    with pytest.raises(ConfigurationError, match="weights"):
        small(weights=small(num_classes=5))
