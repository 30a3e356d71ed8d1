"""Chapter 10's question at length: does a GAN help a rare class more than showing its galaxies more often?

    python book/measured/rare_class_predictions.py REAL_FOLDER [--folds 5] [--seeds 3] [--output FILE]

REAL_FOLDER holds one sub-folder of real images per class. The rarest class is filled up to the median class in every
way of chapter 10. Folds are drawn by sky group where positions are known, and stratified by class. Each galaxy is
predicted once per seed, by a network that never saw it, nor did any generator that made its training images.

All methods take the same number of steps; no epoch and no weights are chosen. Nothing was tuned: the learning rate is
that of paper 2's recipe, and the steps are what eight epochs of the training galaxies have. Images that were enlarged,
by a super-resolution network or bicubically, meet a first kernel of 5 x 5 that moves by two pixels, as in chapter 10.

What is stored are the probabilities of every galaxy (float16) of each method, seed and fold, one file each; the chapter
computes its tables from them. Kill the program and start it again: finished networks are not trained again, a GAN goes
on where it was. `--jobs` says which share of the work this process does, such as 1/2.
"""

import dataclasses
import json
import zlib

import keras
import numpy as np
import stored_predictions
from cross_validation import hold_back_validation

import galaxy_utils as gu
from galaxy_utils import augmentation
from galaxy_utils.data.split import OVERLAP_RADIUS
from galaxy_utils.evaluation.resolution import enlarge_bicubic
from galaxy_utils.files import artifacts_folder, write_atomically

IMAGE_SIZE, CROP_FRACTION = 32, 0.7
STEPS, LEARNING_RATE = 3_500, 1e-3
GAN_IMAGES = 40_000
ENLARGING = {"images": 2_000, "epochs": 5, "images_of_classifier": 4_000, "epochs_of_classifier": 3}
METHODS = (
    "baseline",
    "class weights",
    "oversampling",
    "GAN",
    "dihedral",
    "oversampling, dihedral",
    "GAN, dihedral",
    "bicubic",
    "super-resolution",
)


def build(size, num_classes, seed, layer):
    """Paper 2's network, for images of the common size or of twice that."""
    if size == IMAGE_SIZE:
        return gu.models.three_block_cnn(size, num_classes, seed=seed, augmentation=layer)
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((size, size, 3))
    x, kernel = keras.layers.Rescaling(1 / 255)(inputs), {"kernel_size": 5, "strides": 2}
    for filters in (32, 64, 128):
        x = keras.layers.Conv2D(filters, **kernel, padding="same", activation="relu")(x)
        x, kernel = keras.layers.MaxPooling2D(2)(x), {"kernel_size": 3}
    x = keras.layers.Dense(512, activation="relu")(keras.layers.Flatten()(x))
    return keras.Model(inputs, keras.layers.Dense(num_classes, activation="softmax")(x), name="three_block_cnn")


class Fold:
    """One division of the galaxies, with what its methods share: the GAN and the lists of rows."""

    def __init__(self, number, fold, galaxies, prepared, in_large, groups):
        self.number, self.prepared, self.in_large = number, prepared, in_large
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

        The GAN learns from training galaxies of the rare class alone.
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

    def enlarged(self, kind):
        """All images at twice their side; the super-resolution network learns from training galaxies alone."""
        prepared = self.prepared
        if kind == "bicubic":
            images = enlarge_bicubic(prepared.images)
        else:
            settings = f"{zlib.crc32(json.dumps(ENLARGING, sort_keys=True).encode()):08x}"
            path = artifacts_folder() / "rare_class" / f"enlarged_{self.split.hash[:12]}_{settings}.npy"
            if not path.exists():
                with write_atomically(path) as partial, open(partial, "wb") as file:
                    np.save(file, augmentation.upscale(self.super_resolution(), prepared.images))
            images = np.load(path, mmap_mode="r")
        return prepared.replace(images=images, pixel_scale=None, source_fingerprint=prepared.source_fingerprint)

    def super_resolution(self):
        """Chapter 8's network, trained in this fold; the features of its loss are those of a classifier."""
        number, of, size = self.number, ENLARGING, self.in_large.image_size
        classifier = gu.models.compact_cnn(
            size, self.in_large.num_classes, augmentation.RandomDihedral(number), seed=number
        )
        recipe = gu.recipes.COMPACT_CNN.replace(epochs=of["epochs_of_classifier"])
        some = self.split.with_fewer(of["images_of_classifier"], number)
        gu.fit(classifier, self.in_large, some, recipe, seed=number, progress=False)
        network = augmentation.super_resolution_gan(size, classifier, seed=number)
        recipe = gu.recipes.SUPER_RESOLUTION.replace(epochs=of["epochs"])
        some = self.split.with_fewer(of["images"], number)
        run = gu.fit(network, self.in_large, some, recipe, seed=number, targets="images", progress=False)
        print(f"  super-resolution of fold {number}: {run.epochs} epochs, {run.seconds:.0f} s", flush=True)
        return network

    def predict(self, method, seed):
        """Train one network; return its probabilities for the fold's galaxies."""
        kind, _, dihedral = method.partition(", ")
        dihedral = dihedral or ("dihedral" if kind == "dihedral" else "")
        data, split, recipe = self.prepared, self.split, gu.recipes.THREE_BLOCK_CNN
        if kind == "oversampling":
            split = self.oversampled(seed)
        elif kind == "GAN":
            data, split = self.with_generated(seed)
        elif kind in ("bicubic", "super-resolution"):
            data = self.enlarged(kind)
        epochs = max(1, round(STEPS * recipe.batch_size / len(split.train)))
        recipe = recipe.replace(
            epochs=epochs,
            learning_rate=LEARNING_RATE,
            learning_rate_schedule="cosine",
            balanced_classes=kind == "class weights",
        )
        layer = augmentation.RandomDihedral(seed) if dihedral else None
        network = build(data.image_size, data.num_classes, seed, layer)
        run = gu.fit(network, data, split, recipe, seed=seed)
        return gu.predict(network, data, self.split.test, 256), run


def prepare_training(galaxies, folds, groups):
    """Return the function that trains one network."""
    prepared, in_large = (gu.prepare(galaxies, size, CROP_FRACTION) for size in (IMAGE_SIZE, 2 * IMAGE_SIZE))

    def train(method, seed, number):
        fold = Fold(number + 1, folds[number], galaxies, prepared, in_large, groups)
        probabilities, run = fold.predict(method, seed)
        right = probabilities.argmax(axis=1) == prepared.labels[fold.split.test]
        recall = right[prepared.labels[fold.split.test] == fold.rare].mean()
        return probabilities, f"accuracy {right.mean():.4f}, recall of the rare class {recall:.3f}, {run.seconds:.0f} s"

    return train


if __name__ == "__main__":
    stored_predictions.run(
        stored_predictions.arguments(__doc__.splitlines()[0], METHODS, "rare_class", folds=5, seeds=3).parse_args(),
        prepare_training,
        {
            "image_size": IMAGE_SIZE,
            "crop_fraction": CROP_FRACTION,
            "steps": STEPS,
            "learning_rate": LEARNING_RATE,
            "gan_images": GAN_IMAGES,
            "enlarging": ENLARGING,
            "recipe": gu.recipes.THREE_BLOCK_CNN.to_dict(),
        },
    )
