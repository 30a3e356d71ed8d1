"""Figures of chapters 8 to 10: they draw what they are given, and their alternative texts carry the numbers."""

import numpy as np

from galaxy_utils import plots


def test_detail_curves_say_how_much_power_is_left():
    sharp = np.random.default_rng(1).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    figure = plots.detail_curves({"real": sharp, "half as bright": sharp // 2}, 0.5, "made for tests")
    left, right = figure.axes
    assert len(left.lines) == len(right.lines) - 1 == 2  # one marks half of the highest frequency
    assert "real 100%, 100%, 100%" in figure.alt_text and "half as bright 25%, 25%, 25%" in figure.alt_text
    # 16 rings of 0.5 arcseconds.
    assert 7 < left.lines[0].get_xdata().max() < 8 and "arcsec" in left.get_xlabel()


def test_adversarial_curves_end_in_the_last_epoch():
    history = {"generator_loss": [1.0, 1.25], "discriminator_loss": [0.5, 0.75]}
    history |= {"ranking_accuracy": [0.9, 0.87], "val_ranking_accuracy": [0.8, 0.61]}
    figure = plots.adversarial_curves(history)
    for number in ("1.25", "0.75", "87%", "61%"):
        assert number in figure.alt_text
    assert [len(axes.lines) for axes in figure.axes] == [2, 3]


def test_histograms_share_their_bins_and_leave_out_what_is_not_finite():
    sets = {"real": np.arange(100.0), "drawn": np.r_[np.arange(50.0), np.nan]}
    figure = plots.value_histograms({"size": sets, "colour": sets})
    assert len(figure.axes) == 2
    assert "size: real 49.5, drawn 24.5" in figure.alt_text
    heights = [patch.get_xy()[:, 1].max() for patch in figure.axes[0].patches]
    assert 0.04 < heights[0] < 0.07 and 0.08 < heights[1] < 0.12


def test_balance_bars_stack():
    figure = plots.balance_bars(("a", "b"), {"real": np.array([5, 2]), "drawn": np.array([0, 3])})
    bars = figure.axes[0].patches
    assert [bar.get_width() for bar in bars] == [5, 2, 0, 3] and bars[3].get_x() == 2
    assert "real: a 5, b 2; drawn: a 0, b 3" in figure.alt_text
