"""Scores of generated images: against independent computations, on cases whose answer is known, and for bad input."""

import keras
import numpy as np
import pytest
from toy_galaxies import toy_galaxies

import galaxy_utils as gu
from galaxy_utils.data.views import dihedral_view
from galaxy_utils.errors import ConfigurationError, DataError
from galaxy_utils.evaluation.generation import (
    frechet_distance,
    inception_score,
    kernel_distance,
    nearest_real,
    score_samples,
    squared_discrepancy,
)


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


def test_the_kernel_distance_is_the_one_of_a_double_loop():
    first, second = vectors(7, 5, seed=1), vectors(9, 5, shift=1.0, seed=2)

    def kernel(x, y):
        return (sum(a * b for a, b in zip(x, y, strict=True)) / 5 + 1) ** 3

    within_first = [kernel(first[i], first[j]) for i in range(7) for j in range(7) if i != j]
    within_second = [kernel(second[i], second[j]) for i in range(9) for j in range(9) if i != j]
    between = [kernel(x, y) for x in first for y in second]
    expected = np.mean(within_first) + np.mean(within_second) - 2 * np.mean(between)
    assert squared_discrepancy(first, second) == pytest.approx(expected)
    # A single subset of everything is the whole estimate.
    assert kernel_distance(first, second[:7], subsets=1, subset_size=7)[0] == pytest.approx(
        squared_discrepancy(first, second[:7])
    )


def test_samples_of_one_distribution_are_at_distance_zero_on_average():
    random = np.random.default_rng(3)
    pairs = [(random.normal(size=(30, 6)), random.normal(size=(30, 6))) for _ in range(60)]
    unbiased = [squared_discrepancy(*pair) for pair in pairs]
    assert abs(np.mean(unbiased)) < 3 * np.std(unbiased) / np.sqrt(60) and min(unbiased) < 0
    # The Fréchet distance is biased upwards, and more so with fewer images: why it needs a floor.
    few, many = (np.mean([frechet_distance(a[:n], b[:n]) for a, b in pairs]) for n in (10, 30))
    assert few > 1.5 * many > 0


def test_the_range_of_the_subsets_contains_their_mean_and_follows_the_seed():
    first, second = vectors(50, 4), vectors(50, 4, shift=1.0, seed=2)
    mean, low, high = kernel_distance(first, second, subsets=30, subset_size=20)
    assert low < mean < high
    assert kernel_distance(first, second, subsets=30, subset_size=20) == (mean, low, high)
    assert kernel_distance(first, second, subsets=30, subset_size=20, seed=2) != (mean, low, high)


def test_the_inception_score_lies_between_one_and_the_number_of_classes():
    assert inception_score(np.full((6, 4), 0.25)) == pytest.approx(1)
    assert inception_score(np.eye(4)[[0, 1, 2, 3] * 3]) == pytest.approx(4)
    assert inception_score(np.eye(4)[[0, 0, 1, 1]]) == pytest.approx(2)


@pytest.fixture(scope="module")
def judged():
    """Toy galaxies, their split, and a classifier that has learned them."""
    galaxies = toy_galaxies(num_galaxies=400, noise=20)
    split = gu.split(galaxies, fractions=(0.5, 0.1, 0.4))
    network = gu.models.four_block_cnn(16, 4, pooling="average")
    recipe = gu.Recipe("test", epochs=6, batch_size=16, learning_rate=3e-3)
    gu.fit(network, galaxies, split, recipe, progress=False)
    return galaxies, split, network


def test_real_images_reach_the_floor_and_noise_does_not(judged):
    galaxies, split, network = judged
    fresh = toy_galaxies(num_galaxies=160, noise=20, seed=9)
    scores = score_samples(network, fresh.images, fresh.labels, galaxies, split, subsets=20)
    assert scores.images == sum(scores.images_by_class.values()) == 160
    assert scores.generated["frechet"] < 3 * scores.floor["frechet"]
    assert scores.generated["recognised"] > 0.9 and 3 < scores.generated["inception"] <= 4
    noise = np.random.default_rng(1).integers(0, 256, fresh.images.shape, dtype=np.uint8)
    bad = score_samples(network, noise, fresh.labels, galaxies, split, subsets=20)
    assert bad.generated["frechet"] > 10 * bad.floor["frechet"]
    assert bad.generated["kernel_low"] > bad.floor["kernel_high"]
    assert "FID" in str(bad) and f"{bad.floor['frechet']:.3f}" in str(bad)


def test_the_distances_may_use_another_network_s_eyes(judged):
    galaxies, split, network = judged
    fresh = toy_galaxies(num_galaxies=160, noise=20, seed=9)
    pixels = keras.Input((16, 16, 3))
    eyes = keras.Model(pixels, keras.layers.AveragePooling2D(8)(pixels), name="eyes")
    eyes = keras.Model(pixels, keras.layers.Flatten()(eyes(pixels)), name="eyes")
    own, others = (
        score_samples(network, fresh.images, fresh.labels, galaxies, split, subsets=5, feature_network=each)
        for each in (None, eyes)
    )
    assert (own.judge, others.judge, others.features) == (network.name, "eyes", 12)
    assert others.generated["frechet"] != own.generated["frechet"]
    # What needs answers is the classifier's all the same.
    assert others.generated["recognised"] == own.generated["recognised"]


def test_the_three_sets_have_equal_classes_and_sizes(judged):
    galaxies, split, network = judged
    # 30 of one class, 5 of another: the real sets follow.
    chosen = np.r_[np.flatnonzero(galaxies.labels == 2)[:30], np.flatnonzero(galaxies.labels == 0)[:5]]
    scores = score_samples(network, galaxies.images[chosen], galaxies.labels[chosen], galaxies, split, subsets=5)
    assert scores.images_by_class == {"Red Small": 5, "Red Large": 30}
    with pytest.raises(DataError, match="found: 3"):
        score_samples(network, galaxies.images[:3], [0] * 3, galaxies, split)


@pytest.mark.parametrize("number", range(8))
def test_a_copy_is_found_however_it_was_turned(judged, number):
    galaxies, split, _ = judged
    copied = split.train[[3, 8]]
    copies = dihedral_view(galaxies.images[copied], number)
    rows, distances = nearest_real(copies, galaxies, split.train)
    np.testing.assert_array_equal(rows, copied)
    np.testing.assert_allclose(distances, 0, atol=1e-3)
    assert nearest_real(copies, galaxies, split.test)[1].min() > 0.01


def test_the_distance_to_a_real_galaxy_is_the_root_mean_square(judged):
    galaxies, _, _ = judged
    brighter = np.minimum(galaxies.images[:3].astype(int) // 2 + 51, 255).astype(np.uint8)
    darker = galaxies.replace(images=brighter - np.uint8(51), labels=galaxies.labels[:3], vote_fractions=None)
    _, distances = nearest_real(brighter, darker, np.arange(3))
    np.testing.assert_allclose(distances, 51 / 255, atol=0.02)


@pytest.mark.parametrize(
    "first, second",
    [(np.zeros((3, 2)), np.zeros((3, 4))), (np.zeros((1, 2)), np.zeros((3, 2))), (np.full((3, 2), np.nan),) * 2],
)
def test_what_is_no_pair_of_feature_sets_is_refused(first, second):
    for distance in (frechet_distance, kernel_distance):
        with pytest.raises(DataError, match="first, second"):
            distance(first, second)


def test_other_bad_input_is_refused(judged):
    galaxies, split, _ = judged
    with pytest.raises(ConfigurationError, match="subsets"):
        kernel_distance(vectors(5, 2), vectors(5, 2), subsets=0)
    with pytest.raises(DataError, match="8, 8, 3"):
        nearest_real(np.zeros((2, 8, 8, 3), np.uint8), galaxies, split.train)
