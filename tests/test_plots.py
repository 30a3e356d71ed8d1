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
from galaxy_utils.classes import CLASS_COLOURS, CLASS_NAMES, SHORT_CLASS_NAMES


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


def complete_galaxies():
    random = np.random.default_rng(2)
    return make_galaxies(
        ra=random.uniform(0, 360, 40),
        dec=np.r_[np.full(15, 50.0), np.full(25, -5.0)],
        pixel_scale=np.full(40, 0.262),
        vote_fractions=random.dirichlet(np.ones(10), 40).astype(np.float32),
    )


class Run:
    """What a learning curve needs of a `TrainingRun`."""

    epochs, best_epoch = 3, 2
    history = {"accuracy": [0.2, 0.5, 0.91], "val_accuracy": [0.2, 0.42, 0.37], "loss": [2.2, 1.5, 0.4]}
    history = history | {"val_loss": [2.2, 1.81, 2.6]}


def evaluate_noise(num_classes=10, num_galaxies=60):
    random = np.random.default_rng(3)
    names = CLASS_NAMES[:num_classes]
    probabilities = random.dirichlet(np.ones(num_classes), num_galaxies)
    labels = np.where(random.random(num_galaxies) < 0.6, probabilities.argmax(axis=1), 0)
    return gu.evaluate(probabilities, labels, names, bootstrap_samples=50), probabilities, labels


def drawn_texts(figure):
    """All texts of a figure, as drawn."""
    figure.canvas.draw()
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text) if text.get_text().strip()]


def test_gallery_shows_each_class_with_its_count():
    galaxies = complete_galaxies()
    figure = plots.class_gallery(galaxies, images_per_class=3)
    texts = drawn_texts(figure)
    for name in SHORT_CLASS_NAMES:
        assert any(name in text and "4" in text for text in texts)
        assert f"{name} 4" in figure.alt_text
    assert len(figure.findobj(matplotlib.image.AxesImage)) == 30
    assert texts.count("10″") == 10
    assert "noise, not galaxies" in texts


def test_gallery_does_not_show_a_galaxy_under_two_classes():
    galaxies = make_galaxies(6, CLASS_NAMES[:2])
    galaxies.images[3] = galaxies.images[2]  # the last of the first class, the first of the second
    figure = plots.class_gallery(galaxies, 3, crop_fraction=1.0)
    shown = [image.get_array().tobytes() for image in figure.findobj(matplotlib.image.AxesImage)]
    assert len(shown) == 4 and galaxies.images[2].tobytes() not in shown


def test_gallery_is_random_but_repeatable():
    galaxies = make_galaxies(200)

    def shown(seed):
        return [image.get_array().tobytes() for image in plots.class_gallery(galaxies, 2, seed=seed).findobj(
            matplotlib.image.AxesImage)]  # fmt: skip

    assert shown(1) == shown(1)
    assert shown(1) != shown(2)


def test_one_class_without_any_optional_column_can_be_drawn():
    galaxies = make_galaxies(2, class_names=("Only",))
    for figure in (
        plots.class_gallery(galaxies),
        plots.class_counts(galaxies),
        plots.colour_channels(galaxies, 0),
        plots.values_by_class(galaxies, [0.25, 0.75], "value"),
    ):
        figure.canvas.draw()
        assert "Only" in figure.alt_text
    assert "Medians: Only 0.50" in plots.values_by_class(galaxies, [0.25, 0.75], "value").alt_text


def test_bars_have_the_counts_and_the_colours_of_the_classes():
    galaxies = make_galaxies(43)
    figure = plots.class_counts(galaxies)
    bars = [patch for patch in figure.axes[0].patches if patch.get_width()]
    np.testing.assert_array_equal([bar.get_width() for bar in bars], galaxies.class_counts)
    assert [matplotlib.colors.to_hex(bar.get_facecolor()).upper() for bar in bars] == list(CLASS_COLOURS)
    assert "43 galaxies" in figure.alt_text


def test_sky_map_counts_both_sides_and_leaves_out_what_has_no_place():
    galaxies = complete_galaxies()
    galaxies.ra[0] = np.nan
    figure = plots.sky_map(galaxies)
    figure.canvas.draw()
    assert "39 galaxies: 14 north and 25 south" in figure.alt_text
    assert "from -5 to 50 degrees" in figure.alt_text


def test_right_ascension_grows_to_the_left_with_120_degrees_in_the_middle():
    np.testing.assert_allclose(np.degrees(plots._map_longitude([120, 150, 90, 299, 301])), [0, -30, 30, -179, 179])


def test_twins_stand_side_by_side_under_their_labels():
    galaxies = make_galaxies()
    for pairs in ([[0, 39]], [[0, 39], [5, 20], [6, 30]]):
        figure = plots.twin_pairs(galaxies, np.array(pairs))
        assert len(figure.findobj(matplotlib.image.AxesImage)) == 2 * len(pairs)
        assert "Disturbed and Edge-on, bulge" in figure.alt_text
        assert "row 39" in " ".join(drawn_texts(figure))


def test_vote_cards_tell_the_two_largest_fractions():
    galaxies = complete_galaxies()
    largest = np.sort(galaxies.vote_fractions[7])[::-1]
    figure = plots.vote_cards(galaxies, [7])
    assert f"{largest[0]:.2f}" in figure.alt_text and f"{largest[1]:.2f}" in figure.alt_text
    bars = [patch.get_width() for patch in figure.axes[1].patches]
    np.testing.assert_allclose(bars, galaxies.vote_fractions[7], rtol=1e-6)


def test_the_tree_ends_in_the_ten_classes():
    texts = drawn_texts(plots.decision_tree())
    assert set(SHORT_CLASS_NAMES) <= set(texts)


def test_memory_bars_name_sizes_and_limit():
    figure = plots.memory_bars({"bytes": 3.49, "floats": 13.95}, limit=12, limit_name="session")
    assert "bytes 3.49 GB, floats 13.95 GB" in figure.alt_text and "session: 12 GB" in figure.alt_text
    within, over = (patch.get_facecolor() for patch in figure.axes[0].patches)
    assert within != over
    assert "session" not in plots.memory_bars({"bytes": 1.0}).alt_text


def test_smoothing_figure_agrees_with_the_evaluation():
    figure = plots.smoothing_entropy(10, (0.05, 0.1, 0.2))
    for epsilon in (0.05, 0.1, 0.2):
        assert f"{gu.evaluation.label_entropy(epsilon, 10):.4f}" in figure.alt_text
    assert "0.910 on the class and 0.010" in figure.alt_text


def test_split_figure_tells_sizes_and_largest_deviation():
    galaxies = make_galaxies(200)
    split = gu.split(galaxies, seed=3)
    figure = plots.split_shares(galaxies, split)
    sizes = split.sizes
    assert f"train {sizes['train']}, validation {sizes['validation']}, test {sizes['test']}" in figure.alt_text
    assert "0.0 percentage points" in figure.alt_text  # 20 of each class: 13, 3 and 4
    assert drawn_texts(figure).count("13") == 10


def test_leak_histogram_holds_every_split():
    figure = plots.leak_histogram([18, 20, 22], 59)
    assert "mean 20.0" in figure.alt_text and "of 59 pairs" in figure.alt_text
    assert sum(patch.get_height() for patch in figure.axes[0].patches) == 3
    plots.leak_histogram([0, 0], 0).canvas.draw()


def test_learning_curves_tell_the_last_and_the_best_epoch():
    figure = plots.learning_curves({"first": Run, "second": Run}, "noise")
    assert "training accuracy 0.91 and validation accuracy 0.37" in figure.alt_text
    assert "1.81 nats, in epoch 2" in figure.alt_text
    assert {"first: training", "second: validation"} <= set(drawn_texts(figure))


def test_parameter_counts_come_from_the_network():
    networks = {"flat": gu.models.four_block_cnn(32), "average": gu.models.four_block_cnn(32, pooling="average")}
    figure = plots.parameter_counts(networks)
    assert f"flat: dense layer {2 * 2 * 256 * 512 + 512:,}" in figure.alt_text
    assert f"average: dense layer {256 * 512 + 512:,}" in figure.alt_text


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


def test_confusion_matrix_and_class_scores_tell_the_evaluation():
    evaluation, _, _ = evaluate_noise()
    matrix = evaluation.confusion_matrix
    off_diagonal = matrix - np.diag(np.diag(matrix))
    figure = plots.confusion_matrix(evaluation, "noise")
    figure.canvas.draw()
    assert f"{off_diagonal.max():,} times" in figure.alt_text
    assert f"Disturbed {100 * evaluation.recall[0]:.0f} %" in figure.alt_text
    figure = plots.class_scores(evaluation, "noise")
    figure.canvas.draw()
    assert f"Disturbed {evaluation.recall[0]:.2f} and {evaluation.precision[0]:.2f}" in figure.alt_text


def test_classes_without_test_galaxies_can_be_drawn():
    probabilities = np.random.default_rng(1).dirichlet(np.ones(10), 12)
    evaluation = gu.evaluate(probabilities, np.zeros(12, int), CLASS_NAMES, bootstrap_samples=20)
    for figure in (plots.confusion_matrix(evaluation), plots.class_scores(evaluation)):
        figure.canvas.draw()
        assert "Disturbed" in figure.alt_text
    assert "Merging" not in plots.class_scores(evaluation).alt_text


def test_mistakes_on_one_piece_of_sky_are_drawn_once():
    galaxies = make_galaxies()
    probabilities = np.full((40, 10), 0.02)
    probabilities[:, 9] = np.linspace(0.5, 0.6, 40)
    groups = np.array([*range(20), *range(20)])
    figure = plots.confident_mistakes(galaxies, np.arange(40), probabilities, count=30, groups=groups)
    shown = [image.get_array().tobytes() for image in figure.findobj(matplotlib.image.AxesImage)]
    assert len(shown) == 20
    assert shown[0] == galaxies.images[35].tobytes()  # the surest whose label is not the answer


def test_mistakes_are_the_confident_ones_in_order():
    galaxies = make_galaxies()
    probabilities = np.full((40, 10), 0.01)
    probabilities[np.arange(40), galaxies.labels] = 0.91
    for row, confidence in ((3, 0.7), (30, 0.8)):
        probabilities[row] = (1 - confidence) / 9
        probabilities[row, 4] = confidence
    figure = plots.confident_mistakes(galaxies, np.arange(40), probabilities)
    assert "most confident of 2 mistakes: Cigar 80%, label: Loose spiral; Cigar 70%" in figure.alt_text
    assert len(figure.findobj(matplotlib.image.AxesImage)) == 2
    right = plots.confident_mistakes(galaxies, [0, 1], probabilities[:2])
    assert "no mistakes" in right.alt_text


@pytest.fixture
def displayed(monkeypatch):
    outputs = []
    monkeypatch.setattr("IPython.display.display", lambda content, **options: outputs.append((content, options)))
    return outputs


def test_show_passes_image_alternative_text_and_caption_on(displayed):
    plots.show(plots.decision_tree(), caption="The tree.")
    content, options = displayed[0]
    assert content["image/png"].startswith("iVBOR")  # a PNG file, in base64
    assert options["metadata"]["image/png"]["caption"] == "The tree."
    assert options["metadata"]["image/png"]["alt"] == content["text/plain"] == plots.decision_tree().alt_text


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


def test_a_warning_is_readable_with_and_without_html(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda content, raw: shown.append(content))
    plots.show_warning("Two < three", "Nothing & nobody.")
    assert shown[0]["text/plain"] == "WARNING. Two < three. Nothing & nobody."
    # Background and text colour come together, or the banner cannot be read in one of the themes.
    assert "background: #FBF9F4; color: #22252B" in shown[0]["text/html"]
    assert (
        "<strong>Two &lt; three</strong>" in shown[0]["text/html"] and "Nothing &amp; nobody." in shown[0]["text/html"]
    )


def test_drawing_changes_nothing_outside_the_figure():
    import matplotlib.pyplot

    before = dict(matplotlib.rcParams)
    figure = plots.class_counts(make_galaxies())
    assert isinstance(figure, Figure)
    assert dict(matplotlib.rcParams) == before
    assert matplotlib.pyplot.get_fignums() == []


@pytest.mark.parametrize("draw, background", [(plots.decision_tree, plots.PAPER), (None, plots.SKY)])
def test_backgrounds_are_solid(draw, background):
    figure = draw() if draw else plots.colour_channels(make_galaxies(), 0)
    assert matplotlib.colors.to_hex(figure.get_facecolor()).upper() == background
    assert figure.get_facecolor()[3] == 1


def test_accuracies_over_seeds_show_each_seed_and_the_interval():
    evaluations = {"none": evaluate_noise()[0], "flips": evaluate_noise(num_galaxies=90)[0]}
    figure = plots.accuracy_by_seed(evaluations, {"none": [0.4, 0.6], "flips": [0.5, 0.7]}, "noise")
    figure.canvas.draw()
    ticks = [line for line in figure.axes[0].lines if line.get_marker() == "|"]
    np.testing.assert_array_equal([line.get_xdata() for line in ticks], [[0.4, 0.6], [0.5, 0.7]])
    low, high = evaluations["flips"].intervals["accuracy"]
    assert f"flips {evaluations['flips'].accuracy:.3f} ({low:.3f} to {high:.3f})" in figure.alt_text
    assert "2 seeds" in figure.alt_text


def test_share_curve_goes_through_the_accuracies_in_order():
    evaluations = {0.5: evaluate_noise(num_galaxies=90)[0], 0.0: evaluate_noise()[0]}
    figure = plots.share_curve(evaluations, "noise")
    figure.canvas.draw()
    curve = next(line for line in figure.axes[0].lines if line.get_marker() == "o")
    np.testing.assert_array_equal(curve.get_xdata(), [0, 0.5])
    np.testing.assert_array_equal(curve.get_ydata(), [evaluations[0.0].accuracy, evaluations[0.5].accuracy])
    assert f"50% {evaluations[0.5].accuracy:.3f}" in figure.alt_text


def test_layer_sizes_are_those_of_the_network_on_both_sides_of_the_boundary():
    import keras

    inputs = keras.Input((4,))
    x = keras.layers.Dense(5, name="below")(inputs)
    network = keras.Model(inputs, keras.layers.Dense(2, name="above")(keras.layers.ReLU(name="between")(x)))
    figure = plots.layer_sizes(network, 2, "toy")
    figure.canvas.draw()
    heights = [patch.get_height() * 1e6 for patch in figure.axes[0].patches]
    np.testing.assert_allclose(heights, [0, 25, 0, 12])
    assert "the first 2 hold 25, the last 2 12, 32% of all" in figure.alt_text


def test_costs_of_the_rungs_stand_where_they_belong():
    rungs = {
        "neighbours": {"accuracy": 0.3, "low": 0.2, "high": 0.4, "parameters": 0, "seconds": 2.0},
        "fine-tuned": {"accuracy": 0.6, "low": 0.5, "high": 0.7, "parameters": 8_931_328, "seconds": 300.0},
    }
    figure = plots.accuracy_by_cost(rungs, "noise")
    figure.canvas.draw()
    for axes, values in zip(figure.axes, ([0, 8_931_328], [2.0, 300.0]), strict=True):
        assert [line.get_xdata()[0] for line in axes.lines] == values
        assert axes.get_xlim()[0] < values[0] and values[1] < axes.get_xlim()[1]
    assert "fine-tuned 0.600 (0.500 to 0.700) with 8,931,328 trained parameters in 300 s" in figure.alt_text


def test_label_curves_go_through_the_accuracies_in_order():
    curves = {"pixels": {400: (0.4, 0.3, 0.5), 50: (0.2, 0.1, 0.3)}, "features": {50: (0.5, 0.4, 0.6)}}
    figure = plots.label_curves(curves, "noise")
    figure.canvas.draw()
    first = figure.axes[0].lines[0]
    np.testing.assert_array_equal(first.get_xdata(), [50, 400])
    np.testing.assert_array_equal(first.get_ydata(), [0.2, 0.4])
    assert "features: 50 labels 0.500 (0.400 to 0.600)" in figure.alt_text


def test_the_map_of_a_covered_picture_says_which_place_matters():
    changes = np.zeros((4, 4))
    changes[2, 1], changes[0, 3] = -0.4, 0.1
    probabilities = np.array([0.1, 0.7, 0.2])
    image = np.full((16, 16, 3), 90, np.uint8)
    figure = plots.occlusion_map(image, probabilities, changes, ("round", "barred", "merging"), "noise, not galaxies")
    picture, cells, bars = figure.axes
    np.testing.assert_array_equal(picture.images[0].get_array(), image)
    colours = cells.images[1].get_array()
    assert colours.shape == (4, 4, 4) and colours[2, 1, 3] == colours[..., 3].max() and colours[1, 1, 3] == 0
    assert tuple(colours[2, 1, :3]) == matplotlib.colors.to_rgb(plots.LOWER)
    assert tuple(colours[0, 3, :3]) == matplotlib.colors.to_rgb(plots.HIGHER)
    assert [bar.get_width() for bar in bars.patches] == list(probabilities)
    assert "row 3 and column 2 of 4 × 4" in figure.alt_text and "barred 0.70" in figure.alt_text
    assert "-0.40" in figure.alt_text and "+0.10" in figure.alt_text


def test_long_names_and_labels_of_differences_stay_in_the_figure():
    names = (
        "without free rotation (flips and quarter turns stay)",
        "without the crop (whole cut-outs, as many pixels)",
    )
    figure = plots.paired_differences(dict.fromkeys(names, (-0.05, -0.31, 0.02)), "gain over the whole recipe", "real")
    figure.savefig(io.BytesIO())  # the layout is computed when the figure is drawn
    (axes,) = figure.axes
    for text in (axes.xaxis.label, *axes.get_yticklabels()):
        box = text.get_window_extent()
        assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1, text.get_text()
