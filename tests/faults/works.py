"""The works that are killed: what a class starts and does not always see through, each small enough to take a second.

A work is a function of a folder, `begin` and `note`. It makes what it needs, calls `begin()` when its own part starts,
and returns a text that is equal for equal results. `note(text)` writes a line that outlives a kill: what was done.
"""

import dataclasses
import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from harness import WHOLE_TABLE
from PIL import Image
from toy_answers import toy_prediction, toy_survey
from toy_galaxies import toy_galaxies, toy_split

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "models"))
from toy_backbone import toy_backbone

import galaxy_utils as gu
from galaxy_utils.data.download import download
from galaxy_utils.data.simulated import load_simulated
from galaxy_utils.files import artifacts_folder, cache_folder, write_json
from galaxy_utils.profiles import PROFILES

SIDE, GALAXIES = 16, 96
# Less of each work in CI: galaxies of the survey, images of noise, epochs, rounds of writing.
SURVEY, NOISE, EPOCHS, WRITES = (60, 1500, 8, 60) if WHOLE_TABLE else (24, 300, 5, 30)
RECIPE = gu.Recipe("killed", epochs=EPOCHS, batch_size=16, learning_rate=1e-3, beta_1=0.5, restore_best_weights=True)
DOWNLOAD_BYTES, DOWNLOAD_NAME = 6_000_000, "download.bin"


def digest(*values):
    """Return one text for arrays, bytes and everything that JSON can hold."""
    whole = hashlib.sha256()
    for value in values:
        if isinstance(value, np.ndarray):
            whole.update(np.ascontiguousarray(value).tobytes())
        else:
            whole.update(value if isinstance(value, bytes) else json.dumps(value, sort_keys=True).encode())
    return whole.hexdigest()


def simulate(folder, begin, note):
    """Render a survey, as `load("simulated")` does."""
    begin()
    survey = load_simulated(dataclasses.replace(PROFILES["smoke"], simulated_galaxies=SURVEY))
    return digest(survey.images[:], survey.labels, survey.vote_fractions)


def prepare(folder, begin, note):
    """Crop and shrink a survey."""
    images = np.random.default_rng(1).integers(0, 256, (NOISE, 60, 60, 3), dtype=np.uint8)
    galaxies = gu.GalaxyDataset("noise", "noise", images, np.arange(NOISE) % 10, fingerprint="killed")
    begin()
    return digest(np.asarray(gu.prepare(galaxies, 28, 0.8).images))


def image_folder(folder, begin, note):
    """Decode a folder of own images."""
    own, random = folder / "own", np.random.default_rng(1)
    for number in range(150):
        path = own / ("round", "spiral")[number % 2] / f"{number}.png"
        pixels = random.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    begin()
    galaxies = gu.load(own)
    return digest(np.asarray(galaxies.images), galaxies.labels)


def features(folder, begin, note):
    """Compute what a frozen backbone makes of every galaxy."""
    with toy_backbone():
        model = gu.models.backbone_classifier("toy", 32, 4, trainable_layers=0, weights=None, seed=1)
    galaxies = toy_galaxies(320, side=32)
    begin()
    stored = gu.cache_frozen_features(model, galaxies, batch_size=4, progress=False)
    return digest(np.asarray(stored.images))


def _train(model, targets, folder, begin, note, galaxies=None, callbacks=()):
    import keras

    # An epoch begins after the one before was saved: a begun epoch says what need not be done again.
    noting = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: note(epoch))
    galaxies = galaxies or toy_galaxies(GALAXIES, side=SIDE)
    checkpoint = artifacts_folder() / "training" / "checkpoint.npz"
    begin()
    run = gu.fit(
        model,
        galaxies,
        toy_split(GALAXIES),
        RECIPE,
        targets=targets,
        checkpoint=checkpoint,
        callbacks=[noting, *callbacks],
        progress=False,
    )
    return digest(*(keras.ops.convert_to_numpy(variable) for variable in model.variables), run.history)


def four_block_cnn(folder, begin, note):
    """Train paper 1's network."""
    return _train(gu.models.four_block_cnn(SIDE, 4), "labels", folder, begin, note)


def three_block_cnn(folder, begin, note):
    """Train paper 2's network, with augmentation, whose random numbers are part of the state."""
    moving = gu.augmentation.RandomDihedral(seed=1)
    return _train(gu.models.three_block_cnn(SIDE, 4, augmentation=moving), "labels", folder, begin, note)


def compact_cnn(folder, begin, note):
    """Train the book's small network."""
    return _train(gu.models.compact_cnn(32, 4), "labels", folder, begin, note, toy_galaxies(GALAXIES, side=32))


def joint_autoencoder(folder, begin, note):
    """Train the autoencoder and classifier of paper 1."""
    model = gu.models.joint_autoencoder_classifier(SIDE, 4, latent_dim=8)
    return _train(model, "images and labels", folder, begin, note)


def denoising_autoencoder(folder, begin, note):
    """Train the denoising autoencoder."""
    return _train(gu.augmentation.denoising_autoencoder(SIDE), "images", folder, begin, note)


def variational_autoencoder(folder, begin, note):
    """Train the variational autoencoder."""
    return _train(gu.augmentation.variational_autoencoder(SIDE, 8), "images", folder, begin, note)


def fine_tuning(folder, begin, note):
    """Train the upper layers of a backbone."""
    with toy_backbone():
        model = gu.models.backbone_classifier("toy", 32, 4, trainable_layers=4, weights=None, seed=1)
    return _train(model, "labels", folder, begin, note, toy_galaxies(GALAXIES, side=32))


def conditional_gan(folder, begin, note):
    """Train the conditional GAN."""
    return _train(gu.augmentation.relativistic_gan(SIDE, 4), "conditions", folder, begin, note)


def super_resolution_gan(folder, begin, note):
    """Train the super-resolution GAN."""
    gan = gu.augmentation.super_resolution_gan(
        SIDE, gu.models.four_block_cnn(SIDE, 4), feature_layer="block_4_convolution", adversarial_weight=0.01
    )
    return _train(gan, "images", folder, begin, note)


def ledger(folder, begin, note):
    """Record twelve rounds of a progressive iteration."""
    survey = toy_survey()
    begin()
    book = gu.Ledger.create(artifacts_folder() / "ledger.jsonl", *survey, seeds=(1, 2))
    for number in range(12):
        book.play(
            f"round {number}",
            lambda one, seed: toy_prediction(survey, seed, 1.0 + 0.01 * one.factors["width"]),
            gu.recipes.THREE_BLOCK_CNN,
            width=number,
        )
        note(number)
    again = gu.Ledger(book.path)
    again.replay()
    return digest([(one.name, one.verdict, one.kl, one.accuracy) for one in again.rounds])


def small_files(folder, begin, note):
    """Write a split and twenty files of JSON, one after the other, over their older versions."""
    galaxies = toy_galaxies(GALAXIES, side=SIDE)
    parts = gu.split(galaxies)
    begin()
    for number in range(WRITES):
        path = artifacts_folder() / f"split_{number % 20}.json"
        if path.exists():
            gu.Split.load(path, galaxies)
        parts.save(path)
        write_json(artifacts_folder() / "latest.json", {"numbers": list(range(20_000))})
        json.loads((artifacts_folder() / "latest.json").read_text(encoding="utf-8"))
    return digest(*(path.read_bytes() for path in sorted(artifacts_folder().glob("*.json"))))


def download_file(folder, begin, note):
    """Download a file from the server whose address lies in the folder above."""
    about = json.loads((folder.parent / "server.json").read_text(encoding="utf-8"))
    path = cache_folder() / "galaxy10" / DOWNLOAD_NAME
    if not path.exists():
        # What has arrived need not be sent again.
        note(sum(partial.stat().st_size for partial in path.parent.glob("*.partial")))
    begin()
    download(
        [(about["address"], about["checksum"])],
        path,
        size=DOWNLOAD_BYTES,
        pause=0.05,
        timeout=10.0,
    )
    return digest(path.read_bytes())


def own_galaxies(folder, number=48):
    """Write a folder of images and an untrained classifier, where they are not there yet; return both paths."""
    own, classifier, galaxies = folder / "own", folder / "toy.keras", toy_galaxies(number, side=32)
    for row in range(number):
        path = own / f"{row % 3}" / f"{row:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            Image.fromarray(galaxies.images[row]).save(path)
    if not classifier.exists():
        gu.save_classifier(classifier, gu.models.three_block_cnn(32, 4), galaxies)
    return own, classifier


def catalogue(folder, begin, note):
    """Classify a folder of own images into a catalogue, by two processes."""
    own, classifier = own_galaxies(folder)
    begin()
    output = gu.classify(own, classifier, artifacts_folder() / "catalogue.parquet", workers=2, part_size=4)
    return digest(pd.read_parquet(output).to_csv(index=False).encode())


TRAININGS = (
    four_block_cnn,
    three_block_cnn,
    compact_cnn,
    joint_autoencoder,
    denoising_autoencoder,
    variational_autoencoder,
    fine_tuning,
    conditional_gan,
    super_resolution_gan,
)
WORKS = (simulate, prepare, image_folder, features, ledger, small_files, *TRAININGS, catalogue)
