"""The simulated survey: the real file's schema and oddities, the same bytes each time, galaxies that look their class."""

import dataclasses
import os
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest
from scipy import ndimage

import galaxy_utils as gu
from galaxy_utils.classes import NUM_CLASSES, OFFICIAL_CLASS_COUNTS
from galaxy_utils.data import galaxy_recipes
from galaxy_utils.data.galaxy10 import open_galaxy10
from galaxy_utils.data.simulated import build_catalogue, class_counts, render_bands, render_galaxy, simulate_survey
from galaxy_utils.data.split import close_pairs, conflicting_rows, exact_pairs
from galaxy_utils.errors import ConfigurationError, DataError


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    """A small survey, rendered by one process."""
    path = tmp_path_factory.mktemp("survey") / "survey.h5"
    simulate_survey(path, 160, seed=3, image_size=64, num_workers=1)
    return path


def test_file_has_the_official_schema_and_votes(survey):
    with h5py.File(survey) as file:
        assert file["images"].shape == (160, 64, 64, 3) and file["images"].dtype == np.uint8
        assert file["ans"].dtype == np.uint8
        assert file["vote_fractions"].shape == (160, NUM_CLASSES)
        assert file.attrs["simulated"] and file.attrs["seed"] == 3
        labels = file["ans"][:]
    assert np.all(np.diff(labels.astype(int)) >= 0), "rows are sorted by class, as in the real file"
    galaxies = open_galaxy10(survey)
    assert galaxies.is_simulated and "not real" in galaxies.provenance
    np.testing.assert_allclose(galaxies.vote_fractions.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(galaxies.pixel_scale, 67.072 / 64)
    assert (galaxies.dec > 32.375).any() and (galaxies.dec < 32.375).any()


def test_same_seed_gives_the_same_bytes_however_many_workers(survey, tmp_path):
    other, another_seed = tmp_path / "two_workers.h5", tmp_path / "seed.h5"
    simulate_survey(other, 160, seed=3, image_size=64, num_workers=2)
    simulate_survey(another_seed, 160, seed=4, image_size=64, num_workers=2)
    with h5py.File(survey) as first, h5py.File(other) as second, h5py.File(another_seed) as third:
        for key in first:
            assert first[key][:].tobytes() == second[key][:].tobytes(), key
        assert not np.array_equal(first["images"][:], third["images"][:])


@pytest.mark.parametrize("num_galaxies", [10, 160, 400, 3000, 17736])
def test_classes_have_the_real_proportions(num_galaxies):
    counts = class_counts(num_galaxies)
    assert counts.sum() == num_galaxies and counts.min() >= 1
    if num_galaxies >= 3000:
        shares = np.array(OFFICIAL_CLASS_COUNTS) / sum(OFFICIAL_CLASS_COUNTS)
        assert np.abs(counts / num_galaxies - shares).max() < 0.001
    if num_galaxies == 17736:
        assert tuple(counts) == OFFICIAL_CLASS_COUNTS


def test_some_galaxies_stand_in_it_twice_under_two_labels(survey):
    galaxies = open_galaxy10(survey)
    pairs = exact_pairs(galaxies)
    assert len(pairs) >= 2
    for first, second in pairs:
        assert galaxies.labels[first] != galaxies.labels[second]
        np.testing.assert_array_equal(galaxies.images[first], galaxies.images[second])
    assert conflicting_rows(galaxies).sum() == 2 * len(pairs)


def test_a_full_survey_has_as_many_pairs_as_the_real_file():
    catalogue = build_catalogue(17736, seed=1)
    near = close_pairs(catalogue.ra, catalogue.dec, 33.5)
    identical = [pair for pair in near if catalogue.galaxy[pair[0]] == catalogue.galaxy[pair[1]]]
    exact = [pair for pair in near if catalogue.ra[pair[0]] == catalogue.ra[pair[1]]]
    assert len(exact) == 59
    assert len(near) == 182
    assert len(identical) >= len(exact)


def test_neighbours_show_each_other():
    """What stands beside a galaxy in its cut-out stands in the middle of its neighbour's, in the right direction."""
    catalogue = build_catalogue(17736, seed=1)
    row = int(np.flatnonzero(catalogue.partner >= 0)[0])
    other = int(catalogue.partner[row])
    _, _, x, y = catalogue.offset[row]
    east = (catalogue.ra[other] - catalogue.ra[row] + 180) % 360 - 180
    assert -east * np.cos(np.radians(catalogue.dec[row])) * 3600 == pytest.approx(x, abs=0.01)
    assert (catalogue.dec[other] - catalogue.dec[row]) * 3600 == pytest.approx(-y, abs=0.01)
    from galaxy_utils.data.simulated import _render_row

    mine, _, _ = _render_row(catalogue, 1, row, 256)
    theirs, _, _ = _render_row(catalogue, 1, other, 256)
    dx, dy = round(x / 0.262), round(y / 0.262)
    beside = mine[128 + dy - 6 : 128 + dy + 6, 128 + dx - 6 : 128 + dx + 6].astype(float)
    centre = theirs[122:134, 122:134].astype(float)
    # The same galaxy under another sky noise.
    assert np.corrcoef(beside.ravel(), centre.ravel())[0, 1] > 0.8


def _moments(image):
    """Axis ratio and brightness of the central object of a noise-free band."""
    labels, _ = ndimage.label(image > 0.1 * image[124:132, 124:132].max())
    mask = labels == labels[128, 128]
    y, x = np.nonzero(mask)
    low, high = np.linalg.eigvalsh(np.cov(np.stack([x, y])))
    return np.sqrt(low / high)


def test_galaxies_have_the_shape_of_their_class():
    ratios = {
        label: np.median([_moments(render_bands(label, seed, noise=False)[1]) for seed in range(12)])
        for label in (2, 3, 4, 8, 9)
    }
    assert ratios[2] > 0.85
    assert 0.5 < ratios[3] < 0.8
    assert ratios[4] < 0.5
    assert ratios[8] < 0.35 and ratios[9] < 0.5


def test_merging_galaxies_have_two_nuclei():
    """Within 15 arcseconds of the centre there is a second bright peak more often than in round galaxies."""

    def peaks(label, seed):
        image = ndimage.gaussian_filter(render_bands(label, seed, noise=False)[1], 1.5)[71:185, 71:185]
        is_peak = (ndimage.maximum_filter(image, 9) == image) & (image > 0.25 * image[50:64, 50:64].max())
        return is_peak.sum()

    merging = np.mean([peaks(1, seed) >= 2 for seed in range(20)])
    round_ = np.mean([peaks(2, seed) >= 2 for seed in range(20)])
    assert merging >= round_ + 0.4


def test_loose_spirals_are_bluer_than_discs_with_bulges():
    def colour(label):
        bands = np.stack([render_bands(label, seed, noise=False)[:, 118:138, 118:138] for seed in range(12)])
        light = bands.sum(axis=(0, 2, 3))
        return -2.5 * np.log10(light[0] / light[2])

    assert colour(7) < colour(9) - 0.1


def _probabilities(**changes):
    galaxy = galaxy_recipes.draw_morphology(5, np.random.default_rng(1))
    plain = {"merger": 0.0, "disturbance": 0.0, "features": 0.9, "axis_ratio": 0.9, "bar": 0.0, "pitch": 30.0}
    return galaxy_recipes.vote_probabilities(dataclasses.replace(galaxy, **{**plain, **changes}))


def test_volunteers_follow_what_the_galaxy_is():
    """Each answer of the decision tree grows with the quantity behind it; at a border the votes divide."""
    bars = [_probabilities(bar=bar)[5] for bar in (0.1, 0.4, 0.6, 0.9)]
    assert np.all(np.diff(bars) > 0) and bars[0] < 0.1 < 0.9 < bars[-1]
    assert _probabilities(pitch=10.0)[6] > 0.9 > 0.1 > _probabilities(pitch=30.0)[6]
    assert (
        _probabilities(axis_ratio=0.15, bulge_share=0.4)[9] > 0.9 < _probabilities(axis_ratio=0.15, bulge_share=0.0)[8]
    )
    between = _probabilities(features=0.0, axis_ratio=0.8)
    assert between[2] == pytest.approx(between[3], abs=0.02)
    assert _probabilities(merger=1.0)[1] > 0.9 < _probabilities(disturbance=1.0)[0]


def test_stretch_follows_its_formula():
    """Lupton et al. (2004): asinh of the mean, colours keep their ratios."""
    bands = np.random.default_rng(1).uniform(-0.01, 0.3, (3, 16, 16)).astype(np.float32)
    picture = galaxy_recipes.stretch_rgb(bands)
    scaled = np.maximum(bands * np.array([6.0, 3.4, 2.2])[:, None, None] + 0.03, 0)
    intensity = scaled.mean(axis=0)
    expected = scaled * np.arcsinh(20 * intensity) / np.sqrt(20) / intensity * 255
    expected = np.clip(expected, 0, 255)[::-1].transpose(1, 2, 0)
    assert np.abs(picture - expected).max() <= 1.01


def test_seeing_moves_nothing_and_is_wider_in_the_north():
    def blurred(telescope):
        canvas = galaxy_recipes.Canvas(65)
        middle = canvas.size // 2
        canvas.light[:, middle, middle] = 100.0
        return galaxy_recipes.blur(canvas, telescope, np.random.default_rng(1))

    def width(image):
        y, x = np.indices(image.shape)
        weight = image / image.sum()
        assert (weight * x).sum() == pytest.approx(32, abs=0.1) and (weight * y).sum() == pytest.approx(32, abs=0.1)
        return (weight * ((x - 32) ** 2 + (y - 32) ** 2)).sum()

    south, north = blurred(galaxy_recipes.DECAM), blurred(galaxy_recipes.BASS_MZLS)
    assert south.sum() == pytest.approx(300, rel=0.05)
    assert width(north[0]) > 1.2 * width(south[0])


def test_load_renders_once_and_is_the_same_every_time(monkeypatch):
    galaxies = gu.load("simulated", profile="smoke", seed=5)
    assert len(galaxies) == gu.get_profile("smoke").simulated_galaxies
    assert galaxies.class_counts.min() >= 8

    def fail(*arguments):
        raise AssertionError("rendered again")

    monkeypatch.setattr("galaxy_utils.data.simulated._write_survey", fail)
    again = gu.load("simulated", profile="smoke", seed=5)
    assert again.fingerprint == galaxies.fingerprint
    assert gu.split(again).hash == gu.split(galaxies).hash


def test_a_killed_rendering_leaves_no_file_under_its_name(tmp_path):
    path = tmp_path / "killed" / "survey.h5"
    program = (
        "import sys\nfrom galaxy_utils.data.simulated import simulate_survey\n"
        "simulate_survey(sys.argv[1], 3000, image_size=64)"
    )
    process = subprocess.Popen([sys.executable, "-c", program, path], stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 60
    while not list(path.parent.glob("*.partial")) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert list(path.parent.glob("*.partial")) and not path.exists()
    simulate_survey(path, 100, image_size=32)
    assert len(open_galaxy10(path)) == 100


def test_pictures_are_the_same_for_the_same_seed():
    assert render_galaxy(7, seed=2).dtype == np.uint8
    np.testing.assert_array_equal(render_galaxy(7, seed=2), render_galaxy(7, seed=2))
    assert not np.array_equal(render_galaxy(7, seed=2), render_galaxy(7, seed=3))


def test_impossible_surveys_are_refused(tmp_path, survey):
    with pytest.raises(ConfigurationError, match="at least 10 galaxies"):
        simulate_survey(tmp_path / "few.h5", 5)
    with pytest.raises(ConfigurationError, match="32 pixels"):
        simulate_survey(tmp_path / "small.h5", 100, image_size=16)
    with pytest.raises(ConfigurationError, match="0 to 9"):
        render_galaxy(10)
    with pytest.raises(DataError, match="Another file"):
        simulate_survey(survey, 200, seed=3, image_size=64)
