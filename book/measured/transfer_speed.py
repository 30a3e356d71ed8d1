"""How much faster is training on stored features than training the whole network, most of which is frozen?

    python book/measured/transfer_speed.py [--images 1024] [--epochs 20] [--slow-epochs N] [--output FILE]

Both ways are timed in one run, one after the other, with the same network, data, recipe and seed: `fit`, which computes
the frozen part in every epoch, and `fit_on_frozen_features`, which computes it once; that computing, its writing to the
disk and everything that Keras compiles are included. Beside the ratio stands what arithmetic allows: the same ratio in
multiplications and additions, counted from the shapes of the layers, with a backward pass as two forward passes.

The content of images and weights does not matter for speed: both are random. `--slow-epochs` times only so many epochs
of the slow way and takes the later ones to be like the last of them; the output says so. The first epoch is counted as
it was, because it contains the compiling. More images and more epochs bring the ratio nearer to its limit.
"""

import argparse
import json
import math
import resource
import shutil
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from cross_validation import describe_machine

import galaxy_utils as gu
from galaxy_utils.files import cache_folder, write_json
from galaxy_utils.models.stored_features import cache_frozen_features, trained_part_alone

BOUNDARIES = {"last 20 layers": 20, "head only": 0}
# Whatever the recipe says about stopping, all epochs are to be timed.
ENDLESS = {"early_stopping_patience": None, "reduce_learning_rate_patience": None}


def random_galaxies(count, side, seed=1):
    """Return images of noise as a dataset; four fifths train."""
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    dataset = gu.GalaxyDataset("noise", "random numbers, no galaxies", images, random.integers(0, 10, count))
    rows = np.arange(count)
    train = round(0.8 * count)
    return dataset, SimpleNamespace(train=rows[:train], validation=rows[train:])


def multiply_adds(network):
    """Count a network's multiplications with an addition for one image, in one forward pass."""
    import keras

    total = 0

    def count(layer, *arguments, **options):
        nonlocal total
        output = layer(*arguments, **options)
        for member in getattr(layer, "layers", [layer]):
            if hasattr(member, "kernel"):
                # Each number of a kernel is used once for every place of the output.
                total += math.prod(output.shape[1:-1]) * math.prod(member.kernel.shape)
        return output

    keras.models.clone_model(network, clone_function=lambda layer: layer, call_function=count)
    return total


def arithmetic_limit(model, split, epochs):
    """Return how many times more arithmetic the slow way does."""
    below = multiply_adds(model.get_layer("frozen_part"))
    above = multiply_adds(model.get_layer("trained_part"))
    train, validation = len(split.train), len(split.validation)
    slow = epochs * (train * (below + 3 * above) + validation * (below + above))
    quick = (train + validation) * below + epochs * (train * 3 * above + validation * above)
    return slow / quick, below, above


def time_fit(network, dataset, split, recipe, epochs):
    """Train for some epochs and return the seconds of each, as far as they can be told: the first, and the others."""
    first = gu.fit(network, dataset, split, recipe.replace(epochs=1), progress=False).seconds
    if epochs == 1:
        return first, first
    # `fit` compiles anew each time, so a second call gives an epoch with and `epochs - 1` without compiling.
    run = gu.fit(network, dataset, split, recipe.replace(epochs=epochs), progress=False)
    return first, (run.seconds - first) / (epochs - 1)


def peak_memory():
    """Return the largest memory that this process has used so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def build(options, trainable_layers):
    """Return the network."""
    return gu.models.backbone_classifier(
        options.backbone, options.image_size, weights=None, trainable_layers=trainable_layers
    )


def measure(name, trainable_layers, options, dataset, split):
    """Time both ways at one boundary, print and return what came out."""
    recipe = gu.recipes.RESNET50_FINE_TUNING.replace(**ENDLESS)
    model = build(options, trainable_layers)
    limit, below, above = arithmetic_limit(model, split, options.epochs)
    print(f"{name}: {below / 1e6:,.0f} million multiply-adds below the boundary, {above / 1e6:,.1f} above", flush=True)
    memory_before = peak_memory()
    started = time.perf_counter()
    features = cache_frozen_features(model, dataset, dtype=options.dtype, progress=False)
    computing_seconds = time.perf_counter() - started
    memory, size = peak_memory() - memory_before, features.images.nbytes
    run = gu.fit(
        trained_part_alone(model), features, split, recipe.replace(epochs=options.epochs), progress=False
    )  # fmt: skip
    quick = computing_seconds + run.seconds
    print(
        f"  quick: {quick:.1f} s, {computing_seconds:.1f} of them for {size / 2**20:,.0f} MiB of features, "
        f"peak memory of that {memory:+,.0f} MiB",
        flush=True,
    )
    slow_epochs = options.slow_epochs or options.epochs
    if slow_epochs == options.epochs:
        run = gu.fit(
            build(options, trainable_layers), dataset, split, recipe.replace(epochs=slow_epochs), progress=False
        )
        slow, how = run.seconds, "measured"
    else:
        first, later = time_fit(build(options, trainable_layers), dataset, split, recipe, slow_epochs)
        slow = first + (options.epochs - 1) * later
        how = f"extrapolated from {slow_epochs} epochs: {first:.1f} s for the first, {later:.1f} s for each later one"
    ratio = slow / quick
    print(f"  slow: {slow:.1f} s ({how})")
    print(f"  {ratio:.2f} times faster; arithmetic allows {limit:.2f}: {100 * ratio / limit:.0f} % of it", flush=True)
    return {
        "ratio": ratio,
        "arithmetic_limit": limit,
        "share_of_limit": ratio / limit,
        "quick_seconds": quick,
        "caching_seconds": computing_seconds,
        "slow_seconds": slow,
        "slow_is": how,
        "feature_bytes": size,
        "caching_peak_memory_mib": memory,
        "multiply_adds_below": below,
        "multiply_adds_above": above,
    }


def main():
    """Time both boundaries."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--images", type=int, default=1024, help="training and validation together")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--slow-epochs", type=int, default=None, help="epochs of the slow way to time; all by default")
    parser.add_argument("--boundaries", nargs="+", choices=BOUNDARIES, default=list(BOUNDARIES))
    parser.add_argument("--dtype", choices=("float16", "float32"), default="float16")
    parser.add_argument("--output", type=Path, default=None, help="JSON file for the results")
    options = parser.parse_args()
    if options.slow_epochs is not None and not 1 <= options.slow_epochs <= options.epochs:
        parser.error("--slow-epochs goes from 1 to --epochs")
    dataset, split = random_galaxies(options.images, options.image_size)
    # Features of an earlier run would make the quick way quicker than it is.
    for old in (cache_folder() / "frozen_features").glob(f"{dataset.fingerprint}_*"):
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    results = {name: measure(name, BOUNDARIES[name], options, dataset, split) for name in options.boundaries}
    if options.output:
        settings = {name: value for name, value in vars(options).items() if name != "output"}
        content = {"program": "book/measured/transfer_speed.py", "settings": settings, "results": results}
        write_json(options.output, json.loads(json.dumps({**content, **describe_machine()})))
        print(f"written: {options.output}")


if __name__ == "__main__":
    main()
