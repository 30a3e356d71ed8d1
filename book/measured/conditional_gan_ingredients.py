"""What does each ingredient of the steadier conditional GAN bring?

    python book/measured/conditional_gan_ingredients.py [SOURCE] [--epochs 60] [--seeds 2] [--output FILE]

SOURCE is what `gu.load` takes, by default the simulated survey of the demo profile. The rare classes are drawn at 64
px. Each variant changes one thing and is trained for as many epochs; all are scored on the validation galaxies, never
on the test galaxies, by a classifier that was trained once. Each training has a checkpoint: kill the program and start
it again, and it goes on where it was.
"""

import argparse
import json

import numpy as np
from cross_validation import describe_machine

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
from galaxy_utils.evaluation import score_samples
from galaxy_utils.files import artifacts_folder, write_json

WHOLE = "the steady recipe"

# What each variant changes: of the network, or of the recipe.
VARIANTS = {
    WHOLE: {},
    "paper 2's recipe": {
        "loss": "cross_entropy", "averaging": 0.0, "smoothness": 0.0, "one_view": False, "grain": False,
        "augmentation": (), "recipe": gu.recipes.CONDITIONAL_GAN,
    },
    "cross-entropy instead of the relativistic loss": {"loss": "cross_entropy"},
    "with a discriminator that may be steep": {"smoothness": 0.0},
    "without averaged weights": {"averaging": 0.0},
    "eight views instead of one": {
        "one_view": False, "augmentation": (RandomDihedral, RandomShiftAndBrightness),
    },
    "without grain": {"grain": False},
    "without augmentation before the discriminator": {"augmentation": ()},
    "with spectral normalisation": {"spectral_normalisation": True},
    "with the paper's learning rate and momentum": {"recipe": gu.recipes.CONDITIONAL_GAN},
}  # fmt: skip


def main():
    """Train what is missing, print the scores, write the measured results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", nargs="?", default="simulated")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--judge-epochs", type=int, default=10)
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
    judge = gu.models.compact_cnn(64, galaxies.num_classes, RandomDihedral(1))
    recipe = gu.recipes.COMPACT_CNN.replace(epochs=options.judge_epochs)
    gu.fit(judge, galaxies, split, recipe, checkpoint=folder / f"judge_{options.judge_epochs}.npz")
    labels = galaxies.labels[few.validation]
    results = {}
    for name, changes in chosen.items():
        settings = dict(changes)
        recipe = settings.pop("recipe", gu.recipes.RELATIVISTIC_GAN).replace(epochs=options.epochs)
        rows = []
        for seed in range(1, options.seeds + 1):
            if "augmentation" in settings:
                settings["augmentation"] = [layer(seed=seed) for layer in VARIANTS[name]["augmentation"]]
            gan = relativistic_gan(64, galaxies.num_classes, seed=seed, **settings)
            path = folder / f"{name.replace(' ', '_')}_{options.epochs}_{seed}.npz"
            run = gu.fit(gan, galaxies, few, recipe, seed=seed, targets="conditions", checkpoint=path)
            # Each validation galaxy's class four times: as many drawn as can be compared, and spares.
            drawn = generate_images(gan, np.tile(labels, 4), seed)
            scores = score_samples(judge, drawn, np.tile(labels, 4), galaxies, split, part="validation")
            rows.append({"generated": scores.generated, "floor": scores.floor, "seconds": run.seconds})
        results[name] = rows
        means = {key: np.mean([row["generated"][key] for row in rows]) for key in ("kernel", "frechet", "recognised")}
        print(f"{name:<48}" + "  ".join(f"{key} {value:.4f}" for key, value in means.items()), flush=True)
    print(f"floor: kernel {rows[0]['floor']['kernel']:.4f}  frechet {rows[0]['floor']['frechet']:.4f}")
    if options.output:
        content = {
            "command": f"python book/measured/conditional_gan_ingredients.py --epochs {options.epochs} "
            f"--seeds {options.seeds}",
            "data": {"name": galaxies.name, "galaxies": len(few.train), "fingerprint": galaxies.fingerprint},
            "results": results,
            **describe_machine(),
        }
        write_json(options.output, json.loads(json.dumps(content)))


if __name__ == "__main__":
    main()
