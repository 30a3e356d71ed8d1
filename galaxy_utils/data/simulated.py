"""A simulated survey in the schema of Galaxy10 DECaLS: rendered here, reproducible, with true soft labels.

The pictures come from `galaxy_recipes`; this module decides which galaxies stand where on the sky, renders them on all
cores and writes one HDF5 file with the keys of the official one (`images`, `ans`, `ra`, `dec`, `redshift`, `pxscale`)
plus `vote_fractions`.
"""

import contextlib
import os
import sys
import threading
import time
from collections import namedtuple
from pathlib import Path

import galsim
import h5py
import joblib
import numpy as np

from galaxy_utils.classes import NUM_CLASSES, OFFICIAL_CLASS_COUNTS
from galaxy_utils.data import galaxy_recipes, morphology, survey_camera
from galaxy_utils.data.galaxy10 import open_galaxy10
from galaxy_utils.data.positions import pairs_within
from galaxy_utils.errors import DataError, check_argument, check_integer
from galaxy_utils.files import cache_folder, locked, write_atomically
from galaxy_utils.profiles import get_profile
from galaxy_utils.progress import progress_bar

# A class with fewer galaxies cannot be split into three parts that each show it.
MINIMUM_PER_CLASS = 8
GALAXIES_PER_TASK = 16
# Side of the cut-outs of the official file, pixels.
FULL_SIZE = 256

# Where the real cut-outs lie, as (first and last RA, first and last Dec, share of the galaxies), degrees: read off the
# official coordinates, about a third of them north of Dec +32.375.
FOOTPRINT = (
    (115.0, 255.0, 32.375, 62.0, 0.325),
    (140.0, 250.0, 62.0, 76.0, 0.040),
    (115.0, 250.0, 0.0, 32.375, 0.470),
    (130.0, 240.0, -8.0, 0.0, 0.050),
    (312.0, 360.0, -8.0, 16.0, 0.060),
    (0.0, 60.0, -10.0, 16.0, 0.055),
)

# In the official file 59 galaxies stand twice at the same coordinates, each time under two classes, and 123 further
# pairs lie closer than 33.5 arcseconds. Pairs of labels and how often each occurs there (rare ones left out):
OFFICIAL_COUNT = sum(OFFICIAL_CLASS_COUNTS)
TWINS = {(0, 7): 19, (1, 7): 8, (0, 3): 6, (2, 6): 5, (0, 2): 4, (7, 9): 4, (1, 5): 2, (5, 9): 2, (6, 9): 2}
NUM_TWINS = 59
NEIGHBOURS = {(1, 1): 96, (8, 8): 8, (7, 7): 4, (9, 9): 2, (1, 2): 2}
NUM_NEIGHBOURS = 123


# What stands in each row of a simulated survey, before any picture is drawn; an array each, of shape (n,):
#
#     labels        class of each row, sorted, uint8
#     galaxy        row whose galaxy this row shows: its own, or that of the row it repeats, int64
#     partner       row of a second galaxy in the picture, or -1, int64
#     offset        where the row's own galaxy stands relative to the picture's centre, and where the partner stands
#                   relative to the row's galaxy: x1, y1, x2, y2, arcseconds, shape (n, 4), float64
#     shares_field  whether another row shows part of the same sky, bool
#     ra, dec       degrees, float64
Catalogue = namedtuple("Catalogue", "labels galaxy partner offset shares_field ra dec")


def class_counts(num_galaxies):
    """Return how many galaxies each class gets: the official shares by largest remainder, but a few of each.

    Args:
        num_galaxies: Size of the survey, at least one galaxy a class.
    """
    exact = np.array(OFFICIAL_CLASS_COUNTS) / OFFICIAL_COUNT * num_galaxies
    counts = exact.astype(int)
    largest_remainders = np.argsort(counts - exact, kind="stable")
    counts[largest_remainders[: num_galaxies - counts.sum()]] += 1
    minimum = min(MINIMUM_PER_CLASS, num_galaxies // NUM_CLASSES)
    while counts.min() < minimum:
        counts[counts.argmin()] += 1
        counts[counts.argmax()] -= 1
    return counts


def _random_generator(seed, row, purpose):
    # One stream per galaxy and purpose: the pictures do not depend on who draws them, or in which order.
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(row, purpose)))


(CATALOGUE_STREAM, MORPHOLOGY_STREAM, GALAXY_STREAM, FIELD_STREAM, SEEING_STREAM, SKY_STREAM, VOTE_STREAM) = range(7)


def _draw_positions(count, rng):
    boxes = np.array(FOOTPRINT)
    west, east, south, north, _ = boxes[rng.choice(len(boxes), size=count, p=boxes[:, 4] / boxes[:, 4].sum())].T
    ra = west + rng.random(count) * (east - west)
    low, high = np.sin(np.radians([south, north]))
    return ra, np.degrees(np.arcsin(low + rng.random(count) * (high - low)))


def build_catalogue(num_galaxies, seed):
    """Decide labels, sky positions, twins and neighbours of a survey; see `Catalogue`.

    Rows are sorted by class, as in the official file. Twins repeat another row's picture and coordinates under another
    label. Neighbours share a field: two galaxies in one cut-out, which is centred on each in turn.
    """
    rng = _random_generator(seed, num_galaxies, CATALOGUE_STREAM)
    labels = np.repeat(np.arange(NUM_CLASSES, dtype=np.uint8), class_counts(num_galaxies))
    galaxy, partner = np.arange(num_galaxies), np.full(num_galaxies, -1)
    offset, shares_field = np.zeros((num_galaxies, 4)), np.zeros(num_galaxies, bool)
    ra, dec = _draw_positions(num_galaxies, rng)
    # By chance two unrelated galaxies may fall close together; their cut-outs would not show each other.
    while len(close := pairs_within(ra, dec, 120.0)):
        ra[close[:, 1]], dec[close[:, 1]] = _draw_positions(len(close), rng)

    free = {label: list(rng.permutation(np.flatnonzero(labels == label))) for label in range(NUM_CLASSES)}

    def choose_pairs(table, count):
        kinds, weights = list(table), np.array(list(table.values()), float)
        for kind in rng.choice(len(kinds), size=count, p=weights / weights.sum()):
            first, second = rng.permutation(kinds[kind])
            # Always leave a few galaxies of a class alone in their cut-outs.
            if min(len(free[first]), len(free[second])) > 3:
                yield free[first].pop(), free[second].pop()

    share, few = num_galaxies / OFFICIAL_COUNT, num_galaxies < 100
    for row, twin in choose_pairs(TWINS, 0 if few else max(2, round(NUM_TWINS * share))):
        galaxy[twin], ra[twin], dec[twin] = row, ra[row], dec[row]
    for row, other in choose_pairs(NEIGHBOURS, 0 if few else max(1, round(NUM_NEIGHBOURS * share))):
        if labels[row] == labels[other] == morphology.MERGING:
            # Both members of one merger have a row: the same scene, centred on the other member.
            galaxy[other] = row
            x, y = _morphology(labels, seed, row).companion
            offset[other] = -x, -y, 0, 0
        else:
            distance, direction = rng.uniform(9, 30), rng.uniform(0, 2 * np.pi)
            x, y = distance * np.cos(direction), distance * np.sin(direction)
            partner[row], partner[other] = other, row
            offset[row], offset[other] = (0, 0, x, y), (0, 0, -x, -y)
        shares_field[[row, other]] = True
        # North is up and east is left; pixel rows count downwards.
        dec[other] = dec[row] - y / 3600
        ra[other] = (ra[row] - x / 3600 / np.cos(np.radians(dec[row]))) % 360
    return Catalogue(labels, galaxy, partner, offset, shares_field, ra, dec)


def _morphology(labels, seed, row):
    return morphology.draw_morphology(int(labels[row]), _random_generator(seed, row, MORPHOLOGY_STREAM))


def _render_row(catalogue, seed, row, image_size):
    """Return picture (image_size, image_size, 3) uint8, vote fractions (10,) float32 and redshift of one row."""
    shown, partner = int(catalogue.galaxy[row]), int(catalogue.partner[row])
    x1, y1, x2, y2 = catalogue.offset[row]
    canvas = survey_camera.Canvas(image_size)
    # The scene of a pair belongs to its first row, so that both cut-outs show the same stars.
    field = shown if partner < 0 else min(shown, partner)
    field_x, field_y = (x1, y1) if field == shown else (x2, y2)
    rng = _random_generator(seed, field, FIELD_STREAM)
    galaxy_recipes.paint_field(canvas, rng, field_x, field_y, wide=bool(catalogue.shares_field[row]))
    for member, x, y in ((shown, x1, y1), (partner, x2, y2)):
        if member >= 0:
            true, rng = _morphology(catalogue.labels, seed, member), _random_generator(seed, member, GALAXY_STREAM)
            galaxy_recipes.paint_galaxy(canvas, true, rng, x, y)
    northern = catalogue.dec[row] > survey_camera.NORTHERN_DECLINATION
    telescope = survey_camera.BASS_MZLS if northern else survey_camera.DECAM
    bands = survey_camera.blur(canvas, telescope, _random_generator(seed, field, SEEING_STREAM))
    # A twin is the same cut-out down to its noise; a neighbour's cut-out has noise of its own.
    rng = _random_generator(seed, row if catalogue.shares_field[row] else shown, SKY_STREAM)
    bands = survey_camera.add_noise(bands, telescope, canvas.pixel_scale, rng)
    picture = survey_camera.compress(survey_camera.stretch_rgb(bands))
    true, rng = _morphology(catalogue.labels, seed, shown), _random_generator(seed, shown, VOTE_STREAM)
    votes = morphology.cast_votes(true, rng)
    return picture, votes, np.float64(morphology.draw_redshift(true, rng))


def _end_with(parent):
    """Let this worker end when the process that started it, whose number is given, is killed.

    joblib's workers hand over what they have rendered through pipes that they all hold open: with nobody left to read,
    they would wait for ever, and keep a hundred megabytes each.
    """

    def watch():
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    # A process whose parent has died gets another one, but not on Windows.
    if sys.platform != "win32":
        threading.Thread(target=watch, daemon=True).start()


def render_galaxy(label, seed=1, image_size=FULL_SIZE):
    """Render one galaxy of a class as a cut-out like those of the survey.

    Args:
        label: Class, 0 to 9.
        seed: Another seed, another galaxy.
        image_size: Side in pixels; the field of view stays 67 arcseconds.

    Returns:
        Array of shape (image_size, image_size, 3), uint8, RGB.

    Raises:
        ConfigurationError: The label is not in 0 to 9.
    """
    check_argument(label in range(NUM_CLASSES), "label", label, "0 to 9")
    # A catalogue of one row: its own galaxy, no partner, in the middle, on the equator.
    catalogue = Catalogue([label], [0], [-1], np.zeros((1, 4)), [False], [0.0], [0.0])
    return _render_row(catalogue, seed, 0, image_size)[0]


def _is_complete(path, settings):
    """Whether a file at `path` is this very survey."""
    # A damaged file makes HDF5 raise nearly anything.
    with contextlib.suppress(Exception), h5py.File(path, "r") as file:
        # Another GalSim version may change the last digit of a pixel; that is no reason to render again.
        return all(file.attrs.get(name) == value for name, value in settings.items())
    return False


def simulate_survey(path, num_galaxies, seed=1, image_size=FULL_SIZE, num_workers=None, replace=False):
    """Render a simulated survey into an HDF5 file with the schema of Galaxy10 DECaLS, or keep the one that is there.

    Keys: `images` (n, s, s, 3) uint8; `ans` (n,) uint8, sorted; `ra`, `dec` (n,) float64, degrees; `redshift` (n,)
    float64, some NaN; `pxscale` (n,) float64, arcseconds; `vote_fractions` (n, 10) float32. File attributes: simulated,
    seed, recipe_version, galsim_version, num_galaxies, image_size, num_volunteers. The same seed gives the same
    values, however many workers render. The file appears under its name only when it is complete.

    Args:
        path: The file to write.
        num_galaxies: How many rows; at least 10.
        seed: Seed of everything.
        image_size: Side of the pictures in pixels, 32 or more; they always span 67 arcseconds.
        num_workers: Processes that render; `None` means all cores.
        replace: Whether a file that is damaged or another makes way.

    Returns:
        The path.

    Raises:
        ConfigurationError: Too few galaxies, too small pictures.
        DataError: The path holds another file.
        StorageError: The disk has no room, or the cache folder cannot be written to.
    """
    check_integer("num_galaxies", num_galaxies, NUM_CLASSES, "each class has one")
    check_integer("image_size", image_size, 32)
    settings = {"seed": int(seed), "num_galaxies": int(num_galaxies), "image_size": int(image_size)}
    settings["recipe_version"] = galaxy_recipes.RECIPE_VERSION
    path = Path(path)
    # Looked at without a lock: a cache that somebody else has filled may be read-only.
    if _is_complete(path, settings):
        return path
    with locked(path):
        # Another process may have rendered it while this one waited for the lock.
        if not _is_complete(path, settings):
            if path.exists() and not replace:
                remedy = "delete it, or name another file"
                raise DataError("Another file stands in the way.", where=path, expected=settings, remedy=remedy)
            with write_atomically(path, size=num_galaxies * image_size**2 * 3 * 1.02) as temporary:
                _write_survey(temporary, settings, num_workers)
    return path


def _write_survey(path, settings, num_workers):
    num_galaxies, seed, image_size = settings["num_galaxies"], settings["seed"], settings["image_size"]
    catalogue = build_catalogue(num_galaxies, seed)
    # joblib's workers start clean: they need no guarded main module and inherit nothing from TensorFlow's threads.
    num_workers = min(num_workers or joblib.cpu_count(), num_galaxies)
    options = {"batch_size": GALAXIES_PER_TASK, "pre_dispatch": 2 * num_workers * GALAXIES_PER_TASK}
    options |= {"return_as": "generator", "initializer": _end_with, "initargs": (os.getpid(),)}
    pool = joblib.Parallel(num_workers, backend="loky", **options)
    results = pool(joblib.delayed(_render_row)(catalogue, seed, row, image_size) for row in range(num_galaxies))
    with h5py.File(path, "w") as file:
        file.attrs.update(settings, simulated=True, num_volunteers=morphology.NUM_VOLUNTEERS)
        file.attrs["galsim_version"] = galsim.__version__
        file["ans"], file["ra"], file["dec"] = catalogue.labels, catalogue.ra, catalogue.dec
        file["pxscale"] = np.full(num_galaxies, survey_camera.FIELD_OF_VIEW / image_size)
        columns = {"images": ((image_size, image_size, 3), np.uint8), "vote_fractions": ((NUM_CLASSES,), np.float32)}
        columns["redshift"] = ((), np.float64)
        starts = [_place(file, key, (num_galaxies, *shape), dtype) for key, (shape, dtype) in columns.items()]
    # What is rendered is written past HDF5, to the places that it has set aside: the library ends the whole process
    # (seen with h5py 3.14, HDF5 1.14) when it has to close a file on a disk that became full.
    with open(path, "r+b") as file, progress_bar(num_galaxies, "Rendering the simulated survey") as bar:
        for row, columns in enumerate(results):
            for start, values in zip(starts, columns, strict=True):
                file.seek(start + row * values.nbytes)
                file.write(values.tobytes())
            bar.update(1)


def _place(file, key, shape, dtype):
    """Set room aside for a data set whose values come later; return where it begins in the file, bytes."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    return file.create_dataset(key, shape, dtype, dcpl=properties).id.get_offset()


def load_simulated(profile="demo", seed=1):
    """Return the simulated survey of a profile, rendered on first use and kept in the cache folder.

    Args:
        profile: Name of a profile or a `Profile`; its `simulated_galaxies` sets the size.
        seed: Seed of the survey.

    Returns:
        A `GalaxyDataset` with lazy images and `vote_fractions`. Each label is the class whose recipe drew the galaxy;
        the plurality of the votes agrees with it for most galaxies, and the twins entered under a second class are
        the exceptions on purpose.

    Raises:
        ConfigurationError: There is no such profile.
        StorageError: The disk has no room, or the cache folder cannot be written to.
    """
    num_galaxies = get_profile(profile).simulated_galaxies
    name = f"survey_n{num_galaxies}_seed{seed}_recipe{galaxy_recipes.RECIPE_VERSION}.h5"
    # Only a damaged survey can carry this name there.
    path = simulate_survey(cache_folder() / "simulated" / name, num_galaxies, seed, replace=True)
    return open_galaxy10(path)
