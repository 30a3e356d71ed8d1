"""What the interactive pages share: galaxies in one picture, how a class looks, and data that travel in the page.

Each page has a module of its own, `play_….py`, whose `make(settings)` returns the files that `build.py` stages with the
pages. They are made from what the chapters left in `settings.artifacts`; no network is asked anything here.
"""

import io
import json
from pathlib import Path
from string import Template

import numpy as np
from matplotlib.markers import MarkerStyle
from PIL import Image

import galaxy_utils
from galaxy_utils.errors import DataError
from galaxy_utils.plots import look_of_classes

HERE = Path(__file__).resolve().parent
FOLDER = Path("_static", "play")  # where the files of these pages lie in the staged source
QUALITIES = (85, 78, 70, 60, 50, 40)
SVG_COMMANDS = {1: "M", 2: "L", 3: "Q", 4: "C", 79: "Z"}  # of Matplotlib's codes: move, line, two curves, close


def load_galaxies(settings):
    """Return the `GalaxyDataset` that the chapters of this build were run on."""
    return galaxy_utils.load(settings.dataset, profile=settings.profile, seed=settings.seed)


def find_artifact(settings, pattern, chapter=None):
    """Return the path of what a chapter left.

    Args:
        settings: What the book is built from.
        pattern: Path below the folder of data source and profile, such as `"06_latent_space/…/report.json"`.
        chapter: Name of the one that writes it; the pattern's first part, if not told.

    Raises:
        DataError: It is not there.
    """
    found = sorted(settings.artifacts.glob(f"*/{pattern}"))
    if not found:
        executed = settings.run_folder / f"{chapter or Path(pattern).parts[0]}.json"
        raise DataError(
            "A page of the book needs what no chapter has left.",
            where=settings.artifacts,
            expected=pattern,
            remedy=f"delete {executed} and build again: the chapter then runs again",
        )
    return found[0]


def check_rows(galaxies, fingerprint, where):
    """Refuse answers or vectors that belong to other galaxies.

    Raises:
        DataError: The fingerprints differ.
    """
    if fingerprint != galaxies.source_fingerprint:
        raise DataError(
            "This was made from other galaxies than those of this build.",
            where=where,
            expected=f"fingerprint {galaxies.source_fingerprint}",
            found=fingerprint,
            remedy="build the book again with this data source",
        )


def cut_out(galaxies, rows, size, crop_fraction=1.0):
    """Return galaxies as their source gives them: the central part, resized.

    Args:
        galaxies: A `GalaxyDataset`.
        rows: Which of them.
        size: Side of the pictures, pixels.
        crop_fraction: Share of the side that is kept.

    Returns:
        Shape (n, size, size, 3), uint8.
    """
    margin = round(galaxies.image_size * (1 - crop_fraction) / 2)
    box = (margin, margin, galaxies.image_size - margin, galaxies.image_size - margin)
    pictures = (Image.fromarray(galaxies.images[int(row)]) for row in rows)
    return np.stack([np.asarray(picture.resize((size, size), Image.Resampling.LANCZOS, box)) for picture in pictures])


def picture_sheet(pictures, columns, most_bytes):
    """Lay pictures out in rows, as one WebP file: one request instead of hundreds.

    Args:
        pictures: Shape (n, size, size, 3), uint8.
        columns: Pictures in a row.
        most_bytes: The quality is lowered until the file is no larger, down to a limit.

    Returns:
        The bytes of the file.
    """
    size, rows = pictures.shape[1], -(-len(pictures) // columns)
    sheet = np.zeros((rows, columns, size, size, 3), np.uint8)
    sheet.reshape(-1, size, size, 3)[: len(pictures)] = pictures
    image = Image.fromarray(sheet.transpose(0, 2, 1, 3, 4).reshape(rows * size, columns * size, 3))
    for quality in QUALITIES:
        file = io.BytesIO()
        image.save(file, "WEBP", quality=quality, method=4)
        if file.tell() <= most_bytes:
            break
    return file.getvalue()


def describe_classes(class_names):
    """Return a dictionary for each class: `name`, `short`, `colour` and `shape`, the mark of the book's figures.

    Shapes are SVG paths of about one unit, around 0.
    """
    names, colours, markers = look_of_classes(class_names)
    return [
        {"name": name, "short": short, "colour": colour, "shape": _svg_path(marker)}
        for name, short, colour, marker in zip(class_names, names, colours, markers, strict=True)
    ]


def _svg_path(marker):
    style = MarkerStyle(marker)
    path = style.get_path().transformed(style.get_transform())
    # SVG counts downwards.
    return "".join(
        SVG_COMMANDS[int(code)]
        + ("" if code == 79 else " ".join(f"{x:.3g}" for x in (points.reshape(-1, 2) * (1, -1)).flat))
        for points, code in path.iter_segments(simplify=False)
    )


def as_json(data):
    """Return data for a `<script type="application/json">`: nothing in it can end the element."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def fill_page(name, **values):
    """Return a page of the book, in Markdown, with its `$names` replaced.

    Raises:
        KeyError: A name without a value.
    """
    return Template((HERE / f"{name}.md").read_text(encoding="utf-8")).substitute(values).encode()
