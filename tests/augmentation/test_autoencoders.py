"""Autoencoders that make training images: what they learn, what they make, and from whom."""

import numpy as np
import pytest
from toy_galaxies import WatchedImages, toy_galaxies

import galaxy_utils as gu
from galaxy_utils.augmentation import (
    add_synthetic,
    denoising_autoencoder,
    interpolate_latent,
    make_synthetic,
    variational_autoencoder,
)
from galaxy_utils.errors import ConfigurationError

RECIPE = gu.Recipe("test", epochs=15, batch_size=16, learning_rate=3e-3)
BUILDERS = (denoising_autoencoder, variational_autoencoder)


@pytest.fixture(scope="module")
def trained(galaxies, split):
    """Both autoencoders, trained on the toy galaxies, with their runs."""
    pairs = {}
    for build in BUILDERS:
        model = build(16)
        pairs[model.name] = model, gu.fit(model, galaxies, split, RECIPE, targets="images", progress=False)
    return pairs


def squared_error(images, galaxies, rows):
    return float(np.mean((images.astype(float) - galaxies.images[rows]) ** 2)) / 255**2


def test_both_learn_to_redraw_galaxies_they_never_saw(trained, galaxies, split):
    mean_image = np.broadcast_to(galaxies.images[split.train].mean(axis=0), galaxies.images[split.test].shape)
    blank = squared_error(mean_image, galaxies, split.test)
    for model, run in trained.values():
        assert run.history["val_loss"][-1] < 0.8 * run.history["val_loss"][0]
        assert squared_error(gu.reconstruct(model, galaxies, split.test), galaxies, split.test) < 0.9 * blank


def test_the_denoiser_is_nearer_to_the_clean_galaxy_than_what_it_was_given(split):
    clean, noisy = toy_galaxies(noise=1), toy_galaxies(noise=50)
    model = denoising_autoencoder(16, noise=0.2)
    gu.fit(model, clean, split, RECIPE, targets="images", progress=False)
    cleaned = gu.reconstruct(model, noisy, split.test)
    assert squared_error(cleaned, clean, split.test) < 0.5 * squared_error(noisy.images[split.test], clean, split.test)


def test_noise_and_draws_exist_in_training_only(galaxies):
    for build in BUILDERS:
        model, images = build(16), galaxies.images[:4]
        np.testing.assert_array_equal(model(images, training=False), model(images, training=False))
        assert not np.array_equal(model(images, training=True), model(images, training=True))


def test_the_divergence_is_the_one_of_normal_distributions():
    from galaxy_utils.augmentation.sampling import SampleLatent

    layer = SampleLatent(divergence_weight=1.0)
    means, log_variances = np.array([[0.5, -1.0, 0.0]], "float32"), np.array([[0.2, -0.7, 0.0]], "float32")
    layer(np.concatenate([means, log_variances], axis=1))
    # By numerical integration of q log(q / p) in each dimension.
    x = np.linspace(-12, 12, 200_001)
    expected = 0.0
    for mean, log_variance in zip(means[0], log_variances[0], strict=True):
        q = np.exp(-((x - mean) ** 2) / (2 * np.exp(log_variance))) / np.sqrt(2 * np.pi * np.exp(log_variance))
        log_p = -(x**2) / 2 - 0.5 * np.log(2 * np.pi)
        expected += np.sum(q * (np.log(np.maximum(q, 1e-300)) - log_p)) * (x[1] - x[0])
    assert float(layer.losses[0]) == pytest.approx(expected, rel=1e-4)


def test_the_divergence_counts_in_the_loss(galaxies, split):
    def validation_loss(pixel_noise):
        model = variational_autoencoder(16, 4, pixel_noise=pixel_noise)
        run = gu.fit(model, galaxies, split, RECIPE.replace(epochs=1), targets="images", progress=False)
        image_error = squared_error(gu.reconstruct(model, galaxies, split.validation), galaxies, split.validation)
        return run.history["val_loss"][0] - image_error

    # What the loss holds beside the squared error; rounding to 8 bits changes that by about 1e-6.
    assert validation_loss(1.0) > 1e-5 + abs(validation_loss(0.001))


@pytest.mark.parametrize("share, count", [(0, 0), (0.25, 32), (0.5, 96), (0.75, 288), (1, 96)])
def test_the_share_is_the_share_of_synthetic_training_images(trained, galaxies, split, share, count):
    model, _ = trained["variational_autoencoder"]
    synthetic = make_synthetic(model, galaxies, split, share)
    assert len(split.train) == 96 and len(synthetic) == count
    longer, parts = add_synthetic(galaxies, split, synthetic)
    assert np.mean(parts.train >= len(galaxies)) == pytest.approx(share)
    # Each source is used once before any is used twice.
    uses = np.bincount(synthetic.source_rows, minlength=len(galaxies))[split.train]
    assert uses.max() - uses.min() <= 1


@pytest.mark.parametrize("name", ["denoising_autoencoder", "variational_autoencoder"])
def test_only_training_galaxies_are_looked_at(trained, galaxies, split, name):
    model, _ = trained[name]
    watched = WatchedImages(galaxies.images)
    make_synthetic(model, galaxies.replace(images=watched, fingerprint="watched"), split, 0.5)
    seen = np.unique(np.concatenate([np.ravel(rows) for rows in watched.reads]))
    np.testing.assert_array_equal(seen, split.train)


def test_validation_and_test_stay_what_they_were(trained, galaxies, split):
    model, _ = trained["variational_autoencoder"]
    longer, parts = add_synthetic(galaxies, split, make_synthetic(model, galaxies, split, 0.5))
    for part in ("validation", "test"):
        rows = parts.part(part)
        np.testing.assert_array_equal(rows, split.part(part))
        np.testing.assert_array_equal(longer.images[rows], galaxies.images[rows])
        np.testing.assert_array_equal(longer.labels[rows], galaxies.labels[rows])
    # No group of sky stands on two sides, synthetic rows included.
    assert not set(parts.groups[parts.train]) & set(parts.groups[np.r_[parts.validation, parts.test]])


def test_synthetic_rows_carry_everything_of_their_source(trained, galaxies, split):
    model, _ = trained["denoising_autoencoder"]
    synthetic = make_synthetic(model, galaxies, split, 0.5)
    longer, parts = add_synthetic(galaxies, split, synthetic)
    rows, sources = np.arange(len(galaxies), len(longer)), synthetic.source_rows
    np.testing.assert_array_equal(longer.labels[rows], galaxies.labels[sources])
    np.testing.assert_array_equal(longer.vote_fractions[rows], galaxies.vote_fractions[sources])
    np.testing.assert_array_equal(parts.groups[rows], split.groups[sources])
    np.testing.assert_array_equal(longer.images[rows], gu.reconstruct(model, galaxies, sources))
    np.testing.assert_array_equal(longer.images[int(rows[3])], longer.images[rows][3])
    np.testing.assert_array_equal(longer.images[:5], galaxies.images[:5])
    assert longer.fingerprint != galaxies.fingerprint and parts.hash != split.hash
    assert "denoising autoencoder" in longer.provenance


def test_resampled_copies_differ_from_each_other_and_follow_the_seed(trained, galaxies, split):
    model, _ = trained["variational_autoencoder"]
    first, again, other = (make_synthetic(model, galaxies, split, 0.75, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.images, again.images)
    assert not np.array_equal(first.images, other.images)
    copies = first.images[first.source_rows == split.train[0]]
    assert len(copies) == 3 and not np.array_equal(copies[0], copies[1])


def test_the_baseline_trains_on_both_through_the_same_fit(trained, galaxies, split):
    model, _ = trained["variational_autoencoder"]
    longer, parts = add_synthetic(galaxies, split, make_synthetic(model, galaxies, split, 0.5))
    network = gu.models.four_block_cnn(16, 4, pooling="average")
    run = gu.fit(network, longer, parts, RECIPE.replace(epochs=3, learning_rate=1e-3), progress=False)
    assert run.history["loss"][-1] < run.history["loss"][0]
    assert gu.predict(network, galaxies, split.test).shape == (len(split.test), 4)


def test_a_walk_begins_and_ends_at_its_galaxies(trained, galaxies):
    model, _ = trained["variational_autoencoder"]
    walk = interpolate_latent(model, galaxies, 3, 8, steps=5)
    assert walk.shape == (5, 16, 16, 3) and walk.dtype == np.uint8
    ends = gu.reconstruct(model, galaxies, [3, 8])
    assert np.abs(walk[[0, -1]].astype(int) - ends).max() <= 1
    middle = np.abs(walk[2].astype(int) - walk[0]).mean(), np.abs(walk[2].astype(int) - walk[-1]).mean()
    assert min(middle) > 0


def test_images_from_another_split_are_refused(trained, galaxies, split):
    model, _ = trained["variational_autoencoder"]
    other = gu.split(galaxies, fractions=(0.6, 0.2, 0.2), seed=2)
    with pytest.raises(ConfigurationError, match="would leak"):
        add_synthetic(galaxies, other, make_synthetic(model, galaxies, split, 0.5))


@pytest.mark.parametrize(
    "call, named",
    [
        (lambda: denoising_autoencoder(16, latent_channels=0), "latent_channels\n.*\n.*found: 0"),
        (lambda: variational_autoencoder(16, latent_dim=0), "latent_dim\n.*\n.*found: 0"),
        (lambda: variational_autoencoder(20), "found: 20"),
        (lambda: denoising_autoencoder(16, noise=0), "found: 0"),
        (lambda: denoising_autoencoder(16, noise=1.5), "found: 1.5"),
        (lambda: variational_autoencoder(16, pixel_noise=-0.1), "found: -0.1"),
        (lambda: variational_autoencoder(16, seed=-1), "found: -1"),
    ],
)
def test_what_cannot_be_built_is_refused(call, named):
    with pytest.raises(ConfigurationError, match=named):
        call()


@pytest.mark.parametrize("share", [-0.1, 1.1, "half", True, float("nan")])
def test_a_share_that_is_none_is_refused(trained, galaxies, split, share):
    model, _ = trained["variational_autoencoder"]
    with pytest.raises(ConfigurationError, match=str(share)):
        make_synthetic(model, galaxies, split, share)


def test_images_of_another_size_are_refused(trained, galaxies, split):
    model, _ = trained["denoising_autoencoder"]
    larger = toy_galaxies(side=24)
    with pytest.raises(ConfigurationError, match="16, 16, 3"):
        make_synthetic(model, larger, split, 0.5)
    with pytest.raises(ConfigurationError, match="24, 24, 3"):
        add_synthetic(larger, split, make_synthetic(model, galaxies, split, 0.5))


def test_walks_need_a_latent_vector_and_two_ends(trained, galaxies):
    with pytest.raises(ConfigurationError, match="denoising_autoencoder"):
        interpolate_latent(trained["denoising_autoencoder"][0], galaxies, 0, 1)
    with pytest.raises(ConfigurationError, match="found: 1"):
        interpolate_latent(trained["variational_autoencoder"][0], galaxies, 0, 1, steps=1)
