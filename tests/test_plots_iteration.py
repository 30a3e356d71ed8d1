"""Figures of a ledger: every round where its scores say, kept and reverted ones told apart."""

import warnings

import matplotlib
import numpy as np
import pytest

from galaxy_utils import plots


@pytest.fixture(autouse=True)
def no_warnings():
    """A warning in a figure is a warning in the book, which fails its build."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def row(number, name, verdict, against, kl, accuracy, seconds=12.0, parameters=527_000):
    scores = {"kl": kl, "kl_low": kl - 0.05, "kl_high": kl + 0.05}
    scores |= {"accuracy": accuracy, "accuracy_low": accuracy - 0.03, "accuracy_high": accuracy + 0.03}
    cost = {"training_seconds": seconds, "parameters": parameters, "inference_seconds": 0.4}
    return {"number": number, "round": name, "verdict": verdict, "against": against, **scores, **cost}


ROWS = [
    row(0, "flatten", "start", None, 1.2, 0.42, 15.0, 2_493_000),
    row(1, "average pooling", "keep", "flatten", 0.9, 0.55),
    row(2, "wide", "revert", "average pooling", 1.0, 0.50, 80.0),
    row(3, "as the paper built its joint autoencoder", "reference", "average pooling", 0.95, 0.52, 300.0),
    row(4, "crop", "keep", "average pooling", 0.7, 0.66),
    row(5, "deep", "revert", "crop", 0.71, 0.65, 33.0),
]


def lines_of(figure):
    """All lines with more than one point, as arrays of (x, y)."""
    lines = figure.axes[0].get_lines()
    return [np.transpose(line.get_data()) for line in lines if len(line.get_xdata()) > 1]


def texts_of(figure):
    figure.canvas.draw()
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text) if text.get_text().strip()]


@pytest.mark.parametrize("score", ["kl", "accuracy"])
def test_the_path_joins_what_was_kept_and_branches_to_what_was_reverted(score):
    figure = plots.iteration_path(ROWS, score, {"paper 1: joint": 0.61}, "six toy rounds")
    path, first_branch, second_branch = lines_of(figure)[:3]
    np.testing.assert_allclose(path, [(ROWS[n][score], n) for n in (0, 1, 4)])
    np.testing.assert_allclose(first_branch, [(ROWS[n][score], n) for n in (1, 2)])
    np.testing.assert_allclose(second_branch, [(ROWS[n][score], n) for n in (4, 5)])
    texts = texts_of(figure)
    for words in ("start", "kept", "reverted", "reference, decides nothing", "0.610", "six toy rounds", "crop"):
        assert words in texts
    low, high = (f"{ROWS[4][score] + change:.3f}" for change in ((-0.05, 0.05) if score == "kl" else (-0.03, 0.03)))
    assert f"crop {ROWS[4][score]:.3f} ({low} to {high}), kept" in figure.alt_text
    assert "deep" in figure.alt_text and "reverted" in figure.alt_text
    assert "Published, on other images: paper 1: joint 0.610" in figure.alt_text


def test_a_ledger_that_has_only_started_is_drawn_too():
    figure = plots.iteration_path(ROWS[:1])
    assert "Path of 1 rounds" in figure.alt_text and "reverted" not in texts_of(figure)
    assert "flatten: 15 s, accuracy 0.420, start" in plots.accuracy_against_cost(ROWS[:1]).alt_text


@pytest.mark.parametrize(
    ("cost", "spoken"),
    [
        ("training_seconds", "as the paper built its joint autoencoder: 300 s, accuracy 0.520, reference"),
        ("parameters", "flatten: 2,493,000, accuracy 0.420, start"),
        ("inference_seconds", "crop: 0.4 s, accuracy 0.660, kept"),
    ],
)
def test_accuracy_stands_against_cost(cost, spoken):
    figure = plots.accuracy_against_cost(ROWS, cost, "six toy rounds")
    marks = [tuple(np.ravel(line.get_data())) for line in figure.axes[0].get_lines()]
    assert marks == [(row[cost], row["accuracy"]) for row in ROWS]
    assert spoken in figure.alt_text
    texts = texts_of(figure)
    assert {"0", "1", "2", "3", "4", "5"} <= set(texts) and "six toy rounds" in texts
    low, high = figure.axes[0].get_xlim()
    labelled = [t for t in figure.axes[0].get_xticklabels() if t.get_text() and low <= t.get_position()[0] <= high]
    assert labelled and not any("e+" in label.get_text() for label in labelled)
    assert "4\u00a0crop" in " ".join(texts)


@pytest.mark.parametrize(
    "published", [None, {"flatten": {"accuracy": 0.4887}, "crop": {"kl": 0.5455, "accuracy": 0.81}}]
)
def test_the_table_of_rounds_says_what_the_ledger_says(monkeypatch, published):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda content, raw: shown.append(content))
    rows = [{"changed": "depth: 3 → 4 & <more>" if one["verdict"] == "revert" else "", **one} for one in ROWS]
    plots.show_rounds(rows, published)
    page, (head, *lines) = shown[0]["text/html"], shown[0]["text/plain"].splitlines()
    assert page.count("<tr>") == len(ROWS) + 1 == len(lines) + 1
    assert lines[4].startswith("4 crop;  | kept | 0.700; 0.650 to 0.750 | 0.660; 0.630 to 0.690 | ")
    assert lines[5].endswith("33.0 s; 0.40 s; 527,000 parameters") and " | start | " in lines[0]
    assert "depth: 3 → 4 &amp; &lt;more&gt;" in page and "<more>" not in page
    assert ("published" in head) == bool(published) and page.count("<th ") == head.count("|") + 1
    if published:
        assert "| accuracy 0.4887 |" in lines[0] and "| KL 0.5455; accuracy 0.81 |" in lines[4]
        assert "0.5455" not in lines[1]
