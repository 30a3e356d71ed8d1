"""Baselines: what no learning, or hardly any, reaches."""

import numpy as np
import pytest
from sklearn.metrics import log_loss
from sklearn.neighbors import KNeighborsClassifier
from toy_galaxies import toy_galaxies, toy_split

from galaxy_utils.evaluation import averaged_pixels, baselines
from galaxy_utils.evaluation.baselines import MAJORITY_CLASS, NEAREST_NEIGHBOURS, UNTRAINED_NETWORK


@pytest.fixture(scope="module")
def galaxies():
    """Toy galaxies without class 3 and with many of class 1."""
    galaxies = toy_galaxies(400)
    rows = np.nonzero((galaxies.labels == 1) | ((galaxies.labels != 3) & (np.arange(400) % 2 == 0)))[0]
    return galaxies.replace(**{name: getattr(galaxies, name)[rows] for name in ("images", "labels", "vote_fractions")})


def test_three_baselines_know_as_little_as_they_should(galaxies):
    split = toy_split(len(galaxies))
    scores = baselines(galaxies, split, bootstrap_samples=20)
    assert list(scores) == [MAJORITY_CLASS, NEAREST_NEIGHBOURS, UNTRAINED_NETWORK]
    truth = galaxies.labels[split.test]
    counts = np.bincount(galaxies.labels[split.train], minlength=4)
    assert scores[MAJORITY_CLASS].accuracy == np.mean(truth == counts.argmax())
    expected = log_loss(truth, np.tile(counts / counts.sum(), (len(truth), 1)), labels=range(4))
    assert scores[MAJORITY_CLASS].negative_log_likelihood == pytest.approx(expected, rel=0.02)
    # Toy images already have the 16 px at which neighbours are compared. Ties are broken by the class shares.
    pixels = galaxies.images.reshape(len(galaxies), -1) / 255.0
    reference = KNeighborsClassifier(10).fit(pixels[split.train], galaxies.labels[split.train])
    expected = reference.score(pixels[split.test], truth)
    assert scores[NEAREST_NEIGHBOURS].accuracy == pytest.approx(expected, abs=0.03)
    assert scores[UNTRAINED_NETWORK].macro_recall < 0.6
    # A class that never occurred in training would make divergences of 0.40 from the floor of 1e-7 alone.
    assert all(score.kl_divergence < 2 and score.resampled == "groups" for score in scores.values())


def test_a_class_that_only_the_test_part_has_is_not_impossible():
    galaxies, split = toy_galaxies(), toy_split()
    split.train = split.train[galaxies.labels[split.train] != 3]
    truth, counts = galaxies.labels[split.test], np.bincount(galaxies.labels[split.train], minlength=4) + 0.25
    expected = log_loss(truth, np.tile(counts / counts.sum(), (len(truth), 1)))
    found = baselines(galaxies, split, bootstrap_samples=0)[MAJORITY_CLASS]
    assert found.negative_log_likelihood == pytest.approx(expected)


def test_the_part_is_respected():
    galaxies, split = toy_galaxies(), toy_split()
    for scores in baselines(galaxies, split, part="validation", bootstrap_samples=0).values():
        np.testing.assert_array_equal(scores.support, np.bincount(galaxies.labels[split.validation], minlength=4))
    with pytest.raises(ValueError, match="'test' or 'validation'"):
        baselines(galaxies, split, part="train")


def test_images_are_averaged_over_areas():
    coarse, rows = toy_galaxies(8), np.arange(8)
    fine = coarse.replace(images=np.kron(coarse.images, np.ones((1, 3, 3, 1), np.uint8)))
    np.testing.assert_array_equal(averaged_pixels(fine, rows, 16), averaged_pixels(coarse, rows, 16))
