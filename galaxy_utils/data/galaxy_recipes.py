"""How a simulated galaxy is made: physical recipes of the ten classes, the camera, the stretch, the volunteers.

A picture is built as light falls on it: components of the galaxy (bulge, disc, bar, arms, tails) and its field (stars,
background galaxies) are drawn in nanomaggies per pixel in the bands g, r, z; the seeing blurs each band; the sky adds
noise; the usual asinh stretch turns three bands into an RGB picture. Sizes are in arcseconds, angles in radians and
magnitudes in the AB system throughout. Sizes, brightnesses and colours were set so that their medians and spreads
resemble those of real cut-outs; no recipe was fitted to pixels.
"""

import io
from dataclasses import dataclass, replace

import galsim
import numpy as np
import scipy.fft
import scipy.special
from PIL import Image

from galaxy_utils.classes import NUM_CLASSES

RECIPE_VERSION = 1

FIELD_OF_VIEW = 256 * 0.262  # arcseconds: 256 pixels of the Legacy Surveys' usual cut-outs
BANDS = "grz"
GRAINS = 10
NUM_VOLUNTEERS = 40  # classifications that Galaxy Zoo DECaLS aims at for a galaxy (Walmsley et al. 2021)

DISTURBED, MERGING, ROUND, IN_BETWEEN, CIGAR, BARRED, TIGHT, LOOSE, EDGE_ON, EDGE_ON_BULGE = range(NUM_CLASSES)
SMOOTH = (ROUND, IN_BETWEEN, CIGAR)
FACE_ON = (BARRED, TIGHT, LOOSE)


@dataclass(frozen=True)
class Telescope:
    """What a telescope does to the light: seeing (full width at half maximum, arcseconds) and noise for g, r, z.

    Attributes:
        seeing: Median width of the point-spread function.
        noise: Median standard deviation of the sky, nanomaggies in a pixel of 0.262 arcseconds.
    """

    seeing: tuple
    noise: tuple


# Seeing: Dey et al. (2019), tables 3 and 4. Noise: from the sky in real cut-outs.
DECAM = Telescope(seeing=(1.22, 1.12, 1.05), noise=(0.0023, 0.0039, 0.0074))
BASS_MZLS = Telescope(seeing=(1.52, 1.38, 0.98), noise=(0.0027, 0.0048, 0.0076))
NORTHERN_DECLINATION = 32.375  # degrees; north of it the other telescopes look


@dataclass(frozen=True)
class Morphology:
    """What a simulated galaxy truly is. The picture and the volunteers' votes both follow from these numbers.

    Attributes:
        label: The class whose recipe it follows.
        merger: Visibility of a second galaxy in contact, 0 to 1.
        disturbance: Strength of tails, warps and lopsidedness, 0 to 1.
        features: Visibility of structure such as arms, a bar or an edge-on disc, 0 to 1.
        axis_ratio: Apparent minor over major axis; of an edge-on disc its thickness.
        bulge_share: Bulge's share of the light.
        bar: Strength of the bar, 0 to 1.
        pitch: Pitch angle of the arms, degrees.
        arms: Number of arms.
        size: Half-light radius of a smooth galaxy or scale length of a disc, arcseconds along the major axis.
        surface_brightness: r band, magnitudes per square arcsecond: mean within the half-light radius of a smooth
            galaxy, central (face-on) of a disc.
        sersic_index: Of the smooth galaxy, or of the bulge.
        colour: g − z of the whole galaxy, magnitudes.
        position_angle: Radians.
        companion: Offset (x, y) of a merging galaxy's partner from the picture's centre, arcseconds; else (0, 0).
        partner_share: How far from the main galaxy to its partner the picture's centre lies, 0 to 0.5.
    """

    label: int
    merger: float
    disturbance: float
    features: float
    axis_ratio: float
    bulge_share: float
    bar: float
    pitch: float
    arms: int
    size: float
    surface_brightness: float
    sersic_index: float
    colour: float
    position_angle: float
    companion: tuple = (0.0, 0.0)
    partner_share: float = 0.0


# Per class: median size, its spread (natural logarithm), surface brightness and its spread, colour g − z and spread.
POPULATION = {
    DISTURBED: (2.15, 0.36, 20.7, 0.45, 1.08, 0.27),
    MERGING: (1.85, 0.4, 20.2, 0.4, 1.45, 0.26),
    ROUND: (2.0, 0.38, 20.75, 0.4, 1.43, 0.27),
    IN_BETWEEN: (1.75, 0.30, 20.5, 0.4, 1.27, 0.27),
    CIGAR: (3.0, 0.35, 20.9, 0.45, 1.20, 0.28),
    BARRED: (3.8, 0.40, 21.0, 0.5, 1.08, 0.26),
    TIGHT: (3.25, 0.30, 20.85, 0.4, 1.13, 0.24),
    LOOSE: (2.5, 0.36, 20.9, 0.5, 1.06, 0.23),
    EDGE_ON: (6.3, 0.40, 22.2, 0.5, 1.06, 0.23),
    EDGE_ON_BULGE: (3.9, 0.35, 21.45, 0.4, 1.45, 0.22),
}


def draw_morphology(label, rng):
    """Draw what a galaxy of a class truly is.

    Args:
        label: Class, 0 to 9.
        rng: `numpy.random.Generator`.
    """
    size, size_spread, brightness, brightness_spread, colour, colour_spread = POPULATION[label]
    axis_ratio = {
        DISTURBED: rng.uniform(0.25, 0.85),
        MERGING: rng.uniform(0.5, 1.0),
        ROUND: 1 - abs(rng.normal(0, 0.09)),
        IN_BETWEEN: np.clip(rng.normal(0.60, 0.07), 0.48, 0.82),
        CIGAR: np.clip(rng.normal(0.33, 0.06), 0.2, 0.55),
        BARRED: rng.uniform(0.45, 0.98),
        TIGHT: rng.uniform(0.45, 0.98),
        LOOSE: rng.uniform(0.40, 0.98),
        EDGE_ON: np.clip(rng.normal(0.17, 0.05), 0.07, 0.32),
        EDGE_ON_BULGE: np.clip(rng.normal(0.16, 0.045), 0.07, 0.3),
    }[label]
    features = rng.beta(1.5, 5) * 0.6 if label in SMOOTH else np.clip(rng.normal(0.75, 0.14), 0.42, 1.0)
    bulge_share = {
        EDGE_ON: rng.uniform(0.0, 0.09),
        EDGE_ON_BULGE: rng.uniform(0.14, 0.45),
        TIGHT: rng.uniform(0.12, 0.35),
        LOOSE: rng.uniform(0.05, 0.25),
        BARRED: rng.uniform(0.04, 0.26),
    }.get(label, rng.uniform(0.02, 0.3))
    pitch = {TIGHT: rng.normal(12, 3), LOOSE: rng.normal(28, 5), BARRED: rng.normal(18, 5)}.get(
        label, rng.normal(24, 6)
    )
    smooth_index = {ROUND: rng.uniform(1.5, 5.5), IN_BETWEEN: rng.uniform(1, 3.5), CIGAR: rng.uniform(0.8, 1.8)}
    size *= np.exp(rng.normal(0, size_spread))
    companion, partner_share = (0.0, 0.0), 0.0
    if label == MERGING:
        separation = (2.6 + 4.2 * rng.gamma(1.6, 0.5)) * (size / 1.7) ** 0.5
        direction, partner_share = rng.uniform(0, 2 * np.pi), rng.choice([0.0, 0.25, 0.5], p=[0.6, 0.2, 0.2])
        distance = (1 - partner_share) * separation
        companion = (distance * np.cos(direction), distance * np.sin(direction))
    return Morphology(
        label=label,
        merger=np.clip(rng.normal(0.85, 0.15), 0.4, 1.0) if label == MERGING else rng.beta(1, 9) * 0.6,
        disturbance=np.clip(rng.normal(0.8, 0.15), 0.4, 1.0) if label == DISTURBED else rng.beta(1.2, 6) * 0.7,
        features=features,
        axis_ratio=float(axis_ratio),
        bulge_share=bulge_share,
        bar=np.clip(rng.normal(0.8, 0.15), 0.4, 1.0) if label == BARRED else rng.beta(1.2, 6) * 0.6,
        pitch=float(np.clip(pitch, 6, 42)),
        arms=int(rng.choice([2, 3, 4, 5], p=[0.45, 0.2, 0.2, 0.15] if label == TIGHT else [0.8, 0.12, 0.06, 0.02])),
        size=size,
        surface_brightness=rng.normal(brightness, brightness_spread),
        sersic_index=smooth_index.get(label, rng.uniform(1.5, 4)),
        colour=float(np.clip(rng.normal(colour, colour_spread), 0.55, 2.1)),
        position_angle=rng.uniform(0, np.pi),
        companion=companion,
        partner_share=float(partner_share),
    )


def draw_redshift(morphology, rng):
    """Draw a redshift: galaxies that look small are on average farther away. One in a hundred has none (NaN)."""
    redshift = 0.085 * (2.5 / morphology.size) ** 0.8 * np.exp(rng.normal(0, 0.35))
    return np.nan if rng.random() < 0.01 else float(np.clip(redshift, 0.003, 0.4))


# ---------------------------------------------------------------------------------------------------- volunteers


def _yes(value, boundary, width):
    return float(scipy.special.expit((value - boundary) / width))


def vote_probabilities(morphology):
    """Return how likely one volunteer puts this galaxy into each class, shape (10,), float64, sum 1.

    The questions of the Galaxy Zoo decision tree in order, each answered yes with a logistic probability of the true
    quantity behind it: merging? disturbed? smooth (then how round) or featured (then edge-on and its bulge, or bar,
    or how tightly wound)? Galaxies near a boundary divide the volunteers.
    """
    merging = _yes(morphology.merger, 0.5, 0.10)
    disturbed = _yes(morphology.disturbance, 0.5, 0.10)
    featured = _yes(morphology.features, 0.45, 0.07)
    edge_on = _yes(-morphology.axis_ratio, -0.33, 0.03)
    bulge = _yes(morphology.bulge_share, 0.12, 0.02)
    barred = _yes(morphology.bar, 0.5, 0.10)
    tight = _yes(-morphology.pitch, -20, 2.0)
    round_ = _yes(morphology.axis_ratio, 0.80, 0.03)
    cigar = _yes(-morphology.axis_ratio, -0.50, 0.03)

    regular = (1 - merging) * (1 - disturbed)
    smooth, disc = regular * (1 - featured), regular * featured
    face_on = disc * (1 - edge_on)
    probabilities = np.zeros(NUM_CLASSES)
    probabilities[MERGING] = merging
    probabilities[DISTURBED] = (1 - merging) * disturbed
    probabilities[ROUND] = smooth * round_
    probabilities[CIGAR] = smooth * (1 - round_) * cigar
    probabilities[IN_BETWEEN] = smooth * (1 - round_) * (1 - cigar)
    probabilities[EDGE_ON] = disc * edge_on * (1 - bulge)
    probabilities[EDGE_ON_BULGE] = disc * edge_on * bulge
    probabilities[BARRED] = face_on * barred
    probabilities[TIGHT] = face_on * (1 - barred) * tight
    probabilities[LOOSE] = face_on * (1 - barred) * (1 - tight)
    return probabilities / probabilities.sum()


def cast_votes(morphology, rng, num_volunteers=NUM_VOLUNTEERS):
    """Let volunteers vote; return the fraction of votes for each class, shape (10,), float32."""
    votes = rng.multinomial(num_volunteers, vote_probabilities(morphology))
    return (votes / num_volunteers).astype(np.float32)


# -------------------------------------------------------------------------------------------- drawing components


def band_fluxes(flux, colour, bend=0.0):
    """Return fluxes in g, r, z for a flux in r and a colour g − z, which is shared 58 : 42 between g − r and r − z.

    Args:
        flux: Nanomaggies, one number or shape (n,).
        colour: g − z in magnitudes, likewise.
        bend: Magnitudes moved from r − z to g − r, likewise.

    Returns:
        Array of shape (3,) or (3, n), float32.
    """
    g_minus_r = 0.58 * np.asarray(colour) + bend
    r_minus_z = 0.42 * np.asarray(colour) - bend
    return (flux * 10 ** (0.4 * np.stack([-g_minus_r, np.zeros_like(g_minus_r), r_minus_z]))).astype(np.float32)


class Canvas:
    """The sky before the atmosphere: light in nanomaggies per pixel, three bands, with a margin around the picture.

    Args:
        image_size: Side of the picture, pixels.
    """

    def __init__(self, image_size):
        self.image_size = image_size
        self.pixel_scale = FIELD_OF_VIEW / image_size
        self.margin = max(8, image_size // 16)
        self.size = image_size + 2 * self.margin
        self.centre = (self.size - 1) / 2
        self.light = np.zeros((3, self.size, self.size), np.float32)

    def pixels_of(self, x, y):
        """Return the pixel position of an offset from the picture's centre in arcseconds."""
        return self.centre + x / self.pixel_scale, self.centre + y / self.pixel_scale

    def box(self, x, y, half_size):
        """Return slices (rows, columns) of the square around an offset that lies on the canvas, or `None`."""
        column, row = self.pixels_of(x, y)
        half = half_size / self.pixel_scale
        first_row, last_row = max(0, int(row - half)), min(self.size, int(row + half) + 2)
        first_column, last_column = max(0, int(column - half)), min(self.size, int(column + half) + 2)
        if last_row - first_row < 2 or last_column - first_column < 2:
            return None
        return slice(first_row, last_row), slice(first_column, last_column)

    def offsets(self, box, x, y):
        """Return x and y offsets from a position, arcseconds, for each pixel of a box (as a row and a column)."""
        column, row = self.pixels_of(x, y)
        horizontal = (np.arange(box[1].start, box[1].stop, dtype=np.float32) - np.float32(column)) * self.pixel_scale
        vertical = (np.arange(box[0].start, box[0].stop, dtype=np.float32) - np.float32(row)) * self.pixel_scale
        return horizontal[None, :].astype(np.float32), vertical[:, None].astype(np.float32)

    def add(self, box, shape, fluxes, normalise=True):
        """Add light of one shape with its flux in each band; a shape is scaled to sum 1 first."""
        if normalise:
            shape = shape / max(float(shape.sum()), 1e-12)
        for band in range(3):
            self.light[band][box] += shape * np.float32(fluxes[band])

    def add_sersic(self, fluxes, index, half_light_radius, axis_ratio=1.0, position_angle=0.0, x=0.0, y=0.0):
        """Add a Sérsic profile drawn by GalSim. `half_light_radius` is circularised, arcseconds."""
        reach = half_light_radius * (4 + 2.5 * index) / np.sqrt(axis_ratio)
        box = self.box(x, y, min(reach, 1.2 * FIELD_OF_VIEW))
        if box is None:
            return
        column, row = self.pixels_of(x, y)
        width, height = box[1].stop - box[1].start, box[0].stop - box[0].start
        # GalSim tabulates each Sérsic index once, so indices are rounded to quarters.
        profile = galsim.Sersic(max(0.5, round(4 * index) / 4), half_light_radius=half_light_radius / self.pixel_scale)
        profile = profile.shear(q=float(np.clip(axis_ratio, 0.05, 1)), beta=position_angle * galsim.radians)
        offset = galsim.PositionD(column - (box[1].start + (width - 1) / 2), row - (box[0].start + (height - 1) / 2))
        stamp = profile.drawImage(
            nx=width, ny=height, scale=1, method="no_pixel", offset=offset, dtype=np.float32, use_true_center=True
        ).array
        # A profile sampled at its own cusp is too bright in that one pixel.
        self.add(box, stamp, fluxes, normalise=half_light_radius > 0.3 and abs(x) + abs(y) < FIELD_OF_VIEW / 3)

    def add_points(self, x, y, fluxes):
        """Add points of light (stars, clumps): x, y (n,) arcseconds, fluxes (3, n), shared among four pixels."""
        column, row = self.pixels_of(np.asarray(x), np.asarray(y))
        inside = (column >= 0) & (column < self.size - 1) & (row >= 0) & (row < self.size - 1)
        column, row, fluxes = column[inside], row[inside], np.asarray(fluxes)[:, inside]
        left, lower = column.astype(int), row.astype(int)
        right, upper = column - left, row - lower
        corner = lower * self.size + left
        pixels = np.concatenate([corner, corner + 1, corner + self.size, corner + self.size + 1])
        shares = np.concatenate([(1 - right) * (1 - upper), right * (1 - upper), (1 - right) * upper, right * upper])
        for band in range(3):
            np.add.at(self.light[band].reshape(-1), pixels, (np.tile(fluxes[band], 4) * shares).astype(np.float32))


def _disc_plane(canvas, box, x, y, axis_ratio, position_angle, warp=0.0, size=1.0):
    """Return coordinates (u along the major axis, v perpendicular, not yet deprojected), arcseconds, on a box."""
    horizontal, vertical = canvas.offsets(box, x, y)
    cosine, sine = np.float32(np.cos(position_angle)), np.float32(np.sin(position_angle))
    u = horizontal * cosine + vertical * sine
    v = vertical * cosine - horizontal * sine
    if warp:
        v = v - np.float32(warp) * u * np.abs(u) / np.float32(4 * size)
    return u, v


def _disc_flux(surface_brightness, scale_length):
    """Flux in r of a face-on exponential disc, nanomaggies: 2 π h² times its central surface brightness."""
    return 2 * np.pi * scale_length**2 * 10 ** (0.4 * (22.5 - surface_brightness))


def _paint_smooth(canvas, morphology, rng, x, y):
    m = morphology
    radius = m.size * np.sqrt(m.axis_ratio)
    flux = 2 * np.pi * radius**2 * 10 ** (0.4 * (22.5 - m.surface_brightness))
    envelope = rng.uniform(0.0, 0.35) if m.sersic_index > 2 else 0.0
    gradient = rng.uniform(0.0, 0.25)
    canvas.add_sersic(
        band_fluxes((1 - envelope) * flux, m.colour + gradient * envelope),
        m.sersic_index, radius, m.axis_ratio, m.position_angle, x, y,
    )  # fmt: skip
    if envelope:
        shift = rng.normal(0, 0.15, 2) * radius
        canvas.add_sersic(
            band_fluxes(envelope * flux, m.colour - gradient),
            1.0, 1.7 * radius, min(1, m.axis_ratio + 0.05), m.position_angle, x + shift[0], y + shift[1],
        )  # fmt: skip
    if m.features > 0.15:
        # Structure that only some volunteers notice: a faint disc with weak arms.
        _paint_disc(canvas, m, rng, x, y, 0.35 * flux, 0.55 * m.size, contrast=0.8 * m.features, colour=m.colour - 0.1)


def _paint_disc(canvas, m, rng, x, y, flux, scale_length, contrast, colour):
    """Exponential disc with logarithmic spiral arms, clumps and star-forming knots; `flux` in r, nanomaggies."""
    box = canvas.box(x, y, 5.5 * scale_length)
    if box is None:
        return
    lopsided = 0.12 * rng.random() + 0.35 * m.disturbance * rng.uniform(0.5, 1.0)
    u, v = _disc_plane(canvas, box, x, y, m.axis_ratio, m.position_angle, 0.3 * max(0.0, m.disturbance - 0.3), m.size)
    v = v / np.float32(m.axis_ratio)
    radius = np.sqrt(u * u + v * v) + np.float32(0.02)
    angle = np.arctan2(v, u)
    scaled = radius / np.float32(scale_length)
    if lopsided:
        scaled = scaled * (1 - np.float32(lopsided) * 0.5 * np.cos(angle - np.float32(rng.uniform(0, 2 * np.pi))))
    edge = scipy.special.expit((np.float32(rng.uniform(3.0, 4.8)) - scaled) * np.float32(rng.uniform(1.5, 4)))
    disc = np.exp(-scaled) * edge

    # Logarithmic spiral: the ridge of an arm follows θ = ln(r / r0) / tan(pitch). Slow wobbles keep arms from
    # looking ruled, and each arm has its own strength.
    logarithm = np.log(scaled)
    winding = rng.choice([-1.0, 1.0])
    phase = winding * angle - logarithm / np.float32(np.tan(np.radians(m.pitch)))
    phase += np.float32(rng.uniform(0, 2 * np.pi))
    for frequency in (1, 2, 3, 5):
        phase += np.float32(rng.normal(0, 0.26)) * np.sin(
            np.float32(frequency) * angle
            + np.float32(rng.normal(0, 3)) * logarithm
            + np.float32(rng.uniform(0, 2 * np.pi))
        )
    sharpness = np.float32(rng.uniform(0.8, 2.6))
    ridge = np.exp(sharpness * (np.cos(np.float32(m.arms) * phase) - 1))
    strength = 1 + np.float32(rng.uniform(0.0, 0.35) + 0.5 * m.disturbance) * np.cos(
        phase + np.float32(rng.uniform(0, 2 * np.pi))
    )
    start = np.float32(rng.uniform(0.3, 0.8) if m.bar < 0.4 else 1.0)
    inner = scipy.special.expit((scaled - start) * np.float32(5))
    arms = ridge * strength * inner
    # A bar sweeps the disc beside it clear of young stars.
    swept = 1 - np.float32(rng.uniform(0.0, 0.9) * m.bar**2) * np.exp(-((scaled / np.float32(0.9)) ** 2))
    clumps = np.exp(np.float32(0.65) * rng.standard_normal(disc.shape, dtype=np.float32))

    contrast = np.float32(contrast * rng.uniform(0.35, 1.0))
    old = disc * (1 - np.float32(0.35) * contrast + np.float32(1.1) * contrast * arms)
    young = (
        np.exp(-scaled * np.float32(0.72))
        * edge
        * swept
        * (np.float32(1.02) - contrast + np.float32(2) * contrast * arms)
    )
    young_share = np.clip(0.36 + 0.45 * (1.3 - colour), 0.15, 0.62)
    canvas.add(box, old, band_fluxes((1 - young_share) * flux, colour + 0.28))
    canvas.add(box, young * clumps, band_fluxes(young_share * flux, colour - 0.36))

    # Star-forming regions sit on the arms; nebular lines make them bluest.
    num_knots = rng.poisson(14 * contrast * young_share * np.sqrt(scale_length))
    if num_knots:
        cumulative = np.cumsum((young * arms).ravel(), dtype=np.float64)
        chosen = np.searchsorted(cumulative, rng.random(num_knots) * cumulative[-1])
        rows, columns = np.unravel_index(np.minimum(chosen, disc.size - 1), disc.shape)
        horizontal, vertical = canvas.offsets(box, 0, 0)
        light = young_share * flux * 0.007 * rng.exponential(1.0, num_knots)
        canvas.add_points(horizontal[0, columns], vertical[rows, 0], band_fluxes(1.0, colour - 0.75)[:, None] * light)


def _paint_bar(canvas, m, x, y, flux, scale_length, rng):
    length = scale_length * rng.uniform(0.9, 1.5)
    angle = rng.uniform(0, np.pi)
    # The bar lies in the disc: its direction and length on the sky follow from the inclination.
    along = np.cos(angle), m.axis_ratio * np.sin(angle)
    foreshortening = np.hypot(*along)
    direction = m.position_angle + np.arctan2(along[1], along[0])
    thickness = rng.uniform(0.2, 0.42) / max(foreshortening, 0.5)
    half_light = length * foreshortening * np.sqrt(thickness) * 0.62
    canvas.add_sersic(
        band_fluxes(flux, m.colour + rng.uniform(-0.05, 0.45)), 0.5, half_light, min(thickness, 0.8), direction, x, y
    )


def _paint_spiral(canvas, m, rng, x, y):
    flux = _disc_flux(m.surface_brightness, m.size)
    bar_share = 0.42 * max(0.0, m.bar - 0.15) if m.bar > 0.3 else 0.0
    _paint_disc(canvas, m, rng, x, y, (1 - m.bulge_share - bar_share) * flux * m.axis_ratio**0.5, m.size,
                contrast=m.features, colour=m.colour)  # fmt: skip
    if bar_share:
        _paint_bar(canvas, m, x, y, bar_share * flux, m.size, rng)
    bulge_radius = m.size * rng.uniform(0.22, 0.38)
    canvas.add_sersic(
        band_fluxes(m.bulge_share * flux, m.colour + 0.5), m.sersic_index, bulge_radius,
        0.5 + 0.5 * m.axis_ratio, m.position_angle, x, y,
    )  # fmt: skip


def _paint_edge_on(canvas, m, rng, x, y):
    """Disc seen from the side: (u / h) K1(u / h) sech²(v / z0), van der Kruit and Searle (1981), with a dust lane."""
    box = canvas.box(x, y, 5.5 * m.size)
    if box is None:
        return
    u, v = _disc_plane(canvas, box, x, y, m.axis_ratio, m.position_angle, rng.normal(0, 0.07), m.size)
    height = np.float32(m.size * m.axis_ratio * rng.uniform(0.9, 1.2))
    flux = _disc_flux(m.surface_brightness, m.size) * 0.75
    cut = np.float32(m.size * rng.uniform(2.2, 3.6))
    # A small tilt or a thicker middle keeps the outline from being a ruler.
    flare = height * (1 + np.float32(rng.uniform(-0.22, 0.08)) * np.minimum(np.abs(u) / np.float32(m.size), 3))
    table_radius = np.linspace(0, 6, 600)
    table = np.append(1.0, table_radius[1:] * scipy.special.k1(table_radius[1:])).astype(np.float32)

    def disc(scale_length, thickness):
        along = np.interp(np.abs(u) / np.float32(scale_length), table_radius, table).astype(np.float32)
        return along / np.cosh(np.minimum(np.abs(v) / (flare * np.float32(thickness)), 20)) ** 2 * end

    # An old, thick disc around the thin one, as most edge-on galaxies have.
    thick_share = rng.uniform(0.05, 0.25)

    end = scipy.special.expit((cut - np.abs(u)) / np.float32(m.size * rng.uniform(0.2, 0.45)))
    one_sided = 1 + np.float32(rng.normal(0, 0.25) + 0.4 * m.disturbance * rng.choice([-1, 1])) * np.tanh(
        u / np.float32(m.size)
    )
    disc_flux = (1 - m.bulge_share) * flux
    young_share = np.clip(0.42 + 0.45 * (1.15 - m.colour), 0.1, 0.7)
    dust = np.float32(rng.beta(1.4, 1.6) * (0.95 if m.colour > 1.0 else 0.5))
    lane_height = height * np.float32(rng.uniform(0.25, 0.45))
    lane = dust * np.exp(-(((v - height * np.float32(rng.normal(0, 0.25))) / lane_height) ** 2))
    lane = lane * np.exp(-((u / np.float32(1.6 * m.size)) ** 2))
    clumps = np.exp(np.float32(0.7) * rng.standard_normal(u.shape, dtype=np.float32))
    old = disc(0.8 * m.size, 1.0) + np.float32(thick_share) * disc(1.1 * m.size, 2.2)
    young = disc(1.3 * m.size, 0.8) * one_sided * clumps
    light = (old / old.sum())[None] * band_fluxes((1 - young_share) * disc_flux, m.colour + 0.42)[:, None, None]
    light += (young / young.sum())[None] * band_fluxes(young_share * disc_flux, m.colour - 0.38)[:, None, None]
    # Dust takes more blue light than red: absorption in g : r : z about 1 : 0.72 : 0.4 (Schlafly & Finkbeiner 2011).
    for band, weight in enumerate((1.0, 0.72, 0.4)):
        canvas.light[band][box] += light[band] * (1 - np.float32(weight) * lane)
    if m.bulge_share > 0.01:
        canvas.add_sersic(
            band_fluxes(m.bulge_share * flux, m.colour + 0.12), min(m.sersic_index, 2.5),
            m.size * (0.2 + 0.35 * m.bulge_share) * rng.uniform(0.85, 1.2), rng.uniform(0.55, 0.9),
            m.position_angle, x, y,
        )  # fmt: skip


def _paint_tail(canvas, m, rng, x, y, flux, colour, reach):
    """One tidal tail: a broken arc of a spiral that leaves the galaxy and fades."""
    length = 160
    along = np.linspace(0, 1, length)
    first = rng.uniform(0.8, 1.3) * m.size
    distance = first + (reach - first) * along
    bend = rng.choice([-1, 1]) * rng.uniform(0.3, 2.2)
    # Tides pull along the long axis of what they leave behind.
    angle = np.pi * rng.integers(2) + rng.normal(0, 0.5) + bend * along**1.3
    width = m.size * rng.uniform(0.10, 0.25) * (1 + along)
    scatter = rng.standard_normal((2, 8, length)) * width
    light = np.exp(-along * rng.uniform(0.6, 2.2)) * np.exp(0.5 * rng.standard_normal((8, length)))
    major = distance * np.cos(angle)
    minor = distance * np.sin(angle) * max(m.axis_ratio, 0.5)
    cosine, sine = np.cos(m.position_angle), np.sin(m.position_angle)
    horizontal = x + major * cosine - minor * sine + scatter[0]
    vertical = y + major * sine + minor * cosine + scatter[1]
    light = light / light.sum()
    canvas.add_points(horizontal.ravel(), vertical.ravel(), band_fluxes(flux, colour)[:, None] * light.ravel())


def _paint_disturbed(canvas, m, rng, x, y):
    flux = _disc_flux(m.surface_brightness, m.size)
    body = rng.random()
    if body < 0.55:
        _paint_disc(canvas, m, rng, x, y, (1 - m.bulge_share) * flux * m.axis_ratio**0.5, m.size,
                    contrast=0.75 * m.features, colour=m.colour)  # fmt: skip
    else:
        canvas.add_sersic(band_fluxes((1 - m.bulge_share) * flux, m.colour), 1.25, 1.2 * m.size,
                          m.axis_ratio, m.position_angle, x, y)  # fmt: skip
    shift = 0.12 * m.size * m.disturbance
    bulge = band_fluxes((0.05 + m.bulge_share) * flux, m.colour + 0.35)
    canvas.add_sersic(bulge, 1.5, 0.35 * m.size, 0.8, m.position_angle,
                      x + rng.normal(0, shift), y + rng.normal(0, shift))  # fmt: skip
    for _ in range(rng.choice([1, 2, 3], p=[0.5, 0.4, 0.1])):
        share = m.disturbance * rng.uniform(0.06, 0.28)
        _paint_tail(canvas, m, rng, x, y, share * flux, m.colour - rng.uniform(0, 0.3), m.size * rng.uniform(3, 6.5))
    if rng.random() < 0.4:
        # A displaced shell or plume of stars.
        angle, distance = rng.uniform(0, 2 * np.pi), m.size * rng.uniform(0.8, 2.2)
        share = rng.uniform(0.08, 0.25)
        canvas.add_sersic(band_fluxes(share * flux, m.colour - 0.1), 0.5, m.size * rng.uniform(0.5, 1),
                          rng.uniform(0.3, 0.8), rng.uniform(0, np.pi),
                          x + distance * np.cos(angle), y + distance * np.sin(angle))  # fmt: skip


def _paint_merging(canvas, m, rng, x, y):
    """Two galaxies in contact: each a spheroid or a disc, a bridge, a common envelope, perhaps tails."""
    partner = np.array(m.companion)
    main = -partner * m.partner_share / (1 - m.partner_share)
    separation, direction = np.hypot(*(partner - main)), np.arctan2(*(partner - main)[::-1])
    ratio = rng.uniform(0.35, 1.0) * (0.4 + 0.6 * m.merger)
    places = [(x + main[0], y + main[1]), (x + partner[0], y + partner[1])]
    total = 0.0
    for (px, py), scale in zip(places, (1.0, np.sqrt(ratio)), strict=True):
        size = m.size * scale * np.exp(rng.normal(0, 0.15))
        colour = m.colour + rng.normal(0, 0.15)
        axis_ratio, angle = rng.uniform(0.4, 1.0), rng.uniform(0, np.pi)
        flux = 2 * np.pi * size**2 * 10 ** (0.4 * (22.5 - m.surface_brightness))
        total += flux
        if colour > 1.2 or rng.random() < 0.35:
            canvas.add_sersic(band_fluxes(flux * axis_ratio, colour), rng.uniform(1.5, 4), size * np.sqrt(axis_ratio),
                              axis_ratio, angle, px, py)  # fmt: skip
        else:
            part = replace(m, axis_ratio=axis_ratio, position_angle=angle, size=0.85 * size, disturbance=0.5, bar=0.0)
            _paint_disc(canvas, part, rng, px, py, 0.75 * flux, part.size, 0.5 * m.features, colour)
            canvas.add_sersic(band_fluxes(0.25 * flux, colour + 0.3), 2.0, 0.3 * size, 0.8, angle, px, py)
    # The bridge: stars and gas pulled out between the two.
    along = rng.random(600)
    bow = rng.normal(0, 0.15) * separation * np.sin(np.pi * along)
    (x1, y1), (x2, y2) = places
    scatter = rng.standard_normal((2, 600)) * 0.4 * m.size
    bridge_x = x1 + along * (x2 - x1) - bow * np.sin(direction) + scatter[0]
    bridge_y = y1 + along * (y2 - y1) + bow * np.cos(direction) + scatter[1]
    share = m.merger * rng.uniform(0.01, 0.08)
    canvas.add_points(bridge_x, bridge_y, band_fluxes(share * total / 600, m.colour - 0.1)[:, None] * np.ones(600))
    middle = (x1 + x2) / 2, (y1 + y2) / 2
    canvas.add_sersic(band_fluxes(0.3 * m.merger * rng.random() * total, m.colour), 1.0, 0.5 * separation + m.size,
                      rng.uniform(0.5, 0.9), direction, *middle)  # fmt: skip
    if rng.random() < 0.3:
        _paint_tail(canvas, m, rng, *places[0], 0.08 * m.merger * total, m.colour - 0.2, separation + 2 * m.size)


def paint_galaxy(canvas, morphology, rng, x=0.0, y=0.0):
    """Add a galaxy to a canvas, its centre near an offset from the picture's centre, arcseconds."""
    # A survey's catalogue places a galaxy to within about half a pixel.
    x, y = rng.normal(0, 0.13, 2) + (x, y)
    if morphology.label in SMOOTH:
        _paint_smooth(canvas, morphology, rng, x, y)
    elif morphology.label in FACE_ON:
        _paint_spiral(canvas, morphology, rng, x, y)
    elif morphology.label in (EDGE_ON, EDGE_ON_BULGE):
        _paint_edge_on(canvas, morphology, rng, x, y)
    elif morphology.label == DISTURBED:
        _paint_disturbed(canvas, morphology, rng, x, y)
    else:
        _paint_merging(canvas, morphology, rng, x, y)


def _magnitudes(rng, count, bright, faint, slope):
    """Draw magnitudes from counts that grow as 10^(slope · m) between two limits."""
    low, high = 10 ** (slope * bright), 10 ** (slope * faint)
    return np.log10(low + rng.random(count) * (high - low)) / slope


def paint_field(canvas, rng, x=0.0, y=0.0, wide=False):
    """Add foreground stars and background galaxies; `x`, `y` move the whole field, arcseconds.

    `wide` draws the field far beyond the picture, so that it can be moved without an empty border.
    """
    half = FIELD_OF_VIEW / 2 + (40.0 if wide else 3.0)
    crowding = (2 * half / FIELD_OF_VIEW) ** 2
    num_stars = rng.poisson(7.5 * crowding)
    magnitudes = _magnitudes(rng, num_stars, 14.5, 23.5, 0.22)
    # Two ends of the stellar locus: sun-like stars in blue-white, and the many red dwarfs, bright in z.
    dwarfs = rng.random(num_stars) < 0.3 + 0.35 * (magnitudes > 19.5)
    colours = np.where(dwarfs, rng.normal(2.6, 0.5, num_stars), np.abs(rng.normal(0.75, 0.35, num_stars)))
    bends = np.where(dwarfs, np.clip(1.45 - 0.55 * colours, -0.8, 0.4), rng.normal(0.06, 0.05, num_stars))
    # Red dwarfs are drawn by their z light, or their faint r light would make them rare.
    fluxes = 10 ** (0.4 * (22.5 - magnitudes)) * np.where(dwarfs, 0.6, 1.0)
    places = rng.uniform(-half, half, (2, num_stars))
    canvas.add_points(x + places[0], y + places[1], band_fluxes(fluxes, colours, bends))

    num_galaxies = rng.poisson(18 * crowding)
    magnitudes = _magnitudes(rng, num_galaxies, 18.5, 24.2, 0.34)
    fluxes = 10 ** (0.4 * (22.5 - magnitudes))
    radii = np.clip(np.exp(rng.normal(-0.9 - 0.09 * (magnitudes - 21), 0.3)), 0.15, 2)
    colours = rng.normal(1.6, 0.55, num_galaxies)
    axis_ratios, angles = rng.uniform(0.3, 1, num_galaxies), rng.uniform(0, np.pi, num_galaxies)
    places = rng.uniform(-half, half, (num_galaxies, 2)) + (x, y)
    # The many faint ones are a few grains of light each: too small to show a profile.
    grains = rng.standard_normal((num_galaxies, GRAINS, 2))
    for row in np.flatnonzero(magnitudes < 21.5):
        light = band_fluxes(fluxes[row], colours[row])
        canvas.add_sersic(light, 1.0, radii[row], axis_ratios[row], angles[row], *places[row])
    faint = magnitudes >= 21.5
    major = grains[faint, :, 0] * radii[faint, None]
    minor = grains[faint, :, 1] * (radii * axis_ratios)[faint, None]
    cosine, sine = np.cos(angles[faint, None]), np.sin(angles[faint, None])
    light = np.repeat(band_fluxes(fluxes[faint] / GRAINS, colours[faint]), GRAINS, axis=1)
    canvas.add_points(
        (places[faint, :1] + major * cosine - minor * sine).ravel(),
        (places[faint, 1:] + major * sine + minor * cosine).ravel(),
        light,
    )


# ------------------------------------------------------------------------------------- camera, stretch, picture


def blur(canvas, telescope, rng):
    """Return the scene through the atmosphere, shape (3, image_size, image_size), float32, nanomaggies per pixel.

    One Moffat point-spread function per band, drawn by GalSim, and one Fourier convolution of the whole scene.
    """
    size = canvas.size
    seeing = np.array(telescope.seeing) * np.exp(rng.normal(0, 0.10) + rng.normal(0, 0.08, 3))
    stamp_size = min(64, size - size % 2)
    half = stamp_size // 2
    kernel = np.zeros((3, size, size), np.float32)
    for band in range(3):
        moffat = galsim.Moffat(beta=3.3, fwhm=max(seeing[band] / canvas.pixel_scale, 0.8))
        # The offset puts the centre on a pixel, so that the convolution moves nothing.
        stamp = moffat.drawImage(
            nx=stamp_size, ny=stamp_size, scale=1, method="no_pixel", dtype=np.float32, offset=(0.5, 0.5)
        ).array
        # The Fourier transform has its origin in the corner: the stamp's quadrants go to the four corners.
        centred = np.fft.fftshift(stamp / stamp.sum())
        kernel[band, :half, :half] = centred[:half, :half]
        kernel[band, :half, -half:] = centred[:half, half:]
        kernel[band, -half:, :half] = centred[half:, :half]
        kernel[band, -half:, -half:] = centred[half:, half:]
    transform = scipy.fft.rfft2(canvas.light) * scipy.fft.rfft2(kernel)
    visible = slice(canvas.margin, canvas.margin + canvas.image_size)
    return np.ascontiguousarray(scipy.fft.irfft2(transform, s=(size, size))[:, visible, visible])


def add_noise(bands, telescope, pixel_scale, rng):
    """Return bands plus Gaussian sky noise, whose level varies from field to field as a survey's depth does."""
    depth = np.exp(rng.normal(0, 0.25)) * np.exp(rng.normal(0, 0.08, 3))
    # A larger pixel collects the noise of all the small ones in it.
    level = (np.array(telescope.noise) * depth * (pixel_scale / 0.262)).astype(np.float32)[:, None, None]
    height, width = bands.shape[1:]
    white = rng.standard_normal((3, height + 1, width + 1), dtype=np.float32)
    # Resampling the exposures onto one grid makes neighbouring pixels share noise; 1.5 = 1 + 2 · 0.5².
    shared = np.float32(0.5) * (white[:, 1:, :-1] + white[:, :-1, 1:])
    noise = (white[:, :-1, :-1] + shared) * np.float32(1 / np.sqrt(1.5))
    residual_sky = rng.normal(0, 0.07, (3, 1, 1)).astype(np.float32)
    return bands + level * (noise + residual_sky)


def stretch_rgb(bands, softening=20.0, floor=0.03, scales=(6.0, 3.4, 2.2)):
    """Return the RGB picture of three bands as the Legacy Surveys viewer makes it.

    Lupton et al. (2004): the mean of the scaled bands goes through asinh and colours keep their ratios. Scales for
    g, r, z, `softening` (Q) and `floor` (m) are those of the viewer's `sdss_rgb`; z is shown red, g blue.

    Args:
        bands: Shape (3, height, width), nanomaggies per pixel, in the order g, r, z.

    Returns:
        Array of shape (height, width, 3), uint8.
    """
    scaled = np.maximum(bands * np.asarray(scales, np.float32)[:, None, None] + np.float32(floor), 0)
    intensity = scaled.mean(axis=0) + np.float32(1e-6)
    factor = np.arcsinh(np.float32(softening) * intensity) * np.float32(255 / np.sqrt(softening)) / intensity
    return np.minimum(scaled[::-1] * factor, 255).astype(np.uint8).transpose(1, 2, 0)


def compress(picture, quality=75):
    """Return the picture after a JPEG round trip: the real cut-outs were fetched as JPEG, and it shows in the noise."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))
