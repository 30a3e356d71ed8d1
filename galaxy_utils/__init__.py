"""Helpers for a book that teaches deep learning on galaxies. See the README for the first three lines."""

import importlib

from galaxy_utils.keras_settings import check_keras_settings, register_layers

__version__ = "0.2.0"

# Module → its public names. Nothing is imported before it is used (PEP 562), so that `import galaxy_utils` takes a
# moment and loads neither Keras nor TensorFlow.
_NAMES = {
    "classes": ("CLASSES", "CLASS_NAMES"),
    "data.dataset": ("GalaxyDataset",),
    "data.load": ("load",),
    "data.prepare": ("prepare",),
    "data.split": ("Split", "split"),
    "exercises": ("check",),
    "profiles": ("get_profile",),
    "published": ("PUBLISHED",),
    "recipes": ("Recipe",),
    "models.stored_features": ("FrozenFeatures", "cache_frozen_features", "fit_on_frozen_features"),
    "checkpoint": ("Checkpoint",),
    "training": ("TrainingRun", "fit", "reinitialise", "predict", "encode", "reconstruct"),
    "evaluation.classification": ("Evaluation", "evaluate"),
    "evaluation.baselines": ("baselines",),
    "prediction": ("Prediction", "measure"),
    "ledger": ("Ledger", "Rule"),
    "classifier_file": ("save_classifier", "load_classifier", "pretrained_classifier"),
    "catalogue.run": ("classify",),
    "report": ("reports", "read_report", "write_report"),
    "runtime": ("set_up", "describe_machine"),
}
_PUBLIC = {name: module for module, names in _NAMES.items() for name in names}
_LOAD_KERAS = ("augmentation", "models", "models.stored_features", "checkpoint", "training", "classifier_file")
_MODULES = ("augmentation", "evaluation", "models", "plots", "recipes")

__all__ = ["__version__", *_MODULES, *_PUBLIC]


def __getattr__(name):
    if _PUBLIC.get(name, name) in _LOAD_KERAS:
        check_keras_settings()
    if name in _MODULES:
        value = importlib.import_module(f"{__name__}.{name}")
    elif name in _PUBLIC:
        value = getattr(importlib.import_module(f"{__name__}.{_PUBLIC[name]}"), name)
    else:
        from galaxy_utils.renamed import forward

        return forward(__name__, name)
    globals()[name] = value
    register_layers()
    return value


def __dir__():
    return sorted({*globals(), *__all__})


register_layers()
