"""How often the book's 95 % intervals hold the truth: simulated galaxies and networks whose truth is known.

    python book/measured/coverage_simulation.py          # writes coverage_simulation.json: about ten minutes

Each trial draws predictions (or scores) from a known distribution, computes the interval with the package's own
functions, and asks whether the truth lies inside. Beside it stands what version 0.1 computed. A share near 95 %
of 1,000 trials has a standard error of 0.7 points. `tests/evaluation/test_coverage.py` repeats a few rows.
"""

import json
from pathlib import Path

import numpy as np
from scipy.stats import t

import galaxy_utils as gu
from galaxy_utils.evaluation.classification import accuracy_difference
from galaxy_utils.evaluation.significance import (
    galaxies_needed,
    mean_over_seeds,
    paired_difference,
    percentile_interval,
)

TRIALS, CLASSES, ACCURACY = 1_000, 4, 0.6


def predictions(labels, right):
    """Return probabilities of shape (n, 4) whose most probable class is the label where `right`, else the next one."""
    called = np.where(right, labels, (labels + 1) % CLASSES)
    return np.eye(CLASSES)[called] * 0.6 + 0.1


def answers(random, groups, accuracy=ACCURACY, within=0.8):
    """Return which galaxies are right: those of one group are alike with probability `within`."""
    _, member_of = np.unique(groups, return_inverse=True)
    alike = (random.random(member_of.max() + 1) < accuracy)[member_of]
    return np.where(random.random(len(groups)) < within, alike, random.random(len(groups)) < accuracy)


def share_inside(draw, trials):
    """Return the share of trials whose `(low, truth, high)` holds the truth."""
    return float(np.mean([low <= truth <= high for low, truth, high in (draw(number) for number in range(trials))]))


def accuracy_of_one_network(galaxies, in_pairs, by_group, trials):
    """Coverage of `evaluate`'s interval of the accuracy."""
    random = np.random.default_rng(galaxies)
    groups = np.arange(galaxies) // (2 if in_pairs else 1)

    def draw(number):
        labels = random.integers(0, CLASSES, galaxies)
        score = gu.evaluate(
            predictions(labels, answers(random, groups)),
            labels,
            "abcd",
            groups=groups if by_group else None,
            bootstrap_samples=400,
            seed=number,
        )
        low, high = score.intervals["accuracy"]
        return low, ACCURACY, high

    return share_inside(draw, trials)


def recall_of_a_class(galaxies, recall, trials):
    """Coverage of the recall of one class with so many galaxies: `evaluate`'s, and the percentile bootstrap of 0.1."""
    random = np.random.default_rng(galaxies)
    labels = np.concatenate([np.zeros(galaxies, int), 1 + np.arange(300) % 3])

    def draw(number):
        right = random.random(len(labels)) < recall
        score = gu.evaluate(predictions(labels, right), labels, "abcd", bootstrap_samples=400, seed=number)
        low, high = score.intervals["recall"]
        return low[0], recall, high[0]

    def draw_before(number):
        right = random.random(galaxies) < recall
        low, high = percentile_interval(random.choice(right, (400, galaxies)).mean(axis=1))
        return low, recall, high

    return {"now": share_inside(draw, trials), "before": share_inside(draw_before, trials)}


def difference_of_two_networks(galaxies, trials):
    """Coverage of the paired difference in accuracy of two networks, taken as they are."""
    random = np.random.default_rng(galaxies)

    def draw(number):
        labels = random.integers(0, CLASSES, galaxies)
        first = random.random(galaxies) < 0.6
        second = np.where(random.random(galaxies) < 0.7, first, random.random(galaxies) < 0.8)
        found = [predictions(labels, right) for right in (first, second)]
        _, low, high = accuracy_difference(*found, labels, bootstrap_samples=400, seed=number)
        return low, 0.3 * (0.8 - 0.6), high

    return share_inside(draw, trials)


def recipes(random, seeds, groups, spreads):
    """Return numbers per galaxy for two recipes' networks, each of shape (seeds, galaxies), and their true means 0.

    Galaxies of one group are hard or easy together: for both recipes, and for each recipe on its own. Networks of a
    recipe scatter about its mean by its spread, and every network errs on galaxies of its own.
    """
    common, *own = random.normal(0, [[0.5], [0.3], [0.3]], (3, groups.max() + 1))
    return [
        (common + one)[groups] + random.normal(0, spread, (seeds, 1)) + random.normal(0, 0.4, (seeds, len(groups)))
        for one, spread in zip(own, spreads, strict=True)
    ]


def over_seeds(seeds, galaxies, ratio, trials, collapse=0.0, in_pairs=False):
    """Coverage of the difference of two recipes and of one recipe's mean, when other seeds would differ.

    "pooled" is what 0.1 did: 2 (S − 1) degrees of freedom, right only for equal spreads.
    """
    random = np.random.default_rng(seeds * galaxies)
    spreads, groups = (0.04, 0.04 * ratio), np.arange(galaxies) // (2 if in_pairs else 1)

    def estimate(number):
        first, second = recipes(random, seeds, groups, spreads)
        second += np.where(random.random((seeds, 1)) < collapse, -0.6, 0.0) + collapse * 0.6
        return first, second, paired_difference(first, second, groups)

    def difference(number):
        low, high = estimate(number)[2].interval()
        return low, 0.0, high

    def pooled(number):
        found = estimate(number)[2]
        half = np.hypot(1.96 * np.sqrt(found.galaxy_variance), t.isf(0.025, 2 * seeds - 2) * found.seed_variance**0.5)
        return found.value - half, 0.0, found.value + half

    def mean(number):
        low, high = mean_over_seeds(estimate(number)[0], groups).interval()
        return low, 0.0, high

    names = {"difference": difference, "difference, pooled (0.1)": pooled, "mean": mean}
    return {name: share_inside(draw, trials) for name, draw in names.items()}


def calibration_error(galaxies, trials):
    """Mean calibration error of a perfectly calibrated network, and the mean reference that stands beside it."""
    random = np.random.default_rng(galaxies)
    found = []
    for number in range(trials // 10):
        probabilities = random.dirichlet(np.full(CLASSES, 0.7), galaxies)
        labels = (probabilities.cumsum(axis=1) < random.random((galaxies, 1))).sum(axis=1)
        score = gu.evaluate(probabilities, labels, "abcd", bootstrap_samples=1, seed=number)
        found.append((score.calibration_error, score.calibration_reference))
    error, reference = np.mean(found, axis=0)
    return {"calibration error": float(error), "reference": float(reference)}


def galaxies_from_a_pilot(seeds, trials):
    """How often the range that `galaxies_needed` gives, at 80 % confidence, holds what the true spreads need."""
    random = np.random.default_rng(seeds)
    spreads, settings = (0.02, 0.02), {"num_seeds": 8, "level": 0.005}

    def pilot(networks, galaxies):
        return paired_difference(*recipes(random, networks, np.arange(galaxies), spreads))

    truth = np.mean(galaxies_needed(0.08, pilot(400, 4_000), **settings, confidence=1e-6))

    def draw(number):
        low, high = galaxies_needed(0.08, pilot(seeds, 449), **settings)
        return low, truth, high

    return {"needed": float(truth), "inside": share_inside(draw, trials // 10)}


def simulate(trials=TRIALS):
    """Return the whole table."""
    return {
        "about": "made by coverage_simulation.py; shares of simulated 95 % intervals that hold the truth",
        "trials": trials,
        "accuracy of one network": {
            **{f"{n} galaxies": accuracy_of_one_network(n, False, False, trials) for n in (30, 100, 449)},
            "448 galaxies in pairs, resampled one by one": accuracy_of_one_network(448, True, False, trials),
            "448 galaxies in pairs, resampled by group": accuracy_of_one_network(448, True, True, trials),
        },
        "recall of a class": {
            f"{n} galaxies, recall {r}": recall_of_a_class(n, r, trials) for n in (5, 10, 29, 60) for r in (0.5, 0.8)
        },
        "difference of two networks": {f"{n} galaxies": difference_of_two_networks(n, trials) for n in (100, 449)},
        "recipes over seeds, 449 galaxies": {
            **{f"{s} seeds, spreads 1 : {r}": over_seeds(s, 449, r, trials) for s in (2, 3, 8) for r in (1, 4, 15)},
            "8 seeds, one network in ten collapses": over_seeds(8, 449, 1, trials, collapse=0.1),
            "8 seeds, galaxies in pairs": over_seeds(8, 448, 1, trials, in_pairs=True),
        },
        "calibration error of a calibrated network": {
            f"{n} galaxies": calibration_error(n, trials) for n in (200, 449, 2000)
        },
        "galaxies needed, from a pilot": {f"{s} seeds": galaxies_from_a_pilot(s, trials) for s in (3, 8)},
    }


if __name__ == "__main__":
    path = Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(simulate(), indent=1) + "\n", encoding="utf-8")
    for name, found in json.loads(path.read_text(encoding="utf-8")).items():
        print(name, json.dumps(found))
