"""Latent spaces: known answers on points whose geometry is known."""

import importlib.util

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier
from toy_galaxies import toy_galaxies

import galaxy_utils as gu
from galaxy_utils.errors import ConfigurationError, DataError
from galaxy_utils.evaluation import accuracy_difference, latent, mean_with_interval


def clusters(distance, num_each=40, dimensions=3, seed=1):
    """Two round clouds of points, so far apart, and their labels."""
    random = np.random.default_rng(seed)
    labels = np.repeat([0, 1], num_each)
    vectors = random.normal(size=(2 * num_each, dimensions))
    vectors[labels == 1, 0] += distance
    return vectors, labels


@pytest.mark.parametrize("distance, accuracy, silhouette", [(0, (0.3, 0.7), (-0.05, 0.05)), (20, (1, 1), (0.8, 1))])
def test_separation_of_clouds_apart_and_on_top_of_each_other(distance, accuracy, silhouette):
    measured = latent.separation(*clusters(distance), *clusters(distance, seed=2), bootstrap_samples=200)
    assert accuracy[0] <= measured.neighbour_accuracy <= accuracy[1]
    assert silhouette[0] <= measured.silhouette <= silhouette[1]
    for value, (low, high) in (
        (measured.neighbour_accuracy, measured.neighbour_interval),
        (measured.silhouette, measured.silhouette_interval),
    ):
        assert low <= value <= high and (high - low > 0 or distance)
    assert measured.dimensions == 3


def test_intervals_widen_when_galaxies_come_in_groups():
    train, points = clusters(1), clusters(1, seed=2)
    single = latent.separation(*train, *points).neighbour_interval
    grouped = latent.separation(*train, *points, groups=np.arange(80) // 20).neighbour_interval
    assert grouped[1] - grouped[0] > single[1] - single[0]


@given(seed=st.integers(0, 1000), neighbours=st.integers(1, 9))
@settings(max_examples=20, deadline=None)
def test_votes_are_those_of_scikit_learn(seed, neighbours):
    (train, labels), (points, _) = clusters(2, 20, seed=seed), clusters(2, 10, seed=seed + 1)
    votes = latent.neighbour_votes(train, labels, points, neighbours=neighbours)
    expected = KNeighborsClassifier(neighbours).fit(train, labels).predict_proba(points)
    np.testing.assert_allclose(votes, expected)


def test_nobody_votes_on_its_own_group():
    vectors, labels = clusters(20, 10)
    # The first galaxy's twin has the other label and lies on the same spot.
    vectors = np.vstack([vectors, vectors[0]])
    labels, groups = np.append(labels, 1), np.append(np.arange(20), 0)
    with_twin = latent.neighbour_votes(vectors, labels, vectors[:1], neighbours=2)
    without = latent.neighbour_votes(vectors, labels, vectors[:1], neighbours=2, train_groups=groups, groups=groups[:1])
    assert with_twin.tolist() == [[0.5, 0.5]] and without.tolist() == [[1.0, 0.0]]


def test_the_nearest_are_found_in_order():
    reference = np.array([[0.0, 0], [3, 4], [1, 0]])
    places, distances = latent.nearest(reference, [[0.0, 0]], 3)
    assert places.tolist() == [[0, 2, 1]] and distances.tolist() == [[0, 1, 5]]


def test_a_walk_goes_along_the_axis_in_standard_deviations():
    vectors = np.random.default_rng(1).normal([0.5, 0.5], [0.1, 0.02], (500, 2))
    components = PCA(2).fit(vectors)
    point = keras.Input((2,))
    # A decoder whose image shows the vector itself: two pixels, the same in all colours.
    image = keras.layers.Reshape((1, 2, 3))(keras.layers.Dense(6, use_bias=False)(point))
    decoder = keras.Model(point, image)
    decoder.set_weights([np.repeat(np.eye(2), 3, axis=1)])
    images, positions = latent.walk(decoder, components, axis=0, reach=2, steps=5)
    assert images.shape == (5, 1, 2, 3) and images.dtype == np.uint8
    assert positions.tolist() == [-2, -1, 0, 1, 2]
    travelled = np.diff(images[:, 0, 0, 0].astype(float)) / 255
    assert np.abs(travelled) == pytest.approx(np.full(4, vectors[:, 0].std()), abs=0.005)
    assert np.ptp(images[:, 0, 1, 0].astype(int)) < 10
    elsewhere, _ = latent.walk(decoder, components, axis=1, steps=3, start=[0.2, 0.8])
    assert elsewhere[1, 0, :, 0] / 255 == pytest.approx([0.2, 0.8], abs=0.002)


def test_the_plane_of_umap_needs_its_library():
    plane = latent.umap_plane(*(clusters(20)[0],) * 2)
    if importlib.util.find_spec("umap") is None:
        assert plane is None
    else:
        assert plane.shape == (80, 2)


def test_the_mean_s_interval_is_the_one_of_paired_differences():
    random = np.random.default_rng(1)
    labels = random.integers(0, 3, 50)
    first, second = random.dirichlet(np.ones(3), (2, 50))
    gains = (second.argmax(axis=1) == labels).astype(float) - (first.argmax(axis=1) == labels)
    assert mean_with_interval(gains) == accuracy_difference(first, second, labels)
    mean, low, high = mean_with_interval(random.normal(5, 1, 400))
    assert low < mean < high and high - low == pytest.approx(2 * 1.96 / 20, rel=0.2)


@pytest.mark.parametrize(
    "use, error, named",
    [
        (lambda v, y: latent.separation(v, y, v, np.zeros(80, int)), DataError, "1 classes"),
        (lambda v, y: latent.separation(v, y, v, y[:5]), DataError, "5 labels"),
        (lambda v, y: latent.separation(v, y, v, y, groups=[1, 2]), DataError, "groups"),
        (lambda v, y: latent.neighbour_votes(v, y, v[:, :2]), DataError, "vectors of 2 numbers"),
        (lambda v, y: latent.neighbour_votes(v, y, v, neighbours=81), ConfigurationError, "81"),
        (lambda v, y: latent.nearest(v, v, 0), ConfigurationError, "0"),
        (lambda v, y: latent.nearest(v * np.nan, v, 1), DataError, "NaN"),
        (lambda v, y: latent.nearest(v[0], v, 1), DataError, "shape"),
        (lambda v, y: latent.walk(None, PCA(2).fit(v), axis=2), ConfigurationError, "0 to 1"),
        (lambda v, y: latent.walk(None, PCA(2).fit(v), reach=0), ConfigurationError, "reach"),
        (lambda v, y: latent.walk(None, PCA(2).fit(v), steps=1), ConfigurationError, "steps"),
        (lambda v, y: mean_with_interval(v[:, 0], bootstrap_samples=0), ConfigurationError, "bootstrap_samples"),
    ],
)
def test_what_cannot_work_is_refused(use, error, named):
    with pytest.raises(error, match=named):
        use(*clusters(5))


def test_kept_vectors_come_back_with_their_rows(tmp_path):
    split = gu.split(toy_galaxies(40), seed=1)
    vectors = {part: np.random.default_rng(1).normal(size=(len(split.part(part)), 3)) for part in ("train", "test")}
    latent.save_vectors(tmp_path / "kept.npz", vectors, split)
    again, rows, fingerprint = latent.load_vectors(tmp_path / "kept.npz")
    assert fingerprint == split.fingerprint and list(again) == ["train", "test"]
    for part in vectors:
        assert np.array_equal(again[part], vectors[part]) and np.array_equal(rows[part], split.part(part))
    with pytest.raises(DataError, match="do not belong"):
        latent.save_vectors(tmp_path / "kept.npz", {"train": vectors["train"][1:]}, split)
    with pytest.raises(DataError, match="no such vectors"):
        latent.load_vectors(tmp_path / "none.npz")
    (tmp_path / "damaged.npz").write_bytes((tmp_path / "kept.npz").read_bytes()[:-30])
    with pytest.raises(DataError, match="cannot be read"):
        latent.load_vectors(tmp_path / "damaged.npz")
