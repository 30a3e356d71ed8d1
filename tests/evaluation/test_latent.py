"""Latent vectors: who votes on whom, and what a file gives back."""

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier
from toy_galaxies import toy_galaxies

import galaxy_utils as gu
from galaxy_utils.errors import ConfigurationError, DataError
from galaxy_utils.evaluation import latent

RANDOM = np.random.default_rng(1)
VECTORS, LABELS = RANDOM.normal(size=(30, 3)), np.arange(30) % 3


def test_votes_are_those_of_scikit_learn():
    votes = latent.neighbour_votes(VECTORS, LABELS, VECTORS[:9] + 0.1, neighbours=7)
    expected = KNeighborsClassifier(7).fit(VECTORS, LABELS).predict_proba(VECTORS[:9] + 0.1)
    np.testing.assert_allclose(votes, expected)
    for neighbours in (0, 31):
        with pytest.raises(ConfigurationError, match="not so many"):
            latent.neighbour_votes(VECTORS, LABELS, VECTORS, neighbours=neighbours)


def test_nobody_votes_on_its_own_group():
    # The first galaxy's duplicate has the other label and lies on the same spot.
    vectors, labels, groups = [[0.0], [1.0], [2.0], [0.0]], [0, 0, 0, 1], np.array([0, 1, 2, 0])
    without_groups = latent.neighbour_votes(vectors, labels, vectors[:1], neighbours=2)
    voted = latent.neighbour_votes(vectors, labels, vectors[:1], neighbours=2, train_groups=groups, groups=groups[:1])
    assert without_groups.tolist() == [[0.5, 0.5]] and voted.tolist() == [[1.0, 0.0]]


def test_kept_vectors_come_back_with_their_rows(tmp_path):
    split = gu.split(toy_galaxies(40), seed=1)
    vectors = {part: RANDOM.normal(size=(len(split.part(part)), 3)) for part in ("train", "test")}
    latent.save_vectors(tmp_path / "kept.npz", vectors, split)
    again, rows, fingerprint = latent.load_vectors(tmp_path / "kept.npz")
    assert fingerprint == split.fingerprint and sorted(again) == ["test", "train"]
    for part in vectors:
        assert np.array_equal(again[part], vectors[part]) and np.array_equal(rows[part], split.part(part))
    with pytest.raises(DataError, match="one vector for each"):
        latent.save_vectors(tmp_path / "kept.npz", {"train": vectors["train"][1:]}, split)
    (tmp_path / "damaged.npz").write_bytes((tmp_path / "kept.npz").read_bytes()[:-30])
    for name, message in (("none", "no such vectors"), ("damaged", "cannot be read")):
        with pytest.raises(DataError, match=message):
            latent.load_vectors(tmp_path / f"{name}.npz")
