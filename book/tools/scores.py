"""Scores that somebody measured: take a run's reports in, and make the book's score page of all that were taken in.

    python book/tools/scores.py --dataset simulated --profile demo --seed 1
    python book/tools/scores.py --artifacts FOLDER

The first is `make scores`: it takes in what `make book` with the same settings left. The second is for chapters that
were run elsewhere. A run is one source, profile and seed on one machine. What it leaves in
`book/measured/scores` is a small file that a person can read and review; adding the same run again replaces it.
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY), str(Path(__file__).parent)]

from settings import read_settings  # noqa: E402

from galaxy_utils.errors import DataError, GalaxyUtilsError  # noqa: E402
from galaxy_utils.files import write_json  # noqa: E402
from galaxy_utils.published import PUBLISHED  # noqa: E402
from galaxy_utils.report import read_report  # noqa: E402

FOLDER = REPOSITORY / "book" / "measured" / "scores"
FORMAT, RADIUS_OF_0_1 = 2, 33.5

SOURCES = {"paper 1": "paper_1", "paper 2": "paper_2"}
# Runs that everybody would like to see; they have a place on the page before somebody has made them.
WANTED = (("simulated", "demo"), ("galaxy10", "demo"), ("galaxy10", "full"))


def add_run(artifacts, folder=FOLDER):
    """Take the reports of one run in.

    Args:
        artifacts: A folder below which the run's `report.json` files lie, such as `_build/artifacts/simulated-demo-…`.
        folder: Where the scores are kept.

    Returns:
        The files that were written: one for each data source, profile and split in the folder.

    Raises:
        DataError: No report, one that cannot be read, or only such as mean nothing.
    """
    paths = sorted(Path(artifacts).rglob("report.json"))
    if not paths:
        raise DataError(
            "There is no report to take in.",
            where=artifacts,
            expected="a folder in which chapters have left files called report.json",
            remedy="build the book first: make book",
        )
    reports = [read_report(path) for path in paths]
    reports = [report for report in reports if report["profile"]["name"] != "smoke" and report["part"] == "test"]
    if not reports:
        raise DataError(
            "These reports say nothing about a network: the smoke profile only proves that everything runs.",
            where=artifacts,
            remedy="make book PROFILE=demo, or PROFILE=full on a GPU",
        )
    runs = {}
    for report in reports:
        about = _about(report)
        runs.setdefault(json.dumps(about, sort_keys=True), (about, []))[1].append(report)
    written = []
    for about, together in runs.values():
        together.sort(key=lambda report: (report["chapter"], report["model"]))
        # Some chapters report the last of several seeds, or score networks for some classes; most have these in common.
        first = min(together, key=lambda report: report["seed"])
        common = {"seed": first["seed"], "num_galaxies": first["data"]["num_galaxies"], "split": _usual_split(together)}
        content = {"format": FORMAT, **about, **common, "scores": [_score(report) for report in together]}
        digest = hashlib.sha256(json.dumps([about, common["seed"], common["split"]]).encode()).hexdigest()[:8]
        path = Path(folder) / f"{about['data']['name']}-{about['profile']}-{digest}.json"
        write_json(path, content)
        written.append(path)
    return written


def _about(report):
    """What all reports of a run have in common."""
    return {
        "profile": report["profile"]["name"],
        "data": {name: report["data"][name] for name in ("name", "is_simulated")},
        "versions": report["versions"],
        "device": report["device"],
    }


def _usual_split(reports):
    hashes = [report["split"]["hash"] for report in reports]
    return max(hashes, key=hashes.count)


def _score(report):
    evaluation = report["evaluation"]
    return {
        "chapter": report["chapter"],
        "model": report["model"],
        "seed": report["seed"],
        "split": report["split"]["hash"],
        "radius_arcsec": report["split"]["radius_arcsec"],
        "recipe": report["recipe"]["name"],
        "epochs": report["training"]["epochs"],
        "image_size": report["data"]["image_size"],
        "train": report["split"]["sizes"]["train"],
        "answers": sum(evaluation["support"]),
        "accuracy": evaluation["accuracy"],
        "interval": list(evaluation["intervals"]["accuracy"]),
        "kl_divergence": evaluation["kl_divergence"],
        "cross_entropy": evaluation["cross_entropy"],
        "training_seconds": report["timing"]["training_seconds"],
    }


def read_runs(folder=FOLDER):
    """Return all runs that were taken in, real galaxies first.

    Raises:
        DataError: A file that `add_run` did not write.
    """
    runs = []
    for path in sorted(Path(folder).glob("*.json")):
        try:
            run = json.loads(path.read_text(encoding="utf-8"))
            keys = ("profile", "data", "num_galaxies", "seed", "split", "device", "versions")
            sound = run["format"] == FORMAT and all(key in run for key in keys)
            for score in run["scores"]:
                low, high = score["interval"]
                sound &= 0 <= low <= score["accuracy"] <= high <= 1
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                "The scores cannot be read.", where=path, found=f"{type(error).__name__}: {error}"
            ) from error
        if not sound:
            raise DataError("These are no scores of a run.", where=path, remedy="delete the file and add the run again")
        runs.append(run)
    return sorted(runs, key=lambda run: (run["data"]["is_simulated"], run["data"]["name"], run["profile"]))


def score_page(folder=FOLDER):
    """Return the score page, in Markdown."""
    runs = read_runs(folder)
    lines = [
        "# Who scored what",
        "",
        "Every row was measured by somebody who ran this book; the files behind it are part of the book "
        "(`book/measured/scores`). Accuracies are those of test galaxies, with 95 % intervals that resample patches of "
        "sky; what other seeds would have changed is not in them. *KL* is the KL divergence in nats. *Test* counts "
        "answers: where networks of one kind, trained with several seeds, answer the same galaxies, each galaxy counts "
        "once for each of them. *px* is the side of the images in pixels, *s* the seconds of the last training. "
        "**Compare rows of one table only**, and of these only rows with the same test galaxies: another table has "
        "other galaxies, another split or another profile.",
        "",
    ]
    for run in runs:
        lines += _run_section(run)
    present = {(run["data"]["name"], run["profile"]) for run in runs}
    for name, profile in WANTED:
        if (name, profile) not in present:
            lines += [
                f"## {_source_title(name)}, *{profile}* profile",
                "",
                f"Nobody has measured this yet. `make book DATASET={name} PROFILE={profile}` and then `make scores` "
                "with the same settings fill this place.",
                "",
            ]
    lines += [
        "## Published",
        "",
        "What the two papers report: other splits, no intervals, and *around* 65 % in the last row. Nobody here has "
        "measured these numbers.",
        "",
        "| Network | accuracy | KL divergence | cross-entropy | source |",
        "|---|---:|---:|---:|---|",
    ]
    for score in PUBLISHED.values():
        others = ("" if value is None else f"{value:.4f}" for value in (score.kl_divergence, score.cross_entropy))
        source = f"{{cite}}`{SOURCES[score.paper]}`"
        lines.append(f"| {score.network} | {score.accuracy:.4g} | {' | '.join(others)} | {source} |")
    lines += [
        "",
        "## Add yours",
        "",
        "Build the book from whatever galaxies and in whatever profile you like, then run `make scores` with the "
        "same settings. It writes one file into `book/measured/scores`, with accuracies, versions, device and the hash "
        "of the split, and without anything about you. Send it as a change to the book.",
        "",
    ]
    return "\n".join(lines)


def _source_title(name):
    return {"simulated": "Simulated survey", "galaxy10": "Galaxy10 DECaLS"}.get(name, name)


def _run_section(run):
    versions, device = run["versions"], run["device"]
    kind = "simulated galaxies" if run["data"]["is_simulated"] else "real galaxies"
    # Version 0.1 did not note the radius within which galaxies share a group: half a cut-out.
    radius = run["scores"][0].get("radius_arcsec", RADIUS_OF_0_1)
    lines = [
        f"## {_source_title(run['data']['name'])}, *{run['profile']}* profile: {kind}",
        "",
        f"{run['num_galaxies']:,} {kind}, seed {run['seed']}, split `{run['split'][:12]}` "
        f"by groups within {radius:g}\u2033. "
        f"{device['processor']}, {device['cores']} cores, {device['accelerator'] or 'no GPU'}; "
        f"galaxy_utils {versions['galaxy_utils']}, Keras {versions['keras']} on {versions['backend']} "
        f"{versions.get('backend_version', '')}.",
        "",
        "| Ch. | network | accuracy | KL | test | px | epochs | s |",
        "|---|---|---|---:|---:|---:|---:|---:|",
    ]
    for score in run["scores"]:
        low, high = score["interval"]
        number, title = score["chapter"][:2].lstrip("0"), score["model"].replace("_", " ")
        if score["split"] != run["split"]:
            title += r" \*"
        lines.append(
            f"| {number} | {title} | {score['accuracy']:.3f} ({low:.3f}\u00a0to\u00a0{high:.3f}) | "
            f"{score['kl_divergence']:.3f} | {score['answers']:,} | {score['image_size']} | {score['epochs']} | "
            f"{score['training_seconds']:.0f} |"
        )
    others = sorted({score["split"][:12] for score in run["scores"]} - {run["split"][:12]})
    if others:
        # Such as chapter 4's, which trains on fewer galaxies, or chapter 9's, which is about the rare classes.
        others = f"`{'`, `'.join(others)}`"
        lines += [
            "",
            r"\* These rows train on fewer galaxies, or test only some classes. "
            f"Their splits are cut from that one: {others}.",
        ]
    return [*lines, ""]


def main(arguments=None):
    """Take a run in: 0 when its file is there, 1 with a message when not."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--artifacts", type=Path, help="folder with report.json files, of chapters run elsewhere")
    options, others = parser.parse_known_args(arguments)
    try:
        artifacts = options.artifacts or read_settings(others)[0].artifacts
        for path in add_run(artifacts):
            print(f"written: {path.relative_to(REPOSITORY)}")
    except GalaxyUtilsError as error:
        print(f"No scores were taken in: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
