"""How much slower does augmentation make a training step of paper 1's network?

    python book/measured/augmentation_speed.py [--image-size 64] [--pairs 60]

Steps with and without the layer alternate, and the median of the pairs' ratios is reported: whatever else the machine
does slows both partners of a pair, not one of them.
"""

import argparse
import time

import numpy as np

import galaxy_utils as gu


def build(augmentation, image_size):
    """Return paper 1's network, compiled as `fit` compiles it."""
    import keras

    network = gu.models.four_block_cnn(image_size, pooling="average", augmentation=augmentation)
    network.compile(keras.optimizers.Adam(1e-4), keras.losses.CategoricalCrossentropy(label_smoothing=0.1))
    return network


def step_seconds(network, images, labels):
    """Time one training step."""
    started = time.perf_counter()
    network.train_on_batch(images, labels)
    return time.perf_counter() - started


def main():
    """Print the median cost of each augmentation."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--pairs", type=int, default=60)
    options = parser.parse_args()
    import keras

    side = options.image_size
    random = np.random.default_rng(1)
    images = random.integers(0, 256, (options.batch_size, side, side, 3), dtype=np.uint8)
    labels = np.eye(10, dtype=np.float32)[random.integers(0, 10, options.batch_size)]
    augmentations = {
        "random dihedral": gu.augmentation.RandomDihedral(),
        "rotation, zoom and shift": gu.augmentation.RandomRotationZoomShift(),
        "the same with Keras' three layers": [
            keras.layers.RandomRotation(0.5, fill_mode="reflect"),
            keras.layers.RandomZoom(0.2, fill_mode="reflect"),
            keras.layers.RandomTranslation(0.05, 0.05, fill_mode="reflect"),
        ],
    }
    plain = build(None, side)
    for name, augmentation in augmentations.items():
        augmented = build(augmentation, side)
        for network in (plain, augmented):
            for _ in range(5):
                step_seconds(network, images, labels)
        pairs = np.array(
            [[step_seconds(network, images, labels) for network in (plain, augmented)] for _ in range(options.pairs)]
        )
        ratios = pairs[:, 1] / pairs[:, 0]
        low, middle, high = np.percentile(ratios, [25, 50, 75])
        print(
            f"{name:<35} {100 * (middle - 1):+5.1f} % (quartiles {100 * (low - 1):+.1f} to {100 * (high - 1):+.1f}); "
            f"plain step {1e3 * np.median(pairs[:, 0]):.1f} ms, {keras.backend.backend()}, {side} px"
        )


if __name__ == "__main__":
    main()
