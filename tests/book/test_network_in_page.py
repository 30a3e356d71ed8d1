"""The network in the page: what is written for the browser, from a small training on discs instead of galaxies."""

import base64
import csv
import hashlib
import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from toy_galaxies import CLASS_NAMES, toy_galaxies

import galaxy_utils as gu
from galaxy_utils.errors import GalaxyUtilsError
from galaxy_utils.report import report_path

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
    """Settings of a build whose chapter 8 has trained its judge for one epoch on a folder of discs."""
    folder = tmp_path_factory.mktemp("network")
    discs = toy_galaxies(side=64)
    for number, (image, label) in enumerate(zip(discs.images, discs.labels, strict=True)):
        path = folder / "discs" / CLASS_NAMES[label] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    build = runpy.run_path(str(REPOSITORY / "book" / "tools" / "build.py"))
    settings = build["Settings"](str(folder / "discs"), "smoke", 1, folder / "_build")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("GALAXY_UTILS_CACHE", str(folder / "cache"))
        environment.setenv("GALAXY_UTILS_ARTIFACTS", str(settings.artifacts))
        train_judge(settings)
    return settings


def train_judge(settings):
    """What chapter 8 does for the page: a trained network with its checkpoint, and a report."""
    profile = gu.get_profile("smoke")
    prepared = gu.prepare(gu.load(settings.dataset, profile=profile, seed=1), profile.image_size, profile.crop_fraction)
    split = gu.split(prepared, seed=1)
    judge = gu.models.compact_cnn(prepared.image_size, 4, gu.augmentation.RandomDihedral(1), 1)
    path = report_path("08_super_resolution", "evaluation_classifier", prepared.name, profile)
    recipe = gu.recipes.COMPACT_CNN.replace(epochs=1)
    run = gu.fit(judge, prepared, split, recipe, seed=1, checkpoint=path.with_name("checkpoint_1.npz"), progress=False)
    answers = gu.predict(judge, prepared, split.test)
    score = gu.evaluate(answers, prepared.labels[split.test], prepared.class_names, bootstrap_samples=50)
    report = {"run": run, "split": split, "dataset": prepared, "profile": profile}
    gu.write_report("08_super_resolution", "evaluation_classifier", score, **report)


def data_of(files):
    (content,) = (content for path, content in files.items() if path.name == "network_data.js")
    return json.loads(content.decode().removeprefix("window.galaxyNetwork = ").removesuffix(";\n"))


def test_what_is_written_is_what_keras_has_and_says(play_network, settings):
    files = play_network.make(settings)
    data = data_of(files)
    assert data["classes"] == sorted(CLASS_NAMES) and data["side"] == 32
    shapes = [shape for step in data["steps"] for shape in step["shapes"]]
    weights = np.frombuffer(base64.b64decode(data["weights"]), "<f4")
    assert len(weights) == sum(map(np.prod, shapes))
    # The same training again, without the help of the module.
    profile = gu.get_profile("smoke")
    prepared = gu.prepare(gu.load(settings.dataset, profile=profile, seed=1), 32, 0.5)
    split = gu.split(prepared, seed=1)
    judge = gu.models.compact_cnn(32, 4, gu.augmentation.RandomDihedral(1), 1)
    gu.fit(judge, prepared, split, gu.recipes.COMPACT_CNN.replace(epochs=1), seed=1, progress=False)
    test_images = {prepared.images[row].tobytes(): int(prepared.labels[row]) for row in split.test}
    pixels = [base64.b64decode(picture["pixels"]) for picture in data["pictures"]]
    images = np.stack([np.frombuffer(each, np.uint8).reshape(32, 32, 3) for each in pixels])
    answers = judge.predict_on_batch(images)
    np.testing.assert_allclose([picture["probabilities"] for picture in data["pictures"]], answers, atol=1e-4)
    labels = [picture["label"] for picture in data["pictures"]]
    assert labels[:4] == [test_images[each] for each in pixels[:4]] and sorted(labels[:4]) == [0, 1, 2, 3]
    assert labels[4:] == [-1, -1, -1]
    covered = images[0].copy()
    edge = np.concatenate([covered[0], covered[-1], covered[1:-1, 0], covered[1:-1, -1]])
    covered[10:18, 14:22] = np.floor(edge.mean(axis=0) + 0.5)  # row 3, column 4: 4 pixels, and 2 on each side
    likeliest = answers[0].argmax()
    change = judge.predict_on_batch(covered[None])[0, likeliest] - answers[0, likeliest]
    assert data["pictures"][0]["changes"][3 * 8 + 4] == pytest.approx(change, abs=1e-4)


def test_the_page_quotes_the_report_and_names_its_source(play_network, settings):
    files = {path.as_posix(): content for path, content in play_network.make(settings).items()}
    page = files["play_network.md"].decode()
    (path,) = settings.artifacts.rglob("report.json")
    report = json.loads(path.read_text(encoding="utf-8"))
    assert f"**{report['evaluation']['accuracy']:.3f}**" in page
    assert "{:.3f} to {:.3f}, 95 % interval".format(*report["evaluation"]["intervals"]["accuracy"]) in page
    assert report["data"]["provenance"] in page and "are real, and were chosen by lot" in page
    assert page.count("aria-pressed") == 7 and all(name in page for name in CLASS_NAMES)
    # Each picture that the page asks for is there, with words for those who do not see it.
    for name in ("network_still", *(f"network_{number}" for number in range(1, 8))):
        assert f"_static/play/{name}.png" in page and files[f"_static/play/{name}.png"].startswith(b"\x89PNG")


def test_keras_is_asked_once_and_again_where_its_answers_are_lost(play_network, settings):
    first = play_network.make(settings)
    kept = settings.artifacts / "play" / "network.npz"
    made = kept.stat().st_mtime_ns
    assert play_network.make(settings) == first and kept.stat().st_mtime_ns == made
    kept.write_bytes(kept.read_bytes()[:1000])
    assert data_of(play_network.make(settings))["steps"] == data_of(first)["steps"]
    assert kept.stat().st_mtime_ns != made


def test_without_the_chapter_the_error_says_what_to_do(play_network, tmp_path):
    build = runpy.run_path(str(REPOSITORY / "book" / "tools" / "build.py"))
    with pytest.raises(GalaxyUtilsError, match=r"08_super_resolution.*\n.*build again"):
        play_network.make(build["Settings"]("simulated", "smoke", 1, tmp_path))


def test_a_layer_that_the_page_cannot_compute_is_refused(play_network):
    import keras

    images = keras.Input((8, 8, 3))
    for layer in (keras.layers.Conv2D(2, 3), keras.layers.Dense(2, "tanh"), keras.layers.LayerNormalization()):
        with pytest.raises(GalaxyUtilsError, match=layer.name):
            play_network.export(keras.Model(images, layer(images)))


def test_covering_reaches_every_pixel_and_leaves_the_rest(play_network):
    image = np.random.default_rng(1).integers(0, 256, (20, 20, 3), np.uint8)
    covered = play_network.cover(image)
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
