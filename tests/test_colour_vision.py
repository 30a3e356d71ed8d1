"""Colours of figures stay apart for people with the common colour-vision deficiencies.

Deficiencies are simulated with the matrices of Machado, Oliveira & Fernandes (2009), "A Physiologically-based Model for
Simulation of Color Vision Deficiency", IEEE TVCG 15, 1291 (severity 1.0, for linear RGB). Distances are those of CIELAB
(CIE 1976), where about 2.3 is the smallest difference that is just seen.
"""

from itertools import combinations

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from galaxy_utils import plots
from galaxy_utils.classes import CLASS_COLOURS, CLASS_MARKERS, CLASS_NAMES

VISIONS = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
# From linear sRGB to CIE XYZ, and the white of D65 (IEC 61966-2-1).
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
WHITE = TO_XYZ.sum(axis=1)


def seen(colour, vision):
    """The colour as CIELAB coordinates of what somebody with this vision sees."""
    encoded = np.array(to_rgb(colour))
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    relative = TO_XYZ @ np.clip(np.array(VISIONS[vision]) @ linear, 0, 1) / WHITE
    root = np.where(relative > 216 / 24389, np.cbrt(relative), (24389 / 27 * relative + 16) / 116)
    return np.array([116 * root[1] - 16, 500 * (root[0] - root[1]), 200 * (root[1] - root[2])])


def distances(colours, vision):
    """{pair of names: distance} for a dictionary of colours."""
    return {
        pair: np.linalg.norm(seen(colours[pair[0]], vision) - seen(colours[pair[1]], vision))
        for pair in combinations(colours, 2)
    }


def test_the_simulation_is_right_about_known_colours():
    np.testing.assert_allclose(seen("white", "deuteranopia"), [100, 0, 0], atol=0.01)
    np.testing.assert_allclose(seen("#808080", "normal"), [53.585, 0, 0], atol=0.01)
    # A wine red and a dark grey that these figures once used for two classes.
    wine_and_grey = {"wine": "#882255", "grey": "#555555"}
    assert distances(wine_and_grey, "normal")["wine", "grey"] > 40
    assert distances(wine_and_grey, "deuteranopia")["wine", "grey"] < 2.3


@pytest.mark.parametrize("vision", VISIONS)
def test_classes_stay_apart(vision):
    close = {
        pair: distance
        for pair, distance in distances(dict(zip(CLASS_NAMES, CLASS_COLOURS, strict=True)), vision).items()
        if distance < 12
    }
    assert close == {}
    assert len(set(CLASS_MARKERS)) == len(CLASS_MARKERS)  # and the colour is never alone


@pytest.mark.parametrize("vision", VISIONS)
def test_lines_of_a_figure_stay_apart(vision):
    # Where a figure has more than three, markers, line styles or hatches differ too.
    first = dict(enumerate(plots.SERIES_COLOURS[:3]))
    assert min(distances(first, vision).values()) > 12
