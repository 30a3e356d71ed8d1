"""How real are the simulated galaxies? Train on them alone, test on real ones.

    python benchmarks/simulation_realism.py REAL_FOLDER [--galaxies 3000] [--seeds 2]

REAL_FOLDER holds one sub-folder of real images per Galaxy10 class. A fixed small network sees the simulated survey and
nothing else; its accuracy on the real images says how much of what it learned is true of the real sky. Chance is 0.10.
No real image is used for training, for choosing an epoch or for choosing anything else.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

import galaxy_utils as gu
from galaxy_utils.data.galaxy10 import open_galaxy10
from galaxy_utils.data.simulated import simulate_survey

# The central half at 64 pixels, free rotation and flips, average pooling, cosine schedule: small and plain.
IMAGE_SIZE, CROP_FRACTION = 64, 0.5
RECIPE = gu.Recipe(
    "simulation_realism",
    epochs=15,
    batch_size=32,
    learning_rate=2e-3,
    label_smoothing=0.1,
    learning_rate_schedule="cosine",
    balanced_classes=True,
)


def build_network(seed):
    """Four blocks of convolution, batch normalisation and pooling behind random rotations and flips."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(seed)
    images = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3))
    x = layers.Rescaling(1 / 255)(images)
    x = layers.RandomFlip(seed=seed)(x)
    x = layers.RandomRotation(0.5, fill_mode="reflect", seed=seed)(x)
    for channels in (32, 64, 128, 192):
        x = layers.Conv2D(channels, 3, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization(momentum=0.9)(x)
        x = layers.ReLU()(x)
        x = layers.MaxPooling2D(2)(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(0.3, seed=seed)(x)
    return keras.Model(images, layers.Dense(10, activation="softmax")(x), name="realism_network")


def main():
    """Print the accuracy on real images for each seed, and the confusion matrix of all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("real_folder", type=Path)
    parser.add_argument("--galaxies", type=int, default=3000)
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    real = gu.prepare(gu.load(options.real_folder), IMAGE_SIZE, CROP_FRACTION)
    evaluations = []
    for seed in range(1, options.seeds + 1):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "survey.h5"
            simulate_survey(path, options.galaxies, seed)
            simulated = gu.prepare(open_galaxy10(path), IMAGE_SIZE, CROP_FRACTION)
        parts = gu.split(simulated, seed=seed)
        network = build_network(seed)
        run = gu.fit(network, simulated, parts, RECIPE, seed=seed)
        on_real = gu.evaluate(gu.predict(network, real, np.arange(len(real))), real.labels, real.class_names)
        on_simulated = gu.evaluate(
            gu.predict(network, simulated, parts.test), simulated.labels[parts.test], simulated.class_names
        )
        low, high = on_real.intervals["accuracy"]
        print(
            f"seed {seed}: accuracy on {len(real)} real galaxies {on_real.accuracy:.3f} ({low:.3f} to {high:.3f}); "
            f"on simulated test galaxies {on_simulated.accuracy:.3f}; trained {run.seconds:.0f} s",
            flush=True,
        )
        evaluations.append(on_real)
    confusion = sum(evaluation.confusion_matrix for evaluation in evaluations)
    print(f"mean accuracy on real galaxies: {np.mean([evaluation.accuracy for evaluation in evaluations]):.3f}")
    print("true class by row, predicted by column, per cent of the row:")
    for name, row in zip(real.class_names, confusion, strict=True):
        print(f"  {name:<24}" + "".join(f"{share:5.0f}" for share in 100 * row / row.sum()))


if __name__ == "__main__":
    main()
