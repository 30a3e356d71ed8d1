"""How many images a second does `gu.classify` turn into a catalogue, and where does the time go?

    python book/measured/throughput.py [--repeats 5] [--parts 16] [--output book/measured/throughput.json]

The compact network at the size at which it was measured on real galaxies (96 px, of the central half of 256 px), with
one thread to a process. Its weights are random: they do not change what there is to compute. Simulated galaxies lie in
JPEG files of 256 px; 400 of them are rendered, or found in the cache, and each stands under several names.

Measured in turns, so that whatever else the machine does meets all of them: bare `predict` of images in memory,
by one process and by two at once, and `gu.classify` with one worker and with two. Its throughput is that of the running
workers, without their start: parts are counted from the end of the first third of them until fewer are left than there
are workers, by the times of their files. Two independent processes of `predict` are the ceiling for two workers.

Also: the peak memory of each process at two sizes of the source, seconds of each stage for 1,000 images in one process,
and `predict`, `predict_on_batch` and ONNX Runtime, each with one thread, at three batch sizes.

With `--parts 10 --repeats 3` it takes about five minutes on a machine that does nothing else. The disk holds 0.2 GB
for that time.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from cross_validation import describe_machine

import galaxy_utils as gu
from galaxy_utils.catalogue.inputs import PART_SIZE
from galaxy_utils.catalogue.run import ENVIRONMENT
from galaxy_utils.files import write_json

# At this size the compact network was measured on real galaxies, with this crop (`small_recipe.json`).
IMAGE_SIZE, CROP_FRACTION = 96, 0.5
RENDERED = 400
BATCH_SIZES = (16, 64, 256)
WORKERS = (1, 2)
# Images that a process predicts each time that it is asked.
PREDICTED = 1024


def write_classifier(path, images):
    """Write the network with a calibration, as a reader would have it."""
    import keras

    keras.utils.set_random_seed(1)
    model = gu.models.compact_cnn(IMAGE_SIZE)
    small = gu.GalaxyDataset("speed", "simulated galaxies", images, np.arange(len(images)) % 10, fingerprint="speed")
    small = gu.prepare(small, IMAGE_SIZE, CROP_FRACTION)
    rows = np.arange(len(images))
    parts = SimpleNamespace(train=rows[100:], validation=rows[:100])
    gu.save_classifier(path, model, small, split=parts)


def write_images(folder, images, count):
    """Write JPEG files: each image once, then again and again under other names."""
    from PIL import Image

    folder.mkdir()
    for number in range(count):
        path = folder / f"{number:06d}.jpg"
        if number < len(images):
            Image.fromarray(images[number]).save(path, quality=90)
        else:
            os.link(folder / f"{number % len(images):06d}.jpg", path)


# In a process of its own -----------------------------------------------------------------------------------------


def serve(classifier, images):
    """Answer questions, one a line, as a process with one thread: what a child of this program does."""
    network = gu.load_classifier(classifier).model
    pixels = np.random.default_rng(1).integers(0, 256, (PREDICTED, *network.input_shape[1:]), np.uint8)
    tasks = {
        "predict": lambda: network.predict(pixels, batch_size=64, verbose=0),
        "stages": lambda: time_stages(classifier, Path(images)),
        "ways": lambda: time_ways(network, pixels),
    }
    tasks["predict"]()
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        started = time.perf_counter()
        answer = tasks[line.strip()]()
        print(json.dumps([time.perf_counter() - started, answer if isinstance(answer, dict) else None]), flush=True)


def time_stages(classifier, images):
    """Return the seconds of each stage of one part, all after each other in one thread."""
    import pyarrow.parquet as pq

    from galaxy_utils.catalogue import work
    from galaxy_utils.catalogue.inputs import Part
    from galaxy_utils.catalogue.pixels import framed
    from galaxy_utils.data.folder import decode_image

    paths = sorted(images.iterdir())[:PART_SIZE]
    loaded, network = work._open(str(classifier), work.hash_of(classifier))
    about = {"image_size": loaded.image_size, "crop": loaded.crop, "pixel_scale": None}
    seconds, started = {}, time.perf_counter()

    def ended(stage):
        nonlocal started
        seconds[stage] = time.perf_counter() - started
        started = time.perf_counter()

    contents = [path.read_bytes() for path in paths]
    ended("read")
    pixels = [decode_image(content) for content in contents]
    ended("decode")
    pixels = np.stack([framed(image, None, about) for image in pixels])
    ended("frame")
    outputs = [work._predict(network, pixels[first : first + 64]) for first in range(0, len(paths), 64)]
    ended("predict")
    rows = [(path.name, np.nan, np.nan, None) for path in paths]
    part = Part(0, "files", str(images), (), len(paths), "speed")
    table = work._table(rows, outputs, loaded, part, {"classifier": str(classifier), "settings": {}})
    with tempfile.TemporaryDirectory() as folder:
        pq.write_table(table, Path(folder) / "part.parquet", compression="zstd")
    ended("write")
    return seconds


def time_ways(network, pixels):
    """Return images a second of each way to ask the network, at each batch size."""
    session = onnx_session(network)
    speeds = {}
    for size in BATCH_SIZES:
        batches = [pixels[first : first + size] for first in range(0, len(pixels), size)]
        ways = {
            "predict": lambda size=size: network.predict(pixels, batch_size=size, verbose=0),
            "predict_on_batch": lambda batches=batches: [network.predict_on_batch(batch) for batch in batches],
        }
        if session:
            name = session.get_inputs()[0].name
            ways["ONNX Runtime"] = lambda batches=batches, name=name: [
                session.run(None, {name: batch.astype(np.float32)}) for batch in batches
            ]
        for name, ask in ways.items():
            started = time.perf_counter()
            ask()
            speeds[f"{name}, {size}"] = len(pixels) / (time.perf_counter() - started)
    return speeds


def onnx_session(network, made={}):  # noqa: B006 - exported once a process
    """Return an ONNX Runtime of one thread, or `None`."""
    try:
        import onnxruntime
        import tf2onnx  # noqa: F401 - Keras exports with it
    except ImportError:
        return None
    if not made:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        with tempfile.TemporaryDirectory() as folder:
            network.export(Path(folder) / "network.onnx", format="onnx", verbose=False)
            made["session"] = onnxruntime.InferenceSession(Path(folder) / "network.onnx", options)
    return made["session"]


class Child:
    """A process with one thread that predicts when it is asked."""

    def __init__(self, classifier, images):
        command = [sys.executable, __file__, "--serve", str(classifier), str(images)]
        options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
        self.process = subprocess.Popen(command, env=environment(ENVIRONMENT), **options)

    def ask(self, question):
        """Send a question; the answer may come later."""
        print(question, file=self.process.stdin, flush=True)

    def answer(self):
        """Wait for the answer."""
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("a process that predicts has ended")
        return json.loads(line)


def environment(more=()):
    """Return what the processes find in their environment."""
    return {**os.environ, "TF_ENABLE_ONEDNN_OPTS": "1", "PYTHONPATH": str(Path(gu.__file__).parents[1]), **dict(more)}


def predict_speed(children):
    """Return images a second of processes that predict at once."""
    started = time.perf_counter()
    for child in children:
        child.ask("predict")
    for child in children:
        child.answer()
    return len(children) * PREDICTED / (time.perf_counter() - started)


# The whole way ---------------------------------------------------------------------------------------------------


def classify(source, classifier, output, workers, peaks=None):
    """Run the command in a process of its own; return the times of the parts' files, sorted, in seconds.

    Args:
        source: The folder.
        classifier: The file.
        output: The catalogue, which is not there yet.
        workers: How many.
        peaks: A list that gets the largest memory of each process, in bytes, the starting one first.
    """
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    command = classify_command(source, classifier, output, workers)
    with subprocess.Popen(command, env=environment(), **quiet) as process:
        found = watch_memory(process) if peaks is not None else {}
        told = process.communicate()[1]
    if process.returncode:
        raise RuntimeError(f"classify failed: {told[-2000:]}")
    if peaks is not None:
        peaks += found.values()
    return sorted(path.stat().st_mtime_ns / 1e9 for path in Path(output).glob("part-*"))


def classify_command(source, classifier, output, workers):
    """Return what a person would type, as a list."""
    command = [sys.executable, "-m", "galaxy_utils", "classify", source, "--classifier", classifier]
    return [*map(str, command), "--output", str(output), "--workers", str(workers)]


def watch_memory(process, before_each_look=lambda: None):
    """Return the largest resident memory of a process and of all that it started, until it ends: `{pid: bytes}`.

    Args:
        process: A `subprocess.Popen`.
        before_each_look: Called five times a second; it may end the process.
    """
    import psutil

    peaks, whole = {}, psutil.Process(process.pid)
    while process.poll() is None:
        before_each_look()
        try:
            for one in (whole, *whole.children(recursive=True)):
                peaks[one.pid] = max(peaks.get(one.pid, 0), one.memory_info().rss)
        except psutil.Error:
            pass
        time.sleep(0.2)
    return peaks


def speed_of(times, workers):
    """Return images a second of running workers, from the times of their parts."""
    first, last = len(times) // 3, len(times) - workers
    return PART_SIZE * (last - first) / (times[last] - times[first])


def median(values):
    """Return a median of three digits or more."""
    return round(statistics.median(values), 1)


def measure(folder, options):
    """Return everything that is measured."""
    survey = gu.load("simulated", profile=gu.get_profile("smoke"))
    images = np.asarray(survey.images[:RENDERED])
    classifier = folder / "compact.keras"
    write_classifier(classifier, images)
    write_images(folder / "images", images, options.parts * PART_SIZE)
    write_images(folder / "fewer", images, max(2, options.parts // 4) * PART_SIZE)
    children = [Child(classifier, folder / "images") for _ in WORKERS]
    for child in children:
        child.answer()
    speeds = {f"{kind}, {workers}": [] for kind in ("predict", "classify") for workers in WORKERS}
    stages, ways = [], []
    children[0].ask("ways")
    children[0].answer()  # translating the network for each batch size takes longer than using it
    for repeat in range(options.repeats):
        for workers in WORKERS:
            speeds[f"predict, {workers}"].append(predict_speed(children[:workers]))
            output = folder / f"{repeat}_{workers}.parquet"
            times = classify(folder / "images", classifier, output, workers)
            speeds[f"classify, {workers}"].append(speed_of(times, workers))
        for question, found in (("stages", stages), ("ways", ways)):
            children[0].ask(question)
            found.append(children[0].answer()[1])
        print(f"{repeat + 1} of {options.repeats}: " + told(speeds), flush=True)
    for child in children:
        child.process.stdin.close()
        child.process.wait()
    peaks = {}
    for name in ("fewer", "images"):
        found = []
        classify(folder / name, classifier, folder / f"memory_{name}.parquet", 2, found)
        # The starting process, its two workers, and small ones that help.
        peaks[f"{len(list((folder / name).iterdir())):,} images"] = [
            round(one / 1e6) for one in sorted(found)[::-1][:3]
        ]
    return summary(speeds, stages, ways, peaks)


def told(speeds):
    """Return the latest speeds as a line."""
    return ", ".join(f"{name} {values[-1]:,.0f}/s" for name, values in speeds.items())


def summary(speeds, stages, ways, peaks):
    """Return medians, and ratios of what was measured in the same turn."""
    content = {"images_per_second": {name: median(values) for name, values in speeds.items()}, "each": speeds}
    ratios = {}
    for workers in WORKERS:
        pairs = zip(speeds[f"classify, {workers}"], speeds[f"predict, {workers}"], strict=True)
        ratios[f"classify to predict, {workers}"] = [one / other for one, other in pairs]
    for kind in ("predict", "classify"):
        pairs = zip(speeds[f"{kind}, 2"], speeds[f"{kind}, 1"], strict=True)
        ratios[f"{kind}, 2 to 1"] = [one / other for one, other in pairs]
    content["ratios"] = {name: round(statistics.median(values), 3) for name, values in ratios.items()}
    names = list(stages[0])
    factor = 1_000 / PART_SIZE
    content["stage_seconds_per_1000"] = {
        name: round(factor * statistics.median(one[name] for one in stages), 3) for name in names
    }
    content["ways_images_per_second"] = {name: median(one[name] for one in ways) for name in ways[0]}
    return content | {"peak_memory_mb": peaks}


def main():
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--parts", type=int, default=16, help="of 512 images each, at least 6")
    parser.add_argument("--output", type=Path, help="JSON file for the results")
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(*options.serve)
        return
    with tempfile.TemporaryDirectory() as folder:
        content = measure(Path(folder), options)
    about = {"network": "compact_cnn", "image_size": IMAGE_SIZE, "crop_fraction": CROP_FRACTION}
    about |= {"source": "JPEG, 256 px, quality 90", "part_size": PART_SIZE, "parts": options.parts}
    content = {"program": "book/measured/throughput.py", **about, "repeats": options.repeats, **content}
    print(json.dumps({name: value for name, value in content.items() if name != "each"}, indent=2))
    if options.output:
        write_json(options.output, {**content, **describe_machine()})


if __name__ == "__main__":
    main()
