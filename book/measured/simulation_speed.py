"""How many galaxies does one core render in a second, at 256 pixels and in the survey's own mix of classes?

    python book/measured/simulation_speed.py

Wall-clock time counts whatever else the machine does; processor time is what the rendering itself cost.
"""

import argparse
import os

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

import tempfile  # noqa: E402
import time  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402

from galaxy_utils.data.simulated import render_galaxy, simulate_survey  # noqa: E402


def main():
    """Render small surveys with one worker and print the rates."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--galaxies", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    for label in range(10):
        render_galaxy(label)  # GalSim fills its tables on first use.
    wall, processor = [], []
    for repeat in range(options.repeats):
        with tempfile.TemporaryDirectory() as folder:
            started, worked = time.perf_counter(), time.process_time()
            simulate_survey(Path(folder) / "survey.h5", options.galaxies, seed=repeat, num_workers=1)
            wall.append(options.galaxies / (time.perf_counter() - started))
            processor.append(options.galaxies / (time.process_time() - worked))
    print(f"{options.galaxies} galaxies of 256 pixels, one worker, median of {options.repeats} (lowest to highest):")
    for name, rates in (("wall clock", wall), ("processor", processor)):
        print(f"  {name:10s} {np.median(rates):5.1f} galaxies/s/core ({min(rates):.1f} to {max(rates):.1f})")


if __name__ == "__main__":
    main()
