"""The page with a map of galaxies: chapter 6's latent space, with every galaxy's neighbours in it."""

import io
from html import escape

import numpy as np
from play import FOLDER, as_json, check_rows, cut_out, describe_classes, fill_page, find_artifact, load_galaxies
from play import picture_sheet as make_sheet
from play_figures import latent_map

from galaxy_utils.evaluation.latent import nearest
from galaxy_utils.files import explain_read_errors
from galaxy_utils.profiles import get_profile

MOST_GALAXIES, COLUMNS, SIZE, MOST_BYTES = 400, 20, 96, 700_000
NEIGHBOURS = 6
GRID = 10_000  # the map's sides are 0 to this


def make(settings):
    """Return the files of the page, {path in the staged source: bytes}.

    Args:
        settings: What the book is built from.

    Raises:
        DataError: Chapter 6 has left no vectors, a damaged file, or vectors of other galaxies.
    """
    path = f"05_autoencoder_and_classifier/joint/seed_{settings.seed}.vectors.npz"
    path = find_artifact(settings, path, chapter="06_latent_space")
    galaxies, profile = load_galaxies(settings), get_profile(settings.profile)
    remedy = "run chapter 6 again, which writes them"
    with explain_read_errors("The vectors cannot be read.", path, remedy=remedy), np.load(path) as kept:
        vectors = {name: kept[name] for name in ("train", "validation")}
        rows, fingerprint = kept["rows"], str(kept["fingerprint"])
    check_rows(galaxies, fingerprint, path)
    plane, shares = project(vectors["train"], vectors["validation"], settings.seed)
    shown = choose(plane, settings.seed)
    plane, vectors, rows = plane[shown], vectors["validation"][shown], rows[shown]
    labels = galaxies.labels[rows]
    positions = to_grid(plane)
    count = min(NEIGHBOURS, len(rows) - 1)
    in_space, on_map = neighbours(vectors, count), neighbours(positions, count)
    common = np.mean([len(np.intersect1d(*both)) for both in zip(in_space, on_map, strict=True)])
    agreement = [np.mean(labels[near] == labels[:, None], axis=1) for near in (in_space, on_map)]
    same_class = [own.mean() for own in agreement]
    data = {
        "classes": describe_classes(galaxies.class_names),
        "rows": rows.tolist(),
        "labels": labels.tolist(),
        "positions": positions.tolist(),
        "inSpace": in_space.tolist(),
        "onMap": on_map.tolist(),
        "shares": [round(float(share), 4) for share in shares],
        "dimensions": vectors.shape[1],
        "grid": GRID,
        # Where the two kinds of neighbours differ most: there, the page starts.
        "start": int(np.argmax(agreement[0] - agreement[1])),
        "sheet": {"source": (FOLDER / "map.webp").as_posix(), "columns": COLUMNS, "count": len(rows)},
    }
    figure = latent_map(plane, labels, galaxies.class_names, shares, galaxies.provenance)
    drawn, width, height = _as_webp(figure)
    alternative = (
        f"{figure.alt_text} Of a galaxy's {count} nearest on the map, {100 * same_class[1]:.0f} % carry its own label; "
        f"of its nearest in all {vectors.shape[1]} numbers, {100 * same_class[0]:.0f} %."
    )
    page = fill_page(
        "play_map",
        shown=f"{len(rows):,}",
        provenance=galaxies.provenance,
        profile=profile.name,
        dimensions=vectors.shape[1],
        share=f"{100 * sum(shares):.0f}\u00a0%",
        hidden=f"{100 - 100 * sum(shares):.0f}\u00a0%",
        count=count,
        common=f"{common:.1f}",
        same_in_space=f"{100 * same_class[0]:.0f}\u00a0%",
        same_on_map=f"{100 * same_class[1]:.0f}\u00a0%",
        figure=f'<figure><img src="{(FOLDER / "map_still.webp").as_posix()}" alt="{escape(alternative)}" '
        f'width="{width}" height="{height}"><figcaption>The map, as a picture. (With JavaScript, each mark shows its '
        "galaxy and its neighbours.)</figcaption></figure>",
        data=as_json(data),
    )
    sheet = make_sheet(cut_out(galaxies, rows, SIZE, profile.crop_fraction), COLUMNS, MOST_BYTES)
    return {
        FOLDER.parent.parent / "play_map.md": page,
        FOLDER / "map.webp": sheet,
        FOLDER / "map_still.webp": drawn,
    }


def project(train_vectors, vectors, seed):
    """Return `(points, shares)`: galaxies in the plane of chapter 6's map, and the share of the variance on each axis.

    The axes are fitted on training galaxies, as in the chapter, and with the same number of components and seed.
    """
    from sklearn.decomposition import PCA

    components = PCA(min(20, *train_vectors.shape), random_state=seed).fit(train_vectors)
    return components.transform(vectors)[:, :2], components.explained_variance_ratio_[:2]


def choose(plane, seed, most=MOST_GALAXIES):
    """Return the positions of galaxies to show: none far out, which would squeeze all others into a corner."""
    low, high = np.percentile(plane, [0.5, 99.5], axis=0)
    margin = 0.08 * (high - low)
    inside = np.flatnonzero(((plane >= low - margin) & (plane <= high + margin)).all(axis=1))
    return np.sort(np.random.default_rng(seed).permutation(inside)[:most])


def to_grid(plane):
    """Return points as whole numbers from 0 to `GRID`, shape (n, 2), int64; the second one counts downwards."""
    low, high = plane.min(axis=0), plane.max(axis=0)
    share = (plane - low) / np.maximum(high - low, np.finfo(float).tiny)
    share[:, 1] = 1 - share[:, 1]
    return np.rint(GRID * share).astype(np.int64)


def neighbours(points, count):
    """Return the nearest others of each point, nearest first, shape (n, count)."""
    places, _ = nearest(points, points, count + 1)
    # A galaxy's twin may lie on the same spot and come before the galaxy itself.
    return np.array([near[near != own][:count] for own, near in enumerate(places)])


def _as_webp(figure):
    """Return a figure as `(bytes of a WebP file, width, height)`."""
    from PIL import Image

    file, light = io.BytesIO(), io.BytesIO()
    figure.savefig(file, format="png", dpi=110)
    image = Image.open(file).convert("RGB")
    image.save(light, "WEBP", lossless=True)
    return light.getvalue(), *image.size
