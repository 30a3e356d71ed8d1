"""What simulated galaxies truly are, before one is drawn, and how simulated volunteers vote on them.

A galaxy is a handful of true quantities (`Morphology`): its picture (`galaxy_recipes`) and the votes both follow from
them. Sizes are in arcseconds, angles in radians unless said otherwise, magnitudes in the AB system. Sizes, brightnesses
and colours were set by hand so that their medians and spreads resemble those of real cut-outs.
"""

import math
from collections import namedtuple

import numpy as np
import scipy.special

from galaxy_utils.classes import NUM_CLASSES

NUM_VOLUNTEERS = 40  # classifications that Galaxy Zoo DECaLS aims at for a galaxy (Walmsley et al. 2021)

DISTURBED, MERGING, ROUND, IN_BETWEEN, CIGAR, BARRED, TIGHT, LOOSE, EDGE_ON, EDGE_ON_BULGE = range(NUM_CLASSES)
SMOOTH = (ROUND, IN_BETWEEN, CIGAR)


# What a simulated galaxy truly is. The picture and the volunteers' votes both follow from these numbers.
#
#     label               the class whose recipe it follows
#     merger              visibility of a second galaxy in contact, 0 to 1
#     disturbance         strength of tails, warps and lopsidedness, 0 to 1
#     features            visibility of structure such as arms, a bar or an edge-on disc, 0 to 1
#     axis_ratio          apparent minor over major axis; of an edge-on disc its thickness
#     bulge_share         bulge's share of the light
#     bar                 strength of the bar, 0 to 1
#     pitch               pitch angle of the arms, degrees
#     arms                number of arms
#     size                half-light radius of a smooth galaxy or scale length of a disc, arcseconds, along the major
#                         axis
#     surface_brightness  r band, magnitudes per square arcsecond: mean within the half-light radius of a smooth galaxy,
#                         central (face-on) of a disc
#     sersic_index        of the smooth galaxy, or of the bulge
#     colour              g − z of the whole galaxy, magnitudes
#     position_angle      radians
#     companion           offset (x, y) of a merging galaxy's partner from the picture's centre, arcseconds; else (0, 0)
#     partner_share       how far from the main galaxy to its partner the picture's centre lies, 0 to 0.5
Morphology = namedtuple(
    "Morphology",
    "label merger disturbance features axis_ratio bulge_share bar pitch arms size surface_brightness sersic_index "
    "colour position_angle companion partner_share",
)

# Per class: median size, its spread (natural logarithm), surface brightness and its spread, colour g − z and spread.
POPULATION = {
    DISTURBED: (2.1, 0.36, 20.75, 0.45, 1.08, 0.27),
    MERGING: (1.85, 0.4, 20.2, 0.4, 1.45, 0.26),
    ROUND: (2.0, 0.38, 20.75, 0.4, 1.43, 0.27),
    IN_BETWEEN: (1.75, 0.30, 20.5, 0.4, 1.27, 0.27),
    CIGAR: (3.0, 0.35, 20.9, 0.45, 1.20, 0.28),
    BARRED: (3.8, 0.40, 21.0, 0.5, 1.08, 0.26),
    TIGHT: (3.25, 0.30, 20.85, 0.4, 1.13, 0.24),
    LOOSE: (2.5, 0.36, 20.9, 0.45, 1.0, 0.22),
    EDGE_ON: (6.3, 0.40, 22.2, 0.5, 1.06, 0.23),
    EDGE_ON_BULGE: (3.9, 0.35, 21.45, 0.4, 1.45, 0.22),
}


def clip(value, low, high):
    return float(min(max(value, low), high))


def draw_morphology(label, rng):
    """Draw what a galaxy of a class truly is.

    Args:
        label: Class, 0 to 9.
        rng: `numpy.random.Generator`.
    """
    size, size_spread, brightness, brightness_spread, colour, colour_spread = POPULATION[label]
    axis_ratio = {
        DISTURBED: rng.uniform(0.3, 0.95),
        MERGING: rng.uniform(0.5, 1.0),
        ROUND: 1 - abs(rng.normal(0, 0.09)),
        IN_BETWEEN: clip(rng.normal(0.60, 0.07), 0.48, 0.82),
        CIGAR: clip(rng.normal(0.33, 0.06), 0.2, 0.55),
        BARRED: rng.uniform(0.45, 0.98),
        TIGHT: rng.uniform(0.45, 0.98),
        LOOSE: rng.uniform(0.40, 0.98),
        EDGE_ON: clip(rng.normal(0.195, 0.05), 0.08, 0.33),
        EDGE_ON_BULGE: clip(rng.normal(0.19, 0.05), 0.08, 0.33),
    }[label]
    features = rng.beta(1.5, 5) * 0.6 if label in SMOOTH else clip(rng.normal(0.75, 0.14), 0.42, 1.0)
    bulge_share = {
        EDGE_ON: rng.uniform(0.0, 0.09),
        EDGE_ON_BULGE: rng.uniform(0.14, 0.45),
        TIGHT: rng.uniform(0.12, 0.35),
        LOOSE: rng.uniform(0.05, 0.25),
        BARRED: rng.uniform(0.03, 0.2),
        DISTURBED: rng.uniform(0.1, 0.45),
    }.get(label, rng.uniform(0.02, 0.3))
    pitches = {TIGHT: rng.normal(12, 3), LOOSE: rng.normal(28, 5), BARRED: rng.normal(18, 5)}
    pitch = pitches.get(label, rng.normal(24, 6))
    smooth_index = {ROUND: rng.uniform(1.5, 5.5), IN_BETWEEN: rng.uniform(1, 3.5), CIGAR: rng.uniform(0.8, 1.8)}
    size *= math.exp(rng.normal(0, size_spread))
    companion, partner_share = (0.0, 0.0), 0.0
    if label == MERGING:
        separation = (2.6 + 4.2 * rng.gamma(1.6, 0.5)) * (size / 1.7) ** 0.5
        direction, partner_share = rng.uniform(0, 2 * np.pi), float(rng.choice([0.0, 0.25, 0.5], p=[0.6, 0.2, 0.2]))
        distance = (1 - partner_share) * separation
        companion = distance * math.cos(direction), distance * math.sin(direction)
    drawn = {"label": label, "features": features, "axis_ratio": axis_ratio, "bulge_share": bulge_share, "size": size}
    drawn |= {"companion": companion, "partner_share": partner_share}
    # Plain floats, not NumPy's: they leave the 32-bit arrays of the drawing at 32 bits.
    return Morphology(
        **drawn,
        merger=clip(rng.normal(0.85, 0.15), 0.4, 1.0) if label == MERGING else rng.beta(1, 9) * 0.6,
        disturbance=clip(rng.normal(0.8, 0.15), 0.4, 1.0) if label == DISTURBED else rng.beta(1.2, 6) * 0.7,
        bar=clip(rng.normal(0.8, 0.15), 0.4, 1.0) if label == BARRED else rng.beta(1.2, 6) * 0.6,
        pitch=clip(pitch, 6, 42),
        arms=int(rng.choice([2, 3, 4, 5], p=[0.45, 0.2, 0.2, 0.15] if label == TIGHT else [0.8, 0.12, 0.06, 0.02])),
        surface_brightness=rng.normal(brightness, brightness_spread),
        sersic_index=smooth_index.get(label, rng.uniform(1.5, 4)),
        colour=clip(rng.normal(colour, colour_spread), 0.55, 2.1),
        position_angle=rng.uniform(0, np.pi),
    )


def draw_redshift(morphology, rng):
    """Draw a redshift: galaxies that look small are on average farther away. One in a hundred has none (NaN)."""
    redshift = 0.085 * (2.5 / morphology.size) ** 0.8 * math.exp(rng.normal(0, 0.35))
    return np.nan if rng.random() < 0.01 else clip(redshift, 0.003, 0.4)


def _yes(value, boundary, width):
    return float(scipy.special.expit((value - boundary) / width))


def vote_probabilities(morphology):
    """Return how likely one volunteer puts this galaxy into each class, shape (10,), float64, sum 1.

    The questions of the Galaxy Zoo decision tree in order, each answered yes with a logistic probability of the true
    quantity behind it: merging? disturbed? smooth (then how round) or featured (then edge-on and its bulge, or bar,
    or how tightly wound)? Galaxies near a boundary divide the volunteers.
    """
    merging, disturbed = _yes(morphology.merger, 0.5, 0.10), _yes(morphology.disturbance, 0.5, 0.10)
    featured = _yes(morphology.features, 0.45, 0.07)
    edge_on, bulge = _yes(-morphology.axis_ratio, -0.36, 0.02), _yes(morphology.bulge_share, 0.12, 0.02)
    barred, tight = _yes(morphology.bar, 0.5, 0.10), _yes(-morphology.pitch, -20, 2.0)
    round_, cigar = _yes(morphology.axis_ratio, 0.80, 0.03), _yes(-morphology.axis_ratio, -0.50, 0.03)

    regular = (1 - merging) * (1 - disturbed)
    smooth, disc = regular * (1 - featured), regular * featured
    face_on = disc * (1 - edge_on)
    shares = {MERGING: merging, DISTURBED: (1 - merging) * disturbed, ROUND: smooth * round_, BARRED: face_on * barred}
    shares |= {CIGAR: smooth * (1 - round_) * cigar, IN_BETWEEN: smooth * (1 - round_) * (1 - cigar)}
    shares |= {EDGE_ON: disc * edge_on * (1 - bulge), EDGE_ON_BULGE: disc * edge_on * bulge}
    shares |= {TIGHT: face_on * (1 - barred) * tight, LOOSE: face_on * (1 - barred) * (1 - tight)}
    probabilities = np.array([shares[label] for label in range(NUM_CLASSES)])
    return probabilities / probabilities.sum()


def cast_votes(morphology, rng, num_volunteers=NUM_VOLUNTEERS):
    """Let volunteers vote; return the fraction of votes for each class, shape (10,), float32."""
    votes = rng.multinomial(num_volunteers, vote_probabilities(morphology))
    return (votes / num_volunteers).astype(np.float32)
