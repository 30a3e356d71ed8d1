"""The model card and the data card: a header that Hugging Face can read, a report's own numbers, and nothing else."""

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import yaml
from toy_galaxies import galaxy10_columns

import galaxy_utils as gu
from galaxy_utils.errors import ConfigurationError, DataError, GalaxyUtilsError
from galaxy_utils.evaluation.baselines import MAJORITY_CLASS
from galaxy_utils.recipes import FOUR_BLOCK_CNN, THREE_BLOCK_CNN

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "book" / "tools"))

import card  # noqa: E402
from settings import Settings  # noqa: E402

CHAPTER, BEST = "03_a_baseline_cnn", "most validated"


def leave_report(galaxies, parts, model, validation, seed=1, times=1, **changes):
    """Write a real report, as a chapter does."""
    random = np.random.default_rng([seed, times])
    rows = np.tile(parts.test, times)
    scores = gu.evaluate(
        random.dirichlet(np.ones(10), len(rows)), galaxies.labels[rows], galaxies.class_names, bootstrap_samples=50
    )
    history = {"loss": [2.0, 1.0], "accuracy": [0.1, 0.2]} | ({"val_accuracy": validation} if validation else {})
    recipe = changes.pop("recipe", FOUR_BLOCK_CNN.replace(epochs=2))
    run = gu.TrainingRun(model, recipe, seed, history, 1, False, changes.pop("restored", True), 0, 12.3)
    options = {"run": run, "split": parts, "dataset": galaxies, "profile": "demo"} | changes
    return gu.write_report(CHAPTER, model, scores, **options)


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """What a build leaves: a file of galaxies, called simulated, with four reports, and a classifier's file."""
    folder = tmp_path_factory.mktemp("build")
    columns, path = galaxy10_columns(120), folder / "toy.h5"
    with h5py.File(path, "w") as file:
        file.attrs["simulated"] = True
        for key, values in columns.items():
            file.create_dataset(key, data=values)
    settings = Settings(str(path), "demo", 1, folder / "_build")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GALAXY_UTILS_CACHE", str(folder / "cache"))
        patch.setenv("GALAXY_UTILS_ARTIFACTS", str(settings.artifacts))
        parts = gu.split(gu.load(path), seed=1)
        galaxies = gu.prepare(gu.load(path), 16, 0.5)
        baselines = gu.baselines(galaxies, parts, bootstrap_samples=50)
        # Epoch 1 has the kept weights, so 0.5 counts and not 0.9; the third would win if the last epoch did.
        leave_report(galaxies, parts, BEST, [0.6, 0.1], baselines=baselines)
        leave_report(galaxies, parts, "less validated", [0.5, 0.9], seed=2)
        leave_report(galaxies, parts, "several seeds", [0.9, 0.4], seed=3, times=2, restored=False)
        leave_report(galaxies, parts, "not validated", None, recipe=THREE_BLOCK_CNN)
        leave_report(galaxies, parts, "of validation", [1.0, 1.0], part="validation")
        inputs = keras.Input((16, 16, 3))
        features = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(inputs))
        model = keras.Model(inputs, keras.layers.Dense(10, "softmax")(features))
        recipe = FOUR_BLOCK_CNN.replace(epochs=2)
        saved = gu.save_classifier(folder / "mine.keras", model, galaxies, recipe=recipe, split=parts)
        other = gu.save_classifier(folder / "other.keras", model, galaxies, recipe=recipe.replace(epochs=3))
    return {"settings": settings, "classifier": saved, "other": other, "galaxies": galaxies, "parts": parts}


def report_of(build, model):
    path = next(build["settings"].artifacts.rglob(f"{model.replace(' ', '_')}/report.json"))
    return json.loads(path.read_text(encoding="utf-8"))


def cards_of(build, folder, **options):
    """Return `(header, text)` of both cards."""
    paths = card.write_cards(build["settings"], folder, **options)
    assert [path.name for path in paths] == ["model_card.md", "data_card.md"]
    texts = [path.read_text(encoding="utf-8") for path in paths]
    assert all(text.startswith("---\n") for text in texts)
    return [(yaml.safe_load(text.split("---\n")[1]), text.split("---\n", 2)[2]) for text in texts]


@pytest.fixture
def cards(build, tmp_path):
    return cards_of(build, tmp_path, classifier=str(build["classifier"]))


def test_the_headers_have_the_fields_of_hugging_face(cards):
    (model, _), (data, _) = cards
    assert model["license"] == data["license"] == "mit" and model["library_name"] == "keras"
    assert model["pipeline_tag"] == "image-classification" and data["task_categories"] == ["image-classification"]
    for header, names in ((model, ("tags", "datasets", "metrics")), (data, ("tags", "size_categories"))):
        assert all(isinstance(entry, str) for name in names for entry in header[name])
    assert data["size_categories"] == ["n<1K"] and "simulated" in data["pretty_name"]
    (entry,) = model["model-index"]
    (result,) = entry["results"]
    assert isinstance(entry["name"], str) and result["task"]["type"] == "image-classification"
    assert result["dataset"]["type"] in model["datasets"] and "simulated" in result["dataset"]["name"]
    for metric in result["metrics"]:
        assert metric["type"] in model["metrics"] and isinstance(metric["value"], float)
        assert isinstance(metric["name"], str)


def test_the_numbers_are_those_of_the_report_with_the_highest_validation_accuracy(build, cards):
    report, ((header, text), _) = report_of(build, BEST), cards
    scores = report["evaluation"]
    values = {metric["type"]: metric["value"] for metric in header["model-index"][0]["results"][0]["metrics"]}
    assert values["accuracy"] == scores["accuracy"] and values["ece"] == scores["calibration_error"]
    assert values["kl_divergence"] == scores["kl_divergence"] and values["f1"] == scores["macro_f1"]
    assert f"the report `{CHAPTER}/most_validated`. Of 3 networks" in text and "the highest: 0.600." in text
    low, high = scores["intervals"]["accuracy"]
    assert f"| accuracy | {scores['accuracy']:.3f} | {low:.3f} to {high:.3f} |" in text
    assert f"| ECE if perfectly calibrated | {scores['calibration_reference']:.3f} | – |" in text
    majority = report["baselines"][MAJORITY_CLASS]["accuracy"]
    assert f"| {MAJORITY_CLASS} | {majority:.3f} | " in text
    for number, name in enumerate(scores["class_names"]):
        ends = " to ".join(f"{end[number]:.3f}" for end in scores["intervals"]["recall"])
        cells = f"{scores['support'][number]} | {scores['recall'][number]:.3f} | {ends}"
        assert f"| {name} | {cells} |" in text
    assert "Not considered: 1 other report of" in text and "| training time | 12 s |" in text
    assert report["versions"]["keras"] in text and report["device"]["processor"].split()[0] in text


def test_simulated_galaxies_are_called_so_in_the_first_line(cards):
    for _, text in cards:
        assert "simulated galaxies" in text.strip().splitlines()[0]
        assert "not real ones" in text.strip().splitlines()[2]


def test_the_data_card_counts_the_galaxies_themselves(build, cards):
    _, (_, text) = cards
    galaxies, parts = build["galaxies"], build["parts"]
    rows = [re.split(r" *\| *", line)[1:-1] for line in text.splitlines() if line.startswith("|")][2:]
    for row, name, count in zip(rows, galaxies.class_names, galaxies.class_counts, strict=False):
        assert row[:2] == [name, str(count)] and sum(map(int, row[3:])) == count
    assert rows[-1][3:] == [str(size) for size in parts.sizes.values()]
    assert parts.hash in text and "The rows are sorted" not in text
    # The last row repeats the first galaxy, under another label.
    assert "1 pair of rows" in text and "1 sky group of several galaxies, 2 together" in text


def test_the_classifier_brings_hash_crop_and_calibration(build, cards):
    (_, text), _ = cards
    classifier, digest = gu.load_classifier(build["classifier"]), hashlib.sha256(build["classifier"].read_bytes())
    assert digest.hexdigest() in text and "the central 50 % of each side" in text
    assert f"| calibration: temperature | {classifier.calibration.temperature:.4g} |" in text
    assert f"right in {classifier.calibration.accuracy:.3f} of the cases; the report says 0.600" in text
    assert "another training than the one" in text, "this network was never trained"
    assert 'gu.load_classifier("mine.keras")' in text


@pytest.mark.parametrize("with_file", [True, False])
def test_no_card_holds_a_path_of_this_machine(build, tmp_path, with_file):
    for header, text in cards_of(build, tmp_path, classifier=str(build["classifier"]) if with_file else ""):
        whole = yaml.safe_dump(header) + text
        for folder in (tmp_path, build["classifier"].parent, REPOSITORY, Path.home()):
            assert f"{folder}/" not in whole
        assert not re.search(r"""(?:^|[\s"'`(=|])/\w+/""", whole)
        # What a template leaves open, or Python writes of an object.
        assert not re.search(r"\{\w+\}|None|np\.|<\w+ object", text.split("## Licence")[0])


def test_a_report_can_be_told(build, tmp_path):
    for told in (f"{CHAPTER}/several_seeds", f"{build['settings'].artifacts}/toy-demo/{CHAPTER}/several_seeds"):
        if told.startswith("/"):
            told = str(next(build["settings"].artifacts.rglob("several_seeds/report.json")))
        (header, text), _ = cards_of(build, tmp_path, told=told)
        assert "named by whoever made this card" in text and "pool 2 networks" in text
        assert header["model-index"][0]["name"].startswith("several_seeds")
        assert f"Measured in chapter `{CHAPTER}`" in text, "its own report holds no baselines"
    # Without a validation accuracy, too.
    assert "not_validated" in cards_of(build, tmp_path, told="not_validated")[0][1]


@pytest.mark.parametrize(
    ("changes", "options", "told"),
    [
        ({"profile": "full"}, {}, "no report to make cards of(.|\n)*make book .*PROFILE=full"),
        ({"seed": 2}, {}, "No report is about these galaxies(.|\n)*make book"),
        ({}, {"told": "validated"}, "REPORT fits 0 reports(.|\n)*several_seeds"),
        ({}, {"told": "of_validation"}, "REPORT"),
        ({}, {"classifier": "other"}, "like this file's"),
        ({}, {"classifier": "missing.keras"}, "missing.keras"),
    ],
)
def test_what_does_not_fit_is_one_error_and_leaves_no_card(build, tmp_path, changes, options, told):
    settings = Settings(**{**vars(build["settings"]), **changes})
    if changes.get("seed"):  # the same reports, another split
        options = {"artifacts": build["settings"].artifacts}
    options = {key: str(build.get(value, value)) for key, value in options.items()}
    with pytest.raises((DataError, ConfigurationError), match=told):
        card.write_cards(settings, tmp_path / "cards", **options)
    assert not (tmp_path / "cards").exists()


def test_a_card_that_cannot_be_completed_leaves_the_old_ones(build, tmp_path, monkeypatch):
    cards_of(build, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.md")}

    def fail(facts):
        raise GalaxyUtilsError("not today")

    monkeypatch.setattr(card.texts, "data", fail)
    with pytest.raises(GalaxyUtilsError, match="not today"):
        card.write_cards(build["settings"], tmp_path, told="several_seeds")
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.md")} == before
    assert not list(tmp_path.glob(".*.partial"))


def test_real_galaxies_have_their_source_and_credit(build):
    """The official file is not here: its facts go through the same text."""
    galaxies = build["galaxies"].replace(name="galaxy10", provenance="Galaxy10 DECaLS", is_simulated=False)
    facts = card._data_facts(build["settings"], galaxies, build["parts"])
    text = card._data_card({"report": report_of(build, BEST)}, facts, None)
    header = yaml.safe_load(text.split("---\n")[1])
    assert header["license"] == "other" and header["license_link"].startswith("https://zenodo.org/records/")
    assert facts["sha"] in text and "Lintott" in text and "simulated" not in text
    north = 100 * np.mean(galaxies.dec[galaxies.labels == 0] > 32.375)
    assert "Telescope and class are confounded" in text
    assert 100 * facts["north"][0][1] <= north <= 100 * facts["north"][1][1]


def test_the_command_writes_them_or_says_what_is_missing(build, tmp_path):
    settings, program = build["settings"], [sys.executable, str(REPOSITORY / "book" / "tools" / "card.py")]
    options = ["--dataset", settings.dataset, "--profile", "demo", "--output"]
    child = subprocess.run([*program, *options, settings.output], capture_output=True, text=True, check=False)
    assert child.returncode == 0 and child.stdout.count("written: ") == 2, child.stderr
    assert (settings.output / "cards" / "data_card.md").exists()
    child = subprocess.run([*program, *options, tmp_path], capture_output=True, text=True, check=False)
    assert child.returncode == 1 and "make book" in child.stderr and "Traceback" not in child.stderr
