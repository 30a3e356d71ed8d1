"""Write the licences of all packages that the lock file names, as they state them themselves, into a table.

Packages for other systems than this one are in the lock file, but not installed: their row says so.
"""

import csv
import importlib.metadata
import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
TABLE = REPOSITORY / "book" / "licences.csv"
NOT_HERE = "not installed on the system that wrote this list"


def locked_packages(lock=REPOSITORY / "requirements.lock"):
    """Return pairs (name, version) of the lock file, sorted. Some packages have several versions."""
    return sorted(re.findall(r"^([A-Za-z0-9._-]+)==([^ ;\\\n]+)", lock.read_text(encoding="utf-8"), re.MULTILINE))


def licence(name):
    """Return what an installed package says of its licence."""
    about = importlib.metadata.metadata(name)
    if stated := about.get("License-Expression"):
        return stated
    classifiers = [line.split(" :: ")[-1] for line in about.get_all("Classifier") or () if line.startswith("License")]
    classifiers = [words for words in classifiers if words != "OSI Approved"]
    if classifiers:
        return "; ".join(classifiers)
    # Some put the whole text there; its first line names it.
    return (about.get("License") or "").strip().partition("\n")[0][:80] or "its metadata state none"


def rows():
    """Return one row for each locked package: name, version, licence."""
    found = []
    for name, version in locked_packages():
        try:
            found.append((name, version, licence(name)))
        except importlib.metadata.PackageNotFoundError:
            found.append((name, version, NOT_HERE))
    return found


def main():
    """Write the table."""
    with open(TABLE, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("package", "version", "licence"))
        writer.writerows(rows())
    print(f"{len(rows())} packages, see {TABLE}")


if __name__ == "__main__":
    main()
