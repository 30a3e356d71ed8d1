"""Progressive iteration: change little, compare strictly, keep or revert, and write down every try.

Paper 1 describes the method: modify only a few controllable factors in each iteration, compare strictly with the
round before, retain the change when the improvement is clear and the cost acceptable, otherwise revert. A `Ledger` is
that method as a file. Its first line states the rule; every further line is a round, and no line is ever changed.

    import galaxy_utils as gu

    galaxies = gu.prepare(gu.load("simulated", profile="smoke"), image_size=32)
    parts = gu.split(galaxies)
    ledger = gu.Ledger.create("artifacts/ledger.jsonl", galaxies, parts, seeds=(1, 2))

    recipe = gu.recipes.THREE_BLOCK_CNN.replace(epochs=1)
    for name, pooling in (("baseline", "flatten"), ("pooling", "average")):
        proposal = ledger.propose(name, recipe, network="paper 1", pooling=pooling)
        for seed in proposal.seeds:
            model = gu.models.four_block_cnn(32, pooling=pooling, seed=seed)
            run = gu.fit(model, galaxies, parts, recipe, seed=seed)
            proposal.add(gu.measure(model, run, galaxies, parts))
        print(proposal.decide())
    print(ledger)

Rounds are judged on the validation part. The test part is opened once, by `open_test`; after that the ledger takes no
more rounds, because a round chosen after looking at the test galaxies would be chosen by them.
"""

import dataclasses
import hashlib
import json
import math
import re
import textwrap
from dataclasses import dataclass
from datetime import UTC, datetime
from numbers import Integral, Real
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from galaxy_utils.errors import ConfigurationError, DataError
from galaxy_utils.evaluation.classification import galaxy_divergences
from galaxy_utils.evaluation.significance import check_count, mean_over_seeds, paired_difference
from galaxy_utils.files import explain_read_errors, locked
from galaxy_utils.journal import append_entry, read_entries
from galaxy_utils.measurement import COSTS, Measurement, check_same_galaxies, identity_of
from galaxy_utils.recipes import Recipe

LEDGER_FORMAT = 1
WATCHED_GALAXIES = 32
LINE_WIDTH = 88  # characters that a page shows without cutting a line off
START, KEEP, REVERT, REFERENCE = "start", "keep", "revert", "reference"


@dataclass(frozen=True)
class Rule:
    """What decides a round. It is stated when the ledger is created and cannot be changed afterwards.

    The paper orders its objectives: KL divergence first, accuracy second. So:

    1. KL is clearly lower than the best round's: the round is better.
    2. KL is clearly higher: it is not.
    3. Neither: it is better when its accuracy is clearly higher.

    A better round is kept if its cost is within the allowance; any other round is reverted.

    **Clear** means beyond `Estimate.half_width` at a level that keeps the probability of *any* wrong keep in the whole
    ledger below `error_rate`. A keep is wrong when the round's recipe is better in neither objective. Each round can go
    wrong in step 1 or in step 3, so its share of the error rate is divided between the two (`kl_share`), instead of
    being granted to both; and the rounds' shares add up to the error rate, because their number is limited beforehand
    (Bonferroni's inequality, which holds whatever the tries have in common). Sequences of levels that need no limit
    exist, but their thresholds grow with every try, so that the order of ideas would matter. The best round so far is
    a winner and therefore looks a little better than it is, which makes wrong keeps rarer, not more frequent.

    What no level covers: ideas taken from looking at the validation galaxies themselves. Hence the test part, once.

    Attributes:
        max_changes: How many factors a round may change. Two, because some ideas take two settings that make no sense
            apart, such as a second head and the weight of its loss; what is kept is then credited to both together.
        max_rounds: How many rounds may be tried against the best one.
        error_rate: Largest acceptable probability of one or more wrong keeps.
        kl_share: Share of each round's level that goes to KL divergence; the rest goes to accuracy.
        training_allowance: How many times as long as the best round's a training may take; `None` for any.
        parameter_allowance: The same for the network's parameters.
        inference_allowance: The same for the seconds to answer 1,000 galaxies. The defaults grant a step one order of
            magnitude. Seconds are compared only when both rounds ran on the same kind of device.
        label_smoothing: ε of the smoothed labels behind KL divergence, as in `evaluate`.
    """

    max_changes: int = 2
    max_rounds: int = 12
    error_rate: float = 0.05
    kl_share: float = 0.8
    training_allowance: float | None = 10.0
    parameter_allowance: float | None = 10.0
    inference_allowance: float | None = 10.0
    label_smoothing: float = 0.1

    def __post_init__(self):
        for name in ("max_changes", "max_rounds"):
            check_count(name, getattr(self, name), 1)
        limits = {"error_rate": (0, 0.5), "kl_share": (0, 1)}
        limits |= {f"{name}_allowance": (0, math.inf) for name in ("training", "parameter", "inference")}
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if value is None and name.endswith("allowance"):
                continue
            if isinstance(value, bool) or not isinstance(value, Real) or not low < value < high:
                expected = f"above {low}" if high == math.inf else f"between {low} and {high}"
                raise ConfigurationError(
                    f"A rule cannot have this {name}.", where=name, expected=expected, found=repr(value)
                )
        if not isinstance(self.label_smoothing, Real) or not 0 <= self.label_smoothing < 1:
            raise ConfigurationError(
                "This is no label smoothing.", where="label_smoothing", expected="0 to 1", found=self.label_smoothing
            )

    @property
    def kl_level(self):
        """One-sided level of each comparison of KL divergences."""
        return self.error_rate * self.kl_share / self.max_rounds

    @property
    def accuracy_level(self):
        """One-sided level of each comparison of accuracies."""
        return self.error_rate * (1 - self.kl_share) / self.max_rounds

    def judge(self, kl_change, accuracy_change, cost_ratios):
        """Decide whether a round is kept.

        Args:
            kl_change: `Estimate` of the round's KL divergence minus the best round's.
            accuracy_change: `Estimate` of the round's accuracy minus the best round's.
            cost_ratios: `{"training_seconds": …, "parameters": …, "inference_seconds": …}`: the round's cost divided by
                the best round's; one that is missing is not compared.

        Returns:
            `(verdict, reason)`: `"keep"` or `"revert"`, and one sentence.
        """
        kl_needed = kl_change.half_width(self.kl_level)
        accuracy_needed = accuracy_change.half_width(self.accuracy_level)
        kl = f"KL {_rose_or_fell(kl_change.value, '{:.3f} nats')}"
        accuracy = f"accuracy {_rose_or_fell(100 * accuracy_change.value, '{:.1f} points')}"
        if -kl_change.value > kl_needed:
            better = f"{kl}, {kl_needed:.3f} is clear; {accuracy}"
        elif kl_change.value > kl_needed:
            return REVERT, f"{kl}, {kl_needed:.3f} is clear; {accuracy}"
        elif accuracy_change.value > accuracy_needed:
            better = f"{accuracy}, {100 * accuracy_needed:.1f} is clear, while {kl}, which is not"
        else:
            needed = f"{kl_needed:.3f} nats or {100 * accuracy_needed:.1f} points"
            return REVERT, f"no clear improvement: {kl}, {accuracy}; {needed} would be clear"
        allowances = (self.training_allowance, self.parameter_allowance, self.inference_allowance)
        for cost, allowed in zip(COSTS, allowances, strict=True):
            if allowed is not None and cost_ratios.get(cost, 0.0) > allowed:
                too_dear = f"{cost.replace('_', ' ')} × {cost_ratios[cost]:.1f}, allowed × {allowed:g}"
                return REVERT, f"better ({better}), but too dear: {too_dear}"
        uncompared = [cost.replace("_", " ") for cost in COSTS if cost not in cost_ratios]
        note = f"; not compared: {' and '.join(uncompared)}, measured on another device" if uncompared else ""
        return KEEP, f"{better}; cost within the allowance{note}"

    def __str__(self):
        allowances = (self.training_allowance, self.parameter_allowance, self.inference_allowance)
        costs = [
            f"{cost.replace('_', ' ')} × {allowed:g}"
            for cost, allowed in zip(COSTS, allowances, strict=True)
            if allowed is not None
        ]
        return (
            f"a round changes at most {self.max_changes} factor{'s' if self.max_changes > 1 else ''}; kept when KL is "
            f"clearly lower (level {self.kl_level:.2g}), or not clearly higher and accuracy clearly higher (level "
            f"{self.accuracy_level:.2g}), at a cost of at most {', '.join(costs) or 'anything'}; with "
            f"at most {self.max_rounds} tries, a wrong keep anywhere has probability {self.error_rate:g} or less"
        )


@dataclass(frozen=True)
class Round:
    """One entry of the ledger.

    Attributes:
        number: Place in the ledger, from 0.
        name: Name, unique in the ledger.
        verdict: `"start"`, `"keep"`, `"revert"`, or `"reference"`: measured for comparison, never a candidate.
        reason: The verdict in words.
        against: Name of the best round when this one was proposed; `None` for the start.
        changes: `{factor: [old, new]}` against that round.
        kl: `[mean, low, high]`: KL divergence over galaxies and seeds, with its 95 % interval.
        accuracy: Likewise.
        kl_change: `[difference, low, high, needed]` to that round, with its 95 % interval and how much the rule calls
            clear; `None` for the start.
        accuracy_change: Likewise.
        cost: `{"training_seconds", "parameters", "inference_seconds"}`, means over the seeds.
        factors: Everything that describes the round beside the recipe.
        recipe_fields: The recipe's fields.
        same_networks: Whether it was answered by that round's own networks.
        evidence: One dictionary per seed: `seed`, `file` beside the ledger and its `sha256`.
        devices: What computed.
        versions: Versions of the software.
        recorded: When, in UTC.
    """

    number: int
    name: str
    verdict: str
    reason: str
    against: str | None
    changes: dict
    kl: list
    accuracy: list
    kl_change: list | None
    accuracy_change: list | None
    cost: dict
    factors: dict
    recipe_fields: dict
    same_networks: bool
    evidence: list
    devices: list
    versions: dict
    recorded: str

    @property
    def recipe(self):
        """The `Recipe`."""
        return Recipe(**self.recipe_fields)

    @property
    def changed(self):
        """The changed factors in words, such as `"pooling: flatten → average"`."""
        return ", ".join(f"{factor}: {old} → {new}" for factor, (old, new) in self.changes.items())

    def __str__(self):
        changed = f" ({self.changed})" if self.changes else ""
        lines = textwrap.wrap(self.reason, LINE_WIDTH, initial_indent="  ", subsequent_indent="  ")
        return "\n".join([f"{self.name}{changed}: {self.verdict}", *lines])


class Proposal:
    """A round that has not been decided yet: made by `Ledger.propose`, fed by `add`, ended by `decide`."""

    def __init__(self, ledger, name, recipe, factors, against, changes, *, reference, same_networks, recorded):
        self.name, self.recipe, self.factors, self.changes = name, recipe, factors, changes
        self.against, self.reference, self.same_networks = against, reference, same_networks
        self._ledger, self._recorded, self._measurements = ledger, recorded, {}

    @property
    def seeds(self):
        """Seeds that are still to be measured; none when the ledger holds this round already."""
        return () if self._recorded else tuple(s for s in self._ledger.seeds if s not in self._measurements)

    def add(self, measurement):
        """Add the measurement of one seed.

        Args:
            measurement: A `Measurement` on the validation part.

        Raises:
            ConfigurationError: Other galaxies, another seed or another recipe than the ledger or this round has.
        """
        if not isinstance(measurement, Measurement):
            raise ConfigurationError("This is no measurement.", where="add", found=type(measurement).__name__)
        check_same_galaxies(self._ledger.identity, measurement.identity)
        if measurement.seed not in self.seeds:
            raise ConfigurationError(
                f"Seed {measurement.seed} is not one of those that round {self.name!r} still needs.",
                expected=", ".join(map(str, self.seeds)) or "none",
                found=measurement.seed,
                remedy="train one network for each of proposal.seeds",
            )
        if measurement.recipe is not None:
            trained = Recipe(**measurement.recipe)
            if different := self.recipe.diff(trained):
                raise ConfigurationError(
                    f"Round {self.name!r} was proposed with another recipe than this network was trained with.",
                    found="; ".join(f"{field}: proposed {a}, trained {b}" for field, (a, b) in different.items()),
                    remedy="propose the recipe that you train with",
                )
        self._measurements[measurement.seed] = measurement

    def decide(self):
        """Judge the round by the ledger's rule and write it down.

        Returns:
            The `Round`; the recorded one when the ledger held it already.

        Raises:
            ConfigurationError: Seeds are missing, or the ledger has changed so that the round cannot be judged.
        """
        if self._recorded:
            return self._recorded
        return self._ledger._decide(self, self._measurements)

    def __str__(self):
        changes = [f"  {factor}: {old} → {new}" for factor, (old, new) in self.changes.items()]
        return "\n".join([f"{self.name}, proposed against {self.against or 'nothing'}:", *changes])


class Ledger:
    """All rounds of one progressive iteration, in a file that only ever grows.

    The file is a journal (`galaxy_utils.journal`): one JSON object a line, append-only; a line changed later is noticed
    when the ledger is opened, and one that a killed process did not finish is cut off. Several processes may write; a
    lock lets them take turns. The networks' answers lie beside the file, in a folder called after it, each under a name
    made of its content.

    Args:
        path: Path of a ledger that exists; `Ledger.create` makes one.

    Raises:
        DataError: There is none, or it was changed after it was written.
    """

    def __init__(self, path):
        self.path = Path(path)
        self._entries = []
        self._refresh()

    @classmethod
    def create(cls, path, dataset, split, *, seeds=(1, 2, 3), rule=None):
        """Create a ledger; if it exists and was created with the same arguments, continue it.

        Args:
            path: Path of the file, by custom `….jsonl`.
            dataset: The `GalaxyDataset`; rounds may use other crops and sizes of the same data.
            split: Its `Split`: rounds are judged on `validation`, `test` is opened once.
            seeds: Two or more; every round is trained with each. With two, only differences of six to thirteen
                standard errors can be clear, with three of four to six, with five of about three and a half.
            rule: A `Rule`; `None` for the default.

        Raises:
            ConfigurationError: Seeds that cannot be, or a ledger that was created with other arguments.
        """
        path, rule = Path(path), rule or Rule()
        seeds = tuple(seeds)
        valid = all(isinstance(seed, Integral) and not isinstance(seed, bool) and seed >= 0 for seed in seeds)
        if not valid or len(seeds) < 2 or len(set(seeds)) < len(seeds):
            raise ConfigurationError(
                "A ledger needs several seeds: one cannot tell a better recipe from a luckier start.",
                where="seeds",
                expected="two or more different integers, at least 0",
                found=seeds,
            )
        wanted = {
            "rule": dataclasses.asdict(rule),
            "seeds": [int(seed) for seed in seeds],
            "validation": identity_of(dataset, split, "validation"),
            "test": identity_of(dataset, split, "test"),
        }
        with locked(path):
            if not read_entries(path, holds_lock=True):
                data = {
                    "data": dataset.name,
                    "provenance": dataset.provenance,
                    "is_simulated": bool(dataset.is_simulated),
                    "galaxies": {part: len(getattr(split, part)) for part in ("train", "validation", "test")},
                }
                header = {"kind": "ledger", "format": LEDGER_FORMAT, "stated": str(rule), **data, **wanted}
                append_entry(path, {**header, "created": _now()})
        ledger = cls(path)
        found = {name: ledger._entries[0][name] for name in wanted}
        if different := [name for name in wanted if found[name] != wanted[name]]:
            raise ConfigurationError(
                f"This ledger was created with another {', '.join(different)}.",
                where=path,
                expected="; ".join(f"{name} {wanted[name]}" for name in different),
                found="; ".join(f"{name} {found[name]}" for name in different),
                remedy="continue it with what it was created with, or choose another file",
            )
        return ledger

    # What it holds

    @property
    def rule(self):
        """The `Rule`, as stated in the first line."""
        return Rule(**self._entries[0]["rule"])

    @property
    def seeds(self):
        """The seeds that every round is trained with."""
        return tuple(self._entries[0]["seeds"])

    @property
    def identity(self):
        """What a measurement must agree with to be added: split hash, data fingerprint, part, galaxies."""
        return self._entries[0]["validation"]

    @property
    def provenance(self):
        """Where the data come from."""
        return self._entries[0]["provenance"]

    @property
    def last_hash(self):
        """Hash of the last line and thereby of everything before it: quote it where the result is published."""
        return self._entries[-1]["hash"]

    @property
    def rounds(self):
        """All rounds, in order, as a tuple of `Round`."""
        return tuple(_round(entry) for entry in self._entries if entry["kind"] == "round")

    @property
    def best(self):
        """The last round that was kept, or the start; `None` while there is none."""
        return _best(self.rounds)

    @property
    def test(self):
        """What `open_test` recorded, as a dictionary; `None` while the test part is unopened."""
        tests = [entry for entry in self._entries if entry["kind"] == "test"]
        return tests[0] if tests else None

    def __getitem__(self, name):
        for one in self.rounds:
            if one.name == name:
                return one
        raise ConfigurationError(
            f"The ledger has no round {name!r}.",
            where=self.path,
            expected=", ".join(one.name for one in self.rounds) or "no round yet",
        )

    def measurements(self, name, part="validation"):
        """Return a round's `Measurement`s, one per seed, read from the files beside the ledger.

        Raises:
            ConfigurationError: No such round, or no test answers of it.
            DataError: A file is missing or is not the one that the ledger recorded.
        """
        evidence = self[name].evidence
        if part == "test":
            evidence = (self.test or {"scores": {}})["scores"].get(name, {}).get("evidence")
            if evidence is None:
                raise ConfigurationError(f"The test answers of round {name!r} were not opened.", where=self.path)
        return [self._load(piece) for piece in evidence]

    # What changes it

    def propose(self, name, recipe=None, *, reference=False, same_networks=False, **factors):
        """Propose a round against the best one so far, before anything is trained.

        Args:
            name: Name of the round, unique in the ledger.
            recipe: A `Recipe`; `None` for the best round's.
            reference: Whether the round is only measured for comparison, such as a model built as a paper says. It may
                change any number of factors, uses up no try and cannot become the best.
            same_networks: Whether the best round's own networks answer again, as when views are averaged. The
                comparison is then also paired by network. Declared for new networks, it only makes differences harder
                to see.
            factors: What describes the round beside its recipe: network, augmentation, crop, views, … Those not given
                are the best round's; the first round states all that matter.

        Returns:
            A `Proposal`; one without seeds to measure if the ledger holds the very same round already.

        Raises:
            ConfigurationError: The round changes more factors than allowed, or none; it was tried before; no try is
                left; or the test part has been opened.
        """
        self._refresh()
        best, recorded = self.best, None
        if not isinstance(name, str) or not name.strip() or "\n" in name or len(name) > 60:
            raise ConfigurationError(
                "This is no name of a round.", where="name", expected="one line, 1 to 60 characters", found=repr(name)
            )
        for one in self.rounds:
            if one.name == name:
                recorded, best = one, self[one.against] if one.against else None
        if recipe is None and best is not None:
            recipe = best.recipe
        if not isinstance(recipe, Recipe):
            raise ConfigurationError(
                "A round follows a recipe.", where=f"round {name!r}", expected="a Recipe", found=repr(recipe)
            )
        if clashes := [factor for factor in factors if factor in recipe.to_dict()]:
            raise ConfigurationError(
                f"{', '.join(clashes)}: what the recipe says is not said again as a factor.",
                where=f"round {name!r}",
                remedy="change it with recipe.replace",
            )
        factors = {**(best.factors if best else {}), **{f: _plain(f, value) for f, value in factors.items()}}
        changes = _changes(best, recipe, factors) if best else {}
        settings = {"reference": reference, "same_networks": same_networks, "recorded": recorded}
        if recorded:
            otherwise = ((recorded.verdict == REFERENCE), recorded.same_networks) != (reference, same_networks)
            if otherwise or recorded.recipe.diff(recipe) or recorded.factors != factors:
                now = ", ".join(f"{factor}: {old} → {new}" for factor, (old, new) in changes.items())
                raise ConfigurationError(
                    f"The ledger holds another round called {name!r}.",
                    where=self.path,
                    expected=f"{recorded.verdict}: {recorded.changed or 'no changes'}",
                    found=f"{'reference' if reference else 'step'}: {now or 'no changes'}",
                    remedy="give the new round a name of its own",
                )
            return Proposal(self, name, recipe, factors, recorded.against, changes, **settings)
        self._check_open()
        if best is None and reference:
            raise ConfigurationError("The first round is the start, not a reference.", where=f"round {name!r}")
        if best is not None and not reference:
            self._check_changes(name, recipe, factors, changes)
        return Proposal(self, name, recipe, factors, best.name if best else None, changes, **settings)

    def open_test(self, measurements):
        """Score the best round on the test part, once and for all.

        Other rounds may be opened in the same moment, to stand beside it; nothing is chosen any more. Afterwards the
        ledger refuses new rounds and a second opening.

        Args:
            measurements: `{name: list of Measurement}` on the test part, one per seed; the best round among them.

        Returns:
            The recorded entry, as `test` gives it: `best`, `opened` (UTC) and, under `scores`, each round's `kl` and
            `accuracy` as `[mean, low, high]`.

        Raises:
            ConfigurationError: The test part was opened before, the best round is missing, or measurements that do not
                belong here.
        """
        with locked(self.path):
            self._refresh(holds_lock=True)
            self._check_open()
            if self.best is None or self.best.name not in measurements:
                raise ConfigurationError(
                    "The test part is opened for the best round.",
                    where="measurements",
                    expected=repr(self.best.name) if self.best else "a ledger with at least one round",
                    found=", ".join(map(repr, measurements)) or "none",
                )
            scores = {}
            for name, several in measurements.items():
                several = self._complete(self[name].name, several, self._entries[0]["test"])
                scores[name] = {**_scores(several, self.rule), "evidence": [self._store(name, m) for m in several]}
            self._append({"kind": "test", "best": self.best.name, "opened": _now(), "scores": scores})
        return self.test

    def replay(self):
        """Judge every round again from the stored answers.

        Returns:
            The rounds, judged again, as a tuple of `Round`.

        Raises:
            DataError: Answers are missing or changed, or a round comes out differently.
        """
        self._refresh()
        replayed = []
        for recorded in self.rounds:
            again = self._judged(
                tuple(replayed),
                recorded.name,
                recorded.recipe,
                recorded.factors,
                self.measurements(recorded.name),
                reference=recorded.verdict == REFERENCE,
                same_networks=recorded.same_networks,
            )
            kept = {name: getattr(recorded, name) for name in ("evidence", "recorded")}
            again = Round(**again, **kept)
            # The reason only puts the numbers into words.
            wanted = {**dataclasses.asdict(recorded), "reason": again.reason}
            _check_equal(wanted, dataclasses.asdict(again), f"{self.path}, {recorded.name!r}")
            replayed.append(again)
        for name, scores in (self.test or {"scores": {}})["scores"].items():
            again = _scores(self.measurements(name, "test"), self.rule)
            _check_equal({score: scores[score] for score in again}, again, f"{self.path}, test of {name!r}")
        return tuple(replayed)

    # How it is shown

    def table(self):
        """Return one dictionary per round.

        Keys: `number`, `round`, `changed` (words), `against`, `verdict`, `reason`, `kl`, `kl_low`, `kl_high`,
        `accuracy`, `accuracy_low`, `accuracy_high` (95 % intervals), `kl_change`, `accuracy_change` (`None` for the
        start), `training_seconds`, `parameters`, `inference_seconds`.
        """
        rows = []
        for one in self.rounds:
            row = {"number": one.number, "round": one.name, "changed": one.changed, "against": one.against}
            row |= {"verdict": one.verdict, "reason": one.reason}
            for score in ("kl", "accuracy"):
                row |= dict(zip((score, f"{score}_low", f"{score}_high"), getattr(one, score), strict=True))
                change = getattr(one, f"{score}_change")
                row[f"{score}_change"] = None if change is None else change[0]
            rows.append(row | one.cost)
        return rows

    def __len__(self):
        return len(self.rounds)

    def __str__(self):
        header = self._entries[0]
        width = min(23, max([len(one.name) for one in self.rounds] + [5]))
        lines = [
            f"Ledger of {len(self)} round{'' if len(self) == 1 else 's'}: {header['provenance']}",
            f"Judged on {header['galaxies']['validation']:,} validation galaxies, seeds "
            f"{', '.join(map(str, self.seeds))}",
            f"Rule: {header['stated']}",
            f" #  {'round':<{width}}  verdict       KL  accuracy  training  inference  parameters",
        ]
        lines[2:3] = textwrap.wrap(lines[2], LINE_WIDTH, subsequent_indent="      ")
        for one in self.rounds:
            name = one.name if len(one.name) <= width else one.name[: width - 1] + "…"
            lines.append(
                f"{one.number:2}  {name:<{width}}  {one.verdict:<9} {one.kl[0]:6.3f}  {one.accuracy[0]:8.3f}"
                f"  {one.cost['training_seconds']:6.1f} s  {one.cost['inference_seconds']:7.2f} s"
                f"  {one.cost['parameters']:10,.0f}"
            )
            indent = {"initial_indent": " " * 4, "subsequent_indent": " " * 6}
            for text in (one.changed, one.reason):
                lines += textwrap.wrap(text, LINE_WIDTH, **indent)
        closing = f"Best: {self.best.name if self.best else 'no round yet'}. {self._test_in_words()}"
        lines += textwrap.wrap(closing, LINE_WIDTH, subsequent_indent="      ", break_on_hyphens=False)
        return "\n".join(lines)

    def _test_in_words(self):
        if self.test is None:
            return "The test part is unopened."
        scores = self.test["scores"][self.test["best"]]
        return (
            f"Test part opened {self.test['opened']} for {self.test['best']}: KL {scores['kl'][0]:.3f}, accuracy "
            f"{scores['accuracy'][0]:.3f} ({scores['accuracy'][1]:.3f} to {scores['accuracy'][2]:.3f})."
        )

    # The steps behind a decision

    def _decide(self, proposal, measurements):
        with locked(self.path):
            self._refresh(holds_lock=True)
            self._check_open()
            best = self.best
            if any(one.name == proposal.name for one in self.rounds):
                raise ConfigurationError(
                    f"Another process has recorded a round {proposal.name!r} in the meantime.", where=self.path
                )
            if (best.name if best else None) != proposal.against:
                raise ConfigurationError(
                    f"The best round has changed since {proposal.name!r} was proposed.",
                    where=self.path,
                    expected=proposal.against or "no round yet",
                    found=best.name,
                    remedy="propose it again",
                )
            if best is not None and not proposal.reference:
                self._check_changes(proposal.name, proposal.recipe, proposal.factors, proposal.changes)
            several = self._complete(proposal.name, measurements.values(), self.identity)
            judged = self._judged(
                self.rounds,
                proposal.name,
                proposal.recipe,
                proposal.factors,
                several,
                reference=proposal.reference,
                same_networks=proposal.same_networks,
            )
            # Answers first: a round that stands in the file has its evidence, whenever the process is killed.
            evidence = [self._store(proposal.name, measurement) for measurement in several]
            self._append({"kind": "round", **judged, "evidence": evidence, "recorded": _now()})
        return self[proposal.name]

    def _judged(self, rounds, name, recipe, factors, measurements, *, reference, same_networks):
        """Return a round's entry, but for its evidence and the time, from the rounds before it and its answers."""
        best = _best(rounds)
        verdict, reason, changes = START, "where the path begins", {}
        differences = {"kl_change": None, "accuracy_change": None}
        cost = {c: float(np.mean([getattr(m, c) for m in measurements])) for c in COSTS}
        devices = sorted({json.dumps(m.device, sort_keys=True) for m in measurements})
        devices = [json.loads(device) for device in devices]
        if best is not None:
            kl, accuracy = compare(
                self.measurements(best.name),
                measurements,
                label_smoothing=self.rule.label_smoothing,
                same_networks=same_networks,
            )
            # Seconds on another device say nothing; parameters are the same everywhere.
            comparable = COSTS if devices == best.devices else ("parameters",)
            ratios = {c: cost[c] / best.cost[c] for c in comparable if best.cost[c] > 0}
            verdict, reason = self.rule.judge(kl, accuracy, ratios)
            if reference:
                verdict, reason = REFERENCE, "measured for comparison, decides nothing"
            changes = {factor: list(pair) for factor, pair in _changes(best, recipe, factors).items()}
            differences = {
                "kl_change": [kl.value, *kl.interval(), kl.half_width(self.rule.kl_level)],
                "accuracy_change": [
                    accuracy.value,
                    *accuracy.interval(),
                    accuracy.half_width(self.rule.accuracy_level),
                ],
            }
        return {
            "number": len(rounds),
            "name": name,
            "verdict": verdict,
            "reason": reason,
            "against": best.name if best else None,
            "changes": changes,
            **_scores(measurements, self.rule),
            **differences,
            "cost": cost,
            "factors": factors,
            "recipe_fields": recipe.to_dict(),
            "same_networks": bool(same_networks),
            "devices": devices,
            "versions": measurements[0].versions,
        }

    def _check_open(self):
        if self.test is not None:
            raise ConfigurationError(
                "The test part has been opened; the ledger is closed.",
                where=self.path,
                found=f"opened {self.test['opened']} for round {self.test['best']!r}",
                remedy="for further rounds start another ledger with another split, whose test part nobody has seen",
            )

    def _check_changes(self, name, recipe, factors, changes):
        rule = self.rule
        if not changes:
            raise ConfigurationError(
                f"Round {name!r} changes nothing against {self.best.name!r}.",
                where=self.path,
                remedy="name the factor that it changes; the same thing tried again would only be luck",
            )
        if len(changes) > rule.max_changes:
            raise ConfigurationError(
                f"Round {name!r} changes {len(changes)} factors against {self.best.name!r}.",
                where=self.path,
                expected=f"at most {rule.max_changes}, so that it stays clear what made the difference",
                found="; ".join(f"{factor}: {old} → {new}" for factor, (old, new) in changes.items()),
                remedy="take single steps, or record it with reference=True if it is not meant as a step",
            )
        for one in self.rounds:
            # A reference counts too: who measures many and then proposes the luckiest has tried many.
            if one.factors == factors and not one.recipe.diff(recipe):
                raise ConfigurationError(
                    f"Round {name!r} was tried before, as {one.name!r}: {one.verdict}.", where=self.path
                )
        tried = sum(one.verdict in (KEEP, REVERT) for one in self.rounds)
        if tried >= rule.max_rounds:
            raise ConfigurationError(
                f"All {rule.max_rounds} tries have been used up.",
                where=self.path,
                found=f"{tried} rounds kept or reverted",
                remedy="each further try would make a lucky keep likelier than the rule states",
            )

    def _complete(self, name, measurements, identity):
        """Return the measurements in the order of the seeds, if there is exactly one of each on these galaxies."""
        measurements = sorted(measurements, key=lambda m: self.seeds.index(m.seed) if m.seed in self.seeds else -1)
        for measurement in measurements:
            check_same_galaxies(identity, measurement.identity)
        if [m.seed for m in measurements] != list(self.seeds):
            raise ConfigurationError(
                f"Round {name!r} is not measured with the ledger's seeds.",
                where=self.path,
                expected=", ".join(map(str, self.seeds)),
                found=", ".join(str(m.seed) for m in measurements) or "none",
            )
        return measurements

    # The file

    def _store(self, name, measurement):
        """Write a measurement beside the ledger, under a name made of its content; return the entry's piece for it."""
        digest = hashlib.sha256(measurement.to_bytes()).hexdigest()
        words = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")
        folder = self.path.with_name(f"{self.path.stem}_answers")
        path = folder / f"{words}_{measurement.part}_seed_{measurement.seed}_{digest[:12]}.npz"
        measurement.save(path)
        return {"seed": measurement.seed, "file": f"{folder.name}/{path.name}", "sha256": digest}

    def _load(self, piece):
        path = self.path.parent / piece["file"]
        if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() != piece["sha256"]:
            raise DataError("These answers are not those that the ledger recorded.", where=path)
        return Measurement.load(path)

    def _append(self, entry):
        append_entry(self.path, entry)
        self._refresh(holds_lock=True)

    def _refresh(self, holds_lock=False):
        """Read the file again: other processes may have added to it."""
        entries = read_entries(self.path, holds_lock=holds_lock)
        if not entries:
            raise DataError("There is no ledger.", where=self.path, remedy="Ledger.create makes one")
        if entries[0].get("kind") != "ledger" or entries[0].get("format") != LEDGER_FORMAT:
            raise DataError(
                "The ledger has another format.",
                where=self.path,
                expected=LEDGER_FORMAT,
                found=entries[0].get("format"),
            )
        if [e["hash"] for e in self._entries] != [e["hash"] for e in entries[: len(self._entries)]]:
            raise DataError("The ledger's file was replaced since it was opened.", where=self.path)
        known, self._entries = self._entries, entries
        try:
            with explain_read_errors("The ledger holds what no ledger writes.", self.path):
                _check_entries(entries)
                # Everything is shown once, to nobody: what cannot be shown is noticed here and not in a chapter.
                str(self), self.table()
        except (ConfigurationError, DataError):
            self._entries = known
            raise


def compare(first, second, *, label_smoothing=0.1, same_networks=False):
    """Compare two lists of measurements, one per seed each, galaxy by galaxy.

    Args:
        first: `Measurement`s of one recipe.
        second: `Measurement`s of another, on the same galaxies and with the same seeds.
        label_smoothing: As in `Rule`.
        same_networks: As in `paired_difference`.

    Returns:
        `(kl_change, accuracy_change)`: `Estimate`s of the second's score minus the first's.

    Raises:
        ConfigurationError: They differ in split hash, data fingerprint, part or seeds.
        DataError: A single seed.
    """
    first, second = list(first), list(second)
    wanted = first[0].identity | {"seeds": [m.seed for m in first]}
    for several in (first, second):
        for one in several:
            check_same_galaxies(wanted, one.identity | {"seeds": [m.seed for m in several]})
    groups = first[0].groups
    (kl_1, right_1), (kl_2, right_2) = (_numbers(several, label_smoothing) for several in (first, second))
    return (
        paired_difference(kl_1, kl_2, groups, same_networks=same_networks),
        paired_difference(right_1, right_2, groups, same_networks=same_networks),
    )


def gains_by_class(first, second, class_names, *, at_least=5):
    """Compare two lists of measurements class by class: by how much accuracy rose among the galaxies of each class.

    Args:
        first: As in `compare`.
        second: As in `compare`.
        class_names: Names of the classes, in the order of the labels.
        at_least: Classes with fewer sky groups of galaxies are left out: their intervals would say nothing.

    Returns:
        `{class name: Estimate}`: the second's accuracy minus the first's.

    Raises:
        ConfigurationError: As in `compare`.
        DataError: A single seed.
    """
    compare(first, second)
    labels, groups = first[0].labels, first[0].groups
    right = [
        np.stack([(m.probabilities.argmax(axis=1) == labels).astype(float) for m in each]) for each in (first, second)
    ]
    gains = {}
    for label, name in enumerate(class_names):
        chosen = labels == label
        if len(np.unique(groups[chosen])) >= at_least:
            gains[name] = paired_difference(*(each[:, chosen] for each in right), groups[chosen])
    return gains


def train_network(model, dataset, split, recipe, *, seed=1):
    """Train a network in the way that it asks for: `fit`, with two targets, or on stored features.

    A network that also reconstructs is trained towards images and labels. One with a frozen part is trained on what
    that part makes of the galaxies, computed once; the seconds of that computation count as training. Where the recipe
    makes no use of the validation part, only a few galaxies of it are watched: a round answers all of them afterwards.

    Args:
        model: A network of `galaxy_utils.models`.
        dataset: As in `fit`.
        split: As in `fit`.
        recipe: As in `fit`.
        seed: As in `fit`.

    Returns:
        A `TrainingRun`.

    Raises:
        ConfigurationError: As in `fit`.
        DataError: As in `fit`.
        FloatingPointError: As in `fit`.
    """
    from galaxy_utils.models.stored_features import cache_frozen_features, fit_on_frozen_features
    from galaxy_utils.models.transfer import FROZEN_PART
    from galaxy_utils.training import fit

    if not (recipe.early_stopping_patience or recipe.reduce_learning_rate_patience or recipe.restore_best_weights):
        split = SimpleNamespace(train=split.train, validation=split.validation[:WATCHED_GALAXIES])
    if any(layer.name == FROZEN_PART for layer in model.layers):
        # Random weights may lead to numbers that 16 bits cannot hold.
        options = {"dtype": "float32", "progress": False}
        features = cache_frozen_features(model, dataset, **options)
        run = fit_on_frozen_features(model, dataset, split, recipe, seed=seed, **options)
        return dataclasses.replace(run, seconds=run.seconds + features.computing_seconds)
    targets = "images and labels" if isinstance(model.output, dict) else "labels"
    return fit(model, dataset, split, recipe, seed=seed, targets=targets, progress=False)


def _numbers(measurements, label_smoothing):
    """Return KL divergences and hits, each of shape (seeds, n)."""
    kl = [galaxy_divergences(m.probabilities, m.labels, label_smoothing=label_smoothing) for m in measurements]
    right = [(m.probabilities.argmax(axis=1) == m.labels).astype(float) for m in measurements]
    return np.stack(kl), np.stack(right)


def _scores(measurements, rule):
    numbers = zip(("kl", "accuracy"), _numbers(measurements, rule.label_smoothing), strict=True)
    scores = {}
    for (score, values), highest in zip(numbers, (math.inf, 1.0), strict=True):
        mean = mean_over_seeds(values, measurements[0].groups)
        # With two seeds an interval can be wider than the scale.
        scores[score] = [mean.value, *(float(end) for end in np.clip(mean.interval(), 0.0, highest))]
    return scores


def _check_entries(entries):
    """Build everything that entries stand for once, so that what cannot be built is noticed when the file is read."""
    header, *others = entries
    Rule(**header["rule"])
    for part in ("validation", "test"):
        dict(header[part])
    if not all(isinstance(seed, int) for seed in header["seeds"]) or not isinstance(header["provenance"], str):
        raise TypeError("seeds or provenance")
    for entry in others:
        if entry["kind"] == "test":
            pieces = [piece for scores in entry["scores"].values() for piece in scores["evidence"]]
            [*map(float, entry["scores"][entry["best"]]["kl"])]
        elif entry["kind"] == "round":
            one = _round(entry)
            pieces = one.evidence
            if one.verdict not in (START, KEEP, REVERT, REFERENCE) or len(one.recipe.name) < 1:
                raise ValueError(one.verdict)
            [*map(float, (*one.kl, *one.accuracy, *(one.cost[cost] for cost in COSTS)))]
            [(old, new) for old, new in one.changes.values()]
        else:
            raise ValueError(f"an entry of the kind {entry['kind']!r}")
        for piece in pieces:
            # Answers lie beside the ledger, nowhere else.
            if Path(piece["file"]).is_absolute() or ".." in Path(piece["file"]).parts:
                raise ValueError(f"answers in {piece['file']}")


def _best(rounds):
    kept = [one for one in rounds if one.verdict in (START, KEEP)]
    return kept[-1] if kept else None


def _round(entry):
    return Round(**{field.name: entry[field.name] for field in dataclasses.fields(Round)})


def _changes(best, recipe, factors):
    """Return `{factor: (old, new)}`: the recipe's fields and all other factors that differ from the best round's."""
    others = {
        factor: (best.factors.get(factor), factors.get(factor))
        for factor in [*best.factors, *(f for f in factors if f not in best.factors)]
    }
    return best.recipe.diff(recipe) | {factor: pair for factor, pair in others.items() if pair[0] != pair[1]}


def _plain(factor, value):
    """Return a factor's value as JSON gives it back, so that comparing it with a recorded one is exact."""
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, (list, tuple)):
        return [_plain(factor, member) for member in value]
    finite = not isinstance(value, float) or math.isfinite(value)
    if value is not None and not (isinstance(value, (str, bool, int, float)) and finite):
        raise ConfigurationError(
            "A factor is described by a text, a number, True, False, None, or a list of these.",
            where=factor,
            found=repr(value),
        )
    return value


def _rose_or_fell(change, form):
    if abs(change) < 1e-9:  # Rounding apart.
        return "did not change"
    return f"{'rose' if change > 0 else 'fell'} by {form.format(abs(change))}"


def _check_equal(recorded, again, where):
    """Compare nested values; numbers may differ by rounding, because sums run in another order on other processors."""
    if isinstance(recorded, dict):
        for key in recorded:
            _check_equal(recorded[key], again[key], f"{where}, {key}")
        return
    if isinstance(recorded, list) and isinstance(again, list) and len(recorded) == len(again):
        for one, other in zip(recorded, again, strict=True):
            _check_equal(one, other, where)
        return
    both_numbers = isinstance(recorded, Real) and isinstance(again, Real)
    same = math.isclose(recorded, again, rel_tol=1e-6, abs_tol=1e-9) if both_numbers else recorded == again
    if not same:
        raise DataError("Replayed, the ledger says something else.", where=where, expected=recorded, found=again)


def _now():
    return datetime.now(UTC).isoformat(timespec="seconds")
