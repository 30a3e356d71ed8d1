"""Figures of chapters 5 and 6: they draw what they are given, and their alternative texts carry the numbers."""

from types import SimpleNamespace

import numpy as np
import pytest

from galaxy_utils import plots

NAMES = ("Red", "Blue", "Green")


def run(**history):
    return SimpleNamespace(history=history, epochs=len(history["loss"]), best_epoch=1)


def panels(figure):
    return [axes for axes in figure.axes if axes.axison]


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


@pytest.mark.parametrize("number", [1, 2, 3])
def test_maps_give_every_class_its_marker_and_say_how_much_they_show(number):
    random = np.random.default_rng(1)
    planes = {f"space {n}": random.normal(size=(30, 2)) for n in range(number)}
    labels = dict.fromkeys(planes, np.arange(30) % 3)
    shares = dict.fromkeys(planes, (0.41, 0.22))
    figure = plots.latent_maps(planes, labels, NAMES, shares, pairs=[[0, 1]] if number == 1 else None)
    assert len(panels(figure)) == number
    for axes in panels(figure):
        markers = {tuple(map(tuple, drawn.get_paths()[0].vertices)) for drawn in axes.collections}
        assert len(axes.collections) == len(markers) == 3
        assert axes.get_xlabel() == "component 1 (41%)"
    assert "41% and 22%" in figure.alt_text
    assert ("1 pairs of points are ringed" in figure.alt_text) == (number == 1)
    figure.canvas.draw()
