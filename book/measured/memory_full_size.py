"""Measure the memory that chapters 1 to 3 take at the papers' size: 17,736 images of 256 pixels.

    python book/measured/memory_full_size.py
    python book/measured/memory_full_size.py --chapters 03   # only chapters whose names begin so
    python book/measured/memory_full_size.py --limit 3       # what images and tables take, with no more than 3 GB

Makes a file of full size, 3.5 GB, in a temporary folder: pictures of the smoke profile's simulated survey, each shown
dozens of times, at the coordinates and under the labels of a full-size survey. Then runs the code cells of each chapter
in the full profile, as they stand, in a process of its own, and prints three peaks. *Own* memory is what the process
alone holds and nobody can take away: too much of it ends a Colab session. *Resident* memory also counts pages of the
mapped image file, which the system keeps as long as it has room and drops when it has not. *Reserved* memory is own
memory and what was asked for but never touched, such as most of each thread's stack. Without a GPU, own memory
includes what a GPU would hold: weights, gradients, the optimiser's moments and the activations of a batch. Linux only.

Two functions are replaced, because fifty epochs would take days without a GPU. `fit` trains the chapter's network for
one batch of the recipe's size; before the first of them, a tiny network is trained for an epoch over all training
galaxies, through the same input pipeline. `predict` asks the chapter's network about one batch, and answers at random
for all galaxies. So every image has passed through memory, and every network is in it.

With `--limit` the processes get no more memory than that, as the system itself sees to it, and nothing is replaced but
the networks' size and the number of epochs: each network averages the images down to an eighth of their side before its
first convolution, and is trained for one epoch. What is left is what chapters 1 to 3 do with 17,736 images; the papers'
networks at 256 pixels take more than 3 GB by themselves, which is a GPU's where there is one.
"""

import argparse
import functools
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np

REPOSITORY = Path(__file__).resolve().parents[2]
CHAPTERS = ("01_meet_the_galaxies", "02_preprocessing_and_an_honest_split", "03_a_baseline_cnn")
LIMIT = 8.0  # GB; a free Colab session has about 12
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
            images[first : first + 500] = np.stack(
                [survey.images[random.choice(rows_of_class[label])] for label in labels]
            )
        file.attrs["simulated"] = True
        file["ans"], file["ra"], file["dec"] = catalogue.labels, catalogue.ra, catalogue.dec
        file["redshift"] = np.full(num_galaxies, np.nan)
        file["pxscale"] = np.full(num_galaxies, 0.262)


def shorten_training():
    """Replace `fit` and `predict` as the module's first lines say."""
    import keras

    import galaxy_utils as gu

    fit, predict, passed = gu.fit, gu.predict, []

    def tiny(dataset):
        inputs = keras.Input((dataset.image_size, dataset.image_size, 3), dtype="uint8")
        signal = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255, name="scale")(inputs))
        outputs = keras.layers.Dense(dataset.num_classes, "softmax", name="probabilities")(signal)
        return keras.Model(inputs, outputs, name="tiny")

    def short_fit(model, dataset, split, recipe, **options):
        recipe = recipe.replace(epochs=1)
        options.pop("checkpoint", None)
        if not passed:
            fit(tiny(dataset), dataset, split, recipe, **options)
            passed.append(True)
        part = SimpleNamespace(train=split.train[: recipe.batch_size], validation=split.validation[:8])
        return fit(model, dataset, part, recipe, **options)

    def short_predict(model, dataset, rows, batch_size=32):
        predict(model, dataset, rows[:batch_size], batch_size)
        random = np.random.default_rng(len(rows))
        return random.dirichlet(np.ones(dataset.num_classes), len(rows)).astype("float32")

    gu.fit, gu.predict = short_fit, short_predict


def make_networks_small():
    """Let the papers' networks see images of an eighth of their side, and train for one epoch."""
    import keras

    import galaxy_utils as gu

    fit, builders = gu.fit, {name: getattr(gu.models, name) for name in ("four_block_cnn", "three_block_cnn")}

    def small(build, *arguments, **options):
        averaged = keras.layers.AveragePooling2D(8, name="average_8_by_8")
        return build(*arguments, **options, augmentation=averaged)

    def short_fit(model, dataset, split, recipe, **options):
        return fit(model, dataset, split, recipe.replace(epochs=1), **options)

    for name, build in builders.items():
        setattr(gu.models, name, functools.partial(small, build))
    gu.fit = short_fit


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


def run_chapter(name, path, small_networks=False):
    """Run a chapter's code cells; print the peaks of its own, its resident and its reserved memory in GB."""
    import matplotlib

    peaks = {"RssAnon": 0.0, "VmRSS": 0.0, "VmData": 0.0}
    threading.Thread(target=watch_memory, args=(peaks,), daemon=True).start()

    matplotlib.use("Agg")
    if name >= "03":
        make_networks_small() if small_networks else shorten_training()
    notebook = json.loads((REPOSITORY / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))
    names = {"__name__": "__main__"}
    with open(os.devnull, "w") as nowhere:
        sys.stdout, output = nowhere, sys.stdout
        for cell in notebook["cells"]:
            if cell["cell_type"] == "code" and cell["id"] != "set-up":
                exec(compile("".join(cell["source"]), f"{name} {cell['id']}", "exec"), names)
                if "parameters" in cell["metadata"].get("tags", []):
                    names |= {"dataset_source": path, "profile_name": "full"}
        sys.stdout = output
    print(json.dumps(peaks))


def watch_memory(peaks):
    """Keep the largest values that the system states, in GB, ten times a second."""
    while True:
        stated = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        for name in peaks:
            peaks[name] = max(peaks[name], int(stated[name].split()[0]) * 1024 / 1e9)
        time.sleep(0.1)


def in_new_process(*arguments, folder, limit=None):
    """Run this program with other arguments; return what it prints last. A child's peak begins with its parent's."""
    options = with_memory(limit) if limit else {"env": dict(os.environ)}
    options["env"] |= {"PYTHONPATH": str(REPOSITORY), "GALAXY_UTILS_ARTIFACTS": str(folder / "artifacts")}
    if arguments[0] != "--write":
        options["env"]["GALAXY_UTILS_CACHE"] = str(folder / "cache")
    command = [sys.executable, __file__, *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    if result.returncode:
        sys.exit(result.stderr[-3000:])
    return result.stdout.strip().rpartition("\n")[2]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--galaxies", type=int, default=17_736)
    parser.add_argument("--chapters", default="")
    parser.add_argument("--limit", type=float, help="GB that a process may have; without one, networks in full size")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="memory_full_size_") as folder:
        folder = Path(folder)
        # The file, its prepared copy, and a tenth to spare.
        needed = 2.1 * options.galaxies * 256**2 * 3
        if shutil.disk_usage(folder).free < needed:
            sys.exit(f"{folder} needs {needed / 1e9:.1f} GB free.")
        path = folder / "Galaxy10_like.h5"
        in_new_process("--write", path, options.galaxies, folder=folder)
        print(f"{options.galaxies:,} images, {path.stat().st_size / 1e9:.2f} GB", flush=True)
        largest = 0.0
        for name in [name for name in CHAPTERS if name.startswith(options.chapters)]:
            start = time.perf_counter()
            mode = "--small-networks" if options.limit else ""
            peaks = json.loads(in_new_process("--chapter", name, path, mode, folder=folder, limit=options.limit))
            largest = max(largest, peaks["RssAnon"])
            print(
                f"  {name}: own {peaks['RssAnon']:.2f} GB, resident {peaks['VmRSS']:.2f} GB, "
                f"reserved {peaks['VmData']:.2f} GB, {time.perf_counter() - start:.0f} s",
                flush=True,
            )
    if largest > LIMIT:
        sys.exit(f"More than {LIMIT:.0f} GB.")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--write"]:
        write_file(Path(sys.argv[2]), int(sys.argv[3]))
    elif sys.argv[1:2] == ["--chapter"]:
        run_chapter(sys.argv[2], sys.argv[3], small_networks=bool(sys.argv[4]))
    else:
        main()
