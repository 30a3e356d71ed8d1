"""Every figure shows what it was given, and its alternative text says so in numbers."""

import io
import os
import subprocess
import sys
import warnings
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

import galaxy_utils as gu
from galaxy_utils import plots
from galaxy_utils.classes import CLASS_NAMES

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def no_warnings():
    """A warning in a figure is a warning in the book, which fails its build."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


IMAGES = np.random.default_rng(1).integers(0, 256, (3, 48, 48, 3), dtype=np.uint8)


def evaluate_noise(num_classes=10, num_galaxies=60):
    random = np.random.default_rng(3)
    names = CLASS_NAMES[:num_classes]
    probabilities = random.dirichlet(np.ones(num_classes), num_galaxies)
    labels = np.where(random.random(num_galaxies) < 0.6, probabilities.argmax(axis=1), 0)
    return gu.evaluate(probabilities, labels, names, bootstrap_samples=50)


def test_accuracies_stand_apart_from_published_ones():
    evaluation = evaluate_noise()
    low, high = evaluation.intervals["accuracy"]
    figure = plots.accuracy_intervals({"ours": evaluation}, {"theirs (published)": 0.4887}, "noise")
    assert f"ours {evaluation.accuracy:.3f} ({low:.3f} to {high:.3f})" in figure.alt_text
    assert "Not measured here: theirs (published) 0.489" in figure.alt_text
    assert "Not measured" not in plots.accuracy_intervals({"ours": evaluation}).alt_text
    assert figure.axes[0].get_xlabel() == "accuracy (dotted: one in 10)"


def test_the_line_of_guessing_belongs_to_the_number_of_classes():
    evaluation = evaluate_noise(num_classes=4)
    axes = plots.accuracy_intervals({"ours": evaluation}).axes[0]
    assert axes.get_xlabel() == "accuracy (dotted: one in 4)"
    assert any(line.get_xdata()[0] == 0.25 and line.get_linestyle() == ":" for line in axes.lines)


def test_rows_of_images_are_labelled():
    images = IMAGES
    figure = plots.image_rows({"original": images, "drawn": images}, ["a", "b", "c"], "made for tests")
    assert len(figure.axes) == 6
    assert figure.alt_text == "2 rows of 3 images: original, drawn, columns: a, b, c."
    assert figure.get_supxlabel() == "made for tests"


def test_differences_are_in_points():
    figure = plots.paired_differences({"seed 1": (0.012, -0.01, 0.034)}, "joint minus alone")
    assert "seed 1 +1.2 (-1.0 to +3.4)" in figure.alt_text
    low, high = figure.axes[0].get_xlim()
    assert low < -3.4 and high > 3.4


@pytest.fixture
def displayed(monkeypatch):
    outputs = []
    monkeypatch.setattr("IPython.display.display", lambda content, **options: outputs.append((content, options)))
    return outputs


def test_show_passes_image_alternative_text_and_caption_on(displayed):
    rows = plots.image_rows({"noise": IMAGES})
    plots.show(rows, caption="Noise.")
    content, options = displayed[0]
    assert content["image/png"].startswith("iVBOR")  # a PNG file, in base64
    assert options["metadata"]["image/png"]["caption"] == "Noise."
    assert options["metadata"]["image/png"]["alt"] == content["text/plain"] == rows.alt_text


def test_a_figure_of_pyplot_needs_words_and_is_shown_once(displayed):
    before = plt.get_fignums()
    own, axes = plt.subplots()
    with pytest.raises(ValueError, match="no alternative text"):
        plots.show(own)
    plots.show(own, "A line.", "One\n  line.")
    assert displayed[0][0]["text/plain"] == "One line."
    assert plt.get_fignums() == before


def test_tables_are_rounded_and_can_be_read_without_html(displayed):
    table = pd.DataFrame({"galaxies": [1200, 3], "recall [%]": [71.345, np.nan], "ECE": [0.01234, 0.5]})
    plots.show_table(table, "Small & large.", decimals={"recall [%]": 1, "ECE": 3})
    content, _ = displayed[0]
    assert all(cell in content["text/plain"] for cell in ("1,200", "71.3", "0.012", "–"))
    assert "Small &amp; large." in content["text/html"] and "<td>71.3</td>" in content["text/html"]


def test_drawing_changes_nothing_outside_the_figure():
    import matplotlib.pyplot

    before = dict(matplotlib.rcParams)
    figure = plots.image_rows({"noise": IMAGES})
    assert isinstance(figure, Figure)
    assert dict(matplotlib.rcParams) == before
    assert matplotlib.pyplot.get_fignums() == []


def test_backgrounds_are_solid():
    evaluation = evaluate_noise()
    images = plots.image_rows({"noise": IMAGES})
    for figure, background in ((plots.accuracy_intervals({"ours": evaluation}), plots.PAPER), (images, plots.SKY)):
        assert matplotlib.colors.to_hex(figure.get_facecolor()).upper() == background
        assert figure.get_facecolor()[3] == 1


def test_long_names_and_labels_of_differences_stay_in_the_figure():
    names = ("without free rotation (dihedral group stays)", "without the crop (whole cut-outs, as many pixels)")
    figure = plots.paired_differences(dict.fromkeys(names, (-0.05, -0.31, 0.02)), "gain over the whole recipe", "real")
    figure.savefig(io.BytesIO())  # the layout is computed when the figure is drawn
    (axes,) = figure.axes
    for text in (axes.xaxis.label, *axes.get_yticklabels()):
        box = text.get_window_extent()
        assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1, text.get_text()


DRAW = """
import sys, numpy as np, galaxy_utils as gu
from matplotlib import pyplot as plt
figure = gu.plots.image_grid([np.arange(3072, dtype=np.uint8).reshape(32, 32, 3)], ["one galaxy"])
own, axes = gu.plots.figure(height=2)
axes.imshow([[0, 1], [2, 3]])
with plt.rc_context(gu.plots.CHART_STYLE):
    third, ax = plt.subplots()
    ax.plot([1.5, 2])
for number, one in enumerate((figure, own, third)):
    one.savefig(f"{sys.argv[1]}_{number}.png")
"""
USERS_FILE = "image.origin: lower\nsavefig.transparent: True\ntext.usetex: True\nimage.cmap: hot\nlines.linewidth: 9\n"


def test_a_users_matplotlibrc_changes_no_figure(tmp_path):
    """In a process of its own each, because Matplotlib reads the file once."""
    said = {}
    for name, text in {"without": "", "with": USERS_FILE}.items():
        (tmp_path / "users").write_text(text)
        environment = {**os.environ, "MATPLOTLIBRC": str(tmp_path / "users"), "PYTHONPATH": str(REPOSITORY)}
        command = [sys.executable, "-c", DRAW, tmp_path / name]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 0, done.stderr
        said[name] = done.stdout
    for number in range(3):
        drawn = [(tmp_path / f"{name}_{number}.png").read_bytes() for name in said]
        assert drawn[0] == drawn[1], number
    assert said["without"] == "" and "image.origin" in said["with"] and str(tmp_path / "users") in said["with"]


def test_what_a_program_has_set_changes_no_figure_either(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda content, **options: shown.append(content["image/png"]))
    for settings in ({}, {"image.origin": "lower", "text.usetex": True, "savefig.transparent": True}):
        with matplotlib.rc_context(settings):
            plots.show(plots.image_grid(IMAGES[:2], ["a", "b"]))
    assert shown[0] == shown[1]
