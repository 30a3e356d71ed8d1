"""How often a ledger keeps what it should not, and what it should: designs compared before one is chosen.

    python book/measured/ledger_simulation.py          # writes ledger_simulation.json: minutes

A round is a difference of two scores, each a mean over galaxies and networks. What scatters is drawn directly: what all
networks share about the galaxies, what each network adds, how good it happens to be, and whether it collapsed. The
spreads are those of chapter 11's own rounds (400 training galaxies, 32 pixels). Other networks scatter otherwise, so
`sensitivity` repeats the power with networks further apart. `tests/book/test_measured.py` simulates wrong keeps galaxy
by galaxy with the package's own rule, and compares what this program asks for with what the package asks for.
"""

import json
from pathlib import Path

import numpy as np
from scipy.special import ndtri, stdtrit

ERROR_RATE, ROUNDS, KL_SHARE = 0.1, 10, 0.5
LEVELS = np.array([ERROR_RATE * KL_SHARE, ERROR_RATE * (1 - KL_SHARE)]) / ROUNDS
OLD_LEVELS = np.array([ERROR_RATE * 0.8, ERROR_RATE * 0.2]) / ROUNDS
# KL divergence in nats, accuracy: spreads of a difference over galaxies, of one network over galaxies and over seeds.
SHARED, OWN, SEED = np.array([0.50, 0.25]), np.array([0.55, 0.43]), np.array([0.045, 0.018])
CORRELATION = -0.7  # of the two scores
DESIGNS = {  # name: screening seeds, seeds in all, degrees of freedom, level of KL and accuracy
    "before: 3 seeds, equal spreads assumed": (3, 3, "pooled", OLD_LEVELS),
    "3 seeds": (3, 3, "Welch", LEVELS),
    "5 seeds": (5, 5, "Welch", LEVELS),
    "8 seeds": (8, 8, "Welch", LEVELS),
    "10 seeds": (10, 10, "Welch", LEVELS),
    "3 seeds, then 8": (3, 8, "Welch", LEVELS),
    "3 seeds, then 10": (3, 10, "Welch", LEVELS),
    "3 seeds, then 12": (3, 12, "Welch", LEVELS),
}
CHOSEN = "3 seeds, then 8"
RATIOS = (1, 2, 4, 8, 15)
FACTORS = (1, 1.2, 1.4, 1.6)
GAINS = {  # (KL, accuracy), galaxies
    "10 points, 449 galaxies": ((0.0, 0.10), 449),
    "5 points, 2,000 galaxies": ((0.0, 0.05), 2_000),
    "0.15 nats, 449 galaxies": ((-0.15, 0.0), 449),
    "0.10 nats, 2,000 galaxies": ((-0.10, 0.0), 2_000),
}


def pairs(random, *shape):
    """Standard normal numbers of KL and accuracy, correlated, along a last axis of two."""
    numbers = random.normal(size=(*shape, 2))
    numbers[..., 1] = CORRELATION * numbers[..., 0] + np.sqrt(1 - CORRELATION**2) * numbers[..., 1]
    return numbers


def networks(random, trials, seeds, galaxies, spread=1.0, collapse=0.0):
    """Scores of networks about their recipe's mean, shape (trials, seeds, 2)."""
    scale = np.sqrt((spread * SEED) ** 2 + OWN**2 / galaxies / 2)
    scores = scale * pairs(random, trials, seeds)
    fallen = random.random((trials, seeds, 1)) < collapse
    # A collapsed network answers one class: 0.6 nats and 25 points worse than its like.
    return scores + np.where(fallen, 1.0, 0.0) * np.array([0.6, -0.25]) - collapse * np.array([0.6, -0.25])


def welch(first, second, kind):
    """Variance of the difference of two means over networks, and its degrees of freedom."""
    counts = first.shape[1], second.shape[1]
    parts = [x.var(axis=1, ddof=1) / n for x, n in zip((first, second), counts, strict=True)]
    total = parts[0] + parts[1]
    if kind == "pooled":
        return total, sum(counts) - 2
    return total, total**2 / sum(part**2 / (n - 1) for part, n in zip(parts, counts, strict=True))


def better(change, galaxy_variance, first, second, kind, levels):
    """The rule: KL lower, or KL not higher and accuracy higher, each at its level; shape (trials,)."""
    variance, freedom = welch(first, second, kind)
    needed = np.sqrt(ndtri(levels) ** 2 * galaxy_variance + stdtrit(freedom, levels) ** 2 * variance)
    return (-change[:, 0] > needed[:, 0]) | ((change[:, 0] <= needed[:, 0]) & (change[:, 1] > needed[:, 1]))


def play_round(random, design, best, gain, galaxies, *, spread=1.0, collapse=0.0, units=None):
    """Play one round in every trial; return who is kept, the trainings, and the round's networks and galaxies."""
    screening, seeds, kind, levels = DESIGNS[design]
    trials, units = len(best), units or galaxies
    shared = SHARED / np.sqrt(units) * pairs(random, trials)
    galaxy_variance = SHARED**2 / units * random.chisquare(units - 1, (trials, 1)) / (units - 1)
    new = networks(random, trials, seeds, galaxies, spread, collapse) + gain

    def change(number):
        return shared + new[:, :number].mean(axis=1) - best.mean(axis=1)

    promising = np.ones(trials, bool)
    if screening < seeds:
        variance = galaxy_variance + welch(best, new[:, :screening], kind)[0]
        promising = (change(screening) * np.array([-1, 1]) > np.sqrt(variance)).any(axis=1)
    kept = promising & better(change(seeds), galaxy_variance, best, new, kind, levels)
    return kept, np.where(promising, seeds, screening)


def wrong_keeps(random, design, trials=6_000, galaxies=449, *, best_spread=1.0, collapse=0.0, units=None):
    """How often at least one of ten useless rounds is kept against one and the same best round."""
    best = networks(random, trials, DESIGNS[design][1], galaxies, best_spread, collapse)
    some = np.zeros(trials, bool)
    for _ in range(ROUNDS):
        some |= play_round(random, design, best, np.zeros(2), galaxies, collapse=collapse, units=units)[0]
    return float(some.mean())


def power(random, design, gain, galaxies, trials=6_000, spread=1.0):
    """How often a round with this true gain is kept, and the mean trainings it costs; gain of (KL, accuracy)."""
    best = networks(random, trials, DESIGNS[design][1], galaxies, spread)
    kept, trainings = play_round(random, design, best, np.array(gain), galaxies, spread=spread)
    return float(kept.mean()), float(trainings.mean())


def same_networks(random, seeds, correlation, gain, galaxies=449, trials=6_000):
    """Power for a gain in accuracy when the same networks answer twice: paired by network, and not."""
    scale, level = np.hypot(SEED[1], OWN[1] / np.sqrt(2 * galaxies)), LEVELS[1]
    first, other = scale * random.normal(size=(2, trials, seeds))
    second = gain + correlation * first + np.sqrt(1 - correlation**2) * other
    galaxy_variance = SHARED[1] ** 2 / galaxies / 4
    change = np.sqrt(galaxy_variance) * random.normal(size=trials) + (second - first).mean(axis=1)
    paired = (second - first).var(axis=1, ddof=1) / seeds, seeds - 1
    apart = welch(first, second, "Welch")
    return [
        float((change > np.sqrt(ndtri(level) ** 2 * galaxy_variance + stdtrit(f, level) ** 2 * v)).mean())
        for v, f in (paired, apart)
    ]


def sensitivity(trials=6_000):
    """Power of two designs where seeds matter more than in chapter 11's rounds, for the same gains."""
    random = np.random.default_rng(2)
    return {
        f"{design}; seeds {factor:g} times as far apart": {
            name: power(random, design, gain, galaxies, trials, factor)[0] for name, (gain, galaxies) in GAINS.items()
        }
        for factor in FACTORS
        for design in (CHOSEN, "3 seeds, then 10")
    }


def simulate(trials=6_000):
    """Return the whole table."""
    random = np.random.default_rng(1)
    points, nats = (0.02, 0.03, 0.05, 0.07, 0.10, 0.15), (0.03, 0.05, 0.10, 0.15, 0.20, 0.30)
    designs = {}
    for design, (screening, seeds, _, _) in DESIGNS.items():
        curves = {
            str(galaxies): {
                "points": [power(random, design, (0.0, gain), galaxies, trials)[0] for gain in points],
                "nats": [power(random, design, (-gain, 0.0), galaxies, trials)[0] for gain in nats],
            }
            for galaxies in (449, 2000)
        }
        useless, useful = (power(random, design, (0.0, gain), 449, trials)[1] for gain in (0.0, 0.10))
        designs[design] = {
            "seeds": [screening, seeds],
            # A noisy best round gives few wrong keeps in all, a noisy round beside a steady best the most.
            "wrong_keeps": {
                **{f"rounds {r} times as noisy": steady_best(random, design, r, trials) for r in RATIOS},
                **{f"best {r} times as noisy": wrong_keeps(random, design, trials, best_spread=r) for r in RATIOS[1:]},
                "one network in ten collapses": wrong_keeps(random, design, trials, collapse=0.1),
                "galaxies in pairs": wrong_keeps(random, design, trials, units=224),
            },
            "power": curves,
            "trainings": {"useless": useless, "10 points": useful, "mean": (useless + useful) / 2},
        }
    paired = {
        f"{seeds} seeds": {f"correlation {c}": same_networks(random, seeds, c, 0.03, trials=trials) for c in (0.5, 0.9)}
        for seeds in (3, 5, 10)
    }
    return {
        "about": "made by ledger_simulation.py; shares of simulated ledgers or rounds",
        "trials": trials,
        "error_rate": ERROR_RATE,
        "rounds": ROUNDS,
        "kl_share": KL_SHARE,
        "chosen": CHOSEN,
        "points": points,
        "nats": nats,
        "designs": designs,
        "same_networks_paired_and_not": paired,
        "sensitivity": sensitivity(trials),
    }


def steady_best(random, design, ratio, trials):
    """Wrong keeps when every round's networks scatter `ratio` times as much as the best round's."""
    best = networks(random, trials, DESIGNS[design][1], 449, 1 / np.sqrt(ratio))
    some = np.zeros(trials, bool)
    for _ in range(ROUNDS):
        some |= play_round(random, design, best, np.zeros(2), 449, spread=np.sqrt(ratio))[0]
    return float(some.mean())


if __name__ == "__main__":
    path = Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(simulate(), indent=1) + "\n", encoding="utf-8")
    for name, found in json.loads(path.read_text(encoding="utf-8"))["designs"].items():
        print(name, json.dumps(found))
