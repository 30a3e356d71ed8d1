"""Reports: what they hold, where they lie, and that only their timing varies."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from toy_galaxies import toy_galaxies, toy_split

from galaxy_utils.errors import ConfigurationError, DataError
from galaxy_utils.evaluation import baselines, evaluate
from galaxy_utils.files import artifacts_folder
from galaxy_utils.models import three_block_cnn
from galaxy_utils.recipes import THREE_BLOCK_CNN
from galaxy_utils.report import read_report, report_path, reports, write_report
from galaxy_utils.training import fit, predict

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def trained():
    galaxies, split, model = toy_galaxies(), toy_split(), three_block_cnn(16, 4)
    run = fit(model, galaxies, split, THREE_BLOCK_CNN.replace(epochs=2))
    probabilities = predict(model, galaxies, split.test)
    evaluation = evaluate(probabilities, galaxies.labels[split.test], galaxies.class_names, bootstrap_samples=50)
    its_baselines = baselines(galaxies, split, bootstrap_samples=50)
    return SimpleNamespace(galaxies=galaxies, split=split, run=run, evaluation=evaluation, baselines=its_baselines)


@pytest.fixture(scope="module")
def result():
    return trained()


def write(result, model_name="paper 2 / CNN", **changes):
    options = {"run": result.run, "split": result.split, "dataset": result.galaxies, "profile": "smoke"}
    options = {**options, "baselines": result.baselines, **changes}
    return write_report("03_a_baseline_cnn", model_name, result.evaluation, **options)


def test_a_report_holds_what_was_measured_and_how(result):
    path = write(result)
    assert path == artifacts_folder() / "toy-smoke" / "03_a_baseline_cnn" / "paper_2_CNN" / "report.json"
    report = read_report(path)
    assert report["evaluation"]["accuracy"] == result.evaluation.accuracy
    assert report["evaluation"]["intervals"]["accuracy"] == list(result.evaluation.intervals["accuracy"])
    assert report["evaluation"]["confusion_matrix"] == result.evaluation.confusion_matrix.tolist()
    assert report["baselines"]["majority class"]["accuracy"] == result.baselines["majority class"].accuracy
    assert report["recipe"]["epochs"] == 2 and "learning_rate" in report["recipe"]["inferred"]
    assert report["training"]["history"] == result.run.history
    sizes = {"train": 96, "validation": 32, "test": 32}
    assert report["split"] == {"hash": "0123456789abcdef", "radius_arcsec": 95.0, "sizes": sizes}
    assert report["data"]["fingerprint"] == result.galaxies.fingerprint and report["data"]["is_simulated"] is True
    assert (report["seed"], report["part"], report["profile"]["name"]) == (1, "test", "smoke")
    assert report["versions"]["backend"] == "tensorflow" and report["versions"]["numpy"] == np.__version__
    assert report["device"]["processor"] and report["device"]["cores"] >= 1
    assert report["timing"]["training_seconds"] == result.run.seconds > 0


def test_names_in_any_script_have_reports_of_their_own():
    assert len({report_path("chapter", name, name, "smoke") for name in ("银河", "星系", "сеть", "été", "ete")}) == 5


def test_the_same_seed_gives_the_same_bytes_but_for_the_timing(result):
    first, second = write(result, "first"), write(trained(), "first_again")

    def without_timing(path):
        text = path.read_text(encoding="utf-8").replace('"first_again"', '"first"')
        start = text.index('  "timing": {')
        return text[:start] + text[text.index("}", start) :]

    assert json.loads(first.read_text())["timing"] != json.loads(second.read_text())["timing"]
    assert without_timing(first) == without_timing(second)


@pytest.mark.parametrize("field", ["format", "chapter", "data", "data.is_simulated", "evaluation.intervals", "timing"])
def test_a_report_that_lacks_a_field_is_refused_by_its_name(result, field):
    path = write(result)
    content = json.loads(path.read_text())
    *parents, name = field.split(".")
    (content[parents[0]] if parents else content).pop(name)
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=f"KeyError: '{name}'"):
        read_report(path)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}', "\udcff"])
def test_what_is_no_report_is_refused(tmp_path, text):
    path = tmp_path / "report.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(DataError, match=r"report\.json"):
        read_report(path)


def test_a_missing_report_says_how_to_make_it():
    with pytest.raises(DataError, match="run the chapter"):
        read_report(report_path("03_a_baseline_cnn", "none", "toy", "smoke"))


def test_all_reports_make_one_table(result):
    assert list(reports().columns) == ["data", "profile", "chapter", "model"] and len(reports()) == 0
    write(result, "second")
    path = write(result, "first", part="validation")
    table = reports()
    assert table["model"].tolist() == ["first", "second"] and table["part"].tolist() == ["validation", "test"]
    low, high = result.evaluation.intervals["accuracy"]
    assert (table[["low", "accuracy", "high"]] == [low, result.evaluation.accuracy, high]).all(axis=None)
    assert table.loc[0, "epochs"] == 2 and table["is_simulated"].all()
    path.write_text("{}")
    with pytest.raises(DataError, match="first"):
        reports()


def test_the_training_part_cannot_be_reported(result):
    with pytest.raises(ConfigurationError, match="'validation' or 'test'"):
        write(result, part="train")
