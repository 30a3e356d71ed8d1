"""Classifiers on frozen features: what they answer, and that only the validation rows choose their settings."""

from types import SimpleNamespace

import numpy as np
import pytest
from toy_galaxies import toy_split

from galaxy_utils.errors import ConfigurationError, DataError
from galaxy_utils.evaluation import evaluate, linear_probe, nearest_neighbours

CLASSIFIERS = (linear_probe, nearest_neighbours)


def features(noise=0.5, count=160, views=1, seed=1, numbers=6):
    """Features in which three classes are clouds, and views are the same point under other noise."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    centres = random.normal(0, 1, (3, numbers)) * 10 + 50
    array = centres[labels][:, None] + noise * 10 * random.normal(0, 1, (count, views, numbers))
    return SimpleNamespace(array=array.astype(np.float16), labels=labels, num_classes=3)


def accuracy(answers, given, rows):
    return float(np.mean(answers.probabilities.argmax(axis=1) == given.labels[rows]))


@pytest.mark.parametrize("classify", CLASSIFIERS)
def test_they_find_classes_and_evaluate_scores_them(classify):
    given, split = features(0.2), toy_split()
    answers = classify(given, split)
    assert accuracy(answers, given, split.test) > 0.95
    scores = evaluate(answers.probabilities, given.labels[split.test], "ABC", bootstrap_samples=0)
    assert scores.num_galaxies == len(split.test)
    assert len(classify(given, split, part="validation").probabilities) == len(split.validation)


@pytest.mark.parametrize("classify", CLASSIFIERS)
def test_eight_noisy_views_tell_more_than_one(classify):
    split = toy_split()
    one, eight = features(1.5, views=1), features(1.5, views=8)
    assert accuracy(classify(eight, split), eight, split.test) > accuracy(classify(one, split), one, split.test) + 0.05


@pytest.mark.parametrize("classify", CLASSIFIERS)
def test_the_validation_rows_choose_and_the_test_rows_have_no_say(classify):
    given, split = features(1.5), toy_split()
    answers = classify(given, split)
    assert answers.setting == min(answers.validation_losses, key=answers.validation_losses.get)
    assert len(answers.validation_losses) > 3

    # Other labels on the test rows change nothing; on the validation rows they do.
    def relabelled(rows):
        labels = given.labels.copy()
        labels[rows] = (labels[rows] + 1) % 3
        return classify(SimpleNamespace(array=given.array, labels=labels, num_classes=3), split)

    assert relabelled(split.test).validation_losses == answers.validation_losses
    assert relabelled(split.validation).validation_losses != answers.validation_losses


def test_few_noisy_galaxies_need_strong_regularisation():
    given, split = features(20.0, numbers=200), toy_split()
    chosen = linear_probe(given, split, inverse_strengths=(1e-4, 1e-3, 10.0))
    assert chosen.setting < 10


def test_neighbours_never_rule_a_class_out():
    assert nearest_neighbours(features(), toy_split()).probabilities.min() > 0


def test_scale_and_offset_of_a_feature_do_not_matter():
    given, split = features(1.0), toy_split()
    moved = SimpleNamespace(labels=given.labels, num_classes=3, array=given.array.astype(np.float32))
    moved.array = moved.array * np.geomspace(0.01, 1000, 6).astype(np.float32) + 7
    for classify in CLASSIFIERS:
        np.testing.assert_allclose(
            classify(moved, split).probabilities, classify(given, split).probabilities, atol=0.02
        )


def test_what_cannot_be_done_is_refused():
    given, split = features(), toy_split()
    for classify in CLASSIFIERS:
        with pytest.raises(ConfigurationError, match="part"):
            classify(given, split, part="everything")
    with pytest.raises(ConfigurationError, match="nothing to choose"):
        linear_probe(given, split, inverse_strengths=())
    with pytest.raises(ConfigurationError, match="so many neighbours"):
        nearest_neighbours(given, split, neighbours=(1000,))
    with pytest.raises(DataError, match="two classes"):
        linear_probe(given, SimpleNamespace(train=np.array([0, 3]), validation=split.validation, test=split.test))
