"""One file for a classifier: opened in another process it answers the same; what could run code is refused."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from toy_galaxies import CLASS_NAMES, toy_galaxies

import galaxy_utils as gu
from galaxy_utils import augmentation as add
from galaxy_utils import classifier_file
from galaxy_utils.errors import ConfigurationError, DataError, StorageError

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
AUGMENTING = (add.RandomDihedral, add.RandomRotationZoomShift, add.RandomShiftAndBrightness)
NETWORKS = {
    "augmented": lambda: gu.models.compact_cnn(32, 4, augmentation=[layer() for layer in AUGMENTING]),
    "joint": lambda: gu.models.joint_autoencoder_classifier(32, 4, latent_dim=8),
    "transfer": lambda: gu.models.backbone_classifier("mobilenetv2", 32, 4, weights=None, trainable_layers=5),
    "encoder": lambda: gu.models.encoder_classifier(32, 4, latent_dim=8),
    "paper 1": lambda: gu.models.four_block_cnn(32, 4),
}
REPOSITORY = Path(__file__).resolve().parents[1]
OTHERS = [
    lambda: add.denoising_autoencoder(32),
    lambda: add.variational_autoencoder(32),
    lambda: add.relativistic_gan(32, 4),
    lambda: add.conditional_gan(32, 4),
    lambda: add.super_resolution_gan(32, gu.models.compact_cnn(32)),
]
OPEN = """
import sys
import numpy as np, galaxy_utils as gu
import keras
for path in sys.argv[1:]:  # nothing of the package but itself has been imported
    sums = [float(np.abs(array).sum()) for array in keras.saving.load_model(path).get_weights()]
    if "classifier" not in path:
        np.testing.assert_allclose(sums, np.load(path + ".npy"), rtol=1e-6)
for path in filter(lambda path: "classifier" in path, sys.argv[1:]):
    classifier = gu.load_classifier(path)
    answers = classifier.predict(np.load("images.npy"))
    assert np.abs(answers - np.load(path + ".npy")).max() < 1e-6, path
    assert classifier.class_names == ("Red Small", "Blue Small", "Red Large", "Blue Large")
    assert (classifier.image_size, classifier.crop, classifier.recipe) == (32, 0.5, gu.recipes.COMPACT_CNN)
print("same answers")
"""


def test_every_network_answers_the_same_in_another_process(tmp_path):
    galaxies = toy_galaxies(8, side=32)
    np.save(tmp_path / "images.npy", galaxies.images)
    for name, build in NETWORKS.items():
        model, path = build(), tmp_path / f"{name} classifier.keras"
        gu.save_classifier(path, model, galaxies, crop=0.5, recipe=gu.recipes.COMPACT_CNN)
        np.save(f"{path}.npy", gu.predict(model, galaxies, np.arange(8)))
    for build in OTHERS:
        model = build()
        model.save(path := tmp_path / f"{model.name}.keras")
        np.save(f"{path}.npy", [float(np.abs(array).sum()) for array in model.get_weights()])
    command = [sys.executable, "-c", OPEN, *(path.name for path in sorted(tmp_path.glob("*.keras")))]
    environment = {**os.environ, "PYTHONPATH": str(Path(gu.__file__).parents[1])}
    child = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert child.returncode == 0 and child.stdout.endswith("same answers\n"), child.stderr
    assert not list(tmp_path.glob(".*.keras")) and not list(tmp_path.glob("*.partial"))


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    path = tmp_path_factory.mktemp("sound") / "galaxies.keras"
    return gu.save_classifier(path, gu.models.three_block_cnn(16, 4), CLASS_NAMES)


def test_a_trained_network_is_saved_without_what_it_was_trained_with(tmp_path, sound):
    """Somebody's own loss or callback must not keep others from opening the network."""
    model = gu.models.three_block_cnn(16, 4)
    model.compile("sgd", lambda wanted, given: keras.ops.mean((wanted - given) ** 2))
    gu.save_classifier(tmp_path / "own.keras", model, toy_galaxies())
    (tmp_path / "no folder").touch()
    with pytest.raises(StorageError):
        gu.save_classifier(tmp_path / "no folder" / "own.keras", model, toy_galaxies())
    assert model.compiled
    classifier = gu.load_classifier(tmp_path / "own.keras")
    assert classifier.crop == 1 and classifier.recipe is None and classifier.calibration is None
    np.testing.assert_array_equal(
        classifier.predict(toy_galaxies().images), gu.load_classifier(sound).predict(toy_galaxies().images)
    )


def spoiled(content, random):
    start = int(random.integers(len(content) - 100))
    return content[:start] + bytes(byte ^ 255 for byte in content[start : start + 50]) + content[start + 50 :]


def test_what_is_no_classifier_is_refused(tmp_path, sound):
    content, random, path = sound.read_bytes(), np.random.default_rng(1), tmp_path / "bad.keras"
    keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Flatten()]).save(tmp_path / "plain.keras")
    bad = [b"", b"no archive", content[:-99], (tmp_path / "plain.keras").read_bytes()]
    for damaged in bad + [spoiled(content, random) for _ in range(10)]:
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"bad\.keras"):
            gu.load_classifier(path)
    with pytest.raises(DataError, match="check the path"):
        gu.load_classifier(tmp_path / "missing.keras")
    with pytest.raises(DataError, match="a network that Keras saved"):
        gu.load_classifier(tmp_path / "plain.keras")


FULL_DISK = """
import resource, signal, sys, tempfile
import galaxy_utils as gu
from galaxy_utils.errors import StorageError
gu.load_classifier(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
for largest, tempfile.tempdir in ((1_000, tempfile.tempdir), (0, None)):  # Python looks for a folder, or knows one
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, resource.RLIM_INFINITY))
    try:
        gu.load_classifier(sys.argv[1])
    except StorageError as error:
        told = str(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert "no room to unpack galaxies.keras" in told and "MiB free" in told and "TMPDIR" in told, told
    del told
gu.load_classifier(sys.argv[1])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit of the system")
def test_a_disk_without_room_to_unpack_it_is_no_damaged_file(sound, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(Path(gu.__file__).parents[1])}
    command = [sys.executable, "-c", FULL_DISK, sound]
    child = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert child.returncode == 0, child.stderr


@keras.saving.register_keras_serializable("elsewhere")
class Foreign(keras.layers.Layer):
    """A layer that this package does not know."""

    def call(self, x):
        return x


def with_layer(layer):
    images = keras.Input((16, 16, 3))
    return keras.Model(images, keras.layers.Dense(4)(keras.layers.Flatten()(layer(images))))


@pytest.mark.parametrize("layer", [keras.layers.Lambda(lambda x: x), Foreign()], ids=["lambda", "foreign"])
def test_layers_that_bring_code_are_refused_on_both_ways(tmp_path, sound, layer):
    with pytest.raises(ConfigurationError, match=type(layer).__name__):
        gu.save_classifier(tmp_path / "a.keras", with_layer(layer), CLASS_NAMES)
    assert not (tmp_path / "a.keras").exists()
    # Written past `save_classifier`, with the page that a classifier has.
    with_layer(layer).save(tmp_path / "forged.keras")
    with zipfile.ZipFile(sound) as honest, zipfile.ZipFile(tmp_path / "forged.keras", "a") as forged:
        forged.writestr("galaxy_utils.json", honest.read("galaxy_utils.json"))
    with pytest.raises(DataError, match=type(layer).__name__):
        gu.load_classifier(tmp_path / "forged.keras")


def test_wrong_images_get_no_answer(sound):
    classifier = gu.load_classifier(sound)
    with pytest.raises(DataError, match="shape"):
        classifier.predict(np.zeros((2, 20, 20, 3), np.uint8))
    with pytest.raises(DataError, match="not a number"):
        classifier.predict(np.full((2, 16, 16, 3), np.nan))


def test_the_package_brings_one_that_knows_galaxies(shared_folder):
    """Real ones of another survey, which it has not been trained on, in classes that both have."""
    classifier = gu.pretrained_classifier()
    galaxies = gu.load(shared_folder / "data" / "galaxyzoo_clean5")
    rows = np.concatenate([np.flatnonzero(galaxies.labels == label)[:60] for label in range(5)])
    prepared = gu.prepare(galaxies, classifier.image_size, 0.75)
    said = classifier.predict(np.asarray(prepared.images[rows])).argmax(axis=1)
    fits = {"round": [2, 3], "in_between": [2, 3], "cigar": [3, 4, 8], "edge_on": [4, 8, 9], "spiral": [5, 6, 7]}
    true = [galaxies.class_names[label] for label in galaxies.labels[rows]]
    right = [label in fits[name] for label, name in zip(said, true, strict=True)]
    assert np.mean(right) > 0.6


def test_the_package_s_classifier_is_small_and_complete():
    classifier = gu.pretrained_classifier()
    assert classifier_file.PRETRAINED.stat().st_size < 3e6
    assert classifier.class_names == gu.CLASS_NAMES and classifier.crop == 0.5
    assert classifier.pixel_scale == pytest.approx(0.262 * 128 / 96)
    assert classifier.calibration.reference is not None and classifier.recipe.epochs == 60
    survey = gu.load("simulated", profile="smoke")
    prepared = gu.prepare(survey, classifier.image_size, classifier.crop)
    assert np.mean(classifier.predict(prepared.images[:]).argmax(axis=1) == survey.labels) > 0.5
    card = classifier_file.PRETRAINED.with_suffix(".md").read_text(encoding="utf-8")
    assert "What it is not for" in card and "Galaxy Zoo" in card
    # What README and the book's first page say is the card's.
    (accuracy,) = re.findall(r"\| one view \| ([\d.]+) \|", card)
    for page in ("README.md", "book/index.md"):
        assert f"{accuracy} %" in (REPOSITORY / page).read_text(encoding="utf-8")


def test_names_that_do_not_fit_are_refused(tmp_path):
    model = gu.models.three_block_cnn(16, 4)
    wrong = (("a.h5", CLASS_NAMES[:4], r"call it a\.keras"), ("a.keras", CLASS_NAMES[:3], "4 names.*(.|\n)*3"))
    for name, classes, told in wrong:
        with pytest.raises(ConfigurationError, match=told):
            gu.save_classifier(tmp_path / name, model, classes)


def test_onnx_answers_as_keras_does(tmp_path):
    pytest.importorskip("tf2onnx")
    runtime = pytest.importorskip("onnxruntime")
    model, galaxies = gu.models.three_block_cnn(16, 4), toy_galaxies(8)
    gu.save_classifier(tmp_path / "galaxies.keras", model, galaxies)
    classifier = gu.load_classifier(tmp_path / "galaxies.keras")
    expected = classifier.predict(galaxies.images)
    classifier.model.export(tmp_path / "galaxies.onnx", format="onnx", verbose=False)
    session = runtime.InferenceSession(tmp_path / "galaxies.onnx")
    (answers,) = session.run(None, {session.get_inputs()[0].name: galaxies.images.astype(np.float32)})
    np.testing.assert_allclose(answers, expected, atol=1e-5)
