"""Own images: a folder with one sub-folder per class becomes the same dataset as the official file."""

import csv
import hashlib
import math
import re
import warnings
from collections import Counter

import numpy as np
from PIL import Image, UnidentifiedImageError

from galaxy_utils.arrays import array_header, open_array
from galaxy_utils.classes import CLASS_NAMES
from galaxy_utils.data.dataset import GalaxyDataset
from galaxy_utils.data.prepare import area_average
from galaxy_utils.data.sources import find_images
from galaxy_utils.errors import DataError
from galaxy_utils.files import cache_folder, explain_read_errors, locked, write_atomically
from galaxy_utils.progress import progress_bar
from galaxy_utils.wording import counted

MANIFEST = "manifest.csv"
SMALLEST_SIDE = 16
EIGHT_BIT_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")


def open_folder(path):
    """Open a folder of images, one sub-folder per class.

    The sorted names of the sub-folders are the classes. Where all of them are names of Galaxy10 classes, as in
    `3_In_between_Round_Smooth`, the official names and order are used. Images are decoded once, into an array of bytes
    in the cache: greyscale and transparent ones become RGB, oblong ones are cropped to their central square, and all
    are area-averaged to the most common size.

    An optional `manifest.csv` in the folder gives coordinates: columns `file` (path below the folder), `ra` and `dec`
    (degrees, empty where unknown); other columns are left alone.

    Args:
        path: The folder.

    Returns:
        A `GalaxyDataset` without redshift and pixel scale, sorted by class and file name.

    Raises:
        DataError: No sub-folder, a class without images, images that cannot be used (all named in one error), or a
            manifest that does not fit the images.
    """
    class_names, files, labels = list_images(path)
    ra, dec = _read_manifest(path, files)
    content = _hash_content(path, files)
    # The content decides the name, so a changed, added or renamed image never meets an old cache.
    cached = cache_folder() / "folders" / f"{content}.npy"
    images = _open_decoded(cached, len(files))
    if images is None:
        with locked(cached):
            # Another process may have decoded them while this one waited for the lock.
            images = _open_decoded(cached, len(files))
            if images is None:
                _decode_all(path, files, cached)
                images = _open_decoded(cached, len(files))

    digest = hashlib.sha256(repr((content, class_names)).encode())
    for column in (ra, dec):
        digest.update(b"-" if column is None else column.tobytes())
    name = path.resolve().name
    return GalaxyDataset(
        name=name,
        provenance=f"{counted(len(files), 'images')} from the folder {name}",
        images=images,
        labels=labels,
        class_names=class_names,
        ra=ra,
        dec=dec,
        fingerprint=digest.hexdigest()[:16],
    )


def list_images(path):
    """Return class names, image files (relative paths with `/`) and labels of a folder, without opening an image.

    Raises:
        DataError: There is no sub-folder, or one holds no image.
    """
    images_of = find_images(path)
    folders, class_names = _name_classes(list(images_of))
    images = [images_of[folder] for folder in folders]
    files = [file.relative_to(path).as_posix() for class_files in images for file in class_files]
    labels = np.repeat(np.arange(len(folders)), [len(class_files) for class_files in images]).astype(np.int64)
    return class_names, files, labels


def _name_classes(folders):
    """Return folders and class names, in the official order where all names are official."""

    def simplified(name):
        return re.sub("[^a-z]", "", name.lower())

    official = {simplified(name): label for label, name in enumerate(CLASS_NAMES)}
    labels = [official.get(simplified(folder.name)) for folder in folders]
    if None in labels or len(set(labels)) < len(labels):
        return folders, tuple(folder.name for folder in folders)
    order = np.argsort(labels)
    return [folders[position] for position in order], tuple(CLASS_NAMES[label] for label in sorted(labels))


def _read_manifest(path, files):
    manifest = path / MANIFEST
    if not manifest.is_file():
        return None, None
    row_of_file = {file: row for row, file in enumerate(files)}
    coordinates = np.full((len(files), 2), np.nan)
    problems, seen = [], set()
    unreadable = "The manifest cannot be read."
    text = "a table of comma-separated values in UTF-8"
    with (
        explain_read_errors(unreadable, manifest, expected=text, remedy="save it again, as CSV in UTF-8"),
        open(manifest, newline="", encoding="utf-8-sig") as opened,
    ):
        reader = csv.DictReader(opened)
        missing = {"file", "ra", "dec"} - set(reader.fieldnames or ())
        if missing:
            raise DataError(
                f"The manifest lacks the column {', '.join(sorted(missing))}.",
                where=manifest,
                expected="columns file, ra, dec",
                found=", ".join(reader.fieldnames or ()) or "an empty file",
            )
        for entry in reader:
            file = (entry["file"] or "").replace("\\", "/").removeprefix("./")
            if file not in row_of_file:
                problems.append(f"line {reader.line_num}: there is no image {file!r}")
            elif file in seen:
                problems.append(f"line {reader.line_num}: {file!r} a second time")
            else:
                seen.add(file)
                try:
                    coordinates[row_of_file[file]] = _parse_position(entry["ra"], entry["dec"])
                except ValueError as error:
                    problems.append(f"line {reader.line_num}: {error}")
    if problems:
        raise DataError("The manifest does not fit the images.", where=manifest, found=_listing(problems))
    if np.isnan(coordinates).all():
        return None, None
    return coordinates[:, 0].copy(), coordinates[:, 1].copy()


def _parse_position(ra, dec):
    ra, dec = (ra or "").strip(), (dec or "").strip()
    if not ra and not dec:
        return np.nan, np.nan
    found = f"ra {ra!r}, dec {dec!r}"
    try:
        degrees = float(ra), float(dec)
    except ValueError as error:
        raise ValueError(f"{found} are not two numbers") from error
    if not (0 <= degrees[0] <= 360 and -90 <= degrees[1] <= 90):
        raise ValueError(f"{found} are not degrees on the sky (0 to 360, -90 to 90)")
    return degrees


def _hash_content(path, files):
    digest, unusable = hashlib.sha256(), {}
    for file in files:
        try:
            _check_name(file)
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


def _check_name(name):
    """Refuse what cannot be printed or written into a report, before hours of training end with it."""
    if not name.isprintable():
        raise ValueError("a name with characters that cannot be printed; rename it")


def _check_all_usable(path, files, unusable):
    if unusable:
        raise DataError(
            f"{len(unusable):,} of {len(files):,} images cannot be used.",
            where=path,
            expected=f"8-bit JPEG or PNG images of at least {SMALLEST_SIDE} pixels",
            found=_listing([f"{_printable(file)}: {_printable(reason)}" for file, reason in unusable.items()]),
            remedy="Repair or remove these files.",
        )


def _printable(text):
    return str(text) if str(text).isprintable() else ascii(str(text))


def _open_decoded(cached, num_images):
    """Map the decoded images; return None where there is no sound file. Its length tells the side of the images."""
    if not cached.is_file():
        return None
    header_bytes = len(array_header((num_images, 1, 1, 3), np.uint8))
    side = math.isqrt(max(0, cached.stat().st_size - header_bytes) // (3 * num_images))
    return open_array(cached, (num_images, side, side, 3), np.uint8)


def _decode_all(path, files, cached):
    """Decode all images into one array on disk, or name all that cannot be used in one error."""
    unusable, sides = {}, []
    for file in files:
        try:
            with _open_image(path / file) as image:
                sides.append(min(image.size))
        except ValueError as error:
            unusable[file] = error
    size = Counter(sides).most_common(1)[0][0] if sides else 0
    room = len(files) * size**2 * 3
    with write_atomically(cached, size=room) as temporary, open(temporary, "wb") as output:
        output.write(array_header((len(files), size, size, 3), np.uint8))
        with progress_bar(len(files), "Reading images", unit="images") as bar:
            for file in files:
                if file not in unusable:
                    try:
                        output.write(area_average(_decode(path / file)[None], size).data)
                    except ValueError as error:
                        unusable[file] = error
                bar.update(1)
        _check_all_usable(path, files, unusable)


def _open_image(path):
    """Read an image's header; raise ValueError with a short reason when it cannot be used."""
    if path.stat().st_size == 0:
        raise ValueError("an empty file")
    try:
        with warnings.catch_warnings():
            # Pillow only warns of images so large that they look like an attack on memory.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            # Other formats come with more than pixels; one of them would be handed to another program.
            image = Image.open(path, formats=("JPEG", "PNG"))
    except UnidentifiedImageError as error:
        raise ValueError("not an image in JPEG or PNG") from error
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise ValueError(f"more than {Image.MAX_IMAGE_PIXELS:,} pixels") from error
    except Exception as error:
        raise ValueError(f"cannot be opened ({error})") from error
    if min(image.size) < SMALLEST_SIDE:
        raise ValueError(f"tiny, {image.size[0]} x {image.size[1]} pixels")
    if image.mode not in EIGHT_BIT_MODES:
        raise ValueError(f"not 8-bit (mode {image.mode})")
    if image.format == "PNG" and getattr(image, "is_animated", False):
        raise ValueError(f"animated, {image.n_frames} frames")
    return image


def _decode(path):
    """Return the central square of an image, shape (side, side, 3), dtype uint8."""
    with _open_image(path) as image:
        try:
            image.load()
            if image.has_transparency_data:
                # The sky is dark: what is transparent becomes black.
                image = Image.alpha_composite(Image.new("RGBA", image.size, "black"), image.convert("RGBA"))
            pixels = np.asarray(image.convert("RGB"))
        except Exception as error:
            raise ValueError(f"cannot be decoded ({error})") from error
    side = min(pixels.shape[:2])
    top, left = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
    return pixels[top : top + side, left : left + side]


def _listing(entries):
    return "".join(f"\n    {entry}" for entry in entries)
