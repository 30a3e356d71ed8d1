"""Numbers in sentences."""

SINGULARS = {"galaxies": "galaxy", "classes": "class", "batches": "batch"}


def counted(number, plural):
    """Return a number with what it counts: `counted(3000, "galaxies")` is "3,000 galaxies", of one it is "1 galaxy"."""
    noun = SINGULARS.get(plural, plural.removesuffix("s")) if number == 1 else plural
    return f"{number:,} {noun}"
