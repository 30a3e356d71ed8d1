"""Measure `prepare` on a file of full size: its speed against a plain sequential read, and its peak memory.

    python book/measured/prepare_speed.py                       # compressed, hundreds of images in each chunk
    python book/measured/prepare_speed.py --layout image        # compressed, one image in each chunk
    python book/measured/prepare_speed.py --layout contiguous   # not compressed, the fastest to read

Makes a file of 17,736 images of 256 pixels in a temporary folder (up to 3.5 GB, removed afterwards), then alternates a
plain read of all images through h5py with `prepare`, each in a process of its own, and prints medians. Where the system
allows it (Linux), the file is dropped from the system's cache before each run, so that both read from the disk;
`--cached` leaves it there, and a plain read of an uncompressed file is then a mere copy of memory.

The official file is compressed (2.54 GB for 3.49 GB of pixels). How it groups images into chunks was not looked up;
the default layout is what h5py chooses by itself, and the slowest to read image by image.
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np

# Rows to read at once: whole chunks of every layout here, about 100 MB.
ROWS_AT_ONCE = 555


def write_file(path, num_galaxies, side, layout):
    """Write noisy blobs in the schema of Galaxy10 DECaLS."""
    random = np.random.default_rng(1)
    y, x = np.mgrid[:side, :side] - side / 2
    blob = 200 * np.exp(-(x**2 + y**2) / (2 * (side / 12) ** 2))[..., None]
    block = np.clip(random.normal(20, 4, (ROWS_AT_ONCE, side, side, 3)) + blob, 0, 255).astype(np.uint8)
    options = {
        "contiguous": {},
        "image": {"chunks": (1, side, side, 3), "compression": "gzip"},
        "automatic": {"chunks": True, "compression": "gzip"},
    }
    with h5py.File(path, "w") as file:
        shape = (num_galaxies, side, side, 3)
        images = file.create_dataset("images", shape, np.uint8, **options[layout])
        for first in range(0, num_galaxies, ROWS_AT_ONCE):
            last = min(first + ROWS_AT_ONCE, num_galaxies)
            images[first:last] = np.roll(block, first % 97, axis=0)[: last - first]
        file["ans"] = np.sort(random.integers(0, 10, num_galaxies)).astype(np.uint8)
        file["ra"] = random.uniform(0, 360, num_galaxies)
        file["dec"] = random.uniform(-20, 80, num_galaxies)
        file["redshift"] = np.full(num_galaxies, np.nan)
        file["pxscale"] = np.full(num_galaxies, 0.262)


def plain_read(path):
    """Read all images in order; print the seconds."""
    start = time.perf_counter()
    with h5py.File(path) as file:
        images = file["images"]
        for first in range(0, len(images), ROWS_AT_ONCE):
            images[first : first + ROWS_AT_ONCE]
    print(time.perf_counter() - start)


def forget(path):
    """Drop a file from the system's cache, where the system can."""
    if hasattr(os, "posix_fadvise"):
        with open(path, "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def timed_prepare(path, image_size, crop_fraction):
    """Prepare all images; print the seconds and by how much the peak memory grew over the imported package."""
    import galaxy_utils

    dataset = galaxy_utils.load(path)
    prepare = galaxy_utils.prepare
    before = peak_memory()
    start = time.perf_counter()
    prepare(dataset, image_size, crop_fraction)
    print(time.perf_counter() - start, peak_memory() - before)


def peak_memory():
    """Highest resident memory of this process so far, MB. The system counts kB on Linux and bytes on macOS."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e3 if sys.platform == "linux" else 1e6)


def in_new_process(*arguments, cache):
    command = [sys.executable, __file__, *map(str, arguments)]
    environment = {**os.environ, "GALAXY_UTILS_CACHE": str(cache), "PYTHONPATH": str(Path(__file__).parents[1])}
    finished = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return [float(number) for number in finished.stdout.split()]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--galaxies", type=int, default=17736)
    parser.add_argument("--layout", choices=("contiguous", "image", "automatic"), default="automatic")
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--crop-fraction", type=float, default=0.5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cached", action="store_true", help="leave the file in the system's cache")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory(prefix="prepare_speed_") as folder:
        folder = Path(folder)
        # The file, the largest prepared copy of it, and a tenth to spare.
        needed = 2.1 * options.galaxies * 256**2 * 3
        if shutil.disk_usage(folder).free < needed:
            sys.exit(f"{folder} needs {needed / 1e9:.1f} GB free.")
        path = folder / "noise.h5"
        # Not in this process: on Linux a child's peak memory begins with what its parent holds.
        in_new_process("--write", path, options.galaxies, options.layout, cache=folder / "cache")
        print(f"{options.galaxies:,} images, {options.layout}, {path.stat().st_size / 1e9:.2f} GB", flush=True)
        reads, prepares, growths = [], [], []
        for _ in range(options.rounds):
            shutil.rmtree(folder / "cache", ignore_errors=True)
            if not options.cached:
                forget(path)
            read = in_new_process("--read", path, cache=folder / "cache")[0]
            if not options.cached:
                forget(path)
            seconds, growth = in_new_process(
                "--prepare", path, options.image_size, options.crop_fraction, cache=folder / "cache"
            )
            reads.append(read), prepares.append(seconds), growths.append(growth)
            print(f"  read {read:.2f} s, prepare {seconds:.2f} s, growth {growth:.0f} MB", flush=True)
    read, seconds = statistics.median(reads), statistics.median(prepares)
    print(f"plain read {read:.2f} s, prepare {seconds:.2f} s: speed ratio {read / seconds:.2f}")
    print(f"peak memory grew by {max(growths):.0f} MB")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--write"]:
        write_file(Path(sys.argv[2]), int(sys.argv[3]), 256, sys.argv[4])
    elif sys.argv[1:2] == ["--read"]:
        plain_read(Path(sys.argv[2]))
    elif sys.argv[1:2] == ["--prepare"]:
        timed_prepare(Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
    else:
        main()
