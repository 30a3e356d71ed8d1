"""What the cross-validations of this folder share: the same folds, the same scores, the same account of the machine."""

import os
from types import SimpleNamespace

import numpy as np

import galaxy_utils as gu
from galaxy_utils.data.split import galaxy_groups
from galaxy_utils.evaluation import accuracy_difference
from galaxy_utils.models.cnn import layer_seeds

# As the build of the book sets it: networks train in half the time on many processors, and end in other last bits.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


def make_folds(dataset, num_folds, seed):
    """Draw the folds by sky group, stratified by class; return the folds and each galaxy's group.

    A fold has row arrays `train`, `validation` and `test`. `fit` wants validation galaxies to watch; where nothing is
    decided by them, a few of the fold's own will do. `hold_back_validation` makes others for trainings that decide.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    groups = galaxy_groups(dataset)
    folds = StratifiedGroupKFold(num_folds, shuffle=True, random_state=seed).split(groups, dataset.labels, groups)
    return [SimpleNamespace(train=train, validation=test[:32], test=test) for train, test in folds], groups


def hold_back_validation(fold, dataset, groups, seed, parts=7):
    """Return a fold whose validation rows are one of `parts` parts of its training rows, again by sky group."""
    from sklearn.model_selection import StratifiedGroupKFold

    rows = fold.train
    folds = StratifiedGroupKFold(parts, shuffle=True, random_state=seed)
    train, validation = next(folds.split(rows, dataset.labels[rows], groups[rows]))
    return SimpleNamespace(train=rows[train], validation=rows[validation], test=fold.test)


def summarise(answers, rows, galaxies, groups):
    """Score answers that belong to some rows."""
    return gu.evaluate(answers, galaxies.labels[rows], galaxies.class_names, groups=groups[rows])


def compare(first, second, rows, galaxies, groups):
    """Return how much more accurate the second answers are, with its interval, as a list."""
    return list(accuracy_difference(first, second, galaxies.labels[rows], groups=groups[rows]))


def accuracy(answers, rows, galaxies):
    """Return the share of right answers."""
    return float(np.mean(answers.argmax(axis=1) == galaxies.labels[rows]))


def describe_machine():
    """Return versions and device, as reports do."""
    from galaxy_utils import report

    return {"versions": report.software_versions(), "device": report.computing_device()}


def light_layers(brightness, contrast, seed):
    """Return random changes of brightness and of contrast, each with a seed of its own.

    Layers with one seed that draw equally often draw the same numbers. What is stored of both programs' networks was
    measured with such layers: an image that was turned far was also brightened.
    """
    import keras

    seeds = layer_seeds(seed)
    return [
        keras.layers.RandomBrightness(brightness, seed=next(seeds)),
        keras.layers.RandomContrast(contrast, seed=next(seeds)),
    ]
