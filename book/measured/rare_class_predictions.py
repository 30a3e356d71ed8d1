"""Chapter 10's question at length: does a GAN help a rare class more than showing its galaxies more often?

    python book/measured/rare_class_predictions.py REAL_FOLDER [--folds 5] [--seeds 3] [--output FOLDER]

REAL_FOLDER holds one sub-folder of real images per class. The rarest class is filled up to the median class in every
way of chapter 10. Folds are drawn by sky group where positions are known, and stratified by class. Each galaxy is
predicted once per seed, by a network that never saw it, nor did any generator that made its training images.

All methods take the same number of steps; no epoch and no weights are chosen. Nothing was tuned: the learning rate is
that of paper 2's recipe, and the steps are what eight epochs of the training galaxies have.

What is stored are the probabilities of every galaxy (float16) of each method, seed and fold, one file each; the chapter
computes its tables from them. Kill the program and start it again: finished networks are not trained again, a GAN goes
on where it was. `--jobs` says which share of the work this process does, such as 1/2.
"""

import argparse
import dataclasses
import json
from pathlib import Path

import numpy as np
from cross_validation import describe_machine, hold_back_validation, make_folds

import galaxy_utils as gu
from galaxy_utils import augmentation
from galaxy_utils.data.split import OVERLAP_RADIUS
from galaxy_utils.files import artifacts_folder, locked, write_atomically, write_json

IMAGE_SIZE, CROP_FRACTION = 32, 0.7
STEPS, LEARNING_RATE = 3_500, 1e-3
GAN_IMAGES = 40_000
METHODS = (
    "baseline",
    "class weights",
    "oversampling",
    "GAN",
    "dihedral",
    "oversampling, dihedral",
    "GAN, dihedral",
)


class Fold:
    """One division of the galaxies, with what its methods share: the GAN and the lists of rows."""

    def __init__(self, number, fold, galaxies, prepared, groups):
        self.number, self.prepared = number, prepared
        rows = hold_back_validation(fold, galaxies, groups, number, parts=20)
        own = {part: np.sort(getattr(rows, part)) for part in ("train", "validation", "test")}
        shares = tuple(len(each) / len(galaxies) for each in own.values())
        self.split = gu.Split(
            **own, groups=groups, radius=OVERLAP_RADIUS, fractions=shares, seed=number, fingerprint=galaxies.fingerprint
        )
        labels = prepared.labels[self.split.train]
        counts = np.bincount(labels, minlength=prepared.num_classes)
        self.rare = int(counts.argmin())
        self.missing = np.zeros(prepared.num_classes, int)
        self.missing[self.rare] = int(np.median(counts)) - counts[self.rare]

    def oversampled(self, seed):
        """The training rows, with those of the rare class repeated up to the median class."""
        random, rows = np.random.default_rng(seed), self.split.train
        members = rows[self.prepared.labels[rows] == self.rare]
        passes = -(-self.missing[self.rare] // len(members))
        repeated = np.concatenate([random.permutation(members) for _ in range(passes)])[: self.missing[self.rare]]
        return dataclasses.replace(self.split, train=np.sort(np.concatenate([rows, repeated])))

    def with_generated(self, seed):
        """The images with generated ones of the rare class in place of the repeated ones, and their split.

        The GAN learns from training galaxies of the rarest classes alone, three of them so that its classes differ.
        One GAN serves all seeds of a fold; each seed takes other latent vectors.
        """
        prepared, split = self.prepared, self.split
        few = augmentation.with_classes(prepared, split, [self.rare], at_least=3)
        gan = augmentation.relativistic_gan(IMAGE_SIZE, prepared.num_classes, seed=self.number)
        recipe = gu.recipes.RELATIVISTIC_GAN.replace(epochs=max(1, round(GAN_IMAGES / len(few.train))))
        checkpoint = artifacts_folder() / "rare_class" / f"gan_{self.number}.npz"
        run = gu.fit(gan, prepared, few, recipe, seed=self.number, targets="conditions", checkpoint=checkpoint)
        print(f"  GAN of fold {self.number}: {run.epochs} epochs, {run.seconds:.0f} s", flush=True)
        generated = augmentation.add_generated(gan, prepared, few, self.missing, seed)
        return augmentation.add_synthetic(prepared, split, generated)

    def predict(self, method, seed):
        """Train one network; return its probabilities for the fold's galaxies."""
        kind, _, dihedral = method.partition(", ")
        dihedral = dihedral or ("dihedral" if kind == "dihedral" else "")
        data, split, recipe = self.prepared, self.split, gu.recipes.THREE_BLOCK_CNN
        if kind == "oversampling":
            split = self.oversampled(seed)
        elif kind == "GAN":
            data, split = self.with_generated(seed)
        epochs = max(1, round(STEPS * recipe.batch_size / len(split.train)))
        recipe = recipe.replace(
            epochs=epochs,
            learning_rate=LEARNING_RATE,
            learning_rate_schedule="cosine",
            balanced_classes=kind == "class weights",
        )
        layer = augmentation.RandomDihedral(seed) if dihedral else None
        network = gu.models.three_block_cnn(IMAGE_SIZE, data.num_classes, seed=seed, augmentation=layer)
        run = gu.fit(network, data, split, recipe, seed=seed)
        return gu.predict(network, self.prepared, self.split.test, 256), run


def path_of(folder, method, seed, fold):
    """Where the probabilities of one network are kept."""
    return folder / f"{method.replace(', ', '_').replace(' ', '_')}_seed{seed}_fold{fold}.npy"


def work(galaxies, options, folder):
    """Train what is missing, fold by fold, so that every method has seen the same galaxies at any time."""
    prepared = gu.prepare(galaxies, IMAGE_SIZE, CROP_FRACTION)
    folds, groups = make_folds(galaxies, options.folds, options.seed)
    mine, of = map(int, options.jobs.split("/"))
    tasks = [(s, f, m) for s in range(1, options.seeds + 1) for f in range(options.folds) for m in options.methods]
    tasks = [task for task in tasks if task[1] % of == mine - 1]
    for seed, number, method in tasks:
        path = path_of(folder, method, seed, number)
        if path.exists():
            continue
        with locked(path):
            fold = Fold(number + 1, folds[number], galaxies, prepared, groups)
            probabilities, run = fold.predict(method, seed)
            with write_atomically(path) as partial, open(partial, "wb") as file:
                np.save(file, probabilities.astype(np.float16))
        right = probabilities.argmax(axis=1) == prepared.labels[fold.split.test]
        rare = prepared.labels[fold.split.test] == fold.rare
        print(
            f"seed {seed}, fold {number + 1}, {method}: accuracy {right.mean():.4f}, recall of the rare class "
            f"{right[rare].mean():.3f}, {run.seconds:.0f} s",
            flush=True,
        )


def collect(galaxies, options, folder, output):
    """Put finished predictions together, one array per method, shape (seeds, galaxies, classes)."""
    folds, groups = make_folds(galaxies, options.folds, options.seed)
    arrays = {}
    for method in options.methods:
        seeds = []
        for seed in range(1, options.seeds + 1):
            paths = [path_of(folder, method, seed, fold) for fold in range(options.folds)]
            if not all(path.exists() for path in paths):
                break
            whole = np.empty((len(galaxies), galaxies.num_classes), np.float16)
            for fold, path in zip(folds, paths, strict=True):
                whole[fold.test] = np.load(path)
            seeds.append(whole)
        if seeds:
            arrays[method] = np.stack(seeds)
    fold_of = np.empty(len(galaxies), np.int8)
    for number, fold in enumerate(folds):
        fold_of[fold.test] = number
    own = {"labels": galaxies.labels.astype(np.int8), "groups": groups.astype(np.int32), "fold": fold_of}
    with write_atomically(output.with_suffix(".npz")) as partial, open(partial, "wb") as file:
        np.savez_compressed(file, **own, **arrays)
    content = {
        "command": f"python book/measured/rare_class_predictions.py REAL_FOLDER --folds {options.folds} "
        f"--seeds {options.seeds}",
        "data": {"name": galaxies.name, "galaxies": len(galaxies), "fingerprint": galaxies.fingerprint},
        "class_names": list(galaxies.class_names),
        "settings": {
            "image_size": IMAGE_SIZE,
            "crop_fraction": CROP_FRACTION,
            "steps": STEPS,
            "learning_rate": LEARNING_RATE,
            "gan_images": GAN_IMAGES,
            "folds": options.folds,
            "seed_of_folds": options.seed,
        },
        "recipe": gu.recipes.THREE_BLOCK_CNN.to_dict(),
        "seeds": {method: len(array) for method, array in arrays.items()},
        **describe_machine(),
    }
    write_json(output.with_suffix(".json"), json.loads(json.dumps(content)))
    print(f"written: {output.with_suffix('.npz')}: {content['seeds']}")


def main():
    """Do what is missing; `--collect` only puts together what is there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("real_folder", type=Path)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1, help="seed of the folds")
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    parser.add_argument("--jobs", default="1/1", help="this process's share of the folds, such as 1/2")
    parser.add_argument("--collect", action="store_true", help="train nothing")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("rare_class"))
    options = parser.parse_args()
    galaxies = gu.load(options.real_folder)
    folder = artifacts_folder() / "rare_class" / "predictions"
    folder.mkdir(parents=True, exist_ok=True)
    if not options.collect:
        work(galaxies, options, folder)
    collect(galaxies, options, folder, options.output)


if __name__ == "__main__":
    main()
