"""Halving and enlarging images."""

import numpy as np

from galaxy_utils.evaluation.resolution import enlarge_bicubic, halve


def test_halving_averages_and_bicubic_gives_smooth_images_back():
    row, column = np.indices((32, 32))
    smooth = np.repeat((100 + 50 * np.sin(row / 6) * np.cos(column / 7))[None, ..., None], 3, axis=-1).astype(np.uint8)
    np.testing.assert_allclose(halve(smooth)[0, 0, 0], smooth[0, :2, :2].mean(axis=(0, 1)), atol=0.5)
    assert np.abs(enlarge_bicubic(halve(smooth)).astype(int) - smooth).mean() < 1
