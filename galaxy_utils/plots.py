"""Every figure of the book, in one look: charts on warm paper, galaxies on dark sky.

A chapter plots into the axes that `figure` gives it, or into its own, and hands the figure to `show` with an
alternative text: what it shows in words, with the numbers. Each other function returns a Matplotlib `Figure` that no
global state knows about, with that text as its attribute `alt_text`.

Figures are 7 inches wide and written in 12 points, so that they stay legible when a phone shrinks them, and have a
solid background, so that they look the same on a light and on a dark page.
"""

import base64
import io
import textwrap
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from galaxy_utils import renamed
from galaxy_utils.classes import CLASS_COLOURS, CLASS_MARKERS, CLASS_NAMES, SHORT_CLASS_NAMES

WIDTH = 7.0  # inches
PAPER, INK, FAINT = "#FBF9F4", "#22252B", "#6B6F76"
SKY, STARLIGHT = "#0D1017", "#F1EFE9"
SERIES_COLOURS = ("#4477AA", "#BB5566", "#228833", "#AA7700", "#66308A", "#555555")

# All of Matplotlib's own settings but those that choose windows: a user's `matplotlibrc` changes no figure here.
_NOT_STYLE = ("backend", "interactive", "toolbar", "timezone", "date.epoch", "tk.", "savefig.directory")
_DEFAULTS = {name: value for name, value in matplotlib.rcParamsDefault.items() if not name.startswith(_NOT_STYLE)}
_BASE_STYLE = _DEFAULTS | matplotlib.rc_params_from_file(
    Path(__file__).with_name("book.mplstyle"), use_default_template=False
)


def _colours(background, foreground):
    edges = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color", "axes.titlecolor")
    return {"figure.facecolor": background, "axes.facecolor": background} | dict.fromkeys(edges, foreground)


# Nor axes that a chapter draws into itself. What was set by a program since Matplotlib was loaded is left alone.
_file, _now = matplotlib.rcParamsOrig, matplotlib.rcParams
if _users := {name: value for name, value in _DEFAULTS.items() if value != _file[name] == _now[name]}:
    print(f"Figures look as in the book, without what {matplotlib.matplotlib_fname()} says of {', '.join(_users)}.")
    _now.update(_users)

CHART_STYLE = _BASE_STYLE | _colours(PAPER, INK)
SKY_STYLE = _BASE_STYLE | _colours(SKY, STARLIGHT) | {"axes.spines.left": False, "axes.spines.bottom": False}


def figure(rows=1, columns=1, height=3.0, style=CHART_STYLE, **options):
    """Return a figure of the book's width and look, and its axes, to plot into with Matplotlib or seaborn.

    Args:
        rows: Rows of axes.
        columns: Columns of axes.
        height: Inches.
        style: `CHART_STYLE`, warm paper, or `SKY_STYLE`, dark sky.
        **options: What `Figure.subplots` takes, such as `sharex=True` or `width_ratios=[2, 1]`.

    Returns:
        A `Figure` and one axes, or an array of them.

    Example:
        >>> curve, axes = figure(height=2.5)
        >>> lines = axes.plot([0.4, 0.5, 0.6])
    """
    with matplotlib.rc_context(style):
        made = Figure(figsize=(WIDTH, height))
        return made, made.subplots(rows, columns, **options)


def show(figure, caption="", alt=None):
    """Display a figure in a notebook, with its alternative text and caption in the output's metadata.

    Args:
        figure: Any Matplotlib figure. One of `pyplot` is closed, so that the notebook does not show it a second time.
        caption: One or two sentences printed below the figure in the book.
        alt: The alternative text: what the figure shows, in words, for readers who do not see it. Without it the
            figure's attribute `alt_text` is taken, which the figures of this module have.

    Raises:
        ValueError: If the figure has no alternative text.

    Example:
        >>> curve, axes = figure(height=2.5)
        >>> lines = axes.plot([0.4, 0.5, 0.6])
        >>> show(curve, "Accuracy.", alt="Accuracy by epoch: 0.4, 0.5, 0.6.")  # doctest: +SKIP
    """
    from IPython.display import display
    from matplotlib import pyplot

    alt = " ".join((alt or getattr(figure, "alt_text", None) or "").split())
    if not alt:
        raise ValueError("The figure has no alternative text: give show alt=, what it shows, in words and numbers.")
    image = io.BytesIO()
    with matplotlib.rc_context(_DEFAULTS):
        figure.savefig(image, format="png", dpi=130)
    pyplot.close(figure)
    content = {"image/png": base64.b64encode(image.getvalue()).decode("ascii"), "text/plain": alt}
    display(content, raw=True, metadata={"image/png": {"alt": alt, "caption": caption}})


def show_table(table, caption="", decimals=2):
    """Display a DataFrame in a notebook, its numbers rounded, with a caption; on a phone the table scrolls.

    Args:
        table: A `pandas.DataFrame`; units belong into the names of its columns. A missing number is shown as a dash.
        caption: One sentence above the table.
        decimals: Decimals of the numbers that are no integers; or `{column: decimals}` for those that differ from two.

    Example:
        >>> import pandas
        >>> show_table(pandas.DataFrame({"accuracy [%]": [71.345]}, index=["test"]), decimals=1)  # doctest: +SKIP
    """
    from html import escape

    from IPython.display import display

    if not isinstance(decimals, dict):
        decimals = dict.fromkeys(table.columns, decimals)
    floats = table.select_dtypes("floating").columns
    forms = {name: f"{{:,.{decimals.get(name, 2)}f}}".format for name in floats}
    forms |= {name: "{:,}".format for name in table.select_dtypes("integer").columns}
    options = {"formatters": forms, "na_rep": "–"}
    # The keyboard must reach what scrolls.
    html = f"""<div style="overflow-x: auto" role="region" aria-label="{escape(caption or "Table", quote=True)}"
        tabindex="0"><p>{escape(caption)}</p>{table.to_html(border=0, **options)}</div>"""
    display({"text/html": html, "text/plain": f"{caption}\n{table.to_string(**options)}".strip()}, raw=True)


def _finish(figure, alt_text, provenance=None):
    """Give a figure its alternative text and, in a corner, the line that says where its data are from."""
    figure.alt_text = " ".join(alt_text.split())
    if provenance:
        # A label of the figure, not a free text: the layout then keeps room for it.
        figure.supxlabel(provenance, x=0.99, ha="right", fontsize=9, style="italic").set_alpha(0.75)
    return figure


@matplotlib.rc_context(CHART_STYLE)
def diagram(boxes, arrows, alt_text, height=0.9):
    """Draw boxes on a grid with arrows between them: a network, or a flow of data.

    Args:
        boxes: `{name: (column, row, text, kind)}`. Columns and rows count from 0 at the upper left and may be
            fractions; `text` may have several lines, of about 14 characters in a diagram of five columns. `kind` sets
            the colour: `"data"`, `"layer"`, `"trained"`, `"frozen"` or `"loss"`.
        arrows: `(from, to)` or `(from, to, label)`, names of boxes.
        alt_text: What the diagram shows, in words.
        height: Inches for each row.

    Returns:
        A `Figure`.

    Example:
        >>> figure = diagram({"x": (0, 0, "image", "data"), "y": (1, 0, "Conv2D", "layer")}, [("x", "y")], "…")
    """
    colours = {"data": PAPER, "layer": "#DCE6F2", "trained": "#D5EBD8", "frozen": "#E4E4E2", "loss": "#F6DADA"}
    columns = 1 + max(column for column, *_ in boxes.values())
    rows = 1 + max(row for _, row, *_ in boxes.values())
    figure = Figure(figsize=(WIDTH, height * rows + 0.1))
    axes = figure.add_subplot(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))
    axes.axis("off")
    drawn = {}
    for name, (column, row, text, kind) in boxes.items():
        style = {"boxstyle": "round,pad=0.35", "facecolor": colours[kind], "edgecolor": FAINT}
        drawn[name] = axes.text(column, row, text, ha="center", va="center", bbox=style, fontsize=10.5, zorder=3)
    figure.canvas.draw()  # The sizes of the boxes, at which arrows begin and end, are known from here on.
    for start, end, *label in arrows:
        patches = {"patchA": drawn[start].get_bbox_patch(), "patchB": drawn[end].get_bbox_patch()}
        arrow = {"arrowstyle": "-|>", "color": FAINT, "shrinkA": 1, "shrinkB": 1, "linewidth": 1.5} | patches
        (x_1, y_1), (x_2, y_2) = boxes[start][:2], boxes[end][:2]
        axes.annotate("", (x_2, y_2), (x_1, y_1), arrowprops=arrow)
        if label:
            axes.text((x_1 + x_2) / 2, (y_1 + y_2) / 2, label[0], ha="center", va="bottom", fontsize=10, zorder=4)
    return _finish(figure, alt_text)


def look_of_classes(class_names):
    """Return short names, colours and markers; names that are not Galaxy10's get hues of their own, evenly spaced.

    Example:
        >>> names, colours, markers = look_of_classes(("lens", "no lens"))
        >>> names
        ('lens', 'no lens')
    """
    if tuple(class_names) == CLASS_NAMES:
        return SHORT_CLASS_NAMES, CLASS_COLOURS, CLASS_MARKERS
    hues = matplotlib.colormaps["viridis"](np.linspace(0, 0.9, len(class_names)))
    colours = map(matplotlib.colors.to_hex, hues)
    markers = [CLASS_MARKERS[label % len(CLASS_MARKERS)] for label in range(len(class_names))]
    return tuple(class_names), tuple(colours), tuple(markers)


def _show_image(axes, image):
    axes.imshow(image, interpolation="nearest" if image.shape[0] < 100 else "antialiased")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


# --- Galaxies on dark sky ---------------------------------------------------------------------------------------------


@matplotlib.rc_context(SKY_STYLE)
def image_grid(images, titles, columns=4, provenance=None):
    """Draw images side by side, each under its own title.

    Args:
        images: Sequence of uint8 RGB images; they may differ in size.
        titles: One title per image; long ones are wrapped.
        columns: Images in a row.
        provenance: Line for the corner, usually `dataset.provenance`.

    Example:
        >>> image_grid(images, ["a", "b", "c", "d", "e"]).alt_text
        '5 galaxy images: a; b; c; d; e.'
    """
    rows = -(-len(images) // columns)
    characters = int(72 / columns)
    titles = ["\n".join(textwrap.fill(line, characters) for line in title.splitlines()) for title in titles]
    most_lines = max(title.count("\n") + 1 for title in titles)
    figure = Figure(figsize=(WIDTH, rows * (WIDTH / columns + 0.21 * most_lines) + 0.4))
    for position, (image, title) in enumerate(zip(images, titles, strict=True)):
        axes = figure.add_subplot(rows, columns, position + 1)
        _show_image(axes, image)
        axes.set_title(title, fontsize=11)
    spoken = "; ".join(title.replace("\n", " ") for title in titles)
    return _finish(figure, f"{len(images)} galaxy images: {spoken}.", provenance)


@matplotlib.rc_context(CHART_STYLE)
def accuracy_intervals(evaluations, published=None, provenance=None):
    """Draw accuracies with their 95 % intervals and, apart from them, published ones.

    Args:
        evaluations: Dictionary from a name to an `Evaluation`.
        published: Dictionary from a name to a published accuracy. They get hollow marks below a line, because they
            belong to other images or another split.
        provenance: Line for the corner, usually `dataset.provenance`.

    Example:
        >>> scores = gu.evaluate(np.eye(10)[[0, 1, 1, 0]], [0, 1, 0, 0], gu.CLASS_NAMES)
        >>> accuracy_intervals({"my CNN": scores}).alt_text
        'Accuracies with 95 % intervals: my CNN 0.750 (0.250 to 1.000).'
    """
    published = published or {}
    intervals = {name: (one.accuracy, *one.intervals["accuracy"]) for name, one in evaluations.items()}
    figure, axes, spoken = _intervals(intervals, [*evaluations, *published], ".3f")
    for position, (accuracy, *_) in enumerate(intervals.values()):
        axes.text(1.0, position, f"{accuracy:.3f}", ha="right", va="center", fontsize=11)
    for position, accuracy in enumerate(published.values(), start=len(evaluations)):
        axes.plot(accuracy, position, "D", color=INK, markerfacecolor=PAPER, markersize=9)
        axes.text(1.0, position, f"{accuracy:.3f}", ha="right", va="center", fontsize=11, style="italic")
    if published:
        axes.axhline(len(evaluations) - 0.5, color=FAINT, linewidth=1)
    num_classes = len(next(iter(evaluations.values())).class_names)
    axes.axvline(1 / num_classes, color=FAINT, linestyle=":", linewidth=1.5)
    axes.set(xlim=(0, 1.0), xlabel=f"accuracy (dotted: one in {num_classes})")
    alt_text = f"Accuracies with 95 % intervals: {spoken}."
    if published:
        others = ", ".join(f"{name} {accuracy:.3f}" for name, accuracy in published.items())
        alt_text += f" Not measured here: {others}."
    return _finish(figure, alt_text, provenance)


@matplotlib.rc_context(SKY_STYLE)
def image_rows(rows, column_titles=None, provenance=None, alt_text=None):
    """Draw rows of images that belong together: originals over reconstructions, steps of a walk, neighbours.

    Args:
        rows: Dictionary from a row's name to its uint8 RGB images; all rows have the same number.
        column_titles: One title per column, or `None`.
        provenance: Line for the corner, usually `dataset.provenance`.
        alt_text: What the figure shows; by default the names of the rows and columns.

    Example:
        >>> image_rows({"real": images, "mirrored": images[:, ::-1]}).alt_text
        '2 rows of 5 images: real, mirrored.'
    """
    columns = len(next(iter(rows.values())))
    column_titles = column_titles or [""] * columns
    width = (WIDTH - 1.2) / columns - 0.1
    lines = max(title.count("\n") + 1 if title else 0 for title in column_titles)
    figure = Figure(figsize=(WIDTH, len(rows) * (width + 0.08) + 0.2 * lines + 0.45))
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for line, (name, images) in zip(axes, rows.items(), strict=True):
        for panel, image in zip(line, images, strict=True):
            _show_image(panel, image)
        line[0].set_ylabel(textwrap.fill(name, 12), rotation=0, ha="right", va="center", fontsize=11, color=STARLIGHT)
    for panel, title in zip(axes[0], column_titles, strict=True):
        panel.set_title(title, fontsize=10)
    titled = f", columns: {', '.join(title.replace(chr(10), ' ') for title in column_titles)}" if lines else ""
    default = f"{len(rows)} rows of {columns} images: {', '.join(rows)}{titled}."
    return _finish(figure, alt_text or default, provenance)


@matplotlib.rc_context(CHART_STYLE)
def paired_differences(differences, label, provenance=None):
    """Draw differences with their 95 % intervals around a line at zero.

    Args:
        differences: Dictionary from a name to `(difference, low, high)`.
        label: What is subtracted from what.
        provenance: Line for the corner, usually `dataset.provenance`.

    Example:
        >>> paired_differences({"with dropout": (0.02, 0.01, 0.03)}, "difference in accuracy").alt_text[-33:]
        'with dropout +2.0 (+1.0 to +3.0).'
    """
    points = {name: tuple(100 * number for number in triple) for name, triple in differences.items()}
    figure, axes, spoken = _intervals(points, [*points], "+.1f")
    axes.axvline(0, color=INK, linewidth=1.5)
    largest = 1.15 * max(2, *(abs(end) for triple in points.values() for end in triple))
    axes.set(xlim=(-largest, largest))
    # Names take half of the width: centred below the axis, a long label would run out of the figure.
    axes.set_xlabel(f"{label} [percentage points]", x=1, ha="right")
    return _finish(figure, f"{label}, in percentage points, with 95 % intervals: {spoken}.", provenance)


def _intervals(triples, names, form):
    """Draw `{name: (value, low, high)}` row by row, grey where the interval holds zero; say the same in words."""
    figure = Figure(figsize=(WIDTH, 0.5 * len(names) + 1.3))
    axes = figure.add_subplot(yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.4, -0.6))
    for position, (value, low, high) in enumerate(triples.values()):
        colour = SERIES_COLOURS[5] if low <= 0 <= high else SERIES_COLOURS[0]
        axes.hlines(position, low, high, color=colour, linewidth=5, alpha=0.45)
        axes.plot(value, position, "o", color=colour, markersize=9)
    spoken = [f"{name} {value:{form}} ({low:{form}} to {high:{form}})" for name, (value, low, high) in triples.items()]
    return figure, axes, "; ".join(spoken)


__getattr__ = renamed.forwarding(__name__)
