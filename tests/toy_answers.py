"""Networks' answers made from dice: galaxies that are easy or hard, networks that are lucky or not."""

import dataclasses
from types import SimpleNamespace

import numpy as np
from scipy.special import softmax
from toy_galaxies import toy_galaxies

from galaxy_utils.prediction import Prediction, identity_of
from galaxy_utils.recipes import THREE_BLOCK_CNN

DEVICE = {"processor": "dice", "cores": 1, "accelerator": None}


def toy_survey(num_galaxies=1000):
    """Return `(galaxies, split)`: half of the galaxies validate, a quarter tests; two share a sky group."""
    galaxies = toy_galaxies(num_galaxies, side=8)
    rows = np.arange(num_galaxies)
    train, validation, test = np.split(rows, [num_galaxies // 4, 3 * num_galaxies // 4])
    parts = {"train": train, "validation": validation, "test": test}
    return galaxies, SimpleNamespace(**parts, groups=rows // 2, hash="0123456789abcdef")


def toy_answers(labels, skill, random, luck=0.1, own_noise=0.3, difficulty_seed=0):
    """Return probabilities of four classes, shape (n, 4), of one network trained by a recipe with this skill."""
    shared = np.random.default_rng(difficulty_seed).normal(size=(len(labels), 4))
    logits = shared + own_noise * random.normal(size=shared.shape)
    logits += (skill + luck * random.normal()) * np.eye(4)[labels]
    return softmax(logits, axis=1).astype(np.float32)


def toy_prediction(survey, seed, skill=1.0, *, part="validation", recipe=THREE_BLOCK_CNN, random_seed=None, **changes):
    """Return a `Prediction` of such a network."""
    galaxies, split = survey
    rows = getattr(split, part)
    # The same skill and seed give the same network, other skills other dice.
    random = np.random.default_rng([seed, round(1000 * skill)] if random_seed is None else random_seed)
    identity = identity_of(galaxies, split, part)
    prediction = Prediction(
        probabilities=toy_answers(galaxies.labels[rows], skill, random),
        labels=galaxies.labels[rows],
        rows=rows,
        groups=split.groups[rows],
        part=part,
        seed=seed,
        split_hash=identity["split"],
        fingerprint=identity["data"],
        recipe=recipe.to_dict(),
        training_seconds=10.0 + seed,
        parameters=1000,
        inference_seconds=0.5,
        versions={"galaxy_utils": "test"},
        device=DEVICE,
    )
    return dataclasses.replace(prediction, **changes)
