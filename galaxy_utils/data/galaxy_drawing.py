"""How one simulated galaxy looks: drawn from a description, convolved with the seeing, noised, stretched to colours."""

import math
from dataclasses import dataclass, replace

import numpy as np

PIXEL_SCALE = 0.262  # arcseconds per pixel, as in the request that made the real cut-outs
BANDS = ("g", "r", "z")
NORTHERN_BORDER = 32.375  # degrees of declination; further north another telescope took the real images

# Flux of one pixel's sky noise and full width at half maximum of the seeing (arcseconds), per band. The noise is what
# the corners of 799 real cut-outs show after their stretch is inverted; the seeing is typical of both surveys (Dey et
# al. 2019, tables 2 and 3). Fluxes are in nanomaggies: magnitude 22.5 is 1.
SOUTHERN_NOISE, SOUTHERN_SEEING = (0.0014, 0.0023, 0.0039), (1.29, 1.18, 1.11)
NORTHERN_NOISE, NORTHERN_SEEING = (0.0020, 0.0032, 0.0050), (1.61, 1.47, 1.01)


@dataclass(frozen=True)
class Galaxy:
    """All that decides how a galaxy looks, but for seeing, noise and what else stands in the picture.

    Lengths are in arcseconds, angles in radians, fluxes in nanomaggies.

    Attributes:
        magnitude: Apparent magnitude in r.
        half_light_radius: Half-light radius of the whole, along the major axis.
        colours: g − r and r − z of the whole, magnitudes.
        bulge_fraction: Share of the light in the bulge (1 for an elliptical galaxy).
        sersic_index: Sérsic index of the bulge.
        axis_ratio: Minor over major axis of the disc, or of the whole where there is no disc.
        position_angle: Of the major axis.
        edge_on: Whether the disc is seen from the side; `axis_ratio` is then its thickness.
        dust: Depth of a dust lane, 0 to 1.
        bar: Share of the disc's light in a bar.
        arms: Contrast of the spiral arms, 0 to about 1.
        pitch: Angle between arm and circle: small winds tightly.
        num_arms: Number of main arms.
        clumpiness: Share of the disc's light in bright knots along the arms.
        asymmetry: Lopsidedness of the disc, 0 to 1.
        tails: Share of the light in tidal tails.
        companion: Flux of a second nucleus relative to the first, 0 for none.
        separation: Distance of the second nucleus in half-light radii.
    """

    magnitude: float
    half_light_radius: float
    colours: tuple
    bulge_fraction: float
    sersic_index: float
    axis_ratio: float
    position_angle: float
    edge_on: bool = False
    dust: float = 0.0
    bar: float = 0.0
    arms: float = 0.0
    pitch: float = 0.3
    num_arms: int = 2
    clumpiness: float = 0.0
    asymmetry: float = 0.0
    tails: float = 0.0
    companion: float = 0.0
    separation: float = 0.0


# Medians of 799 real galaxies, by class: half-light radius (arcseconds), r magnitude, g − r, r − z. Measured on the
# real cut-outs above their noise, with the stretch inverted; scatter as there.
TYPICAL = {
    0: (2.9, 17.0, 0.60, 0.43),
    1: (2.6, 17.2, 0.78, 0.50),
    2: (2.2, 17.4, 0.83, 0.54),
    3: (1.9, 17.7, 0.72, 0.52),
    4: (2.4, 17.7, 0.72, 0.52),
    5: (4.3, 16.3, 0.71, 0.48),
    6: (4.1, 16.6, 0.68, 0.48),
    7: (3.4, 17.0, 0.60, 0.43),
    8: (5.2, 16.8, 0.62, 0.46),
    9: (2.9, 17.3, 0.92, 0.61),
}


def draw_galaxy(label, random):
    """Draw the description of a galaxy of one class.

    Args:
        label: Class, 0–9.
        random: A `numpy.random.Generator`.

    Returns:
        A `Galaxy`.
    """
    radius, magnitude, g_minus_r, r_minus_z = TYPICAL[label]
    size = random.normal()
    uniform = random.uniform
    # Larger galaxies are brighter, redder ones have redder r − z too.
    colour = min(max(random.normal(0, 0.15), -0.35), 0.35)
    common = {
        "magnitude": magnitude - 0.55 * size + random.normal(0, 0.5),
        "half_light_radius": radius * math.exp(0.34 * size),
        "colours": (g_minus_r + colour, r_minus_z + 0.6 * colour),
        "position_angle": uniform(0, np.pi),
    }
    disc = {"bulge_fraction": uniform(0.05, 0.3), "sersic_index": uniform(1.5, 3), "axis_ratio": uniform(0.45, 0.98)}
    if label == 0:
        special = {
            **disc,
            "bulge_fraction": uniform(0.05, 0.4),
            "arms": uniform(0, 0.6),
            "pitch": math.radians(uniform(20, 50)),
            "num_arms": int(random.integers(1, 3)),
            "clumpiness": uniform(0, 0.2),
            "asymmetry": uniform(0.4, 1),
            "tails": uniform(0.08, 0.35),
            "companion": uniform(0.02, 0.12) if random.random() < 0.3 else 0.0,
            "separation": uniform(1, 2.5),
        }
    elif label == 1:
        special = {
            **disc,
            "bulge_fraction": uniform(0.4, 1),
            "sersic_index": uniform(1.5, 3.5),
            "axis_ratio": uniform(0.5, 1),
            "asymmetry": uniform(0, 0.5),
            "tails": uniform(0, 0.2),
            "companion": uniform(0.25, 1),
            "separation": uniform(1.1, 3.2),
        }
    elif label == 2:
        special = {"bulge_fraction": 1.0, "sersic_index": uniform(2, 4.5), "axis_ratio": uniform(0.84, 1)}
    elif label == 3:
        special = {"bulge_fraction": 1.0, "sersic_index": uniform(1, 3.5), "axis_ratio": uniform(0.45, 0.76)}
    elif label == 4:
        special = {"bulge_fraction": 1.0, "sersic_index": uniform(0.9, 2), "axis_ratio": uniform(0.2, 0.42)}
    elif label == 5:
        special = {
            **disc,
            "bar": uniform(0.14, 0.4),
            "arms": uniform(0.3, 0.9),
            "pitch": math.radians(uniform(10, 30)),
            "clumpiness": uniform(0.02, 0.15),
        }
    elif label == 6:
        special = {
            **disc,
            "bulge_fraction": uniform(0.15, 0.45),
            "arms": uniform(0.25, 0.7),
            "pitch": math.radians(uniform(6, 14)),
            "num_arms": int(random.integers(2, 4)),
            "clumpiness": uniform(0.01, 0.08),
        }
    elif label == 7:
        special = {
            **disc,
            "arms": uniform(0.4, 1),
            "pitch": math.radians(uniform(17, 40)),
            "num_arms": int(random.choice([1, 2, 2, 2, 3])),
            "clumpiness": uniform(0.03, 0.2),
            "asymmetry": uniform(0, 0.3),
        }
    elif label == 8:
        special = {
            "bulge_fraction": uniform(0, 0.06),
            "sersic_index": 1.5,
            "axis_ratio": uniform(0.08, 0.24),
            "edge_on": True,
            "dust": uniform(0, 0.5),
            "clumpiness": uniform(0, 0.1),
        }
    else:
        special = {
            "bulge_fraction": uniform(0.25, 0.6),
            "sersic_index": uniform(1.5, 3),
            "axis_ratio": uniform(0.08, 0.24),
            "edge_on": True,
            "dust": uniform(0, 0.7),
        }
    return Galaxy(**{**common, **special})


def volunteer_probabilities(galaxy):
    """Return the probability of each class in the eyes of volunteers, shape (10,), summing to 1.

    They answer a small decision tree, as in Galaxy Zoo: is it merging, is it disturbed, is it smooth and how round, is
    it seen from the side and has it a bulge, has it a bar, how tightly do its arms wind? Each answer is a logistic
    function of what decides the look, so that a galaxy near a border divides the votes.
    """

    def yes(value, border, width):
        return 1 / (1 + np.exp(-(value - border) / width))

    merging = yes(galaxy.companion * min(galaxy.separation, 2), 0.28, 0.07) if galaxy.companion else 0.005
    disturbed = yes(galaxy.asymmetry + 1.5 * galaxy.tails, 0.45, 0.08)
    faint = yes(galaxy.magnitude, 18.5, 0.4)
    structure = galaxy.arms + 1.5 * galaxy.bar + 2 * galaxy.clumpiness + (0.9 if galaxy.edge_on else 0)
    smooth = 1 - (1 - 0.7 * faint) * yes(structure, 0.25, 0.06)
    cigar = yes(-galaxy.axis_ratio, -0.43, 0.03)
    round_ = yes(galaxy.axis_ratio, 0.8, 0.03)
    edge_on = 0.98 if galaxy.edge_on else yes(-galaxy.axis_ratio, -0.3, 0.05)
    bulge = yes(galaxy.bulge_fraction, 0.15, 0.04)
    barred = yes(galaxy.bar, 0.1, 0.03)
    tight = yes(-np.degrees(galaxy.pitch), -15.5, 1.2)
    rest = (1 - merging) * (1 - disturbed)
    featured, face_on = rest * (1 - smooth), rest * (1 - smooth) * (1 - edge_on)
    probabilities = np.array(
        [
            (1 - merging) * disturbed,
            merging,
            rest * smooth * (1 - cigar) * round_,
            rest * smooth * (1 - cigar) * (1 - round_),
            rest * smooth * cigar,
            face_on * barred,
            face_on * (1 - barred) * tight,
            face_on * (1 - barred) * (1 - tight),
            featured * edge_on * (1 - bulge),
            featured * edge_on * bulge,
        ]
    )
    return probabilities / probabilities.sum()


def light(galaxy, side, random, centre=(0.0, 0.0)):
    """Return the light of a galaxy before seeing and noise.

    Args:
        galaxy: A `Galaxy`.
        side: Side of the image, pixels.
        random: A `numpy.random.Generator`; decides where knots and tails lie.
        centre: Offset of the galaxy from the image's centre, arcseconds to the right and up.

    Returns:
        Shape (3, side, side), float32: nanomaggies per pixel in g, r, z.
    """
    x, y = _grid(side)
    frame = _Frame(x - float(centre[0]), y - float(centre[1]), galaxy)
    young, old = -0.25, 0.12  # How much bluer knots and arms, and redder bulges and bars, are than the whole, in g − r.
    disc_share = 1 - galaxy.bulge_fraction
    parts = []
    if disc_share > 0:
        disc = _edge_on_disc(frame, galaxy) if galaxy.edge_on else _face_on_disc(frame, galaxy, random)
        parts.append((disc, disc_share * (1 - galaxy.bar - galaxy.clumpiness), -0.07))
    if galaxy.bulge_fraction > 0:
        bulge_radius = frame.radius if disc_share == 0 else 0.35 * frame.radius
        flattening = galaxy.axis_ratio if disc_share == 0 else 0.5 + 0.4 * galaxy.axis_ratio
        bulge = _sersic(side, galaxy.sersic_index, bulge_radius, flattening, galaxy.position_angle, centre)
        parts.append((bulge, galaxy.bulge_fraction, old if disc_share else 0.0))
    if galaxy.bar > 0 and disc_share > 0:
        parts.append((_bar(frame), disc_share * galaxy.bar, old))
    if galaxy.clumpiness > 0 and disc_share > 0:
        parts.append((_knots(frame, disc, side, random), disc_share * galaxy.clumpiness, young))
    if galaxy.tails > 0:
        parts = [(image, share * (1 - galaxy.tails), tint) for image, share, tint in parts]
        parts.append((_tails(frame, galaxy, random), galaxy.tails, -0.1))
    image = np.zeros((len(BANDS), side, side), np.float32)
    for part, share, tint in parts:
        total = part.sum()
        if total > 0 and share > 0:
            image += float(share / total) * _band_fluxes(galaxy, tint)[:, None, None] * part
    if galaxy.companion > 0:
        image += _companion_light(galaxy, side, random, centre)
    return image


class _Frame:
    """Coordinates in the plane of the galaxy: along both axes, polar, and its half-light radius."""

    def __init__(self, x, y, galaxy):
        cosine, sine = math.cos(galaxy.position_angle), math.sin(galaxy.position_angle)
        self.along = x * cosine + y * sine
        self.across = -x * sine + y * cosine
        self.radius = galaxy.half_light_radius
        # Lopsidedness: outer isophotes drift to one side.
        drift = 0.6 * galaxy.asymmetry * np.hypot(self.along, self.across)
        self.drifted = self.along - drift
        self.flattened = self.across / (1.0 if galaxy.edge_on else galaxy.axis_ratio)
        self.distance = np.hypot(self.drifted, self.flattened)
        self.azimuth = np.arctan2(self.flattened, self.drifted)


def _grid(side):
    steps = ((np.arange(side) - (side - 1) / 2) * PIXEL_SCALE).astype(np.float32)
    return np.meshgrid(steps, steps)


def _band_fluxes(galaxy, tint):
    """Fluxes in g, r, z for colours that are `tint` redder in g − r, and half as much in r − z, than the whole."""
    flux = 10 ** (-0.4 * (galaxy.magnitude - 22.5))
    g_minus_r, r_minus_z = galaxy.colours[0] + tint, galaxy.colours[1] + tint / 2
    return np.array([flux * 10 ** (-0.4 * g_minus_r), flux, flux * 10 ** (0.4 * r_minus_z)], np.float32)


def _sersic(side, index, radius, axis_ratio, position_angle, centre):
    import galsim

    # The Sérsic index is rounded because GalSim prepares tables for each one.
    profile = galsim.Sersic(n=round(index * 10) / 10, half_light_radius=radius * math.sqrt(axis_ratio))
    profile = profile.shear(q=float(axis_ratio), beta=position_angle * galsim.radians).shift(*centre)
    image = galsim.ImageF(side, side, scale=PIXEL_SCALE)
    return profile.drawImage(image, method="no_pixel").array


def _face_on_disc(frame, galaxy, random):
    """An exponential disc with logarithmic spiral arms, each with branches of its own."""
    scale_length = frame.radius / 1.678  # half the light of an exponential disc lies within 1.678 scale lengths
    disc = np.exp(-frame.distance / scale_length)
    if galaxy.arms == 0:
        return disc
    winding = np.log(np.maximum(frame.distance, 0.05) / frame.radius) / math.tan(galaxy.pitch)
    start = random.uniform(0, 2 * np.pi) if galaxy.bar == 0 else 0.0
    pattern = np.cos(galaxy.num_arms * (frame.azimuth - winding) + start)
    # Weaker waves with more arms and other pitches break the arms into branches.
    for num_arms in (galaxy.num_arms + 1, galaxy.num_arms + 3, 2 * galaxy.num_arms + 5):
        pitch = random.uniform(0.7, 1.4)
        phase = random.uniform(0, 2 * np.pi)
        pattern += random.uniform(0.05, 0.3) * np.cos(num_arms * (frame.azimuth - winding * pitch) + phase)
    arms = np.exp(2.2 * galaxy.arms * (pattern - 1))
    inner = (1.1 if galaxy.bar else 0.5) * frame.radius
    begins = 1 - np.exp(-((frame.distance / inner) ** 3))
    # Arms stand out most in the outer disc, so the light there is more in the arms.
    return disc * ((1 - begins) + begins * (0.25 * (1 - galaxy.arms) + 1.6 * arms))


def _edge_on_disc(frame, galaxy):
    """A disc seen from the side: exponential along it, sech² across it, with a dust lane in the middle."""
    scale_length = frame.radius / 1.2
    height = galaxy.axis_ratio * frame.radius
    along = np.hypot(frame.along, 0.1 * scale_length)
    disc = np.exp(-along / scale_length) / np.cosh(np.clip(frame.across / height, -20, 20)) ** 2
    # Discs end: beyond about four scale lengths there is little light.
    disc = disc * np.exp(-((along / (3.2 * scale_length)) ** 6))
    lane = np.exp(-0.5 * ((frame.across - 0.15 * height) / (0.25 * height)) ** 2)
    return disc * (1 - galaxy.dust * lane * np.exp(-((along / (1.8 * scale_length)) ** 2)))


def _bar(frame):
    length, width = 0.75 * frame.radius, 0.17 * frame.radius
    return np.exp(-((np.abs(frame.drifted) / length) ** 3)) * np.exp(-0.5 * (frame.flattened / width) ** 2)


def _knots(frame, disc, side, random):
    """Bright points where the disc is bright but not central: regions where stars form."""
    chance = (disc * (frame.distance > 0.5 * frame.radius)).ravel()
    places = np.searchsorted(np.cumsum(chance, dtype=np.float64), random.random(40) * chance.sum(dtype=np.float64))
    knots = np.zeros(side * side, np.float32)
    np.add.at(knots, np.minimum(places, side * side - 1), random.exponential(1, 40))
    return _blur(knots.reshape(side, side), 0.35)


def _tails(frame, galaxy, random):
    """One or two curved tails that leave the galaxy and fade, and a diffuse shell on one side."""
    tails = np.zeros_like(frame.along)
    for turn in range(random.integers(1, 3)):
        sense = 1 if random.random() < 0.5 else -1
        start = random.uniform(0, 2 * np.pi) if turn == 0 else start + np.pi
        steps = np.linspace(0, 1, 60)
        distance = frame.radius * (0.8 + random.uniform(1.5, 3.5) * steps)
        angle = start + sense * random.uniform(0.4, 2.2) * steps
        brightness = (1 - steps) ** 0.7
        along, across = distance * np.cos(angle), distance * np.sin(angle)
        tails += _deposit(frame, along, across, brightness)
    return _blur(tails, random.uniform(0.2, 0.45) * frame.radius)


def _deposit(frame, along, across, brightness):
    """Put light at points given in the galaxy's own axes; points outside the image are lost."""
    image = np.zeros_like(frame.along)
    side = len(image)
    # The axes are a rotation of the pixel grid: solve it from two neighbouring pixels.
    step = np.array(
        [
            [frame.along[0, 1] - frame.along[0, 0], frame.along[1, 0] - frame.along[0, 0]],
            [frame.across[0, 1] - frame.across[0, 0], frame.across[1, 0] - frame.across[0, 0]],
        ]
    )
    column, row = np.linalg.solve(step, np.stack([along - frame.along[0, 0], across - frame.across[0, 0]]))
    column, row = np.rint(column).astype(int), np.rint(row).astype(int)
    inside = (column >= 0) & (column < side) & (row >= 0) & (row < side)
    np.add.at(image, (row[inside], column[inside]), brightness[inside])
    return image


def _companion_light(galaxy, side, random, centre):
    """The second nucleus and the bridge between the two."""
    angle = random.uniform(0, 2 * math.pi)
    distance = galaxy.separation * galaxy.half_light_radius
    offset = (math.cos(angle) * distance, math.sin(angle) * distance)
    tint = random.normal(0, 0.1)
    second = replace(
        galaxy,
        magnitude=galaxy.magnitude - 2.5 * math.log10(galaxy.companion),
        half_light_radius=galaxy.half_light_radius * max(galaxy.companion**0.5, 0.4) * random.uniform(0.7, 1.1),
        colours=(galaxy.colours[0] + tint, galaxy.colours[1] + tint / 2),
        position_angle=random.uniform(0, np.pi),
        axis_ratio=random.uniform(0.5, 1),
        tails=0.0,
        companion=0.0,
    )
    image = light(second, side, random, (centre[0] + offset[0], centre[1] + offset[1]))
    x, y = _grid(side)
    steps = np.linspace(0, 1, 30)
    bridge = np.zeros((side, side), np.float32)
    column = np.rint((centre[0] + offset[0] * steps - x[0, 0]) / PIXEL_SCALE).astype(int)
    row = np.rint((centre[1] + offset[1] * steps - y[0, 0]) / PIXEL_SCALE).astype(int)
    inside = (column >= 0) & (column < side) & (row >= 0) & (row < side)
    np.add.at(bridge, (row[inside], column[inside]), 1.0)
    bridge = _blur(bridge, 0.35 * galaxy.half_light_radius)
    share = 0.08 * random.random()
    return image + share * _band_fluxes(galaxy, 0.0)[:, None, None] * bridge / max(bridge.sum(), 1e-9)


def surroundings(side, random):
    """Return stars and distant galaxies around the target, light as from `light`, shape (3, side, side)."""
    image = np.zeros((len(BANDS), side, side), np.float32)
    area = (side * PIXEL_SCALE / 67) ** 2
    # Counts grow with magnitude as 10^(slope · m): gently for stars, steeply for galaxies.
    num_stars, num_galaxies = random.poisson(4.5 * area), random.poisson(14 * area)
    stars = 15 + np.log10(1 + random.random(num_stars) * (10 ** (0.2 * 8) - 1)) / 0.2
    galaxies = 19 + np.log10(1 + random.random(num_galaxies) * (10 ** (0.4 * 5) - 1)) / 0.4
    for magnitude in stars:
        g_minus_r = random.choice([random.uniform(0.2, 0.8), random.uniform(1.2, 1.6)])
        r_minus_z = 0.5 * g_minus_r + (random.uniform(0, 1.2) if g_minus_r > 1 else 0)
        _add_point(image, random.uniform(0, side - 1, 2), magnitude, g_minus_r, r_minus_z)
    for magnitude in galaxies:
        _add_distant_galaxy(image, magnitude, random)
    return image


def _add_point(image, place, magnitude, g_minus_r, r_minus_z):
    """Add a star, its light shared among the four nearest pixels."""
    flux = 10 ** (-0.4 * (magnitude - 22.5)) * np.array([10 ** (-0.4 * g_minus_r), 1, 10 ** (0.4 * r_minus_z)])
    corner = np.floor(place).astype(int)
    share = place - corner
    for row in (0, 1):
        for column in (0, 1):
            weight = abs(1 - row - share[0]) * abs(1 - column - share[1])
            target = np.minimum(corner + (row, column), image.shape[1] - 1)
            image[:, target[0], target[1]] += weight * flux


def _add_distant_galaxy(image, magnitude, random):
    """Add a small exponential galaxy."""
    half = 12
    row, column = random.integers(0, image.shape[1], 2)
    radius, axis_ratio, angle = random.uniform(0.25, 0.8) / PIXEL_SCALE, random.uniform(0.3, 1), random.uniform(0, 3.15)
    steps = np.arange(-half, half + 1)
    y, x = np.meshgrid(steps, steps, indexing="ij")
    along, across = x * np.cos(angle) + y * np.sin(angle), -x * np.sin(angle) + y * np.cos(angle)
    stamp = np.exp(-1.678 * np.hypot(along, across / axis_ratio) / radius)
    g_minus_r, r_minus_z = random.uniform(0.3, 1.6), random.uniform(0.2, 1.0)
    flux = 10 ** (-0.4 * (magnitude - 22.5)) * np.array([10 ** (-0.4 * g_minus_r), 1, 10 ** (0.4 * r_minus_z)])
    top, left, side = row - half, column - half, image.shape[1]
    rows, columns = slice(max(0, top), min(side, row + half + 1)), slice(max(0, left), min(side, column + half + 1))
    stamp = stamp[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] / stamp.sum()
    image[:, rows, columns] += (flux[:, None, None] * stamp).astype(np.float32)


def observe(image, northern, random):
    """Blur with the seeing and add the sky's noise.

    Args:
        image: As from `light`.
        northern: Whether the northern telescopes look (other seeing, other noise).
        random: A `numpy.random.Generator`.

    Returns:
        The same shape, float32, nanomaggies per pixel.
    """
    noise, seeing = (NORTHERN_NOISE, NORTHERN_SEEING) if northern else (SOUTHERN_NOISE, SOUTHERN_SEEING)
    quality = np.exp(random.normal(0, 0.12, 3))
    depth = np.exp(random.normal(0, 0.2))
    observed = np.stack(
        [_convolve(band, _moffat(fwhm * q)) for band, fwhm, q in zip(image, seeing, quality, strict=True)]
    )
    noise = np.array(noise, np.float32)[:, None, None] * np.float32(depth)
    return observed + noise * random.standard_normal(image.shape, dtype=np.float32)


def colour_image(image):
    """Turn fluxes in g, r, z into an RGB picture, by the asinh stretch of Lupton et al. (2004).

    Scales, softening and offset are those with which the Legacy Surveys' public viewer makes its pictures.

    Args:
        image: Shape (3, side, side), nanomaggies per pixel.

    Returns:
        Shape (side, side, 3), uint8; red is z, green r, blue g.
    """
    scales, offset, softening = np.array([2.2, 3.4, 6.0], np.float32), 0.03, 20.0
    planes = np.maximum(0, image[::-1] * scales[:, None, None] + offset)
    intensity = planes.mean(axis=0)
    stretched = np.arcsinh(softening * intensity) / math.sqrt(softening)
    planes *= stretched / np.maximum(intensity, 1e-6)
    return np.ascontiguousarray((np.clip(planes, 0, 1) * 255.99).astype(np.uint8).transpose(1, 2, 0)[::-1])


def _moffat(fwhm, side=64):
    import galsim

    image = galsim.ImageF(side, side, scale=PIXEL_SCALE)
    # Half a pixel further, so that the centre is a pixel's and a star stays where it is.
    shift = PIXEL_SCALE / 2
    return galsim.Moffat(beta=3.5, fwhm=float(fwhm)).shift(shift, shift).drawImage(image, method="no_pixel").array


def _convolve(image, kernel):
    from scipy.fft import irfft2, next_fast_len, rfft2

    side, margin = len(image), len(kernel) // 2
    padded = next_fast_len(side + margin, real=True)
    product = rfft2(image, (padded, padded)) * rfft2(kernel, (padded, padded))
    # The kernel's centre stands at its pixel `margin`: the result is that much further on.
    result = irfft2(product, (padded, padded))
    return np.roll(result, (-margin, -margin), axis=(0, 1))[:side, :side]


def _blur(image, radius):
    """Smooth with a Gaussian of this standard deviation, arcseconds."""
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(image, radius / PIXEL_SCALE, mode="constant", truncate=3)
