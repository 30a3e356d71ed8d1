"""Distances between sets of features: against independent computations, on known cases, and for bad input."""

import numpy as np
import pytest

from galaxy_utils.errors import DataError
from galaxy_utils.evaluation import frechet_distance, inception_score, kernel_distance


def vectors(count, dimensions, shift=0.0, seed=1):
    random = np.random.default_rng(seed)
    return shift + random.standard_normal((count, dimensions)) @ random.normal(size=(dimensions, dimensions))


@pytest.mark.parametrize("counts", [(60, 40), (9, 30), (9, 8)])  # more and fewer vectors than dimensions
def test_the_frechet_distance_is_the_one_with_a_matrix_root(counts):
    from scipy.linalg import sqrtm

    first, second = vectors(counts[0], 12, seed=1), vectors(counts[1], 12, shift=0.5, seed=2)
    covariances = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    root = sqrtm(covariances[0] @ covariances[1]).real
    expected = np.sum((first.mean(0) - second.mean(0)) ** 2) + np.trace(covariances[0] + covariances[1] - 2 * root)
    # The matrix root of a singular product is itself good to a few digits only.
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-6 if min(counts) > 12 else 1e-3)


def test_samples_of_one_distribution_are_at_kernel_distance_zero_on_average():
    random = np.random.default_rng(3)
    pairs = [(random.normal(size=(30, 6)), random.normal(size=(30, 6))) for _ in range(60)]
    unbiased = [kernel_distance(*pair) for pair in pairs]
    assert abs(np.mean(unbiased)) < 3 * np.std(unbiased) / np.sqrt(60) and min(unbiased) < 0
    assert kernel_distance(pairs[0][0], pairs[0][1] + 1) > max(unbiased)


def test_the_inception_score_lies_between_one_and_the_number_of_classes():
    assert inception_score(np.full((6, 4), 0.25)) == pytest.approx(1)
    assert inception_score(np.eye(4)[[0, 1, 2, 3] * 3]) == pytest.approx(4)


@pytest.mark.parametrize("first, second", [(np.zeros((3, 2)), np.zeros((3, 4))), (np.full((3, 2), np.nan),) * 2])
def test_what_is_no_pair_of_feature_sets_is_refused(first, second):
    for distance in (frechet_distance, kernel_distance):
        with pytest.raises(DataError, match="first, second"):
            distance(first, second)
