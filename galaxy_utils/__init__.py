"""Helpers for a book that teaches deep learning on galaxies. See the README for the first three lines."""

import importlib

from galaxy_utils.keras_settings import check_keras_settings, register_layers

__version__ = "0.2.0"

# Public name → module that holds it. Nothing is imported before it is used (PEP 562), so that `import galaxy_utils`
# takes a moment and loads neither Keras nor TensorFlow.
_PUBLIC = {
    "CLASSES": "classes",
    "CLASS_NAMES": "classes",
    "GalaxyDataset": "data.dataset",
    "load": "data.load",
    "prepare": "data.prepare",
    "Split": "data.split",
    "split": "data.split",
    "check": "exercises",
    "get_profile": "profiles",
    "PUBLISHED": "published",
    "Recipe": "recipes",
    "FrozenFeatures": "models.stored_features",
    "cache_frozen_features": "models.stored_features",
    "fit_on_frozen_features": "models.stored_features",
    "Checkpoint": "checkpoint",
    "TrainingRun": "training",
    "fit": "training",
    "predict": "training",
    "encode": "training",
    "reconstruct": "training",
    "Evaluation": "evaluation.classification",
    "evaluate": "evaluation.classification",
    "baselines": "evaluation.baselines",
    "Prediction": "prediction",
    "measure": "prediction",
    "Ledger": "ledger",
    "Rule": "ledger",
    "save_classifier": "classifier_file",
    "load_classifier": "classifier_file",
    "reports": "report",
    "read_report": "report",
    "write_report": "report",
    "set_up": "runtime",
    "describe_machine": "runtime",
}
_MODULES = ("augmentation", "evaluation", "models", "plots", "recipes")

__all__ = ["__version__", *_MODULES, *_PUBLIC]


def __getattr__(name):
    if _PUBLIC.get(name, name) in ("models", "models.stored_features", "checkpoint", "training", "classifier_file"):
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
