"""Crop and shrink images once, into a file that is mapped into memory: no chapter ever holds them all."""

import hashlib
import math

import numpy as np

from galaxy_utils.arrays import array_header, open_or_make_array
from galaxy_utils.data.copies import find_copies
from galaxy_utils.data.rows import image_blocks
from galaxy_utils.data.views import area_average
from galaxy_utils.errors import ConfigurationError, check_integer, check_number
from galaxy_utils.files import cache_folder, write_atomically
from galaxy_utils.progress import progress_bar

# As many images are averaged together, so that what is worked on stays in the processor's cache.
IMAGES_AT_ONCE = 32
SMALLEST_IMAGE = 8


def prepare(dataset, image_size=64, crop_fraction=0.5):
    """Cut out the centre of every image, shrink it by area averaging, and keep the result on disk.

    The images are written once, as uint8, to `cache_folder()/prepared` under a name made of the data's fingerprint and
    the settings; the next call with the same data and settings only opens that file. Two processes may ask at once:
    one works, the other waits.

    Args:
        dataset: A `GalaxyDataset`.
        image_size: Side of the prepared images, pixels; at least 8 and at most the side of the crop.
        crop_fraction: Share of the side that is kept, in (0, 1]. Galaxies are small in their cut-outs.

    Returns:
        The same galaxies as a `GalaxyDataset` whose `images` is a read-only memory-mapped array, shape
        (n, image_size, image_size, 3), dtype uint8, and whose `pixel_scale` has grown with the pixels.

    Raises:
        ConfigurationError: `image_size` or `crop_fraction` is out of range.
        DataError: Some of the source's images cannot be read.
        StorageError: The disk has no room for the prepared images, or the cache folder cannot be written to.

    Example:
        >>> gu.prepare(galaxies, image_size=16).images.shape
        (400, 16, 16, 3)
    """
    check_number("crop_fraction", crop_fraction, "(0, 1]")
    # The same number of pixels goes on either side, so that the galaxy stays in the centre.
    crop_size = dataset.image_size - 2 * round(dataset.image_size * (1 - crop_fraction) / 2)
    check_integer("image_size", image_size, SMALLEST_IMAGE)
    if image_size > crop_size:
        problem, expected = "The prepared images cannot have this size.", f"at most {crop_size}, the side of the crop"
        remedy = "Choose a smaller image_size or a larger crop_fraction."
        raise ConfigurationError(problem, where="image_size", expected=expected, found=image_size, remedy=remedy)
    shape = (len(dataset), image_size, image_size, 3)
    path = cache_folder() / "prepared" / f"{dataset.fingerprint}_crop{crop_size}_size{image_size}.npy"
    images = open_or_make_array(path, shape, np.uint8, lambda: _write_prepared(path, dataset.images, crop_size, shape))
    # Found in the whole images, and kept: whoever splits what was prepared gets the same groups.
    find_copies(dataset)
    scale = None if dataset.pixel_scale is None else dataset.pixel_scale * (crop_size / image_size)
    known = {"fingerprint": hashlib.sha256(path.stem.encode()).hexdigest()[:16]}
    known["source_fingerprint"] = dataset.source_fingerprint
    known["crop_fraction"] = dataset.crop_fraction * crop_size / dataset.image_size
    return dataset.replace(images=images, pixel_scale=scale, **known)


def _write_prepared(path, images, crop_size, shape):
    margin = (images.shape[1] - crop_size) // 2
    crop = slice(margin, margin + crop_size)
    with write_atomically(path, size=math.prod(shape)) as temporary, open(temporary, "wb") as file:
        file.write(array_header(shape, np.uint8))
        with progress_bar(shape[0], f"Preparing {shape[1]} px images") as bar:
            for first, last in image_blocks(images):
                # Ordinary writes: the pages of a mapped array would count as this process's memory.
                block = images[first:last][:, crop, crop]
                for start in range(0, len(block), IMAGES_AT_ONCE):
                    file.write(area_average(block[start : start + IMAGES_AT_ONCE], shape[1]).data)
                bar.update(last - first)
