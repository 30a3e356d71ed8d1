"""One part of a catalogue: its images are read, predicted in batches that no worker decides, and written at once."""

import concurrent.futures
import functools
import hashlib
import json
import threading
from collections import Counter
from pathlib import Path

import numpy as np

from galaxy_utils.catalogue.inputs import find_columns, open_hdf5, unit_in_name
from galaxy_utils.catalogue.pixels import framed, read_bytes, read_file
from galaxy_utils.data.positions import parse_position
from galaxy_utils.errors import DataError
from galaxy_utils.files import write_atomically

# Key of a Parquet file's metadata.
ABOUT = b"galaxy_utils"
# Networks are not made for several threads at once.
_LOCK = threading.Lock()


def path_of(folder, number):
    """Return the file of a part."""
    return Path(folder) / f"part-{number:06d}.parquet"


def description(path):
    """Return what a part's file says of itself, `{}` where there is none or another."""
    import pyarrow.parquet as pq

    try:
        return json.loads(pq.read_metadata(path).metadata[ABOUT])
    except Exception:  # missing, damaged, or somebody else's
        return {}


def classify_part(part, job):
    """Classify one part, unless its file is there already; the same file, whoever does it and however often.

    Args:
        part: A `Part`.
        job: `folder`, `classifier` (path), `hash`, `about`, `settings`, `threads`, `batch_size`.

    Returns:
        The part's number.

    Raises:
        DataError: The classifier is another one than when the run began, or its output is not a number.
        StorageError: The disk is full.
    """
    import pyarrow.parquet as pq

    path = path_of(job["folder"], part.number)
    known = description(path)
    if known.get("key") == part.key and not known["unfetched"]:
        return part.number
    with _LOCK:
        classifier, network = _open(job["classifier"], job["hash"])
    rows, outputs = [], []
    with concurrent.futures.ThreadPoolExecutor(job["threads"]) as threads:
        for images, read in _batches(threads, part, job):
            with _LOCK:
                outputs.append(_predict(network, images))
            rows += read
    table = _table(rows, outputs, classifier, part, job)
    with write_atomically(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")
    return part.number


@functools.lru_cache(1)
def _open(path, digest):
    from galaxy_utils.calibration import with_features
    from galaxy_utils.classifier_file import load_classifier

    if (found := hash_of(path)) != digest:
        expected, remedy = f"SHA-256 {digest}", "leave the file as it is while it works, or start again"
        raise DataError("The classifier has changed.", where=path, expected=expected, found=found, remedy=remedy)
    classifier = load_classifier(path)
    return classifier, with_features(classifier.model)


def hash_of(path):
    """Return a file's SHA-256."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _predict(network, images):
    outputs = network.predict_on_batch(images)
    outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
    return [np.asarray(output, np.float32).reshape(len(images), -1) for output in outputs]


def _batches(threads, part, job):
    """Yield batches of images, all of one size, with the (identifier, ra, dec, problem) of each row.

    The next batch is read while the network works on one.
    """
    about, size, waiting = job["about"], job["batch_size"], None
    source, chosen = _rows(part, job["settings"]), []
    for row in source:
        chosen.append(threads.submit(_one, row, about))
        if len(chosen) == size:
            if waiting:
                yield _batch(waiting, about, size)
            waiting, chosen = chosen, []
    for last in (waiting, chosen):
        if last:
            yield _batch(last, about, size)


def _batch(futures, about, size):
    # A batch that is not full, or has an unreadable image, holds black ones: all are computed in the same way.
    images = np.zeros((size, about["image_size"], about["image_size"], 3), np.uint8)
    rows = []
    for place, future in enumerate(futures):
        row, pixels = future.result()
        rows.append(row)
        if pixels is not None:
            images[place] = pixels
    return images, rows


def _one(row, about):
    """Return (identifier, ra, dec, problem) of a row, and its image as the network takes it, or `None`."""
    identifier, ra, dec, scale, read = row
    try:
        pixels, own_scale, own_ra, own_dec = read()
        if (ra is None or np.isnan(ra)) and own_ra is not None:
            ra, dec = own_ra, own_dec
        return (identifier, ra, dec, None), framed(pixels, own_scale or scale or about["told_scale"], about)
    except ValueError as error:
        return (identifier, ra, dec, " ".join(str(error).split())[:300]), None


def _fail(problem):
    raise ValueError(problem)


def _rows(part, settings):
    """Yield (identifier, ra, dec, arcseconds per pixel or `None`, a function that reads the image)."""
    if part.kind == "files":
        for identifier, ra, dec, path, scale, problem in part.items:
            read = functools.partial(_fail, problem) if problem else functools.partial(read_file, Path(path))
            yield identifier, ra, dec, scale, read
    elif part.kind == "hdf5":
        path, (first, last) = Path(part.where), part.items
        images, columns, units = open_hdf5(path, first, last)
        for place, row in enumerate(range(first, last)):
            ra, dec = _position(columns["ra"][place], columns["dec"][place], units)
            scale = float(columns["pxscale"][place])
            yield f"{path.name} {row}", ra, dec, scale if scale > 0 else None, functools.partial(_read_row, images, row)
    else:
        yield from _parquet_rows(part, settings)


def _read_row(images, row):
    try:
        pixels = images[row]
    except DataError as error:
        raise ValueError(error.found or str(error)) from error
    side = min(pixels.shape[:2])
    top, left = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
    return pixels[top : top + side, left : left + side], None, None, None


def _position(ra, dec, units):
    """Return degrees, NaN for what is no position: the image is there all the same."""
    texts = ["" if angle is None else str(angle) for angle in (ra, dec)]
    try:
        return parse_position(*texts, units.get("ra", ""), units.get("dec", ""))
    except ValueError:
        return np.nan, np.nan


def _parquet_rows(part, settings):
    import pyarrow.parquet as pq

    path = Path(part.where)
    with pq.ParquetFile(path, buffer_size=2**20) as file:
        found = find_columns(file.schema_arrow, settings["columns"], path)
        units = {name: unit_in_name(name, found[name]) for name in ("ra", "dec") if name in found}
        row = sum(file.metadata.row_group(group).num_rows for group in range(part.items[0]))
        options = {"row_groups": list(part.items), "columns": list(found.values())}
        for batch in file.iter_batches(32, **options):
            for values in batch.to_pylist():
                image, ra, dec = (values.get(found.get(name)) for name in ("image", "ra", "dec"))
                image = image if isinstance(image, dict) else {"bytes": image}
                named = values[found["id"]] if "id" in found else image.get("path")
                ra, dec = _position(ra, dec, units)
                read = functools.partial(read_bytes, image.get("bytes"), image.get("path"))
                yield f"{path.name} {row}" if named is None else str(named), ra, dec, None, read
                row += 1


def columns_of(class_names):
    """Return the columns with the probabilities, one for each class."""
    return [
        "p_" + "_".join(filter(None, "".join(c if c.isalnum() else " " for c in n).split(" "))) for n in class_names
    ]


def _table(rows, outputs, classifier, part, job):
    import pyarrow as pa

    from galaxy_utils.calibration import DECIMALS
    from galaxy_utils.report import software_versions

    identifiers, ra, dec, problems = zip(*rows, strict=True)
    probabilities = np.concatenate([output[0] for output in outputs])[: len(rows)]
    right = np.array([problem is None for problem in problems])
    if not np.isfinite(probabilities[right]).all():
        remedy = "see whether its training diverged, and train again"
        raise DataError("The network's output is not a number.", where=job["classifier"], remedy=remedy)
    calibration, distances = classifier.calibration, None
    if calibration:
        probabilities = calibration.scaled(probabilities)
        if calibration.reference is not None:
            features = np.concatenate([output[1] for output in outputs])[: len(rows)]
            distances = np.round(calibration.distances(features), DECIMALS)
    # Everything else follows from what is written, so that a reader finds the same.
    probabilities = np.round(probabilities.astype(np.float64), DECIMALS)
    entropy = -np.sum(probabilities * np.log(np.maximum(probabilities, 1e-12)), axis=1)
    columns = {"id": pa.array(identifiers, pa.string())}
    for name, angles in (("ra", ra), ("dec", dec)):
        angles = np.array(angles, np.float64)
        columns[name] = pa.array(angles, mask=np.isnan(angles))

    def column(values, kind):
        return pa.nulls(len(rows), kind) if values is None else pa.array(values, kind, mask=~right)

    def flag(values, otherwise):
        # Without gaps, which would make objects of a column of truth values, and those no masks.
        return pa.nulls(len(rows), pa.bool_()) if values is None else pa.array(np.where(right, values, otherwise))

    for place, name in enumerate(columns_of(classifier.class_names)):
        columns[name] = column(probabilities[:, place], pa.float64())
    predicted = np.array(classifier.class_names, object)[probabilities.argmax(axis=1)]
    unsure = calibration and probabilities.max(axis=1) < calibration.threshold
    unlike = None if distances is None else distances > calibration.distance_limit
    columns["predicted"] = column(predicted, pa.string())
    columns["entropy"] = column(np.round(entropy, DECIMALS), pa.float64())
    columns["cannot_tell"] = flag(unsure, ~right)
    columns["feature_distance"] = column(distances, pa.float64())
    columns["unlike_training"] = flag(unlike, False)
    columns["problem"] = pa.array(problems, pa.string())
    counts = {"galaxies": len(rows), "unreadable": int((~right).sum())}
    counts["cannot_tell"] = 0 if unsure is None else int(unsure[right].sum())
    counts["unlike_training"] = 0 if unlike is None else int(unlike[right].sum())
    counts["unfetched"] = sum("could not be fetched" in (problem or "") for problem in problems)
    counts["reasons"] = dict(Counter(filter(None, problems)).most_common(5))
    about = {"key": part.key, **counts, "settings": job["settings"], "classes": list(classifier.class_names)}
    about |= {"calibration": calibration and calibration.to_dict(), "versions": software_versions()}
    return pa.table(columns).replace_schema_metadata({ABOUT: json.dumps(about).encode()})
