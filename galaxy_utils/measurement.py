"""What one trained network answers to every galaxy of a part, and what it cost: the evidence behind a comparison."""

import hashlib
import io
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from galaxy_utils.arrays import described, read_arrays
from galaxy_utils.errors import ConfigurationError, DataError
from galaxy_utils.evaluation.classification import evaluate
from galaxy_utils.files import explain_read_errors, write_bytes

ARRAYS = ("probabilities", "labels", "rows", "groups")
COSTS = ("training_seconds", "parameters", "inference_seconds")
PARTS = ("validation", "test")


@dataclass(frozen=True, eq=False)
class Measurement:
    """One network's answers and cost.

    Attributes:
        probabilities: Shape (n, K), float32: exactly what the network answered.
        labels: Shape (n,), int64.
        rows: Rows of the dataset, shape (n,), int64.
        groups: Sky groups, shape (n,), int64.
        part: `"validation"` or `"test"`.
        seed: Seed of the training.
        split_hash: Hash of the split.
        fingerprint: Fingerprint of the source data, which copies prepared with other crops or sizes share.
        recipe: The recipe as a dictionary; `None` for several networks combined.
        training_seconds: Seconds of training.
        parameters: Parameters of the network.
        inference_seconds: Seconds to answer 1,000 galaxies.
        versions: Versions of the software, as in a report.
        device: What computed, as in a report.
    """

    probabilities: np.ndarray
    labels: np.ndarray
    rows: np.ndarray
    groups: np.ndarray
    part: str
    seed: int
    split_hash: str
    fingerprint: str
    recipe: dict | None
    training_seconds: float
    parameters: int
    inference_seconds: float
    versions: dict
    device: dict

    def __post_init__(self):
        for name in ARRAYS:
            kind = np.float32 if name == "probabilities" else np.int64
            values = np.array(getattr(self, name), dtype=kind)
            values.setflags(write=False)
            object.__setattr__(self, name, values)
        galaxies = len(self.probabilities)
        if self.probabilities.ndim != 2 or any(getattr(self, name).shape != (galaxies,) for name in ARRAYS[1:]):
            raise DataError(
                "The answers do not belong to these galaxies.",
                where="measurement",
                expected=f"probabilities (n, classes), and n = {galaxies:,} labels, rows and groups",
                found=", ".join(f"{name} {getattr(self, name).shape}" for name in ARRAYS),
            )
        if self.part not in PARTS:
            raise ConfigurationError(
                f"There is no part {self.part!r} to measure.", where="part", expected="'validation' or 'test'"
            )
        for name in COSTS:
            if not 0 <= getattr(self, name) < np.inf:
                raise ConfigurationError(
                    "This is no cost.", where=name, expected="0 or more, finite", found=repr(getattr(self, name))
                )

    @property
    def identity(self):
        """What two measurements must share before their answers can be compared galaxy by galaxy."""
        return _identity(self.split_hash, self.fingerprint, self.part, self.labels, self.rows, self.groups)

    def to_bytes(self):
        """Return everything, exactly, as the bytes of a NumPy `.npz` file; equal content gives equal bytes."""
        others = {name: getattr(self, name) for name in self.__dataclass_fields__ if name not in ARRAYS}
        description = json.dumps(others, ensure_ascii=False, allow_nan=False)
        content = io.BytesIO()
        np.savez(content, description=description, **{name: getattr(self, name) for name in ARRAYS})
        return content.getvalue()

    def save(self, path):
        """Write `to_bytes` into a file, atomically."""
        write_bytes(path, self.to_bytes())

    @classmethod
    def load(cls, path):
        """Read what `save` wrote.

        Raises:
            DataError: The file is missing or holds something else.
        """
        path = Path(path)
        if not path.is_file():
            raise DataError("There is no such measurement.", where=path, remedy="run the chapter that makes it")
        with explain_read_errors("The measurement cannot be read.", path, remedy="delete the file and measure again"):
            content = read_arrays(path)
            description = described(content, "description")
            return cls(**content, **description)


def measure(model, run, dataset, split, *, part="validation", predict=None):
    """Let a network answer every galaxy of a part, and note what it cost.

    Args:
        model: The trained Keras model.
        run: Its `TrainingRun`.
        dataset: The `GalaxyDataset` it is asked about; its crop and size may differ from round to round.
        split: The `Split` it was trained with.
        part: `"validation"` or `"test"`.
        predict: Function of `(model, dataset, rows)` that returns probabilities, such as one that averages views;
            `None` for `predict` itself.

    Returns:
        A `Measurement`.

    Raises:
        ConfigurationError: Another part, or data that the split was not made for.
        DataError: Answers that are no probabilities of these galaxies.
    """
    if part not in PARTS:
        raise ConfigurationError(
            f"There is no part {part!r} to measure.", where="part", expected="'validation' or 'test'"
        )
    check_split(dataset, split)

    from galaxy_utils.report import computing_device, software_versions
    from galaxy_utils.training import predict as predict_plainly

    predict = predict or predict_plainly
    rows = np.asarray(getattr(split, part))
    predict(model, dataset, rows[:32])  # The first call compiles, which is no part of answering.
    start = time.perf_counter()
    probabilities = predict(model, dataset, rows)
    seconds = time.perf_counter() - start
    return Measurement(
        probabilities=probabilities,
        labels=dataset.labels[rows],
        rows=rows,
        groups=np.asarray(split.groups)[rows],
        part=part,
        seed=run.seed,
        split_hash=split.hash,
        fingerprint=dataset.source_fingerprint,
        recipe=run.recipe.to_dict(),
        training_seconds=float(run.seconds),
        parameters=int(model.count_params()),
        inference_seconds=1000 * seconds / len(rows),
        versions=software_versions(),
        device=computing_device(),
    )


def combine(measurements):
    """Return several networks' answers to the same galaxies as those of one: an ensemble.

    Args:
        measurements: `Measurement`s of one part and one seed, such as the kept rounds' with this seed.

    Returns:
        A `Measurement` with the mean of the probabilities and the sum of every cost.

    Raises:
        ConfigurationError: Measurements that do not belong together.
    """
    measurements = list(measurements)
    if len(measurements) < 2:
        raise ConfigurationError(
            "An ensemble has at least two members.", where="measurements", found=f"{len(measurements)}"
        )
    first = measurements[0]
    for other in measurements[1:]:
        check_same_galaxies({**first.identity, "seed": first.seed}, {**other.identity, "seed": other.seed})
    return Measurement(
        probabilities=np.mean([m.probabilities for m in measurements], axis=0, dtype=np.float64),
        **{name: getattr(first, name) for name in ("labels", "rows", "groups", "part", "seed", "split_hash")},
        fingerprint=first.fingerprint,
        recipe=None,
        **{name: sum(getattr(m, name) for m in measurements) for name in COSTS},
        versions=first.versions,
        device=first.device,
    )


def evaluate_together(measurements, class_names, **options):
    """Score what several networks of one kind answered to the same galaxies: each galaxy counts once for each of them.

    Args:
        measurements: `Measurement`s that differ in their seeds.
        class_names: One name per class.
        options: As for `evaluate`. Galaxies of one sky group are resampled together, with all their answers.

    Returns:
        An `Evaluation`.

    Raises:
        ConfigurationError: Measurements of different galaxies.
    """
    measurements = list(measurements)
    first = measurements[0]
    for other in measurements[1:]:
        check_same_galaxies(first.identity, other.identity)
    return evaluate(
        np.concatenate([measurement.probabilities for measurement in measurements]),
        np.tile(first.labels, len(measurements)),
        class_names,
        groups=np.tile(first.groups, len(measurements)),
        **options,
    )


def identity_of(dataset, split, part):
    """Return the `identity` that every measurement on this part of this split of these data has."""
    check_split(dataset, split)
    rows = np.asarray(getattr(split, part), np.int64)
    labels, groups = np.asarray(dataset.labels, np.int64)[rows], np.asarray(split.groups, np.int64)[rows]
    return _identity(split.hash, dataset.source_fingerprint, part, labels, rows, groups)


def check_split(dataset, split):
    """Raise a `ConfigurationError` when a split was made from other data."""
    fingerprint = getattr(split, "fingerprint", dataset.source_fingerprint)
    if fingerprint != dataset.source_fingerprint:
        raise ConfigurationError(
            "The split belongs to other data.",
            where="split",
            expected=f"fingerprint {dataset.source_fingerprint}",
            found=fingerprint,
            remedy="use the split that was made from this dataset",
        )


def check_same_galaxies(expected, found):
    """Refuse to compare what differs in anything that must agree.

    Args:
        expected: `{what: value}`, usually a measurement's `identity`.
        found: The same of the other.

    Raises:
        ConfigurationError: Some differ; the message says which, with both values.
    """
    different = [what for what in expected if expected[what] != found[what]]
    if different:
        raise ConfigurationError(
            f"These answers cannot be compared: they differ in {', '.join(different)}.",
            expected="; ".join(f"{what} {expected[what]}" for what in different),
            found="; ".join(f"{what} {found[what]}" for what in different),
            remedy="measure both on the same part of the same split of the same data, with the same seeds",
        )


def _identity(split_hash, fingerprint, part, labels, rows, groups):
    galaxies = hashlib.sha256(labels.tobytes() + rows.tobytes() + groups.tobytes())
    return {
        "split hash": split_hash,
        "data fingerprint": fingerprint,
        "part": part,
        "galaxies and labels": galaxies.hexdigest()[:16],
    }
