"""From light to picture: the sky before the atmosphere, the seeing, the noise of the sky and the RGB stretch.

Light is counted in nanomaggies (a source of magnitude m has 10^(0.4 (22.5 − m)) of them) in the bands g, r, z. Offsets
and sizes are in arcseconds, x to the right and y downwards from the picture's centre; angles are in radians.
"""

import io
import math
from collections import namedtuple

import galsim
import numpy as np
import scipy.fft
from PIL import Image

FIELD_OF_VIEW = 256 * 0.262  # arcseconds: 256 pixels of the Legacy Surveys' usual cut-outs
MAXIMUM_REACH = 0.6 * FIELD_OF_VIEW  # farther from its centre no galaxy is drawn


# What a telescope does to the light in g, r, z: median seeing (full width at half maximum of the point-spread function,
# arcseconds) and median standard deviation of the sky (nanomaggies in a pixel of 0.262 arcseconds).
Telescope = namedtuple("Telescope", "seeing noise")

# Set so that the widths of stars and the scatter of the sky match real cut-outs; that the northern telescopes see g
# and r less sharply and z more so is what Dey et al. (2019) report.
DECAM = Telescope(seeing=(1.22, 1.12, 1.05), noise=(0.0023, 0.0039, 0.0074))
BASS_MZLS = Telescope(seeing=(1.52, 1.38, 0.98), noise=(0.0027, 0.0048, 0.0076))
NORTHERN_DECLINATION = 32.375  # degrees; north of it the other telescopes look


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
        """Return slices (rows, columns) of a square around an offset, arcseconds; it may lie outside the canvas.

        Its size depends on `half_size` alone, so that a galaxy looks the same wherever it stands.
        """
        column, row = map(round, self.pixels_of(x, y))
        half = math.ceil(min(half_size, MAXIMUM_REACH) / self.pixel_scale)
        return slice(row - half, row + half + 1), slice(column - half, column + half + 1)

    def offsets(self, box, x=0.0, y=0.0):
        """Return x and y offsets from a position, arcseconds, of each pixel of a box: one row and one column."""
        column, row = self.pixels_of(x, y)
        horizontal = (np.arange(box[1].start, box[1].stop, dtype=np.float32) - column) * self.pixel_scale
        vertical = (np.arange(box[0].start, box[0].stop, dtype=np.float32) - row) * self.pixel_scale
        return horizontal[None, :].astype(np.float32), vertical[:, None].astype(np.float32)

    def add(self, box, shape, fluxes, transmission=None):
        """Add the part of a box that lies on the canvas.

        Args:
            box: As from `box`.
            shape: Light of each pixel of the box, shape (height, width); it is scaled to sum 1.
            fluxes: Nanomaggies in g, r, z.
            transmission: For each band the share of light that passes the dust, shape (height, width).
        """
        inside = tuple(slice(max(0, span.start), min(self.size, span.stop)) for span in box)
        if any(span.stop <= span.start for span in inside):
            return
        part = tuple(slice(new.start - old.start, new.stop - old.start) for new, old in zip(inside, box, strict=True))
        scale = np.float32(1 / max(float(shape.sum()), 1e-12))
        for band in range(3):
            light = shape[part] * (scale * fluxes[band])
            self.light[band][inside] += light if transmission is None else light * transmission[band][part]

    def add_sersic(self, flux, colour, index, half_light_radius, axis_ratio, position_angle, x, y):
        """Add a Sérsic profile drawn by GalSim. `half_light_radius` is circularised, arcseconds."""
        box = self.box(x, y, half_light_radius * (4 + 2.5 * index) / math.sqrt(axis_ratio))
        column, row = self.pixels_of(x, y)
        side = box[0].stop - box[0].start
        # GalSim tabulates each Sérsic index once, so indices are rounded to quarters.
        profile = galsim.Sersic(max(0.5, round(4 * index) / 4), half_light_radius=half_light_radius / self.pixel_scale)
        profile = profile.shear(q=min(max(axis_ratio, 0.05), 1.0), beta=position_angle * galsim.radians)
        offset = (column - (box[1].start + side // 2), row - (box[0].start + side // 2))
        stamp = profile.drawImage(nx=side, ny=side, scale=1, method="no_pixel", offset=offset, dtype=np.float32)
        self.add(box, stamp.array, band_fluxes(flux, colour))

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


def blur(canvas, telescope, rng):
    """Return the scene through the atmosphere, shape (3, image_size, image_size), float32, nanomaggies per pixel.

    One Moffat point-spread function per band, drawn by GalSim, and one Fourier convolution of the whole scene.
    """
    size = canvas.size
    seeing = np.array(telescope.seeing) * np.exp(rng.normal(0, 0.10) + rng.normal(0, 0.08, 3))
    stamp_size = min(64, size - size % 2)
    kernel = np.zeros((3, size, size), np.float32)
    for band in range(3):
        moffat = galsim.Moffat(beta=3.3, fwhm=max(seeing[band] / canvas.pixel_scale, 0.8))
        # The offset puts the centre on a pixel, so that the convolution moves nothing.
        options = {"scale": 1, "method": "no_pixel", "dtype": np.float32, "offset": (0.5, 0.5)}
        stamp = moffat.drawImage(nx=stamp_size, ny=stamp_size, **options).array
        kernel[band, :stamp_size, :stamp_size] = stamp / stamp.sum()
    # The Fourier transform has its origin in the corner.
    kernel = np.roll(kernel, (-(stamp_size // 2), -(stamp_size // 2)), axis=(1, 2))
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
    g, r, z, `softening` (Q) and `floor` (m) are those of the viewer's `dr2_rgb`; z is shown red, g blue.

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
