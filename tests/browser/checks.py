"""What several browser tests look for."""

import pytest
from axe_playwright_python.sync_playwright import Axe

WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]


def violations(page, part=None):
    """Return what axe-core finds on a page, or in a part of it (a CSS selector): a line a rule, with first elements."""
    # Without `preload`: axe would fetch the style sheets itself, some from a wrong address.
    found = Axe().run(page, part, options={"runOnly": WCAG, "preload": False}).response["violations"]
    return [
        f"{violation['id']}, {len(violation['nodes'])} times: {violation['help']}: "
        + "; ".join(node["html"][:120] for node in violation["nodes"][:3])
        for violation in found
    ]


def check_still_figure(figure):
    """Check that the picture which stands for an interactive piece without scripts is seen whole and undistorted."""
    figure.scroll_into_view_if_needed()
    box = figure.bounding_box()
    assert box["width"] > 300
    true_shape = int(figure.get_attribute("width")) / int(figure.get_attribute("height"))
    assert box["width"] / box["height"] == pytest.approx(true_shape, rel=0.02)
