"""From an image of any kind to what a network was trained on: stretched, cropped, resampled."""

import contextlib
import io
import warnings

import numpy as np
from PIL import Image

from galaxy_utils.data.folder import SMALLEST_SIDE, decode_image
from galaxy_utils.data.views import area_average

# An image may show so much less of the sky than the training images: the rounding of a cut-out's size.
MISSING_SKY = 1.02
FITS_SUFFIXES = (".fits", ".fit", ".fts", ".fits.gz", ".fits.fz")


def framed(pixels, scale, about):
    """Return an image as the network was trained on it: the same field of view, the same number of pixels.

    Where both pixel scales are known, the central field of the training images is cut out: a galaxy then has as many
    pixels as it had in training. Where one is unknown, the same central share is cut out as in training.

    Args:
        pixels: Shape (side, side, 3), uint8.
        scale: Arcseconds per pixel, or `None`.
        about: `image_size`, `crop` and `pixel_scale` of the classifier.

    Returns:
        Shape (image_size, image_size, 3), uint8.

    Raises:
        ValueError: The image shows too little of the sky, has too few pixels, or one value everywhere.
    """
    side, size, share = len(pixels), about["image_size"], about["crop"] or 1.0
    if scale and about["pixel_scale"]:
        field, wanted = side * scale, size * about["pixel_scale"]
        if wanted > field * MISSING_SKY:
            raise ValueError(f"shows {field:.1f} arcsec of sky; the training images show {wanted:.1f}")
        share = min(wanted / field, 1.0)
    # The same number of pixels goes on either side, as in `prepare`.
    crop = side - 2 * round(side * (1 - share) / 2)
    if crop < SMALLEST_SIDE:
        raise ValueError(f"only {crop} pixels across the field of the training images")
    margin = (side - crop) // 2
    pixels = pixels[margin : margin + crop, margin : margin + crop]
    # The first row alone tells it of nearly all, in a fraction of the time.
    if (pixels[0] == pixels[0, 0]).all() and (pixels == pixels[0, 0]).all():
        raise ValueError("blank, one value everywhere")
    if crop >= size:
        return area_average(pixels[None], size)[0]
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).resize((size, size), Image.Resampling.BICUBIC))


def read_file(path):
    """Return the central square of an image in a file, arcseconds per pixel, ra and dec; `None` where unknown.

    Args:
        path: `Path` of the file.

    Raises:
        ValueError: It cannot be used; a short reason.
    """
    try:
        if not path.is_file():
            raise ValueError("a folder, a device or a broken link, no file")
        if path.name.lower().endswith(FITS_SUFFIXES):
            return read_fits(path)
        return decode_image(path), None, None, None
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror or error})") from error


def read_bytes(content, path=None):
    """Return the central square of an image that is given as bytes, or lies in a file, as `read_file` does."""
    if content is None and path is None:
        raise ValueError("no image")
    if content is None:
        raise ValueError(f"the table holds only the path {path!r} of the image, not its bytes; embed them")
    if content.startswith(b"SIMPLE  ="):
        return read_fits(io.BytesIO(content))
    return decode_image(content), None, None, None


def read_fits(file):
    """Return the central square of three bands, stretched as `stretch_rgb` does, and what its WCS says.

    One HDU holds the bands g, r, z, shape (3, height, width), in nanomaggies per pixel, as the Legacy Surveys' cut-outs
    in FITS do. Pixels without a number are taken as empty sky.

    Args:
        file: A path or an open file.

    Returns:
        Image, shape (side, side, 3), uint8, north up as in the viewer's JPEGs; arcseconds per pixel; ra, dec in degrees
        of its centre; the last three `None` where there is no WCS.

    Raises:
        ValueError: It cannot be used; a short reason.
    """
    from astropy.io import fits
    from astropy.wcs import WCS
    from astropy.wcs.utils import proj_plane_pixel_scales

    from galaxy_utils.data.survey_camera import stretch_rgb

    try:
        with warnings.catch_warnings(action="ignore"), fits.open(file, memmap=False) as units:
            shapes = [unit.shape if unit.is_image else () for unit in units]
            cubes = [unit for unit, shape in zip(units, shapes, strict=True) if len(shape) == 3 and shape[0] == 3]
            header, sky = (cubes[0].header, WCS(cubes[0].header).celestial) if cubes else ({}, None)
            bands = np.asarray(cubes[0].data, np.float32) if cubes else None
    except Exception as error:  # astropy has errors of many kinds for files that are no FITS
        raise ValueError(f"cannot be read as FITS ({type(error).__name__}: {str(error)[:200]})") from error
    if len(cubes) != 1:
        raise ValueError(f"{len(cubes)} HDUs of shape (3, height, width) instead of one; found {shapes}")
    if (order := str(header.get("BANDS", "grz")).lower()) != "grz":
        raise ValueError(f"bands {order} instead of grz")
    scale = ra = dec = None
    if sky.has_celestial:
        scale = float(np.mean(proj_plane_pixel_scales(sky))) * 3600
        with contextlib.suppress(Exception):  # a position outside the projection
            ra, dec = map(float, sky.pixel_to_world_values(*((np.array(bands.shape[:0:-1]) - 1) / 2)))
    if not np.isfinite(bands).any() or min(bands.shape[1:]) < SMALLEST_SIDE:
        raise ValueError(f"no numbers, or tiny: shape {bands.shape}")
    bands = np.where(np.isfinite(bands), bands, 0)[:, ::-1]
    side = min(bands.shape[1:])
    top, left = (bands.shape[1] - side) // 2, (bands.shape[2] - side) // 2
    return stretch_rgb(bands[:, top : top + side, left : left + side]), scale, ra, dec
