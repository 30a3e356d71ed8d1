"""Shapes of galaxies, real or drawn, as numbers: concentration, asymmetry, Gini coefficient, M20, ellipticity.

Why photutils and not statmorph, which measures the same and more: statmorph 0.7.2 (BSD licence) works on these
cut-outs (60 simulated and 60 real ones of 64 px: no failure, 12 and 22 flagged as suspect or bad), but it took about
thirty times as long, 0.3 to 0.4 s for a galaxy; it also fits a Sérsic profile to each. It insists on a detector gain or
a map of errors, which stretched 8-bit images do not have, and it brings scikit-image, which nothing else here needs.
"""

import warnings

import numpy as np

SHAPES = {
    "concentration": "concentration",
    "asymmetry": "asymmetry",
    "gini": "Gini coefficient",
    "m20": "M20",
    "ellipticity": "ellipticity",
}
# A pixel belongs to a galaxy when the smoothed image is brighter than the sky by so many standard deviations of it.
THRESHOLD = 2.0


def shape_statistics(images):
    """Measure the shape of the galaxy in the middle of each image.

    The mean of the three bands is measured, after the median of the border is taken off. The galaxy is the connected
    bright region at, or nearest to, the centre. Images are stretched for the eye, not proportional to light, so that
    the numbers compare with each other and not with a catalogue's.

    - Concentration: 5 log₁₀(r₈₀ / r₂₀), radii that hold 80 and 20 % of the light (Conselice 2003, eq. 3).
    - Asymmetry: Σ|I − I₁₈₀| / Σ|I| over the galaxy's pixels and their mirror images, with I₁₈₀ the image turned by 180°
      about the galaxy's centroid (Conselice 2003, eq. 1, without the minimum over centres and the sky's share: noise
      adds to it in every image alike).
    - Gini coefficient: 0 when all pixels of the galaxy are equally bright, 1 when one has all the light (Lotz et al.
      2004, eq. 6).
    - M20: log₁₀ of the share that the brightest 20 % of the light have in the second moment (Lotz et al. 2004, eq. 8).
    - Ellipticity: 1 − b/a, from second moments.

    Gini coefficient, ellipticity and the radii are photutils' (Bradley et al.), asymmetry and M20 the formulas above.

    Args:
        images: Shape (n, side, side, 3), uint8.

    Returns:
        `{name: shape (n,)}` with the keys of `SHAPES`; NaN where no galaxy stands out from the sky.
    """
    measured = [_measure(image) for image in np.asarray(images)]
    return {name: np.array([row[name] for row in measured]) for name in SHAPES}


def shape_distances(first, second):
    """Return how far the distributions of two sets of shapes lie apart, in standard deviations of the second.

    The distance is Wasserstein's, the mean distance by which values have to be moved to turn one distribution into the
    other.

    Args:
        first: From `shape_statistics`.
        second: Likewise, usually of real galaxies.

    Returns:
        `{name: distance}`; NaN for a statistic that was measured in fewer than two images of a set.
    """
    from scipy.stats import wasserstein_distance

    distances = {}
    for name in SHAPES:
        a, b = (np.asarray(values[name])[np.isfinite(values[name])] for values in (first, second))
        enough = min(len(a), len(b)) >= 2
        distances[name] = float(wasserstein_distance(a, b) / max(b.std(), 1e-12)) if enough else np.nan
    return distances


def _measure(image):
    grey = image.astype(float).mean(axis=-1)
    galaxy, light = _find_galaxy(grey)
    if galaxy is None:
        return dict.fromkeys(SHAPES, np.nan)
    with warnings.catch_warnings():
        # Its import warns where notebooks have no widgets; and each galaxy at the border, that its aperture is cut off.
        warnings.simplefilter("ignore")
        from photutils.segmentation import SegmentationImage, SourceCatalog

        source = SourceCatalog(light, SegmentationImage(galaxy.astype(int)))
        inner, outer = (float(np.ravel(source.flux_radius(share))[0].value) for share in (0.2, 0.8))
        return {
            "concentration": 5 * np.log10(outer / inner) if 0 < inner < outer else np.nan,
            "asymmetry": _asymmetry(light, galaxy, float(source.x_centroid[0]), float(source.y_centroid[0])),
            "gini": float(source.gini[0]),
            "m20": _second_moment_of_brightest(light, galaxy),
            "ellipticity": float(np.ravel(source.ellipticity)[0].value),
        }


def _find_galaxy(grey):
    """Return the mask of the galaxy nearest to the centre and the image without its sky; `(None, ...)` without one."""
    from scipy import ndimage

    side = grey.shape[0]
    width = max(1, side // 16)
    is_border = np.ones(grey.shape, bool)
    is_border[width:-width, width:-width] = False
    border = grey[is_border]
    sky = np.median(border)
    # The median absolute deviation, so that a star at the border does not count; at least a grey level.
    noise = max(1.0, 1.4826 * np.median(np.abs(border - sky)))
    light = grey - sky
    regions, count = ndimage.label(ndimage.gaussian_filter(light, 1) > THRESHOLD * noise)
    sizes = np.bincount(regions.ravel(), minlength=count + 1)
    # A few pixels are noise or a faint star.
    large = np.flatnonzero(sizes >= 9)
    regions[~np.isin(regions, large[large > 0])] = 0
    if not regions.any():
        return None, light
    distance = np.hypot(*(np.indices(grey.shape) - (side - 1) / 2))
    nearest = np.argmin(np.where(regions > 0, distance, np.inf))
    return regions == regions.ravel()[nearest], light


def _asymmetry(light, galaxy, x, y):
    from scipy import ndimage

    def turned(values):
        return ndimage.affine_transform(values, [-1, -1], offset=(2 * y, 2 * x), order=1, mode="constant")

    both = galaxy | (turned(galaxy.astype(float)) > 0.5)
    # Half a galaxy at the border has no other half to compare with.
    both &= turned(np.ones_like(light)) > 0.5
    total = np.abs(light[both]).sum()
    return float(np.abs(light - turned(light))[both].sum() / total) if total > 0 else np.nan


def _second_moment_of_brightest(light, galaxy):
    row, column = np.nonzero(galaxy)
    values = np.clip(light[galaxy], 0, None)
    if values.sum() <= 0:
        return np.nan
    centre = np.average(row, weights=values), np.average(column, weights=values)
    moments = values * ((row - centre[0]) ** 2 + (column - centre[1]) ** 2)
    order = np.argsort(values)[::-1]
    brightest = np.cumsum(values[order]) <= 0.2 * values.sum()
    brightest[0] = True
    share = moments[order][brightest].sum() / moments.sum() if moments.sum() > 0 else np.nan
    return float(np.log10(share)) if share > 0 else np.nan
