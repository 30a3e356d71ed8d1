"""Hosted machines are prepared, machines that are ready are left alone."""

import dataclasses
import importlib.util
import os
import resource
import sys

import pytest
from toy_wheel import write_wheel

import galaxy_utils as gu
from galaxy_utils import runtime
from galaxy_utils.errors import ConfigurationError, StorageError
from galaxy_utils.files import artifacts_folder, cache_folder, locked

VERSION = gu.__version__
FEW = dataclasses.replace(gu.get_profile("smoke"), simulated_galaxies=40)


@pytest.fixture
def colab(tmp_path, monkeypatch):
    """A stand-in for Colab's own package, whose Drive is a folder; returns that folder."""
    package = tmp_path / "stand-in" / "google" / "colab"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "drive.py").write_text("import os\ndef mount(place):\n    os.makedirs(place, exist_ok=True)\n")
    for name in [name for name in sys.modules if name == "google" or name.startswith("google.colab")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path / "stand-in")
    monkeypatch.setattr(runtime, "DRIVE", tmp_path / "drive")
    # What `use_drive` sets belongs to the session, here to the test.
    for name in ("GALAXY_UTILS_LOCKS", "HDF5_USE_FILE_LOCKING"):
        monkeypatch.setenv(name, "")
    yield tmp_path / "drive"
    for name in [name for name in sys.modules if name == "google" or name.startswith("google.colab")]:
        del sys.modules[name]


def test_nothing_is_done_where_everything_is_there(capfd):
    gu.set_up(VERSION)
    gu.set_up(VERSION)
    assert capfd.readouterr() == ("", "")


def test_another_version_is_named(capsys):
    gu.set_up("99.0")
    text = capsys.readouterr().out
    assert "99.0" in text and VERSION in text and "%pip uninstall" in text


def test_on_colab_the_machine_is_described(colab, capsys):
    assert runtime.on_colab()
    gu.set_up(VERSION)
    text = capsys.readouterr().out
    assert f"galaxy_utils {VERSION}, Python {sys.version.split()[0]}, Keras 3." in text
    assert "CPU cores" in text and "GB of memory" in text and "keep_on_drive=True" in text
    assert ("GPU: none" in text) == ("Change runtime type" in text)


def test_what_drive_keeps_is_there_after_a_disconnect(colab, capsys, monkeypatch, tmp_path):
    """A second session starts with empty disks and finds survey, checkpoint and report again."""
    gu.load("simulated", profile=FEW)
    rendered = sorted(path.name for path in (cache_folder() / "simulated").glob("*.h5"))
    gu.set_up(VERSION, keep_on_drive=True)
    assert "kept in MyDrive/galaxy_book" in capsys.readouterr().out
    with locked(artifacts_folder() / "run" / "report.json"):
        (artifacts_folder() / "run" / "report.json").write_text("{}")
    for name in ("GALAXY_UTILS_CACHE", "GALAXY_UTILS_ARTIFACTS"):
        monkeypatch.setenv(name, str(tmp_path / "second session" / name))
    gu.set_up(VERSION, keep_on_drive=True)
    gu.set_up(VERSION, keep_on_drive=True)
    assert sorted(path.name for path in (cache_folder() / "simulated").glob("*.h5")) == rendered != []
    assert (artifacts_folder() / "run" / "report.json").read_text() == "{}"
    # Lock files stay off Drive, and so do prepared images, which are mapped into memory.
    assert not list((colab / "MyDrive" / "galaxy_book" / "artifacts").rglob("*.lock"))
    assert os.environ["HDF5_USE_FILE_LOCKING"] == "FALSE"
    prepared = gu.prepare(gu.load("simulated", profile=FEW), 16)
    assert len(prepared) == 40 and not (cache_folder() / "prepared").is_symlink()


def test_drive_elsewhere_is_refused():
    with pytest.raises(ConfigurationError, match="no Drive here"):
        gu.set_up(VERSION, keep_on_drive=True)


def no_permission(place):
    raise PermissionError("Operation not permitted")


def no_answer(place):
    raise type("MessageError", (Exception,), {})("Error: credential propagation was unsuccessful")


def away(place):
    """The folder is there, and what is behind it is not."""
    os.makedirs(place, exist_ok=True)
    os.symlink("/nowhere/at/all", os.path.join(place, "MyDrive"))


def full(place):
    """Room for folders, none for files: so large a file is refused by the system itself."""
    os.makedirs(os.path.join(place, "MyDrive"), exist_ok=True)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


@pytest.mark.parametrize("mount", [no_permission, no_answer, away, full])
def test_a_drive_that_cannot_be_used_gives_one_message_and_costs_nothing(colab, monkeypatch, mount):
    result = artifacts_folder() / "run" / "report.json"
    result.parent.mkdir(parents=True)
    result.write_text("six hours of training")
    drive = importlib.import_module("google.colab.drive")
    monkeypatch.setattr(drive, "mount", mount)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(StorageError, match=r"cannot be used now(.|\n)*keep_on_drive=False"):
            gu.set_up(VERSION, keep_on_drive=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert result.read_text() == "six hours of training" and not artifacts_folder().is_symlink()


def test_what_lies_on_drive_is_never_replaced(colab, capsys):
    kept, own = colab / "MyDrive" / "galaxy_book" / "artifacts", artifacts_folder()
    for folder, texts in {kept: ("six hours", "same"), own: ("a quick try", "same", "new")}.items():
        folder.mkdir(parents=True)
        for number, text in enumerate(texts):
            (folder / f"{number}.json").write_text(text)
    gu.set_up(VERSION, keep_on_drive=True)
    assert [(own / f"{number}.json").read_text() for number in range(3)] == ["six hours", "same", "new"]
    (apart,) = kept.parent.glob("set_aside/*")
    assert str(apart) in capsys.readouterr().out
    assert [path.read_text() for path in apart.rglob("*.json")] == ["a quick try"]


def test_an_assignment_without_its_checks_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=r"checks are not beside(.|\n)*unzip"):
        gu.set_up(VERSION, extra="assignments")
    (tmp_path / "tests").mkdir()
    gu.set_up(VERSION, extra="assignments")


def test_a_package_that_is_too_old_is_named_and_not_replaced(monkeypatch):
    monkeypatch.setattr(runtime.importlib.metadata, "requires", lambda name: ["numpy>=99", 'pytest; extra == "test"'])
    with pytest.raises(ConfigurationError, match=r"numpy is too old(.|\n)*numpy>=99(.|\n)*Change runtime type"):
        gu.set_up(VERSION)


def test_an_extra_is_looked_at_when_it_is_asked_for(monkeypatch):
    lines = ["numpy>=1", 'numpy>=99; extra == "assignments"', 'numpy>=98; extra == "test"']
    monkeypatch.setattr(runtime.importlib.metadata, "requires", lambda name: lines)
    gu.set_up(VERSION)
    with pytest.raises(ConfigurationError, match="numpy>=99"):
        gu.set_up(VERSION, extra="assignments")


def test_tensorflow_under_another_name_counts_as_tensorflow(monkeypatch, tmp_path):
    """`tensorflow-tpu` and others bring the module without a package of that name."""
    (tmp_path / "some_module_of_colab").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(runtime.importlib.metadata, "requires", lambda name: ["some_module_of_colab>=2"])
    assert runtime.install_missing() == []


def test_missing_requirements_are_installed_beside_what_is_there(monkeypatch, tmp_path):
    """With the real pip, into a folder of its own, from a wheel made here: no network is needed."""
    if importlib.util.find_spec("pip") is None:
        pytest.skip("this Python has no pip")
    wheels, target = tmp_path / "wheels", tmp_path / "target"
    wheels.mkdir()
    write_wheel(wheels, "small_missing_thing", "3")
    write_wheel(wheels, "numpy", "99")
    for name, value in {"NO_INDEX": "1", "FIND_LINKS": str(wheels), "TARGET": str(target)}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    monkeypatch.setattr(runtime.importlib.metadata, "requires", lambda name: ["numpy>=1", "small_missing_thing>=2"])
    assert runtime.install_missing() == ["small_missing_thing>=2"]
    assert {path.name for path in target.glob("*.py")} == {"small_missing_thing.py"}
