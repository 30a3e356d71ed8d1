"""What one network predicts for every galaxy of a part, and what it cost: the evidence behind a comparison."""

import hashlib
import json
import time
from dataclasses import dataclass

import numpy as np

from galaxy_utils.arrays import described, read_arrays, write_arrays
from galaxy_utils.errors import ConfigurationError, DataError
from galaxy_utils.evaluation.classification import galaxy_divergences
from galaxy_utils.evaluation.significance import paired_difference
from galaxy_utils.files import explain_read_errors, locked
from galaxy_utils.report import computing_device, software_versions
from galaxy_utils.training import predict as predict_plainly

ARRAYS = ("probabilities", "labels", "rows", "groups")
COSTS = ("training_seconds", "parameters", "inference_seconds")


@dataclass(frozen=True, eq=False)
class Prediction:
    """What one trained network predicts for every galaxy of a part, and what it cost.

    Attributes:
        probabilities: Shape (n, K), float32.
        labels: Shape (n,), int64.
        rows: Rows of the dataset, shape (n,), int64.
        groups: Sky groups, shape (n,), int64.
        part: `"validation"` or `"test"`.
        seed: Seed of the training.
        split_hash: Hash of the split.
        fingerprint: Fingerprint of the source data, which copies prepared with other crops or sizes share.
        recipe: The recipe as a dictionary; `None` where there are several.
        training_seconds: Seconds of training.
        parameters: Parameters of the network.
        inference_seconds: Seconds for 1,000 galaxies.
        versions: Versions of the software, as in a report.
        device: What computed, as in a report.

    Example:
        >>> prediction = gu.measure(model, run, galaxies, split, part="test")
        >>> prediction.probabilities.shape == (len(split.test), 10)
        True
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
            values = np.array(getattr(self, name), np.float32 if name == "probabilities" else np.int64)
            object.__setattr__(self, name, values)
        one_each = all(getattr(self, name).shape == (len(self.probabilities),) for name in ARRAYS[1:])
        if self.probabilities.ndim != 2 or not one_each or self.part not in ("validation", "test"):
            expected = "probabilities (n, classes); n labels, rows and groups; part 'validation' or 'test'"
            found = ", ".join(f"{name} {getattr(self, name).shape}" for name in ARRAYS) + f", {self.part!r}"
            raise DataError("This is no prediction.", expected=expected, found=found)

    @property
    def identity(self):
        """What two predictions must share before they can be compared galaxy by galaxy."""
        galaxies = hashlib.sha256(b"".join(getattr(self, name).tobytes() for name in ARRAYS[1:])).hexdigest()[:16]
        return {"split": self.split_hash, "data": self.fingerprint, "part": self.part, "galaxies": galaxies}

    def save(self, path):
        """Write it into a NumPy `.npz` file, atomically."""
        others = {name: getattr(self, name) for name in self.__dataclass_fields__ if name not in ARRAYS}
        description = np.array(json.dumps(others, allow_nan=False))
        with locked(path):
            write_arrays(path, {"description": description} | {name: getattr(self, name) for name in ARRAYS})

    @classmethod
    def load(cls, path):
        """Read what `save` wrote; a `DataError` where there is none, or something else."""
        remedy = "delete the file, if it is there, and run the chapter that makes it"
        with explain_read_errors("The prediction cannot be read.", path, remedy=remedy):
            content = read_arrays(path)
            about = described(content, "description")
            return cls(**content, **about)


def measure(model, run, dataset, split, *, part="validation", predict=None, seed=None, seconds=None):
    """Let a network predict every galaxy of a part, and note what it cost.

    Args:
        model: The trained Keras model.
        run: Its `TrainingRun`; or anything with its `recipe`, where `seed` and `seconds` of training are given.
        dataset: The `GalaxyDataset`; its crop and size may differ from round to round.
        split: The `Split` it was trained with.
        part: `"validation"` or `"test"`.
        predict: Function of `(model, dataset, rows)` that returns probabilities; `None` for `gu.predict`.
        seed: Seed of the training; `None` for the run's.
        seconds: Seconds of training; `None` for the run's.

    Returns:
        A `Prediction`.

    Example:
        >>> gu.measure(model, run, galaxies, split).part
        'validation'
    """
    about, predict = about_part(dataset, split, part), predict or predict_plainly
    predict(model, dataset, about["rows"][:32])  # The first call compiles, which is no part of inference.
    start = time.perf_counter()
    probabilities = predict(model, dataset, about["rows"])
    inference_seconds = 1000 * (time.perf_counter() - start) / len(about["rows"])
    seconds = float(run.seconds if seconds is None else seconds)
    costs = dict(zip(COSTS, (seconds, int(model.count_params()), inference_seconds), strict=True))
    about |= {"seed": run.seed if seed is None else seed, "recipe": run.recipe.to_dict()}
    return Prediction(probabilities, **about, **costs, versions=software_versions(), device=computing_device())


def compare(first, second, *, label_smoothing=0.1, same_networks=False):
    """Return `(kl_change, accuracy_change)` of two recipes' `Prediction`s, as `Estimate`s: second minus first."""
    check_same(first[0], [*first, *second])
    pairs = zip(scores_of(first, label_smoothing), scores_of(second, label_smoothing), strict=True)
    return tuple(paired_difference(a, b, first[0].groups, same_networks=same_networks) for a, b in pairs)


def identity_of(dataset, split, part):
    """Return the `identity` that every prediction on this part of this split of these data has."""
    about = about_part(dataset, split, part)
    empty = {"seed": 0, "recipe": None, "versions": {}, "device": {}, **dict.fromkeys(COSTS, 0)}
    return Prediction(np.zeros((len(about["rows"]), 1)), **about, **empty).identity


def about_part(dataset, split, part):
    """Return what a `Prediction` on a part of a split says about its galaxies; refuse a split of other data."""
    fingerprint = getattr(split, "fingerprint", dataset.source_fingerprint)
    if fingerprint != dataset.source_fingerprint or part not in ("validation", "test"):
        raise ConfigurationError("The split belongs to other data, or has no such part.", where=f"split, {part!r}")
    rows = np.asarray(getattr(split, part))
    about = {"labels": np.asarray(dataset.labels)[rows], "rows": rows, "groups": np.asarray(split.groups)[rows]}
    return about | {"part": part, "split_hash": split.hash, "fingerprint": fingerprint}


def check_same(expected, predictions):
    """Refuse predictions for other galaxies than those of a `Prediction`, or of its `identity`."""
    expected = getattr(expected, "identity", expected)
    for one in predictions:
        if different := [what for what in expected if expected[what] != one.identity[what]]:
            problem = f"These predictions cannot be compared: they differ in {', '.join(different)}."
            raise ConfigurationError(problem, expected=expected, found=one.identity)


def scores_of(predictions, label_smoothing):
    """Return KL divergences and hits, each of shape (seeds, n)."""
    kl = [galaxy_divergences(p.probabilities, p.labels, label_smoothing=label_smoothing) for p in predictions]
    return np.stack(kl), np.stack([(p.probabilities.argmax(axis=1) == p.labels).astype(float) for p in predictions])
