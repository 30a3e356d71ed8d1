"""The network in the page: what is written for the browser is the package's classifier, and what Keras says of it."""

import base64
import csv
import hashlib
import json
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from toy_galaxies import CLASS_NAMES, toy_galaxies

import galaxy_utils as gu
from galaxy_utils.classes import CLASS_NAMES as CLASSES
from galaxy_utils.classifier_file import PRETRAINED
from galaxy_utils.errors import GalaxyUtilsError

REPOSITORY = Path(__file__).resolve().parents[2]
LIBRARY = REPOSITORY / "book" / "play" / "tensorflowjs"


@pytest.fixture(scope="module")
def play_network():
    """The module `book/play/play_network.py`."""
    sys.path.insert(0, str(REPOSITORY / "book" / "play"))
    try:
        import play_network
    finally:
        sys.path.remove(str(REPOSITORY / "book" / "play"))
    return play_network


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """Settings of a build on a folder of discs: the page takes simulated galaxies, whose classes the network has."""
    folder = tmp_path_factory.mktemp("network")
    discs = toy_galaxies(side=64)
    for number, (image, label) in enumerate(zip(discs.images, discs.labels, strict=True)):
        path = folder / "discs" / CLASS_NAMES[label] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    build = runpy.run_path(str(REPOSITORY / "book" / "tools" / "build.py"))
    with pytest.MonkeyPatch.context() as environment:
        # Rendered once for all tests of this file.
        environment.setenv("GALAXY_UTILS_CACHE", str(folder / "cache"))
        yield build["Settings"](str(folder / "discs"), "smoke", 1, folder / "_build")


@pytest.fixture
def files(play_network, settings, monkeypatch):
    monkeypatch.setenv("GALAXY_UTILS_CACHE", str(settings.output.parent / "cache"))
    return play_network.make(settings)


def data_of(files):
    (content,) = (content for path, content in files.items() if path.name == "network_data.js")
    return json.loads(content.decode().removeprefix("window.galaxyNetwork = ").removesuffix(";\n"))


def test_what_is_written_is_what_keras_has_and_says(files):
    data, classifier = data_of(files), gu.pretrained_classifier()
    assert tuple(data["classes"]) == classifier.class_names and data["side"] == classifier.image_size
    assert data["cropFraction"] == classifier.crop and data["grid"] == 3
    shapes = [shape for step in data["steps"] for shape in step["shapes"]]
    weights = np.frombuffer(base64.b64decode(data["weights"]), "<f4")
    assert len(weights) == sum(map(np.prod, shapes))
    prepared = gu.prepare(gu.load("simulated", profile="smoke", seed=1), 96, 0.5)
    test_images = {prepared.images[row].tobytes(): int(prepared.labels[row]) for row in gu.split(prepared).test}
    pixels = [base64.b64decode(picture["pixels"]) for picture in data["pictures"]]
    images = np.stack([np.frombuffer(each, np.uint8).reshape(96, 96, 3) for each in pixels])
    answers = classifier.predict(images)
    np.testing.assert_allclose([picture["probabilities"] for picture in data["pictures"]], answers, atol=1e-4)
    labels = [picture["label"] for picture in data["pictures"]]
    assert labels[:10] == [test_images[each] for each in pixels[:10]] and sorted(labels[:10]) == list(range(10))
    assert labels[10:] == [-1, -1, -1]
    covered = images[0].copy()
    edge = np.concatenate([covered[0], covered[-1], covered[1:-1, 0], covered[1:-1, -1]])
    covered[48:96, 16:80] = np.floor(edge.mean(axis=0) + 0.5)  # row 2, column 1: 32 pixels, and 16 on each side
    likeliest = answers[0].argmax()
    change = classifier.predict(covered[None])[0, likeliest] - answers[0, likeliest]
    assert data["pictures"][0]["changes"][2 * 3 + 1] == pytest.approx(change, abs=1e-4)


def test_the_page_says_how_good_the_network_is_and_names_its_source(files):
    pages = {path.as_posix(): content for path, content in files.items()}
    page = pages["play_network.md"].decode()
    card = PRETRAINED.with_suffix(".md").read_text(encoding="utf-8")
    (accuracy,) = re.findall(r"\| one view \| ([\d.]+) \|", card)
    (said,) = re.findall(r"\*\*(0\.\d{3})\*\* \(0\.\d{3} to 0\.\d{3}, 95 % interval\)", page)
    assert abs(100 * float(said) - float(accuracy)) <= 0.06
    assert "none of them real" in page and "simulated" in page
    assert page.count("aria-pressed") == 13 and all(name in page for name in CLASSES)
    # Each picture that the page asks for is there, with words for those who do not see it.
    for name in ("network_still", *(f"network_{number}" for number in range(1, 14))):
        assert f"_static/play/{name}.png" in page and pages[f"_static/play/{name}.png"].startswith(b"\x89PNG")


def test_keras_is_asked_once_and_again_where_its_answers_are_lost(play_network, settings, files):
    kept = settings.artifacts / "play" / "network.npz"
    made = kept.stat().st_mtime_ns
    assert play_network.make(settings) == files and kept.stat().st_mtime_ns == made
    kept.write_bytes(kept.read_bytes()[:1000])
    assert data_of(play_network.make(settings))["steps"] == data_of(files)["steps"]
    assert kept.stat().st_mtime_ns != made


def test_a_layer_that_the_page_cannot_compute_is_refused(play_network):
    import keras

    images = keras.Input((8, 8, 3))
    for layer in (keras.layers.Conv2D(2, 3), keras.layers.Dense(2, "tanh"), keras.layers.LayerNormalization()):
        with pytest.raises(GalaxyUtilsError, match=layer.name):
            play_network.export(keras.Model(images, layer(images)))


def test_covering_reaches_every_pixel_and_leaves_the_rest(play_network):
    image = np.random.default_rng(1).integers(0, 256, (20, 20, 3), np.uint8)
    covered = play_network.cover(image, 8)
    assert covered.shape == (8, 8, 20, 20, 3)
    changed = (covered != image).any(axis=-1)
    assert changed.any(axis=(0, 1)).mean() > 0.95  # a pixel that already has the colour does not change
    assert all(changed[place].sum() <= 36 for place in np.ndindex(8, 8))  # 2.5 pixels of a cell, and half on each side
    assert not changed[0, 0, 6:].any() and not changed[7, 7, :, :14].any()


def test_the_library_is_the_release_that_is_noted():
    with open(LIBRARY / "VERSIONS.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["file"] for row in rows} == {path.name for path in LIBRARY.glob("*.js")}
    credits = (REPOSITORY / "book" / "credits.md").read_text(encoding="utf-8")
    for row in rows:
        content = (LIBRARY / row["file"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == row["sha256"], row["file"]
        assert f'="{row["version"]}"'.encode() in content
        assert f"| `{row['file']}` | `{row['package']}` {row['version']} | {row['licence']} |" in credits
    assert "Apache License" in (LIBRARY / "LICENSE.txt").read_text(encoding="utf-8")
