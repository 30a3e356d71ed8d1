"""A simulated survey in the file format of Galaxy10 DECaLS, for whoever has no real galaxies at hand.

Ten classes in the real proportions, sky positions with the real file's oddities (galaxies entered twice under two
labels, neighbours within half a cut-out), and what the real file lacks: the vote fractions behind every label.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from galaxy_utils.classes import NUM_CLASSES, OFFICIAL_CLASS_COUNTS
from galaxy_utils.data.galaxy10 import open_galaxy10
from galaxy_utils.data.galaxy_drawing import (
    NORTHERN_BORDER,
    PIXEL_SCALE,
    colour_image,
    draw_galaxy,
    light,
    observe,
    surroundings,
    volunteer_probabilities,
)
from galaxy_utils.errors import ConfigurationError, DataError
from galaxy_utils.files import cache_folder, locked, write_atomically
from galaxy_utils.profiles import get_profile
from galaxy_utils.progress import progress_bar

# Part of the cached file's name: raise it whenever the same seed no longer gives the same galaxies.
SURVEY_VERSION = 1
FULL_SIZE = 256
SMALLEST_SURVEY = 100
VOLUNTEERS = 40  # votes per galaxy, as in Galaxy Zoo DECaLS (Walmsley et al. 2022)
# Of the 17,736 real rows: pairs at identical coordinates, and further pairs within half a cut-out (33.5 arcseconds).
EXACT_PAIRS, NEAR_PAIRS, REAL_ROWS = 59, 182 - 59, 17736
NORTHERN_SHARE = 6462 / 17736
# Galaxies that one process renders before it hands them over.
BATCH = 16


@dataclass(frozen=True)
class _Plan:
    """Everything about a survey that is decided before the first image is drawn. One entry per row."""

    labels: np.ndarray
    source: np.ndarray  # the row whose image this row shows: its own, or that of the galaxy it repeats
    neighbour: np.ndarray  # the row that stands in this row's cut-out, or -1
    ra: np.ndarray
    dec: np.ndarray
    redshift: np.ndarray
    vote_fractions: np.ndarray


def load_simulated(profile="demo", seed=1):
    """Return the simulated survey of a profile, rendering it first where it is not in the cache yet.

    Args:
        profile: Profile or its name; decides how many galaxies there are.
        seed: The same seed gives the same galaxies.

    Returns:
        A `GalaxyDataset` with `is_simulated` and `vote_fractions` set.
    """
    num_galaxies = get_profile(profile).simulated_galaxies
    name = f"survey{SURVEY_VERSION}_{num_galaxies}_seed{seed}.h5"
    path = cache_folder() / "simulated" / name
    with locked(path):
        if not path.exists():
            simulate_survey(path, num_galaxies, seed)
    return open_galaxy10(path)


def simulate_survey(path, num_galaxies, seed=1, image_size=FULL_SIZE, num_workers=None):
    """Render a survey into an HDF5 file with the keys of Galaxy10 DECaLS and a further one, `vote_fractions`.

    Rows are sorted by class, as in the real file. The label is the class a galaxy was drawn as; `vote_fractions`
    (n, 10) float32 is how 40 simulated volunteers voted, and mostly, not always, agrees with it. About 0.33 % of the
    galaxies stand in the file twice, at identical coordinates, under two labels.

    Args:
        path: Where the file goes. It appears there only when it is complete.
        num_galaxies: At least 100.
        seed: The same seed gives the same bytes in every data set, however many processes work.
        image_size: Side of the images, pixels of 0.262 arcseconds.
        num_workers: Processes; all cores by default.

    Raises:
        ConfigurationError: Numbers that make no survey.
        DataError: The disk has no room for it.
    """
    if num_galaxies < SMALLEST_SURVEY or image_size < 32 or seed < 0:
        raise ConfigurationError(
            "Such a survey cannot be simulated.",
            where="num_galaxies, image_size, seed",
            expected=f"at least {SMALLEST_SURVEY} galaxies of at least 32 pixels, and a seed of at least 0",
            found=f"{num_galaxies}, {image_size}, {seed}",
        )
    from joblib import Parallel, delayed

    path = Path(path)
    _check_free_space(path, num_galaxies * image_size**2 * 3)
    plan = _plan_survey(num_galaxies, seed)
    batches = [range(first, min(first + BATCH, num_galaxies)) for first in range(0, num_galaxies, BATCH)]
    # joblib's processes also start from a notebook, and from a script without a main guard. They start afresh and
    # share nothing, so a galaxy depends on its row and the seed alone.
    workers = Parallel(n_jobs=num_workers or -1, return_as="generator")
    rendered = workers(delayed(_render_rows)(plan, rows, seed, image_size) for rows in batches)
    with write_atomically(path) as temporary, h5py.File(temporary, "w") as file:
        images = file.create_dataset("images", (num_galaxies, image_size, image_size, 3), np.uint8)
        with progress_bar(num_galaxies, "Rendering the simulated survey") as bar:
            for rows, block in zip(batches, rendered, strict=True):
                images[rows.start : rows.stop] = block
                bar.update(len(rows))
        file["ans"] = plan.labels.astype(np.uint8)
        file["ra"], file["dec"], file["redshift"] = plan.ra, plan.dec, plan.redshift
        file["pxscale"] = np.full(num_galaxies, PIXEL_SCALE)
        file["vote_fractions"] = plan.vote_fractions
        file.attrs.update({"simulated": True, "seed": seed, "survey_version": SURVEY_VERSION})


def render_galaxy(label, seed=1, image_size=FULL_SIZE, northern=False):
    """Render one galaxy with its surroundings.

    Args:
        label: Class, 0–9.
        seed: The same seed gives the same picture.
        image_size: Side, pixels of 0.262 arcseconds.
        northern: Whether it is seen by the telescopes of the northern part.

    Returns:
        RGB image, shape (image_size, image_size, 3), dtype uint8.

    Raises:
        ConfigurationError: There is no such class.
    """
    if label not in range(NUM_CLASSES):
        raise ConfigurationError(
            "There is no such class.", where="label", expected=f"0 to {NUM_CLASSES - 1}", found=repr(label)
        )
    random = np.random.default_rng([seed, int(label)])
    galaxy = draw_galaxy(label, random)
    image = light(galaxy, image_size, random) + surroundings(image_size, random)
    return colour_image(observe(image, northern, random))


def _plan_survey(num_galaxies, seed):
    random = np.random.default_rng([seed, 0])
    labels = np.repeat(np.arange(NUM_CLASSES), _class_counts(num_galaxies))
    votes = np.stack([_vote(_galaxy_of_row(labels, row, seed), seed, row) for row in range(num_galaxies)])
    ra, dec = _positions(num_galaxies, random)
    source, neighbour = np.arange(num_galaxies), np.full(num_galaxies, -1)
    free = random.permutation(num_galaxies).tolist()

    # The second entry of a galaxy takes a row of the class that got the second most votes.
    for _ in range(max(2, round(EXACT_PAIRS / REAL_ROWS * num_galaxies))):
        first = free.pop()
        ranked = [label for label in np.argsort(-votes[first]) if label != labels[first]]
        second = next(row for label in ranked for row in free if labels[row] == label)
        free.remove(second)
        source[second] = first
    # Close neighbours stand in each other's picture.
    for _ in range(max(2, round(NEAR_PAIRS / REAL_ROWS * num_galaxies))):
        first, second = free.pop(), free.pop()
        neighbour[first], neighbour[second] = second, first
        distance, angle = random.uniform(8, 30) / 3600, random.uniform(0, 2 * np.pi)
        dec[second] = dec[first] + distance * np.sin(angle)
        ra[second] = (ra[first] + distance * np.cos(angle) / np.cos(np.radians(dec[first]))) % 360

    redshift = np.clip(random.lognormal(np.log(0.09), 0.5, num_galaxies), 0.003, 0.5)
    redshift[random.random(num_galaxies) < 0.03] = np.nan
    return _Plan(labels, source, neighbour, ra[source], dec[source], redshift[source], votes[source])


def _class_counts(num_galaxies):
    """The real proportions, rounded so that they add up, and a handful even of the rarest class."""
    shares = np.array(OFFICIAL_CLASS_COUNTS) / sum(OFFICIAL_CLASS_COUNTS) * num_galaxies
    counts = np.floor(shares).astype(int)
    counts[np.argsort(counts - shares)[: num_galaxies - counts.sum()]] += 1
    missing = np.maximum(0, min(10, num_galaxies // 20) - counts)
    counts[np.argmax(counts)] -= missing.sum()
    return counts + missing


def _positions(num_galaxies, random):
    """Uniform on the sphere within a footprint like the real one: two galactic caps, a northern and a southern part."""
    north = random.random(num_galaxies) < NORTHERN_SHARE
    lowest = np.where(north, NORTHERN_BORDER, -18.0)
    highest = np.where(north, 80.0, NORTHERN_BORDER)
    sine = random.uniform(np.sin(np.radians(lowest)), np.sin(np.radians(highest)))
    northern_cap = north | (random.random(num_galaxies) < 0.6)
    ra = np.where(northern_cap, random.uniform(115, 255, num_galaxies), random.uniform(-45, 60, num_galaxies) % 360)
    return ra, np.degrees(np.arcsin(sine))


def _galaxy_of_row(labels, row, seed):
    return draw_galaxy(labels[row], np.random.default_rng([seed, 1, row]))


def _vote(galaxy, seed, row):
    votes = np.random.default_rng([seed, 2, row]).multinomial(VOLUNTEERS, volunteer_probabilities(galaxy))
    return (votes / VOLUNTEERS).astype(np.float32)


def _render_rows(plan, rows, seed, image_size):
    return np.stack([_render_row(plan, int(plan.source[row]), seed, image_size) for row in rows])


def _render_row(plan, row, seed, image_size):
    random = np.random.default_rng([seed, 3, row])
    image = light(_galaxy_of_row(plan.labels, row, seed), image_size, _structure(seed, row))
    if plan.neighbour[row] >= 0:
        other = int(plan.neighbour[row])
        # East is to the left, as on the sky.
        east = (plan.ra[other] - plan.ra[row] + 180) % 360 - 180
        offset = (-east * np.cos(np.radians(plan.dec[row])) * 3600, (plan.dec[other] - plan.dec[row]) * 3600)
        image += light(_galaxy_of_row(plan.labels, other, seed), image_size, _structure(seed, other), offset)
    image += surroundings(image_size, random)
    return colour_image(observe(image, plan.dec[row] > NORTHERN_BORDER, random))


def _structure(seed, row):
    """Where a galaxy's arms, knots and tails lie: the same in its own picture and in its neighbour's."""
    return np.random.default_rng([seed, 4, row])


def _check_free_space(path, needed):
    path.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(path.parent).free
    if free < needed:
        raise DataError(
            "The disk has no room for the simulated survey.",
            where=path.parent,
            expected=f"{needed / 2**20:,.0f} MiB free",
            found=f"{free / 2**20:,.0f} MiB free",
            remedy="Free some space, set GALAXY_UTILS_CACHE to a folder on another disk, or choose a smaller profile.",
        )
