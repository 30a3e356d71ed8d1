"""Cut the real galaxies on which this book's recipes were measured out of the official file.

    .venv/bin/python book/measured/real_sample.py Galaxy10_DECals.h5 FOLDER

`real_sample.csv` has the row and the class of 700 of the 799; of the other 99 the rows are not known. FOLDER then holds
a sub-folder for each class, with PNG files, and `manifest.csv` with their positions, as `gu.load(FOLDER)` and the
programs beside this one read them. (The images that were measured were JPEG files.)
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

import galaxy_utils as gu
from galaxy_utils.errors import DataError, GalaxyUtilsError
from galaxy_utils.files import write_atomically

SAMPLE = Path(__file__).with_name("real_sample.csv")


def cut_out(galaxies, folder, sample=SAMPLE):
    """Write the galaxies of the sample. Return the table that was written beside them.

    Args:
        galaxies: A `GalaxyDataset` of the official file.
        folder: Where the images go; it is made.
        sample: A CSV file with the columns `row`, in the file, and `label`.

    Raises:
        DataError: The file has other labels in these rows: it is not the official one.
    """
    wanted = pd.read_csv(sample)
    if wanted.row.max() >= len(galaxies) or not np.array_equal(galaxies.labels[wanted.row], wanted.label):
        problem, remedy = "This is not the official file: it has other labels.", "download that: gu.load('galaxy10')"
        raise DataError(problem, where=galaxies.name, expected=f"those of {sample.name}", remedy=remedy)
    names = []
    for row, label in wanted.itertuples(index=False):
        name = f"{label}_{galaxies.class_names[label].replace(' ', '_')}/g10_{row:05d}.png"
        path = Path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with write_atomically(path) as partial:
            Image.fromarray(np.asarray(galaxies.images[row])).save(partial, "PNG")
        names.append(name)
    about = {"file": names, "ra": galaxies.ra[wanted.row], "dec": galaxies.dec[wanted.row]}
    table = pd.DataFrame(about)
    with write_atomically(Path(folder, "manifest.csv")) as partial:
        table.to_csv(partial, index=False)
    return table


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", help="the official file, or galaxy10 to have it downloaded")
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    try:
        print(f"{len(cut_out(gu.load(options.file), options.folder))} galaxies are in {options.folder}")
    except GalaxyUtilsError as error:
        sys.exit(str(error))
