"""The list of licences belongs to the lock file."""

import csv
import runpy
from pathlib import Path

LICENCES = runpy.run_path(str(Path(__file__).resolve().parents[2] / "book" / "tools" / "licences.py"))


def test_the_list_names_what_the_lock_file_names():
    with open(LICENCES["TABLE"], newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["package"], row["version"]) for row in rows] == LICENCES["locked_packages"](), "`make licences`"
    assert all(row["licence"] for row in rows)
    (tqdm,) = (row["licence"] for row in rows if row["package"] == "tqdm")
    assert "MIT" in tqdm and "MPL" in tqdm


def test_every_package_of_the_lock_file_carries_a_hash():
    lock = LICENCES["REPOSITORY"] / "requirements.lock"
    entries = lock.read_text(encoding="utf-8").split("\n\n")[-1].replace(" \\\n", " ").splitlines()
    packages = [line for line in entries if "==" in line]
    assert len(packages) == len(LICENCES["locked_packages"]())
    assert all("--hash=sha256:" in line for line in packages)
