"""How simulated galaxies are drawn: bulge, disc, bar, arms, tails, each with its colour, and the field around them.

What is drawn follows from the true quantities of a galaxy (`morphology`); no recipe was fitted to pixels. Offsets and
sizes are in arcseconds, angles in radians.
"""

import math

import numpy as np
import scipy.special

from galaxy_utils.data.morphology import BARRED, DISTURBED, EDGE_ON, EDGE_ON_BULGE, LOOSE, MERGING, TIGHT, clip
from galaxy_utils.data.survey_camera import FIELD_OF_VIEW, band_fluxes

# Part of the name under which a survey is kept: raise it with every change that draws other pictures (a test notices).
RECIPE_VERSION = 2
GRAINS = 10


def _disc_plane(canvas, box, x, y, m, warp):
    """Return coordinates (u along the major axis, v perpendicular, not yet deprojected), arcseconds, on a box."""
    horizontal, vertical = canvas.offsets(box, x, y)
    cosine, sine = math.cos(m.position_angle), math.sin(m.position_angle)
    u = horizontal * cosine + vertical * sine
    return u, vertical * cosine - horizontal * sine - warp * u * np.abs(u) / (4 * m.size)


def _sign(rng):
    return 1 if rng.random() < 0.5 else -1


def _flux(surface_brightness, radius):
    """Flux in r, nanomaggies: 2 π r² times a surface brightness.

    So much light has a face-on exponential disc of this scale length and central brightness, and a smooth galaxy of
    this half-light radius and mean brightness within it.
    """
    return 2 * np.pi * radius**2 * 10 ** (0.4 * (22.5 - surface_brightness))


def _on_sky(x, y, major, minor, angle):
    """Return where points along the axes of something at x, y stand whose major axis has this position angle."""
    cosine, sine = np.cos(angle), np.sin(angle)
    return x + major * cosine - minor * sine, y + major * sine + minor * cosine


def _paint_smooth(canvas, m, rng, x, y):
    radius = m.size * math.sqrt(m.axis_ratio)
    flux = _flux(m.surface_brightness, radius)
    envelope = rng.uniform(0.0, 0.35) if m.sersic_index > 2 else 0.0
    gradient = rng.uniform(0.0, 0.25)
    inner = (1 - envelope) * flux, m.colour + gradient * envelope
    canvas.add_sersic(*inner, m.sersic_index, radius, m.axis_ratio, m.position_angle, x, y)
    if envelope:
        place, outer = (x, y) + rng.normal(0, 0.15, 2) * radius, (envelope * flux, m.colour - gradient)
        canvas.add_sersic(*outer, 1.0, 1.7 * radius, min(1, m.axis_ratio + 0.05), m.position_angle, *place)
    if m.features > 0.15:
        # Structure that only some volunteers notice: a faint disc with weak arms.
        _paint_disc(canvas, m, rng, x, y, 0.35 * flux, 0.55 * m.size, contrast=0.8 * m.features, colour=m.colour - 0.1)


def _paint_disc(canvas, m, rng, x, y, flux, scale_length, contrast, colour, bar=None):
    """Exponential disc with logarithmic spiral arms, clumps and star-forming knots; `flux` in r, nanomaggies."""
    box = canvas.box(x, y, 5.5 * scale_length)
    lopsided = 0.12 * rng.random() + 0.25 * m.disturbance * rng.uniform(0.5, 1.0)
    u, v = _disc_plane(canvas, box, x, y, m, 0.3 * max(0.0, m.disturbance - 0.3))
    v = v / m.axis_ratio
    radius = np.sqrt(u * u + v * v) + 0.02
    angle = np.arctan2(v, u)
    scaled = radius / scale_length * (1 - 0.5 * lopsided * np.cos(angle - rng.uniform(0, 2 * np.pi)))
    edge = scipy.special.expit((rng.uniform(3.0, 4.8) - scaled) * rng.uniform(1.5, 4))
    disc = np.exp(-scaled) * edge

    # Logarithmic spiral: the ridge of an arm follows θ = ln(r / r0) / tan(pitch). Slow wobbles keep arms from
    # looking ruled, and each arm has its own strength.
    logarithm = np.log(scaled)
    winding = _sign(rng)
    turn = 1 / math.tan(math.radians(m.pitch))
    bar_length, bar_angle = bar or (rng.uniform(0.3, 0.8), rng.uniform(0, 2 * np.pi))
    # The arms start at the ends of the bar, where there is one.
    phase = winding * (angle - bar_angle) - turn * (logarithm - math.log(bar_length))
    for frequency in (1, 2, 3, 5):
        height, twist, start = rng.normal(0, 0.26), rng.normal(0, 3), rng.uniform(0, 2 * np.pi)
        phase += height * np.sin(frequency * angle + twist * logarithm + start)
    ridge = np.exp(rng.uniform(0.8, 2.6) * (np.cos(m.arms * phase) - 1))
    strength = 1 + (rng.uniform(0.0, 0.35) + 0.5 * m.disturbance) * np.cos(phase + rng.uniform(0, 2 * np.pi))
    arms = ridge * strength * scipy.special.expit((scaled - bar_length) * 5)
    swept = 1.0
    if bar:
        # A bar sweeps the disc beside it clear of young stars and often gathers them in a ring around its ends.
        swept = 1 - rng.uniform(0.0, 0.7) * np.exp(-((scaled / (0.7 * bar_length)) ** 2))
        arms += rng.uniform(0, 0.7) * np.exp(-(((scaled - 1.05 * bar_length) / 0.22) ** 2))
    clumps = np.exp(0.65 * rng.standard_normal(disc.shape, dtype=np.float32))

    contrast = contrast * rng.uniform(0.35 if m.pitch < 20 else 0.5, 1.0)
    old = disc * (1 - 0.35 * contrast + 1.1 * contrast * arms)
    young = np.exp(-scaled * 0.72) * edge * swept * (1.02 - contrast + 2 * contrast * arms)
    young_share = clip(0.36 + 0.45 * (1.3 - colour), 0.15, 0.62)
    canvas.add(box, old, band_fluxes((1 - young_share) * flux, colour + 0.28))
    canvas.add(box, young * clumps, band_fluxes(young_share * flux, colour - 0.36))

    # Star-forming regions sit on the arms; nebular lines make them bluest.
    num_knots = rng.poisson(14 * contrast * young_share * math.sqrt(scale_length))
    if num_knots:
        cumulative = np.cumsum((young * arms).ravel(), dtype=np.float64)
        chosen = np.searchsorted(cumulative, rng.random(num_knots) * cumulative[-1])
        rows, columns = np.unravel_index(np.minimum(chosen, disc.size - 1), disc.shape)
        horizontal, vertical = canvas.offsets(box)
        light = young_share * flux * 0.007 * rng.exponential(1.0, num_knots)
        canvas.add_points(horizontal[0, columns], vertical[rows, 0], band_fluxes(1.0, colour - 0.75)[:, None] * light)


def _paint_spiral(canvas, m, rng, x, y):
    flux = _flux(m.surface_brightness, m.size) * m.axis_ratio**0.5
    bar_length, bar_angle = rng.uniform(0.8, 1.5), rng.uniform(0, np.pi)
    bar_share = 0.24 * m.bar**1.5 * rng.uniform(0.6, 1.2) if m.bar > 0.3 else 0.0
    disc_flux = (1 - m.bulge_share - bar_share) * flux
    bar = (bar_length, bar_angle) if bar_share else None
    _paint_disc(canvas, m, rng, x, y, disc_flux, m.size, contrast=m.features, colour=m.colour, bar=bar)
    if bar_share:
        # The bar lies in the disc: its direction and length on the sky follow from the inclination.
        along, across = math.cos(bar_angle), m.axis_ratio * math.sin(bar_angle)
        direction = m.position_angle + math.atan2(across, along)
        foreshortening = math.hypot(along, across)
        thickness = min(0.8, rng.uniform(0.16, 0.34) / max(foreshortening, 0.5))
        half_light = 0.55 * bar_length * m.size * foreshortening * math.sqrt(thickness)
        colour = m.colour + rng.uniform(0.0, 0.45)
        canvas.add_sersic(bar_share * flux, colour, 0.5, half_light, thickness, direction, x, y)
    radius, roundness = m.size * rng.uniform(0.2, 0.36), 0.5 + 0.5 * m.axis_ratio
    bulge = m.bulge_share * flux, m.colour + 0.5
    canvas.add_sersic(*bulge, m.sersic_index, radius, roundness, m.position_angle, x, y)


_RADII = np.linspace(0.01, 6, 600)
EDGE_ON_PROFILE = _RADII, _RADII * scipy.special.k1(_RADII)


def _paint_edge_on(canvas, m, rng, x, y):
    """Disc seen from the side: (u / h) K1(u / h) sech²(v / z0), van der Kruit and Searle (1981), with a dust lane."""
    box = canvas.box(x, y, 5.5 * m.size)
    u, v = _disc_plane(canvas, box, x, y, m, rng.normal(0, 0.07))
    height = m.size * m.axis_ratio * rng.uniform(0.9, 1.2)
    flux = 0.75 * _flux(m.surface_brightness, m.size)
    end = scipy.special.expit((m.size * rng.uniform(2.2, 3.6) - np.abs(u)) / (m.size * rng.uniform(0.2, 0.45)))
    # A thinner or thicker outer disc keeps the outline from being a ruler.
    flare = height * (1 + rng.uniform(-0.22, 0.08) * np.minimum(np.abs(u) / m.size, 3))

    def disc(scale_length, thickness):
        along = np.interp(np.abs(u) / scale_length, *EDGE_ON_PROFILE).astype(np.float32)
        return along / np.cosh(np.minimum(np.abs(v) / (flare * thickness), 20)) ** 2 * end

    # An old thin disc within an old thick one, as in most edge-on galaxies, and the young stars, thinner and wider.
    old = disc(0.8 * m.size, 1.0) + rng.uniform(0.05, 0.25) * disc(1.1 * m.size, 2.2)
    one_sided = 1 + (rng.normal(0, 0.25) + 0.4 * m.disturbance * _sign(rng)) * np.tanh(u / m.size)
    clumps = np.exp(0.7 * rng.standard_normal(u.shape, dtype=np.float32))
    young = disc(1.3 * m.size, 0.8) * one_sided * clumps

    dust = rng.beta(1.4, 1.6) * (0.95 if m.colour > 1.0 else 0.5)
    lane_height, lane_offset = height * rng.uniform(0.25, 0.45), height * rng.normal(0, 0.25)
    lane = dust * np.exp(-(((v - lane_offset) / lane_height) ** 2) - (u / (1.6 * m.size)) ** 2)
    # Dust takes more blue light than red: in the Milky Way as 1 : 0.67 : 0.38 in g : r : z
    # (Schlafly & Finkbeiner 2011); other galaxies' dust is a little greyer here.
    transmission = [1 - weight * lane for weight in (1.0, 0.72, 0.4)]

    disc_flux = (1 - m.bulge_share) * flux
    young_share = clip(0.42 + 0.45 * (1.15 - m.colour), 0.1, 0.7)
    canvas.add(box, old, band_fluxes((1 - young_share) * disc_flux, m.colour + 0.42), transmission)
    canvas.add(box, young, band_fluxes(young_share * disc_flux, m.colour - 0.38), transmission)
    if m.bulge_share > 0.01:
        bulge = m.bulge_share * flux, m.colour + 0.12, min(m.sersic_index, 2.5)
        radius = m.size * (0.2 + 0.35 * m.bulge_share) * rng.uniform(0.85, 1.2)
        canvas.add_sersic(*bulge, radius, rng.uniform(0.55, 0.9), m.position_angle, x, y)


def _paint_tail(canvas, m, rng, x, y, flux, colour, reach):
    """One tidal tail: a broken arc of a spiral that leaves the galaxy and fades."""
    along, first = np.linspace(0, 1, 160), rng.uniform(0.8, 1.3) * m.size
    distance = first + (reach - first) * along
    bend = _sign(rng) * rng.uniform(0.3, 2.2)
    # Tides pull along the long axis of what they leave behind.
    angle = np.pi * rng.integers(2) + rng.normal(0, 0.5) + bend * along**1.3
    width = m.size * rng.uniform(0.12, 0.28) * (1 + along)
    scatter = rng.standard_normal((2, 8, len(along))) * width
    light = np.exp(-along * rng.uniform(0.6, 2.2)) * np.exp(0.5 * rng.standard_normal((8, len(along))))
    major, minor = distance * np.cos(angle), distance * np.sin(angle) * max(m.axis_ratio, 0.5)
    horizontal, vertical = _on_sky(x, y, major, minor, m.position_angle)
    light = band_fluxes(flux, colour)[:, None] * (light / light.sum()).ravel()
    canvas.add_points((horizontal + scatter[0]).ravel(), (vertical + scatter[1]).ravel(), light)


def _paint_disturbed(canvas, m, rng, x, y):
    flux = _flux(m.surface_brightness, m.size)
    if rng.random() < 0.55:
        disc_flux = (1 - m.bulge_share) * flux * m.axis_ratio**0.5
        _paint_disc(canvas, m, rng, x, y, disc_flux, m.size, contrast=0.6 * m.features, colour=m.colour - 0.1)
    else:
        body, radius = ((1 - m.bulge_share) * flux, m.colour), 1.1 * m.size * math.sqrt(m.axis_ratio)
        canvas.add_sersic(*body, rng.uniform(1, 2.5), radius, m.axis_ratio, m.position_angle, x, y)
    place = (x, y) + rng.normal(0, 0.12 * m.size * m.disturbance, 2)
    bulge = (0.05 + m.bulge_share) * flux, m.colour + 0.35
    canvas.add_sersic(*bulge, 1.5, 0.35 * m.size, 0.8, m.position_angle, *place)
    for _ in range(rng.choice([1, 2, 3], p=[0.5, 0.4, 0.1])):
        share = m.disturbance * rng.uniform(0.04, 0.17)
        _paint_tail(canvas, m, rng, x, y, share * flux, m.colour - rng.uniform(0, 0.3), m.size * rng.uniform(3.5, 7))
    if rng.random() < 0.4:
        # A displaced shell or plume of stars.
        angle, distance = rng.uniform(0, 2 * np.pi), m.size * rng.uniform(0.8, 2.2)
        place = x + distance * np.cos(angle), y + distance * np.sin(angle)
        shell = rng.uniform(0.08, 0.25) * flux, m.colour - 0.1, 0.5, m.size * rng.uniform(0.5, 1)
        canvas.add_sersic(*shell, rng.uniform(0.3, 0.8), rng.uniform(0, np.pi), *place)


def _paint_merging(canvas, m, rng, x, y):
    """Two galaxies in contact: each a spheroid or a disc, a bridge, a common envelope, perhaps tails."""
    partner = np.array(m.companion)
    main = -partner * m.partner_share / (1 - m.partner_share)
    separation, direction = np.hypot(*(partner - main)), np.arctan2(*(partner - main)[::-1])
    ratio = rng.uniform(0.35, 1.0) * (0.4 + 0.6 * m.merger)
    places = [(x + main[0], y + main[1]), (x + partner[0], y + partner[1])]
    total = 0.0
    for (px, py), scale in zip(places, (1.0, math.sqrt(ratio)), strict=True):
        size, colour = m.size * scale * math.exp(rng.normal(0, 0.15)), m.colour + rng.normal(0, 0.15)
        axis_ratio, angle = rng.uniform(0.4, 1.0), rng.uniform(0, np.pi)
        flux = _flux(m.surface_brightness, size)
        total += flux
        if colour > 1.2 or rng.random() < 0.35:
            index, radius = rng.uniform(1.5, 4), size * math.sqrt(axis_ratio)
            canvas.add_sersic(flux * axis_ratio, colour, index, radius, axis_ratio, angle, px, py)
        else:
            shape = {"axis_ratio": axis_ratio, "position_angle": angle, "size": 0.85 * size}
            part = m._replace(**shape, disturbance=0.5, bar=0.0)
            _paint_disc(canvas, part, rng, px, py, 0.75 * flux, part.size, 0.5 * m.features, colour)
            canvas.add_sersic(0.25 * flux, colour + 0.3, 2.0, 0.3 * size, 0.8, angle, px, py)
    # The bridge: stars and gas pulled out between the two.
    along = rng.random(600)
    bow = rng.normal(0, 0.15) * separation * np.sin(np.pi * along)
    (x1, y1), (x2, y2) = places
    scatter = rng.standard_normal((2, 600)) * 0.4 * m.size
    bridge_x = x1 + along * (x2 - x1) - bow * np.sin(direction) + scatter[0]
    bridge_y = y1 + along * (y2 - y1) + bow * np.cos(direction) + scatter[1]
    share = m.merger * rng.uniform(0.01, 0.08)
    canvas.add_points(bridge_x, bridge_y, band_fluxes(share * total / 600, m.colour - 0.1)[:, None] * np.ones(600))
    envelope = 0.3 * m.merger * rng.random() * total, m.colour, 1.0, 0.5 * separation + m.size
    canvas.add_sersic(*envelope, rng.uniform(0.5, 0.9), direction, (x1 + x2) / 2, (y1 + y2) / 2)
    if rng.random() < 0.3:
        _paint_tail(canvas, m, rng, *places[0], 0.08 * m.merger * total, m.colour - 0.2, separation + 2 * m.size)


PAINTERS = {DISTURBED: _paint_disturbed, MERGING: _paint_merging}
PAINTERS |= dict.fromkeys((BARRED, TIGHT, LOOSE), _paint_spiral)
PAINTERS |= dict.fromkeys((EDGE_ON, EDGE_ON_BULGE), _paint_edge_on)


def paint_galaxy(canvas, morphology, rng, x=0.0, y=0.0):
    """Add a galaxy to a canvas, its centre near an offset from the picture's centre, arcseconds."""
    # A survey's catalogue places a galaxy to within about half a pixel.
    x, y = rng.normal(0, 0.13, 2) + (x, y)
    PAINTERS.get(morphology.label, _paint_smooth)(canvas, morphology, rng, x, y)


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
        shape = radii[row], axis_ratios[row], angles[row]
        canvas.add_sersic(fluxes[row], colours[row], 1.0, *shape, *places[row])
    faint = magnitudes >= 21.5
    major = grains[faint, :, 0] * radii[faint, None]
    minor = grains[faint, :, 1] * (radii * axis_ratios)[faint, None]
    horizontal, vertical = _on_sky(places[faint, :1], places[faint, 1:], major, minor, angles[faint, None])
    light = np.repeat(band_fluxes(fluxes[faint] / GRAINS, colours[faint]), GRAINS, axis=1)
    canvas.add_points(horizontal.ravel(), vertical.ravel(), light)
