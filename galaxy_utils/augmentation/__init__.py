"""More training images than were taken: by geometry, by autoencoders, by adversarial networks, by repetition."""

import importlib

from galaxy_utils.keras_settings import register_layers
from galaxy_utils.renamed import forward

# Layers are Keras classes, so their module needs Keras. It is loaded when one of them is asked for.
_PUBLIC = {
    "PAPER_2_RARE": "balance",
    "SyntheticImages": "synthetic",
    "add_synthetic": "synthetic",
    "CanonicalOrientation": "gan",
    "conditional_gan": "gan",
    "denoising_autoencoder": "autoencoders",
    "generate_images": "gan",
    "add_generated": "gan",
    "interpolate_latent": "synthetic",
    "make_synthetic": "synthetic",
    "missing_images": "balance",
    "oversample": "balance",
    "rare_classes": "balance",
    "relativistic_gan": "gan",
    "super_resolution_gan": "super_resolution",
    "upscale": "super_resolution",
    "variational_autoencoder": "autoencoders",
    "with_classes": "balance",
    "RandomDihedral": "geometric",
    "RandomRotationZoomShift": "geometric",
    "RandomShiftAndBrightness": "geometric",
}

__all__ = list(_PUBLIC)


def __getattr__(name):
    if name not in _PUBLIC:
        return forward(__name__, name)
    value = getattr(importlib.import_module(f"{__name__}.{_PUBLIC[name]}"), name)
    globals()[name] = value
    register_layers()
    return value


def __dir__():
    return sorted({*globals(), *__all__})
