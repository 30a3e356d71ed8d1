"""What does each ingredient of the relativistic GAN bring?

    python book/measured/conditional_gan_ingredients.py [SOURCE] [--epochs 60] [--seeds 2] [--output FILE]

SOURCE is what `gu.load` takes, by default the simulated survey of the demo profile. Galaxies of the rare classes are
generated at 64 px. Each variant changes one thing and is trained for as many epochs; all are scored on the validation
galaxies, never on the test galaxies, in the features of a classifier that was trained once, reduced to 16 principal
components of training galaxies. The reference is the distance between validation and test galaxies. Each training has a
checkpoint: kill the program and start it again, and it goes on where it was.
"""

import argparse
import json

import keras
import numpy as np
from cross_validation import describe_machine
from sklearn.decomposition import PCA

import galaxy_utils as gu
from galaxy_utils.augmentation import (
    PAPER_2_RARE,
    RandomDihedral,
    RandomShiftAndBrightness,
    generate_images,
    rare_classes,
    relativistic_gan,
    with_classes,
)
from galaxy_utils.evaluation import features_and_predictions, frechet_distance, kernel_distance
from galaxy_utils.files import artifacts_folder, write_json


def without_pixel_noise(gan):
    """Let the generator have no per-pixel noise: its weights are zero and stay so."""
    for network in filter(None, (gan.generator, gan.ema_generator)):
        layer = network.get_layer("noise_of_sky")
        layer.set_weights([np.zeros((3, 3))])
        layer.trainable = False


def with_spectral_normalisation(gan):
    """Divide each layer of the discriminator by its largest singular value (Miyato et al. 2018)."""

    def wrapped(layer):
        again = type(layer).from_config(layer.get_config())
        if isinstance(layer, (keras.layers.Conv2D, keras.layers.Dense)):
            return keras.layers.SpectralNormalization(again, name=f"{layer.name}_spectral_normalisation")
        return again

    gan.discriminator = keras.models.clone_model(gan.discriminator, clone_function=wrapped)


# What each variant changes: arguments, the augmentation's layers, the recipe, or the finished network.
VARIANTS = {
    "the relativistic GAN": {},
    "paper 2's recipe": {
        "loss": "cross_entropy", "ema_decay": 0.0, "gradient_penalty": 0.0, "augmentation": (),
        "recipe": gu.recipes.CONDITIONAL_GAN,
    },
    "cross-entropy instead of the relativistic loss": {"loss": "cross_entropy"},
    "without gradient penalty": {"gradient_penalty": 0.0},
    "without EMA of the weights": {"ema_decay": 0.0},
    "without augmentation before the discriminator": {"augmentation": ()},
    "with the paper's learning rate and beta_1": {"recipe": gu.recipes.CONDITIONAL_GAN},
    "eight orientations instead of one": {
        "canonical_orientation": False, "augmentation": (RandomDihedral, RandomShiftAndBrightness),
    },
    "without per-pixel noise": {"change": without_pixel_noise},
    "with spectral normalisation": {"change": with_spectral_normalisation},
}  # fmt: skip


def build(num_classes, seed, augmentation=None, change=None, **settings):
    """Return the GAN of a variant."""
    if augmentation is not None:
        several = [layer(seed=seed) for layer in augmentation]
        settings["augmentation"] = keras.Sequential(several, name="augmentation") if several else None
    gan = relativistic_gan(64, num_classes, seed=seed, **settings)
    if change is not None:
        change(gan)
    return gan


def main():
    """Train what is missing, print the scores, write the measured results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", nargs="?", default="simulated")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--classifier-epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--only", help="words that the name of a variant must contain")
    parser.add_argument("--output", help="JSON file for the results")
    options = parser.parse_args()
    chosen = {name: changes for name, changes in VARIANTS.items() if not options.only or options.only in name}
    if not chosen:
        parser.error(f"no variant's name contains {options.only!r}; there are: {', '.join(VARIANTS)}")
    galaxies = gu.prepare(gu.load(options.source, "demo"), 64, 0.5)
    split = gu.split(galaxies)
    rare = rare_classes(galaxies, otherwise=PAPER_2_RARE)
    few = with_classes(galaxies, split, rare, at_least=5)
    folder = artifacts_folder() / "conditional_gan_ingredients" / galaxies.fingerprint
    classifier = gu.models.compact_cnn(64, galaxies.num_classes, RandomDihedral(1))
    recipe = gu.recipes.COMPACT_CNN.replace(epochs=options.classifier_epochs)
    gu.fit(classifier, galaxies, split, recipe, checkpoint=folder / f"classifier_{options.classifier_epochs}.npz")
    pca = PCA(16).fit(features_and_predictions(classifier, galaxies.images[few.train])[0])

    def scores(images, wanted):
        features, predictions = features_and_predictions(classifier, images)
        pair = pca.transform(features), real
        recognised = float(np.mean(predictions.argmax(axis=1) == wanted))
        return {"frechet": frechet_distance(*pair), "kernel": kernel_distance(*pair), "recognised": recognised}

    real = pca.transform(features_and_predictions(classifier, galaxies.images[few.validation])[0])
    labels = galaxies.labels[few.validation]
    # As many of each class as are generated: rows are sorted by class, the first ones lack the last class.
    random = np.random.default_rng(1)
    of_class = [random.permutation(split.test[galaxies.labels[split.test] == label]) for label in rare]
    test = np.concatenate([rows[: np.sum(labels == label)] for label, rows in zip(rare, of_class, strict=True)])
    reference, results = scores(galaxies.images[test], galaxies.labels[test]), {}
    for name, changes in chosen.items():
        settings, rows = dict(changes), []
        recipe = settings.pop("recipe", gu.recipes.RELATIVISTIC_GAN).replace(epochs=options.epochs)
        for seed in range(1, options.seeds + 1):
            gan = build(galaxies.num_classes, seed, **settings)
            path = folder / f"{name.replace(' ', '_')}_{options.epochs}_{seed}.npz"
            run = gu.fit(gan, galaxies, few, recipe, seed=seed, targets="conditions", checkpoint=path)
            rows.append({**scores(generate_images(gan, labels, seed), labels), "seconds": run.seconds})
        results[name] = rows
        means = {key: np.mean([row[key] for row in rows]) for key in reference}
        print(f"{name:<48}" + "  ".join(f"{key} {value:.4f}" for key, value in means.items()), flush=True)
    print("real-versus-real reference: " + "  ".join(f"{key} {value:.4f}" for key, value in reference.items()))
    if options.output:
        content = {
            "command": f"python book/measured/conditional_gan_ingredients.py --epochs {options.epochs} "
            f"--seeds {options.seeds}",
            "data": {"name": galaxies.name, "galaxies": len(few.train), "fingerprint": galaxies.fingerprint},
            "reference": reference,
            "results": results,
            **describe_machine(),
        }
        write_json(options.output, json.loads(json.dumps(content)))


if __name__ == "__main__":
    main()
