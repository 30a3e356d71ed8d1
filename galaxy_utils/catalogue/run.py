"""`gu.classify`: from a source of images to a catalogue, on the cores of this machine or on a Dask cluster."""

import contextlib
import importlib.util
import json
import logging
import os
import sys
import time
from collections import Counter
from pathlib import Path

from galaxy_utils.catalogue.cutouts import ADDRESS, Cutouts
from galaxy_utils.catalogue.inputs import PART_SIZE, RECORD, find_parts
from galaxy_utils.catalogue.work import classify_part, columns_of, description, hash_of, path_of
from galaxy_utils.errors import ConfigurationError, GalaxyUtilsError, check_integer, check_number
from galaxy_utils.files import explain_read_errors, explain_write_errors, locked, write_atomically, write_json
from galaxy_utils.progress import in_notebook, progress_bar
from galaxy_utils.wording import counted

CATALOGUE_FORMAT = 3
NEEDED = ("dask", "distributed", "pyarrow")
# How often in a row no part gets done before it is given up.
ROUNDS = 3
# Seconds that a cluster of somebody else's may be without a worker.
LONGEST_WAIT = 60
# A worker's network uses one thread: with more, its last bits would depend on their number.
ENVIRONMENT = dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"), "1")
ENVIRONMENT["TF_CPP_MIN_LOG_LEVEL"] = "2"


def classify(
    source, classifier, output, client=None, *, pixel_scale=None, columns=None, workers=None,
    address=ADDRESS, layer="ls-dr9", connections=4, part_size=PART_SIZE,
):  # fmt: skip
    """Classify galaxies without labels, a few or millions, into a catalogue.

    Sources: a folder of images at any depth (JPEG, PNG, TIFF, WebP, GIF, BMP; FITS with the bands g, r, z in one HDU,
    stretched as the Legacy Surveys viewer does), one image, an HDF5 file with `images` and, if there, `ra`, `dec` and
    `pxscale`, Parquet files with a column of images as Hugging Face's `datasets` writes it, or a CSV or Parquet table
    of positions, whose cut-outs are fetched.

    The catalogue is a Parquet data set: a folder with a file for every 512 images. Columns: `id`, `ra`, `dec`
    (degrees), `p_…` for each class, `predicted`, `entropy` (nats), `cannot_tell`, `feature_distance`,
    `unlike_training`, and `problem`: an image that cannot be used is a row with a reason. Probabilities are rounded to
    four decimals; they are calibrated, and the two flags and the distance are known, where the classifier was saved
    with `split=…`. The metadata of each file hold the classifier's hash, the settings and the versions.

    Killed at any moment and called again in the same way, it goes on, and ends with the same catalogue. The number of
    workers changes neither rows nor order.

    Args:
        source: Path of one of the sources above.
        classifier: Path of a file that `save_classifier` wrote, or `"pretrained"` for that of `pretrained_classifier`.
        output: Path of the catalogue: a folder whose name ends in `.parquet`; or a file whose name ends in `.csv`, then
            written from the data set of the same name beside it.
        client: A `dask.distributed.Client`, such as one of a cluster, whose workers see the same files and have this
            package; `None` for the cores of this machine.
        pixel_scale: Arcseconds per pixel of images that do not say so themselves. Images at another scale than that of
            training are resampled to it. Where it is unknown, the classifier's crop is taken.
        columns: `{"ra": name, "dec": name, "id": name, "image": name}` of a table, for columns with other names.
        workers: How many processes on this machine; `None` for its cores; with a GPU, for this process alone.
        address: Service of cut-outs, with `{ra}`, `{dec}`, `{size}` (pixels), `{pixel_scale}` and `{layer}`.
        layer: The survey's name at that service.
        connections: How many cut-outs are asked for at once.
        part_size: Images in a part, which is one file and one task.

    Returns:
        The path of the catalogue.

    Raises:
        ConfigurationError: Something is missing, arguments do not fit, or the output holds another catalogue.
        DataError: The classifier or the source cannot be read. Single images that cannot are rows.
        DownloadError: Cut-outs cannot be fetched.
        StorageError: The disk is full. Here and above, what is done is kept.

    Example:
        >>> from PIL import Image
        >>> Image.fromarray(galaxies.images[0]).save("my_galaxy.png")
        >>> path = gu.save_classifier("galaxies.keras", model, galaxies, split=split)
        >>> gu.classify("my_galaxy.png", path, "catalogue.csv").name
        1 galaxy in catalogue.csv...
        'catalogue.csv'
    """
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        problem, remedy = "Packages that a catalogue needs are missing.", f"pip install {' '.join(missing)}"
        raise ConfigurationError(problem, expected=", ".join(NEEDED), remedy=remedy)
    check_integer("part_size", part_size, 1)
    check_integer("connections", connections, 1)
    check_integer("workers", 1 if workers is None else workers, 1)
    check_number("pixel_scale", 0.1 if pixel_scale is None else pixel_scale, "(0, 3600)")
    output = Path(output).expanduser()
    if output.suffix.lower() not in (".parquet", ".csv"):
        expected = "a name that ends in .parquet, or in .csv"
        raise ConfigurationError("The catalogue needs another name.", where="output", expected=expected, found=output)
    if "tensorflow" not in sys.modules:
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    if classifier == "pretrained":
        from galaxy_utils.classifier_file import PRETRAINED as classifier
    source, classifier = Path(source).expanduser(), Path(classifier).expanduser()
    if output.exists() and source.exists() and output.samefile(source):
        remedy = "give the catalogue another name"
        raise ConfigurationError("The catalogue would replace its own source.", where=output, remedy=remedy)
    about = _about(classifier)
    about["told_scale"] = pixel_scale
    from galaxy_utils.calibration import BATCH_SIZE

    settings = {
        "source": str(source.absolute()),
        "classifier": hash_of(classifier),
        "part_size": part_size,
        "frame": about,
    }
    settings |= {"columns": dict(columns or {}), "format": CATALOGUE_FORMAT}
    parts, is_fetched = find_parts(source, settings)
    cutouts = Cutouts(address, layer, about, connections=connections) if is_fetched else None
    if is_fetched:
        settings |= {"address": address, "layer": layer, "size": cutouts.size, "cutout_scale": cutouts.scale}
        parts, _ = find_parts(source, settings)
    folder = output.with_suffix(".parquet").absolute()
    job = {"folder": str(folder), "classifier": str(classifier.absolute()), "hash": settings["classifier"]}
    job |= {"about": about, "settings": settings, "batch_size": min(BATCH_SIZE, part_size), "threads": 1}
    with locked(folder), _only_this_catalogue(folder, output, settings):
        _work_through(parts, job, cutouts, client, workers)
        counts = _finish(folder, parts, settings)
        if output.suffix.lower() == ".csv":
            _write_csv(folder, output, parts)
    print(_told(output, counts, about))
    return output


def _about(path):
    """Return of a classifier what decides how images are framed."""
    from galaxy_utils.classifier_file import load_classifier

    classifier = load_classifier(path)
    names = columns_of(classifier.class_names)
    if len(set(names)) < len(names):
        raise ConfigurationError("Names of classes are too similar to name columns.", where=path, found=names)
    about = {name: getattr(classifier, name) for name in ("image_size", "crop", "pixel_scale")}
    return about | {"is_calibrated": classifier.calibration is not None}


@contextlib.contextmanager
def _only_this_catalogue(folder, output, settings):
    """Refuse an output with something else in it; remove what killed workers left under temporary names."""
    record, remedy = folder / RECORD, f"give the catalogue another name, or delete {folder}"
    # A run that ended while it wrote the record has left the record's lock, and perhaps its beginning.
    begun = f".{RECORD}."
    is_other = folder.is_dir() and any(not path.name.startswith(begun) for path in folder.iterdir())
    is_other = is_other or folder.is_file() or (folder != output and output.exists())
    if is_other and not record.is_file():
        remedy = "give the catalogue another name"
        raise ConfigurationError("The output is something else already.", where=output, remedy=remedy)
    if record.is_file():
        with explain_read_errors("The catalogue's record cannot be read.", record, remedy=remedy):
            before = _as_told(json.loads(record.read_text(encoding="utf-8"))["settings"])
        now = _as_told(settings)
        if different := sorted(name for name in {**before, **now} if before.get(name) != now.get(name)):
            found, expected = (", ".join(f"{name}: {each.get(name)}" for name in different) for each in (before, now))
            problem = f"The output is a catalogue with another {', '.join(different)}."
            raise ConfigurationError(problem, where=output, expected=expected, found=found, remedy=remedy)
    else:
        write_json(record, {"settings": settings})
    _sweep(folder)
    yield
    _sweep(folder)


def _as_told(settings):
    """Settings by the names of the arguments that decide them; how images are framed follows from these."""
    told = {name: value for name, value in settings.items() if name != "frame"}
    told["classifier"] = f"the one with SHA-256 {str(settings.get('classifier'))[:12]}…"
    return told | {"pixel_scale": (settings.get("frame") or {}).get("told_scale")}


def _sweep(folder):
    for leftover in folder.glob(".*.partial"):
        leftover.unlink(missing_ok=True)


def _work_through(parts, job, cutouts, client, workers):
    """Have every part made that is not there yet, in as many rounds as dying workers and schedulers make it need."""
    folder, failure, idle = job["folder"], None, 0
    kept = {number: description(path_of(folder, number)) for number in range(len(parts))}
    left = [part for part in parts if kept[part.number].get("key") != part.key or kept[part.number]["unfetched"]]
    while left and idle < ROUNDS:
        before = {part.number: _state(folder, part.number) for part in left}
        failure = _round(left, job, cutouts, client, workers, failure)
        left = [
            part
            for part in left
            if _state(folder, part.number) == before[part.number]
            or description(path_of(folder, part.number)).get("key") != part.key
        ]
        idle = 0 if len(left) < len(before) else idle + 1
    if left:
        problem = (
            f"{counted(len(left), 'parts')} of {len(parts):,} could not be made: their workers or their scheduler died."
        )
        remedy = "see whether memory is short, or take fewer workers; called again, it goes on where it stopped"
        raise ConfigurationError(problem, where=f"part {left[0].number}", found=repr(failure), remedy=remedy)


def _state(folder, number):
    with contextlib.suppress(OSError):
        status = path_of(folder, number).stat()
        return status.st_ino, status.st_mtime_ns


def _round(left, job, cutouts, client, workers, failure):
    """Have parts made by whom there is; return what went wrong with machines and not with galaxies."""
    if client is not None:
        try:  # whoever restarts a scheduler may take a while
            client.wait_for_workers(1, timeout=LONGEST_WAIT)
        except Exception:
            if failure:
                return failure
        # Else the first workers are still to come, such as from the queue of a cluster.
        return _on_client(left, job, cutouts, client)
    from galaxy_utils.report import computing_device

    device = computing_device()
    if workers is None and device["accelerator"]:
        # Here, because another process would find the memory of the GPU taken by this one.
        return _here(left, job | {"threads": device["cores"]}, cutouts)
    workers = min(len(left), workers or device["cores"])
    job = job | {"threads": max(1, device["cores"] // workers)}
    from distributed import Client, LocalCluster

    options = {"threads_per_worker": 1, "processes": True, "silence_logs": logging.CRITICAL}
    with _workers_start_clean():
        cluster = LocalCluster(n_workers=workers, dashboard_address="127.0.0.1:0", env=ENVIRONMENT, **options)
        with cluster, Client(cluster) as own:
            return _on_client(left, job, cutouts, own)


@contextlib.contextmanager
def _workers_start_clean():
    """A new worker would run the caller's program once more, and this call in it."""
    main, environment = sys.modules["__main__"], dict(os.environ)
    hidden = {name: main.__dict__.pop(name) for name in ("__file__", "__spec__") if name in main.__dict__}
    main.__spec__ = None
    try:
        yield
    finally:
        main.__dict__.update(hidden)
        # distributed sets some variables for its workers here, too.
        os.environ.clear()
        os.environ.update(environment)


def _fetched(left, cutouts):
    """Yield parts whose images lie here, as they arrive."""
    if cutouts is None:
        yield from left
        return
    with progress_bar(sum(part.count for part in left), "Fetching cut-outs", unit="cut-outs") as bar:
        for part in left:
            yield cutouts.fetch(part, bar)


def _bar(parts, disable=None):
    return progress_bar(sum(part.count for part in parts), "Classifying", disable=disable)


def _here(left, job, cutouts):
    parts = list(_fetched(left, cutouts))
    with _bar(parts) as bar:
        for part in parts:
            classify_part(part, job)
            bar.update(part.count)


def _on_client(left, job, cutouts, client):
    """Hand parts to a scheduler as soon as their images lie here; return the error of a worker or of the scheduler."""
    from distributed import progress, wait

    waiting, in_terminal = {}, sys.stdout.isatty() and not in_notebook()
    try:
        told = f"Dask's dashboard: {client.dashboard_link}"
        if in_terminal:
            print(told)
        for part in _fetched(left, cutouts):
            waiting[client.submit(classify_part, part, job, pure=False)] = part
        if in_terminal:
            progress(list(waiting), notebook=False)
        # Dask's own bar would leave hundreds of lines in a notebook.
        with _bar(left, disable=in_terminal or None) as bar:
            bar.note, last_seen = told, None
            while waiting:
                # Asked again and again, because a scheduler that is gone ends no wait.
                with contextlib.suppress(TimeoutError):
                    wait(list(waiting), timeout=1, return_when="FIRST_COMPLETED")
                done = [future for future in waiting if future.done()]
                if failure := _raise_own(done):
                    return failure
                bar.update(sum(waiting.pop(future).count for future in done))
                # One that dies while it starts is not replaced, and a scheduler without workers waits for ever.
                if done or client.nthreads():
                    last_seen = time.monotonic()
                elif last_seen is not None and time.monotonic() - last_seen > LONGEST_WAIT:
                    return RuntimeError("the cluster has no workers any more")
    except GalaxyUtilsError:
        raise
    except Exception as error:  # what distributed says of a scheduler that is gone has many kinds
        return error
    finally:
        with contextlib.suppress(Exception):
            client.cancel(list(waiting))


def _raise_own(futures):
    """Raise this package's own error, if a part ended with one; return another one, if there is one."""
    failure = None
    for future in futures:
        if future.status == "error":
            failure = future.exception()
            if isinstance(failure, (GalaxyUtilsError, MemoryError, ImportError)):
                raise failure
        elif future.status in ("cancelled", "lost"):
            failure = failure or RuntimeError(f"{future.key} was {future.status}")
    return failure


def _finish(folder, parts, settings):
    """Remove parts of an earlier, longer source; return and record the counts."""
    names = {path_of(folder, part.number).name for part in parts}
    for path in folder.glob("part-*.parquet"):
        if path.name not in names:
            path.unlink()
    counts = dict.fromkeys(("galaxies", "unreadable", "cannot_tell", "unlike_training", "unfetched"), 0)
    reasons = Counter()
    for part in parts:
        known = description(path_of(folder, part.number))
        counts = {name: count + known[name] for name, count in counts.items()}
        reasons.update(known["reasons"])
    about = {name: known[name] for name in ("classes", "calibration", "versions")}
    content = {"settings": settings, "counts": counts, **about}
    if json.loads((folder / RECORD).read_text(encoding="utf-8")) != content:
        write_json(folder / RECORD, content)
    return counts | {"reason": next((reason for reason, _ in reasons.most_common(1)), "")}


def _write_csv(folder, output, parts):
    import pyarrow.csv
    import pyarrow.parquet as pq

    with write_atomically(output) as temporary, explain_write_errors(output):
        schema = pq.read_schema(path_of(folder, 0))
        with pyarrow.csv.CSVWriter(temporary, schema) as writer:
            for part in parts:
                writer.write_table(pq.read_table(path_of(folder, part.number)).replace_schema_metadata(schema.metadata))


def _told(output, counts, about):
    told = f"{counted(counts['galaxies'], 'galaxies')} in {output.name}"
    if counts["unreadable"]:
        share = "all" if counts["unreadable"] == counts["galaxies"] else f"{counts['unreadable']:,}"
        told += f", {share} unreadable (most often: {counts['reason']})"
    if about["is_calibrated"]:
        told += f", {counts['cannot_tell']:,} cannot tell, {counts['unlike_training']:,} unlike the training set"
    else:
        told += ". Not calibrated: save_classifier(…, split=…) lets it say of which it cannot tell"
    if counts["unfetched"]:
        told += f". {counts['unfetched']:,} could not be fetched; called again, it asks for them again"
    if about["crop"] is None and not about["pixel_scale"]:
        told += ". Whole images were taken: the classifier does not say which crop it was trained on"
    return told + "."
