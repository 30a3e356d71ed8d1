"""Figures of chapters 5 and 6: they draw what they are given, and their alternative texts carry the numbers."""

from types import SimpleNamespace

import numpy as np
import pytest

from galaxy_utils import plots
from galaxy_utils.evaluation import evaluate

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


def test_curves_show_both_losses_and_a_classifier_s_single_one():
    both = {"loss": [3.0, 2.0], "val_loss": [3.0, 2.5]}
    both |= {"reconstruction_loss": [0.02, 0.01], "val_reconstruction_loss": [0.03, 0.0123]}
    both |= {"classification_loss": [2.0, 1.5], "val_classification_loss": [2.1, 1.61]}
    figure = plots.joint_curves({"joint": run(**both), "alone": run(loss=[2.0, 1.4], val_loss=[2.2, 1.87])})
    upper, lower = figure.axes
    assert len(upper.lines) == 2 and len(lower.lines) == 4
    for number in ("0.0100", "0.0123", "1.61", "1.87"):
        assert number in figure.alt_text


def test_the_sweep_says_accuracy_interval_and_error_of_every_weight():
    random = np.random.default_rng(1)
    labels = random.integers(0, 3, 60)
    scores = {
        weight: evaluate(random.dirichlet(np.ones(3), 60), labels, NAMES, bootstrap_samples=50)
        for weight in (100.0, 0.0, 1.0)
    }
    figure = plots.weight_sweep(scores, {1.0: 0.008, 100.0: 0.002}, 0.01)
    for weight, score in scores.items():
        low, high = score.intervals["accuracy"]
        assert f"{weight:g} accuracy {score.accuracy:.3f} ({low:.3f} to {high:.3f})" in figure.alt_text
    assert "0.0080" in figure.alt_text and "mean image: 0.0100" in figure.alt_text
    assert [text.get_text() for text in figure.axes[1].get_xticklabels()] == ["0 (alone)", "1", "100"]


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


def test_explained_variance_adds_up():
    figure = plots.explained_variance({"latent": [0.5, 0.2, 0.1], "pixels": [0.9, 0.05, 0.01]}, "made for tests")
    assert figure.axes[0].lines[0].get_ydata() == pytest.approx([0.5, 0.7, 0.8])
    assert "latent 70% in two, 80% in 3" in figure.alt_text
