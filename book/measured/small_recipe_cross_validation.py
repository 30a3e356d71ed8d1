"""How good is the small recipe on few real images, and what does each ingredient bring?

    python book/measured/small_recipe_cross_validation.py REAL_FOLDER [--ablation-folds 3] [--output FILE]

REAL_FOLDER holds one sub-folder of real images per class. Folds are drawn by sky group and stratified by class. Each
galaxy is tested once, by a network that never saw its patch of sky. The scores are those of the last epoch: no epoch
and no weights are chosen by looking at a fold, so the fold also lends `fit` the galaxies that it watches. The network
and the settings were chosen on two folds of another division (`random_state=77`) of the same images.

Leaving out the ingredients one by one takes nine times as long, so that is done in some of the folds and with fewer
epochs, for the whole recipe as well. Each fold has a checkpoint: kill the program and start it again, and it goes on
where it was.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from cross_validation import accuracy, compare, describe_machine, light_layers, make_folds, summarise

import galaxy_utils as gu
from galaxy_utils.data.split import OVERLAP_RADIUS
from galaxy_utils.evaluation import predict_with_tta
from galaxy_utils.files import artifacts_folder, write_json

IMAGE_SIZE, CROP_FRACTION = 96, 0.5
ROTATION, ZOOM, SHIFT = 180, 0.3, 0.05
BRIGHTNESS, CONTRAST = 0.05, 0.2
FULL = "the whole recipe"

# What each variant changes: of the images, of the augmentation, or of the recipe.
VARIANTS = {
    FULL: {},
    "without any augmentation": {"flips": False, "rotation": 0, "zoom": 0, "shift": 0, "light": False},
    "without free rotation (dihedral group stays)": {"rotation": 0},
    "without the dihedral group (rotation stays)": {"flips": False},
    "without zoom and shift": {"zoom": 0, "shift": 0},
    "without changes of brightness and contrast": {"light": False},
    "without average pooling (flattened)": {"pooling": "flatten"},
    "without the cosine schedule": {"learning_rate_schedule": "constant"},
    "without label smoothing": {"label_smoothing": 0.0},
    "without the crop (whole cut-outs, as many pixels)": {"crop_fraction": 1.0},
}


def build_network(
    num_classes, seed, pooling="average", flips=True, rotation=ROTATION, zoom=ZOOM, shift=SHIFT, light=True
):
    """Return the network with the wanted augmentation."""
    layers = [gu.augmentation.RandomDihedral(seed)] if flips else []
    if rotation or zoom or shift:
        layers.append(gu.augmentation.RandomRotationZoomShift(rotation, zoom, shift, seed))
    if light:
        layers += light_layers(BRIGHTNESS, CONTRAST, seed)
    return gu.models.compact_cnn(IMAGE_SIZE, num_classes, augmentation=layers, seed=seed, pooling=pooling)


def run_fold(name, changes, galaxies, fold, number, epochs, seed):
    """Train one variant on one fold and return its answers for the fold and for eight views of it, and the seconds."""
    changes = dict(changes)
    prepared = gu.prepare(galaxies, IMAGE_SIZE, changes.pop("crop_fraction", CROP_FRACTION))
    of_recipe = {key: changes.pop(key) for key in ("learning_rate_schedule", "label_smoothing") if key in changes}
    recipe = gu.recipes.COMPACT_CNN.replace(epochs=epochs, **of_recipe)
    network = build_network(prepared.num_classes, seed, **changes)
    folder = "".join(letter if letter.isalnum() else "_" for letter in name)
    checkpoint = artifacts_folder() / "small_recipe" / f"{folder}_{epochs}" / f"fold_{number}.npz"
    run = gu.fit(network, prepared, fold, recipe, seed=seed, checkpoint=checkpoint)
    answers = gu.predict(network, prepared, fold.test)
    return answers, predict_with_tta(network, prepared, fold.test), run


def cross_validate(name, galaxies, folds, groups, epochs, seed):
    """Train one variant on every fold; return its scores as a dictionary, its answers and their rows."""
    answers, averaged, seconds, accuracies = [], [], [], []
    print(f"{name}, {epochs} epochs", flush=True)
    for number, fold in enumerate(folds, start=1):
        single, eight, run = run_fold(name, VARIANTS[name], galaxies, fold, number, epochs, seed)
        answers.append(single)
        averaged.append(eight)
        seconds.append(run.seconds)
        accuracies.append(accuracy(single, fold.test, galaxies))
        print(f"  fold {number}: {accuracies[-1]:.3f} of {len(fold.test)} galaxies, {run.seconds:.0f} s", flush=True)
    rows = np.concatenate([fold.test for fold in folds])
    score = summarise(np.concatenate(answers), rows, galaxies, groups)
    with_views = summarise(np.concatenate(averaged), rows, galaxies, groups)
    result = {
        "folds": len(folds),
        "epochs": epochs,
        "galaxies": len(rows),
        "accuracy_of_folds": accuracies,
        "accuracy": score.accuracy,
        "interval": list(score.intervals["accuracy"]),
        "eight_views_accuracy": with_views.accuracy,
        "eight_views_interval": list(with_views.intervals["accuracy"]),
        "seconds_of_folds": seconds,
    }
    low, high = result["interval"]
    print(
        f"  {result['accuracy']:.3f} ({low:.3f} to {high:.3f}); eight views {result['eight_views_accuracy']:.3f}; "
        f"{np.mean(seconds):.0f} s a fold",
        flush=True,
    )
    return result, np.concatenate(answers), rows


def leave_out(galaxies, folds, groups, epochs, seed):
    """Leave out the ingredients one by one; return `{variant: scores}`, each with its difference to the whole."""
    results = {}
    whole, answers_of_whole, rows = cross_validate(FULL, galaxies, folds, groups, epochs, seed)
    for name in [name for name in VARIANTS if name != FULL]:
        result, answers, _ = cross_validate(name, galaxies, folds, groups, epochs, seed)
        # On the same galaxies: what is hard for both drops out.
        difference = compare(answers_of_whole, answers, rows, galaxies, groups)
        results[name] = {**result, "minus_whole_recipe": difference}
        print("  minus the whole recipe: {:+.3f} ({:+.3f} to {:+.3f})".format(*difference), flush=True)
    return {FULL: whole, **results}


def main():
    """Run what is missing, print the scores, write the measured results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("real_folder", type=Path)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=gu.recipes.COMPACT_CNN.epochs)
    parser.add_argument("--ablation-folds", type=int, default=0, help="in how many folds ingredients are left out")
    parser.add_argument("--ablation-epochs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, default=None, help="JSON file for the results")
    options = parser.parse_args()
    galaxies = gu.load(options.real_folder)
    folds, groups = make_folds(galaxies, options.folds, options.seed)
    data = galaxies, folds, groups
    whole, _, _ = cross_validate(FULL, *data, options.epochs, options.seed)
    ablation = {}
    if options.ablation_folds:
        data = galaxies, folds[: options.ablation_folds], groups
        ablation = leave_out(*data, options.ablation_epochs, options.seed)
    if options.output:
        settings = {"image_size": IMAGE_SIZE, "crop_fraction": CROP_FRACTION, "rotation": ROTATION}
        settings |= {"zoom": ZOOM, "shift": SHIFT, "brightness": BRIGHTNESS, "contrast": CONTRAST}
        content = {
            "command": f"python book/measured/small_recipe_cross_validation.py REAL_FOLDER --epochs {options.epochs} "
            f"--ablation-folds {options.ablation_folds} --ablation-epochs {options.ablation_epochs}",
            "data": {
                "name": galaxies.name,
                "galaxies": len(galaxies),
                "fingerprint": galaxies.fingerprint,
                "radius_arcsec": OVERLAP_RADIUS,
            },
            "settings": settings | {"seed": options.seed},
            "recipe": gu.recipes.COMPACT_CNN.replace(epochs=options.epochs).to_dict(),
            "whole_recipe": whole,
            "ablation": ablation,
            **describe_machine(),
        }
        write_json(options.output, json.loads(json.dumps(content)))
        print(f"written: {options.output}")


if __name__ == "__main__":
    main()
