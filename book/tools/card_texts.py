"""The prose of the two cards that `card.py` writes. Numbers come from there; none of a run is typed here."""

import re

from galaxy_utils.data.split import PARTS
from galaxy_utils.evaluation.classification import SCORES
from galaxy_utils.wording import counted

# What the galaxies are called in titles, in the header, and which licence it names, for each kind of source.
WHAT = {"simulated": "simulated galaxies", "galaxy10": "Galaxy10 DECaLS", "own": "images called {name}"}
IDS = {"simulated": "simulated_galaxies", "galaxy10": "galaxy10_decals", "own": "{name}"}
LICENCES = {"simulated": "mit", "galaxy10": "other", "own": "unknown"}
TAGS = {kind: ["astronomy", "galaxy-morphology"] for kind in WHAT}
TAGS["simulated"] += ["simulated"]
TAGS["galaxy10"] += ["galaxy10-decals"]
# From so large a difference of two validation accuracies on, the file is hardly the report's network.
NOTABLE = 0.02

SMOKE = "**The smoke profile only proves that everything runs: its numbers mean nothing. Publish no card of it.**\n\n"
NO_BASELINES = "No report of this build holds baselines for these galaxies; chapter 3 writes some."
NO_FILE = (
    'This card describes the network of a report and no file. `gu.save_classifier("galaxies.keras", model, galaxies, '
    "recipe=run.recipe, split=split)` writes one; `make card CLASSIFIER=galaxies.keras` then enters its hash and its "
    "calibration here."
)
FILE = """What `gu.save_classifier` wrote into the file:

{table}

Temperature, threshold and distance limit were measured on validation galaxies and are what
`gu.classify` uses. The scores above are those of the network alone, without the temperature.
{check}"""

TERMS = {
    "simulated": "The code that renders the galaxies and trains the networks is under the MIT licence.",
    "galaxy10": """The code is under the MIT licence. The data keep the terms of those who made them; ask for these
before you publish weights that were trained on them.

Credit: Galaxy10 DECaLS (Henry Leung and Jo Bovy); the volunteers of Galaxy Zoo (Lintott et al.
2008, 2011; Willett et al. 2013; Walmsley et al. 2022); the DESI Legacy Imaging Surveys (Dey et
al. 2019).""",
    "own": """The code is under the MIT licence. This book does not know the licence of the images: find it
out, and write it into the header, before you publish anything.""",
}
USE = {
    "simulated": """- Teaching, and trying a pipeline from image to catalogue without a download.
- Comparing methods on the same simulated galaxies, with the same split.""",
    "galaxy10": """- Teaching.
- Sorting cut-outs of the DESI Legacy Imaging Surveys (bands g, r, z) into these classes, where
  a share of errors like the one above can be borne, or corrected for.""",
    "own": """- Images of the same instrument, prepared in the same way, of galaxies that were selected in the
  same way.""",
}
NOT_FOR = {
    "simulated": """- **Any statement about real galaxies.** The simulation is simpler than the sky; how well a
  network of it does on real images is another measurement, and not on this card.""",
    "galaxy10": """- Another survey, band or depth, without a test on labelled galaxies of it.
- Fractions of classes in a catalogue, without a correction for the confusion and for how the
  galaxies were selected.""",
    "own": "- Another instrument or survey, without a test on labelled galaxies of it.",
}
SOURCE = {
    "simulated": """Rendered by this book with GalSim (recipe version {recipe_version}, seed {seed}); nothing was
downloaded. The same version and seed render the same galaxies again: `gu.load("simulated",
profile="{profile}", seed={seed})`. Labels are those of the recipe that drew a galaxy, and no
opinion about it.""",
    "galaxy10": """`Galaxy10_DECals.h5`, {address}, SHA-256 `{sha}`. `gu.load("galaxy10")` downloads the file and
compares the hash. Labels are pooled votes of volunteers.""",
    "own": """{provenance}. This book knows nothing else about where the images and their labels come from:
write it here before you publish this card.""",
}


def plain(value):
    """Return text that nothing in Markdown reads as markup or as the border of a cell."""
    return re.sub(r"([|*`<\[\\])", r"\\\1", " ".join(str(value).split()))


def between(interval):
    """Return an interval in words, or a dash where there is none."""
    return "–" if interval is None or None in interval else f"{interval[0]:.3f} to {interval[1]:.3f}"


def number(value):
    return "–" if value is None else f"{value:.3f}"


def table(head, rows):
    """Return a Markdown table; columns after the first are numbers, where there are more than two."""
    cells = [head, ["---"] + ["---:" if len(head) > 2 else "---"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(plain(cell) for cell in row) + " |" for row in cells)


def agreement(opened, validation):
    """Return whether the file's own validation accuracy speaks for the report's network."""
    text = "The file has the classes, the image size and (where it names one) the recipe of the report."
    if opened.calibration is None or validation is None:
        return text + " Whether it is the same training, nothing in it says."
    there = opened.calibration.accuracy
    text += f" On validation galaxies it is right in {there:.3f} of the cases; the report says {validation:.3f}."
    if abs(there - validation) > NOTABLE:
        text += " **These differ: the file may hold another training than the one that was scored above; "
        text += "`make card REPORT=…` names its report.**"
    return text


def limits(facts):
    """Return what is known to be wrong with the galaxies, a line each, for both cards."""
    lines = []
    if facts["conflicts"]:
        purpose = " (on purpose, as in the official file)" if facts["kind"] == "simulated" else ""
        lines.append(
            f"{counted(facts['conflicts'], 'pairs')} of rows{purpose}: the same galaxy twice, under two labels. No "
            "network can be right about both."
        )
    if facts["groups"]:
        lines.append(
            f"{counted(facts['groups'], 'sky groups')} of several galaxies, {facts['grouped']:,} together. They lie "
            f"within {facts['radius']:g}″ of one another, so that one cut-out shows what the other shows, or are "
            "copies of one image. Each group is on one side of the split."
        )
    if not facts["known"]:
        lines.append("No coordinates: neighbours on the sky cannot be kept together, only copies of one image.")
    if "north" in facts:
        (least, low), (most, high) = facts["north"]
        lines.append(
            "Telescope and class are confounded, if these are images of the Legacy Surveys: other telescopes (BASS, "
            f"MzLS) took those north of declination +32.375°, and there lie {100 * low:.0f} % of the galaxies of "
            f"class {plain(least)} but {100 * high:.0f} % of class {plain(most)}. A network can use that."
        )
    common, share = plain(facts["common"]), 100 * facts["majority"]
    lines.append(f"Classes are not equally frequent: {common} alone is {share:.2f} % of the galaxies.")
    if facts["kind"] == "galaxy10":
        lines.append("By its makers' description, some labels were given to pictures of another survey (SDSS).")
    return "\n".join(f"- {line}" for line in lines)


def model(facts):
    """Return the model card below its header."""
    kind, report, scores = facts["kind"], facts["report"], facts["report"]["evaluation"]
    facts = (
        facts | _plain(facts) | {"how": _how(facts), "limits": limits(facts), "terms": TERMS[kind], "use": USE[kind]}
    )
    facts |= {"smoke": SMOKE if facts["profile"] == "smoke" else "", "not_for": NOT_FOR[kind], **_score_tables(facts)}
    facts |= {"title": plain(report["model"][:1].upper() + report["model"][1:]), "num_test": facts["test"].sum()}
    facts["chapter"] = plain(report["chapter"])
    facts["drawn"] = "groups (patches of sky)" if scores["resampled"] == "groups" else "single galaxies"
    facts |= {"resamplings": scores["bootstrap_samples"], "smoothing": scores["label_smoothing"]}
    facts |= {"made": _made(report), "section": _file(facts), "file": facts["file"] or "galaxies.keras"}
    return MODEL.format(**facts, citation=CITATION.format(**facts))


def _plain(facts):
    return {key: plain(facts[key]) for key in ("what", "provenance", "common")} | {"classes": len(facts["names"])}


def _how(facts):
    if facts["told"]:
        text = "It was named by whoever made this card (`REPORT=`); the validation accuracy did not choose it."
    else:
        text = (
            f"Of {counted(facts['among'], 'networks')} whose reports note a validation accuracy and score the same "
            f"test galaxies, it has the highest: {facts['validation']:.3f}. Test scores had no part in the choice."
        )
        if facts["others"]:
            text += f" Not considered: {counted(facts['others'], 'other reports')} of this build, without a validation "
            text += "accuracy, on other test galaxies, or not of a network like the file below."
    if facts["times"] > 1:
        text += f"\n\nThe scores pool {facts['times']} networks of this kind, trained with different seeds: each test "
        text += "galaxy counts once for each of them."
    if facts["report"]["chapter"].startswith("07") and "random_weights" not in facts["report"]["model"]:
        text += "\n\nIts backbone started from pretrained weights (ImageNet, unless the build was given another file)."
    return text


def _score_tables(facts):
    """Return the tables of scores, baselines and classes."""
    scores, beside = facts["report"]["evaluation"], facts["beside"]
    intervals = scores["intervals"]
    rows = [(text, number(scores[key]), between(intervals.get(key))) for key, text in SCORES.items()]
    tables = {"values": table(["score", "value", "95 % interval"], rows), "baselines": NO_BASELINES}
    if beside:
        rows = [
            (name, number(one["accuracy"]), between(one["intervals"].get("accuracy")), number(one["kl_divergence"]))
            for name, one in beside["baselines"].items()
        ]
        tables["baselines"] = table(["baseline", "accuracy", "95 % interval", "KL divergence"], rows)
        if beside is not facts["report"]:
            where, size = plain(beside["chapter"]), beside["data"]["image_size"]
            tables["baselines"] += f"\n\nMeasured in chapter `{where}`, on its images of {size} pixels."
        best = max(beside["baselines"], key=lambda name: beside["baselines"][name]["accuracy"])
        tables["baselines"] += f"\n\n{_verdict(scores, best, beside['baselines'][best])}"
    ends = zip(*intervals.get("recall", ([None] * len(facts["names"]),) * 2), strict=True)
    columns = zip(facts["names"], scores["support"], scores["recall"], ends, scores["precision"], strict=True)
    rows = [(name, f"{n:,}", number(recall), between(pair), number(last)) for name, n, recall, pair, last in columns]
    tables["by_class"] = table(["class", "scored", "recall", "95 % interval", "precision"], rows)
    return tables


def _verdict(scores, name, baseline):
    """Return what accuracies and their intervals say of the network and the best baseline."""
    if scores["accuracy"] <= baseline["accuracy"]:
        return f"**The network is not more accurate than the best of these, {name}.**"
    pairs = [one["intervals"].get("accuracy") for one in (scores, baseline)]
    if None in pairs or pairs[0][0] <= pairs[1][1]:
        return f"The network is more accurate than the best of these, {name}, but the intervals overlap."
    return f"The network is more accurate than the best of these, {name}: the intervals do not overlap."


def _made(report):
    training, device, divided = report["training"], report["device"], report["split"]
    kept = training["best_epoch"] if training["restored_best"] else training["epochs"]
    others = ("name", "source", "inferred")
    recipe = {key: value for key, value in report["recipe"].items() if value is not None and key not in others}
    recipe = f"{report['recipe']['name']}: " + ", ".join(f"{key} {value}" for key, value in recipe.items())
    rows = [("galaxies that trained it", f"{divided['sizes']['train']:,}"), ("recipe", recipe)]
    rows.append(("epochs", f"{training['epochs']}; the weights are those of epoch {kept}"))
    if training["compiled_with"]:
        rows.append(("compiled with", training["compiled_with"]))
    rows += [("seed", report["seed"]), ("training time", f"{report['timing']['training_seconds']:.0f} s")]
    accelerator = device["accelerator"] or "no GPU"
    rows.append(("device", f"{device['processor']}, {counted(device['cores'], 'cores')}, {accelerator}"))
    rows.append(("versions", ", ".join(f"{key} {value}" for key, value in report["versions"].items())))
    rows.append(("split", f"{divided['hash'][:16]}…, by groups within {divided['radius_arcsec']:g}″"))
    return table(["what", "value"], rows)


def _file(facts):
    if not facts["file"]:
        return NO_FILE
    opened = facts["opened"]
    rows = [("file", facts["file"]), ("SHA-256", facts["sha_256"]), ("class names", ", ".join(opened.class_names))]
    rows += [("image size", f"{opened.image_size} px"), ("crop", opened.crop or "unknown")]
    rows.append(("arcseconds per pixel", f"{opened.pixel_scale:.3f}" if opened.pixel_scale else "unknown"))
    rows.append(("recipe", opened.recipe.name if opened.recipe else "not in the file"))
    for key, value in (opened.calibration.to_dict() if opened.calibration else {}).items():
        rows.append((f"calibration: {key.replace('_', ' ')}", f"{value:.4g}" if isinstance(value, float) else value))
    return FILE.format(table=table(["what", "value"], rows), check=agreement(opened, facts["validation"]))


def data(facts):
    """Return the data card below its header."""
    kind, num = facts["kind"], facts["num"]
    columns = zip(facts["names"], facts["counts"], *(facts[part] for part in PARTS), strict=True)
    rows = [(name, f"{n:,}", f"{100 * n / num:.2f} %", *(f"{m:,}" for m in of)) for name, n, *of in columns]
    rows.append(("all", f"{num:,}", "100 %", *(f"{facts[part].sum():,}" for part in PARTS)))
    facts = facts | _plain(facts) | {"table": table(["class", "galaxies", "share", *PARTS], rows)}
    facts |= {"smoke": SMOKE if facts["profile"] == "smoke" else "", "rules": _rules(facts), "limits": limits(facts)}
    facts |= {"source": SOURCE[kind].format(**facts), "terms": TERMS[kind], "share": 100 * facts["majority"]}
    facts["citation"] = CITATION.format(**facts)
    return DATA.format(**facts | {f"num_{part}": facts[part].sum() for part in PARTS})


def _rules(facts):
    """Return what not to do with these galaxies, a line each."""
    rules = []
    if facts["is_sorted"]:
        rules.append(
            "Do not split without shuffling: the rows are sorted by class, so the last ones are of few classes."
        )
    if facts["linked"]:
        rules.append(
            f"Do not split row by row: of {counted(facts['linked'], 'pairs')} of rows within {facts['radius']:g}″, "
            f"a random draw of 80 to 20 leaves about {facts['torn']:.0f} on both sides. `gu.split` draws whole groups."
        )
    rules.append("Do not choose a network, an epoch or a setting by test galaxies, nor report validation as test.")
    if facts["kind"] == "simulated":
        rules.append("Do not pass them off as real galaxies, nor scores on them as scores on the sky.")
    if facts["kind"] == "galaxy10":
        rules.append("Do not turn all images into floats at once: they need more memory than a free cloud session has.")
        rules.append(
            "Do not take redshifts from the `Galaxy10_coord.csv` that goes round: that column is a copy of DEC."
        )
    return "\n".join(f"- {rule}" for rule in rules)


CITATION = """```bibtex
@software{{deep_learning_on_galaxies,
  author = {{{authors}}},
  title = {{{book}}},
  version = {{{version}}}
}}
```"""

MODEL = """
# {title}: a classifier of galaxies, trained on {what}

**Trained and tested on: {provenance}.**

{smoke}A Keras network that takes an image of {size} × {size} pixels and returns a probability
for each of {classes} classes. It is from chapter `{chapter}` of the book *{book}*.

## How it was chosen

The model of this card is the network of the report `{name}`. {how}

## Scores on test galaxies

{num_test:,} galaxies that neither trained nor chose it. The 95 % intervals come from
{resamplings:,} resamplings of {drawn}. What another seed of the training would have changed is
not in them.

{values}

Entropies and divergences are in nats, against labels smoothed with ε = {smoothing:g}: no
cross-entropy can fall below {entropy:.4f}, and only scores with the same ε can be compared. A
perfectly calibrated network would have the ECE of the last row, because the accuracy in a bin
is uncertain; only what exceeds it is miscalibration.

### Beside it: what needs no learning

On the same test galaxies:

{baselines}

### Class by class

{by_class}

The smaller a class, the wider its interval: do not rank classes whose intervals overlap.
Intervals of few galaxies, and of shares of 0 or 1, are Wilson's.

## Intended use

{use}

## Not intended for

{not_for}
- Decisions about single galaxies that nobody looks at again.

## Known limits

{limits}
- Images must be prepared as in training: the central {crop} of each side of the cut-out, shrunk
  to {size} pixels, a pixel {width}. At another pixel scale galaxies look larger or smaller than
  those that were learned; `gu.classify` resamples images that say their scale.

## The file

{section}

## How to use it

```python
import galaxy_utils as gu
classifier = gu.load_classifier("{file}")  # classifier.predict(images) gives probabilities
gu.classify("my_images", "{file}", "catalogue.csv")  # a folder in, a table out, calibrated
```

## How it was made

`{command}`

{made}

## Licence and citation

{terms}

{citation}
"""

DATA = """
# Data card: {what}

**{provenance}.**

{smoke}{num:,} galaxies in {classes} classes, RGB images of {side} × {side} pixels with 8 bits,
and their division into training, validation and test. The images themselves are not part of
this card.

## Composition

{table}

The commonest class, {common}, is {share:.2f} % of all galaxies: the accuracy of an answer that
never looks.

Training has {num_train:,}, validation {num_validation:,} and test {num_test:,} galaxies. They
were drawn class by class from whole sky groups (galaxies within {radius:g}″ of one another, and
copies of one image), seed {seed}; hash of the split `{split}`, fingerprint of the data
`{fingerprint}`.

## Source

{source}

## Preprocessing

The central {crop} of each side is kept and shrunk to {size} pixels by area averaging; a pixel
is then {width}. (Networks of other chapters may take other sizes.) Images stay 8-bit; the first
layer of a network scales them to [0, 1].

## Known problems

{limits}

## What not to do

{rules}

## Licence, credit and citation

{terms}

{citation}
"""
