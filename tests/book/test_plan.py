"""Operations are counted as a hand counts them, and a plan is made of them; nothing here measures a chapter."""

import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from galaxy_utils.errors import ConfigurationError, DataError

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY / "book" / "tools"), str(REPOSITORY / "book" / "measured")]

import plan  # noqa: E402
from count_operations import forward_operations, training_operations, validation_operations  # noqa: E402

FIGURES = {"pflop": 6.0, "seconds": 60.0, "own_gb": 3.2, "galaxies": 17_736}


@pytest.fixture(scope="module")
def network():
    """Two convolutions and a dense layer, after one step."""
    inputs = keras.Input((12, 12, 3))
    x = keras.layers.Conv2D(8, 3, padding="same")(inputs)
    x = keras.layers.Conv2D(4, 3, strides=2, padding="same", use_bias=False)(x)
    model = keras.Model(inputs, keras.layers.Dense(5)(keras.layers.Flatten()(x)))
    model.compile("sgd", "mse")
    model.train_on_batch(*batch())
    return model


def batch(size=4):
    random = np.random.default_rng(1)
    return random.integers(0, 256, (size, 12, 12, 3), np.uint8), random.random((size, 5))


def test_operations_are_those_of_a_hand(network):
    images, _ = batch()
    first = 12 * 12 * 8 * (2 * 9 * 3 + 1)
    second = 6 * 6 * 4 * (2 * 9 * 8)
    forward = first + second + 5 * (2 * 6 * 6 * 4 + 1)
    assert forward_operations(network, images) == forward
    assert forward_operations(network, images[:1]) == forward, "for each image, however many there are"
    operations, how = training_operations(network, batch())
    assert how == "counted" and 2 * forward < operations < 4 * forward
    assert forward < validation_operations(network, batch()) < 1.1 * forward


def test_a_step_of_a_networks_own_is_counted(network):
    class Twice(keras.Model):
        def train_step(self, data):
            super().train_step(data)
            return super().train_step(data)

    class Odd(keras.Model):
        def train_step(self, data):
            raise ValueError("not in a graph")

    counted = []
    for kind in (Twice, Odd):
        model = kind(network.input, network.output)
        model.compile("sgd", "mse")
        counted.append(training_operations(model, batch()))
    assert counted[0] == (pytest.approx(2 * training_operations(network, batch())[0], rel=0.05), "counted")
    assert counted[1] == (3 * forward_operations(network, batch()[0]), "3 x forward")


def write(folder, content):
    path = folder / "full_size.json"
    path.write_text(json.dumps(content))
    return path


def test_a_plan_from_figures(tmp_path):
    path = write(tmp_path, {"profiles": {"gpu": {"04_b": FIGURES, "03_a": FIGURES | {"pflop": 0.0, "own_gb": 5.0}}}})
    chapters = plan.read_figures("gpu", path)
    assert plan.minutes(chapters["04_b"], 1e12) == pytest.approx(101)
    assert plan.minutes(chapters["03_a"], 1e12) == pytest.approx(1)
    _, *lines, total = plan.plan(chapters, here=1e12, on_t4=5e12)
    assert [line.split() for line in lines] == [
        ["03_a", "1", "min", "1", "min", "5.0", "GB"],
        ["04_b", "101", "min", "21", "min", "3.2", "GB"],
    ]
    assert total.split()[-6:] == ["102", "min", "22", "min", "5.0", "GB"]


def test_the_table_of_the_page_has_both_profiles():
    profiles = {"gpu": {"04_b_c": FIGURES, "03_a": FIGURES}, "full": {"04_b_c": FIGURES | {"own_gb": 11.0}}}
    assert plan.page_table(profiles, 1e13).splitlines()[2:] == [
        "| {doc}`notebooks/03_a` | 11 | 3.2 |  |  |",
        "| {doc}`notebooks/04_b_c` | 11 | 3.2 | 11 | 11.0 |",
    ]


def test_the_page_and_the_chapters_have_what_was_measured():
    texts = plan.texts()
    assert sum("**With a GPU** (`gpu` profile): an estimated " in now for _, now in texts.values()) >= 12
    assert "| {doc}`notebooks/12_claims_that_leak` |" in texts[plan.PAGE][1]
    old = [path.name for path, (before, now) in texts.items() if now != before]
    assert not old, "python book/tools/plan.py --write"


def test_profiles_without_figures_are_refused(tmp_path):
    path = write(tmp_path, {"profiles": {"gpu": {"03_a": FIGURES}}})
    for name in ("smoke", "demo"):
        with pytest.raises(ConfigurationError, match="(?s)gpu or full.*make plan PROFILE=gpu"):
            plan.read_figures(name, path)
    for missing in (path, tmp_path / "none.json"):
        with pytest.raises(ConfigurationError, match="--profiles full"):
            plan.read_figures("full", missing)
    with pytest.raises(DataError, match="cannot be read"):
        plan.read_figures("gpu", write(tmp_path, {"profiles": {"gpu": {"03_a": {}}}}))


def test_the_command_refuses_in_a_sentence():
    command = [sys.executable, REPOSITORY / "book" / "tools" / "plan.py", "--profile", "demo"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 1 and "No plan was made: There are no figures" in result.stderr
    assert "Traceback" not in result.stderr and not result.stdout
