"""A lab without a network: from the set-up cell to a trained network, no socket is opened."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
# What a chapter does, in little; before it, Python itself is told to refuse every socket to anywhere.
PROGRAM = """
import dataclasses, socket, sys

def refuse(event, arguments):
    if event == "socket.__new__" and arguments[1] in (socket.AF_INET, socket.AF_INET6):
        raise PermissionError("a socket was opened")
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "urllib.Request"):
        raise PermissionError(f"{event}: {arguments}")

sys.addaudithook(refuse)

import galaxy_utils as gu

gu.set_up(gu.__version__)
profile = dataclasses.replace(gu.get_profile("smoke"), simulated_galaxies=60)
galaxies = gu.prepare(gu.load("simulated", profile=profile), 16)
split = gu.split(galaxies)
model = gu.models.three_block_cnn(16)
gu.fit(model, galaxies, split, gu.recipes.THREE_BLOCK_CNN.replace(epochs=1))
assert len(gu.predict(model, galaxies, split.test)) == len(split.test)
assert gu.models.find_weights("mobilenetv2", 32, download=False) is None
print("done")
"""


def run(command, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "KERAS_HOME": str(tmp_path / "keras")}
    environment.pop("GALAXY_UTILS_WEIGHTS", None)
    return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)


def without_network():
    """A command prefix that takes the network away from a program and its libraries, where the system allows it."""
    prefix = ["unshare", "--map-root-user", "--net"]
    if not shutil.which("unshare"):
        return []
    return [] if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode else prefix


def test_nothing_opens_a_socket(tmp_path):
    """Python's sockets are refused; compiled libraries find no network either, where the system can take it away."""
    result = run([*without_network(), sys.executable, "-c", PROGRAM], tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.endswith("done\n")


@pytest.mark.parametrize("attempt", ['socket.create_connection(("127.0.0.1", 9))', 'socket.getaddrinfo("a.b", 80)'])
def test_an_attempt_would_be_noticed(tmp_path, attempt):
    program = PROGRAM.partition("import galaxy_utils")[0] + attempt
    assert "PermissionError" in run([sys.executable, "-c", program], tmp_path).stderr
