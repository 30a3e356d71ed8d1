"""How far two sets of images lie apart in the features of a network: FID, KID, Inception Score.

Every distance between two sets of images is larger than 0 even for two sets of real ones, because both are samples. So
nothing here is worth reading without the same number between two sets of real images, of the same size and of the same
classes, on which neither the network nor the generator was trained: chapter 9 shows how.
"""

import math

import numpy as np

from galaxy_utils.errors import DataError


def frechet_distance(first, second):
    """Return the Fréchet distance of two sets of feature vectors, as if each were normally distributed (FID).

    |μ₁ − μ₂|² + Tr(C₁ + C₂ − 2 (C₁C₂)^½), with means μ and covariances C (Heusel et al. 2017, eq. 6). The usual name,
    Fréchet Inception Distance, belongs to features of the Inception network; with others, values compare only among
    themselves. It is biased: with fewer images it is larger. Take more images than features.

    Args:
        first: Shape (n, d), n at least 2.
        second: Shape (m, d), m at least 2.

    Returns:
        The squared distance, in squared units of the features.

    Raises:
        DataError: Something that is no two sets of vectors.

    Example:
        >>> round(frechet_distance([[0.0], [2.0]], [[3.0], [5.0]]), 6)
        9.0
    """
    first, second = _checked_features(first, second)
    # With centred vectors A and B as rows, C₁ = AᵀA / (n − 1), and the square roots of the eigenvalues of C₁C₂ are the
    # singular values of A Bᵀ / √((n − 1)(m − 1)). That needs no root of a matrix, and triangles in place of A and B.
    triangles, traces = [], []
    for features in (first, second):
        centred = (features - features.mean(axis=0)) / math.sqrt(len(features) - 1)
        triangles.append(np.linalg.qr(centred, mode="r"))
        traces.append(np.sum(centred**2))
    root = np.linalg.svd(triangles[0] @ triangles[1].T, compute_uv=False).sum()
    return float(np.sum((first.mean(axis=0) - second.mean(axis=0)) ** 2) + sum(traces) - 2 * root)


def kernel_distance(first, second):
    """Return the kernel distance of two sets of feature vectors (KID).

    The unbiased estimate of the squared maximum mean discrepancy for the kernel (x·y / d + 1)³ (Bińkowski et al. 2018,
    section 4). It may come out negative: between two samples of one distribution it scatters about 0.

    Args:
        first: Shape (n, d), n at least 2.
        second: Shape (m, d), m at least 2.

    Raises:
        DataError: Something that is no two sets of vectors.

    Example:
        >>> kernel_distance([[0.0], [0.0]], [[1.0], [1.0]])
        7.0
    """
    first, second = _checked_features(first, second)

    def kernel(a, b):
        return (a @ b.T / a.shape[1] + 1) ** 3

    def mean_of_pairs(values):
        # No vector is paired with itself: that is what makes the estimate unbiased.
        return (values.sum() - np.trace(values)) / (len(values) * (len(values) - 1))

    within = mean_of_pairs(kernel(first, first)) + mean_of_pairs(kernel(second, second))
    return float(within - 2 * kernel(first, second).mean())


def inception_score(probabilities):
    """Return exp of the mean divergence of a classifier's predictions from their average (Salimans et al. 2016).

    1 when every image gets the same prediction; at most the number of classes that the classifier can tell apart, when
    each image is surely of one class and all are equally frequent. It never looks at a real image.

    Args:
        probabilities: Shape (n, number of classes); rows sum to 1.

    Example:
        >>> round(inception_score([[1.0, 0.0], [0.0, 1.0]]), 6)
        2.0
    """
    probabilities = np.clip(np.asarray(probabilities, float), 1e-12, None)
    average = probabilities.mean(axis=0)
    return float(np.exp(np.mean(np.sum(probabilities * np.log(probabilities / average), axis=1))))


def features_and_predictions(classifier, images, batch_size=64):
    """Return what a classifier's last layer takes and what it gives.

    Args:
        classifier: A Keras model whose last layer predicts.
        images: Shape (n, height, width, 3), values 0–255.
        batch_size: Images per step.

    Returns:
        `(features, probabilities)`: float64, shapes (n, d) and (n, number of classes).

    Example:
        >>> features, probabilities = features_and_predictions(model, images)
        >>> len(features), probabilities.shape
        (5, (5, 10))
    """
    import keras  # Chapters that only evaluate predictions do without it.

    network = keras.Model(classifier.input, [classifier.layers[-1].input, classifier.output])
    features, predictions = network.predict(images, batch_size, verbose=0)
    return features.reshape(len(features), -1).astype(np.float64), predictions.astype(np.float64)


def _checked_features(first, second):
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    sound = all(f.ndim == 2 and len(f) >= 2 and np.isfinite(f).all() for f in (first, second))
    if not sound or first.shape[1] != second.shape[1]:
        expected = "finite numbers, shapes (n, d) and (m, d), at least two vectors in each"
        found = f"shapes {first.shape} and {second.shape}"
        raise DataError("These cannot be compared.", where="first, second", expected=expected, found=found)
    return first, second
