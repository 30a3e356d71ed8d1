"""A trained classifier as one file: network, class names, image size, crop, recipe and calibration."""

import io
import json
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from galaxy_utils.calibration import Calibration, calibrate
from galaxy_utils.data.batches import CLASSIFICATION
from galaxy_utils.errors import ConfigurationError, DataError
from galaxy_utils.files import explain_read_errors, write_atomically
from galaxy_utils.keras_settings import register_layers
from galaxy_utils.recipes import Recipe
from galaxy_utils.training import ends, finite

# The file's own pages among those that Keras writes into a `.keras` archive.
ABOUT, ABOUT_FORMAT = "galaxy_utils.json", 1
REFERENCE = "galaxy_utils_reference.npy"
# Made by book/measured/pretrained_classifier.py.
PRETRAINED = Path(__file__).with_name("compact_cnn_96px.keras")


@dataclass(frozen=True, eq=False)
class Classifier:
    """What `load_classifier` returns.

    Attributes:
        model: The Keras network.
        class_names: One name per class, in the order of its output.
        image_size: Side of the images that it takes, in pixels.
        crop: Share of each image's side that was kept when the training images were prepared; `None` if unknown.
        recipe: The `Recipe` that it was trained with, or `None`.
        pixel_scale: Arcseconds per pixel of the images that it was trained on; `None` if unknown.
        calibration: What was measured on validation galaxies, a `Calibration`, or `None`. `predict` does not use it,
            `gu.classify` does.
    """

    model: Any
    class_names: tuple
    image_size: int
    crop: float | None
    recipe: Recipe | None
    pixel_scale: float | None = None
    calibration: Calibration | None = None

    def predict(self, images, batch_size=32):
        """Return class probabilities, shape (n, classes), of images, shape (n, side, side, 3), values 0–255.

        Raises:
            DataError: Images of another shape or with values that are no numbers, or a network whose output is none.
        """
        images, size = np.asarray(images), self.image_size
        # Some kernels of TensorFlow make a zero of what is not a number, so the output does not show it.
        if images.shape[1:] != (size, size, 3) or not np.isfinite(images).all():
            problem, expected = "The classifier takes other images.", f"shape (n, {size}, {size}, 3), values 0 to 255"
            remedy = f"gu.prepare(galaxies, image_size={size}, crop_fraction={self.crop or 1})"
            found = f"shape {images.shape}, {np.count_nonzero(~np.isfinite(images)):,} values not a number"
            raise DataError(problem, expected=expected, found=found, remedy=remedy)
        outputs = self.model.predict(images, batch_size=batch_size, verbose=0)
        return finite(self.model, outputs[CLASSIFICATION] if isinstance(outputs, dict) else outputs)


def save_classifier(path, model, classes, *, crop=None, recipe=None, split=None):
    """Write a trained classifier into one `.keras` file, atomically.

    Such a file also opens with `keras.saving.load_model` once `galaxy_utils` has been imported. For programs without
    Keras, `classifier.model.export("galaxies.onnx", format="onnx")` writes the network as ONNX once it has predicted
    something (the packages `tf2onnx`, `onnx` and, to run it, `onnxruntime` are needed).

    Args:
        path: The file; its name ends in `.keras`.
        model: A Keras network from images, values 0–255, to class probabilities, alone or under `"classification"`.
        classes: The `GalaxyDataset` that it was trained on, or its class names.
        crop: Share of each image's side that `prepare` kept; `None` for what the dataset says.
        recipe: The `Recipe` that it was trained with.
        split: The `Split` that it was trained with. Then its validation galaxies tell how sure the network may be, and
            `gu.classify` gives calibrated probabilities and says of which galaxies it cannot tell; needs the dataset.

    Returns:
        The path.

    Raises:
        ConfigurationError: Class names or a path that do not fit, a split without its dataset, or layers that nobody
            could open again: `Lambda`, or some of your own.

    Example:
        >>> path = gu.save_classifier("galaxies.keras", model, galaxies, recipe=run.recipe, split=split)
        >>> classifier = gu.load_classifier("galaxies.keras")  # next week, elsewhere
        >>> classifier.predict(images).shape  # of five images
        (5, 10)
    """
    path, names = Path(path), [str(name) for name in getattr(classes, "class_names", classes)]
    entry, output = ends(model)
    output = output[CLASSIFICATION] if isinstance(output, dict) else output
    if path.suffix != ".keras":
        problem, remedy = "The file needs another name.", f"call it {path.with_suffix('.keras').name}"
        raise ConfigurationError(problem, expected="one that ends in .keras", found=path.name, remedy=remedy)
    if tuple(output.shape[1:]) != (len(names),):
        expected, remedy = f"{output.shape[-1]} names, one per output", "hand over the galaxies that it was trained on"
        problem = "The class names are not those of this network."
        raise ConfigurationError(problem, where="classes", expected=expected, found=f"{len(names)}", remedy=remedy)
    if split is not None and not hasattr(classes, "images"):
        raise ConfigurationError("A split needs its galaxies.", where="classes", expected="the GalaxyDataset")
    crop = getattr(classes, "crop_fraction", None) if crop is None else crop
    scale = getattr(classes, "pixel_scale", None)
    about = {"format": ABOUT_FORMAT, "class_names": names, "image_size": entry.shape[1], "crop": crop}
    about["recipe"] = recipe and recipe.to_dict()
    about["pixel_scale"] = None if scale is None else float(np.median(scale))
    calibration = calibrate(model, classes, split) if split is not None else None
    about["calibration"] = calibration and calibration.to_dict()
    compiled = model.compiled
    with write_atomically(path) as temporary:
        # Keras takes no other ending.
        named = temporary.with_suffix(".keras")
        try:
            # Whoever opens it needs neither the optimiser nor somebody's own loss.
            model.compiled = False
            _check_members(keras.saving.serialize_keras_object(model), ConfigurationError, path)
            keras.saving.save_model(model, named, include_optimizer=False)
            with zipfile.ZipFile(named, "a") as archive:
                archive.writestr(ABOUT, json.dumps(about, allow_nan=False))
                if calibration and calibration.reference is not None:
                    np.save(page := io.BytesIO(), calibration.reference)
                    archive.writestr(REFERENCE, page.getvalue())
            os.replace(named, temporary)
        finally:
            model.compiled = compiled
            named.unlink(missing_ok=True)
    return path


def load_classifier(path):
    """Open what `save_classifier` wrote, in any process. Nothing in the file can run: see Keras' safe mode.

    Args:
        path: The file.

    Returns:
        A `Classifier`.

    Raises:
        DataError: The file is missing, damaged, no classifier, or holds layers that are neither Keras' nor this
            package's.
        StorageError: The disk is full: Keras unpacks the file before it reads it.

    Example:
        >>> gu.load_classifier(gu.save_classifier("galaxies.keras", model, galaxies)).class_names[9]
        'Edge-on with Bulge'
    """
    path, expected = Path(path).expanduser(), "a file that gu.save_classifier wrote"
    if not path.exists():
        remedy = "check the path, and the folder that it begins in"
        raise DataError("There is no such classifier.", where=path.absolute(), expected=expected, remedy=remedy)
    remedy = "save it again with gu.save_classifier"
    with explain_read_errors("The classifier cannot be read.", path, expected=expected, remedy=remedy):
        with zipfile.ZipFile(path) as archive:
            # Keras stores its pages as they are: nothing in here unpacks to more than the file's own size.
            packed = [page.filename for page in archive.infolist() if page.file_size != page.compress_size]
            if damaged := packed or archive.testzip():
                raise ValueError(f"{damaged} is damaged")
            if ABOUT not in archive.namelist() and "config.json" in archive.namelist():
                found = "a network that Keras saved, without class names, image size and crop"
                remedy = "open it with keras.saving.load_model, and save it with gu.save_classifier"
                raise DataError("This is no classifier.", where=path, expected=expected, found=found, remedy=remedy)
            about, config = (json.loads(archive.read(name)) for name in (ABOUT, "config.json"))
            page = archive.read(REFERENCE) if REFERENCE in archive.namelist() else None
        if about["format"] != ABOUT_FORMAT:
            raise ValueError(f"format {about['format']}; this version reads format {ABOUT_FORMAT}")
        _check_members(config, DataError, path)
        register_layers()
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
        recipe = about["recipe"] and Recipe(**about["recipe"])
        calibration = about.get("calibration")
        if calibration:
            reference = page and np.load(io.BytesIO(page), allow_pickle=False)
            calibration = Calibration(**calibration, reference=reference)
        others = recipe, about.get("pixel_scale"), calibration
        return Classifier(model, tuple(about["class_names"]), int(about["image_size"]), about["crop"], *others)


def pretrained_classifier():
    """Return the classifier that comes with the package: a compact network for ten classes, images of 96 pixels.

    It was trained on 17,740 simulated galaxies and then on 709 of 799 real ones, images of Galaxy10 DECaLS; 80 others
    calibrated it. `compact_cnn_96px.md` beside its file is its card: how good it is, and what it is not for.

    Returns:
        A `Classifier`. `gu.classify` takes it by the name `"pretrained"`.

    Raises:
        DataError: The installed file is damaged.

    Example:
        >>> classifier = gu.pretrained_classifier()
        >>> classifier.image_size, classifier.crop, classifier.class_names[2]
        (96, 0.5, 'Round Smooth')
        >>> classifier.predict(np.zeros((5, 96, 96, 3), np.uint8)).shape
        (5, 10)
    """
    return load_classifier(PRETRAINED)


def _check_members(value, error, path):
    """Refuse layers that run code of their own, or come from elsewhere."""
    if isinstance(value, dict):
        kind, module = value.get("class_name"), value.get("module")
        registered = value.get("registered_name") or ""
        foreign = module is None and ">" in registered and not registered.startswith("galaxy_utils>")
        foreign |= isinstance(module, str) and module.split(".")[0] not in ("keras", "galaxy_utils", "builtins")
        if kind == "Lambda" or foreign:
            problem = "A classifier with this layer cannot be opened safely."
            found = f"{registered or kind} of {module}"
            expected = "layers of Keras, but no Lambda, or layers of galaxy_utils"
            raise error(problem, where=path, expected=expected, found=found)
        value = list(value.values())
    for member in value if isinstance(value, list) else ():
        _check_members(member, error, path)
