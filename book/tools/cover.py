"""Draw the landing page's picture: a deep field of simulated galaxies, of all ten classes, near and far.

    .venv/bin/python book/tools/cover.py

Nothing in it is a real galaxy, and no real field is so crowded: every cut-out is one that the simulated survey would
hold, put beside the others at a size of its own.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from galaxy_utils.classes import NUM_CLASSES
from galaxy_utils.data.simulated import render_galaxy

WIDTH, HEIGHT = 1400, 560
NUM_GALAXIES = 110
SEED = 2  # chosen by eye
LARGEST, SMALLEST = 620, 50  # sides of the cut-outs in pixels
SKY = 44  # brightness, 0 to 255, up to which noise reaches: black here
QUALITY = 80  # of the WebP: 60 kB, so that the page appears at once on a slow line


def deep_field(num_galaxies=NUM_GALAXIES, width=WIDTH, height=HEIGHT, seed=SEED):
    """Put simulated galaxies on a black sky, the nearest first, each as far from the others as there is room.

    Args:
        num_galaxies: How many; classes take turns.
        width: Pixels.
        height: Pixels.
        seed: Another seed, other galaxies in other places.

    Returns:
        Array of shape (height, width, 3), uint8, RGB.
    """
    random = np.random.default_rng(seed)
    field = np.zeros((height, width, 3), np.uint8)
    taken = np.empty((0, 3))  # x, y and side of those that are there
    for number in range(num_galaxies):
        # Few are near and many are far, as on the sky.
        side = int(max(SMALLEST, LARGEST / (1 + number) ** 0.5))
        place = _widest_gap(random, taken, side, width, height)
        taken = np.vstack([taken, [*place, side]])
        galaxy = render_galaxy(number % NUM_CLASSES, seed=int(random.integers(2**31)))
        _lay_over(field, _without_sky(galaxy, side), place)
    return field


def _widest_gap(random, taken, side, width, height, tries=60):
    """Of some places drawn at random, return the one whose neighbours are farthest for their size."""
    places = random.uniform([0, 0], [width, height], (tries, 2))
    if not len(taken):
        return places[0]
    distances = np.linalg.norm(places[:, None] - taken[:, :2], axis=2) / (taken[:, 2] + side)
    return places[distances.min(axis=1).argmax()]


def _without_sky(galaxy, side):
    """Shrink or enlarge a cut-out, take its sky off, and let it fade towards its edge; uint8."""
    image = np.asarray(Image.fromarray(galaxy).resize((side, side), Image.Resampling.LANCZOS), np.float32)
    image = np.clip((image - SKY) * 255 / (255 - SKY), 0, 255)
    axis = np.linspace(-1, 1, side)
    radius = np.hypot(*np.meshgrid(axis, axis))
    return np.uint8(image * np.clip((1 - radius) * 2, 0, 1)[..., None])


def _lay_over(field, image, place):
    """Keep the brighter of the two, where the image lies on the field."""
    side = len(image)
    left, top = (int(value - side / 2) for value in place)
    right, bottom = min(left + side, field.shape[1]), min(top + side, field.shape[0])
    there = field[max(top, 0) : bottom, max(left, 0) : right]
    np.maximum(there, image[max(-top, 0) : bottom - top, max(-left, 0) : right - left], out=there)


def main():
    """Write `book/images/field.webp`."""
    path = Path(__file__).parents[1] / "images" / "field.webp"
    Image.fromarray(deep_field()).save(path, quality=QUALITY, method=6)
    print(f"Written: {path}, {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
