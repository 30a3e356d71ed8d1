"""Autoencoders: what they learn, and what becomes of copies that they make."""

import dataclasses

import numpy as np
import pytest
from toy_galaxies import toy_galaxies

import galaxy_utils as gu
from galaxy_utils.augmentation import SyntheticImages, add_synthetic, denoising_autoencoder, variational_autoencoder
from galaxy_utils.augmentation.autoencoders import SampleLatent
from galaxy_utils.errors import ConfigurationError

RECIPE = gu.Recipe("test", epochs=10, batch_size=16, learning_rate=3e-3)
BUILDERS = (denoising_autoencoder, variational_autoencoder)


@pytest.fixture(scope="module")
def trained(galaxies, split):
    """Both autoencoders, trained on the toy galaxies."""
    models = {}
    for build in BUILDERS:
        model = models[build] = build(16)
        gu.fit(model, galaxies, split, RECIPE, targets="images", progress=False)
    return models


def squared_error(images, galaxies, rows):
    return float(np.mean((images.astype(float) - galaxies.images[rows]) ** 2)) / 255**2


def test_both_reconstruct_galaxies_they_never_saw(trained, galaxies, split):
    mean_image = np.broadcast_to(galaxies.images[split.train].mean(axis=0), galaxies.images[split.test].shape)
    blank = squared_error(mean_image, galaxies, split.test)
    for model in trained.values():
        assert squared_error(gu.reconstruct(model, galaxies, split.test), galaxies, split.test) < 0.9 * blank


def test_the_denoiser_is_nearer_to_the_clean_galaxy_than_what_it_was_given(split):
    clean, noisy = toy_galaxies(noise=1), toy_galaxies(noise=50)
    model = denoising_autoencoder(16, noise=0.2)
    gu.fit(model, clean, split, RECIPE, targets="images", progress=False)
    cleaned = gu.reconstruct(model, noisy, split.test)
    assert squared_error(cleaned, clean, split.test) < 0.5 * squared_error(noisy.images[split.test], clean, split.test)


def test_noise_and_samples_exist_in_training_only(galaxies):
    for build in BUILDERS:
        model, images = build(16), galaxies.images[:4]
        np.testing.assert_array_equal(model(images, training=False), model(images, training=False))
        assert not np.array_equal(model(images, training=True), model(images, training=True))


def test_the_divergence_is_the_one_of_normal_distributions_and_samples_follow_them():
    layer, random = SampleLatent(divergence_weight=2.0), np.random.default_rng(1)
    means, log_variances = np.array([0.5, -1.0, 0.0], "float32"), np.array([0.2, -0.7, 0.0], "float32")
    statistics = np.tile(np.concatenate([means, log_variances]), (50_000, 1))
    sampled = np.asarray(layer(statistics, training=True))
    np.testing.assert_allclose(sampled.mean(axis=0), means, atol=0.02)
    np.testing.assert_allclose(sampled.var(axis=0), np.exp(log_variances), rtol=0.03)
    z = means + np.exp(0.5 * log_variances) * random.standard_normal((400_000, 3))
    log_ratio = 0.5 * (z**2 - (z - means) ** 2 / np.exp(log_variances) - log_variances).sum(axis=1)
    assert float(layer.losses[0]) == pytest.approx(2 * log_ratio.mean(), rel=0.02)


def test_the_divergence_counts_in_the_loss(galaxies, split):
    losses = []
    for pixel_noise in (0.001, 1.0):
        model = variational_autoencoder(16, 4, pixel_noise=pixel_noise)
        model.compile(loss="mse")
        images = galaxies.images[split.validation]
        losses.append(model.evaluate(images, images / 255, verbose=0))
    assert losses[1] > losses[0] + 1e-5


@pytest.fixture
def copies(galaxies, split):
    """Darker copies of training galaxies, one of them twice."""
    sources = split.train[[5, 0, 9, 5]]
    images, labels = galaxies.images[sources] // 2, galaxies.labels[sources]
    return SyntheticImages(images, labels, split.train, 0.1, "a_network", sources)


def test_copies_stand_in_the_training_part_alone(galaxies, split, copies):
    longer, parts = add_synthetic(galaxies, split, copies)
    np.testing.assert_array_equal(np.setdiff1d(parts.train, split.train), len(galaxies) + np.arange(4))
    for part in ("validation", "test"):
        rows = parts.part(part)
        np.testing.assert_array_equal(rows, split.part(part))
        np.testing.assert_array_equal(longer.images[rows], galaxies.images[rows])
        np.testing.assert_array_equal(longer.labels[rows], galaxies.labels[rows])
    # No group of sky stands on two sides, copies included.
    assert not set(parts.groups[parts.train]) & set(parts.groups[np.r_[parts.validation, parts.test]])
    alone = add_synthetic(galaxies, split, dataclasses.replace(copies, share=1.0))[1]
    np.testing.assert_array_equal(alone.train, len(galaxies) + np.arange(4))


def test_copies_carry_everything_of_their_source(galaxies, split, copies):
    longer, parts = add_synthetic(galaxies, split, copies)
    rows, sources = np.arange(len(galaxies), len(longer)), copies.source_rows
    np.testing.assert_array_equal(longer.labels[rows], galaxies.labels[sources])
    np.testing.assert_array_equal(longer.vote_fractions[rows], galaxies.vote_fractions[sources])
    np.testing.assert_array_equal(parts.groups[rows], split.groups[sources])
    np.testing.assert_array_equal(longer.images[rows], copies.images)
    mixed = np.array([rows[3], 5, rows[0]])
    np.testing.assert_array_equal(longer.images[mixed], np.stack([longer.images[int(row)] for row in mixed]))
    assert longer.fingerprint != galaxies.fingerprint and parts.hash != split.hash


def test_copies_from_another_split_or_of_another_size_are_refused(galaxies, split, copies):
    with pytest.raises(ConfigurationError, match="would leak"):
        add_synthetic(galaxies, gu.split(galaxies, fractions=(0.6, 0.2, 0.2), seed=2), copies)
    with pytest.raises(ConfigurationError, match="24, 24, 3"):
        add_synthetic(toy_galaxies(side=24), split, copies)


@pytest.mark.parametrize(
    "build, options",
    [
        (denoising_autoencoder, {"latent_channels": 0}),
        (variational_autoencoder, {"image_size": 20}),
        (denoising_autoencoder, {"noise": 1.5}),
        (variational_autoencoder, {"pixel_noise": -0.1}),
        (variational_autoencoder, {"seed": -1}),
    ],
)
def test_what_cannot_work_is_refused_by_name(build, options):
    (name, value), *_ = options.items()
    with pytest.raises(ConfigurationError, match=f"(?s){name}.*{value}"):
        build(**options)
