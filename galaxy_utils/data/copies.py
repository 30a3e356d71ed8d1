"""Images that are copies of one another: identical, turned, mirrored, saved again, resized or slightly shifted."""

import contextlib
import hashlib

import numpy as np
from PIL import Image
from scipy import fft, ndimage

from galaxy_utils.arrays import read_arrays, write_arrays
from galaxy_utils.data.rows import image_blocks
from galaxy_utils.data.views import NUM_VIEWS, dihedral_view
from galaxy_utils.errors import StorageError
from galaxy_utils.files import cache_folder, locked
from galaxy_utils.progress import progress_bar

# Grey thumbnails of at most this side are compared, pixels, under shifts of at most so many of them: 16 in 256.
SIDE, REACH = 64, 4
# In fewer pixels there is no fine structure that tells two small galaxies apart.
SMALLEST = 32
# Frequencies in either direction that make up a hash, and how many of the nearest hashes each image is compared with.
FREQUENCIES, NEIGHBOURS = 12, 3
# Correlation of two fine structures from which on one image is a copy of the other. Of 17,585 real galaxies and their
# nearest hashes the most similar reach 0.51, simulated ones 0.61; copies saved as JPEG of quality 50 and more, shrunk
# to half or shifted by some pixels have 0.70 and more at 256 pixels, most of them also at 64.
SAME_STRUCTURE = 0.63


def find_copies(dataset):
    """Find images that are copies of one another; a data set is searched once, and the result kept in the cache.

    Identical pixels, also turned or mirrored, are found by exact hashes. For all others a perceptual hash, the
    amplitudes of the lowest frequencies, which neither shifts nor the eight views change, proposes pairs, and the
    correlation of their fine structure (noise, stars, dust) over all views and small shifts decides. Below 64 pixels
    there is little of it, and fewer of the copies that were saved again are found; below 32 none are looked for.

    Args:
        dataset: A `GalaxyDataset`, or any object with `images`, shape (n, side, side, 3), dtype uint8.

    Returns:
        A dictionary of int64 arrays. `"identical"`, shape (n,): the first row with the same pixels. `"turned"`,
        likewise: in any of the eight views. `"near"`, shape (k, 2): pairs of other copies.

    Example:
        >>> images = np.concatenate([galaxies.images[:50], galaxies.images[:3, ::-1]])
        >>> find_copies(galaxies.replace(images=images, **{name: None for name in ("ra", "dec")},
        ...                              labels=np.zeros(53, int)))["turned"][50:]
        array([0, 1, 2])
    """
    name = getattr(dataset, "source_fingerprint", "")
    if not name:
        return _search(dataset.images)
    path = cache_folder() / "copies" / f"{name}.npz"
    # Whatever is wrong with what was kept, it is made again.
    with contextlib.suppress(Exception):
        found = read_arrays(path)
        if len(found["identical"]) == len(found["turned"]) == len(dataset) and found["near"].shape[1:] == (2,):
            return found
    found = _search(dataset.images)
    # Without room or rights it is found again next time.
    with contextlib.suppress(StorageError), locked(path):
        write_arrays(path, found)
    return found


def _search(images):
    count, side = images.shape[0], min(SIDE, images.shape[1])
    thumbnails = np.empty((count, side, side), np.uint8)
    rows_of_key, first = {}, {}
    with progress_bar(count, "Looking for copies", unit="images") as bar:
        for start, stop in image_blocks(images):
            for row, image in enumerate(np.asarray(images[start:stop]), start):
                grey = Image.fromarray(image).convert("L")
                thumbnails[row] = np.asarray(grey.resize((side, side), Image.Resampling.BOX))
                # No view changes how often each value occurs: only rows with the same counts can be equal.
                counts = np.bincount(image.ravel(), minlength=256)
                rows_of_key.setdefault(hashlib.sha256(counts).digest(), []).append(row)
            bar.update(stop - start)
    identical, turned = np.arange(count), np.arange(count)
    for row in sorted(row for rows in rows_of_key.values() if len(rows) > 1 for row in rows):
        image = images[row][None]
        hashes = [hashlib.sha256(dihedral_view(image, number).tobytes()).digest() for number in range(NUM_VIEWS)]
        identical[row] = first.setdefault((1, hashes[0]), row)
        turned[row] = first.setdefault((NUM_VIEWS, min(hashes)), row)
    rows = np.flatnonzero(turned == np.arange(count))
    near = _near_pairs(thumbnails[rows]) if len(rows) > 1 and side >= SMALLEST else np.zeros((0, 2), np.int64)
    return {"identical": identical, "turned": turned, "near": rows[near]}


def _near_pairs(thumbnails):
    # scikit-learn takes a second: who only imports the package does not wait for it.
    from sklearn.neighbors import NearestNeighbors

    blocks = [thumbnails[start : start + 512] for start in range(0, len(thumbnails), 512)]
    fine = np.concatenate([_fine_structure(block) for block in blocks])
    pairs = []
    for parts in ([fine[start : start + 512] for start in range(0, len(fine), 512)], blocks):
        # One hash of the fine structure, one of the galaxy's shape, which survives where saving again took all noise.
        hashes = np.concatenate([_perceptual_hash(part.astype(np.float32)) for part in parts])
        hashes = (hashes - hashes.mean(axis=0)) / (hashes.std(axis=0) + 1e-6)
        nearest = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(hashes) - 1), algorithm="brute").fit(hashes)
        found = nearest.kneighbors(return_distance=False)
        pairs.append(np.stack([np.repeat(np.arange(len(found)), found.shape[1]), found.ravel()], axis=1))
    pairs = np.unique(np.sort(np.concatenate(pairs), axis=1), axis=0)
    alike = [_correlation(fine, *pairs[start : start + 256].T) for start in range(0, len(pairs), 256)]
    return pairs[np.concatenate(alike) >= SAME_STRUCTURE]


def _fine_structure(thumbnails):
    """Return what is left without the smooth light, its contrast levelled, normalised; float16 to save memory."""
    scale = thumbnails.shape[1] / SIDE
    grey = ndimage.gaussian_filter(thumbnails.astype(np.float32), (0, 0.7 * scale, 0.7 * scale))
    fine = grey - ndimage.gaussian_filter(grey, (0, 2 * scale, 2 * scale))
    fine /= np.sqrt(ndimage.gaussian_filter(fine**2, (0, 4 * scale, 4 * scale))) + 1
    fine -= fine.mean(axis=(1, 2), keepdims=True)
    return (fine / np.maximum(np.linalg.norm(fine, axis=(1, 2), keepdims=True), 1e-6)).astype(np.float16)


def _perceptual_hash(images):
    """Return amplitudes of the lowest frequencies, alike for all eight views and nearly so for shifted images."""
    size = np.sqrt(np.abs(fft.rfft2(images, workers=-1)))
    count = min(FREQUENCIES, images.shape[1] // 2)
    corner = size[:, :count, :count] + size[:, -np.arange(count), :count]
    return (corner + corner.transpose(0, 2, 1))[:, *np.triu_indices(count)]


def _correlation(fine, ones, others):
    """Return the highest correlation of pairs of rows over eight views and small shifts."""
    one = fft.rfft2(fine[ones].astype(np.float32), workers=-1)
    best = np.full(len(ones), -1.0, np.float32)
    for number in range(NUM_VIEWS):
        view = dihedral_view(fine[others].astype(np.float32)[..., None], number)[..., 0]
        found = fft.irfft2(one * np.conj(fft.rfft2(view, workers=-1)), s=fine.shape[1:], workers=-1)
        near = np.roll(found, (REACH, REACH), axis=(1, 2))[:, : 2 * REACH + 1, : 2 * REACH + 1]
        best = np.maximum(best, near.max(axis=(1, 2)))
    return best
