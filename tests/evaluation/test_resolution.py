"""Enlarging images."""

import numpy as np

from galaxy_utils.data.prepare import area_average
from galaxy_utils.evaluation.resolution import enlarge_bicubic


def test_bicubic_interpolation_gives_smooth_images_back():
    row, column = np.indices((32, 32))
    smooth = np.repeat((100 + 50 * np.sin(row / 6) * np.cos(column / 7))[None, ..., None], 3, axis=-1).astype(np.uint8)
    assert np.abs(enlarge_bicubic(area_average(smooth, 16)).astype(int) - smooth).mean() < 1
    # Keys' cubic at an edge, computed by hand.
    step = np.full((1, 8, 8, 3), 60, np.uint8)
    step[:, :, 4:] = 180
    assert enlarge_bicubic(step)[0, 8, 4:12, 0].tolist() == [60, 57, 52, 84, 156, 188, 183, 180]
