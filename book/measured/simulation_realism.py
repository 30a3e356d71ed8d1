"""How real do the simulated galaxies look? A small network that saw only them is asked about real ones.

A fixed convolutional network is trained on simulated cut-outs alone, the same number of each class, and then tested
on real cut-outs (a folder with one sub-folder per class, whose name starts with the label). It never sees a real
galaxy before the test; network, epochs and size of the set are fixed below. Chance is 0.10.

Read the figure with one caution: the recipes' sizes, brightnesses and colours were set by comparing them with these
same real cut-outs, and this very measurement was looked at while the recipes were improved. It says how near the
simulation has come to this sample, and is a little flattering for any other.

    python book/measured/simulation_realism.py --real ../shared/data/galaxy10_decals_sample
"""

import argparse
import os
import time
from pathlib import Path

import joblib
import numpy as np
from PIL import Image

from galaxy_utils.classes import NUM_CLASSES, SHORT_CLASS_NAMES
from galaxy_utils.data.simulated import render_galaxy
from galaxy_utils.progress import progress_bar

GALAXIES_PER_CLASS = 320
EPOCHS = 14
BATCH_SIZE = 64


def shrink(images):
    """Central half of 256-pixel cut-outs, averaged over 2 × 2 pixels: (n, 64, 64, 3) uint8."""
    images = np.asarray(images)[:, 64:192, 64:192].astype(np.float32)
    images = images.reshape(len(images), 64, 2, 64, 2, 3).mean(axis=(2, 4))
    return np.round(images).astype(np.uint8)


def render_class(label, seed):
    """Render one galaxy of a class, shrunk."""
    return shrink(render_galaxy(label, seed)[None])[0]


def simulated_images(num_workers):
    """Render the training set: the same number of galaxies of each class."""
    labels = np.repeat(np.arange(NUM_CLASSES), GALAXIES_PER_CLASS)
    jobs = (joblib.delayed(render_class)(int(label), 1_000_000 + seed) for seed, label in enumerate(labels))
    images = []
    with progress_bar(len(labels), "Rendering") as bar:
        for image in joblib.Parallel(n_jobs=num_workers, return_as="generator", batch_size=16)(jobs):
            images.append(image)
            bar.update(1)
    return np.stack(images), labels


def real_images(folder):
    """Read the real cut-outs."""
    files = [(path, int(folder.name[0])) for folder in sorted(folder.iterdir()) if folder.is_dir()
             for path in sorted(folder.glob("*.jpg"))]  # fmt: skip
    images = [np.asarray(Image.open(path).convert("RGB")) for path, _ in files]
    return shrink(images), np.array([label for _, label in files])


def build_network():
    """Four blocks of convolution, batch normalisation and pooling; global average pooling; softmax."""
    import keras

    network = keras.Sequential([keras.layers.Input((64, 64, 3)), keras.layers.Rescaling(1 / 255)])
    for filters in (24, 48, 96, 128):
        network.add(keras.layers.Conv2D(filters, 3, padding="same", use_bias=False))
        network.add(keras.layers.BatchNormalization())
        network.add(keras.layers.ReLU())
        network.add(keras.layers.MaxPooling2D())
    network.add(keras.layers.GlobalAveragePooling2D())
    network.add(keras.layers.Dropout(0.3))
    network.add(keras.layers.Dense(NUM_CLASSES, activation="softmax"))
    return network


def train(images, labels, seed):
    """Train on simulated images with random dihedral augmentation; Adam, cosine decay, label smoothing 0.1."""
    import keras

    keras.utils.set_random_seed(seed)
    network = build_network()
    steps = EPOCHS * int(np.ceil(len(images) / BATCH_SIZE))
    network.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(2e-3, steps)),
        keras.losses.CategoricalCrossentropy(label_smoothing=0.1),
    )
    targets = np.eye(NUM_CLASSES, dtype=np.float32)[labels]
    rng = np.random.default_rng(seed)
    for _ in range(EPOCHS):
        turned = images.copy()
        for row, turns in enumerate(rng.integers(0, 8, len(images))):
            view = np.rot90(images[row], turns % 4)
            turned[row] = view[:, ::-1] if turns >= 4 else view
        network.fit(turned, targets, batch_size=BATCH_SIZE, epochs=1, verbose=0)
    return network


def main():
    """Run the measurement and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    shared = os.environ.get("GALAXY_UTILS_SHARED", Path(__file__).parents[2] / "shared")
    parser.add_argument("--real", type=Path, default=Path(shared) / "data" / "galaxy10_decals_sample")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()

    start = time.perf_counter()
    test_images, test_labels = real_images(options.real)
    images, labels = simulated_images(options.workers)
    print(f"trained on {len(images):,} simulated galaxies, tested on {len(test_images):,} real ones")
    accuracies, confusion = [], np.zeros((NUM_CLASSES, NUM_CLASSES), int)
    for seed in range(1, options.seeds + 1):
        network = train(images, labels, seed)
        predicted = network.predict(test_images, verbose=0).argmax(axis=1)
        np.add.at(confusion, (test_labels, predicted), 1)
        accuracies.append(float((predicted == test_labels).mean()))
        print(f"seed {seed}: accuracy {accuracies[-1]:.3f} ({time.perf_counter() - start:.0f} s)")
    accuracy = np.mean(accuracies)
    half_width = 1.96 * np.sqrt(accuracy * (1 - accuracy) / len(test_labels))
    print(f"accuracy on real galaxies {accuracy:.3f} ± {half_width:.3f} (95 %, test sample), mean of {options.seeds}")
    print("rows: true class, columns: predicted, summed over seeds")
    print(" " * 22 + "".join(f"{label:6d}" for label in range(NUM_CLASSES)) + "  recall")
    for label, row in enumerate(confusion):
        name = f"{label} {SHORT_CLASS_NAMES[label]}"
        print(f"{name:22s}" + "".join(f"{count:6d}" for count in row) + f"  {row[label] / row.sum():.2f}")


if __name__ == "__main__":
    main()
