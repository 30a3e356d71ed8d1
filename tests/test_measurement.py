"""Measurements: what a network answers, galaxy by galaxy, exactly; and what it cost."""

import dataclasses

import numpy as np
import pytest
from toy_answers import toy_measurement, toy_survey
from toy_galaxies import toy_galaxies, toy_split

from galaxy_utils.errors import ConfigurationError, DataError
from galaxy_utils.evaluation import evaluate, galaxy_divergences
from galaxy_utils.measurement import ARRAYS, Measurement, combine, evaluate_together, identity_of, measure
from galaxy_utils.models import three_block_cnn
from galaxy_utils.recipes import THREE_BLOCK_CNN
from galaxy_utils.training import fit, predict

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module")
def survey():
    return toy_survey(200)


def equal(first, second):
    return all(np.array_equal(getattr(first, f.name), getattr(second, f.name)) for f in dataclasses.fields(Measurement))


def test_a_trained_network_is_measured_as_it_answers(tmp_path):
    galaxies, split, model = toy_galaxies(), toy_split(), three_block_cnn(16, 4)
    run = fit(model, galaxies, split, THREE_BLOCK_CNN.replace(epochs=1), seed=7)
    measured = measure(model, run, galaxies, split)
    np.testing.assert_array_equal(measured.probabilities, predict(model, galaxies, split.validation))
    np.testing.assert_array_equal(measured.labels, galaxies.labels[split.validation])
    np.testing.assert_array_equal(measured.rows, split.validation)
    np.testing.assert_array_equal(measured.groups, split.groups[split.validation])
    assert measured.identity == identity_of(galaxies, split, "validation")
    assert (measured.seed, measured.part, measured.split_hash) == (7, "validation", split.hash)
    assert measured.recipe == run.recipe.to_dict() and measured.training_seconds == run.seconds
    assert measured.parameters == model.count_params() and measured.inference_seconds > 0
    assert measured.versions["backend"] == "tensorflow" and measured.device["cores"] >= 1
    measured.save(tmp_path / "answers.npz")
    assert equal(Measurement.load(tmp_path / "answers.npz"), measured)

    calls = []

    def two_views(model, dataset, rows):
        calls.append(len(rows))
        mirrored = dataset.replace(images=np.asarray(dataset.images)[:, :, ::-1])
        return (predict(model, dataset, rows) + predict(model, mirrored, rows)) / 2

    views = measure(model, run, galaxies, split, part="test", predict=two_views)
    assert calls[-1] == len(split.test) and views.part == "test"
    assert not np.array_equal(views.probabilities, predict(model, galaxies, split.test))
    with pytest.raises(ConfigurationError, match="'train'"):
        measure(model, run, galaxies, split, part="train")
    split.fingerprint = "of other data"
    with pytest.raises(ConfigurationError, match="of other data"):
        measure(model, run, galaxies, split)


def test_each_galaxys_divergence_averages_to_the_score(survey):
    measured = toy_measurement(survey, 1)
    divergences = galaxy_divergences(measured.probabilities, measured.labels, label_smoothing=0.2)
    scores = evaluate(measured.probabilities, measured.labels, "abcd", label_smoothing=0.2, bootstrap_samples=0)
    assert divergences.shape == (100,)
    assert divergences.mean() == pytest.approx(scores.kl_divergence, rel=1e-12)
    with pytest.raises(DataError, match="sum to 1"):
        galaxy_divergences(2 * measured.probabilities, measured.labels)


def test_equal_measurements_have_equal_bytes(survey):
    first, second = toy_measurement(survey, 1), toy_measurement(survey, 1)
    assert first.to_bytes() == second.to_bytes()
    assert first.to_bytes() != toy_measurement(survey, 2).to_bytes()


def test_an_ensemble_averages_answers_and_adds_up_costs(survey):
    members = [toy_measurement(survey, 1, skill) for skill in (0.5, 1.0, 1.5)]
    together = combine(members)
    np.testing.assert_allclose(together.probabilities, np.mean([m.probabilities for m in members], axis=0), rtol=1e-6)
    assert together.identity == members[0].identity and together.recipe is None
    assert (together.training_seconds, together.parameters, together.inference_seconds) == (33.0, 3000, 1.5)
    with pytest.raises(ConfigurationError, match="differ in seed"):
        combine([members[0], toy_measurement(survey, 2)])
    with pytest.raises(ConfigurationError, match="differ in part, galaxies and labels"):
        combine([members[0], toy_measurement(survey, 1, part="test")])
    with pytest.raises(ConfigurationError, match="at least two"):
        combine(members[:1])


@pytest.mark.parametrize(
    ("change", "error", "named"),
    [
        ({"labels": np.zeros(99)}, DataError, r"labels \(99,\)"),
        ({"probabilities": np.zeros(100)}, DataError, r"probabilities \(100,\)"),
        ({"part": "train"}, ConfigurationError, "'train'"),
        ({"training_seconds": -1.0}, ConfigurationError, "training_seconds"),
        ({"parameters": float("nan")}, ConfigurationError, "parameters"),
        ({"inference_seconds": float("inf")}, ConfigurationError, "inference_seconds"),
    ],
)
def test_what_is_no_measurement_is_refused(survey, change, error, named):
    with pytest.raises(error, match=named):
        toy_measurement(survey, 1, **change)


def test_a_file_that_holds_something_else_is_refused(survey, tmp_path):
    path = tmp_path / "answers.npz"
    with pytest.raises(DataError, match="no such measurement"):
        Measurement.load(path)
    content = toy_measurement(survey, 1).to_bytes()
    for damaged in (b"", b"no archive", content[: len(content) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"answers\.npz"):
            Measurement.load(path)
    np.savez(path, **{name: np.zeros(3) for name in ARRAYS})
    with pytest.raises(DataError, match=r"answers\.npz"):
        Measurement.load(path)


def test_answers_of_several_networks_count_together(survey):
    first, second = (toy_measurement(survey, seed=seed) for seed in (1, 2))
    names = [str(label) for label in range(first.probabilities.shape[1])]
    alone = [evaluate(one.probabilities, one.labels, names) for one in (first, second)]
    together = evaluate_together([first, second], names)
    assert together.num_galaxies == 2 * len(first.labels)
    assert together.accuracy == pytest.approx(np.mean([one.accuracy for one in alone]))
    assert together.resampled == "groups"
    other = dataclasses.replace(second, split_hash="another")
    with pytest.raises(ConfigurationError, match="another"):
        evaluate_together([first, other], names)
