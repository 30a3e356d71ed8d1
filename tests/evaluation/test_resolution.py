"""Enlargements: errors against definitions, profiles and spectra of images whose answer is known."""

import numpy as np
import pytest

from galaxy_utils.errors import DataError
from galaxy_utils.evaluation.resolution import (
    enlarge_bicubic,
    halve,
    peak_signal_to_noise,
    power_spectrum,
    radial_profile,
    structural_similarity,
)


def random_images(count=3, side=32, seed=1):
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def test_the_peak_signal_to_noise_ratio_of_a_constant_error():
    images = np.full((2, 8, 8, 3), 100, np.uint8)
    expected = 20 * np.log10(255 / 10)
    np.testing.assert_allclose(peak_signal_to_noise(images, images + np.uint8(10)), expected)
    assert np.isinf(peak_signal_to_noise(images, images)).all()


def test_the_structural_similarity_is_the_one_of_its_definition():
    first, second = random_images(1)[0].astype(float), random_images(1, seed=2)[0].astype(float)
    second = 0.5 * first + 0.5 * second
    second = np.rint(second)
    # Wang et al. 2004, eq. 13, at one pixel of one band, with the window written out.
    offsets = np.arange(-5, 6)
    window = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * 1.5**2))
    window /= window.sum()
    values = []
    for row in range(5, 27):
        for column in range(5, 27):
            for band in range(3):
                a = first[row - 5 : row + 6, column - 5 : column + 6, band]
                b = second[row - 5 : row + 6, column - 5 : column + 6, band]
                mean_a, mean_b = (window * a).sum(), (window * b).sum()
                var_a, var_b = (window * (a - mean_a) ** 2).sum(), (window * (b - mean_b) ** 2).sum()
                covariance = (window * (a - mean_a) * (b - mean_b)).sum()
                c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
                values.append(
                    (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
                    / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
                )  # fmt: skip
    found = structural_similarity(first[None].astype(np.uint8), second[None].astype(np.uint8))
    assert found[0] == pytest.approx(np.mean(values), abs=1e-9)
    assert structural_similarity(first[None], first[None])[0] == pytest.approx(1)


def test_halving_averages_and_bicubic_gives_smooth_images_back():
    images = random_images()
    np.testing.assert_allclose(halve(images)[0, 0, 0], images[0, :2, :2].mean(axis=(0, 1)), atol=0.5)
    row, column = np.indices((32, 32))
    smooth = np.repeat((100 + 50 * np.sin(row / 6) * np.cos(column / 7))[None, ..., None], 3, axis=-1).astype(np.uint8)
    enlarged = enlarge_bicubic(halve(smooth))
    assert enlarged.shape == smooth.shape and peak_signal_to_noise(smooth, enlarged)[0] > 40


def test_the_profile_of_a_cone_is_a_straight_line():
    radius = np.hypot(*(np.indices((33, 33)) - 16))
    cone = np.repeat(np.clip(200 - 8 * radius, 0, 255)[None, ..., None], 3, axis=-1).astype(np.uint8)
    radii, profile = radial_profile(cone)
    assert radii[0] == 0 and len(radii) == 16
    np.testing.assert_allclose(profile, 200 - 8 * radii, atol=0.6)


def test_the_spectrum_of_a_wave_peaks_at_its_frequency_and_white_noise_is_flat():
    wave = 128 + 60 * np.sin(2 * np.pi * 8 * np.arange(32) / 32)
    wave = np.broadcast_to(wave[None, None, :, None], (1, 32, 32, 3)).astype(np.uint8)
    frequencies, power = power_spectrum(wave)
    assert frequencies[power.argmax()] == pytest.approx(8 / 32)
    _, flat = power_spectrum(random_images(200))
    # White noise of variance s²: its power in each frequency is s² times the mean square of the window.
    window = np.hanning(32)
    expected = np.var(np.arange(256) / 255) * np.mean(window**2) ** 2
    np.testing.assert_allclose(flat[2:], expected, rtol=0.1)


def test_images_of_different_shapes_are_refused():
    for compare in (peak_signal_to_noise, structural_similarity):
        with pytest.raises(DataError, match="16, 16"):
            compare(random_images(), random_images(side=16))
