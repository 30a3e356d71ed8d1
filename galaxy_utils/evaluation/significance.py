"""Is a difference real? Means and paired differences of numbers per galaxy, and how many galaxies would show one.

Two things make a score uncertain. Other galaxies would have given another score: that part falls with the number of
galaxies. And the same recipe, started from other random weights, would have given another network: that part falls with
the number of seeds alone, however many galaxies there are. `mean_with_interval` resamples galaxies and so speaks of
the networks at hand. `mean_over_seeds` and `paired_difference` count both parts and so speak of recipes.
"""

import bisect
import math
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.stats import chi2, norm, t

from galaxy_utils.errors import DataError, check_integer, check_number

CONFIDENCE = 0.95
MOST_GALAXIES = 10**9  # what so many do not show, none will


# --- One network, or several taken as they are: the bootstrap ---------------------------------------------------------


def mean_with_interval(values, *, bootstrap_samples=1000, seed=1, groups=None):
    """Return the mean of one number per galaxy, with its interval.

    Args:
        values: Shape (n,).
        bootstrap_samples: Resamplings behind the interval.
        seed: Seed of the resamplings.
        groups: As in `evaluate`.

    Returns:
        `(mean, low, high)`: the mean and its 95 % interval.

    Raises:
        DataError: Groups that do not fit the values.
        ConfigurationError: No resamplings.

    Example:
        >>> mean_with_interval([0.0, 1.0] * 50)[0]
        0.5
    """
    check_integer("bootstrap_samples", bootstrap_samples, 1)
    columns = np.stack([np.asarray(values, float), np.ones(len(values))], axis=1)
    sums = bootstrap_sums(columns, checked_column(groups, len(columns), "groups"), bootstrap_samples, seed)
    low, high = percentile_interval(sums[:, 0] / sums[:, 1])
    return float(columns[:, 0].mean()), float(low), float(high)


def bootstrap_sums(columns, groups, bootstrap_samples, seed):
    """Return column sums of resampled galaxies (or groups of them), shape (bootstrap_samples, columns)."""
    if groups is not None:
        columns = _sums_by_group(columns, groups)
        if len(columns) < 2:
            raise DataError("A single sky group says nothing of others.", where="groups", expected="two or more")
    random, units = np.random.default_rng(seed), len(columns)
    sums = []
    # In portions, so that the counts of a large set stay in the tens of megabytes.
    for start in range(0, bootstrap_samples, 100):
        samples = min(100, bootstrap_samples - start)
        drawn = random.integers(0, units, (samples, units)) + np.arange(samples)[:, None] * units
        counts = np.bincount(drawn.ravel(), minlength=samples * units).reshape(samples, units)
        sums.append(counts.astype(float) @ columns)
    return np.concatenate(sums)


def percentile_interval(samples):
    """Return the ends of the 95 % percentile interval of resampled scores, samples along the first axis."""
    tail = 50 * (1 - CONFIDENCE)
    # A class that occurs in no resampling has no interval; NaN says so without NumPy's warning.
    samples = np.where(np.isnan(samples).all(axis=0), 0.0, samples) if samples.ndim > 1 else samples
    return np.nanpercentile(samples, [tail, 100 - tail], axis=0)


# --- Recipes, each trained with several seeds -------------------------------------------------------------------------


@dataclass(frozen=True)
class Estimate:
    """A mean over galaxies and seeds, with what makes it uncertain.

    Attributes:
        value: The mean.
        galaxy_variance: Variance of the mean because other galaxies could have been looked at: the part that all
            networks of a recipe share.
        seed_variance: Variance of the mean because other networks could have come out of the same recipes.
        degrees_of_freedom: Of `seed_variance`, which comes from a handful of networks and is poorly known; a fraction
            where two recipes spread differently (Welch–Satterthwaite).
        shared_spread: Standard deviation over galaxies of what the recipes' networks share.
        own_spread: Standard deviation over galaxies of what one network (or pair of networks) adds of its own.
        seed_spread: Standard deviation over networks (or pairs) of their means over all galaxies there are.
        num_galaxies: Galaxies behind the mean.
        num_seeds: Seeds behind the mean; of a difference, those of the recipe that has fewer.

    Example:
        >>> estimate = mean_over_seeds(np.random.default_rng(1).normal(size=(8, 300)))
        >>> low, high = estimate.interval()
        >>> low < estimate.value < high, estimate.num_seeds
        (True, 8)
    """

    value: float
    galaxy_variance: float
    seed_variance: float
    degrees_of_freedom: float
    shared_spread: float
    own_spread: float
    seed_spread: float
    num_galaxies: int
    num_seeds: int

    @property
    def standard_error(self):
        """Square root of both variances' sum."""
        return math.sqrt(self.galaxy_variance + self.seed_variance)

    def half_width(self, level):
        """Return how far beyond zero the value must lie to be significant at a one-sided level.

        It is √(z² · galaxy variance + t² · seed variance), z and t being the quantiles of the normal distribution and
        of Student's t with the seed variance's degrees of freedom. Exact when one of the two parts is all there is; in
        between it is on the safe side, which Satterthwaite's approximation is not at small levels and few seeds.

        Args:
            level: Largest acceptable probability of calling the value positive when it is not, above 0, up to 0.5.

        Raises:
            ConfigurationError: Another level.
        """
        return float(_half_width(level, self.galaxy_variance, self.seed_variance, self.degrees_of_freedom))

    def interval(self, confidence=CONFIDENCE):
        """Return the two-sided confidence interval, `(low, high)`."""
        half = self.half_width((1 - confidence) / 2)
        return self.value - half, self.value + half

    def __str__(self):
        low, high = self.interval()
        return f"{self.value:.4f} ({low:.4f} to {high:.4f}; {self.num_galaxies:,} galaxies, {self.num_seeds} seeds)"


def mean_over_seeds(values, groups=None):
    """Return the mean of one number per galaxy and seed, as an estimate of what the recipe gives.

    Args:
        values: Shape (seeds, n), at least two seeds.
        groups: Sky groups, shape (n,): galaxies of one group count as one draw, because their errors are not
            independent. `None` counts every galaxy.

    Returns:
        An `Estimate`.

    Raises:
        DataError: Numbers of another shape, or not finite.

    Example:
        >>> mean_over_seeds([[0.0, 0.0], [1.0, 1.0]]).value
        0.5
    """
    values = _checked_values(values, "values")
    seed_variance = values.mean(axis=1).var(ddof=1) / len(values)
    return _estimate([values], groups, seed_variance, len(values) - 1)


def paired_difference(first, second, groups=None, *, same_networks=False):
    """Return by how much `second` is larger than `first`, on the same galaxies.

    Galaxies are paired: whether one is easy or hard cancels. Networks of two recipes are independent, even when their
    seeds have the same number, so each recipe's seeds have a variance of their own, with the degrees of freedom of
    Welch and Satterthwaite: a recipe that spreads widely beside a steady one does not lower the threshold. The same
    split into cases and readers is used where doctors read the same images (Obuchowski and Rockette 1995).

    Args:
        first: One number per galaxy for each network of the first recipe, shape (seeds, n), at least two seeds.
        second: The same for the second recipe; another number of seeds is allowed.
        groups: As in `mean_over_seeds`.
        same_networks: Whether both are predictions of the very same networks, as when views are averaged. Then networks
            are paired too, which leaves seeds − 1 degrees of freedom. With three seeds these cost more than pairing
            brings; with eight or more, pairing sees smaller differences.

    Returns:
        An `Estimate` of the mean of `second` minus that of `first`.

    Raises:
        DataError: Numbers of another shape, or not finite.

    Example:
        >>> first, second = np.random.default_rng(1).normal(size=(2, 8, 300))
        >>> paired_difference(first, second + 1).num_galaxies
        300
    """
    first, second = _checked_values(first, "first"), _checked_values(second, "second")
    if first.shape[1] != second.shape[1] or (same_networks and len(first) != len(second)):
        problem = "Only predictions for the same galaxies (and seeds, of the same networks) can be paired."
        expected, found = f"shape {first.shape} for both", f"shape {second.shape} for the second"
        raise DataError(problem, where="first, second", expected=expected, found=found)
    if same_networks:
        change = second - first
        return _estimate([change], groups, change.mean(axis=1).var(ddof=1) / len(change), len(change) - 1)
    parts = [(x.mean(axis=1).var(ddof=1) / len(x), len(x) - 1) for x in (first, second)]
    total = sum(part for part, _ in parts)
    squares = sum(part**2 / freedom for part, freedom in parts)
    freedom = total**2 / squares if squares > 0 else sum(f for _, f in parts)
    return _estimate([second, first], groups, total, freedom)


def power_of_comparison(
    difference, *, num_galaxies, num_seeds, level, shared_spread, own_spread=0.0, seed_spread=0.0, same_networks=False
):
    """Return the probability that a true difference of this size turns out significant.

    The spreads are those of a difference: `paired_difference` of a pilot comparison has them under the same names. For
    accuracy without a pilot, and as if each recipe gave one and the same network every time, the shared spread is
    √(share of galaxies on which just one of the two is right − difference²): McNemar's test.

    Args:
        difference: True size of the difference, above 0.
        num_galaxies: Independent galaxies (sky groups).
        num_seeds: Networks per recipe, at least 2.
        level: One-sided level at which it has to be significant.
        shared_spread: As in `Estimate`.
        own_spread: As in `Estimate`.
        seed_spread: As in `Estimate`.
        same_networks: As in `paired_difference`.

    Returns:
        A probability: that of a normal difference exceeding `Estimate.half_width`, averaged over the chi-squared
        distributions of the seeds' variances; both recipes are taken to spread equally.

    Raises:
        ConfigurationError: A number that cannot be.

    Example:
        >>> power_of_comparison(0.1, num_galaxies=449, num_seeds=8, level=0.005, shared_spread=0.3) > 0.99
        True
    """
    check_integer("num_galaxies", num_galaxies, 1)
    check_integer("num_seeds", num_seeds, 2)
    check_number("difference", difference, "(0, inf)")
    for name, value in (("shared", shared_spread), ("own", own_spread), ("seed", seed_spread)):
        check_number(f"{name}_spread", value, "[0, inf)")
    galaxy_variance = shared_spread**2 / num_galaxies
    seed_variance = (seed_spread**2 + own_spread**2 / num_galaxies) / num_seeds
    freedom, shares = num_seeds - 1, (np.arange(60) + 0.5) / 60
    first = second = chi2.ppf(shares, freedom) / freedom
    if not same_networks:  # Two recipes' variances, each estimated from its own seeds.
        first, second = np.meshgrid(first, first)
        freedom = freedom * (first + second) ** 2 / (first**2 + second**2)
    estimated = seed_variance * (first + second) / 2
    needed = _half_width(level, galaxy_variance, estimated, freedom)
    total = math.sqrt(galaxy_variance + seed_variance)
    return float(norm.cdf((difference - needed) / total).mean()) if total > 0 else 1.0


def galaxies_needed(difference, pilot, *, num_seeds, level, power=0.8, confidence=0.8, same_networks=False):
    """Return how many galaxies make a true difference of this size significant with this probability: a range.

    A pilot of a few seeds knows their spread poorly: three seeds a recipe, to a factor of two. The range takes the ends
    of the interval for that spread; what the pilot says of galaxies is known better and taken as it is.

    Args:
        difference: As in `power_of_comparison`.
        pilot: `Estimate` that `paired_difference` gave.
        num_seeds: Networks per recipe of the planned comparison.
        level: As in `power_of_comparison`.
        power: Wanted probability, between 0 and 1.
        confidence: Of the interval for the spread.
        same_networks: As in `paired_difference`.

    Returns:
        `(low, high)`: numbers of galaxies; infinity where none suffices: the seeds' spread does not fall with it.

    Raises:
        ConfigurationError: A number that cannot be.

    Example:
        >>> pilot = paired_difference(*np.random.default_rng(1).normal(size=(2, 8, 300)))
        >>> low, high = galaxies_needed(0.3, pilot, num_seeds=8, level=0.01)
        >>> low <= high
        True
    """
    check_number("power", power, "(0, 1)")
    tails, freedom = np.array([1 + confidence, 1 - confidence]) / 2, pilot.degrees_of_freedom
    factors = np.sqrt(freedom / chi2.ppf(tails, freedom))
    settings = {"num_seeds": num_seeds, "level": level, "same_networks": same_networks}
    settings["shared_spread"] = pilot.shared_spread

    def enough(factor):
        spreads = {name: factor * getattr(pilot, name) for name in ("own_spread", "seed_spread")}
        power_with = partial(power_of_comparison, difference, **settings, **spreads)
        number = 1 + bisect.bisect_left(range(1, MOST_GALAXIES), power, key=lambda n: power_with(num_galaxies=n))
        return number if number < MOST_GALAXIES else math.inf

    return tuple(enough(factor) for factor in factors)


def _estimate(recipes, groups, seed_variance, freedom):
    """Return the `Estimate` of a recipe's mean, shape (seeds, n), minus that of a second one, if there is one."""
    count, galaxies = recipes[0].shape
    groups = checked_column(groups, galaxies, "groups")
    columns = np.concatenate([x - x.mean(axis=1, keepdims=True) for x in recipes]).T
    summed = columns if groups is None else _sums_by_group(columns, groups)
    if len(summed) < 2:
        raise DataError("A single sky group says nothing of others.", where="groups", expected="at least two groups")
    # Covariance of the networks' means, because of the galaxies. Between two networks only what they share is left.
    covariance = summed.T @ summed * len(summed) / (len(summed) - 1) / galaxies**2
    shared, own, seed = 0.0, 0.0, seed_variance
    for recipe in (slice(0, count), slice(count, None))[: len(recipes)]:
        block = covariance[recipe, recipe]
        between = (block.sum() - np.trace(block)) / (len(block) * (len(block) - 1))
        shared, own = shared + between, own + np.trace(block) / len(block) - between
        seed -= (np.trace(block) / len(block) - between) / len(block)
    if len(recipes) == 2:
        shared -= 2 * covariance[:count, count:].mean()
    shared, own, fewer = max(0.0, shared), max(0.0, own), min(map(len, recipes))
    value = float(recipes[0].mean() - sum(other.mean() for other in recipes[1:]))
    spreads = math.sqrt(shared * galaxies), math.sqrt(own * galaxies), math.sqrt(max(0.0, seed) * fewer)
    return Estimate(value, float(shared), float(seed_variance), float(freedom), *spreads, galaxies, fewer)


def _half_width(level, galaxy_variance, seed_variance, freedom):
    check_number("level", level, "(0, 0.5]")
    return np.sqrt(norm.isf(level) ** 2 * galaxy_variance + t.isf(level, freedom) ** 2 * seed_variance)


def _sums_by_group(columns, groups):
    """Return the columns' sums over each group, shape (groups, columns)."""
    _, member_of = np.unique(groups, return_inverse=True)
    return np.stack([np.bincount(member_of, column) for column in columns.T], axis=1)


def _checked_values(values, name):
    values = np.asarray(values, float)
    if values.ndim != 2 or len(values) < 2 or values.shape[1] < 2:
        expected, found = "shape (seeds, galaxies), at least two of each", f"shape {values.shape}"
        remedy = "train each recipe with two or more seeds: one cannot tell a better recipe from a luckier start"
        raise DataError("These tell no chance of a seed.", where=name, expected=expected, found=found, remedy=remedy)
    if not np.isfinite(values).all():
        seed, galaxy = np.argwhere(~np.isfinite(values))[0]
        where = f"{name}, seed {seed}, galaxy {galaxy}"
        raise DataError("Not every galaxy has a number.", where=where, found=values[seed, galaxy])
    return values


def checked_column(values, length, name):
    """Return one entry per galaxy as an array of shape (length,), or `None` as it is."""
    if values is None:
        return None
    values = np.asarray(values)
    if values.shape != (length,):
        raise DataError(f"{name} must have one entry per galaxy.", expected=f"shape ({length},)", found=values.shape)
    return values
