"""The score page: what is taken in, what is refused, and what a reader sees."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from toy_galaxies import toy_galaxies, toy_split

from galaxy_utils.errors import DataError
from galaxy_utils.evaluation import evaluate
from galaxy_utils.profiles import get_profile
from galaxy_utils.recipes import FOUR_BLOCK_CNN
from galaxy_utils.report import write_report
from galaxy_utils.training import TrainingRun

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "book" / "tools"))

from scores import PUBLISHED, add_run, read_runs, score_page  # noqa: E402


def leave_report(model="paper 1", profile="demo", seed=1, **changes):
    """Write a real report, as a chapter does, and return its path."""
    galaxies, split = toy_galaxies(40, **changes), toy_split(40)
    random = np.random.default_rng(seed)
    answers = random.dirichlet(np.ones(galaxies.num_classes), len(split.test))
    history = {name: [0.5] for name in ("loss", "val_loss", "accuracy", "val_accuracy", "learning_rate")}
    run = TrainingRun("toy", FOUR_BLOCK_CNN.replace(epochs=1), seed, history, 1, False, False, 0, 12.3)
    evaluation = evaluate(answers, galaxies.labels[split.test], galaxies.class_names)
    return write_report("03_a_baseline_cnn", model, evaluation, run=run, split=split, dataset=galaxies, profile=profile)


def test_a_run_becomes_one_file_and_again_the_same(tmp_path):
    folder = leave_report("paper 1").parents[3]
    leave_report("average pooling")
    kept = tmp_path / "scores"
    (written,) = add_run(folder, kept)
    run = json.loads(written.read_text())
    assert [score["model"] for score in run["scores"]] == ["average pooling", "paper 1"]
    assert run["device"]["cores"] >= 1 and run["versions"]["keras"] and len(run["split"]) >= 12
    assert all(score["answers"] == len(toy_split(40).test) for score in run["scores"])
    assert add_run(folder, kept) == [written] and list(kept.glob("*.json")) == [written]
    # A chapter that trains with several seeds reports the last of them: still the same run.
    leave_report("paper 1", seed=2)
    assert add_run(folder, kept) == [written]
    assert [score["seed"] for score in json.loads(written.read_text())["scores"]] == [1, 2]
    leave_report("average pooling", seed=2)
    assert add_run(folder, kept) != [written], "another seed is another run"


def test_the_page_shows_what_was_measured_and_marks_what_was_published(tmp_path):
    kept = tmp_path / "scores"
    empty = score_page(kept)
    assert empty.count("Nobody has measured this yet") == 3
    (path,) = add_run(leave_report("paper 1").parents[3], kept)
    score = json.loads(path.read_text())["scores"][0]
    page = score_page(kept)
    low, high = score["interval"]
    assert f"| 3 | paper 1 | {score['accuracy']:.3f} ({low:.3f}\u00a0to\u00a0{high:.3f}) |" in page
    published = page[page.index("## Published") :]
    assert published.count("{cite}`paper_") == len(PUBLISHED)
    assert "0.4887" in published and "0.4887" not in page[: page.index("## Published")]


def test_what_means_nothing_is_refused(tmp_path):
    with pytest.raises(DataError, match="no report to take in"):
        add_run(tmp_path, tmp_path / "scores")
    folder = leave_report(profile="smoke").parents[3]
    with pytest.raises(DataError, match="smoke profile only proves"):
        add_run(folder, tmp_path / "scores")


@pytest.mark.parametrize("accuracy", [0.99, "high", None])
def test_a_file_changed_by_hand_is_noticed(tmp_path, accuracy):
    kept = tmp_path / "scores"
    (path,) = add_run(leave_report().parents[3], kept)
    run = json.loads(path.read_text())
    run["scores"][0]["accuracy"] = accuracy
    path.write_text(json.dumps(run))
    with pytest.raises(DataError, match="scores"):
        read_runs(kept)


def test_scores_of_the_repository_can_be_read():
    for run in read_runs():
        assert dataclasses.asdict(get_profile(run["profile"]))["name"] != "smoke"


def test_the_command_says_what_is_missing(tmp_path):
    command = [sys.executable, REPOSITORY / "book" / "tools" / "scores.py", "--artifacts", tmp_path]
    child = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=60, check=False)
    assert child.returncode == 1 and "make book" in child.stderr
