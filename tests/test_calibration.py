"""Temperature, threshold and distance limit do on validation galaxies what they promise."""

import numpy as np
import pytest
from toy_galaxies import toy_galaxies, toy_split

import galaxy_utils as gu
from galaxy_utils.calibration import Calibration, _scaled, _threshold, calibrate, with_features
from galaxy_utils.errors import ConfigurationError

NETWORKS = {
    "compact": lambda: gu.models.compact_cnn(32, 4),
    "joint": lambda: gu.models.joint_autoencoder_classifier(32, 4, latent_dim=8),
    "transfer": lambda: gu.models.backbone_classifier("mobilenetv2", 32, 4, weights=None, trainable_layers=5),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_features_are_what_the_last_dense_layer_takes(name):
    model = NETWORKS[name]()
    images = toy_galaxies(4, side=32).images
    probabilities, features = with_features(model).predict(images, verbose=0)
    whole = model.predict(images, verbose=0)
    np.testing.assert_allclose(probabilities, whole["classification"] if name == "joint" else whole, atol=1e-6)
    assert features.shape[0] == 4 and features.ndim == 2 and features.shape[1] > 4


def test_a_calibrated_network_is_less_wrong_and_its_threshold_halves_the_errors():
    galaxies, parts = toy_galaxies(800, noise=260), toy_split(800)
    model = gu.models.three_block_cnn(16, 4)
    gu.fit(model, galaxies, parts, gu.recipes.THREE_BLOCK_CNN.replace(epochs=12), progress=False)
    found = calibrate(model, galaxies, parts)
    rows, labels = parts.validation, galaxies.labels[parts.validation]
    raw = gu.predict(model, galaxies, rows)

    def cross_entropy(probabilities):
        return -np.log(probabilities[np.arange(len(labels)), labels]).mean()

    assert found.temperature != 1 and cross_entropy(found.scaled(raw)) <= cross_entropy(raw)
    scaled = np.round(found.scaled(raw), 4)
    kept, right = scaled.max(axis=1) >= found.threshold, scaled.argmax(axis=1) == labels
    assert found.num_galaxies == 160 and found.accuracy == right.mean() < 0.99
    assert found.share_kept == kept.mean() > 0 and found.accuracy_kept == right[kept].mean()
    assert 1 - right[kept].mean() <= (1 - right.mean()) / 2
    features = with_features(model).predict(galaxies.images[rows], verbose=0)[1]
    assert 0 < (found.distances(features) > found.distance_limit).mean() <= 0.02
    # What no galaxy looks like is farther away than they are.
    noise = np.random.default_rng(1).integers(0, 256, (40, 16, 16, 3), dtype=np.uint8)
    strange = found.distances(with_features(model).predict(noise, verbose=0)[1])
    assert np.median(strange) > np.median(found.distances(features))


def test_scaling_and_threshold_by_hand():
    np.testing.assert_allclose(_scaled([[0.8, 0.2]], 2.0), [[2 / 3, 1 / 3]])
    right = np.array([True] * 60 + [False] * 40)
    confidence = np.concatenate([np.full(60, 0.9), np.full(20, 0.8), np.full(20, 0.5)])
    # Errors: none of 60, a quarter of 80, two fifths of all. Half of two fifths is a fifth.
    assert _threshold(confidence, right) == 0.9
    # Of the first 26 few enough are wrong, but they are too few to say so.
    assert _threshold(np.linspace(1, 0.5, 40), np.arange(40) < 20) == 1.0
    assert _threshold(confidence, ~right) == 1.0  # the sure ones are the wrong ones: nothing helps


def test_it_travels_with_the_classifier(tmp_path):
    galaxies, model = toy_galaxies(160, side=16), gu.models.three_block_cnn(16, 4)
    prepared = galaxies.replace(pixel_scale=np.full(160, 0.5), crop_fraction=0.25, fingerprint="other")
    path = gu.save_classifier(tmp_path / "a.keras", model, prepared, split=toy_split(160))
    classifier = gu.load_classifier(path)
    assert (classifier.crop, classifier.pixel_scale) == (0.25, 0.5)
    fresh = calibrate(model, prepared, toy_split(160))
    assert isinstance(classifier.calibration, Calibration) and classifier.calibration.to_dict() == fresh.to_dict()
    assert np.array_equal(classifier.calibration.reference, fresh.reference) and len(fresh.reference) == 96
    with pytest.raises(ConfigurationError, match="needs its galaxies"):
        gu.save_classifier(tmp_path / "b.keras", model, galaxies.class_names, split=toy_split(160))
