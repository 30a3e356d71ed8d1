"""Figures of chapters 5 and 6: they draw what they are given, and their alternative texts carry the numbers."""

import numpy as np

from galaxy_utils import plots


def test_rows_of_images_are_labelled():
    images = np.zeros((3, 8, 8, 3), np.uint8)
    figure = plots.image_rows({"original": images, "drawn": images}, ["a", "b", "c"], "made for tests")
    assert len(figure.axes) == 6
    assert figure.alt_text == "2 rows of 3 images: original, drawn, columns: a, b, c."
    assert figure.get_supxlabel() == "made for tests"


def test_differences_are_in_points():
    figure = plots.paired_differences({"seed 1": (0.012, -0.01, 0.034)}, "joint minus alone")
    assert "seed 1 +1.2 (-1.0 to +3.4)" in figure.alt_text
    low, high = figure.axes[0].get_xlim()
    assert low < -3.4 and high > 3.4
