"""Every figure of the book, in one look: charts on warm paper, galaxies on dark sky.

A chapter plots into the axes that `figure` gives it, or into its own, and hands the figure to `show` with an
alternative text: what it shows in words, with the numbers. Each other function returns a Matplotlib `Figure` that no
global state knows about, with that text as its attribute `alt_text`.

Figures are 7 inches wide and written in 12 points, so that they stay legible when a phone shrinks them, and have a
solid background, so that they look the same on a light and on a dark page.
"""

import base64
import functools
import io
import re
import textwrap

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from galaxy_utils.classes import CLASS_COLOURS, CLASS_MARKERS, CLASS_NAMES, CLASSES, SHORT_CLASS_NAMES
from galaxy_utils.data.split import conflicting_rows
from galaxy_utils.wording import counted

WIDTH = 7.0  # inches
PAPER, INK, FAINT = "#FBF9F4", "#22252B", "#6B6F76"
SKY, STARLIGHT = "#0D1017", "#F1EFE9"
PART_COLOURS = {"train": "#4477AA", "validation": "#EEBB44", "test": "#BB5566"}  # Paul Tol's "high contrast" hues
LOWER, HIGHER = "#EE7733", "#33BBEE"  # Paul Tol's "vibrant" hues: what a change does to a probability
SERIES_COLOURS = ("#4477AA", "#BB5566", "#228833", "#AA7700", "#66308A", "#555555")

_BASE_STYLE = {
    "font.size": 12,
    "axes.titlesize": 12,
    "axes.labelsize": 12,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "legend.fontsize": 11,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.h_pad": 0.08,
    "figure.constrained_layout.w_pad": 0.08,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "lines.linewidth": 2.2,
    "savefig.facecolor": "auto",
}


def _colours(background, foreground):
    edges = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color", "axes.titlecolor")
    return {"figure.facecolor": background, "axes.facecolor": background} | dict.fromkeys(edges, foreground)


CHART_STYLE = _BASE_STYLE | _colours(PAPER, INK)
SKY_STYLE = _BASE_STYLE | _colours(SKY, STARLIGHT) | {"axes.spines.left": False, "axes.spines.bottom": False}


def _styled(style):
    """Decorate a function so that everything it draws has `style`, and nothing outside it has."""

    def decorate(function):
        @functools.wraps(function)
        def draw(*arguments, **options):
            with matplotlib.rc_context(style):
                return function(*arguments, **options)

        return draw

    return decorate


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
        raise ValueError(
            "The figure has no alternative text. Hand it to show as third argument: one or two sentences that say what "
            "the figure shows, with its numbers."
        )
    image = io.BytesIO()
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


def show_warning(title, text):
    """Display a banner in a notebook.

    Args:
        title: What to be warned of.
        text: What follows from it.
    """
    from html import escape

    from IPython.display import display

    # Colours of its own: themes give HTML output a background of their choice, in dark mode a light one.
    style = f"background: {PAPER}; color: {INK}; border-left: 0.3rem solid #BB5566; padding: 0.6rem 1rem"
    box = f'<div role="note" style="{style}"><strong>{escape(title)}</strong><br>{escape(text)}</div>'
    display({"text/html": box, "text/plain": f"WARNING. {title}. {text}"}, raw=True)


def _finish(figure, alt_text, provenance=None):
    """Give a figure its alternative text and, in a corner, the line that says where its data are from."""
    figure.alt_text = " ".join(alt_text.split())
    if provenance:
        # A label of the figure, not a free text: the layout then keeps room for it.
        label = figure.supxlabel(provenance, x=0.99, ha="right", fontsize=9, style="italic")
        label.set_alpha(0.75)
    return figure


@_styled(CHART_STYLE)
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
    """Return short names, colours and markers; names that are not Galaxy10's get hues of their own, evenly spaced."""
    if tuple(class_names) == CLASS_NAMES:
        return SHORT_CLASS_NAMES, CLASS_COLOURS, CLASS_MARKERS
    colours = [
        matplotlib.colors.to_hex(c) for c in matplotlib.colormaps["viridis"](np.linspace(0, 0.9, len(class_names)))
    ]
    markers = [CLASS_MARKERS[label % len(CLASS_MARKERS)] for label in range(len(class_names))]
    return tuple(class_names), tuple(colours), tuple(markers)


def _spoken(names, values, form="{:,}"):
    """Return "name value, name value" for alternative texts."""
    return ", ".join(f"{name} {form.format(value)}" for name, value in zip(names, values, strict=True))


def _central(image, crop_fraction):
    """Return the central share of an image."""
    side = max(1, round(image.shape[0] * crop_fraction))
    start = (image.shape[0] - side) // 2
    return image[start : start + side, start : start + side]


def _show_image(axes, image):
    axes.imshow(image, interpolation="nearest" if image.shape[0] < 100 else "antialiased")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def _scale_bar(axes, image, pixel_scale, arcseconds=10):
    """Draw a bar of so many arcseconds into the lower left corner of an image."""
    if pixel_scale is None or not np.isfinite(pixel_scale):
        return
    side, length = image.shape[0], arcseconds / pixel_scale
    axes.plot([0.06 * side, 0.06 * side + length], [0.91 * side] * 2, color=STARLIGHT, linewidth=2)
    axes.text(0.06 * side, 0.87 * side, f"{arcseconds}″", color=STARLIGHT, fontsize=9)


# --- Galaxies on dark sky ---------------------------------------------------------------------------------------------


@_styled(SKY_STYLE)
def image_grid(images, titles, columns=4, provenance=None, alt_text=None, pixel_scales=None):
    """Draw images side by side, each under its own title.

    Args:
        images: Sequence of uint8 RGB images; they may differ in size.
        titles: One title per image; long ones are wrapped.
        columns: Images in a row.
        provenance: Line for the corner, usually `dataset.provenance`.
        alt_text: What the figure shows; by default the titles.
        pixel_scales: Arcseconds per pixel of each image, for a scale bar; `None` draws none.
    """
    rows = -(-len(images) // columns)
    characters = int(72 / columns)
    titles = [
        "\n".join(part for line in title.splitlines() for part in textwrap.wrap(line, characters)) for title in titles
    ]
    most_lines = max(title.count("\n") + 1 for title in titles)
    figure = Figure(figsize=(WIDTH, rows * (WIDTH / columns + 0.19 * most_lines) + 0.35))
    for position, (image, title) in enumerate(zip(images, titles, strict=True)):
        axes = figure.add_subplot(rows, columns, position + 1)
        _show_image(axes, image)
        axes.set_title(title, fontsize=11)
        if pixel_scales is not None:
            _scale_bar(axes, image, pixel_scales[position])
    spoken = "; ".join(title.replace("\n", " ") for title in titles)
    return _finish(figure, alt_text or f"{len(images)} galaxy images: {spoken}.", provenance)


@_styled(SKY_STYLE)
def class_gallery(dataset, images_per_class=4, crop_fraction=0.6, seed=1):
    """Draw a few galaxies of every class, one row a class.

    Args:
        dataset: A `GalaxyDataset`.
        images_per_class: Images in each row, drawn at random among galaxies that have one label.
        crop_fraction: Central share of the cut-out's side that is shown: most of a cut-out is empty sky.
        seed: Draws the examples.
    """
    names, colours, _ = look_of_classes(dataset.class_names)
    present = np.flatnonzero(dataset.class_counts)
    twins = conflicting_rows(dataset)  # the same galaxy under two classes would look like a mistake of the figure
    generator = np.random.default_rng(seed)
    row_height = WIDTH / images_per_class
    figure = Figure(figsize=(WIDTH, len(present) * (row_height + 0.12) + 0.3))
    for row, subfigure in zip(present, np.atleast_1d(figure.subfigures(len(present), 1)), strict=True):
        subfigure.suptitle(
            f"{names[row]}  ·  {dataset.class_counts[row]:,}", x=0.012, ha="left", fontsize=13, fontweight="bold"
        )
        members = np.flatnonzero((dataset.labels == row) & ~twins)
        members = members if len(members) else np.flatnonzero(dataset.labels == row)
        chosen = generator.choice(members, min(images_per_class, len(members)), replace=False)
        for position, galaxy in enumerate(chosen):
            axes = subfigure.add_subplot(1, images_per_class, position + 1)
            image = _central(dataset.images[int(galaxy)], crop_fraction)
            _show_image(axes, image)
            axes.spines[:].set_visible(True)
            axes.spines[:].set(color=colours[row], linewidth=3)
            if position == 0 and dataset.pixel_scale is not None:
                _scale_bar(axes, image, dataset.pixel_scale[galaxy])
    alt_text = (
        f"{images_per_class} random galaxies of each of {len(present)} classes, the central {crop_fraction:.0%} of "
        f"each cut-out. Galaxies in each class: {_spoken([names[c] for c in present], dataset.class_counts[present])}."
    )
    return _finish(figure, alt_text, dataset.provenance)


@_styled(SKY_STYLE)
def twin_pairs(dataset, pairs):
    """Draw pairs of rows that are one galaxy entered twice, side by side under their two labels.

    Args:
        dataset: A `GalaxyDataset`.
        pairs: Row indices, shape (number of pairs, 2).
    """
    names, _, _ = look_of_classes(dataset.class_names)
    spoken = []
    # Two pairs stand in one row of four images; a gap between the second and the third tells the pairs apart.
    single, rows = len(pairs) == 1, -(-len(pairs) // 2)
    figure = Figure(figsize=(WIDTH, rows * (3.95 if single else 2.15) + 0.45))
    grid = figure.add_gridspec(rows, 2 if single else 5, width_ratios=[1, 1] if single else [1, 1, 0.12, 1, 1])
    for number, pair in enumerate(pairs):
        labels = [names[dataset.labels[row]] for row in pair]
        spoken.append(" and ".join(labels))
        for side, (row, label) in enumerate(zip(pair, labels, strict=True)):
            axes = figure.add_subplot(grid[number // 2, side + 3 * (number % 2)])
            _show_image(axes, _central(dataset.images[int(row)], 0.6))
            axes.set_title(f"{label}\nrow {row:,}", fontsize=11)
    alt_text = f"{len(pairs)} galaxies that stand in the data twice, with the same picture under two labels: "
    return _finish(figure, alt_text + "; ".join(spoken) + ".", dataset.provenance)


@_styled(SKY_STYLE)
def colour_channels(dataset, row):
    """Draw a galaxy (the central 60 %) in colour and by channel: red is the z band, green the r, blue the g band."""
    names, _, _ = look_of_classes(dataset.class_names)
    image = _central(dataset.images[int(row)], 0.6)
    figure = Figure(figsize=(WIDTH, 2.4))
    panels = [(image, "colour"), *((image[..., c], title) for c, title in enumerate(("z band", "r band", "g band")))]
    for position, (panel, title) in enumerate(panels):
        axes = figure.add_subplot(1, 4, position + 1)
        axes.imshow(panel, cmap="gray", vmin=0, vmax=255)
        axes.set(xticks=[], yticks=[], title=title)
        axes.spines[:].set_visible(False)
    centre = _central(dataset.images[int(row)], 0.1).mean(axis=(0, 1))
    alt_text = (
        f"A galaxy of class {names[dataset.labels[row]]} in colour and in three bands. Mean brightness of its central "
        f"tenth, 0 to 255: {_spoken(('z', 'r', 'g'), centre, '{:.0f}')}."
    )
    return _finish(figure, alt_text, dataset.provenance)


@_styled(SKY_STYLE)
def vote_cards(dataset, rows):
    """Draw galaxies beside the vote fractions that the volunteers gave them.

    Args:
        dataset: A `GalaxyDataset` with `vote_fractions`.
        rows: Row indices of the galaxies.
    """
    names, colours, _ = look_of_classes(dataset.class_names)
    figure = Figure(figsize=(WIDTH, 2.7 * len(rows) + 0.3))
    spoken = []
    for position, row in enumerate(rows):
        votes = dataset.vote_fractions[row]
        axes = figure.add_subplot(len(rows), 2, 2 * position + 1)
        _show_image(axes, _central(dataset.images[int(row)], 0.6))
        axes.set_title(f"label: {names[dataset.labels[row]]}", fontsize=12)
        bars = figure.add_subplot(len(rows), 2, 2 * position + 2)
        bars.barh(names, votes, color=colours, edgecolor=STARLIGHT, linewidth=0.6)
        bars.invert_yaxis()
        bars.set(xlim=(0, 1), xlabel="vote fraction" if position == len(rows) - 1 else "")
        bars.tick_params(axis="y", labelsize=9)
        chosen = np.argsort(votes)[::-1][:2]
        leading = _spoken([names[c] for c in chosen], votes[chosen], "{:.2f}")
        spoken.append(f"labelled {names[dataset.labels[row]]}, votes {leading}")
    alt_text = f"{len(rows)} galaxies with their vote fractions, the two largest of each: {'; '.join(spoken)}."
    return _finish(figure, alt_text, dataset.provenance)


# --- Chapter 1: the data ----------------------------------------------------------------------------------------------


@_styled(CHART_STYLE)
def class_counts(dataset):
    """Draw how many galaxies each class has, with the official file's shares as outlines."""
    names, colours, _ = look_of_classes(dataset.class_names)
    counts = dataset.class_counts
    figure = Figure(figsize=(WIDTH, 0.42 * len(names) + 1.2))
    axes = figure.add_subplot()
    axes.barh(names, counts, color=colours)
    longest = max(counts.max(), 1)
    if tuple(dataset.class_names) == CLASS_NAMES:
        official = np.array([galaxy_class.count for galaxy_class in CLASSES])
        expected = official / official.sum() * counts.sum()
        longest = max(longest, expected.max())
        axes.scatter(
            expected, names, marker="|", s=260, color=INK, linewidth=2, label="with the official file's shares"
        )
        figure.legend(*axes.get_legend_handles_labels(), loc="outside upper right")
    for position, count in enumerate(counts):
        axes.text(1.14 * longest, position, f"{count:,}", va="center", ha="right", fontsize=11)
    axes.invert_yaxis()
    axes.set(xlabel="galaxies", xlim=(0, 1.15 * longest))
    alt_text = f"Bar chart of {counts.sum():,} galaxies: {_spoken(names, counts)}."
    return _finish(figure, alt_text, dataset.provenance)


@_styled(CHART_STYLE)
def sky_map(dataset, border=32.375):
    """Draw where on the sky the galaxies are, on an equal-area (Mollweide) map with right ascension growing leftwards.

    Args:
        dataset: A `GalaxyDataset`; rows without coordinates are left out.
        border: Declination in degrees that parts the two telescopes (Galaxy10 DECaLS: BASS and MzLS north of it).
    """
    known = np.isfinite(dataset.ra) & np.isfinite(dataset.dec)
    ra, dec = dataset.ra[known], dataset.dec[known]
    north = dec > border
    figure = Figure(figsize=(WIDTH, 4.3))
    axes = figure.add_subplot(projection="mollweide")
    for part, colour, marker, label in (
        (~north, "#BB5566", "o", f"south of {border}°: {np.sum(~north):,}"),
        (north, "#4477AA", "^", f"north of {border}°: {north.sum():,}"),
    ):
        size = np.clip(2500 / max(len(ra), 1), 1.2, 14)
        axes.scatter(
            _map_longitude(ra[part]), np.radians(dec[part]), s=size, c=colour, marker=marker, linewidth=0, label=label
        )
    longitude = np.linspace(0, 360, 721)
    # Galactic latitude 0: tan(dec) = -cos(ra - 192.86°) / tan(27.13°), with the north galactic pole at J2000.
    plane = np.arctan(-np.cos(np.radians(longitude - 192.86)) / np.tan(np.radians(27.13)))
    order = np.argsort(_map_longitude(longitude))
    axes.plot(_map_longitude(longitude)[order], plane[order], color=FAINT, linewidth=6, alpha=0.35, label="Milky Way")
    ticks = np.arange(0, 360, 60)
    axes.set_xticks(
        np.sort(_map_longitude(ticks)),
        [f"{t}°" for t in ticks[np.argsort(_map_longitude(ticks))]],
        fontsize=9,
        bbox={"facecolor": PAPER, "edgecolor": "none", "alpha": 0.85, "pad": 0.8},
    )
    axes.tick_params(axis="y", labelsize=9)
    axes.grid(alpha=0.35)
    legend = figure.legend(loc="outside upper center", ncols=3, fontsize=10, handletextpad=0.5, columnspacing=1)
    for mark in legend.legend_handles[:2]:
        mark.set_sizes([36])
    alt_text = f"""Map of the sky with {known.sum():,} galaxies: {north.sum():,} north and {np.sum(~north):,} south of
        declination {border} degrees; declinations from {dec.min():.0f} to {dec.max():.0f} degrees."""
    return _finish(figure, alt_text, dataset.provenance)


def _map_longitude(ra):
    """Turn right ascension in degrees into map longitude in radians: 120° in the middle, growing to the left."""
    return -np.radians((np.asarray(ra) - 120 + 180) % 360 - 180)


# The questions of the Galaxy Zoo DECaLS tree (Walmsley et al. 2022, figure 1) that lead to the ten classes, with their
# place on the page: (column, row, question), then (from, to, answer). Rows 0 to 9 are the leaves, top to bottom.
_QUESTIONS = {
    "smooth": (0.0, 3.0, "Smooth, or\nfeatures?"),
    "round": (1.75, 1.0, "How\nround?"),
    "edge": (1.75, 5.0, "Seen\nedge-on?"),
    "bulge": (3.0, 3.5, "Bulge\nshape?"),
    "bar": (3.0, 6.0, "A bar?"),
    "arms": (4.1, 6.5, "Arms?"),
    "merging": (0.0, 8.5, "Merging or\ndisturbed?"),
}
_LEAVES = (2, 3, 4, 8, 9, 5, 6, 7, 1, 0)  # class labels
_ANSWERS = (
    *(("smooth", "round", "smooth"), ("smooth", "edge", "features"), ("edge", "bulge", "yes"), ("edge", "bar", "no")),
    *(("round", 2, ""), ("round", 3, ""), ("round", 4, ""), ("bulge", 8, ""), ("bulge", 9, ""), ("bar", 5, "yes")),
    *(("bar", "arms", "no"), ("arms", 6, "tight"), ("arms", 7, "loose"), ("merging", 1, ""), ("merging", 0, "")),
)


@_styled(CHART_STYLE)
def decision_tree():
    """Draw the volunteers' questions that lead to the ten classes, simplified from the Galaxy Zoo DECaLS tree."""
    figure = Figure(figsize=(WIDTH, 5.6))
    axes = figure.add_subplot()
    places = {name: place[:2] for name, place in _QUESTIONS.items()}
    places |= {label: (5.1, row) for row, label in enumerate(_LEAVES)}
    for start, end, answer in _ANSWERS:
        (x_start, y_start), (x_end, y_end) = places[start], places[end]
        turn = x_start + (0.62 if x_start == 0 else 0.48)
        axes.plot([x_start, turn, turn, x_end], [y_start, y_start, y_end, y_end], color=FAINT, linewidth=1.3, zorder=1)
        axes.text(turn + 0.03, y_end - 0.06, answer, fontsize=10, style="italic", va="bottom")
    for x, y, question in _QUESTIONS.values():
        box = {"boxstyle": "round,pad=0.35", "facecolor": "white", "edgecolor": INK}
        axes.text(x, y, question, ha="center", va="center", fontsize=10, bbox=box, zorder=2)
    for label in _LEAVES:
        x, y = places[label]
        axes.scatter(x, y, s=110, color=CLASS_COLOURS[label], marker=CLASS_MARKERS[label], zorder=2)
        axes.text(x + 0.15, y, SHORT_CLASS_NAMES[label], fontsize=11, va="center")
    axes.set(xlim=(-0.6, 6.75), ylim=(9.5, -0.5))
    axes.set_axis_off()
    return _finish(
        figure,
        """Tree of questions. Of a smooth galaxy it is asked how rounded it is: round, in-between or cigar shaped. Of a
        galaxy with features or a disc, whether it is seen edge-on; if so, the shape of the bulge parts edge-on with
        from edge-on without bulge; if not, a bar makes a barred spiral, and without a bar the arms are tight or loose.
        A last question, asked of all, parts merging and disturbed galaxies from the rest.""",
    )


@_styled(CHART_STYLE)
def values_by_class(dataset, values, label, rows=None):
    """Draw the spread of a number per galaxy in each class: a mark at the median, a bar between the
    quartiles, a line from the 5th to the 95th percentile.

    Args:
        dataset: A `GalaxyDataset`.
        values: One number per row in `rows`.
        label: What the numbers are, with their unit.
        rows: Rows of the dataset that the values belong to; all by default.
    """
    names, colours, markers = look_of_classes(dataset.class_names)
    labels = dataset.labels if rows is None else dataset.labels[rows]
    values = np.asarray(values)
    present = np.unique(labels)
    shown = [names[c] for c in present]
    figure = Figure(figsize=(WIDTH, 0.42 * len(present) + 1.3))
    axes = figure.add_subplot()
    for position, c in enumerate(present):
        lowest, quarter, median, three_quarters, highest = np.percentile(values[labels == c], [5, 25, 50, 75, 95])
        axes.hlines(position, lowest, highest, color=colours[c], linewidth=1.8)
        axes.hlines(position, quarter, three_quarters, color=colours[c], linewidth=9)
        axes.plot(median, position, markers[c], color=PAPER, markeredgecolor=INK, markersize=9)
    axes.set(xlabel=label, yticks=range(len(present)), yticklabels=shown)
    axes.invert_yaxis()
    medians = [np.median(values[labels == c]) for c in present]
    alt_text = f"Spread of {label} in each class. Medians: {_spoken(shown, medians, '{:.2f}')}."
    return _finish(figure, alt_text, dataset.provenance)


# --- Chapter 2: preprocessing and splitting ---------------------------------------------------------------------------


@_styled(CHART_STYLE)
def memory_bars(gigabytes, limit=None, limit_name=""):
    """Draw how much memory each way of holding the images takes.

    Args:
        gigabytes: Dictionary from a description to a size in GB (10⁹ bytes).
        limit: Memory of the machine in GB, drawn as a line.
        limit_name: What the limit is.
    """
    figure = Figure(figsize=(WIDTH, 0.55 * len(gigabytes) + 1.2))
    axes = figure.add_subplot()
    sizes = list(gigabytes.values())
    too_much = [limit is not None and size > limit for size in sizes]
    axes.barh(list(gigabytes), sizes, color=[PART_COLOURS["test" if over else "train"] for over in too_much])
    for position, size in enumerate(sizes):
        axes.text(size, position, f" {size:.2f} GB", va="center", fontsize=11)
    alt_text = f"Bar chart of memory: {_spoken(gigabytes, sizes, '{:.2f} GB')}."
    if limit is not None:
        axes.axvline(limit, color=INK, linestyle="--", linewidth=1.5, label=limit_name)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside upper right")
        alt_text += f" {limit_name}: {limit:g} GB."
    axes.invert_yaxis()
    axes.set(xlabel="memory [GB]", xlim=(0, 1.22 * max([*sizes, limit or 0])))
    return _finish(figure, alt_text)


@_styled(CHART_STYLE)
def smoothing_entropy(num_classes=10, marked=(0.05, 0.1, 0.2)):
    """Draw a smoothed label beside its one-hot original, and the entropy of smoothed labels against the smoothing.

    Args:
        num_classes: Number of classes.
        marked: Values of the smoothing ε that get a dot; the middle one is also drawn as a label.
    """

    def smoothed(epsilon):
        return np.where(np.arange(num_classes) == 1, 1 - epsilon, 0.0) + epsilon / num_classes

    def entropy(epsilon):
        label = smoothed(epsilon)
        return float(-np.sum(label * np.log(np.where(label > 0, label, 1))))

    figure = Figure(figsize=(WIDTH, 3.6))
    bars, curve = figure.subplots(1, 2)
    example = marked[len(marked) // 2]
    classes = np.arange(num_classes)
    bars.bar(classes - 0.2, smoothed(0), 0.4, color=SERIES_COLOURS[5], label="one-hot")
    bars.bar(classes + 0.2, smoothed(example), 0.4, color=SERIES_COLOURS[0], label=f"smoothed, ε = {example}")
    bars.set(xlabel="class", ylabel="label", xticks=classes, ylim=(0, 1.05))
    bars.legend(loc="upper right")
    grid = np.linspace(0, max(0.3, *marked), 200)
    curve.plot(grid, [entropy(epsilon) for epsilon in grid], color=SERIES_COLOURS[0])
    for epsilon in marked:
        curve.plot(epsilon, entropy(epsilon), "o", color=SERIES_COLOURS[1])
        curve.annotate(f"{entropy(epsilon):.4f}", (epsilon, entropy(epsilon)), (6, -12), textcoords="offset points")
    curve.set(xlabel="smoothing ε", ylabel="entropy of the label [nats]", xlim=(0, grid[-1] * 1.12), ylim=(0, None))
    label = smoothed(example)
    alt_text = f"""Left: a one-hot label of {num_classes} classes and the same label smoothed with {example}, which puts
        {label.max():.3f} on the class and {label.min():.3f} on each other. Right: the entropy of a smoothed label grows
        with the smoothing: {_spoken(marked, map(entropy, marked), "gives {:.4f}")} nats."""
    return _finish(figure, alt_text)


@_styled(CHART_STYLE)
def split_shares(dataset, split):
    """Draw which share of each class went to the three parts, with the counts written in.

    Args:
        dataset: A `GalaxyDataset`.
        split: A `Split` of it.
    """
    names, _, _ = look_of_classes(dataset.class_names)
    parts = {part: np.bincount(dataset.labels[getattr(split, part)], minlength=len(names)) for part in PART_COLOURS}
    table = np.array(list(parts.values()))
    labels = ["all classes", *names]
    table = np.column_stack([table.sum(axis=1), table])
    shares = table / np.maximum(table.sum(axis=0), 1)
    figure = Figure(figsize=(WIDTH, 0.42 * len(labels) + 1.3))
    axes = figure.add_subplot()
    left = np.zeros(len(labels))
    for (part, colour), counts, share in zip(PART_COLOURS.items(), table, shares, strict=True):
        axes.barh(labels, share, left=left, color=colour, edgecolor=PAPER, label=part)
        ink = INK if part == "validation" else "white"
        for position, count in enumerate(counts):
            if count:
                middle = left[position] + share[position] / 2
                axes.text(middle, position, f"{count:,}", ha="center", va="center", fontsize=10, color=ink)
        left += share
    for boundary in np.cumsum(split.fractions)[:-1]:
        axes.axvline(boundary, color=INK, linestyle=":", linewidth=1.5)
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter(matplotlib.ticker.PercentFormatter(1, symbol=" %"))
    axes.set(xlim=(0, 1), xlabel="share of the class (dotted: asked for)")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    totals = _spoken(parts, table[:, 0])
    largest = np.abs(shares[:, 1:] - np.array(split.fractions)[:, None])[:, dataset.class_counts > 0].max()
    alt_text = f"""Stacked bars of {len(dataset):,} galaxies in three parts: {totals}. The largest distance of a class's
        share from the share asked for is {100 * largest:.1f} percentage points."""
    return _finish(figure, alt_text, dataset.provenance)


@_styled(CHART_STYLE)
def leak_histogram(counts, num_pairs, provenance=None):
    """Draw how many twins a random split tears apart, over many random splits.

    Args:
        counts: Pairs with one twin in each part, one number per random split.
        num_pairs: Pairs there are.
        provenance: Line for the corner.
    """
    counts = np.asarray(counts)
    figure = Figure(figsize=(WIDTH, 3.4))
    axes = figure.add_subplot()
    axes.hist(
        counts,
        bins=np.arange(-0.5, counts.max() + 1.5),
        color=SERIES_COLOURS[1],
        edgecolor=PAPER,
        label="random splits",
    )
    axes.axvline(counts.mean(), color=INK, linestyle="--", linewidth=1.5, label=f"their mean, {counts.mean():.1f}")
    axes.axvline(0, color=SERIES_COLOURS[0], linewidth=4, label="split by sky group: 0")
    axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
    axes.set(xlabel=f"pairs torn apart, of {num_pairs:,}", ylabel="random splits")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=3, fontsize=10)
    low, high = np.percentile(counts, [2.5, 97.5])
    alt_text = f"""Histogram over {len(counts):,} random splits of how many of {num_pairs:,} pairs stand on both sides:
        mean {counts.mean():.1f}, 95 % of the splits between {low:.0f} and {high:.0f}. A split by sky group tears
        none apart."""
    return _finish(figure, alt_text, provenance)


# --- Chapter 3 and later: training and evaluation ---------------------------------------------------------------------


@_styled(CHART_STYLE)
def learning_curves(runs, provenance=None):
    """Draw accuracy and loss against the epoch: training solid, validation dashed, lowest validation loss marked.

    Args:
        runs: Dictionary from a name to a `TrainingRun`.
        provenance: Line for the corner, usually `dataset.provenance`.
    """
    figure = Figure(figsize=(WIDTH, 6.4))
    panels = figure.subplots(2, 1, sharex=True)
    spoken = []
    for (name, run), colour in zip(runs.items(), SERIES_COLOURS, strict=False):
        history, best = run.history, run.best_epoch
        epochs = np.arange(1, run.epochs + 1)
        for axes, quantity in zip(panels, ("accuracy", "loss"), strict=True):
            axes.plot(epochs, history[quantity], color=colour, label=f"{name}: training")
            validation = history[f"val_{quantity}"]
            axes.plot(epochs, validation, color=colour, linestyle="--", label=f"{name}: validation")
            axes.plot(best, validation[best - 1], "o", color=colour, markersize=9, markerfacecolor=PAPER)
        spoken.append(
            f"{name} ends after {counted(run.epochs, 'epochs')} at training accuracy {history['accuracy'][-1]:.2f} and "
            f"validation accuracy {history['val_accuracy'][-1]:.2f}; its validation loss is lowest, "
            f"{history['val_loss'][best - 1]:.2f} nats, in epoch {best}"
        )
    panels[0].set(ylabel="accuracy", ylim=(0, 1.02))
    panels[1].set(ylabel="loss [nats]", xlabel="epoch", ylim=(0, None))
    panels[1].xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(runs), fontsize=10)
    return _finish(figure, f"Learning curves. {'. '.join(spoken)}.", provenance)


@_styled(CHART_STYLE)
def parameter_counts(models, dense_layer="dense"):
    """Draw how many parameters networks have, in their large dense layer and everywhere else, on a logarithmic axis.

    Args:
        models: Dictionary from a name to a Keras model with a layer called `dense_layer`.
        dense_layer: Name of that layer.
    """
    figure = Figure(figsize=(WIDTH, 0.95 * len(models) + 1.2))
    axes = figure.add_subplot()
    spoken = []
    for position, (name, model) in enumerate(models.items()):
        dense = model.get_layer(dense_layer).count_params()
        rest = model.count_params() - dense
        for offset, count, colour, label in (
            (-0.19, dense, PART_COLOURS["test"], "dense layer"),
            (0.19, rest, PART_COLOURS["train"], "everything else"),
        ):
            axes.barh(position + offset, count, 0.36, color=colour, label=label if position == 0 else None)
            axes.text(count * 1.15, position + offset, f"{count:,}", va="center", fontsize=11)
        spoken.append(f"{name}: dense layer {dense:,}, everything else {rest:,}")
    axes.set(xscale="log", xlabel="parameters", xlim=(1e3, 1e9), yticks=range(len(models)), yticklabels=list(models))
    axes.invert_yaxis()
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return _finish(figure, f"Parameters of {len(models)} networks. {'; '.join(spoken)}.")


@_styled(CHART_STYLE)
def accuracy_intervals(evaluations, published=None, provenance=None):
    """Draw accuracies with their 95 % intervals and, apart from them, published ones.

    Args:
        evaluations: Dictionary from a name to an `Evaluation`.
        published: Dictionary from a name to a published accuracy. They get hollow marks below a line, because they
            belong to other images or another split.
        provenance: Line for the corner, usually `dataset.provenance`.
    """
    published = published or {}
    names = [*evaluations, *published]
    figure = Figure(figsize=(WIDTH, 0.48 * len(names) + 1.3))
    axes = figure.add_subplot()
    spoken = []
    for position, (name, evaluation) in enumerate(evaluations.items()):
        low, high = evaluation.intervals["accuracy"]
        axes.hlines(position, low, high, color=SERIES_COLOURS[0], linewidth=5, alpha=0.45)
        axes.plot(evaluation.accuracy, position, "o", color=SERIES_COLOURS[0], markersize=9)
        axes.text(1.0, position, f"{evaluation.accuracy:.3f}", ha="right", va="center", fontsize=11)
        spoken.append(f"{name} {evaluation.accuracy:.3f} ({low:.3f} to {high:.3f})")
    for position, accuracy in enumerate(published.values(), start=len(evaluations)):
        axes.plot(accuracy, position, "D", color=INK, markerfacecolor=PAPER, markersize=9)
        axes.text(1.0, position, f"{accuracy:.3f}", ha="right", va="center", fontsize=11, style="italic")
    if published:
        axes.axhline(len(evaluations) - 0.5, color=FAINT, linewidth=1)
    num_classes = len(next(iter(evaluations.values())).class_names)
    axes.axvline(1 / num_classes, color=FAINT, linestyle=":", linewidth=1.5)
    axes.set(xlim=(0, 1.0), xlabel=f"accuracy (dotted: one in {num_classes})")
    axes.set(yticks=range(len(names)), yticklabels=names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    alt_text = f"Accuracies with 95 % intervals: {'; '.join(spoken)}."
    if published:
        alt_text += f" Not measured here: {_spoken(published, published.values(), '{:.3f}')}."
    return _finish(figure, alt_text, provenance)


@_styled(CHART_STYLE)
def confusion_matrix(evaluation, provenance=None):
    """Draw which classes are taken for which: in each row, the percentages of one true class.

    Args:
        evaluation: An `Evaluation`.
        provenance: Line for the corner, usually `dataset.provenance`.
    """
    import seaborn

    names, _, _ = look_of_classes(evaluation.class_names)
    counts = evaluation.confusion_matrix
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(WIDTH, 6.6))
    axes = figure.add_subplot()
    labels = np.where(counts > 0, np.char.mod("%.0f", 100 * shares), "")
    seaborn.heatmap(
        shares, annot=labels, fmt="", cmap="cividis", vmin=0, vmax=1, cbar=False, square=True, linewidths=0.8,
        linecolor=PAPER, xticklabels=names, yticklabels=names, annot_kws={"fontsize": 11}, ax=axes,
    )  # fmt: skip
    for text, share in zip(axes.texts, shares.flat, strict=True):
        text.set_color(INK if share > 0.5 else "white")  # seaborn's own choice is too faint in the middle
    axes.set(xlabel="predicted class", ylabel="true class (rows sum to 100 %)")
    axes.set_xticks(axes.get_xticks(), names, rotation=45, ha="right", rotation_mode="anchor")
    axes.tick_params(length=0)
    errors = counts * (1 - np.eye(len(names), dtype=int))
    commonest = np.argsort(errors, axis=None)[::-1][:3]
    spoken = [
        f"{names[true]} taken for {names[predicted]} {errors[true, predicted]:,} times"
        for true, predicted in zip(*np.unravel_index(commonest, errors.shape), strict=True)
        if errors[true, predicted]
    ]
    correct = ", ".join(f"{names[c]} {100 * shares[c, c]:.0f} %" for c in np.flatnonzero(evaluation.support))
    alt_text = f"""Confusion matrix of {evaluation.num_galaxies:,} galaxies. Correct in each class: {correct}.
        Commonest errors: {"; ".join(spoken) or "none"}."""
    return _finish(figure, alt_text, provenance)


@_styled(CHART_STYLE)
def class_scores(evaluation, provenance=None):
    """Draw recall (filled, with its 95 % interval) and precision (hollow) of each class.

    Args:
        evaluation: An `Evaluation`.
        provenance: Line for the corner, usually `dataset.provenance`.
    """
    names, colours, markers = look_of_classes(evaluation.class_names)
    present = np.flatnonzero(evaluation.support)
    figure = Figure(figsize=(WIDTH, 0.42 * len(present) + 1.5))
    axes = figure.add_subplot()
    low, high = evaluation.intervals["recall"]
    for position, c in enumerate(present):
        axes.hlines(position, low[c], high[c], color=colours[c], linewidth=4, alpha=0.55)
        axes.plot(evaluation.recall[c], position, markers[c], color=colours[c], markersize=10)
        axes.plot(evaluation.precision[c], position, markers[c], color=INK, markerfacecolor="none", markersize=10)
    labels = [f"{names[c]} ({evaluation.support[c]:,})" for c in present]
    axes.set(xlim=(-0.02, 1.02), xlabel="recall (filled, 95 % interval) and precision (hollow)")
    axes.set_yticks(range(len(present)), labels)
    axes.grid(axis="x", alpha=0.3)
    axes.invert_yaxis()
    spoken = [f"{names[c]} {evaluation.recall[c]:.2f} and {evaluation.precision[c]:.2f}" for c in present]
    return _finish(figure, f"Recall and precision of each class: {', '.join(spoken)}.", provenance)


def confident_mistakes(dataset, rows, probabilities, count=9, groups=None):
    """Draw the galaxies that a network gets wrong with the greatest confidence, most confident first.

    Args:
        dataset: A `GalaxyDataset`; it may be the unprepared one, whose images are larger.
        rows: Rows that were predicted.
        probabilities: Predicted probabilities, shape (len(rows), number of classes).
        count: How many to draw; fewer are drawn when there are fewer mistakes.
        groups: Galaxies of one group show the same piece of sky, shape (len(rows),): only the first of each is drawn.

    Returns:
        A figure, also when there is no mistake: then it shows the most confident right answers and says so.
    """
    names, _, _ = look_of_classes(dataset.class_names)
    rows, predicted, confidence = np.asarray(rows), probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = predicted != dataset.labels[rows]
    candidates = np.flatnonzero(wrong) if wrong.any() else np.arange(len(rows))
    order = candidates[np.argsort(-confidence[candidates], kind="stable")]
    if groups is not None:
        order = order[np.sort(np.unique(np.asarray(groups)[order], return_index=True)[1])]
    shown = order[:count]
    titles = [f"{names[predicted[i]]} {confidence[i]:.0%}\nlabel: {names[dataset.labels[rows[i]]]}" for i in shown]
    kind = "The most confident of" if wrong.any() else "There are no mistakes; the most confident right answers among"
    spoken = "; ".join(title.replace("\n", ", ") for title in titles)
    of_how_many = f"{wrong.sum():,} mistakes" if wrong.any() else f"{len(rows):,} galaxies"
    alt_text = f"{kind} {of_how_many}: {spoken}."
    images = [_central(dataset.images[int(rows[i])], 0.6 if dataset.image_size > 100 else 1.0) for i in shown]
    return image_grid(images, titles, columns=3, provenance=dataset.provenance, alt_text=alt_text)


# --- Chapters 5 and 6: reconstructions and the latent space -----------------------------------------------------------


@_styled(SKY_STYLE)
def image_rows(rows, column_titles=None, provenance=None, alt_text=None):
    """Draw rows of images that belong together: originals over reconstructions, steps of a walk, neighbours.

    Args:
        rows: Dictionary from a row's name to its uint8 RGB images; all rows have the same number.
        column_titles: One title per column, or `None`.
        provenance: Line for the corner, usually `dataset.provenance`.
        alt_text: What the figure shows; by default the names of the rows and columns.
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
        wrapped = "\n".join(textwrap.wrap(name, 12))
        line[0].set_ylabel(wrapped, rotation=0, ha="right", va="center", fontsize=11, color=STARLIGHT)
    for panel, title in zip(axes[0], column_titles, strict=True):
        panel.set_title(title, fontsize=10)
    titled = f", columns: {', '.join(title.replace(chr(10), ' ') for title in column_titles)}" if lines else ""
    default = f"{len(rows)} rows of {columns} images: {', '.join(rows)}{titled}."
    return _finish(figure, alt_text or default, provenance)


@_styled(CHART_STYLE)
def occlusion_map(image, probabilities, changes, class_names, provenance=None):
    """Draw an image, what covering each place changes about the likeliest class, and the probabilities of all classes.

    Args:
        image: Shape (side, side, 3), uint8.
        probabilities: Shape (classes,): the network's answer for the whole image.
        changes: Shape (rows, columns): the probability of the likeliest class with this place covered, minus that of
            the whole image. Rows and columns divide the image evenly.
        class_names: Names of the classes.
        provenance: Line for the corner, usually `dataset.provenance`.
    """
    names, colours, _ = look_of_classes(class_names)
    changes, rows, columns = np.asarray(changes), *np.shape(changes)
    answer, lowest = int(np.argmax(probabilities)), np.unravel_index(np.argmin(changes), np.shape(changes))
    figure = Figure(figsize=(WIDTH, 4.3 + 0.3 * len(names)))
    axes = figure.subplot_mosaic([["picture", "cells"], ["bars", "bars"]], height_ratios=(3.6, 0.3 * len(names)))
    picture, cells, bars = axes["picture"], axes["cells"], axes["bars"]
    _show_image(picture, image)
    picture.set_title("What the network was shown")
    _show_image(cells, np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8))
    # Small changes are chance: below 0.05 the colours do not become stronger.
    strength = 0.8 * np.abs(changes) / max(0.05, np.abs(changes).max())
    colour = np.where(changes[..., None] < 0, matplotlib.colors.to_rgb(LOWER), matplotlib.colors.to_rgb(HIGHER))
    side = len(image)
    extent = (-0.5, side - 0.5, side - 0.5, -0.5)
    cells.imshow(np.concatenate([colour, strength[..., None]], axis=2), extent=extent, interpolation="nearest")
    corner = (lowest[1] * side / columns - 0.5, lowest[0] * side / rows - 0.5)
    cells.add_patch(matplotlib.patches.Rectangle(corner, side / columns, side / rows, fill=False, edgecolor="white"))
    cells.set_title(f"What covering does to “{names[answer]}”")
    cells.set_xlabel("orange: lowers it; blue: raises it")
    places = np.arange(len(names))
    bars.barh(places, probabilities, color=colours)
    for place, value in zip(places, probabilities, strict=True):
        bars.text(value + 0.01, place, f"{value:.2f}", va="center", fontsize=11)
    bars.set(xlim=(0, 1.1), xticks=(0, 0.5, 1), xlabel="probability")
    bars.set_yticks(places, names)
    bars.invert_yaxis()
    alt_text = (
        f"A galaxy, the same with coloured cells, and bars. The network's probabilities: "
        f"{_spoken(class_names, probabilities, '{:.2f}')}. Covering the cell in row {lowest[0] + 1} and column "
        f"{lowest[1] + 1} of {rows} × {columns} changes the probability of {class_names[answer]} most, by "
        f"{changes.min():+.2f}; the largest rise by covering is {max(0.0, changes.max()):+.2f}."
    )
    return _finish(figure, alt_text, provenance)


@_styled(CHART_STYLE)
def joint_curves(runs, provenance=None):
    """Draw both losses of networks that reconstruct and classify: training solid, validation dashed.

    Args:
        runs: Dictionary from a name to a `TrainingRun`; one that only classified appears in the lower panel alone.
        provenance: Line for the corner, usually `dataset.provenance`.
    """
    figure = Figure(figsize=(WIDTH, 6.4))
    panels = figure.subplots(2, 1, sharex=True)
    spoken = []
    for (name, run), colour in zip(runs.items(), SERIES_COLOURS, strict=False):
        history, ends = run.history, []
        epochs = np.arange(1, run.epochs + 1)
        # The loss of a network that only classifies is its classification loss.
        quantities = ("reconstruction_loss", "classification_loss" if "classification_loss" in history else "loss")
        for axes, quantity, form in zip(panels, quantities, (".4f", ".2f"), strict=True):
            if quantity in history:
                axes.plot(epochs, history[quantity], color=colour, label=f"{name}: training")
                validation = history[f"val_{quantity}"]
                axes.plot(epochs, validation, color=colour, linestyle="--", label=f"{name}: validation")
                ends.append(
                    f"{quantity.split('_')[0]} loss {history[quantity][-1]:{form}}, validation {validation[-1]:{form}}"
                )
        spoken.append(f"{name} after {counted(run.epochs, 'epochs')}: {'; '.join(ends)}")
    panels[0].set(ylabel="squared error", yscale="log")
    for which in ("major", "minor"):
        getattr(panels[0].yaxis, f"set_{which}_formatter")("{x:g}")
    panels[1].set(ylabel="cross-entropy [nats]", xlabel="epoch", ylim=(0, None))
    panels[1].xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
    figure.legend(*panels[1].get_legend_handles_labels(), loc="outside upper center", ncols=2, fontsize=10)
    return _finish(figure, f"Reconstruction and classification losses. {'. '.join(spoken)}.", provenance)


@_styled(CHART_STYLE)
def weight_sweep(evaluations, errors, mean_image_error=None, provenance=None):
    """Draw accuracy (with its 95 % interval) and reconstruction error against the weight of the reconstruction.

    Args:
        evaluations: Dictionary from a weight to an `Evaluation`; the weight 0 stands apart on the left.
        errors: Dictionary from a weight to a mean squared error; a weight without one is left out below.
        mean_image_error: Error of answering with the mean image for every galaxy, drawn as a line.
        provenance: Line for the corner, usually `dataset.provenance`.
    """
    weights = sorted(evaluations)
    places = {weight: place for place, weight in enumerate(weights)}
    figure = Figure(figsize=(WIDTH, 5.4))
    top, bottom = figure.subplots(2, 1, sharex=True)
    spoken = []
    for weight, place in places.items():
        low, high = evaluations[weight].intervals["accuracy"]
        top.vlines(place, low, high, color=SERIES_COLOURS[0], linewidth=5, alpha=0.45)
        top.plot(place, evaluations[weight].accuracy, "o", color=SERIES_COLOURS[0], markersize=9)
        spoken.append(f"{weight:g} accuracy {evaluations[weight].accuracy:.3f} ({low:.3f} to {high:.3f})")
        if weight in errors:
            bottom.plot(place, errors[weight], "s", color=SERIES_COLOURS[1], markersize=9)
            spoken[-1] += f", squared error {errors[weight]:.4f}"
    alt_text = f"Accuracy and reconstruction error against the reconstruction's weight. {'; '.join(spoken)}."
    if mean_image_error is not None:
        bottom.axhline(mean_image_error, color=FAINT, linestyle=":", linewidth=1.8, label="average image")
        bottom.legend(loc="center left", fontsize=10)
        alt_text += f" Answering with the mean image: {mean_image_error:.4f}."
    top.set(ylabel="accuracy")
    top.grid(axis="y", alpha=0.3)
    bottom.set(ylabel="squared error", ylim=(0, None), xlabel="weight of the reconstruction")
    bottom.grid(axis="y", alpha=0.3)
    bottom.set_xticks(list(places.values()), [f"{weight:g}" if weight else "0 (alone)" for weight in weights])
    bottom.set_xlim(-0.5, len(weights) - 0.5)
    return _finish(figure, alt_text, provenance)


@_styled(CHART_STYLE)
def paired_differences(differences, label, provenance=None):
    """Draw differences with their 95 % intervals around a line at zero.

    Args:
        differences: Dictionary from a name to `(difference, low, high)`.
        label: What is subtracted from what.
        provenance: Line for the corner, usually `dataset.provenance`.
    """
    figure = Figure(figsize=(WIDTH, 0.55 * len(differences) + 1.3))
    axes = figure.add_subplot()
    axes.axvline(0, color=INK, linewidth=1.5)
    for position, (difference, low, high) in enumerate(differences.values()):
        colour = SERIES_COLOURS[5] if low <= 0 <= high else SERIES_COLOURS[0]
        axes.hlines(position, 100 * low, 100 * high, color=colour, linewidth=5, alpha=0.45)
        axes.plot(100 * difference, position, "o", color=colour, markersize=9)
    largest = 115 * max(0.02, *(abs(end) for triple in differences.values() for end in triple))
    axes.set(xlim=(-largest, largest))
    # Names take half of the width: centred below the axis, a long label would run out of the figure.
    axes.set_xlabel(f"{label} [percentage points]", x=1, ha="right")
    axes.set_yticks(range(len(differences)), list(differences))
    axes.set_ylim(len(differences) - 0.4, -0.6)
    spoken = [
        f"{name} {100 * difference:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"
        for name, (difference, low, high) in differences.items()
    ]
    return _finish(figure, f"{label}, in percentage points, with 95 % intervals: {'; '.join(spoken)}.", provenance)


@_styled(CHART_STYLE)
def latent_maps(planes, labels, class_names, shares=None, pairs=None, provenance=None):
    """Draw galaxies in the plane of two principal components, one panel a space, a colour and a marker a class.

    Args:
        planes: Dictionary from a space's name to points, shape (n, 2).
        labels: Dictionary from a space's name to the labels of its points, shape (n,).
        class_names: One name per class.
        shares: Dictionary from a space's name to the two components' shares of the variance.
        pairs: Positions of points that belong together, shape (number of pairs, 2): they are ringed and joined.
        provenance: Line for the corner, usually `dataset.provenance`.
    """
    names, colours, markers = look_of_classes(class_names)
    present = np.unique(np.concatenate([labels[space] for space in planes]))
    columns = min(2, len(planes))
    rows = -(-len(planes) // columns)
    figure = Figure(figsize=(WIDTH, rows * (6.0 if columns == 1 else 3.6) + 1.0))
    count = max(map(len, planes.values()))
    size = np.clip((24000 if columns == 1 else 12000) / count, 6, 60)
    for place, (space, points) in enumerate(planes.items()):
        axes = figure.add_subplot(rows, columns, place + 1)
        for c in present:
            part = points[labels[space] == c]
            axes.scatter(
                *part.T,
                s=size,
                c=colours[c],
                marker=markers[c],
                alpha=0.8,
                linewidth=0.3,
                edgecolor=PAPER,
                label=names[c],
            )
        for pair in () if pairs is None else pairs:
            axes.plot(*points[pair].T, "o-", color=INK, markerfacecolor="none", markersize=9, linewidth=1.2)
        first, second = (
            (1, 2) if shares is None else (f"{n} ({s:.0%})" for n, s in zip("12", shares[space], strict=True))
        )
        axes.set(xlabel=f"component {first}", ylabel=f"component {second}", xticks=[], yticks=[])
        # A few far-out galaxies would squeeze all others into a corner.
        for set_limits, values in ((axes.set_xlim, points[:, 0]), (axes.set_ylim, points[:, 1])):
            low, high = np.percentile(values, [0.5, 99.5])
            set_limits(low - 0.08 * (high - low), high + 0.08 * (high - low))
        if columns > 1:
            axes.set_title(space)
    handles, legend_names = axes.get_legend_handles_labels()
    if len(planes) % columns:
        free = figure.add_subplot(rows, columns, len(planes) + 1)
        free.set_axis_off()
        legend = free.legend(handles, legend_names, loc="center", ncols=2, fontsize=10, columnspacing=1)
    else:
        legend = figure.legend(handles, legend_names, loc="outside lower center", ncols=4, fontsize=10, columnspacing=1)
    for handle in legend.legend_handles:
        handle.set_sizes([45])
    spoken = "" if shares is None else "; ".join(f"{space} {s[0]:.0%} and {s[1]:.0%}" for space, s in shares.items())
    alt_text = f"""Maps of up to {count:,} galaxies of {len(present)} classes, each in a plane of two dimensions.
        {f"Maps: {', '.join(planes)}." if all(planes) else ""}
        {f"Shares of the variance of the two components: {spoken}." if spoken else ""}"""
    if pairs is not None:
        alt_text += f" {len(pairs)} pairs of points are ringed and joined."
    return _finish(figure, alt_text, provenance)


@_styled(CHART_STYLE)
def explained_variance(shares, provenance=None):
    """Draw which share of the variance the first principal components hold together.

    Args:
        shares: Dictionary from a space's name to each component's share, largest first.
        provenance: Line for the corner, usually `dataset.provenance`.
    """
    figure = Figure(figsize=(WIDTH, 3.8))
    axes = figure.add_subplot()
    spoken = []
    for (name, each), colour, marker in zip(shares.items(), SERIES_COLOURS, "os^Dv", strict=False):
        together = np.cumsum(each)
        axes.plot(np.arange(1, len(together) + 1), together, marker=marker, color=colour, markersize=5, label=name)
        spoken.append(f"{name} {together[min(1, len(together) - 1)]:.0%} in two, {together[-1]:.0%} in {len(together)}")
    axes.axvline(2, color=FAINT, linestyle=":", linewidth=1.5)
    axes.set(xlabel="principal components (dotted: the two of a map)", ylabel="share of the variance", ylim=(0, 1.02))
    axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=2, fontsize=10)
    return _finish(figure, f"Share of the variance in the first components: {'; '.join(spoken)}.", provenance)


# --- Chapter 4: augmentation ------------------------------------------------------------------------------------------


@_styled(CHART_STYLE)
def accuracy_by_seed(evaluations, seed_accuracies, provenance=None):
    """Draw accuracies over several seeds with their 95 % intervals, and each seed's own as a small mark.

    Args:
        evaluations: Dictionary from a name to the `Evaluation` of all seeds' answers together.
        seed_accuracies: Dictionary from the same names to one accuracy per seed.
        provenance: Line for the corner, usually `dataset.provenance`.
    """
    figure = Figure(figsize=(WIDTH, 0.55 * len(evaluations) + 1.4))
    axes = figure.add_subplot()
    spoken, ends = [], []
    for position, (name, evaluation) in enumerate(evaluations.items()):
        (low, high), seeds = evaluation.intervals["accuracy"], seed_accuracies[name]
        axes.hlines(position, low, high, color=SERIES_COLOURS[0], linewidth=6, alpha=0.4)
        axes.plot(seeds, [position] * len(seeds), "|", color=INK, markersize=13, markeredgewidth=2)
        axes.plot(evaluation.accuracy, position, "o", color=SERIES_COLOURS[0], markersize=10)
        axes.text(1.01, position, f"{evaluation.accuracy:.3f}", transform=axes.get_yaxis_transform(), va="center")
        spoken.append(f"{name} {evaluation.accuracy:.3f} ({low:.3f} to {high:.3f})")
        ends += [low, high, *seeds]
    axes.set(xlabel="accuracy (ticks: single seeds)", xlim=(min(ends) - 0.02, max(ends) + 0.02))
    axes.set_yticks(range(len(evaluations)), list(evaluations))
    axes.set_ylim(len(evaluations) - 0.4, -0.6)
    axes.grid(axis="x", alpha=0.3)
    num_seeds = len(next(iter(seed_accuracies.values())))
    return _finish(figure, f"Accuracies over {num_seeds} seeds, 95 % intervals: {'; '.join(spoken)}.", provenance)


@_styled(CHART_STYLE)
def share_curve(evaluations, provenance=None):
    """Draw accuracy, with its 95 % interval, against the share of synthetic images among the training images.

    Args:
        evaluations: Dictionary from a share, 0 to 1, to an `Evaluation`.
        provenance: Line for the corner, usually `dataset.provenance`.
    """
    shares = sorted(evaluations)
    accuracies = [evaluations[share].accuracy for share in shares]
    lows, highs = np.transpose([evaluations[share].intervals["accuracy"] for share in shares])
    figure = Figure(figsize=(WIDTH, 3.6))
    axes = figure.add_subplot()
    axes.fill_between(shares, lows, highs, color=SERIES_COLOURS[0], alpha=0.2, label="95 % interval")
    axes.plot(shares, accuracies, "o-", color=SERIES_COLOURS[0], markersize=9)
    axes.axhline(accuracies[0], color=FAINT, linestyle=":", linewidth=1.8, label="originals alone")
    axes.xaxis.set_major_formatter(matplotlib.ticker.PercentFormatter(1, symbol=" %"))
    axes.set(xlabel="synthetic share of the training images", ylabel="accuracy", xticks=shares)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    spoken = [
        f"{share:.0%} {accuracy:.3f} ({low:.3f} to {high:.3f})"
        for share, accuracy, low, high in zip(shares, accuracies, lows, highs, strict=True)
    ]
    return _finish(figure, f"Accuracy against the synthetic share: {'; '.join(spoken)}.", provenance)


# --- Chapter 7: transfer learning -------------------------------------------------------------------------------------


@_styled(CHART_STYLE)
def layer_sizes(network, trained_layers, title=""):
    """Draw how many trainable parameters each layer of a backbone has, and which layers lie above the frozen ones.

    Args:
        network: A Keras model.
        trained_layers: How many of its last layers are unfrozen.
        title: Name of the network, for the axis.
    """
    sizes = np.array([sum(int(np.prod(w.shape)) for w in layer.trainable_weights) for layer in network.layers])
    count, boundary = len(sizes), len(sizes) - trained_layers
    trained = sizes[boundary:].sum()
    figure = Figure(figsize=(WIDTH, 3.3))
    axes = figure.add_subplot()
    numbers = np.arange(1, count + 1)
    for part, colour, label in (
        (slice(0, boundary), PART_COLOURS["train"], f"frozen: {boundary} layers, {sizes[:boundary].sum() / 1e6:.2f} M"),
        (slice(boundary, count), PART_COLOURS["test"], f"trained: {trained_layers} layers, {trained / 1e6:.2f} M"),
    ):
        axes.bar(numbers[part], sizes[part] / 1e6, width=1.0, color=colour, label=label)
    axes.axvline(boundary + 0.5, color=INK, linewidth=1.5)
    axes.set(xlabel=f"layer{f' of {title}' if title else ''}, from input to output", ylabel="million parameters")
    axes.set_xlim(0, count + 1)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=2, fontsize=11)
    alt_text = f"""Trainable parameters of {count} layers: the first {boundary} hold {sizes[:boundary].sum():,}, the
        last {trained_layers} {trained:,}, {trained / max(sizes.sum(), 1):.0%} of all."""
    return _finish(figure, alt_text)


@_styled(CHART_STYLE)
def accuracy_by_cost(rungs, provenance=None):
    """Draw accuracies with their intervals against trained parameters and against seconds, on logarithmic axes.

    Args:
        rungs: Dictionary from a name to a dictionary with `accuracy`, its `low` and `high` end, `parameters` (trained
            ones; 0 is drawn at the left edge) and `seconds`.
        provenance: Line for the corner, usually `dataset.provenance`.
    """
    figure = Figure(figsize=(WIDTH, 4.4 + 0.3 * -(-len(rungs) // 2)))
    panels = figure.subplots(1, 2, sharey=True)
    spoken = []
    for (name, rung), colour, marker in zip(rungs.items(), SERIES_COLOURS, "osD^vP", strict=False):
        for axes, cost in zip(panels, ("parameters", "seconds"), strict=True):
            axes.vlines(rung[cost], rung["low"], rung["high"], color=colour, linewidth=4, alpha=0.35)
            axes.plot(rung[cost], rung["accuracy"], marker, color=colour, markersize=10, label=name)
        spoken.append(
            f"{name} {rung['accuracy']:.3f} ({rung['low']:.3f} to {rung['high']:.3f}) with "
            f"{rung['parameters']:,} trained parameters in {rung['seconds']:.3g} s"
        )
    panels[0].set_xscale("symlog", linthresh=1000, linscale=0.5)
    panels[0].set(xlabel="trained parameters", ylabel="accuracy", xlim=(-250, None))
    # Below a thousand the axis is linear and has no room for numbers but the zero.
    panels[0].set_xticks([0, 1e4, 1e5, 1e6, *([1e7] if max(r["parameters"] for r in rungs.values()) > 3e6 else [])])
    panels[0].xaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    panels[1].set(xscale="log", xlabel="seconds, features included")
    _log_axis(panels[1], [rung["seconds"] for rung in rungs.values()])
    for axes in panels:
        axes.grid(alpha=0.3)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=2, fontsize=11)
    return _finish(figure, f"Accuracies with 95 % intervals against their cost: {'; '.join(spoken)}.", provenance)


@_styled(CHART_STYLE)
def label_curves(curves, provenance=None):
    """Draw accuracies, with their 95 % intervals, against the number of labelled training galaxies.

    Args:
        curves: Dictionary from a name to `{number of labels: (accuracy, low, high)}`.
        provenance: Line for the corner, usually `dataset.provenance`.
    """
    figure = Figure(figsize=(WIDTH, 4.4))
    axes = figure.add_subplot()
    spoken, every_count = [], set()
    for (name, curve), colour, marker in zip(curves.items(), SERIES_COLOURS, "osD^vP", strict=False):
        counts = sorted(curve)
        values, lows, highs = np.transpose([curve[count] for count in counts])
        axes.fill_between(counts, lows, highs, color=colour, alpha=0.15, linewidth=0)
        axes.plot(counts, values, marker=marker, color=colour, markersize=8, label=name)
        points = [
            f"{count:,} labels {value:.3f} ({low:.3f} to {high:.3f})"
            for count, value, low, high in zip(counts, values, lows, highs, strict=True)
        ]
        spoken.append(f"{name}: {', '.join(points)}")
        every_count.update(counts)
    axes.set(xscale="log", xlabel="labelled training galaxies", ylabel="accuracy")
    axes.set_xticks(sorted(every_count), [f"{count:,}" for count in sorted(every_count)])
    axes.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    axes.grid(alpha=0.3)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=len(curves), fontsize=11)
    return _finish(figure, f"Accuracy against labels, with 95 % intervals. {'; '.join(spoken)}.", provenance)


# --- Chapters 8 to 10: generated galaxies -----------------------------------------------------------------------------


@_styled(CHART_STYLE)
def detail_curves(images, pixel_scale=None, provenance=None):
    """Draw radial profiles and power spectra of several versions of the same galaxies.

    Args:
        images: Dictionary from a name to images, shape (n, side, side, 3), uint8; the first is the one to compare with.
        pixel_scale: Arcseconds per pixel, for the axes; `None` counts in pixels.
        provenance: Line for the corner, usually `dataset.provenance`.
    """
    from galaxy_utils.evaluation.resolution import power_spectrum, radial_profile

    scale, unit = (1.0, "pixels") if pixel_scale is None else (float(pixel_scale), "arcsec")
    figure = Figure(figsize=(WIDTH, 3.9))
    left, right = figure.subplots(1, 2)
    spoken, reference = [], None
    for (name, version), colour, style in zip(images.items(), SERIES_COLOURS, ("-", "--", ":", "-."), strict=False):
        radii, profile = radial_profile(version)
        frequencies, power = power_spectrum(version)
        reference = power if reference is None else reference
        left.plot(radii * scale, profile, color=colour, linestyle=style, label=name)
        right.plot(frequencies / scale, power, color=colour, linestyle=style)
        shares = [power[place] / reference[place] for place in (len(power) // 4, len(power) // 2, -1)]
        spoken.append(f"{name} {', '.join(f'{share:.0%}' for share in shares)}")
    right.axvline(frequencies[-1] / 2 / scale, color=FAINT, linestyle=":", linewidth=1.8)
    left.set(xlabel=f"radius [{unit}]", ylabel="mean brightness, 0 to 255")
    right.set(yscale="log", xlabel=f"spatial frequency [1/{unit.removesuffix('s')}]", ylabel="power")
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=len(images))
    alt_text = f"""Radial profiles and power spectra of {len(version)} galaxies. Power as a share of that of
        {next(iter(images))}, at a quarter, half and all of the highest spatial frequency: {"; ".join(spoken)}."""
    return _finish(figure, alt_text, provenance)


@_styled(CHART_STYLE)
def adversarial_curves(history, provenance=None):
    """Draw the two losses of an adversarial training, and how often real and drawn images are told apart.

    Args:
        history: `TrainingRun.history` of a training with a discriminator.
        provenance: Line for the corner, usually `dataset.provenance`.
    """
    figure = Figure(figsize=(WIDTH, 5.2))
    upper, lower = figure.subplots(2, 1, sharex=True)
    epochs = np.arange(1, len(history["ranking_accuracy"]) + 1)
    for name, colour in (("discriminator", SERIES_COLOURS[0]), ("generator", SERIES_COLOURS[1])):
        upper.plot(epochs, history[f"{name}_loss"], color=colour, label=name)
    for name, part, words in (
        ("ranking_accuracy", "train", "training"),
        ("val_ranking_accuracy", "validation", "validation"),
    ):
        lower.plot(epochs, history[name], color=PART_COLOURS[part], label=f"{words} galaxies")
    lower.axhline(0.5, color=FAINT, linestyle=":", linewidth=1.8)
    upper.set(ylabel="loss")
    lower.set(xlabel="epoch", ylabel="told apart", ylim=(0, 1.02))
    lower.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
    for axes in (upper, lower):
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    alt_text = f"""Losses of generator and discriminator over {len(epochs)} epochs, in the last
        {history["generator_loss"][-1]:.2f} and {history["discriminator_loss"][-1]:.2f}. Real galaxies told apart from
        drawn ones in the last epoch: training {history["ranking_accuracy"][-1]:.0%}, validation
        {history["val_ranking_accuracy"][-1]:.0%}; half would be chance."""
    return _finish(figure, alt_text, provenance)


@_styled(CHART_STYLE)
def value_histograms(panels, columns=2, provenance=None):
    """Draw histograms of several sets of values over each other, one panel a quantity.

    Args:
        panels: Dictionary from a quantity to `{set: values}`; the same sets in each. What is not finite is left out.
        columns: Panels in a row.
        provenance: Line for the corner, usually `dataset.provenance`.
    """
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(WIDTH, 2.5 * rows + 0.7))
    spoken = []
    for number, (quantity, sets) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(rows, columns, number)
        finite = {name: np.asarray(values)[np.isfinite(values)] for name, values in sets.items()}
        # Single far-off values would press all others into one bin.
        ends = np.percentile(np.concatenate(list(finite.values())), [0.5, 99.5])
        edges = np.linspace(*ends, 21)
        for (name, values), colour, style in zip(finite.items(), SERIES_COLOURS, ("-", "--", ":"), strict=False):
            weights = np.full(len(values), 1 / max(len(values), 1))
            axes.hist(
                values, edges, weights=weights, histtype="step", color=colour, linestyle=style, linewidth=2, label=name
            )
        axes.set(xlabel=quantity, ylabel="share" if (number - 1) % columns == 0 else "")
        axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(4))  # more would run into each other
        medians = _spoken(finite, [np.median(v) if len(v) else np.nan for v in finite.values()], "{:.3g}")
        spoken.append(f"{quantity}: {medians}")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=len(finite))
    return _finish(figure, f"Histograms. Medians of {'; of '.join(spoken)}.", provenance)


@_styled(CHART_STYLE)
def balance_bars(class_names, parts, provenance=None):
    """Draw the training images of each class, stacked by where they come from.

    Args:
        class_names: Names of the classes.
        parts: Dictionary from an origin ("real", "generated") to counts by class, shape (number of classes,).
        provenance: Line for the corner, usually `dataset.provenance`.
    """
    names, _, _ = look_of_classes(class_names)
    figure = Figure(figsize=(WIDTH, 0.42 * len(names) + 1.3))
    axes = figure.add_subplot()
    left, spoken = np.zeros(len(names)), []
    for (origin, counts), colour, hatch in zip(parts.items(), SERIES_COLOURS, ("", "///", "..."), strict=False):
        axes.barh(names, counts, left=left, color=colour, hatch=hatch, edgecolor=PAPER, label=origin)
        left = left + counts
        spoken.append(f"{origin}: {_spoken(names, np.asarray(counts))}")
    axes.invert_yaxis()
    axes.set(xlabel="training images", xlim=(0, 1.05 * left.max()))
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper right", ncols=len(parts))
    return _finish(figure, f"Training images of each class, {'; '.join(spoken)}.", provenance)


# --- Chapter 11: progressive iteration --------------------------------------------------------------------------------

_VERDICT_LOOKS = {  # verdict: colour, marker, whether it is filled, words of the legend
    "start": (INK, "s", True, "start"),
    "keep": (SERIES_COLOURS[2], "o", True, "kept"),
    "revert": (SERIES_COLOURS[1], "X", False, "reverted"),
    "reference": (SERIES_COLOURS[5], "D", False, "reference, decides nothing"),
}
_SCORE_TITLES = {"kl": "KL divergence [nats], lower is better", "accuracy": "accuracy, higher is better"}


@_styled(CHART_STYLE)
def iteration_path(rows, score="kl", published=None, provenance=None):
    """Draw the rounds of a ledger from top to bottom: a line joins those that were kept, reverted ones branch off it.

    Args:
        rows: `Ledger.table()`, at least one round.
        score: `"kl"` or `"accuracy"`.
        published: Dictionary from a name to a published value of this score; drawn apart, because it belongs to other
            images or another split.
        provenance: Line for the corner, usually `ledger.provenance`.
    """
    published = published or {}
    places = {row["round"]: place for place, row in enumerate(rows)}
    names = [*places, *published]
    figure = Figure(figsize=(WIDTH, 0.5 * len(names) + 1.7))
    axes = figure.add_subplot()
    path = [row for row in rows if row["verdict"] in ("start", "keep")]
    axes.plot([row[score] for row in path], [places[row["round"]] for row in path], color=INK, linewidth=2.5, zorder=2)
    spoken = []
    for row in rows:
        place = places[row["round"]]
        colour, marker, filled, _ = _VERDICT_LOOKS[row["verdict"]]
        if row["verdict"] == "revert":
            origin = rows[places[row["against"]]]
            ends = [origin[score], row[score]], [places[row["against"]], place]
            axes.plot(*ends, color=colour, linewidth=1.4, linestyle="--", zorder=1)
        axes.hlines(place, row[f"{score}_low"], row[f"{score}_high"], color=colour, linewidth=5, alpha=0.35, zorder=2)
        axes.plot(
            row[score],
            place,
            marker,
            color=colour,
            markerfacecolor=colour if filled else PAPER,
            markersize=10,
            markeredgewidth=1.8,
            zorder=3,
        )
        axes.text(1.01, place, f"{row[score]:.3f}", transform=axes.get_yaxis_transform(), va="center", fontsize=11)
        interval = f"({row[f'{score}_low']:.3f} to {row[f'{score}_high']:.3f})"
        spoken.append(f"{row['round']} {row[score]:.3f} {interval}, {_VERDICT_LOOKS[row['verdict']][3]}")
    for place, value in enumerate(published.values(), start=len(rows)):
        axes.plot(value, place, "D", color=INK, markerfacecolor=PAPER, markersize=9)
        style = {"transform": axes.get_yaxis_transform(), "va": "center", "fontsize": 11, "style": "italic"}
        axes.text(1.01, place, f"{value:.3f}", **style)
    if published:
        axes.axhline(len(rows) - 0.5, color=FAINT, linewidth=1)
    axes.set(xlabel=_SCORE_TITLES[score], yticks=range(len(names)), ylim=(len(names) - 0.4, -0.6))
    axes.set_yticklabels([textwrap.fill(name, 24) for name in names])
    axes.grid(axis="x", alpha=0.3)
    _verdict_legend(figure, rows)
    alt_text = f"Path of {len(rows)} rounds, {_SCORE_TITLES[score]}, with 95 % intervals: {'; '.join(spoken)}."
    if published:
        alt_text += f" Published, on other images: {_spoken(published, published.values(), '{:.3f}')}."
    return _finish(figure, alt_text, provenance)


@_styled(CHART_STYLE)
def accuracy_against_cost(rows, cost="training_seconds", provenance=None):
    """Draw the accuracy of a ledger's rounds, with 95 % intervals, against a cost on a logarithmic axis.

    Args:
        rows: `Ledger.table()`, at least one round.
        cost: `"training_seconds"`, `"parameters"` or `"inference_seconds"`.
        provenance: Line for the corner, usually `ledger.provenance`.
    """
    titles = {
        "training_seconds": "training [s]",
        "parameters": "parameters",
        "inference_seconds": "answering 1,000 galaxies [s]",
    }
    figure = Figure(figsize=(WIDTH, 4.6 + 0.2 * len(rows)))
    axes = figure.add_subplot()
    spoken = []
    places = np.array([[np.log(row[cost]), row["accuracy"]] for row in rows])
    places = places / np.maximum(np.ptp(places, axis=0), 1e-9)
    for place, row in enumerate(rows):
        colour, marker, filled, words = _VERDICT_LOOKS[row["verdict"]]
        low, high = row["accuracy_low"], row["accuracy_high"]
        axes.vlines(row[cost], low, high, color=colour, linewidth=4, alpha=0.3)
        face = colour if filled else PAPER
        axes.plot(row[cost], row["accuracy"], marker, color=colour, markerfacecolor=face, markersize=9)
        # Rounds often cost the same: numbers beside the marks, away from the nearest one, where names would collide.
        apart = places - places[place]
        distance = np.hypot(*apart.T)
        distance[place] = np.inf
        aside = (-15, 5) if apart[distance.argmin(), 0] > 0 else (8, 5)
        axes.annotate(str(row["number"]), (row[cost], row["accuracy"]), aside, textcoords="offset points", fontsize=11)
        amount = f"{row[cost]:,.0f}" if cost == "parameters" else f"{row[cost]:,.3g} s"
        spoken.append(f"{row['round']}: {amount}, accuracy {row['accuracy']:.3f}, {words}")
    axes.set(xscale="log", xlabel=titles[cost], ylabel="accuracy")
    _log_axis(axes, [row[cost] for row in rows])
    axes.grid(alpha=0.3)
    _verdict_legend(figure, rows)
    listed = [f"{row['number']} {row['round']}" for row in rows]
    key = "   ".join(entry.replace(" ", "\u00a0") for entry in listed)
    axes.set_title(textwrap.fill(key, 78), fontsize=10, loc="left")
    return _finish(figure, f"Accuracy against {titles[cost]}. {'; '.join(spoken)}.", provenance)


def show_rounds(rows, published=None):
    """Display a ledger's rounds in a notebook as a table: what changed, verdict, scores with 95 % intervals, cost.

    The cost is that of training one network, of 1,000 answers, and the number of parameters.

    Args:
        rows: `Ledger.table()`.
        published: `{round: {"kl": value, "accuracy": value}}`: published figures, one of the two or both, for a column
            of their own.
    """
    from html import escape

    from IPython.display import display

    published = published or {}
    heads = ["round and what changed", "verdict", "KL [nats]", "accuracy", "published", "cost"]
    lines = []
    for row in rows:
        # Two lines a cell: a page of text has no room for ten columns.
        scores = [
            f"{row[score]:.3f}\n{row[f'{score}_low']:.3f} to {row[f'{score}_high']:.3f}" for score in ("kl", "accuracy")
        ]
        known = published.get(row["round"], {})
        figures = "\n".join(
            f"{label} {known[score]:g}" for score, label in (("kl", "KL"), ("accuracy", "accuracy")) if score in known
        )
        cost = f"{row['training_seconds']:.1f} s; {row['inference_seconds']:.2f} s\n{row['parameters']:,.0f} parameters"
        name = f"{row['number']} {row['round']}\n{row['changed']}"
        lines.append([name, _VERDICT_LOOKS[row["verdict"]][3], *scores, figures, cost])
    shown = [heads, *lines]
    if not published:
        shown = [line[:4] + line[5:] for line in shown]

    def html(text):
        # An interval stays on one line.
        text = re.sub(r"(?<=\d) to (?=[\d-])", "\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}", text or "–")
        first, *others = (escape(line) for line in text.split("\n") if line)
        return "".join([first, *(f"<br><small>{line}</small>" for line in others)])

    titles = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in shown[0])
    cells = "".join(f"<tr>{''.join(f'<td>{html(cell)}</td>' for cell in line)}</tr>" for line in shown[1:])
    table = f'<table class="dataframe"><thead><tr>{titles}</tr></thead><tbody>{cells}</tbody></table>'
    plain = "\n".join(" | ".join(cell.replace("\n", "; ") for cell in line) for line in shown)
    # On a phone, the table scrolls: the keyboard must reach it for that.
    region = f'<div style="overflow-x: auto" role="region" aria-label="Rounds of the ledger" tabindex="0">{table}</div>'
    display({"text/html": region, "text/plain": plain}, raw=True)


def _log_axis(axes, values):
    """Give a logarithmic horizontal axis room around its values, and numbers as people write them."""
    axes.set_xlim(min(values) / 1.6, max(values) * 1.6)
    if max(values) / min(values) < 30:
        # On less than about a decade the axis would be left without a number.
        subs = (1, 2, 5) if max(values) / min(values) > 6 else (1, 1.5, 2, 3, 4, 6, 8)
        axes.xaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=subs))
        axes.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    axes.xaxis.set_major_formatter(
        matplotlib.ticker.FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 10 else f"{value:g}")
    )


def _verdict_legend(figure, rows):
    """Draw what the marks of those verdicts mean that occur."""
    marks = [
        matplotlib.lines.Line2D(
            [], [], color=colour, marker=marker, markerfacecolor=colour if filled else PAPER, linestyle="", label=words
        )
        for verdict, (colour, marker, filled, words) in _VERDICT_LOOKS.items()
        if any(row["verdict"] == verdict for row in rows)
    ]
    figure.legend(handles=marks, loc="outside upper center", ncols=len(marks), fontsize=10)
