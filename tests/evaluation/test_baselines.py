"""Control rows: what no learning, or hardly any, reaches."""

import numpy as np
import pytest
from sklearn.metrics import log_loss
from sklearn.neighbors import KNeighborsClassifier
from toy_galaxies import toy_galaxies, toy_split

from galaxy_utils.errors import ConfigurationError
from galaxy_utils.evaluation import baselines, evaluate
from galaxy_utils.evaluation.baselines import MAJORITY_CLASS, NEAREST_NEIGHBOURS, UNTRAINED_NETWORK
from galaxy_utils.models import three_block_cnn
from galaxy_utils.training import predict


def unbalanced():
    """Toy galaxies without class 3 and with many of class 1."""
    galaxies = toy_galaxies(400)
    rows = np.nonzero((galaxies.labels == 1) | ((galaxies.labels != 3) & (np.arange(400) % 2 == 0)))[0]
    columns = {name: getattr(galaxies, name)[rows] for name in ("images", "labels", "vote_fractions")}
    return galaxies.replace(**columns)


@pytest.fixture(scope="module")
def galaxies_and_controls():
    galaxies = unbalanced()
    return galaxies, toy_split(len(galaxies)), baselines(galaxies, toy_split(len(galaxies)), bootstrap_samples=100)


def test_the_majority_class_is_the_commonest_in_training(galaxies_and_controls):
    galaxies, split, controls = galaxies_and_controls
    commonest = np.bincount(galaxies.labels[split.train]).argmax()
    scores = controls[MAJORITY_CLASS]
    assert scores.accuracy == np.mean(galaxies.labels[split.test] == commonest)
    assert scores.macro_recall == pytest.approx(1 / 3)
    shares = np.bincount(galaxies.labels[split.train], minlength=4) / len(split.train)
    expected = log_loss(galaxies.labels[split.test], np.tile(shares, (len(split.test), 1)), labels=range(4))
    assert scores.negative_log_likelihood == pytest.approx(expected, rel=0.02)


def test_neighbours_are_those_of_the_averaged_pixels(galaxies_and_controls):
    galaxies, split, controls = galaxies_and_controls
    # Toy images already have the 16 px at which neighbours are compared.
    pixels = galaxies.images.reshape(len(galaxies), -1) / 255.0
    reference = KNeighborsClassifier(10).fit(pixels[split.train], galaxies.labels[split.train])
    expected = reference.score(pixels[split.test], galaxies.labels[split.test])
    # Ties are broken by the class shares instead of by the lower label.
    assert controls[NEAREST_NEIGHBOURS].accuracy == pytest.approx(expected, abs=0.03)
    assert controls[NEAREST_NEIGHBOURS].accuracy > controls[MAJORITY_CLASS].accuracy + 0.2


def test_images_are_averaged_over_areas():
    coarse = toy_galaxies(400)
    fine = coarse.replace(images=np.repeat(np.repeat(coarse.images, 3, axis=1), 3, axis=2))
    options = {"bootstrap_samples": 0}
    accuracies = [
        baselines(galaxies, toy_split(400), **options)[NEAREST_NEIGHBOURS].accuracy for galaxies in (coarse, fine)
    ]
    assert accuracies[0] == accuracies[1]


def test_an_untrained_network_knows_nothing(galaxies_and_controls):
    galaxies, split, controls = galaxies_and_controls
    assert controls[UNTRAINED_NETWORK].macro_recall < 0.6
    network = three_block_cnn(16, 4, seed=7)
    scores = baselines(galaxies, split, untrained_model=network, bootstrap_samples=0)[UNTRAINED_NETWORK]
    direct = evaluate(
        predict(network, galaxies, split.test), galaxies.labels[split.test], galaxies.class_names, bootstrap_samples=0
    )
    assert scores.to_dict() == {**direct.to_dict(), "resampled": "groups"}


def test_divergences_are_finite_though_a_class_never_occurred(galaxies_and_controls):
    _, _, controls = galaxies_and_controls
    assert list(controls) == [MAJORITY_CLASS, NEAREST_NEIGHBOURS, UNTRAINED_NETWORK]
    # The floor of 1e-7 would show as −0.025 · log(1e-7) = 0.40 for the class without galaxies alone.
    assert all(scores.kl_divergence < 2 for scores in controls.values())
    assert all(scores.resampled == "groups" for scores in controls.values())


def test_the_part_and_the_exclusion_are_respected():
    galaxies, split = toy_galaxies(), toy_split()
    exclude = np.arange(len(split.validation)) < 5
    for scores in baselines(galaxies, split, part="validation", exclude=exclude, bootstrap_samples=0).values():
        np.testing.assert_array_equal(scores.support, np.bincount(galaxies.labels[split.validation[5:]], minlength=4))
        assert scores.excluded == 5


@pytest.mark.parametrize(
    "options, named",
    [({"part": "train"}, "'test' or 'validation'"), ({"neighbours": 0}, "neighbours"), ({"neighbours": 97}, "97")],
)
def test_what_cannot_be_scored_is_refused(options, named):
    with pytest.raises(ConfigurationError, match=named):
        baselines(toy_galaxies(), toy_split(), **options)
