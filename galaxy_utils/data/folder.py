"""Own images: a folder with one sub-folder per class becomes the same dataset as the official file."""

import contextlib
import hashlib
import io
import re
import warnings
from collections import Counter

import numpy as np
from PIL import Image, ImageOps

from galaxy_utils.arrays import array_header, open_or_make_array
from galaxy_utils.classes import CLASS_NAMES
from galaxy_utils.data.dataset import GalaxyDataset
from galaxy_utils.data.manifest import read_manifests
from galaxy_utils.data.rows import check_blank, listing
from galaxy_utils.data.sources import find_images, is_hidden, own_name
from galaxy_utils.data.views import area_average
from galaxy_utils.errors import DataError
from galaxy_utils.files import cache_folder, write_atomically
from galaxy_utils.progress import progress_bar
from galaxy_utils.wording import counted

SMALLEST_SIDE = 16
# Other formats come with more than pixels; one of them would be handed to another program.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")


def open_folder(path):
    """Open a folder of images, one sub-folder per class.

    The sorted names of the sub-folders are the classes. Where all of them are names of Galaxy10 classes, as in
    `3_In_between_Round_Smooth`, the official names and order are used. Images are decoded once, into an array of bytes
    in the cache: turned as their orientation tag says, greyscale, printed (CMYK) and transparent ones become RGB, 16
    bits and floating point (0 to 1) become 8 bits, oblong ones are cropped to their central square, and all are
    area-averaged to the most common size. What is left out is counted in a line.

    An optional table such as `manifest.csv` gives coordinates: columns `file` (path below the folder), `ra` and `dec`
    (degrees, empty where unknown); other columns are left alone. `ra_hours` and `ra_rad` have other units.

    Args:
        path: The folder.

    Returns:
        A `GalaxyDataset` without redshift and pixel scale, sorted by class and file name.

    Raises:
        DataError: Fewer than two classes, a class without images, images that cannot be used (counted, ten named), or
            a manifest that does not fit the images.
    """
    class_names, files, labels, others = list_images(path)
    ra, dec, tables = read_manifests(path, files, others)
    _tell_left_out(path, [file.relative_to(path) for file in others if file not in tables])
    content = _hash_content(path, files)
    # The content decides the name, so a changed, added or renamed image never meets an old cache.
    cached = cache_folder() / "folders" / f"{content}.npy"
    shape = (len(files), None, None, 3)
    images = open_or_make_array(cached, shape, np.uint8, lambda: _decode_all(path, files, cached))
    digest = hashlib.sha256(repr((content, class_names)).encode())
    for column in (ra, dec):
        digest.update(b"-" if column is None else column.tobytes())
    name = path.resolve().name
    provenance, fingerprint = f"{counted(len(files), 'images')} from the folder {name}", digest.hexdigest()[:16]
    return GalaxyDataset(own_name(name), provenance, images, labels, class_names, ra, dec, fingerprint=fingerprint)


def list_images(path):
    """Return class names, images (paths below the folder, with `/`), their labels, and other files; opens none."""
    images, others = find_images(path)
    order, class_names = _name_classes(list(images))
    files = [file.relative_to(path).as_posix() for name in order for file in images[name]]
    labels = np.repeat(np.arange(len(order)), [len(images[name]) for name in order]).astype(np.int64)
    return class_names, files, labels, others


def _name_classes(names):
    """Return the sub-folders' names and the class names, in the official order where all names are official."""
    official = {re.sub("[^a-z]", "", name.lower()): label for label, name in enumerate(CLASS_NAMES)}
    labels = {name: official.get(re.sub("[^a-z]", "", name.lower())) for name in names}
    if None in labels.values() or len(set(labels.values())) < len(labels):
        return names, tuple(names)
    order = sorted(names, key=labels.get)
    return order, tuple(CLASS_NAMES[labels[name]] for name in order)


def _tell_left_out(path, files):
    if files:
        # Hidden ones are named by what hides them, others by their endings.
        kinds = [next((part for part in file.parts if is_hidden(part)), file.suffix or file.name) for file in files]
        kinds = [f"{count:,} {_printable(kind)}" for kind, count in Counter(kinds).most_common(10)]
        print(f"{counted(len(files), 'files')} of {_printable(path.name)} left out: {', '.join(kinds)}")


def _hash_content(path, files):
    digest, unusable = hashlib.sha256(), {}
    for file in files:
        try:
            # What cannot be printed cannot be written into a report either, after hours of training.
            if not file.isprintable():
                raise ValueError("a name with characters that cannot be printed; rename it")
            # A device or a pipe with an image's name may be read for ever.
            if not (path / file).is_file():
                raise ValueError("a folder, a device or a broken link, no file")
            digest.update(f"{file}\n".encode())
            with open(path / file, "rb") as opened:
                digest.update(hashlib.file_digest(opened, "sha256").digest())
        except (OSError, ValueError) as error:
            unusable[file] = error
    _check_all_usable(path, files, unusable)
    return digest.hexdigest()[:16]


def _check_all_usable(path, files, unusable):
    if unusable:
        problem = f"{len(unusable):,} of {len(files):,} images cannot be used."
        expected = f"images in {', '.join(FORMATS)} of at least {SMALLEST_SIDE} pixels"
        found = listing([f"{_printable(file)}: {_printable(reason)}" for file, reason in unusable.items()])
        remedy = "Repair, convert or remove these files."
        raise DataError(problem, where=path, expected=expected, found=found, remedy=remedy)


def _printable(text):
    return str(text) if str(text).isprintable() else ascii(str(text))


def _decode_all(path, files, cached):
    """Decode all images into one array on disk, or name all that cannot be used in one error."""
    unusable, sides, blank = {}, [], []
    for file in files:
        with contextlib.suppress(ValueError), _open_image(path / file) as image:
            sides.append(min(image.size))
    size = Counter(sides).most_common(1)[0][0] if sides else 0
    room = len(files) * size**2 * 3
    with write_atomically(cached, size=room) as temporary, open(temporary, "wb") as output:
        output.write(array_header((len(files), size, size, 3), np.uint8))
        with progress_bar(len(files), "Reading images", unit="images") as bar:
            for file in files:
                try:
                    pixels = decode_image(path / file)
                    if (pixels == pixels[0, 0]).all():
                        blank.append(_printable(file))
                    output.write(area_average(pixels[None], size).data)
                except ValueError as error:
                    unusable[file] = str(error)  # an error's traceback would keep its file open
                bar.update(1)
        _check_all_usable(path, files, unusable)
        check_blank(blank, len(files), path, "")


def _open_image(path):
    """Read an image's header; raise ValueError with a short reason when it cannot be used."""
    is_bytes = isinstance(path, bytes)
    if (len(path) if is_bytes else path.stat().st_size) == 0:
        raise ValueError("an empty file")
    try:
        with warnings.catch_warnings():
            # Pillow only warns of images so large that they look like an attack on memory.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(path) if is_bytes else path, formats=FORMATS)
    except Exception as error:
        raise ValueError(f"cannot be opened ({error})") from error
    if min(image.size) < SMALLEST_SIDE:
        raise ValueError(f"tiny, {image.size[0]} x {image.size[1]} pixels")
    # A camera puts a preview behind its picture (MPO); elsewhere nobody knows which of several is meant.
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
        raise ValueError(f"animated, or {image.n_frames} pages")
    # Pillow shows one of two bands, or three of four, and leaves the other out.
    if image.format == "TIFF" and "X" in str(image.tile[:1]):
        raise ValueError("a band that is neither brightness, colour nor transparency")
    return image


def decode_image(path):
    """Return the central square of an image, shape (side, side, 3), dtype uint8, as `open_folder` says.

    Args:
        path: `Path` of its file, or the file's content.

    Raises:
        ValueError: It cannot be used; a short reason.
    """
    with _open_image(path) as image:
        try:
            # What the file stores more than 8 bits of, which Pillow shows in the mode or in the way to unpack it.
            is_deep = "16" in f"{image.mode} {image.tile and image.tile[0][3]}" or image.mode == "I"
            image.load()
            pixels = np.asarray(_to_rgb(ImageOps.exif_transpose(image)))
        except Exception as error:
            raise ValueError(f"cannot be decoded ({error})") from error
    if is_deep and pixels.max() <= 16:
        raise ValueError("16 bits, only 12 or fewer of them used; stretch it to 0 to 65,535, or save it with 8 bits")
    side = min(pixels.shape[:2])
    top, left = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
    return pixels[top : top + side, left : left + side]


def _to_rgb(image):
    white = {"F": 1.0, "I": 65535.0}.get(image.mode[:1])
    if white is not None:
        values = np.asarray(image)
        # Numbers without an agreed white are not guessed at.
        if not (values.min() >= 0 and values.max() <= white):
            raise ValueError(f"values from {values.min():g} to {values.max():g} instead of 0 to {white:g}")
        return Image.fromarray(np.rint(values * (255 / white)).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        # The sky is dark: what is transparent becomes black.
        image = Image.alpha_composite(Image.new("RGBA", image.size, "black"), image.convert("RGBA"))
    return image.convert("RGB")
