"""Shape statistics of drawn shapes whose numbers are known."""

import numpy as np
import pytest

from galaxy_utils.evaluation.shapes import SHAPES, shape_distances, shape_statistics

pytest.importorskip("photutils")


def galaxy(side=64, axis_ratio=1.0, radius=5.0, brighter_side=0.0, sersic=1.0, noise=2.0, seed=1):
    """An exponential (or steeper) disc on sky of brightness 20."""
    row, column = np.indices((side, side)) - (side - 1) / 2
    distance = np.hypot(column, row / axis_ratio) / radius
    light = 180 * np.exp(-(distance ** (1 / sersic))) * (1 + brighter_side * np.tanh(column / 3))
    light = light + 20 + np.random.default_rng(seed).normal(0, noise, light.shape)
    return np.repeat(np.clip(light, 0, 255)[..., None], 3, axis=-1).astype(np.uint8)


def measure(**options):
    return {name: float(values[0]) for name, values in shape_statistics(galaxy(**options)[None]).items()}


@pytest.mark.parametrize("axis_ratio", [1.0, 0.6, 0.3])
def test_the_ellipticity_is_one_minus_the_axis_ratio(axis_ratio):
    assert measure(axis_ratio=axis_ratio)["ellipticity"] == pytest.approx(1 - axis_ratio, abs=0.06)


def test_each_number_says_what_it_is_for():
    plain = measure()
    assert plain["asymmetry"] < 0.15 < 0.2 < measure(brighter_side=0.5)["asymmetry"]
    steep = measure(sersic=2.0, radius=1.5)
    assert steep["concentration"] > plain["concentration"] + 0.1
    # A galaxy of even brightness shares its light equally; an exponential one does not.
    row, column = np.indices((64, 64)) - 31.5
    even = np.where(np.hypot(row, column) < 12, 150, 20)
    even = np.repeat(even[..., None], 3, axis=-1).astype(np.uint8)
    assert shape_statistics(even[None])["gini"][0] < plain["gini"] - 0.2
    # The brightest light far from the centre: two bright ends.
    ends = sum(150 * np.exp(-((column - x) ** 2 + row**2) / 8) for x in (-10, 10)) + 60 * np.exp(
        -(row**2 + column**2) / 60
    )
    double = np.repeat((ends + 20)[..., None], 3, axis=-1).astype(np.uint8)
    assert shape_statistics(double[None])["m20"][0] > plain["m20"] + 0.5


def test_the_concentration_of_an_exponential_disc():
    # r80 / r20 = 2.994 / 0.824 scale lengths, so C = 5 log10(3.63) = 2.80; what lies under the sky lowers it a little.
    assert measure(radius=4.0, noise=1.0)["concentration"] == pytest.approx(2.80, abs=0.3)


def test_the_galaxy_in_the_middle_is_measured_and_an_empty_image_has_none():
    image = galaxy(axis_ratio=0.5)
    image[4:10, 4:10] = 255  # a star in the corner
    assert float(shape_statistics(image[None])["ellipticity"][0]) == pytest.approx(0.5, abs=0.06)
    empty = np.random.default_rng(1).normal(20, 3, (1, 64, 64, 3)).clip(0, 255).astype(np.uint8)
    assert all(np.isnan(values).all() for values in shape_statistics(empty).values())


def test_distances_are_in_standard_deviations_of_the_second_set():
    random = np.random.default_rng(1)
    real = {name: random.normal(3, 2, 4000) for name in SHAPES}
    moved = {name: values + 1 for name, values in real.items()}
    for distance in shape_distances(moved, real).values():
        assert distance == pytest.approx(0.5, abs=0.01)
    assert set(shape_distances(real, real).values()) == {0.0}
    # Galaxies that could not be measured are left out.
    moved["gini"][:100] = np.nan
    assert shape_distances(moved, real)["gini"] == pytest.approx(0.5, abs=0.05)
    assert np.isnan(shape_distances({**real, "m20": np.full(5, np.nan)}, real)["m20"])
