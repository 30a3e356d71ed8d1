"""The still pictures of the interactive pages, in the book's look: for print, and for readers without JavaScript."""

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from galaxy_utils import plots

LOWER, HIGHER = "#EE7733", "#33BBEE"  # Paul Tol's "vibrant" hues: what a change does to a probability
in_the_books_look = matplotlib.rc_context(plots.CHART_STYLE)


def _name_source(figure, provenance):
    if provenance:
        figure.supxlabel(provenance, x=0.99, ha="right", fontsize=9, style="italic").set_alpha(0.75)


@in_the_books_look
def occlusion_map(image, probabilities, changes, class_names, provenance=None):
    """Draw an image, what covering each place changes about the likeliest class, and the probabilities of all classes.

    Args:
        image: Shape (side, side, 3), uint8.
        probabilities: Shape (classes,): the network's prediction for the whole image.
        changes: Shape (rows, columns): the probability of the likeliest class with this place covered, minus that of
            the whole image. Rows and columns divide the image evenly.
        class_names: Names of the classes.
        provenance: Line for the corner, usually `dataset.provenance`.
    """
    names, colours, _ = plots.look_of_classes(class_names)
    changes, rows, columns = np.asarray(changes), *np.shape(changes)
    answer, lowest = int(np.argmax(probabilities)), np.unravel_index(np.argmin(changes), np.shape(changes))
    figure = Figure(figsize=(plots.WIDTH, 4.3 + 0.3 * len(names)))
    axes = figure.subplot_mosaic([["picture", "cells"], ["bars", "bars"]], height_ratios=(3.6, 0.3 * len(names)))
    picture, cells, bars = axes["picture"], axes["cells"], axes["bars"]
    picture.imshow(image, interpolation="nearest")
    picture.set_title("What the network was shown")
    cells.imshow(image.mean(axis=2), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    for panel in (picture, cells):
        panel.set(xticks=[], yticks=[])
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
    spoken = ", ".join(f"{name} {value:.2f}" for name, value in zip(class_names, probabilities, strict=True))
    figure.alt_text = (
        f"A galaxy, the same with coloured cells, and bars. The network's probabilities: "
        f"{spoken}. Covering the cell in row {lowest[0] + 1} and column "
        f"{lowest[1] + 1} of {rows} × {columns} changes the probability of {class_names[answer]} most, by "
        f"{changes.min():+.2f}; the largest rise by covering is {max(0.0, changes.max()):+.2f}."
    )
    _name_source(figure, provenance)
    return figure


@in_the_books_look
def latent_map(points, labels, class_names, shares, provenance=None):
    """Draw galaxies in the plane of two principal components, a colour and a marker for each class.

    Args:
        points: Shape (n, 2).
        labels: Shape (n,).
        class_names: One name per class.
        shares: The two components' shares of the variance.
        provenance: Line for the corner, usually `dataset.provenance`.
    """
    names, colours, markers = plots.look_of_classes(class_names)
    present = np.unique(labels)
    figure = Figure(figsize=(plots.WIDTH, 7.0))
    axes = figure.add_subplot()
    size = np.clip(24000 / len(points), 6, 60)
    for label in present:
        look = {"s": size, "color": colours[label], "marker": markers[label], "label": names[label]}
        axes.scatter(*points[labels == label].T, alpha=0.8, linewidth=0.3, edgecolor=plots.PAPER, **look)
    titles = [f"component {number} ({share:.0%})" for number, share in enumerate(shares, start=1)]
    axes.set(xlabel=titles[0], ylabel=titles[1], xticks=[], yticks=[])
    # A few far-out galaxies would squeeze all others into a corner.
    for set_limits, values in ((axes.set_xlim, points[:, 0]), (axes.set_ylim, points[:, 1])):
        low, high = np.percentile(values, [0.5, 99.5])
        set_limits(low - 0.08 * (high - low), high + 0.08 * (high - low))
    legend = figure.legend(loc="outside lower center", ncols=4, fontsize=10, columnspacing=1)
    for handle in legend.legend_handles:
        handle.set_sizes([45])
    figure.alt_text = (
        f"Map of {len(points):,} galaxies of {len(present)} classes in the plane of two principal components, which "
        f"hold {shares[0]:.0%} and {shares[1]:.0%} of the variance."
    )
    _name_source(figure, provenance)
    return figure
