"""Progressive iteration: change little, compare strictly, keep or revert, and write down every trial.

Paper 1 describes the method: modify only a few controllable factors in each iteration, compare strictly with the
round before, retain the change when the improvement is clear and the cost acceptable, otherwise revert. A `Ledger` is
that method as a file of JSON lines. The first states the rule; each further one is a round.

    import galaxy_utils as gu

    galaxies = gu.prepare(gu.load("simulated", profile="smoke"), image_size=32)
    parts = gu.split(galaxies)
    ledger = gu.Ledger.create("artifacts/ledger.jsonl", galaxies, parts, seeds=(1, 2))

    def train(trial, seed):
        model = gu.models.four_block_cnn(32, pooling=trial.factors["pooling"], seed=seed)
        run = gu.fit(model, galaxies, parts, trial.recipe, seed=seed)
        return gu.measure(model, run, galaxies, parts)

    recipe = gu.recipes.THREE_BLOCK_CNN.replace(epochs=1)
    print(ledger.play("baseline", train, recipe, pooling="flatten"))
    print(ledger.play("pooling", train, pooling="average"))

Rounds are judged on the validation part. The test part is evaluated once, by `evaluate_test`; afterwards the ledger
takes no more rounds, because a round chosen after looking at the test galaxies would be chosen by them.
"""

import dataclasses
import hashlib
import json
import math
import re
import textwrap
import warnings
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from galaxy_utils.errors import ConfigurationError, DataError, check_integer, check_number
from galaxy_utils.evaluation.significance import mean_over_seeds
from galaxy_utils.files import explain_read_errors, locked, write_atomically, write_json
from galaxy_utils.prediction import COSTS, Prediction, check_same, compare, identity_of, scores_of
from galaxy_utils.recipes import DESCRIPTIVE_FIELDS, Recipe

FORMAT = 2
START, KEEP, REVERT, REFERENCE = "start", "keep", "revert", "reference"


@dataclass(frozen=True)
class Rule:
    """What decides a round. It is stated when the ledger is created and cannot be changed afterwards.

    1. A round is trained with `screening` seeds. Where neither score is better than the best round's by one standard
       error, it is reverted. Otherwise it is trained with the ledger's other seeds, and judged with all of them.
    2. It is better when its KL divergence is significantly lower; or not significantly higher, and its accuracy
       significantly higher. A better round is kept if its cost is within the budget.

    The levels add up to `error_rate` over both scores and all rounds (Bonferroni), so that the probability of one or
    more wrong keeps stays below it. Stopping early only reverts, and so cannot raise it. Ideas taken from looking
    at the validation galaxies are not covered: hence the test part, once. `book/measured/ledger_simulation.py` compares
    this design with others.

    Attributes:
        max_changes: How many factors a round may change.
        max_rounds: How many rounds may be tried against the best one.
        error_rate: Largest acceptable probability of one or more wrong keeps.
        kl_share: Share of each round's level that goes to KL divergence; the rest goes to accuracy.
        screening: Seeds of the first stage.
        training_allowance: How many times the best round's training seconds are within the budget; `None` for any.
        parameter_allowance: The same for parameters.
        inference_allowance: The same for inference. Seconds are compared only on the same kind of device.
        label_smoothing: ε of the smoothed labels behind KL divergence.

    Example:
        >>> [round(float(level), 4) for level in gu.Rule(error_rate=0.1, max_rounds=10).levels]
        [0.005, 0.005]
    """

    max_changes: int = 2
    max_rounds: int = 12
    error_rate: float = 0.05
    kl_share: float = 0.5
    screening: int = 3
    training_allowance: float | None = 10.0
    parameter_allowance: float | None = 10.0
    inference_allowance: float | None = 10.0
    label_smoothing: float = 0.1

    def __post_init__(self):
        for name, least in (("max_changes", 1), ("max_rounds", 1), ("screening", 2)):
            check_integer(name, getattr(self, name), least)
        check_number("error_rate", self.error_rate, "(0, 0.5)")
        check_number("kl_share", self.kl_share, "(0, 1)")
        for cost, most in self.allowances.items():
            check_number(cost, 1.0 if most is None else most, "(0, inf)")

    @property
    def allowances(self):
        """`{cost: allowed ratio}`."""
        return dict(zip(COSTS, (self.training_allowance, self.parameter_allowance, self.inference_allowance), strict=1))

    @property
    def levels(self):
        """One-sided levels of each comparison, `(KL divergence, accuracy)`."""
        share = self.error_rate / self.max_rounds
        return share * self.kl_share, share * (1 - self.kl_share)

    def promising(self, kl_change, accuracy_change):
        """Whether a round is worth the other seeds: one of its scores is better by a standard error."""
        return -kl_change.value > kl_change.standard_error or accuracy_change.value > accuracy_change.standard_error

    def verdict(self, kl_change, accuracy_change, cost_ratios=None):
        """Return `(verdict, reason)` for two `Estimate`s and `{cost: ratio to the best round's}`."""
        kl, accuracy = kl_change.value, accuracy_change.value
        kl_needed, accuracy_needed = kl_change.half_width(self.levels[0]), accuracy_change.half_width(self.levels[1])
        words = f"KL {kl:+.3f} nats (significant beyond {kl_needed:.3f}), "
        words += f"accuracy {100 * accuracy:+.1f} points (beyond {100 * accuracy_needed:.1f})"
        if kl > kl_needed:
            return REVERT, f"significantly worse: {words}"
        if -kl <= kl_needed and accuracy <= accuracy_needed:
            nats, points = max(0, -kl_change.interval()[0]), max(0, 100 * accuracy_change.interval()[1])
            possible = f"a gain of {nats:.3f} nats or {points:.1f} points is not excluded (95 %)"
            return REVERT, f"inconclusive: {words}; {possible}"
        for cost, ratio in (cost_ratios or {}).items():
            if self.allowances[cost] is not None and ratio > self.allowances[cost]:
                return REVERT, f"over the cost budget: {cost.replace('_', ' ')} × {ratio:.1f}; {words}"
        return KEEP, f"significantly better: {words}"

    def __str__(self):
        costs = ", ".join(f"{cost.replace('_', ' ')} × {most:g}" for cost, most in self.allowances.items() if most)
        return (
            f"a round changes at most {self.max_changes} factors; {self.screening} seeds screen it, all judge it; "
            f"kept when KL is significantly lower (level {self.levels[0]:.2g}), or not significantly higher and "
            f"accuracy significantly higher (level {self.levels[1]:.2g}); cost budget: {costs or 'any'}; at most "
            f"{self.max_rounds} trials, with a probability of any wrong keep of at most {self.error_rate:g}"
        )


@dataclass(frozen=True)
class Round:
    """One line of the ledger: what was changed against which round, the verdict, and the numbers behind it.

    `kl` and `accuracy` are `[mean, low, high]` with 95 % intervals over galaxies and seeds; `kl_change` and
    `accuracy_change` are `[difference, low, high, needed]`, `None` for the start; `cost` holds means over the seeds.
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
    seeds: list
    same_networks: bool
    device: dict
    recorded: str = ""

    @property
    def recipe(self):
        """The `Recipe`."""
        return Recipe(**self.recipe_fields)

    @property
    def changed(self):
        """The changed factors in words, such as `"pooling: flatten → average"`."""
        return ", ".join(f"{factor}: {old} → {new}" for factor, (old, new) in self.changes.items())

    def __str__(self):
        head = f"{self.name}{f' ({self.changed})' if self.changes else ''}: {self.verdict}, {len(self.seeds)} seeds"
        return "\n".join([head, *textwrap.wrap(self.reason, 88, initial_indent="  ", subsequent_indent="  ")])


class Ledger:
    """All rounds of one progressive iteration, in a file; the networks' predictions lie in a folder beside it.

    Several processes may write: a lock lets them take turns, and the file is replaced as a whole, so that a killed
    process leaves the old one or the new one.

    Args:
        path: Path of a ledger that exists; `Ledger.create` makes one.

    Example:
        >>> ledger = gu.Ledger.create("ledger.jsonl", galaxies, split, seeds=(1, 2, 3))
        >>> len(gu.Ledger("ledger.jsonl").rounds)
        0
    """

    def __init__(self, path):
        self.path = Path(path)
        self._read()

    @classmethod
    def create(cls, path, dataset, split, *, seeds=(1, 2, 3), rule=None):
        """Create a ledger; if it exists and was created with the same arguments, continue it.

        Args:
            path: Path of the file, by custom `….jsonl`.
            dataset: The `GalaxyDataset`; rounds may use other crops and sizes of the same data.
            split: Its `Split`: rounds are judged on `validation`, `test` is evaluated once.
            seeds: Two or more different integers; the first `rule.screening` screen a round.
            rule: A `Rule`; `None` for the default.
        """
        seeds, rule = [int(seed) for seed in seeds], rule or Rule()
        if len(seeds) < 2 or len(set(seeds)) < len(seeds):
            raise ConfigurationError("A ledger needs two or more different seeds.", where="seeds", found=seeds)
        header = {"kind": "ledger", "format": FORMAT, "rule": dataclasses.asdict(rule), "seeds": seeds}
        for part in ("validation", "test"):
            header[part] = identity_of(dataset, split, part)
        header |= {"provenance": dataset.provenance, "galaxies": len(split.validation)}
        path = Path(path)
        with locked(path):
            if not path.exists():
                _write(path, [header])
        ledger = cls(path)
        if different := [name for name in header if ledger._header[name] != header[name]]:
            problem = f"This ledger was created with another {', '.join(different)}."
            found = ledger._header[different[0]]
            remedy = "continue it with what it was created with, or choose another file"
            raise ConfigurationError(problem, where=path, expected=header[different[0]], found=found, remedy=remedy)
        return ledger

    rule = property(lambda self: Rule(**self._header["rule"]), doc="The `Rule`, as stated in the first line.")
    seeds = property(lambda self: tuple(self._header["seeds"]), doc="The seeds that a round can be trained with.")
    identity = property(lambda self: self._header["validation"], doc="What a prediction must agree with.")
    provenance = property(lambda self: self._header["provenance"], doc="Where the data come from.")
    best = property(lambda self: _best(self.rounds), doc="The last round that was kept, or the start; or `None`.")

    def __getitem__(self, name):
        for one in self.rounds:
            if one.name == name:
                return one
        raise ConfigurationError(f"The ledger has no round {name!r}.", expected=[one.name for one in self.rounds])

    def __len__(self):
        return len(self.rounds)

    def predictions(self, name, part="validation"):
        """Return a round's `Prediction`s, one per seed."""
        return [Prediction.load(self._file(name, seed, part)) for seed in self[name].seeds]

    def play(self, name, train, recipe=None, *, reference=False, same_networks=False, **factors):
        """Play a round: train it, compare it with the best one so far, keep or revert it, and write it down.

        Each seed's prediction is stored as soon as it is there, so that an interrupted round goes on where it was; a
        round that the ledger holds already is returned as it is.

        Args:
            name: Name of the round, unique in the ledger.
            train: Function of `(trial, seed)` that returns a `Prediction`; `trial.factors` and `trial.recipe` say what.
            recipe: A `Recipe`; `None` for the best round's.
            reference: Whether it is only measured for comparison, with the screening seeds. It may change any number of
                factors, counts as no trial and cannot become the best.
            same_networks: Whether the best round's own networks predict again, as when views are averaged: networks are
                then paired, too.
            factors: What describes the round beside its recipe. Those not given are the best round's.

        Returns:
            The `Round`.

        Raises:
            ConfigurationError: The round changes more factors than allowed, or none; it was tried before; no trial is
                left; the test part has been evaluated; or another process has recorded a round in the meantime.
            TypeError: A factor that JSON cannot hold.
        """
        trial = self._proposed(name, recipe, reference, same_networks, factors)
        if trial.recorded:
            return trial.recorded
        self._begin(trial)
        stages = [self.seeds[: self.rule.screening], self.seeds]
        stages = stages[1:] if trial.against is None or same_networks else stages[:1] if reference else stages
        for seeds in stages:
            several = [self._prediction(trial, train, seed) for seed in seeds]
            entry, promising = self._judged(self.rounds, trial, several)
            if not promising:
                break
        with locked(self.path):
            self._read()
            if (self.best.name if self.best else None) != trial.against or name in [one.name for one in self.rounds]:
                raise ConfigurationError("Another process has just recorded a round.", remedy="play it again")
            self._proposed(name, recipe, reference, same_networks, factors)
            entry |= {"number": len(self.rounds), "recorded": _now()}
            _write(self.path, [*self._lines, {"kind": "round", **entry}])
        self._read()
        return self[name]

    def evaluate_test(self, predictions):
        """Evaluate the best round on the test part, once; others may stand beside it. Then the ledger is closed.

        Args:
            predictions: `{name: list of Prediction}` on the test part, one for each of the round's seeds.

        Returns:
            `{"best", "opened", "scores": {name: {"kl": [mean, low, high], "accuracy": …}}}`, as `test` gives it.
        """
        with locked(self.path):
            self._read()
            self._check_open()
            if self.best is None or self.best.name not in predictions:
                raise ConfigurationError("The test part is evaluated for the best round.", expected=self.best)
            scores = {}
            for name, several in predictions.items():
                if [one.seed for one in several] != self[name].seeds:
                    raise ConfigurationError(f"{name!r} needs one prediction for each of its seeds.", where=name)
                check_same(self._header["test"], several)
                for one in several:
                    one.save(self._file(name, one.seed, "test"))
                scores[name] = self._means(several)
            entry = {"kind": "test", "best": self.best.name, "opened": _now(), "scores": scores}
            _write(self.path, [*self._lines, entry])
        self._read()
        return self.test

    def replay(self):
        """Judge every round again from the stored predictions; a `DataError` where one comes out differently."""
        # What somebody has edited may stop anywhere on the way.
        remedy = "restore the file from a copy, or create another ledger"
        with explain_read_errors("The ledger cannot be replayed.", self.path, remedy=remedy):
            for number, one in enumerate(self.rounds):
                trial = SimpleNamespace(**(vars(one) | {"recipe": one.recipe, "reference": one.verdict == REFERENCE}))
                again, _ = self._judged(self.rounds[:number], trial, self.predictions(one.name))
                close = np.allclose([*again["kl"], *again["accuracy"]], [*one.kl, *one.accuracy], rtol=1e-5, atol=1e-7)
                if not close or (again["verdict"], again["against"]) != (one.verdict, one.against):
                    raise DataError(f"Replayed, round {one.name!r} comes out differently.", expected=one, found=again)
        return self.rounds

    def table(self):
        """Return one dictionary per round, for a pandas DataFrame."""
        rows = []
        for one in self.rounds:
            row = {"number": one.number, "round": one.name, "changed": one.changed, "against": one.against}
            row |= {"verdict": one.verdict, "reason": one.reason, "seeds": len(one.seeds)}
            for score in ("kl", "accuracy"):
                row |= dict(zip((score, f"{score}_low", f"{score}_high"), getattr(one, score), strict=True))
                row[f"{score}_change"] = (getattr(one, f"{score}_change") or [None])[0]
            rows.append(row | one.cost)
        return rows

    def __str__(self):
        lines = [f"Ledger of {len(self)} rounds: {self.provenance}", f"Rule: {self.rule}", *map(str, self.rounds)]
        opened = f"evaluated {self.test['opened']} for {self.test['best']}" if self.test else "not evaluated yet"
        return "\n".join([*lines, f"Best: {self.best.name if self.best else 'no round yet'}. Test part: {opened}."])

    # The steps behind a verdict

    def _proposed(self, name, recipe, reference, same_networks, factors):
        self._read()
        recorded = next((one for one in self.rounds if one.name == name), None)
        best = self.best if recorded is None else self[recorded.against] if recorded.against else None
        recipe = best.recipe if recipe is None and best else recipe
        if not isinstance(recipe, Recipe) or set(factors) & set(recipe.to_dict()):
            raise ConfigurationError("A round has a recipe, and factors that the recipe does not hold.", where=name)
        # As they come back from the file: lists for tuples.
        factors = (best.factors if best else {}) | json.loads(json.dumps(factors, allow_nan=False))
        trial = SimpleNamespace(name=name, recipe=recipe, factors=factors, reference=reference, recorded=recorded)
        trial.same_networks, trial.against = same_networks, best.name if best else None
        if recorded:
            same = recorded.factors == factors and not recorded.recipe.diff(recipe)
            if not same or reference != (recorded.verdict == REFERENCE):
                raise ConfigurationError(f"The ledger holds another round called {name!r}.", found=recorded.changed)
            return trial
        self._check_open()
        changes = _changes(best, recipe, factors)
        if best is None and reference:
            raise ConfigurationError("The first round is the start, not a reference.", where=name)
        if best is not None and not reference:
            if not 1 <= len(changes) <= self.rule.max_changes:
                problem = f"Round {name!r} changes {len(changes)} factors against {best.name!r}."
                expected = f"1 to {self.rule.max_changes}, so that it stays clear what made the difference"
                raise ConfigurationError(problem, expected=expected, found=changes)
            # A reference counts too: who measures many and then proposes the luckiest has tried many.
            if before := [one.name for one in self.rounds if one.factors == factors and not one.recipe.diff(recipe)]:
                raise ConfigurationError(f"Round {name!r} was tried before, as {before[0]!r}.")
            if sum(one.verdict in (KEEP, REVERT) for one in self.rounds) >= self.rule.max_rounds:
                problem = f"All {self.rule.max_rounds} trials have been used up: each further one would make"
                raise ConfigurationError(f"{problem} a wrong keep likelier than the rule states.", where=self.path)
        return trial

    def _begin(self, trial):
        """Note a round's settings before its first training; refuse predictions of an interrupted one with others."""
        fields = trial.recipe.to_dict().items()
        settings = {"factors": trial.factors, "recipe": {k: v for k, v in fields if k not in DESCRIPTIVE_FIELDS}}
        settings, note = json.loads(json.dumps(settings)), Path(f"{self._stem(trial.name)}_settings.json")
        if not (note.exists() and self._file(trial.name, self.seeds[0], "validation").exists()):
            write_json(note, settings)
        elif (before := json.loads(note.read_text(encoding="utf-8"))) != settings:
            problem = f"An interrupted round called {trial.name!r} had other settings; its predictions are still there."
            remedy = f"call this round otherwise, or delete {self._stem(trial.name)}_* to begin it anew"
            raise ConfigurationError(problem, where=trial.name, expected=before, found=settings, remedy=remedy)

    def _prediction(self, trial, train, seed):
        path = self._file(trial.name, seed, "validation")
        if not path.exists():
            found = train(trial, seed)
            check_same(self.identity, [found])
            if found.seed != seed or (found.recipe is not None and trial.recipe.diff(Recipe(**found.recipe))):
                raise ConfigurationError("Trained with another seed or recipe than proposed.", where=trial.name)
            found.save(path)
        found = Prediction.load(path)
        check_same(self.identity, [found])
        return found

    def _judged(self, rounds, trial, several):
        """Return a round's entry and whether it is promising, from the rounds before it and its predictions."""
        best, verdict, reason, changes = _best(rounds), START, "where the path begins", [None, None]
        cost, promising = {c: float(np.mean([getattr(one, c) for one in several])) for c in COSTS}, True
        if best is not None:
            before, rule = self.predictions(best.name), self.rule
            options = {"label_smoothing": rule.label_smoothing, "same_networks": trial.same_networks}
            both = compare(before, several, **options)
            # Seconds on another device say nothing; parameters are the same everywhere.
            comparable = COSTS if several[0].device == best.device else ("parameters",)
            verdict, reason = rule.verdict(*both, {c: cost[c] / best.cost[c] for c in comparable if best.cost[c] > 0})
            promising = rule.promising(*both)
            if len(several) < len(self.seeds) and not promising:
                verdict, reason = REVERT, f"not promising after {len(several)} seeds; {reason}"
            if trial.reference:
                verdict, reason = REFERENCE, "measured for comparison, decides nothing"
            changes = [[e.value, *e.interval(), e.half_width(x)] for e, x in zip(both, rule.levels, strict=True)]
        entry = {"number": len(rounds), "name": trial.name, "verdict": verdict, "reason": reason}
        entry |= {"against": best.name if best else None, "changes": _changes(best, trial.recipe, trial.factors)}
        entry |= self._means(several) | dict(zip(("kl_change", "accuracy_change"), changes, strict=True))
        entry |= {"cost": cost, "factors": trial.factors, "recipe_fields": trial.recipe.to_dict()}
        entry |= {"seeds": [one.seed for one in several], "same_networks": bool(trial.same_networks)}
        return entry | {"device": several[0].device}, promising

    def _means(self, several):
        values = zip(("kl", "accuracy"), scores_of(several, self.rule.label_smoothing), (math.inf, 1.0), strict=True)
        means = {score: (mean_over_seeds(each, several[0].groups), most) for score, each, most in values}
        return {s: [m.value, *map(float, np.clip(m.interval(), 0, most))] for s, (m, most) in means.items()}

    def _check_open(self):
        if self.test is not None:
            problem = "The test part has been evaluated; the ledger is closed."
            remedy = "for further rounds start another ledger with another split, whose test part nobody has seen"
            raise ConfigurationError(problem, where=self.path, remedy=remedy)

    # The file

    def _stem(self, name):
        words = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_") + f"_{zlib.crc32(name.encode()):08x}"
        return self.path.with_name(f"{self.path.stem}_predictions") / words

    def _file(self, name, seed, part):
        return Path(f"{self._stem(name)}_{part}_seed_{seed}.npz")

    def _read(self):
        with explain_read_errors("This is no ledger.", self.path, remedy="Ledger.create makes one"):
            header, *lines = [json.loads(line) for line in self.path.read_text(encoding="utf-8").splitlines()]
            if header["kind"] != "ledger" or header["format"] != FORMAT:
                raise DataError("The ledger has another format.", where=self.path, expected=FORMAT)
            self._lines, self._header = [header, *lines], header
            content = [{k: v for k, v in line.items() if k != "kind"} for line in lines if line["kind"] == "round"]
            self.rounds = tuple(Round(**entry) for entry in content)
            self.test = next((line for line in lines if line["kind"] == "test"), None)
            # Everything is shown once, to nobody: what cannot be shown is noticed here and not in a chapter.
            str(self), self.table(), [float(x) for one in self.rounds for x in (*one.kl, *one.accuracy)]
            if any(one.recipe is None or one.verdict not in (START, KEEP, REVERT, REFERENCE) for one in self.rounds):
                raise DataError("A round has no such verdict.", where=self.path)

    # Names of version 0.1, for notebooks in people's hands

    def propose(self, name, recipe=None, *, reference=False, same_networks=False, **factors):
        """Deprecated: use `play`."""
        warnings.warn("Ledger.propose is now Ledger.play(name, train, …)", DeprecationWarning, stacklevel=2)
        trial = self._proposed(name, recipe, reference, same_networks, factors)
        trial.seeds, given = (() if trial.recorded else self.seeds), {}
        trial.add = lambda prediction: given.update({prediction.seed: prediction})
        options = {"reference": reference, "same_networks": same_networks, **factors}
        trial.decide = lambda: self.play(name, lambda _, seed: given[seed], recipe, **options)
        return trial

    def open_test(self, predictions):
        """Deprecated: use `evaluate_test`."""
        warnings.warn("Ledger.open_test is now Ledger.evaluate_test", DeprecationWarning, stacklevel=2)
        return self.evaluate_test(predictions)

    last_hash = property(lambda self: hashlib.sha256(self.path.read_bytes()).hexdigest(), doc="Deprecated.")


def _best(rounds):
    return next((one for one in reversed(rounds) if one.verdict in (START, KEEP)), None)


def _changes(best, recipe, factors):
    """Return `{factor: [old, new]}`: the recipe's fields and all other factors that differ from the best round's."""
    if best is None:
        return {}
    both = {factor: (best.factors.get(factor), factors.get(factor)) for factor in [*best.factors, *factors]}
    return {f: list(pair) for f, pair in (best.recipe.diff(recipe) | both).items() if pair[0] != pair[1]}


def _write(path, lines):
    text = "".join(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n" for line in lines).encode()
    with write_atomically(path, len(text)) as temporary:
        temporary.write_bytes(text)


def _now():
    return datetime.now(UTC).isoformat(timespec="seconds")
