"""Measure what the hidden check of assignment 7 finds for random choice, on which its limits rest, and for others.

    python notebooks/assignments/tools/label_budget.py --draws 100

The master's own cells are run: survey, solution, and the hidden checks of Task 3, which take the lowest of three
accuracies (the rows of the survey itself, and two calls with the survey in another order).
"""

import argparse
import contextlib
import io
import sys
import time
from pathlib import Path

import nbformat
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

from masters import find_masters


def read_cells():
    """Return the master's code cells up to Task 4, without set-up and Otter."""
    master = nbformat.read(find_masters()["a7"], as_version=4)
    cells = [cell.source for cell in master.cells if cell.cell_type == "code"]
    end = next(place for place, cell in enumerate(cells) if "def gain_interval" in cell)
    cells = [cell.replace("import otter\n", "").replace("grader = otter.Notebook()", "") for cell in cells[:end]]
    return [cell for cell in cells if "set_up" not in cell and "examine(chosen)" not in cell]


def lowest_accuracy(names, choose):
    """Return the lowest of the three accuracies, as the hidden checks compute it."""
    names["choose"] = choose
    # Its own `ask`: the checks count labels themselves.
    names["chosen"] = choose(names["features"], names["make_ask"](names["truth"]))
    names["test_q3_rows"](*(names[name] for name in ("chosen", "choose", "features")), names)
    if names.get("_new") is None:
        names["test_q3_pictures"](names["images"], names)
    with contextlib.suppress(AssertionError):  # below its limit
        names["test_q3_accuracy"](names["images"], names)
    return names["_lowest"]


def strategies(names, seed):
    """Return `{name: choose}` of strategies that a student may think of; each begins with 20 random galaxies."""
    train, k_centre, entropy, bald = (names[name] for name in ("train", "k_centre", "entropy", "bald"))
    random = np.random.default_rng(seed)

    def predict(features, rows, labels):
        model = train(features[rows], labels)
        p = np.zeros((len(features), 10))
        p[:, model[-1].classes_] = model.predict_proba(features)
        return p

    def passes(features, rows, labels):
        resampled = (random.integers(len(rows), size=len(rows)) for _ in range(5))
        return np.array([predict(features, np.array(rows)[some], labels[some]) for some in resampled])

    def in_rounds(score):
        def choose(features, ask):
            rows = random.permutation(len(features))[:20].tolist()
            while len(rows) < 200:
                values = score(features, rows, ask(rows))
                values[rows] = -1
                rows += np.argsort(values)[-20:].tolist()
            return rows

        return choose

    return {
        "random": lambda features, ask: random.permutation(len(features))[:200],
        "entropy": in_rounds(lambda *known: entropy(predict(*known))),
        "BALD, five passes": in_rounds(lambda *known: bald(passes(*known))),
        "k-centre": lambda features, ask: [0, *k_centre(features, [0], 199)],
    }


def say_of_the_survey(names, name, rows):
    """Print what a choice holds, and how good its classifier is with the survey's own mixture of classes."""
    rows, truth, features = np.asarray(rows), names["truth"], names["features"]
    others = np.setdiff1d(np.arange(len(truth)), rows)
    shares = 100 * np.bincount(truth[rows], minlength=10) / len(rows)
    on_survey = names["train"](features[rows], truth[rows]).score(features[others], truth[others])
    print(f"{name}: {np.round(shares, 1)} % of each class")
    print(f"    its classifier is right about {100 * on_survey:.1f} % of the survey's other galaxies,")
    drawn = [np.random.default_rng(number).permutation(others)[:200] for number in range(20)]
    found = [names["train"](features[each], truth[each]).score(features[rows], truth[rows]) for each in drawn]
    print(f"    those of 20 random choices from the others about {100 * np.mean(found):.1f} % of these")


def main():
    """Print accuracies in percent."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=100, help="of random choice; a twentieth of it for the others")
    options = parser.parse_args()
    names, start = {}, time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):
        for cell in read_cells():
            exec(cell, names)
    print(f"survey and solution: {time.process_time() - start:.1f} s of CPU")
    shares = 0.6 ** np.array([8, 7, 0, 1, 9, 3, 4, 2, 6, 5])
    names["truth"] = np.random.default_rng(22).choice(10, 3000, p=shares / shares.sum())
    print("galaxies of each class:", np.bincount(names["truth"]))
    start = time.process_time()
    print(f"solution: {100 * lowest_accuracy(names, names['choose']):.1f} %")
    print(f"its hidden checks: {time.process_time() - start:.1f} s of CPU")
    say_of_the_survey(names, "solution", names["choose"](names["features"], names["make_ask"](names["truth"])))
    for name in ("random", "k-centre"):
        say_of_the_survey(names, name, strategies(names, 0)[name](names["features"], names["make_ask"](names["truth"])))
    for name in strategies(names, 0):
        tries = options.draws if name == "random" else -(-options.draws // 20)
        found = [100 * lowest_accuracy(names, strategies(names, seed)[name]) for seed in range(tries)]
        print(
            f"{name}: mean {np.mean(found):.1f} %, standard deviation {np.std(found):.1f}, "
            f"95 % quantile {np.quantile(found, 0.95):.1f} %, {tries} tries"
        )


if __name__ == "__main__":
    main()
