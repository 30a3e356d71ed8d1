"""Make the page "A network in the page": a trained network of the book, in a form that the reader's browser can run.

The network is the one that comes with the package; how good it is, is computed here from stored predictions.
It is computed by TensorFlow.js, which lies in `_static/play/tensorflowjs`. Before the browser is asked, Keras is asked
here: its predictions for the same pixels stand beside the weights, and the page compares.
"""

import base64
import dataclasses
import hashlib
import html
import io
import json
from pathlib import Path

import numpy as np
from play import FOLDER, fill_page, load_galaxies
from play_figures import occlusion_map

import galaxy_utils as gu
from galaxy_utils.arrays import described, read_arrays, write_arrays
from galaxy_utils.classes import CLASS_NAMES
from galaxy_utils.classifier_file import PRETRAINED
from galaxy_utils.errors import GalaxyUtilsError
from galaxy_utils.evaluation.significance import mean_with_interval
from galaxy_utils.files import locked
from galaxy_utils.plots import look_of_classes

SIDE, CROP = 96, 0.5  # of the images that the network takes
LIBRARY = Path(__file__).parent / "tensorflowjs"
MEASURED = Path(__file__).parents[1] / "measured" / "few_labels_96.npz"
THUMBNAIL = 96  # pixels, at most: the page shows them smaller than that


class NetworkError(GalaxyUtilsError):
    """The network cannot be brought into the page."""


@dataclasses.dataclass(frozen=True)
class Picture:
    """One picture that the reader can choose, and what Keras says about it.

    Attributes:
        name: How the page calls it.
        image: Shape (side, side, 3), uint8.
        label: Its class, counted from 0; -1 if it is no galaxy.
        probabilities: Keras' answer, shape (classes,), float32.
        changes: By how much the probability of the likeliest class changes where the picture is covered, shape
            (grid, grid), float32.
    """

    name: str
    image: np.ndarray
    label: int
    probabilities: np.ndarray
    changes: np.ndarray


def make(settings):
    """Return the files of the page.

    Args:
        settings: The build's `Settings`: which data, profile and seed, and where the chapters left their results.

    Returns:
        {path in the staged source: content as bytes}.

    Raises:
        NetworkError: The network has a layer that cannot be brought into the page.
    """
    galaxies = load_galaxies(settings)
    # Galaxies of other classes, or smaller than the network takes them, could not be compared with its answers.
    if galaxies.class_names != CLASS_NAMES or galaxies.image_size * CROP < SIDE:
        galaxies = gu.load("simulated", profile="smoke", seed=settings.seed)
    # The picture is covered place by place, on a grid of as many rows and columns.
    grid = gu.get_profile(settings.profile).choose(grid=(3, 8, 8, 8)).grid
    steps, weights, pictures = _trained(settings, galaxies, grid)
    files = {FOLDER / "network_data.js": _data_file(steps, weights, pictures, grid)}
    for number, picture in enumerate(pictures, start=1):
        files[FOLDER / f"network_{number}.png"] = _thumbnail(picture.image)
    # Nobody has chosen it for what the network says: it happens to be the first.
    shown = pictures[0]
    figure = occlusion_map(shown.image, shown.probabilities, shown.changes, CLASS_NAMES, galaxies.provenance)
    files[FOLDER / "network_still.png"] = _as_png(figure)
    library = sum(path.stat().st_size for path in LIBRARY.glob("*.js"))
    megabytes = (len(files[FOLDER / "network_data.js"]) + library) / 1e6
    files[Path("play_network.md")] = _page(pictures, steps, weights, shown, figure.alt_text, megabytes, galaxies, grid)
    return files


def _trained(settings, galaxies, grid):
    """Return steps, weights and pictures, from the file of an earlier build if nothing has changed since.

    Keras takes longer to start than everything else in this module.
    """
    path = settings.artifacts / "play" / "network.npz"
    sources = (Path(__file__).read_bytes(), PRETRAINED.read_bytes(), f"{galaxies.fingerprint} {grid}".encode())
    key = hashlib.sha256(b"".join(hashlib.sha256(source).digest() for source in sources)).hexdigest()
    with locked(path):
        known = _read_known(path, key)
        if known is None:
            known = _ask_keras(galaxies, settings.seed, grid)
            _write_known(path, key, *known)
    return known


def _read_known(path, key):
    """Return what `_write_known` wrote under this key, or `None`."""
    if not path.is_file():
        return None
    # Whatever is wrong with a damaged file: it is made again.
    try:
        arrays = read_arrays(path)
        content = described(arrays, "content")
        if content["key"] != key:
            return None
        weights = [arrays[f"weights_{number}"] for number in range(content["weights"])]
        columns = [arrays[name] for name in ("images", "labels", "probabilities", "changes")]
        pictures = [
            Picture(name, image, int(label), answer, changes)
            for name, image, label, answer, changes in zip(content["names"], *columns, strict=True)
        ]
        return content["steps"], weights, pictures
    except Exception:
        return None


def _write_known(path, key, steps, weights, pictures):
    names = [picture.name for picture in pictures]
    content = {"key": key, "steps": steps, "weights": len(weights), "names": names}
    arrays = {f"weights_{number}": array for number, array in enumerate(weights)}
    for name, field in (("images", "image"), ("labels", "label"), ("probabilities",) * 2, ("changes",) * 2):
        arrays[name] = np.stack([getattr(picture, field) for picture in pictures])
    write_arrays(path, {"content": np.array(json.dumps(content)), **arrays})


def _ask_keras(galaxies, seed, grid):
    """Open the network, read its weights, and let it answer for all pictures."""
    prepared = gu.prepare(galaxies, SIDE, CROP)
    network = gu.pretrained_classifier().model
    chosen = choose_pictures(prepared, gu.split(prepared, seed=seed).test, seed)
    return *export(network), [ask(network, *each, grid) for each in chosen]


def choose_pictures(dataset, rows, seed):
    """Draw one galaxy of each class, and make pictures of no galaxy.

    Args:
        dataset: A `GalaxyDataset` at the network's size.
        rows: Rows to draw from, those of the test galaxies.
        seed: The same seed draws the same galaxies. The network is not asked which.

    Returns:
        A list of (name, image, label), the galaxies in an order that does not tell their class; the label of a picture
        without a galaxy is -1.
    """
    random = np.random.default_rng(seed)
    drawn = random.permutation(rows)
    labels = dataset.labels[drawn]
    first = [int(drawn[labels == label][0]) for label in np.unique(labels)]
    chosen = [
        (f"Test galaxy {number}", np.asarray(dataset.images[row]), int(dataset.labels[row]))
        for number, row in enumerate(random.permutation(first), start=1)
    ]
    side = dataset.image_size
    row, column = np.indices((side, side)) // max(1, side // 8)
    nothing = {
        "Nothing at all": np.zeros((side, side)),
        "Noise": random.integers(0, 256, (side, side)),
        "Chessboard": 255 * ((row + column) % 2),
    }
    grey = {name: np.repeat(picture[..., None], 3, axis=-1).astype(np.uint8) for name, picture in nothing.items()}
    return chosen + [(name, picture, -1) for name, picture in grey.items()]


def ask(network, name, image, label, grid):
    """Return a `Picture`: what a Keras model answers for an image as it is, and for the image covered place by place.

    Args:
        network: A Keras model that ends in class probabilities.
        name: How the page calls the picture.
        image: Shape (side, side, 3), uint8.
        label: Its class, or -1.
        grid: Rows, and columns, of places that are covered.
    """
    answers = [np.asarray(network.predict_on_batch(batch)) for batch in (image[None], *cover(image, grid))]
    probabilities = answers[0][0]
    changes = np.concatenate(answers[1:])[:, probabilities.argmax()] - probabilities.max()
    return Picture(name, image, label, probabilities, changes.reshape(grid, grid))


def cover(image, grid):
    """Cover an image place by place with the mean colour of its edge.

    Each place is one of grid × grid cells; what is covered reaches half a cell beyond it on each side.

    Args:
        image: Shape (side, side, 3), uint8.
        grid: Rows, and columns, of places.

    Returns:
        Shape (grid, grid, side, side, 3), uint8. `play_network.js` does the same with the same rounding.
    """
    side = len(image)
    edge = np.ones((side, side), bool)
    edge[1:-1, 1:-1] = False
    # Whole numbers, and halves upwards: nothing that two languages could round differently.
    total, count = image[edge].sum(axis=0, dtype=np.int64), int(edge.sum())
    colour = (2 * total + count) // (2 * count)
    covered = np.broadcast_to(image, (grid, grid, *image.shape)).copy()
    for row in range(grid):
        for column in range(grid):
            (top, bottom), (left, right) = _covered(row, side, grid), _covered(column, side, grid)
            covered[row, column, top:bottom, left:right] = colour
    return covered


def _covered(cell, side, grid):
    """First and last pixel, exclusive, that is covered with a cell."""
    return max(0, (2 * cell - 1) * side // (2 * grid)), min(side, (2 * cell + 3) * side // (2 * grid))


def export(network):
    """Describe a Keras model as steps that TensorFlow.js has a function for.

    Layers that do nothing outside training are left out. Batch normalisation outside training multiplies by one number
    for each channel and adds another; these two are computed here.

    Args:
        network: A Keras model: one input, one output, no branches.

    Returns:
        (steps, weights): a list of dictionaries with the key `"kind"`, and the arrays, float32, that the steps use in
        their order.

    Raises:
        NetworkError: The network has a layer of another kind, or with other settings.
    """
    from keras import layers

    steps, weights = [], []

    def add(kind, *arrays, **settings):
        steps.append({"kind": kind, "shapes": [list(array.shape) for array in arrays], **settings})
        weights.extend(np.asarray(array, np.float32) for array in arrays)

    for layer in network.layers:
        if isinstance(layer, (layers.InputLayer, layers.Dropout)):
            continue
        arrays = layer.get_weights()
        activation = getattr(getattr(layer, "activation", None), "__name__", "linear")
        if isinstance(layer, layers.Rescaling) and layer.offset == 0:
            add("scale", factor=float(layer.scale))
        elif isinstance(layer, layers.Conv2D) and layer.padding == "same":
            add("convolution", *arrays, stride=int(layer.strides[0]))
        elif isinstance(layer, layers.BatchNormalization) and len(arrays) == 4:
            gamma, beta, mean, variance = (array.astype(np.float64) for array in arrays)
            factor = gamma / np.sqrt(variance + layer.epsilon)
            add("normalisation", factor, beta - mean * factor)
        elif isinstance(layer, layers.MaxPooling2D) and layer.padding == "valid" and layer.pool_size == layer.strides:
            add("maximum", size=int(layer.pool_size[0]))
        elif isinstance(layer, layers.GlobalAveragePooling2D):
            add("average")
        elif isinstance(layer, layers.Dense):
            add("dense", *arrays)
        else:
            activation = "relu" if isinstance(layer, layers.ReLU) else None
        if activation not in ("linear", "relu", "softmax"):
            raise NetworkError(
                "The page cannot compute this layer.",
                where=f"{network.name}, layer {layer.name}",
                found=type(layer).__name__,
                remedy="teach it to book/play/play_network.py and to play_network.js beside it",
            )
        if activation != "linear":
            add(activation)
    return steps, weights


def _data_file(steps, weights, pictures, grid):
    """The JavaScript file with weights, pixels and Keras' answers: pages opened as files may load no other kind."""
    content = {
        "side": SIDE,
        "cropFraction": CROP,
        "grid": grid,
        "classes": CLASS_NAMES,
        "steps": steps,
        "weights": _base64(b"".join(array.astype("<f4").tobytes() for array in weights)),
        "pictures": [
            {
                "name": picture.name,
                "label": picture.label,
                "pixels": _base64(picture.image.tobytes()),
                "probabilities": [round(float(value), 7) for value in picture.probabilities],
                "changes": [round(float(value), 7) for value in picture.changes.ravel()],
            }
            for picture in pictures
        ],
    }
    return f"window.galaxyNetwork = {json.dumps(content)};\n".encode()


def _base64(content):
    return base64.b64encode(content).decode("ascii")


def _thumbnail(image):
    from PIL import Image

    picture = Image.fromarray(image)
    if len(image) > THUMBNAIL:
        picture = picture.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
    content = io.BytesIO()
    picture.save(content, "png")
    return content.getvalue()


def _as_png(figure):
    content = io.BytesIO()
    # Without the version of Matplotlib, which would make every update look like a change.
    figure.savefig(content, format="png", dpi=130, metadata={"Software": None})
    return content.getvalue()


def _view_of_last_position(steps, side):
    """Return how many positions there are along a side before the average, and how many pixels each one looks at."""
    jump, field = 1, 1
    for step in steps:
        if step["kind"] in ("convolution", "maximum"):
            width = step["shapes"][0][0] if step["kind"] == "convolution" else step["size"]
            field += (width - 1) * jump
            jump *= step.get("stride", step.get("size"))
    return side // jump, field


def _page(pictures, steps, weights, shown, alternative, megabytes, galaxies, grid):
    """Fill the numbers of this build, and those of the stored predictions, into the template."""
    with np.load(MEASURED) as stored:
        truth, groups = stored["labels"].astype(int), stored["groups"]
        networks = stored["simulation"][:, 0].astype(np.float32)
    networks /= networks.sum(axis=-1, keepdims=True)
    options = {"bootstrap_samples": 1, "groups": groups}
    calibration = [gu.evaluate(each, truth, CLASS_NAMES, **options).calibration_error for each in networks]
    accuracy, low, high = mean_with_interval(np.mean(networks.argmax(axis=-1) == truth, axis=0), groups=groups)
    whose = (
        "drawn by a computer, none of them real"
        if galaxies.is_simulated
        else ("real, and some of Galaxy10's may be among those that the network learned from")
    )
    given = [picture for picture in pictures if picture.label >= 0]
    positions, field = _view_of_last_position(steps, SIDE)
    return fill_page(
        "play_network",
        accuracy=f"{accuracy:.3f}",
        interval=f"{low:.3f} to {high:.3f}",
        measured=f"{len(truth):,}",
        calibration=f"{np.mean(calibration):.2f}",
        provenance=galaxies.provenance,
        whose=whose,
        side=SIDE,
        num_classes=len(CLASS_NAMES),
        num_galaxies=len(given),
        parameters=f"{sum(array.size for array in weights):,}",
        megabytes=f"{megabytes:.1f}",
        places=grid**2,
        positions=positions,
        field=field,
        still_alt=html.escape(alternative),
        still_class=CLASS_NAMES[shown.label],
        galaxy_buttons=_buttons(pictures, given),
        other_buttons=_buttons(pictures, [picture for picture in pictures if picture.label < 0]),
        crop_choice=_crop_choice(CROP),
        rows=_rows(CLASS_NAMES),
    )


def _buttons(pictures, some):
    buttons = []
    for number, picture in enumerate(pictures, start=1):
        if picture in some:
            shown = picture.name.removeprefix("Test galaxy ")
            alternative = f"{picture.name}, a small square picture to be classified"
            buttons.append(
                f'<button type="button" aria-pressed="false" data-picture="{number - 1}">'
                f'<img src="_static/play/network_{number}.png" alt="{html.escape(alternative)}">'
                f'<span aria-hidden="true">{html.escape(shown)}</span></button>'
            )
    return "\n".join(buttons)


def _crop_choice(crop_fraction):
    share = f"{crop_fraction:.0%}".replace("%", " %")
    choices = (
        (crop_fraction, f"the middle {share} of its side, as this book cuts galaxies"),
        (1, "the whole square"),
    )
    lines = [
        f'<label><input type="radio" name="network-crop" value="{value:g}"{" checked" if value != 1 else ""}> '
        f"{text}</label>"
        for value, text in choices
    ]
    legend = "<legend>Of your own picture, the network sees</legend>"
    return "\n".join(['<fieldset class="network-crop">', legend, *lines, "</fieldset>"])


def _rows(names):
    """One row of the table of answers for each class."""
    _, colours, _ = look_of_classes(names)
    return "\n".join(
        f'<tr><th scope="row"><span class="network-number" aria-hidden="true">{label}</span> {html.escape(name)}</th>'
        f'<td class="network-value">–</td>'
        f'<td class="network-track" aria-hidden="true"><span class="network-bar" style="--colour: {colour}"></span>'
        f"</td></tr>"
        for label, (name, colour) in enumerate(zip(names, colours, strict=True))
    )
