"""Every figure shows what it was given, and its alternative text says so in numbers."""

import io
import warnings

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

import galaxy_utils as gu
from galaxy_utils import plots
from galaxy_utils.classes import CLASS_NAMES


@pytest.fixture(autouse=True)
def no_warnings():
    """A warning in a figure is a warning in the book, which fails its build."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def make_galaxies(num_galaxies=40, class_names=CLASS_NAMES, size=48, **columns):
    """Noise images with sorted labels; columns as given."""
    random = np.random.default_rng(1)
    return gu.GalaxyDataset(
        name="noise",
        provenance="noise, not galaxies",
        images=random.integers(0, 256, (num_galaxies, size, size, 3), dtype=np.uint8),
        labels=np.sort(np.arange(num_galaxies) % len(class_names)),
        class_names=class_names,
        **columns,
    )


def evaluate_noise(num_classes=10, num_galaxies=60):
    random = np.random.default_rng(3)
    names = CLASS_NAMES[:num_classes]
    probabilities = random.dirichlet(np.ones(num_classes), num_galaxies)
    labels = np.where(random.random(num_galaxies) < 0.6, probabilities.argmax(axis=1), 0)
    return gu.evaluate(probabilities, labels, names, bootstrap_samples=50), probabilities, labels


def test_accuracies_stand_apart_from_published_ones():
    evaluation, _, _ = evaluate_noise()
    low, high = evaluation.intervals["accuracy"]
    figure = plots.accuracy_intervals({"ours": evaluation}, {"theirs (published)": 0.4887}, "noise")
    assert f"ours {evaluation.accuracy:.3f} ({low:.3f} to {high:.3f})" in figure.alt_text
    assert "Not measured here: theirs (published) 0.489" in figure.alt_text
    assert "Not measured" not in plots.accuracy_intervals({"ours": evaluation}).alt_text
    assert figure.axes[0].get_xlabel() == "accuracy (dotted: one in 10)"


def test_the_line_of_guessing_belongs_to_the_number_of_classes():
    evaluation, _, _ = evaluate_noise(num_classes=4)
    axes = plots.accuracy_intervals({"ours": evaluation}).axes[0]
    assert axes.get_xlabel() == "accuracy (dotted: one in 4)"
    assert any(line.get_xdata()[0] == 0.25 and line.get_linestyle() == ":" for line in axes.lines)


@pytest.fixture
def displayed(monkeypatch):
    outputs = []
    monkeypatch.setattr("IPython.display.display", lambda content, **options: outputs.append((content, options)))
    return outputs


def test_show_passes_image_alternative_text_and_caption_on(displayed):
    rows = plots.image_rows({"noise": make_galaxies().images[:3]})
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
    figure = plots.image_rows({"noise": make_galaxies().images[:3]})
    assert isinstance(figure, Figure)
    assert dict(matplotlib.rcParams) == before
    assert matplotlib.pyplot.get_fignums() == []


def test_backgrounds_are_solid():
    evaluation, _, _ = evaluate_noise()
    images = plots.image_rows({"noise": make_galaxies().images[:3]})
    for figure, background in ((plots.accuracy_intervals({"ours": evaluation}), plots.PAPER), (images, plots.SKY)):
        assert matplotlib.colors.to_hex(figure.get_facecolor()).upper() == background
        assert figure.get_facecolor()[3] == 1


def test_long_names_and_labels_of_differences_stay_in_the_figure():
    names = (
        "without free rotation (dihedral group stays)",
        "without the crop (whole cut-outs, as many pixels)",
    )
    figure = plots.paired_differences(dict.fromkeys(names, (-0.05, -0.31, 0.02)), "gain over the whole recipe", "real")
    figure.savefig(io.BytesIO())  # the layout is computed when the figure is drawn
    (axes,) = figure.axes
    for text in (axes.xaxis.label, *axes.get_yticklabels()):
        box = text.get_window_extent()
        assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1, text.get_text()
