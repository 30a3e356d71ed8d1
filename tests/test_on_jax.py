"""On JAX: layers, autoencoders, the adversarial training and its resumption, all in one process of that backend."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PROGRAM = """
import sys
import keras, numpy as np
from test_training_targets import assert_resumes
from toy_galaxies import toy_galaxies
import galaxy_utils as gu
from galaxy_utils.augmentation import (
    RandomDihedral, RandomRotationZoomShift, generate_images, relativistic_gan, variational_autoencoder,
)

assert keras.backend.backend() == "jax"
vae = variational_autoencoder(16, 4)
network = keras.Sequential([keras.Input((16, 16, 3)), RandomDihedral(), RandomRotationZoomShift(), vae])
network.compile("adam", "mse")
before = vae.get_weights()
network.fit(np.full((32, 16, 16, 3), 9.0), np.zeros((32, 16, 16, 3)), verbose=0)
assert not any(np.array_equal(a, b) for a, b in zip(before[:2], vae.get_weights()[:2]))
print("layers and autoencoders train")

galaxies = toy_galaxies(noise=20)
gan = relativistic_gan(16, 4)
parts = gan.generator, gan.ema_generator, gan.discriminator
before = [part.get_weights()[0] for part in parts]
run = gu.fit(gan, galaxies, gu.split(galaxies, fractions=(0.6, 0.2, 0.2)), gu.Recipe("test", 1, 16, 1e-3, beta_1=0.5),
             targets="conditions", progress=False)
assert not any(np.array_equal(old, part.get_weights()[0]) for old, part in zip(before, parts))
assert all(np.isfinite(values).all() for values in run.history.values())
assert 0 < run.history["ranking_accuracy"][-1] <= 1
assert generate_images(gan, np.arange(4)).std() > 0
print("generator and discriminator train")

assert_resumes(sys.argv[1])
print("an interrupted training ends as an undisturbed one")
"""


@pytest.mark.skipif(os.environ.get("BACKENDS") != "all", reason="BACKENDS=all tries JAX, as `make planted` does")
def test_networks_train_and_resume_on_jax(tmp_path, monkeypatch):
    folder = tmp_path / "jax"
    folder.mkdir()
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), str(TESTS.parent)]))
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")  # Compiling takes longer than the few steps.
    child = subprocess.run([sys.executable, "-c", PROGRAM, folder], capture_output=True, text=True, check=False)
    assert child.returncode == 0, child.stdout + child.stderr
    assert child.stdout.count("\n") == 3
