"""The list of licences belongs to the lock file."""

import csv
import runpy
from pathlib import Path

import pytest

LICENCES = runpy.run_path(str(Path(__file__).resolve().parents[2] / "book" / "tools" / "licences.py"))


def test_the_list_names_what_the_lock_file_names():
    with open(LICENCES["TABLE"], newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["package"], row["version"]) for row in rows] == LICENCES["locked_packages"](), "`make licences`"
    assert all(row["licence"] for row in rows)


@pytest.mark.parametrize(
    ("metadata", "licence"),
    [
        ("License-Expression: MIT AND BSD-3-Clause\nLicense: something", "MIT AND BSD-3-Clause"),
        ("Classifier: License :: OSI Approved :: MIT License\nClassifier: License :: OSI Approved", "MIT License"),
        ("License: Apache 2.0\n        and a long text", "Apache 2.0"),
        ("Summary: none is stated", "its metadata state none"),
    ],
)
def test_a_licence_is_read_as_the_package_states_it(metadata, licence, tmp_path, monkeypatch):
    folder = tmp_path / "small_package-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.4\nName: small-package\nVersion: 1.0\n{metadata}\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert LICENCES["licence"]("small-package") == licence


def test_every_package_of_the_lock_file_carries_a_hash():
    lock = LICENCES["REPOSITORY"] / "requirements.lock"
    entries = lock.read_text(encoding="utf-8").split("\n\n")[-1].replace(" \\\n", " ").splitlines()
    packages = [line for line in entries if "==" in line]
    assert len(packages) == len(LICENCES["locked_packages"]())
    assert all("--hash=sha256:" in line for line in packages)
