"""What the interactive pages are given: from artifacts and a data source of its own to the files of the page."""

import io
import json
import re
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from bs4 import BeautifulSoup
from PIL import Image
from toy_answers import toy_prediction
from toy_galaxies import toy_galaxies

import galaxy_utils as gu
from galaxy_utils.errors import DataError
from galaxy_utils.recipes import THREE_BLOCK_CNN

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY / "book" / name) for name in ("tools", "play")]

import play  # noqa: E402
import play_classify  # noqa: E402
import play_figures  # noqa: E402
import play_map  # noqa: E402
from settings import Settings  # noqa: E402

CLASS_NAMES = ("Blue & <Large>", "Blue Small", "Red Large", "Red Small")  # in the order in which folders are read


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A folder of images with four classes of its own, one of which has a name that HTML could stumble over."""
    folder, toys = tmp_path_factory.mktemp("own") / "my_galaxies", toy_galaxies(160)
    for number, (image, label) in enumerate(zip(toys.images, toys.labels, strict=True)):
        path = folder / CLASS_NAMES[label] / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return folder


@pytest.fixture
def settings(source, tmp_path):
    """What the book is built from, with what chapters 6 and 11 would have left."""
    settings = Settings(str(source), "smoke", 1, tmp_path)
    galaxies = gu.load(str(source), profile="smoke")
    split = gu.split(galaxies, seed=1)
    chapters = settings.artifacts / "my_galaxies-smoke"
    ledger = gu.Ledger.create(
        chapters / "11_progressive_iteration" / "ledger" / "ledger.jsonl", galaxies, split, seeds=(1, 2)
    )
    ledger.play("the start", lambda _, seed: toy_prediction((galaxies, split), seed), THREE_BLOCK_CNN)
    survey = galaxies, split
    ledger.evaluate_test({"the start": [toy_prediction(survey, seed, part="test") for seed in (1, 2)]})
    random = np.random.default_rng(1)
    vectors = {
        part: random.normal(size=(len(split.part(part)), 30)) * np.linspace(3, 1, 30)
        for part in ("train", "validation")
    }
    folder = chapters / "05_autoencoder_and_classifier" / "joint"
    folder.mkdir(parents=True)
    np.savez(folder / "seed_1.vectors.npz", **vectors, rows=split.validation, fingerprint=split.fingerprint)
    return settings


def read_page(files, name):
    """Return `(page, its data)`."""
    page = files[Path(f"{name}.md")].decode()
    assert "$" not in page
    soup = BeautifulSoup(page, "html.parser")
    return soup, json.loads(soup.find("script", type="application/json").get_text())


def test_twenty_test_galaxies_and_the_best_rounds_answers(settings):
    galaxies = gu.load(settings.dataset, profile="smoke")
    split = gu.split(galaxies, seed=1)
    files = play_classify.make(settings)
    _, data = read_page(files, "play_classify")
    rows = [galaxy["row"] for galaxy in data["galaxies"]]
    assert len(set(rows)) == 20 and set(rows) <= set(split.test.tolist())
    answers = toy_prediction((galaxies, split), 1, part="test")
    given = dict(zip(answers.rows.tolist(), answers.probabilities.argmax(axis=1).tolist(), strict=True))
    for galaxy in data["galaxies"]:
        assert galaxy["label"] == galaxies.labels[galaxy["row"]]
        assert galaxy["answer"] == given[galaxy["row"]]
    assert [one["name"] for one in data["classes"]] == list(CLASS_NAMES)
    assert np.bincount([galaxy["label"] for galaxy in data["galaxies"]]).min() >= 3
    right = np.mean(answers.probabilities.argmax(axis=1) == answers.labels)
    assert data["network"]["accuracy"][0] == pytest.approx(right, abs=1e-4)
    assert play_classify.make(settings) == files, "the same build gives the same files"


def test_the_sheet_shows_the_galaxies_as_the_source_gives_them(settings):
    galaxies = gu.load(settings.dataset, profile="smoke")
    files = play_classify.make(settings)
    _, data = read_page(files, "play_classify")
    sheet = np.asarray(Image.open(io.BytesIO(files[Path("_static/play/classify.webp")])), float)
    size = play_classify.SIZE
    assert sheet.shape == (4 * size, 5 * size, 3)
    for place in (0, 6, 19):
        top, left = place // 5 * size, place % 5 * size
        shown = sheet[top : top + size, left : left + size]
        original = Image.fromarray(galaxies.images[data["galaxies"][place]["row"]]).resize((size, size), Image.LANCZOS)
        assert np.abs(shown - np.asarray(original, float)).mean() < 12


def test_classes_are_dealt_evenly_and_the_seed_decides():
    labels = np.repeat(np.arange(5), (200, 100, 3, 50, 1))
    rows = np.arange(1000, 1354)
    chosen = play_classify.choose(labels, rows, 5, seed=1)
    counts = np.bincount(labels[chosen - 1000])
    assert counts.sum() == 20
    assert counts[2] == 3 and counts[4] == 1 and counts[[0, 1, 3]].min() >= 5
    assert np.array_equal(chosen, play_classify.choose(labels, rows, 5, seed=1))
    assert not np.array_equal(chosen, play_classify.choose(labels, rows, 5, seed=2))
    assert sorted(play_classify.choose(labels[:7], rows[:7], 5, seed=1)) == rows[:7].tolist()


def test_a_map_of_validation_galaxies_with_the_neighbours_of_both_kinds(settings):
    galaxies = gu.load(settings.dataset, profile="smoke")
    split = gu.split(galaxies, seed=1)
    files = play_map.make(settings)
    _, data = read_page(files, "play_map")
    assert set(data["rows"]) <= set(split.validation.tolist())
    assert data["labels"] == galaxies.labels[data["rows"]].tolist()
    positions = np.array(data["positions"], float)
    assert positions.min() == 0 and positions.max() == play_map.GRID
    kept = np.load(next(settings.artifacts.rglob("*.vectors.npz")))
    place = {row: position for position, row in enumerate(kept["rows"].tolist())}
    whole = kept["validation"][[place[row] for row in data["rows"]]]
    for points, found in ((whole, data["inSpace"]), (positions, data["onMap"])):
        distances = np.linalg.norm(points[:, None] - points[None], axis=2)
        np.fill_diagonal(distances, np.inf)
        expected = np.sort(distances, axis=1)[:, : play_map.NEIGHBOURS]
        np.testing.assert_allclose(np.take_along_axis(distances, np.array(found), 1), expected)
    with Image.open(io.BytesIO(files[Path("_static/play/map.webp")])) as sheet:
        assert sheet.size == (20 * play_map.SIZE, -(-len(data["rows"]) // 20) * play_map.SIZE)


def test_a_twin_on_the_same_spot_is_a_neighbour_and_the_galaxy_itself_is_not():
    points = np.array([[0, 0], [0, 0], [1, 0], [5, 0.0]])
    found = [set(near) for near in play_map.neighbours(points, 2).tolist()]
    assert found[:3] == [{1, 2}, {0, 2}, {0, 1}] and 2 in found[3] and 3 not in found[3]


@pytest.mark.parametrize(("name", "module"), [("play_classify", play_classify), ("play_map", play_map)])
def test_without_scripts_a_figure_and_its_text_stay(settings, name, module):
    files = module.make(settings)
    soup, _ = read_page(files, name)
    image = soup.select_one(".play noscript img")
    assert len(image["alt"].split()) >= 10 and re.search(r"\d", image["alt"])
    with Image.open(io.BytesIO(files[Path(image["src"])])) as picture:
        assert (str(picture.width), str(picture.height)) == (image["width"], image["height"])
    assert not soup.select(".play button, .play svg"), "controls are made by the script"
    for script in soup.find_all("script", src=True):
        assert script.has_attr("defer") and (REPOSITORY / "book" / script["src"].removeprefix("_static/")).is_file()
    page = files[Path(f"{name}.md")].decode()
    assert "<Large>" not in page, "names of classes are data, not HTML"


@pytest.mark.parametrize(("module", "chapter"), [(play_classify, "11_pro"), (play_map, "05_auto")])
def test_a_chapter_that_left_nothing_is_named(settings, module, chapter):
    for path in [*settings.artifacts.rglob("*.jsonl"), *settings.artifacts.rglob("*.vectors.npz")]:
        path.unlink()
    with pytest.raises(DataError, match=chapter):
        module.make(settings)


def test_answers_to_other_galaxies_are_refused(settings, write_galaxy10):
    other = Settings(str(write_galaxy10()), "smoke", 1, settings.output)
    other.artifacts.parent.mkdir(parents=True, exist_ok=True)
    settings.artifacts.rename(other.artifacts)
    for module in (play_classify, play_map):
        with pytest.raises(DataError, match="other galaxies"):
            module.make(other)


def test_classes_look_as_in_the_figures_and_a_heavy_sheet_is_made_lighter():
    looks = play.describe_classes(gu.CLASS_NAMES)
    assert [look["colour"] for look in looks] == [one.colour for one in gu.CLASSES]
    assert len({look["shape"] for look in looks}) == 10
    assert all(look["shape"].startswith("M") for look in looks)
    up = re.findall(r"-?[\d.e-]+", looks[3]["shape"])  # a triangle that points up
    assert min(map(float, up[1::2])) == float(up[1]), "its first corner is the top, and SVG counts downwards"
    noise = np.random.default_rng(1).integers(0, 256, (4, 64, 64, 3), np.uint8)
    heavy, light = play.picture_sheet(noise, 2, 10**9), play.picture_sheet(noise, 2, 12_000)
    assert len(light) <= 12_000 < len(heavy)


def test_the_map_of_a_covered_picture_says_which_place_matters():
    changes = np.zeros((4, 4))
    changes[2, 1], changes[0, 3] = -0.4, 0.1
    probabilities = np.array([0.1, 0.7, 0.2])
    image = np.full((16, 16, 3), 90, np.uint8)
    figure = play_figures.occlusion_map(
        image, probabilities, changes, ("round", "barred", "merging"), "noise, not galaxies"
    )
    picture, cells, bars = figure.axes
    np.testing.assert_array_equal(picture.images[0].get_array(), image)
    colours = cells.images[1].get_array()
    assert colours.shape == (4, 4, 4) and colours[2, 1, 3] == colours[..., 3].max() and colours[1, 1, 3] == 0
    assert tuple(colours[2, 1, :3]) == matplotlib.colors.to_rgb(play_figures.LOWER)
    assert tuple(colours[0, 3, :3]) == matplotlib.colors.to_rgb(play_figures.HIGHER)
    assert [bar.get_width() for bar in bars.patches] == list(probabilities)
    assert "row 3 and column 2 of 4 × 4" in figure.alt_text and "barred 0.70" in figure.alt_text
    assert "-0.40" in figure.alt_text and "+0.10" in figure.alt_text


def test_the_still_map_gives_every_class_its_marker_and_says_how_much_it_shows():
    points = np.random.default_rng(1).normal(size=(30, 2))
    figure = play_figures.latent_map(
        points, np.arange(30) % 3, ("red", "blue", "green"), (0.41, 0.22), "made for tests"
    )
    (axes,) = figure.axes
    markers = {tuple(map(tuple, drawn.get_paths()[0].vertices)) for drawn in axes.collections}
    assert len(axes.collections) == len(markers) == 3
    assert axes.get_xlabel() == "component 1 (41%)" and "41% and 22%" in figure.alt_text
    figure.canvas.draw()
