"""Train the classifier that ships with the package: on simulated galaxies first, then on 799 real ones.

    python book/measured/pretrained_classifier.py REAL_FOLDER [--seed 1] [--output FILE]

REAL_FOLDER holds one sub-folder of real images per class. The compact network of chapter 4 is trained on a simulated
survey at 96 px, then on nine tenths of the real galaxies; the last epoch counts. The other tenth, other groups on the
sky, says how sure it may be: temperature, threshold and the distance beyond which a galaxy is unlike the training's.
These few galaxies are no test. How good the recipe is, is measured in folds:

    python book/measured/few_labels_predictions.py REAL_FOLDER SDSS_FOLDER --image-size 96 --epochs 60 --seeds 2 \\
        --methods simulation "simulation alone" --output book/measured/few_labels_96

with the same pretraining and steps; `--card` then trains nothing and writes the classifier's card from these
predictions. Weights are stored as 16-bit floats, which Keras reads back as 32-bit. Kill the program and start it again:
the pretraining goes on where it was.
"""

import argparse
import io
import os
import zipfile
from pathlib import Path

import h5py
import numpy as np
from few_labels_predictions import SETTINGS, Experiment, begin

import galaxy_utils as gu
from galaxy_utils.evaluation.significance import mean_with_interval
from galaxy_utils.files import write_atomically

IMAGE_SIZE, EPOCHS = 96, 60
ARCSEC_PER_PIXEL = 0.262  # of Galaxy10's cut-outs, 256 pixels wide
STORED = Path(__file__).with_name("few_labels_96.npz")
SHIPPED = Path(gu.__file__).with_name("compact_cnn_96px.keras")


def halve(path):
    """Rewrite a saved classifier with weights of 16 bits, in place; everything else stays as it is."""
    with zipfile.ZipFile(path) as archive:
        pages = {name: archive.read(name) for name in archive.namelist()}
    halved = io.BytesIO()
    with h5py.File(io.BytesIO(pages["model.weights.h5"])) as old, h5py.File(halved, "w") as new:

        def copy(name, item):
            if isinstance(item, h5py.Dataset):
                small = item.dtype == np.float32
                made = new.create_dataset(name, data=item[()].astype(np.float16) if small else item[()])
            else:
                made = new.require_group(name)
            made.attrs.update(item.attrs)

        new.attrs.update(old.attrs)
        old.visititems(copy)
    pages["model.weights.h5"] = halved.getvalue()
    with write_atomically(path) as partial, zipfile.ZipFile(partial, "w") as archive:
        for name, content in pages.items():
            archive.writestr(name, content)


CARD = """---
license: other
library_name: keras
pipeline_tag: image-classification
tags: [astronomy, galaxy-morphology, galaxy10-decals]
---
# The classifier that comes with galaxy_utils

A compact convolutional network (chapter 4 of the book) for images of {size} × {size} pixels, the central half of
Galaxy10's cut-outs: {scale:.2f}″ a pixel. `gu.pretrained_classifier()` opens it; `gu.classify(images, "pretrained",
"catalogue.csv")` uses it.

## What it learned from

{simulated:,} simulated galaxies, as many of each class; then {train} real ones of ten classes, images of
Galaxy10 DECaLS, nearly as many of each class. {validation} others set temperature, threshold and distance
limit; {rest} more were not used. How good it is, is known from {networks} networks that were made in the same
way, each without one fold of the sky, from about {of_a_fold} real galaxies. One flaw: rotation, brightness and
contrast were drawn from one seed, so a galaxy that was turned far was also brightened; the program that
pretrains has given each a seed of its own since.

## How good that recipe is

Cross-validated on {galaxies} galaxies, each judged by networks that had not seen its patch of sky, one for each of
{seeds} seeds; 95 % intervals count galaxies:

| | right [%] | |
|---|---:|---|
{scores}

Recall by class, one view, of 80 galaxies each or fewer: {recalls}.

The simulator's sizes, brightnesses and colours were once set beside these same galaxies, which flatters a little.
Every class is nearly equally frequent here. On the sky they are not, and neither will your accuracy be the one above.

## What it is not for

- Another survey, pixel scale or depth, without a test on labelled galaxies of it: it has seen one telescope's colours.
- Fractions of classes in a catalogue, without a correction for confusion (chapter 14).
- Galaxies that fill less than a few pixels, or pictures of anything else: it always answers with one of ten classes.

## Terms

The code is under the MIT licence. The images keep the terms of those who made them. Credit: Galaxy10 DECaLS (Henry
Leung and Jo Bovy); the volunteers of Galaxy Zoo (Lintott et al. 2008, 2011; Willett et al. 2013; Walmsley et al. 2022);
the DESI Legacy Imaging Surveys (Dey et al. 2019).

Made by `book/measured/pretrained_classifier.py` of the book's repository.
"""


def write_card(path, stored, split, scale, class_names):
    """Write the card beside the classifier, its numbers from stored predictions of the folds."""
    labels, groups = stored["labels"], stored["groups"]
    rows = {
        "one view": stored["simulation"][:, 0],
        "mean of eight dihedral views": stored["simulation"][:, 1],
        "without real galaxies, one view": stored["simulation alone"][:, 0],
    }
    scores, all_right = [], {}
    for name, probabilities in rows.items():
        all_right[name] = right = np.mean(probabilities.argmax(axis=-1) == labels, axis=0)
        value, low, high = mean_with_interval(right, groups=groups)
        scores.append(f"| {name} | {100 * value:.1f} | {100 * low:.1f} to {100 * high:.1f} |")
    right = all_right["one view"]
    recalls = [f"{name} {100 * right[labels == label].mean():.0f}" for label, name in enumerate(class_names)]
    content = CARD.format(
        size=IMAGE_SIZE,
        scale=scale,
        simulated=len(class_names) * SETTINGS["simulated_per_class"],
        train=len(split.train),
        validation=len(split.validation),
        rest=len(split.test),
        of_a_fold=10 * round(len(labels) * (1 - 1 / (1 + stored["fold"].max())) / 10),
        galaxies=len(labels),
        seeds=len(rows["one view"]),
        networks=len(rows["one view"]) * (1 + stored["fold"].max()),
        scores="\n".join(scores),
        recalls=", ".join(recalls) + " %",
    )
    with write_atomically(path) as partial:
        partial.write_text(content, encoding="utf-8")
    print(f"written: {path}")


def main():
    """Read the options, train, save, and say what the file does."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("real_folder", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, default=SHIPPED)
    parser.add_argument("--card", action="store_true", help="train nothing, write the card")
    parser.add_argument("--tiny", action="store_true", help="try the program on almost nothing")
    options = parser.parse_args()
    if options.tiny and options.output == SHIPPED:
        parser.error("--tiny would write over the package's classifier: name another --output")
    settings = SETTINGS | {"image_size": IMAGE_SIZE, "epochs": EPOCHS}
    if options.tiny:
        settings |= {"simulated_per_class": 12, "pretraining_images": 120, "epochs": 1}
    galaxies = gu.load(options.real_folder)
    work = Experiment(galaxies, (), None, settings)
    scale = ARCSEC_PER_PIXEL * galaxies.image_size * settings["crop_fraction"] / IMAGE_SIZE
    work.data = work.data.replace(pixel_scale=np.full(len(galaxies), scale))
    # A split has a test part; ten galaxies, one of each class, are as few as it can be.
    split = gu.split(work.data, fractions=(0.89, 0.10, 0.01), seed=options.seed)
    if options.card:
        stored, path = dict(np.load(STORED)), options.output.with_suffix(".md")
        return write_card(path, stored, split, scale, galaxies.class_names)
    start = work.pretrained("simulation", options.seed)
    trained = work.fine_tune(split.train, split.validation, options.seed, start)
    # Without the layers that augment: whoever opens the file only predicts.
    network = begin(IMAGE_SIZE, work.data.num_classes, options.seed, trained.get_weights())
    recipe = gu.recipes.COMPACT_CNN.replace(
        epochs=settings["epochs"], batch_size=settings["batch_size"], learning_rate=settings["fine_tuning_rate"]
    )
    options.output.parent.mkdir(exist_ok=True)
    gu.save_classifier(options.output, network, work.data, recipe=recipe, split=split)
    rows, before_size = split.validation, os.path.getsize(options.output) / 1e6
    before = gu.predict(network, work.data, rows)
    halve(options.output)
    after = gu.load_classifier(options.output).predict(np.asarray(work.data.images[rows]))
    size = os.path.getsize(options.output) / 1e6
    print(f"written: {options.output}: {size:.2f} MB, {before_size:.2f} MB before it had weights of 16 bits")
    print(f"largest change of a probability by 16 bits: {np.abs(before - after).max():.4f}")
    right = np.mean(after.argmax(axis=1) == work.data.labels[rows])
    print(f"{right:.3f} of {len(rows)} galaxies right that calibrated it; trained on {len(split.train)}")
    return None


if __name__ == "__main__":
    main()
