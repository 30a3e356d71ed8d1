"""Vectors and their neighbours: who votes on whom."""

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from galaxy_utils.errors import ConfigurationError
from galaxy_utils.evaluation import latent

RANDOM = np.random.default_rng(1)
VECTORS, LABELS = RANDOM.normal(size=(30, 3)), np.arange(30) % 3


def test_votes_are_those_of_scikit_learn():
    votes = latent.neighbour_votes(VECTORS, LABELS, VECTORS[:9] + 0.1, neighbours=7)
    expected = KNeighborsClassifier(7).fit(VECTORS, LABELS).predict_proba(VECTORS[:9] + 0.1)
    np.testing.assert_allclose(votes, expected)
    wider = latent.neighbour_votes(VECTORS, LABELS, VECTORS[:9] + 0.1, neighbours=7, num_classes=5)
    np.testing.assert_array_equal(wider, np.pad(votes, ((0, 0), (0, 2))))
    for neighbours in (0, 31):
        with pytest.raises(ConfigurationError, match="no valid count"):
            latent.neighbour_votes(VECTORS, LABELS, VECTORS, neighbours=neighbours)


def test_nobody_votes_on_its_own_group():
    # The first galaxy's duplicate has the other label and lies on the same spot.
    vectors, labels, groups = [[0.0], [1.0], [2.0], [0.0]], [0, 0, 0, 1], np.array([0, 1, 2, 0])
    without_groups = latent.neighbour_votes(vectors, labels, vectors[:1], neighbours=2)
    voted = latent.neighbour_votes(vectors, labels, vectors[:1], neighbours=2, train_groups=groups, groups=groups[:1])
    assert without_groups.tolist() == [[0.5, 0.5]] and voted.tolist() == [[1.0, 0.0]]
