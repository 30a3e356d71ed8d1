"""conda's and pip's lists of packages say the same, and the lock file holds all of them."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def _requirements(lines):
    """{"numpy": ">=1.26", …} from lines such as "numpy>=1.26"."""
    return dict(re.match(r"([A-Za-z0-9_-]+)(.*)", line).groups() for line in lines)


def _conda_requirements():
    entries = yaml.safe_load((REPOSITORY / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    pip_entries = [entry["pip"] for entry in entries if isinstance(entry, dict)][0]
    return _requirements([entry for entry in entries if isinstance(entry, str)] + pip_entries)


def test_conda_and_pip_ask_for_the_same_packages():
    """What a conda user gets is what pip users get, apart from Python and pip themselves."""
    conda = _conda_requirements()
    assert conda.pop("python") == PROJECT["requires-python"]
    assert conda.pop("pip") == ""
    wanted = PROJECT["dependencies"] + [
        line for extra in ("book", "catalogue", "chapters") for line in PROJECT["optional-dependencies"][extra]
    ]
    assert conda == _requirements(wanted)


@pytest.mark.parametrize("package", ["tensorflow", "h5py", "numpy", "matplotlib", "seaborn", "scikit-learn"])
def test_packages_that_colab_brings_have_floors_only(package):
    """A pin would replace Colab's own TensorFlow, which breaks its GPU."""
    assert re.fullmatch(r">=[0-9.]+", _requirements(PROJECT["dependencies"])[package])


def test_lock_file_pins_every_requirement_with_hashes():
    """`make lock` was run after the last change to pyproject.toml."""
    lock = (REPOSITORY / "requirements.lock").read_text(encoding="utf-8")
    pinned = set(re.findall(r"^([a-z0-9-]+)==", lock, flags=re.MULTILINE))
    locked = [lines for extra, lines in PROJECT["optional-dependencies"].items() if extra != "backends"]
    asked = PROJECT["dependencies"] + [line for lines in locked for line in lines]
    assert {name.lower() for name in _requirements(asked)} <= pinned
    assert len(re.findall(r"--hash=sha256:[0-9a-f]{64}", lock)) >= len(pinned)
    assert "://" not in lock
