"""The simulated survey: schema, reproducibility, physics of the recipes, votes, and what an interruption leaves."""

import pickle
from dataclasses import replace
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from scipy import ndimage

from galaxy_utils import files
from galaxy_utils.classes import NUM_CLASSES, OFFICIAL_CLASS_COUNTS
from galaxy_utils.data import galaxy_recipes, morphology, simulated, survey_camera
from galaxy_utils.data.hdf5_images import HDF5Images
from galaxy_utils.data.split import close_pairs, exact_pairs
from galaxy_utils.errors import ConfigurationError, DataError, GalaxyUtilsError
from galaxy_utils.profiles import get_profile

NUM_GALAXIES = 160
IMAGE_SIZE = 64


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    path = tmp_path_factory.mktemp("survey") / "survey.h5"
    return simulated.simulate_survey(path, NUM_GALAXIES, seed=3, image_size=IMAGE_SIZE, num_workers=2)


@pytest.fixture(scope="module")
def columns(survey):
    with h5py.File(survey, "r") as file:
        return {key: file[key][:] for key in file}


# ------------------------------------------------------------------------------------------------------ the file


def test_file_has_the_official_schema(survey, columns):
    expected = {
        "images": ((NUM_GALAXIES, IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8),
        "ans": ((NUM_GALAXIES,), np.uint8),
        "ra": ((NUM_GALAXIES,), np.float64),
        "dec": ((NUM_GALAXIES,), np.float64),
        "redshift": ((NUM_GALAXIES,), np.float64),
        "pxscale": ((NUM_GALAXIES,), np.float64),
        "vote_fractions": ((NUM_GALAXIES, NUM_CLASSES), np.float32),
    }
    assert {key: (values.shape, values.dtype) for key, values in columns.items()} == expected
    with h5py.File(survey, "r") as file:
        assert file.attrs["seed"] == 3
        assert file.attrs["recipe_version"] == galaxy_recipes.RECIPE_VERSION
        assert file.attrs["galsim_version"]
    assert np.allclose(columns["pxscale"] * IMAGE_SIZE, 256 * 0.262)
    assert np.all((columns["ra"] >= 0) & (columns["ra"] < 360)) and np.all(np.abs(columns["dec"]) <= 90)
    known = columns["redshift"][np.isfinite(columns["redshift"])]
    assert len(known) > 0.9 * NUM_GALAXIES and known.min() > 0


def test_rows_are_sorted_by_class_in_the_official_proportions(columns):
    assert np.all(np.diff(columns["ans"].astype(int)) >= 0)
    assert np.bincount(columns["ans"], minlength=NUM_CLASSES).tolist() == simulated.class_counts(NUM_GALAXIES).tolist()


@pytest.mark.parametrize("num_galaxies", [10, 95, 400, 3000])
def test_class_counts(num_galaxies):
    counts = simulated.class_counts(num_galaxies)
    assert counts.sum() == num_galaxies
    assert counts.min() >= min(8, num_galaxies // 10)
    if num_galaxies >= 400:
        exact = np.array(OFFICIAL_CLASS_COUNTS) / 17736 * num_galaxies
        assert np.all(np.abs(counts - exact) < 1)
    assert simulated.class_counts(17736).tolist() == list(OFFICIAL_CLASS_COUNTS)


def test_another_seed_gives_other_galaxies():
    assert not np.array_equal(simulated.render_galaxy(5, 1, 64), simulated.render_galaxy(5, 2, 64))
    assert np.array_equal(simulated.render_galaxy(5, 1, 64), simulated.render_galaxy(5, 1, 64))


def test_twins_are_the_same_picture_under_two_labels(columns):
    _, first, inverse = np.unique(columns["ra"], return_index=True, return_inverse=True)
    twins = np.flatnonzero(first[inverse] != np.arange(NUM_GALAXIES))
    assert len(twins) >= 2
    for twin in twins:
        original = first[inverse][twin]
        assert columns["dec"][twin] == columns["dec"][original]
        assert columns["ans"][twin] != columns["ans"][original]
        assert np.array_equal(columns["images"][twin], columns["images"][original])
        assert np.array_equal(columns["vote_fractions"][twin], columns["vote_fractions"][original])


def test_catalogue_has_the_official_shares_of_pairs_and_of_the_north():
    catalogue = simulated.build_catalogue(17736, seed=1)
    assert len(close_pairs(catalogue.ra, catalogue.dec, 33.5)) == 182
    assert len(exact_pairs(catalogue)) == 59
    assert 0.33 < (catalogue.dec > 32.375).mean() < 0.40


@pytest.mark.parametrize("kind", ["two galaxies", "both members of one merger"])
def test_neighbours_show_the_same_sky(kind):
    seed, size = 5, 128
    catalogue = simulated.build_catalogue(6000, seed)
    if kind == "two galaxies":
        pairs = [(row, int(other)) for row, other in enumerate(catalogue.partner) if other > row]
        moves = [catalogue.offset[row][2:] for row, _ in pairs]
    else:
        moved = np.flatnonzero(catalogue.shares_field & (catalogue.galaxy != np.arange(6000)))[:4]
        pairs = [(int(catalogue.galaxy[row]), int(row)) for row in moved]
        moves = [-catalogue.offset[row][:2] for row in moved]
    assert len(pairs) >= 2
    for (row, other), move in zip(pairs, moves, strict=True):
        # The coordinates say where the second cut-out lies relative to the first: east is left, north is up.
        east = (catalogue.ra[other] - catalogue.ra[row]) * np.cos(np.radians(catalogue.dec[row])) * 3600
        north = (catalogue.dec[other] - catalogue.dec[row]) * 3600
        assert np.allclose(move, (-east, -north), atol=0.01)
        x, y = np.array(move) / (survey_camera.FIELD_OF_VIEW / size)
        pictures = (simulated._render_row(catalogue, seed, r, size)[0].mean(axis=2) for r in (row, other))
        first, second = (ndimage.gaussian_filter(picture, 1.5) for picture in pictures)  # each has its own noise
        shifted = ndimage.shift(first, (-y, -x), order=1, cval=np.nan)
        seen = np.isfinite(shifted)
        assert np.corrcoef(shifted[seen], second[seen])[0, 1] > 0.9


def test_existing_file_is_kept_and_a_stranger_is_not_overwritten(tmp_path, survey):
    before = survey.stat().st_mtime_ns
    simulated.simulate_survey(survey, NUM_GALAXIES, seed=3, image_size=IMAGE_SIZE)
    assert survey.stat().st_mtime_ns == before
    with pytest.raises(DataError, match="in the way"):
        simulated.simulate_survey(survey, NUM_GALAXIES, seed=4, image_size=IMAGE_SIZE)
    stranger = tmp_path / "notes.h5"
    stranger.write_text("not HDF5")
    with pytest.raises(DataError, match="in the way"):
        simulated.simulate_survey(stranger, NUM_GALAXIES)
    assert stranger.read_text() == "not HDF5"


def test_a_survey_that_cannot_be_is_refused(tmp_path, monkeypatch):
    with pytest.raises(ConfigurationError, match="at least 10"):
        simulated.simulate_survey(tmp_path / "small.h5", 9)
    with pytest.raises(ConfigurationError, match="no valid label"):
        simulated.render_galaxy(10)
    monkeypatch.setattr(files.shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.raises(GalaxyUtilsError, match="no room"):
        simulated.simulate_survey(tmp_path / "large.h5", 10)


# ------------------------------------------------------------------------------------------------- interruptions


def test_an_error_while_rendering_leaves_nothing(tmp_path, monkeypatch):
    calls = []

    def compress(picture):
        calls.append(1)
        if len(calls) > 20:
            raise KeyboardInterrupt
        return picture

    monkeypatch.setattr(survey_camera, "compress", compress)
    with pytest.raises(KeyboardInterrupt):
        simulated.simulate_survey(tmp_path / "survey.h5", 40, image_size=32, num_workers=1)
    assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")] == []


def test_load_simulated_renders_once_and_repairs_a_damaged_file(tmp_path, monkeypatch):
    monkeypatch.setenv("GALAXY_UTILS_CACHE", str(tmp_path))
    profile = replace(get_profile("smoke"), simulated_galaxies=12)
    dataset = simulated.load_simulated(profile, seed=2)
    assert dataset.is_simulated and "simulated" in dataset.provenance and "not real" in dataset.provenance
    assert dataset.images.shape == (12, 256, 256, 3) and dataset.labels.dtype == np.int64
    assert dataset.vote_fractions.shape == (12, NUM_CLASSES)
    (path,) = tmp_path.glob("simulated/*.h5")
    fingerprint = dataset.fingerprint
    dataset.images.close()
    with open(path, "r+b") as file:
        file.truncate(path.stat().st_size // 2)
    assert simulated.load_simulated(profile, seed=2).fingerprint == fingerprint


# --------------------------------------------------------------------------------------------------- the recipes


def bands_of(label, seed, size=128):
    """One galaxy of a class through the atmosphere, without noise and without neighbours: g, r, z."""
    rng, canvas = np.random.default_rng(seed), survey_camera.Canvas(size)
    galaxy_recipes.paint_galaxy(canvas, morphology.draw_morphology(label, rng), rng)
    return survey_camera.blur(canvas, survey_camera.DECAM, rng)


def central_object(label, seed, size=128):
    """Mask of the connected light around the centre, and the r band without noise."""
    light = bands_of(label, seed, size)[1]
    parts, _ = ndimage.label(light > 0.12 * light[size // 2 - 2 : size // 2 + 2, size // 2 - 2 : size // 2 + 2].max())
    label_at_centre = parts[size // 2 - 2 : size // 2 + 2, size // 2 - 2 : size // 2 + 2].max()
    return parts == label_at_centre, light


def axis_ratio(label, seed):
    mask, light = central_object(label, seed)
    rows, columns = np.nonzero(mask)
    minor, major = np.sqrt(np.linalg.eigvalsh(np.cov(rows, columns)))
    return minor / major


def test_axis_ratios_follow_the_classes():
    medians = {label: np.median([axis_ratio(label, seed) for seed in range(15)]) for label in (2, 3, 4, 8, 9)}
    assert medians[2] > 0.85 > medians[3] > 0.55 > medians[4] > medians[8]
    assert medians[8] < 0.35 and medians[9] < 0.5


def test_mergers_have_two_nuclei():
    def nuclei(label, seed):
        mask, light = central_object(label, seed)
        smooth = ndimage.gaussian_filter(light, 1)
        peaks = (smooth == ndimage.maximum_filter(smooth, 5)) & (smooth > 0.1 * smooth[mask].max())
        # The partner may touch the main galaxy only below the mask's level.
        near = np.zeros_like(mask)
        near[40:88, 40:88] = True
        return (peaks & near).sum()

    mergers = np.mean([nuclei(1, seed) >= 2 for seed in range(20)])
    ellipticals = np.mean([nuclei(2, seed) >= 2 for seed in range(20)])
    assert mergers >= 0.6 and mergers > ellipticals + 0.3


def test_edge_on_bulges_show():
    def central_share(label, seed):
        mask, light = central_object(label, seed)
        middle = light[56:72, 56:72]
        return middle.sum() / light[mask].sum()

    with_bulge, without = (np.median([central_share(label, seed) for seed in range(12)]) for label in (9, 8))
    assert with_bulge > without


def inner_elongation(bar, seed):
    """Strength of the second angular harmonic at half to one scale length of a face-on disc."""
    rng = np.random.default_rng(seed)
    true = morphology.draw_morphology(morphology.BARRED, rng)
    true = true._replace(bar=bar, axis_ratio=0.98, features=0.45, disturbance=0.0, size=4.0)
    canvas = survey_camera.Canvas(128)
    galaxy_recipes.paint_galaxy(canvas, true, rng)
    rows, columns = np.indices(canvas.light[2].shape) - canvas.centre
    radius = np.hypot(rows, columns) * canvas.pixel_scale / true.size
    ring = (radius > 0.4) & (radius < 0.9)
    light, angle = canvas.light[2][ring], np.arctan2(rows, columns)[ring]
    return np.abs((light * np.exp(2j * angle)).sum()) / light.sum()


def test_bars_stretch_the_inner_disc():
    barred, unbarred = (np.median([inner_elongation(bar, seed) for seed in range(10)]) for bar in (1.0, 0.0))
    assert barred > 2 * unbarred


def test_bulges_are_redder_than_discs():
    colours = []
    for seed in range(10):
        g, _, z = bands_of(morphology.TIGHT, seed)
        rows, columns = np.indices(g.shape) - 63.5
        radius = np.hypot(rows, columns)
        inner, outer = radius < 3, (radius > 8) & (radius < 14)
        colours.append([-2.5 * np.log10(g[part].sum() / z[part].sum()) for part in (inner, outer)])
    inner, outer = np.median(colours, axis=0)
    assert inner > outer + 0.2


def test_sky_is_as_dark_as_in_the_real_survey():
    # The viewer's floor m = 0.03 puts an empty sky at 32 of 255.
    border = np.stack([simulated.render_galaxy(2, seed)[:24] for seed in range(8)])
    assert 29 <= np.median(border) <= 36


def test_stretch_is_that_of_the_legacy_survey_viewer():
    bands = np.array([0.02, 0.03, 0.04], np.float32)[:, None, None]
    scaled = np.array([0.02 * 6.0, 0.03 * 3.4, 0.04 * 2.2]) + 0.03
    factor = np.arcsinh(20 * scaled.mean()) / np.sqrt(20) / scaled.mean()
    assert survey_camera.stretch_rgb(bands)[0, 0].tolist() == (scaled[::-1] * factor * 255).astype(int).tolist()
    assert survey_camera.stretch_rgb(np.full((3, 1, 1), -9, np.float32)).max() == 0
    assert survey_camera.stretch_rgb(np.full((3, 1, 1), 90, np.float32)).min() == 255


# ------------------------------------------------------------------------------------------------------- votes


def test_votes_sum_to_one_and_mostly_agree_with_the_label(columns):
    votes = columns["vote_fractions"]
    assert np.allclose(votes.sum(axis=1), 1, atol=1e-6)
    assert np.allclose(votes * 40, np.round(votes * 40), atol=1e-4)
    agreement = (votes.argmax(axis=1) == columns["ans"]).mean()
    assert 0.85 < agreement < 1.0


@pytest.mark.parametrize(
    ("label", "quantity", "low", "high", "from_class", "to_class"),
    [
        (morphology.LOOSE, "bar", 0.0, 1.0, morphology.LOOSE, morphology.BARRED),
        (morphology.ROUND, "axis_ratio", 0.65, 1.0, morphology.IN_BETWEEN, morphology.ROUND),
        (morphology.TIGHT, "pitch", 8.0, 32.0, morphology.TIGHT, morphology.LOOSE),
        (morphology.EDGE_ON, "bulge_share", 0.0, 0.5, morphology.EDGE_ON, morphology.EDGE_ON_BULGE),
    ],
)
def test_votes_move_with_the_true_quantity(label, quantity, low, high, from_class, to_class):
    true = morphology.draw_morphology(label, np.random.default_rng(0))
    true = true._replace(merger=0.0, disturbance=0.0, features=0.05 if label == morphology.ROUND else 0.95)
    if label in (morphology.LOOSE, morphology.TIGHT):
        true = true._replace(axis_ratio=0.9, bar=0.0, pitch=30.0)
    values = np.linspace(low, high, 30)
    votes = np.array([morphology.vote_probabilities(true._replace(**{quantity: v})) for v in values])
    assert np.all(np.diff(votes[:, to_class]) >= 0)
    assert votes[0, from_class] > 0.8 and votes[-1, to_class] > 0.8
    # Somewhere between, the volunteers are divided.
    assert np.any(np.abs(votes[:, from_class] - votes[:, to_class]) < 0.35)


def test_votes_are_drawn_from_the_probabilities():
    rng = np.random.default_rng(1)
    true = morphology.draw_morphology(5, rng)._replace(bar=0.52, axis_ratio=0.8)
    votes = np.mean([morphology.cast_votes(true, rng) for _ in range(2000)], axis=0)
    assert np.allclose(votes, morphology.vote_probabilities(true), atol=0.01)


# ------------------------------------------------------------------------------------------------- lazy images


@pytest.mark.parametrize(
    "index",
    [3, -1, np.int64(5), slice(2, 9), slice(None, None, -7), slice(9, 2), [9, 3, 3, 150, -1], np.arange(0)],
    ids=str,
)
def test_lazy_images_index_like_numpy(survey, columns, index):
    images = HDF5Images(survey)
    assert np.array_equal(images[index], columns["images"][index])


def test_lazy_images_mask_pickle_and_errors(survey, columns):
    images = pickle.loads(pickle.dumps(HDF5Images(survey)))
    assert len(images) == NUM_GALAXIES and images.shape == columns["images"].shape and images.dtype == np.uint8
    assert np.array_equal(images[columns["ans"] == 4], columns["images"][columns["ans"] == 4])
    assert np.array_equal(np.asarray(images), columns["images"])
    for wrong in (NUM_GALAXIES, [-NUM_GALAXIES - 1], [0.5], np.ones(3, bool)):
        with pytest.raises((IndexError, TypeError)):
            images[wrong]
