"""Programs that store per-galaxy predictions go on where they were, here or on another machine."""

import contextlib
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from toy_galaxies import toy_galaxies

MEASURED = Path(__file__).resolve().parents[2] / "book" / "measured"
METHODS = ("plain", "with copies, dihedral")


@pytest.fixture
def program(monkeypatch):
    monkeypatch.syspath_prepend(str(MEASURED))
    monkeypatch.setattr(sys, "argv", ["toy.py"])
    return runpy.run_path(str(MEASURED / "stored_predictions.py"))


@pytest.fixture
def start(program, tmp_path, monkeypatch):
    """A function that runs a toy program on a machine of a name; it returns what was trained there."""
    galaxies = toy_galaxies()
    monkeypatch.setattr(program["run"].__globals__["gu"], "load", lambda _: galaxies)

    def run(machine, *words, dies_after=99, settings=None):
        monkeypatch.setenv("GALAXY_UTILS_ARTIFACTS", str(tmp_path / machine))
        parser, trained = program["arguments"]("", METHODS, "toy", folds=2, seeds=2), []
        options = parser.parse_args(["somewhere", "--output", str(tmp_path / "toy"), *words])

        def prepare_training(galaxies, folds, groups):
            def train(method, seed, number):
                if len(trained) == dies_after:
                    raise KeyboardInterrupt
                trained.append((method, seed, number))
                random = np.random.default_rng([METHODS.index(method), seed, number])
                return random.dirichlet(np.ones(galaxies.num_classes), len(folds[number].test)), ""

            return train

        with contextlib.suppress(KeyboardInterrupt):
            program["run"](options, prepare_training, settings or {"epochs": 1})
        return trained

    return run


def test_another_machine_goes_on_and_ends_with_the_same_predictions(start, tmp_path):
    everything = start("one")
    assert len(everything) == 8
    with np.load(tmp_path / "toy.npz") as file:
        undisturbed = {name: file[name] for name in file}
    assert undisturbed["plain"].shape[0] == 2
    assert start("one") == []
    for ending in (".npz", ".json"):
        (tmp_path / "toy").with_suffix(ending).unlink()
    assert start("two", dies_after=3) == everything[:3]
    assert start("two", "--keep") == []
    # The second machine is gone: the third has only the file.
    assert start("three") == everything[3:]
    with np.load(tmp_path / "toy.npz") as file:
        assert all(np.array_equal(file[name], values) for name, values in undisturbed.items())


def test_networks_of_other_settings_are_left_alone(start, tmp_path, capsys):
    start("one", dies_after=3)
    start("one", "--keep")
    assert len(start("two", settings={"epochs": 2})) == 8
    assert "left alone" in capsys.readouterr().out


def test_what_is_collected_is_neither_trained_again_nor_packed_twice(start, tmp_path):
    everything = start("zero")
    (tmp_path / "toy.npz").unlink()
    start("one", dies_after=5)
    start("one", "--collect")
    start("one", "--keep")
    with np.load(tmp_path / "toy_unfinished.npz") as file:
        assert len(set(file) - {"folder"}) == 1
    with np.load(tmp_path / "toy.npz") as file:
        first_seed = {method: file[method][0] for method in METHODS}
    assert start("two") == everything[5:]
    with np.load(tmp_path / "toy.npz") as file:
        assert all(np.array_equal(file[method][0], values) for method, values in first_seed.items())


def test_one_method_or_seed_anew_leaves_the_others_in_the_file(start, tmp_path):
    start("one")
    with np.load(tmp_path / "toy.npz") as file:
        everything = {name: file[name] for name in file}
    assert start("two", "--methods", "plain", "--seeds", "1") == []
    with np.load(tmp_path / "toy.npz") as file:
        assert set(file) == set(everything)
        assert all(np.array_equal(file[name], values) for name, values in everything.items())


def test_the_command_is_kept_without_the_machine_s_paths(program, monkeypatch):
    options = program["arguments"]("", METHODS, "toy", folds=2, seeds=2).parse_args(["/data/real/"])
    words = ["/x/toy.py", "/data/real/", "--methods", "with copies, dihedral", "--extractor", "net=/y/net.h5"]
    monkeypatch.setattr(sys, "argv", words)
    wanted = "python book/measured/toy.py REAL_FOLDER --methods 'with copies, dihedral' --extractor net=net.h5"
    assert program["command"](options) == wanted


def test_only_whole_seeds_are_collected(start, tmp_path):
    # All networks of the first seed, and one of the second.
    start("one", dies_after=5)
    start("one", "--collect")
    with np.load(tmp_path / "toy.npz") as file:
        assert all(file[method].shape[0] == 1 for method in METHODS)
        assert all(len(file[method][0]) == len(file["labels"]) for method in METHODS)


def test_a_seed_is_collected_under_its_own_number_or_not_at_all(start, tmp_path):
    start("one")
    lost = next(path for path in (tmp_path / "one").rglob("plain_seed1_fold0.npy"))
    lost.unlink()
    for ending in (".npz", ".json"):
        (tmp_path / "toy").with_suffix(ending).unlink()
    start("one", "--collect")
    with np.load(tmp_path / "toy.npz") as file:
        assert "plain" not in file and len(file[METHODS[1]]) == 2
