"""The ten classes of Galaxy10 DECaLS: names, official counts and the colour each has in every figure."""

from typing import NamedTuple


class GalaxyClass(NamedTuple):
    """One class of Galaxy10 DECaLS.

    Attributes:
        label: Integer label in the file (0–9).
        name: Official name.
        short_name: A name that fits on an axis.
        count: Galaxies of this class in the official file.
        colour: Hexadecimal RGB colour used in every figure.
        marker: Matplotlib marker, so that colour never carries the meaning alone.
    """

    label: int
    name: str
    short_name: str
    count: int
    colour: str
    marker: str


# Counts: Galaxy10 DECaLS documentation (Leung & Bovy) and the official file's `ans` column.
# Colours: Paul Tol's "muted" scheme plus lavender, chosen because they stay distinguishable with the common
# colour-vision deficiencies (https://personal.sron.nl/~pault/; a test simulates them: his grey would be one with wine).
CLASSES = (
    GalaxyClass(0, "Disturbed", "Disturbed", 1081, "#CC6677", "o"),
    GalaxyClass(1, "Merging", "Merging", 1853, "#882255", "s"),
    GalaxyClass(2, "Round Smooth", "Round", 2645, "#DDCC77", "D"),
    GalaxyClass(3, "In-between Round Smooth", "In-between", 2027, "#999933", "^"),
    GalaxyClass(4, "Cigar Shaped Smooth", "Cigar", 334, "#8877EE", "v"),
    GalaxyClass(5, "Barred Spiral", "Barred", 2043, "#332288", "P"),
    GalaxyClass(6, "Unbarred Tight Spiral", "Tight spiral", 1829, "#88CCEE", "X"),
    GalaxyClass(7, "Unbarred Loose Spiral", "Loose spiral", 2628, "#44AA99", "*"),
    GalaxyClass(8, "Edge-on without Bulge", "Edge-on, no bulge", 1423, "#117733", "<"),
    GalaxyClass(9, "Edge-on with Bulge", "Edge-on, bulge", 1873, "#AA4499", ">"),
)

NUM_CLASSES = len(CLASSES)
_, CLASS_NAMES, SHORT_CLASS_NAMES, OFFICIAL_CLASS_COUNTS, CLASS_COLOURS, CLASS_MARKERS = zip(*CLASSES, strict=True)
