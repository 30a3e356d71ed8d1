"""Paper 1's path at length, on real galaxies: what each step of chapters 3, 4, 5 and 11 is worth.

    python book/measured/path_predictions.py REAL_FOLDER [--folds 5] [--seeds 8] [--output FILE]

REAL_FOLDER holds one sub-folder of real images per class. Folds are drawn by sky group where positions are known, and
stratified by class. Each galaxy is predicted once per seed, by a network that never saw its patch of sky. The last
epoch counts; no epoch and no weights are chosen, and nothing was tuned on these galaxies: the settings are those of
chapter 11.

Stored are the probabilities (float16) of each galaxy, and beside them their mean over its eight dihedral views; the
chapters compute accuracies, KL divergences, differences, verdicts and ensembles from them. Kill the program and start
it again: what is finished is not trained again. `--jobs` says which share of the folds this process does, such as 1/2.
"""

import numpy as np
import stored_predictions

import galaxy_utils as gu
from galaxy_utils.augmentation import RandomDihedral
from galaxy_utils.evaluation import predict_with_tta

IMAGE_SIZE, FIRST_FILTERS = 32, 16
EPOCHS, LEARNING_RATE = 40, 1e-3
# What each round changes against the plain network of paper 1: of the images, of the network, of the recipe.
PLAIN = {"crop": 1.0, "pooling": "flatten", "block_dropout": 0.25}
METHODS = {
    "as published": PLAIN | {"learning_rate": 1e-4, "learning_rate_schedule": "constant"},
    "four-block CNN": PLAIN,
    "no dropout in blocks": PLAIN | {"block_dropout": 0.0},
    "average pooling": {"crop": 1.0, "pooling": "average", "block_dropout": 0.0},
    "central half": {"crop": 0.5, "pooling": "average", "block_dropout": 0.0},
    "central half, flatten": {"crop": 0.5, "pooling": "flatten", "block_dropout": 0.0},
    "dihedral": {"crop": 0.5, "pooling": "average", "block_dropout": 0.0, "dihedral": True},
    "encoder alone": {"crop": 0.5, "network": "encoder"},
    "joint autoencoder": {"crop": 0.5, "network": "joint"},
    "compact CNN": {"crop": 0.5, "network": "compact"},
    "compact CNN, dihedral": {"crop": 0.5, "network": "compact", "dihedral": True},
}


def build(changes, num_classes, seed):
    """Return a method's network, and which targets it is trained towards."""
    flips = RandomDihedral(seed) if changes.get("dihedral") else None
    kind = changes.get("network", "four blocks")
    if kind == "four blocks":
        options = {name: changes[name] for name in ("pooling", "block_dropout")}
        options |= {"first_filters": FIRST_FILTERS, "augmentation": flips}
        return gu.models.four_block_cnn(IMAGE_SIZE, num_classes, seed=seed, **options), "labels"
    if kind == "compact":
        return gu.models.compact_cnn(IMAGE_SIZE, num_classes, flips, seed), "labels"
    if kind == "encoder":
        return gu.models.encoder_classifier(IMAGE_SIZE, num_classes, seed=seed), "labels"
    return gu.models.joint_autoencoder_classifier(IMAGE_SIZE, num_classes, seed=seed), "images and labels"


def prepare_training(galaxies, folds, groups):
    """Return the function that trains one network."""
    prepared = {crop: gu.prepare(galaxies, IMAGE_SIZE, crop) for crop in (1.0, 0.5)}

    def train(method, seed, number):
        changes = dict(METHODS[method])
        network, targets = build(changes, galaxies.num_classes, seed)
        of_recipe = {name: changes[name] for name in ("learning_rate", "learning_rate_schedule") if name in changes}
        recipe = gu.recipes.FOUR_BLOCK_CNN.replace(
            **{"epochs": EPOCHS, "learning_rate": LEARNING_RATE, "learning_rate_schedule": "cosine"} | of_recipe,
            reconstruction_weight=100.0,
        )
        data, fold = prepared[changes["crop"]], folds[number]
        run = gu.fit(network, data, fold, recipe, seed=seed, targets=targets, progress=False)
        both = [predict(network, data, fold.test) for predict in (gu.predict, predict_with_tta)]
        right = [np.mean(each.argmax(axis=1) == galaxies.labels[fold.test]) for each in both]
        return np.stack(both), f"accuracy {right[0]:.3f}, with eight views {right[1]:.3f}, {run.seconds:.0f} s"

    return train


if __name__ == "__main__":
    stored_predictions.run(
        stored_predictions.arguments(__doc__.splitlines()[0], list(METHODS), "path", folds=5, seeds=8).parse_args(),
        prepare_training,
        {
            "image_size": IMAGE_SIZE,
            "first_filters": FIRST_FILTERS,
            "epochs": EPOCHS,
            "learning_rate": LEARNING_RATE,
            "methods": METHODS,
            "recipe": gu.recipes.FOUR_BLOCK_CNN.to_dict(),
        },
    )
