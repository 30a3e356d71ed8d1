"""100,000 cut-outs in one run, killed five times: is the catalogue the one that an undisturbed run makes?

    python book/measured/survey_of_100000.py FOLDER [--images 100000] [--kills 5] [--workers 2]

3,000 galaxies are simulated, or found in the cache; that takes minutes. From each come as many cut-outs of 64 px as are
needed: seen in one of the eight ways of the dihedral group, shifted by up to four pixels, made brighter or fainter by
up to a fifth. So they are no 100,000 independent galaxies, and nothing is said here of how well they are classified; it
is about rows, seconds and memory. They lie as JPEG in Parquet files of 1,024, as `datasets` writes them: 0.2 GB.

A compact network is trained for two epochs and saved with its calibration. `python -m galaxy_utils classify` then makes
one catalogue undisturbed, and another one that is killed, with all its processes, whenever a random number of further
parts is done; begun again each time. Both are compared, part by part and row by row.

What is in FOLDER stays there: called again, the program goes on. Only a run that is being timed begins anew. On two
cores that do nothing else the whole takes about five minutes. `FOLDER/survey_of_100000.json` holds the result.
"""

import argparse
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from cross_validation import describe_machine
from throughput import classify_command, environment, watch_memory

import galaxy_utils as gu
from galaxy_utils.data.views import dihedral_view
from galaxy_utils.files import write_atomically, write_json

SIDE, MARGIN, BRIGHTNESS = 64, 4, 0.2
ROW_GROUP = 512


def cutout(wide, number):
    """Return cut-out `number`, shape (64, 64, 3), of galaxies that show four pixels more on each side."""
    random = np.random.default_rng((1, number))
    galaxy, view = number % len(wide), number // len(wide) % 8
    image = dihedral_view(np.asarray(wide[galaxy])[None], view)[0]
    top, left = random.integers(0, 2 * MARGIN + 1, 2)
    image = image[top : top + SIDE, left : left + SIDE] * random.uniform(1 - BRIGHTNESS, 1 + BRIGHTNESS)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def write_shards(folder, wide, count, size):
    """Write the Parquet files that are not there yet."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from PIL import Image

    for first in range(0, count, size):
        path = folder / f"survey-{first // size:05d}.parquet"
        if path.exists():
            continue
        rows = []
        for number in range(first, min(first + size, count)):
            Image.fromarray(cutout(wide, number)).save(content := io.BytesIO(), "JPEG", quality=90)
            rows.append({"bytes": content.getvalue(), "path": f"{number:07d}.jpg"})
        with write_atomically(path) as temporary:
            pq.write_table(pa.table({"image": rows}), temporary, row_group_size=ROW_GROUP)
        if first // size % 10 == 0:
            print(f"cut-outs: {first + len(rows):,} of {count:,}", flush=True)


def prepare(folder, options):
    """Simulate, train, and write what is to be classified; return the source and the classifier."""
    survey = gu.load("simulated", profile=replace(gu.get_profile("demo"), simulated_galaxies=options.galaxies))
    classifier, source = folder / "compact.keras", folder / "images"
    if not classifier.exists():
        print("training", flush=True)
        galaxies = gu.prepare(survey, SIDE, 0.5)
        parts = gu.split(galaxies)
        model = gu.models.compact_cnn(SIDE, seed=1)
        gu.fit(model, galaxies, parts, gu.recipes.COMPACT_CNN.replace(epochs=options.epochs), seed=1, progress=False)
        # The cut-outs show what the training images show, at their scale: nothing is to be cropped.
        gu.save_classifier(classifier, model, galaxies, crop=1.0, split=parts)
    side = SIDE + 2 * MARGIN
    write_shards(source, gu.prepare(survey, side, 0.5 * side / SIDE).images, options.images, options.shard_size)
    return source, classifier


def run(source, classifier, output, workers, until=None, delay=0.0):
    """Run the command to its end, or kill it once so many parts are there; return seconds, peaks, whether it ended.

    Peaks are the largest resident memory of the starting process and of its largest worker, in bytes.
    """
    started, command = time.perf_counter(), classify_command(source, classifier, output, workers)
    with open(output.with_suffix(".log"), "a") as log:
        process = subprocess.Popen(command, env=environment(), stdout=log, stderr=log, start_new_session=True)

    def kill_when_due():
        if until is not None and len(list(output.glob("part-*"))) >= until:
            time.sleep(delay)
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    peaks = watch_memory(process, kill_when_due)
    if process.returncode > 0:
        raise RuntimeError(f"classify failed: see {output.with_suffix('.log')}")
    own = peaks.pop(process.pid, 0)
    return time.perf_counter() - started, [own, max(peaks.values(), default=0)], process.returncode == 0


def undisturbed(source, classifier, folder, workers):
    """Make the catalogue without a kill; return what it took."""
    record, output = folder / "undisturbed.json", folder / "undisturbed.parquet"
    if not record.exists():
        shutil.rmtree(output, ignore_errors=True)
        seconds, peaks, ended = run(source, classifier, output, workers)
        if not ended:
            raise RuntimeError("the undisturbed run was killed by somebody else")
        write_json(record, {"seconds": round(seconds, 1), "peak_memory_mb": in_megabytes(peaks)})
    return json.loads(record.read_text()), output


def killed(source, classifier, folder, options, parts):
    """Make the catalogue with kills; return what it took and when it was killed."""
    record, output = folder / "killed.json", folder / "killed.parquet"
    if not record.exists():
        shutil.rmtree(output, ignore_errors=True)
        random, kills, total, largest = np.random.default_rng(options.seed), [], 0.0, [0, 0]
        for number in range(options.kills + 1):
            # Spread over the catalogue: one kill in each of as many pieces of it.
            place = int((number + random.uniform(0, 0.9)) / options.kills * parts)
            until = max(1, place) if number < options.kills else None
            seconds, peaks, ended = run(source, classifier, output, options.workers, until, random.uniform(0, 0.5))
            total, largest = total + seconds, [max(pair) for pair in zip(largest, peaks, strict=True)]
            if ended != (until is None):
                raise RuntimeError(f"run {number + 1} ended otherwise than it should: {'ended' if ended else 'killed'}")
            if not ended:
                left = [path.name for path in output.glob(".*.partial")] if output.exists() else []
                kills.append({"parts_done": len(list(output.glob("part-*"))), "half_written_files": len(left)})
                print(f"kill {number + 1}: {kills[-1]}", flush=True)
        content = {"seconds": round(total, 1), "peak_memory_mb": in_megabytes(largest), "kills": kills}
        write_json(record, content)
    return json.loads(record.read_text()), output


def in_megabytes(peaks):
    """Return peaks by name."""
    return {name: round(peak / 1e6) for name, peak in zip(("starting process", "worker"), peaks, strict=True)}


def compare(first, second, count):
    """Return how two catalogues differ, part by part: in their rows, in their files' bytes; and their identifiers."""
    import pyarrow.parquet as pq

    names = [sorted(path.name for path in folder.glob("part-*")) for folder in (first, second)]
    equal_rows = equal_files = 0
    identifiers = []
    for name in names[0] if names[0] == names[1] else ():
        # As tables, so that a number that is missing equals a number that is missing.
        tables = [pq.read_table(folder / name).replace_schema_metadata() for folder in (first, second)]
        equal_rows += tables[0].equals(tables[1])
        digests = [hashlib.sha256((folder / name).read_bytes()).hexdigest() for folder in (first, second)]
        equal_files += digests[0] == digests[1]
        identifiers += tables[1]["id"].to_pylist()
    expected = [f"{number:07d}.jpg" for number in range(count)]
    left = [path.name for folder in (first, second) for path in folder.glob(".*.partial")]
    content = {"parts": [len(one) for one in names], "parts_with_equal_rows": equal_rows}
    content |= {"parts_with_equal_bytes": equal_files, "rows": len(identifiers), "half_written_files": len(left)}
    content["each_identifier_once_and_in_order"] = identifiers == expected
    content["equal"] = names[0] == names[1] and equal_rows == len(names[0]) and identifiers == expected and not left
    return content


def main():
    """Make both catalogues, compare, and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--galaxies", type=int, default=3_000, help="that are simulated")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--shard-size", type=int, default=1_024, help="images of a Parquet file")
    parser.add_argument("--seed", type=int, default=1, help="of the moments of the kills")
    options = parser.parse_args()
    # Records of other options are not taken for these.
    about = {name: value for name, value in vars(options).items() if name != "folder"}
    folder = options.folder.absolute() / "_".join(map(str, about.values()))
    folder.mkdir(parents=True, exist_ok=True)
    source, classifier = prepare(folder, options)
    print("undisturbed", flush=True)
    plain, first = undisturbed(source, classifier, folder, options.workers)
    print(f"{plain}\nkilled", flush=True)
    parts = len(list(first.glob("part-*")))
    disturbed, second = killed(source, classifier, folder, options, parts)
    settings = {name: value for name, value in vars(options).items() if name != "folder"}
    content = {"program": "book/measured/survey_of_100000.py", "settings": settings, "undisturbed": plain}
    content |= {"killed": disturbed, "images_per_second": round(options.images / plain["seconds"], 1)}
    content["comparison"] = compare(first, second, options.images)
    print(json.dumps(content, indent=2))
    write_json(folder / "survey_of_100000.json", {**content, **describe_machine()})
    return 0 if content["comparison"]["equal"] else 1


if __name__ == "__main__":
    sys.exit(main())
