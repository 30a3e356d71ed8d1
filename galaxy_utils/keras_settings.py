"""Keras as this package needs it: its settings are checked, and it learns this package's layers when it is loaded."""

import importlib.util
import json
import os
import sys
from pathlib import Path

from galaxy_utils.errors import ConfigurationError

WANTED = {"backend": "tensorflow", "floatx": "float32", "image_data_format": "channels_last", "epsilon": 1e-7}
# Where the layers and networks are that a saved network may name.
LAYERS = (
    "augmentation.geometric augmentation.autoencoders augmentation.gan augmentation.super_resolution models.transfer"
)


def check_keras_settings():
    """Refuse settings of Keras with which networks silently compute something else, or fail without a reason.

    They stand in a file that Keras reads, or were set by `keras.config`. Another backend is taken where the variable
    `KERAS_BACKEND` names it, because a file may be forgotten. Does not load Keras.

    Raises:
        ConfigurationError: Says which setting to change, and where.

    Example:
        >>> check_keras_settings()
    """
    # As Keras finds it.
    home = os.environ.get("KERAS_HOME") or Path(Path.home() if os.access(Path.home(), os.W_OK) else "/tmp", ".keras")
    path = Path(home, "keras.json").expanduser()
    try:
        found = dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):  # Keras does without such a file, too
        found = {}
    if config := sys.modules.get("keras.config"):
        found = {name: getattr(config, name)() for name in WANTED}
    found["backend"] = os.environ.get("KERAS_BACKEND") or found.get("backend", WANTED["backend"])
    if os.environ.get("KERAS_BACKEND") in ("jax", "torch"):
        del found["backend"]
    for name, wanted in WANTED.items():
        if found.get(name, wanted) != wanted:
            problem = f"Keras is set to {name} = {found[name]!r}: networks would compute something else, or nothing."
            other = "the variable KERAS_BACKEND" if name == "backend" else f"a call of keras.config.set_{name}"
            remedy = "change it there and start Python again; KERAS_BACKEND=jax takes another backend on purpose"
            raise ConfigurationError(problem, where=f"{path}, or {other}", expected=repr(wanted), remedy=remedy)


class _WhenLoaded:
    """Finds Keras as Python would, for whoever imports it, and has something done once it is there."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name == "keras" and cls in sys.meta_path:
            sys.meta_path.remove(cls)
            if spec := importlib.util.find_spec(name):
                load = spec.loader.exec_module
                spec.loader.exec_module = lambda module: (load(module), register_layers())
            return spec


def register_layers():
    """Let Keras know what a saved network may hold: now, or when Keras is loaded and no module here is half there.

    Example:
        >>> register_layers()
    """
    ours = [module.__spec__ for name, module in [*sys.modules.items()] if name.startswith("galaxy_utils.")]
    if "keras" not in sys.modules:
        sys.meta_path[:] = [_WhenLoaded, *(finder for finder in sys.meta_path if finder is not _WhenLoaded)]
    elif not any(getattr(spec, "_initializing", False) for spec in ours):
        for name in LAYERS.split():
            importlib.import_module(f"galaxy_utils.{name}")
