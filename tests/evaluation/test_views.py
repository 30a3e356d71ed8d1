"""Averaging over views: the eight views, each once, of any network."""

import keras
import numpy as np
import pytest
from keras import ops
from toy_galaxies import WatchedImages, toy_galaxies

from galaxy_utils.data.views import NUM_VIEWS, ViewedImages, dihedral_view
from galaxy_utils.evaluation import predict_with_tta
from galaxy_utils.models import joint_autoencoder_classifier, three_block_cnn
from galaxy_utils.training import predict

# Keras' own variables still trip over NumPy's newer `copy` argument.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def test_the_views_are_eight_different_ones_that_lose_nothing():
    images = toy_galaxies(4).images
    views = [dihedral_view(images, number) for number in range(NUM_VIEWS)]
    np.testing.assert_array_equal(views[0], images)
    assert len({view.tobytes() for view in views}) == 8
    for view in views:
        np.testing.assert_array_equal(np.sort(view.reshape(4, -1)), np.sort(images.reshape(4, -1)))


def test_viewed_images_stay_lazy_and_take_any_index():
    galaxies = toy_galaxies(8)
    watched = WatchedImages(galaxies.images)
    viewed = ViewedImages(watched, 5)
    assert not watched.reads and viewed.shape == galaxies.images.shape and viewed.dtype == np.uint8
    expected = dihedral_view(galaxies.images, 5)
    np.testing.assert_array_equal(viewed[3], expected[3])
    np.testing.assert_array_equal(viewed[2:5], expected[2:5])
    np.testing.assert_array_equal(viewed[np.array([7, 1])], expected[[7, 1]])


def test_the_average_is_that_of_eight_predictions():
    galaxies, rows, model = toy_galaxies(), np.array([5, 90, 3]), three_block_cnn(16, 4)
    answers = predict_with_tta(model, galaxies, rows)
    by_hand = [model.predict(dihedral_view(galaxies.images[rows], number), verbose=0) for number in range(8)]
    np.testing.assert_allclose(answers, np.mean(by_hand, axis=0), atol=1e-6)
    assert not np.allclose(answers, predict(model, galaxies, rows), atol=1e-4)
    # Each view of the same galaxies has the same eight views: the answer no longer depends on how they lie.
    turned = galaxies.replace(images=dihedral_view(galaxies.images, 6))
    np.testing.assert_allclose(predict_with_tta(model, turned, rows), answers, atol=1e-6)


def test_it_works_for_networks_with_two_outputs():
    galaxies, rows = toy_galaxies(8), np.array([1, 2])
    assert predict_with_tta(joint_autoencoder_classifier(16, 4), galaxies, rows).shape == (2, 4)


def test_only_the_rows_asked_for_are_read():
    images = keras.Input((16, 16, 3))
    model = keras.Model(images, keras.layers.Softmax()(keras.layers.Lambda(lambda x: ops.mean(x, (1, 2)))(images)))
    galaxies = toy_galaxies(40)
    galaxies = galaxies.replace(images=WatchedImages(galaxies.images), class_names=("a", "b", "c"),
                                labels=galaxies.labels % 3, vote_fractions=None, fingerprint="watched")  # fmt: skip
    predict_with_tta(model, galaxies, np.array([3, 30]))
    assert {int(row) for read in galaxies.images.reads for row in np.ravel(read)} == {3, 30}
