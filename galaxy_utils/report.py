"""Reports: one JSON file per trained network with everything a later chapter or reader needs to judge a number."""

import dataclasses
import importlib
import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import unicodedata
from pathlib import Path

import galaxy_utils
from galaxy_utils.errors import check_argument
from galaxy_utils.files import artifacts_folder, explain_read_errors, write_json
from galaxy_utils.profiles import get_profile

REPORT_FORMAT = 2
# What a report takes as it is from the data set and from the training.
DATA = ("name", "provenance", "is_simulated", "fingerprint", "image_size")
TRAINING = ("history", "epochs", "best_epoch", "stopped_early", "restored_best", "compiled_with")
PARTS = ("train", "validation", "test")


def write_report(chapter, model_name, evaluation, *, run, split, dataset, profile, part="test", baselines=None):
    """Write the report of one trained network.

    The same seed, data, versions and device give the same bytes, except for the block `timing`.

    Args:
        chapter: Short name of the chapter, e.g. `"03_a_baseline_cnn"`.
        model_name: Short name of the network, unique in the chapter.
        evaluation: Its `Evaluation`.
        run: Its `TrainingRun`, which also knows the recipe and the seed.
        split: The `Split` it was trained with.
        dataset: The `GalaxyDataset` it was trained on.
        profile: the name of a profile, or a `Profile`.
        part: Part of the split that was scored: `"test"` or `"validation"`.
        baselines: `{name: Evaluation}` from `gu.baselines`, or `None`.

    Returns:
        Path of the file: `report_path` says where.

    Raises:
        ConfigurationError: A part of the split that cannot be scored.

    Example:
        >>> scores = gu.evaluate(gu.predict(model, galaxies, split.test), galaxies.labels[split.test], gu.CLASS_NAMES)
        >>> write_report("my_chapter", "my_cnn", scores, run=run, split=split, dataset=galaxies, profile="demo").name
        'report.json'
    """
    check_argument(part in PARTS[1:], "part", part, "'validation' or 'test'")
    profile = get_profile(profile)
    path = report_path(chapter, model_name, dataset.name, profile)
    sizes = {name: len(getattr(split, name)) for name in PARTS}
    content = {"format": REPORT_FORMAT, "chapter": chapter, "model": model_name, "part": part, "seed": run.seed}
    content["data"] = {name: getattr(dataset, name) for name in DATA} | {"num_galaxies": len(dataset)}
    content["split"] = {"hash": split.hash, "radius_arcsec": split.radius, "sizes": sizes}
    content |= {"profile": dataclasses.asdict(profile), "recipe": run.recipe.to_dict()}
    content["training"] = {name: getattr(run, name) for name in TRAINING}
    content["evaluation"] = evaluation.to_dict()
    content["baselines"] = {name: one.to_dict() for name, one in (baselines or {}).items()}
    content |= {"versions": software_versions(), "device": computing_device()}
    content["timing"] = {"training_seconds": run.seconds, "resumed_from_epoch": run.resumed_from}
    write_json(path, content)
    return path


def report_path(chapter, model_name, dataset_name, profile):
    """Return where a report lives: `<artifacts>/<dataset>-<profile>/<chapter>/<model>/report.json`."""
    data_and_size = f"{_folder_name(dataset_name)}-{get_profile(profile).name}"
    return artifacts_folder() / data_and_size / _folder_name(chapter) / _folder_name(model_name) / "report.json"


def read_report(path):
    """Read a report and check that it is one.

    Args:
        path: Path of a `report.json`.

    Returns:
        Its content as a dictionary.

    Raises:
        DataError: The file is missing, no JSON, of another format, or lacks what `reports` shows.

    Example:
        >>> scores = gu.evaluate(gu.predict(model, galaxies, split.test), galaxies.labels[split.test], gu.CLASS_NAMES)
        >>> path = write_report("my_chapter", "a_cnn", scores, run=run, split=split, dataset=galaxies, profile="demo")
        >>> read_report(path)["profile"]["name"]
        'demo'
    """
    remedy = "delete the file, if it is there, and run the chapter that writes it, with the same profile"
    with explain_read_errors("The report cannot be read.", path, expected=f"format {REPORT_FORMAT}", remedy=remedy):
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        if content["format"] != REPORT_FORMAT:
            raise ValueError(f"format {content['format']}")
        _row(path, content)
    return content


def reports(folder=None):
    """Return every report below a folder as one table, a row for each trained network.

    Args:
        folder: The folder; `None` for the artifacts folder.

    Returns:
        A `pandas.DataFrame`, sorted by data, profile, chapter and model. Accuracies are shares, `low` and `high` the
        ends of their 95 % intervals; entropies and divergences are in nats, times in seconds.

    Raises:
        DataError: One of the files is no report.

    Example:
        >>> gu.reports().query("profile == 'demo'")[["chapter", "model", "accuracy"]]  # doctest: +SKIP
    """
    import pandas as pd

    paths = sorted((artifacts_folder() if folder is None else Path(folder)).rglob("report.json"))
    rows = [_row(path, read_report(path)) for path in paths]
    columns = ["data", "profile", "chapter", "model"]
    return pd.DataFrame(rows, columns=None if rows else columns).sort_values(columns, ignore_index=True)


def _row(path, report):
    data, evaluation = report["data"], report["evaluation"]
    low, high = evaluation["intervals"].get("accuracy") or (None, None)
    row = {"data": data["name"], "profile": report["profile"]["name"]}
    row |= {name: report[name] for name in ("chapter", "model", "part", "seed")}
    row |= {"accuracy": float(evaluation["accuracy"]), "low": low, "high": high}
    row |= {name: float(evaluation[name]) for name in ("cross_entropy", "kl_divergence")}
    row |= {"epochs": report["training"]["epochs"], "training_seconds": report["timing"]["training_seconds"]}
    return row | {"is_simulated": data["is_simulated"], "path": str(path)}


def _folder_name(text):
    return re.sub(r"[^\w.-]+", "_", unicodedata.normalize("NFC", str(text))).strip("._") or "unnamed"


def software_versions():
    """Return the versions of this package, Python, NumPy, Keras and its backend."""
    import keras

    backend = keras.backend.backend()
    versions = {"galaxy_utils": galaxy_utils.__version__, "python": platform.python_version()}
    versions |= {"numpy": importlib.metadata.version("numpy"), "keras": keras.__version__, "backend": backend}
    # Colab and others ship the backend under several package names, so the module itself is asked.
    return versions | {"backend_version": getattr(importlib.import_module(backend), "__version__", "unknown")}


def computing_device():
    """Return the processor's name, the number of cores, and the accelerator's name or `None`."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"processor": _processor_name(), "cores": cores, "accelerator": _accelerator_name()}


def _processor_name():
    about = Path("/proc/cpuinfo")
    found = about.is_file() and re.search(r"^model name\s*:\s*(.+)$", about.read_text(), re.MULTILINE)
    return found.group(1).strip() if found else platform.processor() or platform.machine()


def _accelerator_name():
    """Return the name of the accelerator that Keras computes on, or `None`."""
    import keras

    devices = [name for name in keras.distribution.list_devices() if not name.startswith("cpu")]
    if not devices:
        return None
    if shutil.which("nvidia-smi"):
        query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        answer = subprocess.run(query, capture_output=True, text=True, timeout=20, check=False)
        if answer.returncode == 0 and answer.stdout.strip():
            return answer.stdout.splitlines()[0].strip()
    return devices[0]
