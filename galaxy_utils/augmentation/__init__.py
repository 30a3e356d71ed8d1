"""More training images than were taken: by geometry, by a denoising and by a variational autoencoder."""

import importlib

# Layers are Keras classes, so their module needs Keras. It is loaded when one of them is asked for.
_PUBLIC = {
    "SyntheticImages": "synthetic",
    "add_synthetic": "synthetic",
    "denoising_autoencoder": "autoencoders",
    "make_synthetic": "synthetic",
    "variational_autoencoder": "autoencoders",
    "walk_between": "synthetic",
    "RandomFlipsAndTurns": "geometric",
    "RandomRotationZoomShift": "geometric",
}

__all__ = list(_PUBLIC)


def __getattr__(name):
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_PUBLIC[name]}"), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *__all__})
