"""Measure the memory and the work of all chapters at the papers' number of images: 17,736.

    python book/measured/memory_full_size.py                                # both long profiles, all chapters
    python book/measured/memory_full_size.py --profiles gpu --chapters 03   # only chapters whose names begin so
    python book/measured/memory_full_size.py --galaxies 400 --json try.json # a try, in a file of its own
    python book/measured/memory_full_size.py --limit 3   # what images and tables take, with no more than 3 GB

Makes a file of full size, 3.5 GB, in a temporary folder: pictures of the smoke profile's simulated survey, each shown
dozens of times under other noise, at the coordinates and under the labels of a full-size survey. Then runs the code
cells of each chapter in the gpu profile (the central 128 pixels) and in the full one (256), as they stand, solutions
too, in a process of its own, and notes three peaks. *Own* memory is what the process alone holds and nobody can take
away: too much of it ends a Colab session. *Resident* memory also counts pages of the mapped image file, which the
system keeps as long as it has room and drops when it has not. *Reserved* memory is own memory and what was asked for
but never touched, such as most of each thread's stack. Without a GPU, own memory includes what a GPU would hold:
weights, gradients, the optimiser's moments and the activations of a batch. Linux only.

Trainings are shortened, because they would take days without a GPU: `shorten.py` says how, and notes what was asked of
the networks: images, and operations for each of them (`count_operations.py`). So the work of a chapter is known without
being done: `make plan` makes minutes of it. *Seconds* are the processor's for the rest of the chapter, other
programs not counted, and for the first step of each network, which is when Keras translates it.

What one chapter leaves for the next lies in one folder for each profile, so chapter 10 finds chapter 9's GAN. Each
finished chapter is written into `full_size.json` at once, with a key made of its cells, the package, these programs and
the number of galaxies. One whose key is there is not measured again, unless a chapter that is measured needs its files.

With `--limit` the processes get no more memory than that, as the system itself sees to it, and nothing is replaced but
the networks' size and the number of epochs: each network averages the images down to an eighth of their side before its
first convolution, and is trained for one epoch. What is left is what chapters 1 to 3 do with 17,736 images; the papers'
networks at 256 pixels take more than 3 GB by themselves, which is a GPU's where there is one.
"""

import argparse
import hashlib
import json
import linecache
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import h5py
import numpy as np

REPOSITORY = Path(__file__).resolve().parents[2]
NOTEBOOKS = REPOSITORY / "notebooks"
ALL_CHAPTERS = tuple(path.stem for path in sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb")))
CHAPTERS = ALL_CHAPTERS[:3]  # with --limit
PROFILES = ("gpu", "full")
RESULTS = Path(__file__).with_name("full_size.json")
FORMAT = 2
LIMIT = 8.0  # GB, with --limit
ROOM = 12.0  # GB; what a free Colab session has, about
# Bytes on the disk for each pixel value of the file: itself, its prepared copies, stored features of chapter 7.
DISK, DISK_WITH_LIMIT = 6.5, 2.1
COARSE_NOISE = 20.0  # grey levels
STACK_BYTES, SHARE_OF_POOL = 4 * 2**20, 1 / 2


def write_file(path, num_galaxies):
    """Write a file in the schema of the official one: rendering so many galaxies would take an hour, this a minute."""
    import galaxy_utils
    from galaxy_utils.data.simulated import build_catalogue

    survey = galaxy_utils.load("simulated", profile="smoke")
    catalogue = build_catalogue(num_galaxies, seed=1)
    random = np.random.default_rng(1)
    rows_of_class = [np.flatnonzero(survey.labels == label) for label in range(10)]
    with h5py.File(path, "w") as file:
        shape = (num_galaxies, survey.image_size, survey.image_size, 3)
        images = file.create_dataset("images", shape, np.uint8)
        for first in range(0, num_galaxies, 500):
            labels = catalogue.labels[first : first + 500]
            pictures = np.stack([survey.images[random.choice(rows_of_class[label])] for label in labels])
            # Under noise of its own, coarse enough to be seen in thumbnails, no picture is found to be another's copy.
            noise = random.normal(0, COARSE_NOISE, (len(labels), shape[1] // 4, shape[2] // 4, 3))
            noise = noise.astype(np.float32).repeat(4, axis=1).repeat(4, axis=2)
            images[first : first + 500] = np.clip(pictures + noise, 0, 255)
        file.attrs["simulated"] = True
        file["ans"], file["ra"], file["dec"] = catalogue.labels, catalogue.ra, catalogue.dec
        file["redshift"] = np.full(num_galaxies, np.nan)
        file["pxscale"] = np.full(num_galaxies, 0.262)


def make_networks_small():
    """Let every network that scales its images see them at an eighth of their side, and train for one epoch."""
    import keras

    fit = keras.Model.fit

    class Rescaling(keras.layers.Rescaling):
        def call(self, images):
            return keras.ops.average_pool(super().call(images), 8, 8)

        def compute_output_shape(self, shape):
            return shape[0], shape[1] // 8, shape[2] // 8, shape[3]

    # In a chapter's cells as in the package, whose networks take over each other's weights.
    keras.layers.Rescaling = Rescaling
    keras.Model.fit = lambda model, *given, **options: fit(model, *given, **options | {"epochs": 1})


def with_memory(gigabytes):
    """Return options for `subprocess.run` that give a process, and those that it starts, so much memory of their own.

    RLIMIT_DATA limits what one process has reserved for itself, touched or not: always more than it takes from a
    machine. Mapped files are not in it; a machine does not run out of them either. Two things reserve much more than
    they touch, and are kept in bounds, so that the limit means what a machine of this size would mean:

    - Each thread sets a stack aside, 8 MB of which it touches kilobytes, and a machine with many cores has hundreds.
      With less than 4 MB, however, the linear algebra of NumPy and scikit-learn ends the process.
    - TensorFlow on a CPU keeps a pool, doubles it whenever it is full, and never gives it back. Its bound is the
      memory of the machine, which is more than this process may have here: it would take all that is left up to the
      limit, and the next thread could not start.
    """

    def limit():
        resource.setrlimit(resource.RLIMIT_STACK, (STACK_BYTES, resource.getrlimit(resource.RLIMIT_STACK)[1]))
        resource.setrlimit(resource.RLIMIT_DATA, (int(gigabytes * 1e9),) * 2)

    # Before the process begins: both are read at its start.
    pool = int(gigabytes * 1e9 * SHARE_OF_POOL)
    return {"preexec_fn": limit, "env": {**os.environ, "TF_MKL_ALLOC_MAX_BYTES": str(pool)}}


def read_notebook(name):
    return json.loads((NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8"))


def code_cells(name):
    """Return `[(cell's number and id, its code, its tags)]` of a chapter; the set-up cell is left out."""
    cells = enumerate(read_notebook(name)["cells"], start=1)
    return [
        (f"{name}, cell {number} ({cell['id']})", "".join(cell["source"]), cell["metadata"].get("tags", []))
        for number, cell in cells
        if cell["cell_type"] == "code" and cell["id"] != "set-up"
    ]


def run_chapter(name, path, profile, small_networks=False):
    """Run a chapter's code cells; print, as JSON, the peaks of memory in GB and what the chapter asked for."""
    import matplotlib

    peaks, started, shortened = {"RssAnon": 0.0, "VmRSS": 0.0, "VmData": 0.0}, time.process_time(), None
    threading.Thread(target=watch_memory, args=(peaks,), daemon=True).start()

    matplotlib.use("Agg")
    if small_networks and name >= "03":
        make_networks_small()
    elif name >= "03":
        from shorten import Shortened

        shortened = Shortened()
    names = {"__name__": "__main__"}
    with open(os.devnull, "w") as nowhere:
        sys.stdout, output = nowhere, sys.stdout
        for place, code, tags in code_cells(name):
            linecache.cache[place] = len(code), None, code.splitlines(keepends=True), place
            exec(compile(code, place, "exec"), names)
            if "parameters" in tags:
                names |= {"dataset_source": path, "profile_name": profile}
        sys.stdout = output
    result = {**peaks, "seconds": time.process_time() - started, "trainings": [], "predictions": []}
    if shortened:
        result["seconds"] -= shortened.seconds
        result |= {"trainings": shortened.trainings, "predictions": shortened.predictions}
    if not small_networks:
        from cross_validation import describe_machine

        result |= describe_machine()
    print(json.dumps(result), flush=True)


def watch_memory(peaks):
    """Keep the largest values that the system states, in GB, ten times a second."""
    while True:
        stated = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        for name in peaks:
            peaks[name] = max(peaks[name], int(stated[name].split()[0]) * 1024 / 1e9)
        time.sleep(0.1)


def in_new_process(*arguments, folder, limit=None):
    """Run this program with other arguments; return what it prints as JSON. A child's peak begins with its parent's.

    Raises:
        RuntimeError: It failed; the end of what it said.
    """
    options = with_memory(limit) if limit else {"env": dict(os.environ)}
    options["env"] |= {"PYTHONPATH": str(REPOSITORY), "GALAXY_UTILS_ARTIFACTS": str(folder / "artifacts")}
    if arguments[0] != "--write":
        options["env"]["GALAXY_UTILS_CACHE"] = str(folder / "cache")
    if not limit:
        options["env"].setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        # As the set-up cell of a chapter does it.
        options["env"].setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
        options["cwd"] = NOTEBOOKS
    command = [sys.executable, Path(__file__).resolve(), *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    if result.returncode:
        raise RuntimeError(result.stderr[-3000:] or f"ended with {result.returncode}")
    # TensorFlow prints below Python's back, and may do so last.
    return next((line for line in reversed(result.stdout.splitlines()) if line.startswith("{")), "")


def chapter_key(name, profile, num_galaxies):
    """Return what a chapter's figures depend on, in 16 characters."""
    digest = hashlib.sha256(json.dumps([FORMAT, name, profile, num_galaxies, code_cells(name)]).encode())
    programs = [Path(__file__).with_name(f"{program}.py") for program in ("shorten", "count_operations")]
    for path in sorted([*(REPOSITORY / "galaxy_utils").rglob("*.py"), *programs]):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def with_needed(names):
    """Return these chapters and those whose files they need, in reading order."""
    wanted = set(names)
    for name in reversed(ALL_CHAPTERS):
        if name in wanted:
            wanted.update(read_notebook(name)["metadata"].get("galaxy_book", {}).get("needs", ()))
    return [name for name in ALL_CHAPTERS if name in wanted]


def figures(result, key, num_galaxies):
    """Return a chapter's entry in the JSON file."""
    names = {"own_gb": "RssAnon", "resident_gb": "VmRSS", "reserved_gb": "VmData"}
    entry = {"key": key, "galaxies": num_galaxies}
    entry |= {name: round(result[stated], 2) for name, stated in names.items()}
    entry["seconds"] = round(result["seconds"], 1)
    for kind in ("trainings", "predictions"):
        gflop = sum(note["images"] * note["gflop_per_image"] for note in result[kind])
        entry[f"pflop_of_{kind}"] = float(f"{gflop / 1e6:.4g}")
    entry["pflop"] = float(f"{entry['pflop_of_trainings'] + entry['pflop_of_predictions']:.4g}")
    return entry | {kind: result[kind] for kind in ("trainings", "predictions")}


def write_in_new_process(path, options, folder):
    in_new_process("--write", path, options.galaxies, folder=folder)
    print(f"{options.galaxies:,} images, {path.stat().st_size / 1e9:.2f} GB", flush=True)


def measure(options, path, folder):
    """Measure what is asked for and not yet known; write each chapter down at once.

    Returns:
        What went wrong: chapters that failed, and those that took more memory than a Colab session has.
    """
    # From `galaxy_utils` alone, so that this process stays small.
    from galaxy_utils.files import write_json

    content = {"profiles": {}}
    if options.json.exists():
        content = json.loads(options.json.read_text(encoding="utf-8"))
    asked, wrong = [name for name in ALL_CHAPTERS if name.startswith(options.chapters)], []
    for profile in options.profiles:
        known = content["profiles"].setdefault(profile, {})
        keys = {name: chapter_key(name, profile, options.galaxies) for name in ALL_CHAPTERS}
        missing = [name for name in asked if known.get(name, {}).get("key") != keys[name]]
        print(f"{profile}: {len(asked) - len(missing)} of {len(asked)} chapters are known", flush=True)
        for name in with_needed(missing):
            if not path.exists():
                write_in_new_process(path, options, folder)
            try:
                result = json.loads(in_new_process("--chapter", name, path, profile, folder=folder))
            except RuntimeError as error:
                wrong.append(f"{name} in the {profile} profile failed")
                print(f"  {name}: failed\n{error}", flush=True)
                continue
            known[name] = figures(result, keys[name], options.galaxies)
            content["profiles"][profile] = dict(sorted(known.items()))
            known = content["profiles"][profile]
            content |= {what: result[what] for what in ("versions", "device")}
            write_json(options.json, content)
            print(row(name, known[name]), flush=True)
            if known[name]["own_gb"] > ROOM:
                wrong.append(f"{name} in the {profile} profile takes more than {ROOM:.0f} GB")
        # Files of one profile are of no use to another, and take gigabytes.
        for left in ("artifacts", "cache"):
            shutil.rmtree(folder / left, ignore_errors=True)
    print_table(content, options.profiles)
    return wrong


def row(name, entry):
    return (
        f"  {name:<38}{entry['own_gb']:>7.2f}{entry['resident_gb']:>10.2f}{entry['reserved_gb']:>10.2f}"
        f"{entry['seconds']:>9.0f}{entry['pflop']:>10.4g}"
    )


def print_table(content, profiles):
    """Print all that is known."""
    for profile in profiles:
        print(f"\n{profile:<38}{'own GB':>9}{'resident':>10}{'reserved':>10}{'seconds':>9}{'PFLOP':>10}")
        for name, entry in content["profiles"].get(profile, {}).items():
            print(row(name, entry))


def measure_with_limit(options, path, folder):
    """Run chapters 1 to 3 with little memory, networks made small; return the largest own memory in GB."""
    largest = 0.0
    for name in [name for name in CHAPTERS if name.startswith(options.chapters)]:
        start = time.perf_counter()
        arguments = ("--chapter", name, path, "full", "--small-networks")
        peaks = json.loads(in_new_process(*arguments, folder=folder, limit=options.limit))
        largest = max(largest, peaks["RssAnon"])
        print(
            f"  {name}: own {peaks['RssAnon']:.2f} GB, resident {peaks['VmRSS']:.2f} GB, "
            f"reserved {peaks['VmData']:.2f} GB, {time.perf_counter() - start:.0f} s",
            flush=True,
        )
    return largest


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--galaxies", type=int, default=17_736)
    parser.add_argument("--chapters", default="", help="how the names of the chapters begin, such as 03")
    parser.add_argument("--profiles", nargs="+", default=PROFILES, choices=PROFILES)
    parser.add_argument("--json", type=Path, default=RESULTS, help="where the figures go, and are looked for")
    parser.add_argument("--limit", type=float, help="GB that a process may have; without one, networks in full size")
    options = parser.parse_args()
    if options.galaxies != parser.get_default("galaxies") and not options.limit and options.json == RESULTS:
        parser.error("other numbers of galaxies would write over what was measured: name another --json")
    with tempfile.TemporaryDirectory(prefix="memory_full_size_") as folder:
        folder = Path(folder)
        needed = (DISK_WITH_LIMIT if options.limit else DISK) * options.galaxies * 256**2 * 3
        if shutil.disk_usage(folder).free < needed:
            sys.exit(f"{folder} needs {needed / 1e9:.1f} GB free.")
        path = folder / "Galaxy10_like.h5"
        try:
            if options.limit:
                write_in_new_process(path, options, folder)
                largest = measure_with_limit(options, path, folder)
                wrong = [f"More than {LIMIT:.0f} GB."] if largest > LIMIT else []
            else:
                wrong = measure(options, path, folder)
        except RuntimeError as error:
            sys.exit(str(error))
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--write"]:
        write_file(Path(sys.argv[2]), int(sys.argv[3]))
    elif sys.argv[1:2] == ["--chapter"]:
        run_chapter(*sys.argv[2:5], small_networks=len(sys.argv) > 5)
    else:
        main()
