"""Keep rates and powers by simulation: what is claimed of a level and of a power is what happens."""

import dataclasses
import math

import numpy as np
import pytest
from scipy.stats import binom, ttest_1samp, ttest_ind

from galaxy_utils.errors import ConfigurationError, DataError
from galaxy_utils.evaluation import (
    galaxies_needed,
    mean_over_seeds,
    mean_with_interval,
    paired_difference,
    power_of_comparison,
)


def simulated_losses(random, difference=0.0, *, num_galaxies=300, num_seeds=3, shared=0.4, own=0.3, seed=0.03):
    """Losses of two recipes, shape (seeds, galaxies) each: galaxies are easy or hard, networks lucky or not.

    `shared`, `own` and `seed` are the spreads of the difference, so each recipe's own are smaller by √2.
    """
    difficulty = random.gamma(2.0, 0.5, num_galaxies)
    changed = difficulty + difference + shared * random.normal(size=num_galaxies)

    def networks(expected):
        noise = own * random.normal(size=(num_seeds, num_galaxies)) + seed * random.normal(size=(num_seeds, 1))
        return expected + noise / math.sqrt(2)

    return networks(difficulty), networks(changed)


def clear_share(level, trials, *, difference=0.0, random_seed=1, **settings):
    """Share of simulated comparisons in which the second recipe is clearly larger."""
    random = np.random.default_rng(random_seed)
    clear = 0
    for _ in range(trials):
        estimate = paired_difference(*simulated_losses(random, difference, **settings))
        clear += estimate.value > estimate.half_width(level)
    return clear / trials


@pytest.mark.parametrize("num_seeds", [2, 5])
@pytest.mark.parametrize(
    "spreads",
    [
        {"shared": 0.4, "own": 0.0, "seed": 0.0},
        {"shared": 0.0, "own": 0.4, "seed": 0.0},
        {"shared": 0.0, "own": 0.3, "seed": 0.05},
        {"shared": 0.4, "own": 0.3, "seed": 0.02},
        {"shared": 0.4, "own": 0.2, "seed": 0.1},
    ],
    ids=lambda spreads: ", ".join(f"{name} {value}" for name, value in spreads.items()),
)
def test_without_a_difference_no_more_than_the_level_is_clear(num_seeds, spreads):
    level, trials = 0.05, 1500
    share = clear_share(level, trials, num_seeds=num_seeds, num_galaxies=200, **spreads)
    assert share <= binom.ppf(0.999, trials, level) / trials
    exact = 0 in (spreads["shared"], spreads["seed"] + spreads["own"])  # One part is all there is.
    if exact and num_seeds > 3:  # With a few seeds, Welch's degrees of freedom are on the safe side.
        assert share >= binom.ppf(0.001, trials, level) / trials


def test_a_bootstrap_over_galaxies_alone_takes_lucky_seeds_for_better_recipes():
    """The mistake that `paired_difference` exists to avoid: this level is far from kept."""
    random, clear, trials = np.random.default_rng(1), 0, 200
    for _ in range(trials):
        first, second = simulated_losses(random, shared=0.0, own=0.3, seed=0.1)
        _, low, _ = mean_with_interval((second - first).mean(axis=0), bootstrap_samples=200)
        clear += low > 0
    assert clear / trials > 0.15  # 0.025 is what a 95 % interval promises.


@pytest.mark.parametrize(
    ("difference", "settings"),
    [
        (0.06, {"num_galaxies": 300, "num_seeds": 3, "shared": 0.4, "own": 0.0, "seed": 0.0}),
        (0.08, {"num_galaxies": 300, "num_seeds": 3, "shared": 0.0, "own": 0.4, "seed": 0.03}),
        (0.10, {"num_galaxies": 200, "num_seeds": 3, "shared": 0.4, "own": 0.3, "seed": 0.03}),
        (0.15, {"num_galaxies": 200, "num_seeds": 2, "shared": 0.4, "own": 0.3, "seed": 0.03}),
        (0.05, {"num_galaxies": 600, "num_seeds": 5, "shared": 0.3, "own": 0.4, "seed": 0.02}),
    ],
)
def test_with_a_difference_the_power_is_as_calculated(difference, settings):
    level, trials = 0.02, 1500
    spreads = {f"{name}_spread": settings[name] for name in ("shared", "own", "seed")}
    sizes = {name: settings[name] for name in ("num_galaxies", "num_seeds")}
    expected = power_of_comparison(difference, level=level, **sizes, **spreads)
    assert 0.15 < expected < 0.95  # A power near 0 or 1 would agree with anything.
    share = clear_share(level, trials, difference=difference, **settings)
    assert share == pytest.approx(expected, abs=0.015 + 3.3 * math.sqrt(expected * (1 - expected) / trials))


def test_networks_that_answer_twice_are_paired():
    """Views averaged over the same networks: their luck is common to both and must not hide the gain."""
    random = np.random.default_rng(1)
    luck = 0.3 * random.normal(size=(3, 1)) + random.gamma(2.0, 0.5, 400)
    first, second = luck, luck - 0.05 + 0.1 * random.normal(size=(3, 400))
    paired = paired_difference(first, second, same_networks=True)
    assert paired.interval()[1] < 0
    assert paired_difference(first, second).interval()[1] > 0
    # And its level is kept: nothing but the noise of the second answers differs.
    clear, trials = 0, 1500
    for _ in range(trials):
        estimate = paired_difference(first, luck + 0.1 * random.normal(size=(3, 400)), same_networks=True)
        clear += estimate.value > estimate.half_width(0.05)
    assert binom.ppf(0.001, trials, 0.05) <= clear <= binom.ppf(0.999, trials, 0.05)


def test_galaxies_that_stand_twice_count_once():
    random = np.random.default_rng(1)
    groups = np.repeat(np.arange(150), 2)
    shares, trials, level = {"grouped": 0, "single": 0}, 1000, 0.05
    for _ in range(trials):
        pair = simulated_losses(random, num_galaxies=150, own=0.0, seed=0.0)
        first, second = (np.repeat(losses, 2, axis=1) for losses in pair)
        for name, given in (("grouped", groups), ("single", None)):
            estimate = paired_difference(first, second, given)
            shares[name] += (estimate.value > estimate.half_width(level)) / trials
    assert shares["grouped"] <= binom.ppf(0.999, trials, level) / trials
    assert shares["single"] > 0.09  # Counted twice, galaxies promise more than they know.


def test_the_variance_over_seeds_is_the_unbiased_one():
    estimate = mean_over_seeds([[0.0, 0.0], [1.0, 1.0]])
    assert (estimate.value, estimate.seed_variance, estimate.galaxy_variance) == (0.5, 0.25, 0.0)


def test_the_parts_are_students_t_and_the_bootstrap():
    random = np.random.default_rng(1)
    first, second = simulated_losses(random, 0.05, shared=0.0, own=0.3, seed=0.05)
    estimate = paired_difference(first, second)
    only_seeds = ttest_ind(second.mean(axis=1), first.mean(axis=1), equal_var=False).confidence_interval()
    half = estimate.half_width(0.025)
    assert half**2 == pytest.approx(
        ((only_seeds.high - only_seeds.low) / 2) ** 2 + 1.959964**2 * estimate.galaxy_variance
    )
    paired = paired_difference(first, second, same_networks=True)
    assert paired.seed_variance == pytest.approx(
        (np.diff(ttest_1samp((second - first).mean(axis=1), 0).confidence_interval())[0] / 2 / 4.302653) ** 2
    )
    # Identical networks: galaxies are all that varies, and the bootstrap gives the same interval.
    groups = random.integers(0, 150, 300)
    first, second = simulated_losses(random, 0.05, shared=0.4, own=0.0, seed=0.0)
    estimate = paired_difference(first, second, groups)
    mean, *interval = mean_with_interval((second - first)[0], groups=groups, bootstrap_samples=4000)
    assert estimate.value == pytest.approx(mean)
    assert estimate.interval() == pytest.approx(interval, abs=0.1 * estimate.half_width(0.025))


def test_the_spreads_come_back():
    random = np.random.default_rng(1)
    first, second = simulated_losses(random, 0.1, num_galaxies=20_000, num_seeds=60, shared=0.5, own=0.3, seed=0.1)
    estimate = paired_difference(first, second)
    found = (estimate.shared_spread, estimate.own_spread, estimate.seed_spread)
    assert found == pytest.approx((0.5, 0.3, 0.1), rel=0.2)
    assert (estimate.num_galaxies, estimate.num_seeds) == (20_000, 60) and 59 < estimate.degrees_of_freedom <= 118


def test_mean_over_seeds_covers_the_recipes_mean():
    random, covered, trials = np.random.default_rng(1), 0, 1000
    for _ in range(trials):
        values = 1.0 + 0.5 * random.normal(size=100) + 0.05 * random.normal(size=(3, 1))
        low, high = mean_over_seeds(values).interval()
        covered += low <= 1.0 <= high
    assert covered >= binom.ppf(0.001, trials, 0.95)
    assert "100 galaxies, 3 seeds" in str(mean_over_seeds(values))


def test_a_shaky_recipe_beside_a_steady_one_keeps_the_level():
    """It is Welch's test, whose rate is the level; equal spreads assumed, the rate would be about twice the level."""
    random, level, trials = np.random.default_rng(1), 0.005, 20_000
    steady, shaky = (spread * random.normal(size=(8, trials)) for spread in (0.01, 0.15))
    wrong = {}
    for equal in (False, True):
        pvalues = ttest_ind(shaky, steady, equal_var=equal, alternative="greater").pvalue
        wrong[equal] = np.count_nonzero(pvalues < level)
        if not equal:
            # Networks near the edge, too: those are where a wrong number of degrees of freedom shows.
            for trial in [*range(20), *np.argsort(np.abs(pvalues - level))[:100]]:
                columns = steady[:, trial, None], shaky[:, trial, None]
                estimate = paired_difference(*(column + np.zeros(2) for column in columns))
                assert (estimate.value > estimate.half_width(level)) == (pvalues[trial] < level)
    assert binom.ppf(0.001, trials, level) <= wrong[False] <= binom.ppf(0.999, trials, level) < wrong[True] / 1.5


def test_galaxies_needed_is_a_range_around_the_truth():
    random, settings = np.random.default_rng(1), {"level": 0.01, "num_seeds": 8}
    truth = {"shared_spread": 0.4, "own_spread": 0.3, "seed_spread": 0.03}
    held, pilots = 0, 16
    for _ in range(pilots):
        spreads = {name.removesuffix("_spread"): value for name, value in truth.items()}
        pilot = paired_difference(*simulated_losses(random, num_galaxies=400, **spreads))
        low, high = galaxies_needed(0.08, pilot, **settings)
        power_at = [power_of_comparison(0.08, num_galaxies=int(min(n, 1e9)), **settings, **truth) for n in (low, high)]
        assert low < high
        held += power_at[0] <= 0.84 and power_at[1] >= 0.76
    assert held >= binom.ppf(0.02, pilots, 0.8)  # eight in ten is what the range promises
    noisy = dataclasses.replace(pilot, seed_spread=0.5)
    assert galaxies_needed(0.02, noisy, level=0.01, num_seeds=2) == (math.inf, math.inf)


@pytest.mark.parametrize(
    ("call", "error", "named"),
    [
        (lambda v: paired_difference(v[:1], v[:1]), DataError, r"\(1, 40\)"),
        (lambda v: paired_difference(v, v[:, 1:]), DataError, r"\(3, 39\)"),
        (lambda v: paired_difference(v, v[:2], same_networks=True), DataError, r"\(2, 40\)"),
        (lambda v: mean_over_seeds(v[0]), DataError, r"\(40,\)"),
        (lambda v: mean_over_seeds(np.where(v == v[1, 7], np.nan, v)), DataError, "seed 1, galaxy 7"),
        (lambda v: mean_over_seeds(v, np.zeros(40)), DataError, "two groups"),
        (lambda v: mean_over_seeds(v, np.zeros(41)), DataError, r"\(41,\)"),
        (lambda v: mean_with_interval(v[0], groups=np.zeros(40)), DataError, "single sky group"),
        (lambda v: mean_over_seeds(v).half_width(0.7), ConfigurationError, "0.7"),
        (lambda v: mean_over_seeds(v).half_width("0.05"), ConfigurationError, "'0.05'"),
        (lambda v: power(difference=0), ConfigurationError, "difference"),
        (lambda v: power(difference=math.nan), ConfigurationError, "nan"),
        (lambda v: power(num_seeds=1), ConfigurationError, "num_seeds"),
        (lambda v: power(num_galaxies=2.5), ConfigurationError, "2.5"),
        (lambda v: power(shared_spread=-1), ConfigurationError, "shared_spread"),
        (lambda v: power(level=0), ConfigurationError, "level"),
        (lambda v: galaxies_needed(0.1, None, power=1, level=0.1, num_seeds=3), ConfigurationError, "power"),
    ],
)
def test_what_cannot_be_is_refused(call, error, named):
    with pytest.raises(error, match=named):
        call(np.random.default_rng(1).normal(size=(3, 40)))


def power(difference=0.1, **changes):
    settings = {"num_galaxies": 100, "num_seeds": 3, "level": 0.05, "shared_spread": 0.4}
    return power_of_comparison(difference, **{**settings, **changes})
