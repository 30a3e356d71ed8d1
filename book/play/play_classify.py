"""The page on which a reader classifies twenty galaxies: which they are, and what the best network says of them."""

import zlib
from html import escape

import numpy as np
from play import FOLDER, as_json, check_rows, cut_out, describe_classes, fill_page, find_artifact, load_galaxies
from play import picture_sheet as make_sheet

from galaxy_utils.evaluation import mean_with_interval
from galaxy_utils.ledger import Ledger
from galaxy_utils.profiles import get_profile

COUNT, COLUMNS, SIZE, MOST_BYTES = 20, 5, 256, 450_000
# What to look for, in the words of the Galaxy Zoo questions; classes of other sources go without.
HINTS = {
    "Disturbed": "out of shape: tails, shells, lopsided",
    "Merging": "two galaxies, or two centres, that touch",
    "Round Smooth": "no features, round as a ball",
    "In-between Round Smooth": "no features, an oval",
    "Cigar Shaped Smooth": "no features, long and thin",
    "Barred Spiral": "a straight bar through the centre, then arms",
    "Unbarred Tight Spiral": "arms wound closely, no bar",
    "Unbarred Loose Spiral": "arms wide open, no bar",
    "Edge-on without Bulge": "a disc from its side, flat all along",
    "Edge-on with Bulge": "a disc from its side, thick in the middle",
}


def choose(labels, rows, num_classes, seed, count=COUNT):
    """Choose galaxies so that as many classes as possible appear, each about equally often.

    Args:
        labels: Labels of `rows`.
        rows: The galaxies to choose from.
        num_classes: How many classes there are.
        seed: Seed of the draw.
        count: How many.

    Returns:
        Some of the `rows`, in random order, int64; all where there are fewer.
    """
    random = np.random.default_rng(seed)
    order = random.permutation(len(rows))
    # Deal like cards: the first of every class, then the second of every class, and so on.
    turn = np.empty(len(rows), int)
    for label in range(num_classes):
        own = order[labels[order] == label]
        turn[own] = np.arange(len(own))
    dealt = order[np.argsort(turn[order], kind="stable")][:count]
    return rows[random.permutation(dealt)]


def make(settings):
    """Return the files of the page, {path in the staged source: bytes}.

    Args:
        settings: What the book is built from.

    Raises:
        DataError: Chapter 11 has left no test answers, or such of other galaxies.
    """
    path = find_artifact(settings, "11_progressive_iteration/ledger/ledger.jsonl")
    galaxies, profile, ledger = load_galaxies(settings), get_profile(settings.profile), Ledger(path)
    answers = ledger.predictions(ledger.best.name, "test")[0]
    check_rows(galaxies, answers.fingerprint, path)
    rows = choose(answers.labels, answers.rows, galaxies.num_classes, settings.seed)
    place = {int(row): position for position, row in enumerate(answers.rows)}
    chosen = answers.probabilities[[place[int(row)] for row in rows]]
    accuracy, low, high = mean_with_interval(
        answers.probabilities.argmax(axis=1) == answers.labels,
        bootstrap_samples=profile.bootstrap_samples,
        seed=settings.seed,
        groups=answers.groups,
    )
    votes = galaxies.vote_fractions
    data = {
        # Answers that a browser kept belong to these galaxies in this order.
        "key": f"{galaxies.source_fingerprint}-{settings.seed}-{zlib.crc32(rows.astype('<i8').tobytes()):08x}",
        "classes": [{**look, "hint": HINTS.get(look["name"], "")} for look in describe_classes(galaxies.class_names)],
        "galaxies": [
            {
                "row": int(row),
                "label": int(galaxies.labels[row]),
                "answer": int(probabilities.argmax()),
                "probability": round(float(probabilities.max()), 3),
                **({} if votes is None else {"votes": round(float(votes[row, galaxies.labels[row]]), 3)}),
            }
            for row, probabilities in zip(rows, chosen, strict=True)
        ],
        "voters": "Simulated volunteers" if galaxies.is_simulated else "Volunteers",
        "sheet": {"source": (FOLDER / "classify.webp").as_posix(), "columns": COLUMNS, "count": len(rows)},
        "network": {"accuracy": [round(value, 4) for value in (accuracy, low, high)], "tested": len(answers.rows)},
    }
    page = fill_page(
        "play_classify",
        count=len(rows),
        provenance=galaxies.provenance,
        profile=profile.name,
        whose_label=_whose_label(galaxies),
        network=ledger.best.name,
        tested=f"{len(answers.rows):,}",
        accuracy=f"{100 * accuracy:.0f}\u00a0% (95\u00a0% interval {100 * low:.0f} to {100 * high:.0f}\u00a0%)",
        figure=_still_figure(data),
        data=as_json(data),
    )
    sheet = make_sheet(cut_out(galaxies, rows, SIZE), COLUMNS, MOST_BYTES)
    return {FOLDER.parent.parent / "play_classify.md": page, FOLDER / "classify.webp": sheet}


def _whose_label(galaxies):
    if galaxies.is_simulated:
        return "these galaxies are simulated, and the label says as what a galaxy was drawn"
    if galaxies.vote_fractions is None:
        return "the label is the one that this source gives, and sources make mistakes"
    return "the label is what most volunteers said"


def _still_figure(data):
    """What stays without JavaScript: all galaxies, and a folded table of the answers."""
    names = [one["name"] for one in data["classes"]]
    labels = [names[galaxy["label"]] for galaxy in data["galaxies"]]
    rows = -(-len(labels) // COLUMNS)
    lines = [f"row {row + 1}: {', '.join(labels[row * COLUMNS : (row + 1) * COLUMNS])}" for row in range(rows)]
    alternative = f"{len(labels)} test galaxies in rows of {COLUMNS}. The survey's labels, {'; '.join(lines)}."
    table = "".join(
        f'<tr><th scope="row">{number}</th><td>{escape(label)}</td><td>{escape(names[galaxy["answer"]])}</td></tr>'
        for number, (label, galaxy) in enumerate(zip(labels, data["galaxies"], strict=True), 1)
    )
    return (
        f'<figure><img src="{data["sheet"]["source"]}" alt="{escape(alternative)}" width="{COLUMNS * SIZE}" '
        f'height="{rows * SIZE}"><figcaption>The galaxies, counted in rows from the top left. (With JavaScript, this '
        "page asks for your answers and compares them.)</figcaption></figure><details><summary>The survey's labels and "
        'the network\'s answers</summary><table class="table"><thead><tr><th scope="col">Galaxy</th><th scope="col">'
        f'Survey</th><th scope="col">Network</th></tr></thead><tbody>{table}</tbody></table></details>'
    )
