"""How many images a second do the batches deliver, with no network behind them?

    python book/measured/batches_speed.py [--galaxies 17736] [--epochs 3] [--json batches_speed.json]

A GPU waits where its batches come slower than it trains. This program makes a file of full size, prepares it at the gpu
profile's 128 px and at the full profile's 256 px, and goes through shuffled batches of the training part as `gu.fit`
does: read from the prepared file, labels one-hot, nothing trained. The first epoch is reported by itself, because the
file may not be in the system's cache yet; the others as a median. What a GPU consumes stands beside it for comparison,
where it is known: it was not measured here.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

from cross_validation import describe_machine
from memory_full_size import write_file

# Images a second that paper 1's network (four blocks, 256 px) trains on. A T4's is an estimate, from its arithmetic.
CONSUMED = {"T4, four-block CNN at 256 px (estimated)": 600}


def images_per_second(dataset, rows, batch_size, epochs):
    """Go through all batches; return images a second for each epoch."""
    from galaxy_utils.data.batches import GalaxyBatches

    batches, speeds = GalaxyBatches(dataset, rows, batch_size, shuffle=True, seed=1), []
    for _ in range(epochs):
        started = time.perf_counter()
        images = sum(len(batches[number][0]) for number in range(len(batches)))
        speeds.append(images / (time.perf_counter() - started))
        batches.on_epoch_end()
    return speeds


def main():
    """Print, and write, images a second at both sizes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--galaxies", type=int, default=17_736)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["GALAXY_UTILS_CACHE"] = str(Path(folder) / "cache")
        import galaxy_utils as gu
        from galaxy_utils.files import write_json

        path = Path(folder) / "Galaxy10_DECals.h5"
        write_file(path, options.galaxies)
        galaxies = gu.load(path)
        for profile in (gu.get_profile("gpu"), gu.get_profile("full")):
            prepared = gu.prepare(galaxies, profile.image_size, profile.crop_fraction)
            split = gu.split(prepared, seed=1)
            first, *others = images_per_second(prepared, split.train, options.batch_size, options.epochs)
            rows[f"{profile.image_size} px"] = {"first epoch": round(first), "later": round(statistics.median(others))}
            print(f"{profile.image_size} px: {first:,.0f} images/s, then {statistics.median(others):,.0f}", flush=True)
    for name, speed in CONSUMED.items():
        print(f"{name}: {speed:,} images/s")
    content = {"images_per_second": rows, "consumed": CONSUMED, "galaxies": options.galaxies}
    content |= {"batch_size": options.batch_size, **describe_machine()}
    if options.json:
        write_json(options.json, content)


if __name__ == "__main__":
    main()
