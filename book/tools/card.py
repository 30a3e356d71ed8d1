"""A model card and a data card of a finished build, as Hugging Face reads them. They are written, never uploaded.

    python book/tools/card.py --dataset simulated --profile demo --seed 1
    python book/tools/card.py --classifier galaxies.keras --report "03_a_baseline_cnn/average_pooling"
    python book/tools/card.py --artifacts FOLDER

The first is `make card`. It writes `_build/cards/model_card.md` and `data_card.md` from the reports that `make book`
with the same settings left; `--artifacts` names those of chapters that were run elsewhere. The model is the network
with the highest validation accuracy, or the one that `--report` tells: the end of its folder's path. `--classifier`
is a file of `gu.save_classifier`; then only networks of its classes, image size and recipe are considered. Galaxies
are counted in the data set itself, which the build left in the cache; every score is copied from a report.
"""

import argparse
import json
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY), str(Path(__file__).parent)]

from plan import quiet  # noqa: E402
from settings import read_settings  # noqa: E402

from galaxy_utils.data.galaxy10 import MIRRORS  # noqa: E402
from galaxy_utils.data.galaxy_recipes import RECIPE_VERSION  # noqa: E402
from galaxy_utils.data.load import load  # noqa: E402
from galaxy_utils.data.positions import pairs_within  # noqa: E402
from galaxy_utils.data.split import PARTS, split  # noqa: E402
from galaxy_utils.errors import ConfigurationError, DataError, GalaxyUtilsError  # noqa: E402
from galaxy_utils.files import locked, write_atomically  # noqa: E402
from galaxy_utils.report import read_report  # noqa: E402
from galaxy_utils.wording import counted  # noqa: E402

with quiet():  # these load TensorFlow
    import card_texts as texts

    from galaxy_utils.catalogue.work import hash_of
    from galaxy_utils.classifier_file import load_classifier
    from galaxy_utils.evaluation.classification import SCORES, label_entropy

# What Keras calls the accuracy of validation galaxies, in networks with one output and in those with several.
VALIDATION = ("val_accuracy", "val_classification_accuracy")
# Scores in the header, as Hugging Face calls them, and what a report calls them.
METRICS = {"accuracy": "accuracy", "f1": "macro_f1", "recall": "macro_recall"}
METRICS |= {"cross_entropy": "cross_entropy", "kl_divergence": "kl_divergence", "ece": "calibration_error"}
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
# Rows this close show the same galaxy, arcseconds; north of this declination, degrees, other telescopes looked.
SAME, NORTH = 1.0, 32.375


def write_cards(settings, folder=None, artifacts=None, classifier="", told=""):
    """Write both cards, each atomically, once both are complete.

    Args:
        settings: The `Settings` of the build.
        folder: Where to; `None` for `cards` in the build's folder.
        artifacts: A folder below which the build's `report.json` files lie; `None` for what `make book` left.
        classifier: A file of `gu.save_classifier`; empty for none.
        told: The end of the path of the report that is meant; empty for the highest validation accuracy.

    Returns:
        The paths of the two files.

    Raises:
        DataError: There are no reports of this build, or a file cannot be read.
        ConfigurationError: No report is the one that was told, or none fits the classifier.
    """
    found = _read_reports(settings, artifacts or settings.artifacts)
    classifier = classifier and Path(classifier).expanduser()
    opened = load_classifier(classifier) if classifier else None
    galaxies = load(settings.dataset, settings.profile, settings.seed)
    parts = split(galaxies, seed=settings.seed)
    chosen = _choose(settings, found, galaxies, parts, opened, told)
    data = _data_facts(settings, galaxies, parts)
    cards = {"model_card.md": _model_card(settings, chosen, data, opened, classifier)}
    cards["data_card.md"] = _data_card(chosen, data, opened)
    folder = Path(folder or settings.output / "cards")
    for name, text in cards.items():
        with locked(folder / name), write_atomically(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return [folder / name for name in cards]


def _command(settings, name=None):
    """Return what builds the book so; in a card, of a file only its name is told."""
    return f"make book DATASET={shlex.quote(name or settings.dataset)} PROFILE={settings.profile} SEED={settings.seed}"


def _read_reports(settings, artifacts):
    """Return `{path: report}` of the test scores in this profile."""
    found = {path: read_report(path) for path in sorted(Path(artifacts).rglob("report.json"))}
    of_profile = [path for path, report in found.items() if report["profile"]["name"] == settings.profile]
    found = {path: found[path] for path in of_profile if found[path]["part"] == "test"}
    if not found:
        problem, expected = "There is no report to make cards of.", "report.json files that chapters of this build left"
        raise DataError(problem, where=artifacts, expected=expected, remedy=f"build it first: {_command(settings)}")
    return found


def _validation(report):
    """Return the validation accuracy of the weights that were kept, `None` where it was not noted."""
    training = report["training"]
    noted = next((training["history"][name] for name in VALIDATION if training["history"].get(name)), None)
    return noted and noted[training["best_epoch"] - 1 if training["restored_best"] else -1]


def _choose(settings, found, galaxies, parts, opened, told):
    """Return the model's report, how it was chosen, and the report with baselines for the same galaxies."""
    tested = np.bincount(galaxies.labels[parts.test], minlength=galaxies.num_classes)
    about = galaxies.class_names, tested, parts, settings.seed
    fit = {path: report for path, report in found.items() if _tests(report, *about)}
    if not fit:
        remedy = f"name what was built, or build it: {_command(settings)}"
        problem, kind = "No report is about these galaxies.", "other galaxies, or another split of them"
        raise DataError(problem, where="DATASET, PROFILE, SEED", found=kind, remedy=remedy)
    like = {path: report for path, report in fit.items() if opened is None or _is_of(report, opened)}
    if not like:
        kind = f"{counted(len(opened.class_names), 'classes')}, {opened.image_size} px, "
        kind += f"recipe {opened.recipe.name}" if opened.recipe else "no recipe"
        expected = "; ".join(
            sorted({f"{r['data']['image_size']} px, recipe {r['recipe']['name']}" for r in fit.values()})
        )
        details = {"expected": expected, "found": kind, "remedy": "name a file of a network that this build trained"}
        raise ConfigurationError("No report is of a network like this file's.", where="CLASSIFIER", **details)
    names, pieces = (
        [f"{path.parts[-3]}/{path.parts[-2]}" for path in like],
        Path(told.removesuffix("report.json")).parts,
    )
    known = {path: _validation(report) for path, report in like.items()}
    ranked = [path for path in like if known[path] is not None]
    if told:
        ranked = [path for path in like if path.parent.parts[-len(pieces) :] == pieces]
    if not ranked or (told and len(ranked) > 1):
        problem = "No report says how accurate its network was on validation galaxies: name the model."
        problem = f"REPORT fits {counted(len(ranked), 'reports')}, not one." if told else problem
        details = {"expected": "one of " + ", ".join(names), "remedy": f"make card REPORT={shlex.quote(names[0])}"}
        raise ConfigurationError(problem, where="REPORT", found=told or None, **details)
    # The first of several with the same accuracy, in the order of chapters.
    path = max(ranked, key=lambda path: known[path] or 0)
    report, name = like[path], f"{path.parts[-3]}/{path.parts[-2]}"
    times = sum(report["evaluation"]["support"]) // len(parts.test)
    beside = next((one for one in (report, *fit.values()) if one["baselines"]), None)
    chosen = {"report": report, "beside": beside, "times": times, "validation": known[path], "name": name, "told": told}
    return chosen | {"among": len(ranked), "others": len(found) - len(ranked)}


def _tests(report, class_names, tested, parts, seed):
    """Return whether a report scores a classifier on the test galaxies of a split: all, once for each of its seeds."""
    scores, training, divided = report["evaluation"], report["training"], report["split"]
    times = sum(scores["support"]) // max(1, tested.sum())
    same = scores["support"] == (times * tested).tolist() and scores["class_names"] == list(class_names)
    # Not of a network that makes images, with which another one was scored.
    same &= any(name.removeprefix("val_") in training["history"] for name in VALIDATION)
    # Some chapters train on fewer galaxies of the same split. Its hash holds the data's fingerprint, too.
    return same and parts.with_fewer(max(1, divided["sizes"]["train"]), seed).hash == divided["hash"]


def _is_of(report, opened):
    """Return whether the classifier in a file can be the network of a report."""
    same = list(opened.class_names) == report["evaluation"]["class_names"]
    same &= opened.image_size == report["data"]["image_size"]
    recipe = opened.recipe and json.loads(json.dumps(opened.recipe.to_dict()))
    return same and recipe in (None, report["recipe"])


def _data_facts(settings, galaxies, parts):
    """Return everything that the cards say of the galaxies, counted in the data set."""
    labels, counts = galaxies.labels, galaxies.class_counts
    by_part = {name: np.bincount(labels[parts.part(name)], minlength=len(counts)) for name in PARTS}
    sizes = np.bincount(parts.groups)
    kind = "simulated" if galaxies.is_simulated else "galaxy10" if galaxies.name == "galaxy10" else "own"
    facts = {"kind": kind, "num": len(galaxies), "provenance": galaxies.provenance, "seed": settings.seed}
    facts |= {"what": texts.WHAT[kind].format(name=galaxies.name), "names": galaxies.class_names}
    facts |= {"id": texts.IDS[kind].format(name=_slug(galaxies.name)), "profile": settings.profile}
    facts |= {"fingerprint": galaxies.source_fingerprint, "side": galaxies.image_size, "radius": parts.radius}
    facts |= {"counts": counts, **by_part, "split": parts.hash, "common": galaxies.class_names[counts.argmax()]}
    facts |= {"majority": counts.max() / len(labels), "address": MIRRORS[0][0], "sha": MIRRORS[0][1]}
    facts |= {"groups": (sizes > 1).sum(), "grouped": sizes[sizes > 1].sum(), "recipe_version": RECIPE_VERSION}
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))
    facts |= {"book": citation["title"], "version": citation["version"]}
    facts["authors"] = " and ".join(f"{{{author['name']}}}" for author in citation["authors"])
    facts["scale"] = None if galaxies.pixel_scale is None else float(np.median(galaxies.pixel_scale))
    known = galaxies.ra is not None
    pairs = pairs_within(galaxies.ra, galaxies.dec, SAME) if known else np.zeros((0, 2), int)
    facts["conflicts"] = (labels[pairs[:, 0]] != labels[pairs[:, 1]]).sum() if len(pairs) else 0
    # The share of pairs that a draw of rows, 80 to 20, leaves on both sides.
    linked = len(pairs_within(galaxies.ra, galaxies.dec, parts.radius)) if known else 0
    facts |= {"known": known, "linked": linked, "torn": 0.32 * linked, "is_sorted": bool((np.diff(labels) >= 0).all())}
    if kind != "simulated" and known:
        shares = np.bincount(labels[galaxies.dec > NORTH], minlength=len(counts)) / np.where(counts, counts, np.nan)
        least, most = np.nanargmin(shares), np.nanargmax(shares)
        facts["north"] = ((galaxies.class_names[least], shares[least]), (galaxies.class_names[most], shares[most]))
    return facts


def _slug(text):
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_") or "unnamed"


def _header(content):
    return f"---\n{yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)}---\n"


def _licence(data):
    named = {"license_name": "terms-of-the-data", "license_link": data["address"].partition("/files/")[0]}
    return {"license": texts.LICENCES[data["kind"]]} | (named if data["kind"] == "galaxy10" else {})


def _preprocessing(report, data, opened):
    """Return what became of the images: the crop is the file's, or else the profile's."""
    crop = opened.crop if opened and opened.crop else report["profile"]["crop_fraction"]
    size = report["data"]["image_size"]
    scale = data["scale"] and data["scale"] * data["side"] * crop / size
    scale = opened.pixel_scale if opened and opened.pixel_scale else scale
    width = f"{scale:.3f} arcseconds wide" if scale else "of unknown width"
    return {"crop": f"{100 * crop:g} %", "size": size, "width": width}


def _model_card(settings, chosen, data, opened, file):
    report = chosen["report"]
    scores, intervals = report["evaluation"], report["evaluation"]["intervals"]
    metrics = []
    for kind, key in METRICS.items():
        name = SCORES[key] + (f", 95 % interval {texts.between(intervals[key])}" if intervals.get(key) else "")
        metrics.append({"type": kind, "value": scores[key], "name": name})
    about = {"type": data["id"], "name": report["data"]["provenance"], "split": "test"}
    measured = {"task": {"type": "image-classification"}, "dataset": about, "metrics": metrics}
    tags = ["keras", "image-classification", *texts.TAGS[data["kind"]]]
    header = _licence(data) | {"library_name": "keras", "pipeline_tag": "image-classification", "tags": tags}
    header |= {"datasets": [data["id"]], "metrics": list(METRICS)}
    header["model-index"] = [{"name": f"{_slug(report['model'])}_{data['id']}", "results": [measured]}]
    facts = (
        data
        | _preprocessing(report, data, opened)
        | chosen
        | {"command": _command(settings, Path(settings.dataset).name), "opened": opened}
    )
    facts |= {"file": file and file.name, "sha_256": file and hash_of(file)}
    facts["entropy"] = label_entropy(scores["label_smoothing"], len(data["names"]))
    return _header(header) + texts.model(facts)


def _data_card(chosen, data, opened):
    category = next((name for limit, name in SIZES if data["num"] < limit), "n>1M")
    header = _licence(data) | {"pretty_name": data["provenance"], "task_categories": ["image-classification"]}
    header |= {"size_categories": [category], "tags": texts.TAGS[data["kind"]]}
    return _header(header) + texts.data(data | _preprocessing(chosen["report"], data, opened))


def main(arguments=None):
    """Write the cards: 0 when both are there, 1 with a message when not."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--artifacts", type=Path, help="folder with report.json files, of chapters run elsewhere")
    parser.add_argument("--classifier", default="", help="a file of gu.save_classifier")
    parser.add_argument("--report", default="", help="the end of the path of the model's report: CHAPTER/NETWORK")
    options, others = parser.parse_known_args(arguments)
    try:
        settings = read_settings(others)[0]
        written = write_cards(settings, None, options.artifacts, options.classifier, options.report)
    except GalaxyUtilsError as error:
        print(f"No card was written: {error}", file=sys.stderr)
        return 1
    for path in written:
        print(f"written: {path.relative_to(REPOSITORY) if path.is_relative_to(REPOSITORY) else path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
