"""What runs on the web is what runs here: every step of a workflow calls a target of the Makefile."""

import re
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((REPOSITORY / ".github" / "workflows").glob("*.yml"))
MAKEFILE = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
TARGETS = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)[1].split()
SETTINGS = re.findall(r"^([A-Z_]+) \?=", MAKEFILE, re.MULTILINE)
# The one thing that only the web site can do.
OPENS_AN_ISSUE = 'gh issue create --title "The weekly run is red" --body "$RUN"'


def jobs(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]


def commands(path):
    """Every command that a workflow runs."""
    return [step["run"] for job in jobs(path).values() for step in job["steps"] if "run" in step]


def triggers(path):
    """YAML reads the key `on` as a truth value."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))[True]


def test_there_are_tests_a_book_and_a_weekly_run():
    assert [path.stem for path in WORKFLOWS] == ["book", "tests", "weekly"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_every_command_is_a_target_that_exists_here(path):
    found = [command for command in commands(path) if command != OPENS_AN_ISSUE]
    assert found
    for command in found:
        make, target, *settings = re.sub(r"\$\{\{.*?\}\}", "", command).split()
        assert make == "make" and target in TARGETS
        assert {setting.partition("=")[0] for setting in settings} <= set(SETTINGS)


def test_every_push_is_tested_from_the_oldest_tensorflow_to_the_newest():
    path = REPOSITORY / ".github" / "workflows" / "tests.yml"
    assert "push" in triggers(path)
    (job,) = jobs(path).values()
    versions = [entry["tensorflow"] for entry in job["strategy"]["matrix"]["include"]]
    floor = re.search(r'"tensorflow>=([0-9.]+)"', (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))[1]
    assert versions == [floor, "", "newest"]


def test_the_weekly_run_opens_an_issue_when_anything_is_red():
    path = REPOSITORY / ".github" / "workflows" / "weekly.yml"
    report = jobs(path).pop("report")
    assert "schedule" in triggers(path)
    assert report["if"] == "failure()" and set(report["needs"]) == set(jobs(path)) - {"report"}
    assert [step["run"] for step in report["steps"]] == [OPENS_AN_ISSUE]
    assert {"colab", "links", "faults", "pages", "planted"} <= set(jobs(path))
    assert "colab-images/public/runtime" in jobs(path)["colab"]["container"]
