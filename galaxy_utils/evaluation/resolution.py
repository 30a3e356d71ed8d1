"""What enlarging an image brought: errors beside bicubic interpolation, radial profiles, power at each scale."""

import numpy as np
from PIL import Image

from galaxy_utils.augmentation.super_resolution import FACTOR
from galaxy_utils.errors import DataError


def halve(images):
    """Return images at half their side, each pixel the mean of four, as larger pixels of a telescope would be.

    Args:
        images: Shape (n, side, side, 3), uint8, even side.
    """
    from galaxy_utils.data.prepare import area_average

    return area_average(np.asarray(images), images.shape[1] // FACTOR)


def enlarge_bicubic(images):
    """Return images at twice their side, by bicubic interpolation: what every enlargement has to beat.

    Args:
        images: Shape (n, height, width, 3), uint8.
    """
    size = FACTOR * images.shape[2], FACTOR * images.shape[1]
    return np.stack([np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC)) for image in images])


def peak_signal_to_noise(originals, images):
    """Return the peak signal-to-noise ratio of each image, 10 log₁₀(1 / MSE) for values 0 to 1, in decibels.

    Most of a cut-out is dark sky, which is easy to get right: the ratio of a galaxy depends on how much sky is around
    it, and compares with nothing but another method on the same images.

    Args:
        originals: Shape (n, height, width, 3), uint8.
        images: Likewise.

    Returns:
        Shape (n,), float64; infinite for equal images.

    Raises:
        DataError: Images of different shapes.
    """
    originals, images = _checked_pair(originals, images)
    errors = np.mean((originals - images) ** 2, axis=(1, 2, 3)) / 255**2
    with np.errstate(divide="ignore"):
        return -10 * np.log10(errors)


def structural_similarity(originals, images):
    """Return the structural similarity of each image (SSIM, Wang et al. 2004), mean over pixels and bands, at most 1.

    Local means, variances and covariances are taken with the paper's Gaussian window of σ = 1.5 pixels.

    Args:
        originals: Shape (n, height, width, 3), uint8; sides of at least 11.
        images: Likewise.

    Returns:
        Shape (n,), float64.

    Raises:
        DataError: Images of different shapes.
    """
    from scipy.ndimage import gaussian_filter

    originals, images = _checked_pair(originals, images)

    def local_mean(values):
        # A window of 11 pixels, as in the paper.
        return gaussian_filter(values, sigma=(0, 1.5, 1.5, 0), radius=(0, 5, 5, 0))

    first, second = local_mean(originals), local_mean(images)
    variances = local_mean(originals**2) - first**2 + local_mean(images**2) - second**2
    covariance = local_mean(originals * images) - first * second
    # The paper's constants keep the fractions finite where an image is even (section III-B).
    brightness, contrast = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    similarity = (2 * first * second + brightness) * (2 * covariance + contrast)
    similarity /= (first**2 + second**2 + brightness) * (variances + contrast)
    # Only where the window lies inside the image.
    return similarity[:, 5:-5, 5:-5].mean(axis=(1, 2, 3))


def radial_profile(images):
    """Return the mean brightness in rings about the centres of images, averaged over the images.

    Args:
        images: Shape (n, side, side, 3), uint8.

    Returns:
        `(radii, profile)`: radii in pixels, 0 to half the side, and brightness 0 to 255, shapes (r,).
    """
    images = np.asarray(images)
    mean = images.mean(axis=(0, 3))
    radius = np.hypot(*(np.indices(mean.shape) - (mean.shape[0] - 1) / 2))
    rings = radius.astype(int)
    inside = rings < mean.shape[0] // 2
    counts = np.bincount(rings[inside])
    # The mean radius of a ring's pixels, not its edge: near the centre the difference matters.
    return np.bincount(rings[inside], radius[inside]) / counts, np.bincount(rings[inside], mean[inside]) / counts


def power_spectrum(images):
    """Return how much an image varies at each scale, averaged over images, bands and directions.

    The squared Fourier amplitudes of the images, tapered by a Hann window so that their borders do not count as
    detail, averaged over rings of equal spatial frequency.

    Args:
        images: Shape (n, side, side, 3), uint8.

    Returns:
        `(frequencies, power)`: cycles per pixel, above 0 and up to 0.5, and power in units of brightness 0 to 1
        squared, divided by the number of pixels; shapes (f,).
    """
    images = np.asarray(images, np.float32) / 255
    side = images.shape[1]
    window = np.hanning(side)
    tapered = (images - images.mean(axis=(1, 2), keepdims=True)) * (window[:, None] * window)[..., None]
    power = np.mean(np.abs(np.fft.fft2(tapered, axes=(1, 2))) ** 2, axis=(0, 3)) / side**2
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side)))
    rings = np.rint(frequency * side).astype(int)
    inside = (rings > 0) & (rings <= side // 2)
    counts = np.bincount(rings[inside])[1:]
    frequencies = np.arange(1, side // 2 + 1) / side
    return frequencies, np.bincount(rings[inside], power[inside])[1:] / counts


def _checked_pair(originals, images):
    originals, images = np.asarray(originals, float), np.asarray(images, float)
    if originals.shape != images.shape or originals.ndim != 4 or not len(originals):
        raise DataError(
            "These images cannot be compared one by one.",
            where="originals, images",
            expected="two arrays of the same shape (n, height, width, 3)",
            found=f"{originals.shape} and {images.shape}",
        )
    return originals, images
