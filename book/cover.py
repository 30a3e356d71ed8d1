"""Draw the picture of the README and of the landing page: one simulated galaxy of each class.

.venv/bin/python book/cover.py
"""

from pathlib import Path

from galaxy_utils import CLASSES, plots
from galaxy_utils.data.simulated import render_galaxy

# Seeds chosen by eye, for galaxies that show what their class is about.
SEEDS = (2, 2, 0, 3, 6, 10, 10, 2, 10, 4)


def main():
    """Write `book/images/ten_classes.jpg`."""
    images = [
        render_galaxy(galaxy.label, seed=seed)[64:192, 64:192] for galaxy, seed in zip(CLASSES, SEEDS, strict=True)
    ]
    figure = plots.image_grid(
        images,
        [galaxy.short_name for galaxy in CLASSES],
        columns=5,
        provenance="simulated galaxies (GalSim), not real ones",
    )
    figure.savefig(Path(__file__).parent / "images" / "ten_classes.jpg", dpi=110, pil_kwargs={"quality": 90})


if __name__ == "__main__":
    main()
