"""The machine that a notebook runs on: prepare it where it is somebody else's, such as Colab's, and describe it."""

import filecmp
import importlib
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from packaging.requirements import Requirement

import galaxy_utils
from galaxy_utils.errors import ConfigurationError, StorageError
from galaxy_utils.files import artifacts_folder, cache_folder, write_atomically
from galaxy_utils.keras_settings import check_keras_settings
from galaxy_utils.report import computing_device, software_versions

# Where Colab shows a user's Drive, and the folder in it that belongs to the book.
DRIVE = Path("/content/drive")
DRIVE_FOLDER = Path("MyDrive", "galaxy_book")
# Parts of the cache that take long to get back. Prepared images do not, and are mapped into memory, which wants a disk.
KEPT_ON_DRIVE = ("galaxy10", "simulated")
# Packages whose module is called otherwise.
MODULES = {"pillow": "PIL", "scikit-learn": "sklearn"}
NO_GPU = "No GPU. The demo profile does without. To get one on Colab: Runtime → Change runtime type → T4 GPU → Save, "
NO_GPU += "then run this notebook again from its first cell."
NOT_KEPT = "Files here are lost when the session ends. To keep data and results on your Drive, write "
NOT_KEPT += "keep_on_drive=True in this cell and run it again."


def set_up(book_version, keep_on_drive=False, extra=""):
    """Make a hosted machine ready for a chapter and say what it is. Installs nothing on one that is ready.

    On Colab and wherever the set-up cell has just installed the package: installs the requirements that are missing,
    and prints versions, GPU and memory, how to get a GPU, and how to keep what the session makes. Everywhere: turns on
    TensorFlow's faster kernels for CPUs, unless `TF_ENABLE_ONEDNN_OPTS` says otherwise.

    Args:
        book_version: Version of the package that the notebook was written for, such as `"0.2.0"`.
        keep_on_drive: Whether data and results go to the user's Drive, on Colab; see `use_drive`.
        extra: Name of the package's extra whose requirements are needed, too, such as `"chapters"`.

    Raises:
        ConfigurationError: A package that the machine brings is too old, Keras is set otherwise than the book needs, an
            assignment's checks are missing, or Drive was asked for where there is none.
        StorageError: Drive cannot be used.
        subprocess.CalledProcessError: pip failed; its message is printed.

    Example:
        >>> gu.set_up(gu.__version__)
    """
    check_keras_settings()
    # TensorFlow leaves these kernels off on many processors, where they halve the time of a convolution.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    installed = install_missing(extra)
    if extra == "assignments" and not Path("tests").is_dir():
        remedy = "unpack the assignment's whole zip file and open the notebook in it; on Colab upload that file, "
        remedy += "run !unzip -o *.zip and %cd into the folder that it made"
        problem = "The assignment's checks are not beside this notebook, so none of them can run."
        raise ConfigurationError(problem, where=Path.cwd(), expected="a folder tests", remedy=remedy)
    if keep_on_drive:
        use_drive()
    if galaxy_utils.__version__ != book_version:
        told = f"This notebook belongs to galaxy_utils {book_version}; {galaxy_utils.__version__} is installed. If it "
        print(told + "does not run: %pip uninstall --yes galaxy_utils, restart the session, run this cell again.")
    if installed or on_colab():
        machine = describe_machine()
        print(machine, *[NO_GPU] * ("GPU: none" in machine), sep="\n")
        if keep_on_drive:
            print(f"Data and results are kept in {DRIVE_FOLDER} on your Drive.")
        elif on_colab():
            print(NOT_KEPT)


def on_colab():
    """Whether this is a Colab session."""
    try:
        return importlib.util.find_spec("google.colab") is not None
    except ModuleNotFoundError:  # there is no package `google` at all
        return False


def describe_machine():
    """Return two lines for people: versions of Python, Keras and its backend; GPU, memory and free disk.

    Example:
        >>> gu.describe_machine().startswith("galaxy_utils")
        True
    """
    versions, device = software_versions(), computing_device()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    told = f"galaxy_utils {versions['galaxy_utils']}, Python {versions['python']}, Keras {versions['keras']} on "
    told += f"{versions['backend']} {versions['backend_version']}\nGPU: {device['accelerator'] or 'none'}, "
    told += f"{device['cores']} CPU cores, {memory:.1f} GB of memory, "
    return told + f"{shutil.disk_usage(Path.cwd()).free / 1e9:.0f} GB of disk free"


def install_missing(extra=""):
    """Install what this package requires and the machine lacks; what is there stays as it is, TensorFlow above all.

    Args:
        extra: Name of an extra whose requirements count, too.

    Returns:
        The requirements that were installed now, as a list of strings, often empty.

    Raises:
        ConfigurationError: A package that the machine brings is too old.
        subprocess.CalledProcessError: pip failed; its message is printed.
    """
    try:
        lines = [Requirement(line) for line in importlib.metadata.requires("galaxy_utils") or ()]
    except importlib.metadata.PackageNotFoundError:  # used from its folder, by somebody who knows what it needs
        return []
    present, missing = {}, []
    for requirement in lines:
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = requirement.name
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            # TensorFlow comes under several names: `tensorflow-cpu`, `tensorflow-tpu`, … bring the same module.
            if not importlib.util.find_spec(MODULES.get(name, name)):
                missing.append(str(requirement))
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            problem = f"This machine's {name} is too old, and is not replaced: other packages rely on it."
            remedy = "on Colab: Runtime → Change runtime type → the latest runtime version"
            raise ConfigurationError(problem, expected=str(requirement), found=version, remedy=remedy)
        present[name] = version
    if missing:
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as constraints:
            constraints.writelines(f"{name}=={version}\n" for name, version in present.items())
            constraints.flush()
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            subprocess.run([*command, "--constraint", constraints.name, *missing], check=True)
        importlib.invalidate_caches()
    return missing


def use_drive():
    """Keep downloads, rendered surveys, checkpoints and reports on the user's Drive, for this session and the next.

    Colab asks for permission once a session. Prepared images stay on the machine's own disk and are made again in
    minutes. Lock files stay there, too: Drive does not promise that they work.

    What lies on Drive already is never replaced. Results of this session that differ from it go to a folder beside it.

    Raises:
        ConfigurationError: This is no Colab session.
        StorageError: Drive refuses, is full or away. Everything here is as it was.
    """
    if not on_colab():
        remedy = "leave keep_on_drive=False: files stay on this machine's own disk"
        raise ConfigurationError("There is no Drive here.", expected="a Colab session", remedy=remedy)
    from google.colab import drive

    home = DRIVE / DRIVE_FOLDER
    folders = {artifacts_folder(): home / "artifacts"}
    folders |= {cache_folder() / name: home / "data" / name for name in KEPT_ON_DRIVE}
    apart = home / "set_aside" / time.strftime("%Y-%m-%d_%H-%M-%S")
    try:
        drive.mount(str(DRIVE))
        for folder, kept in folders.items():
            kept.mkdir(parents=True, exist_ok=True)
            for path in () if folder.is_symlink() else filter(Path.is_file, folder.rglob("*")):
                _copy(path, kept / path.relative_to(folder), apart / kept.name / path.relative_to(folder))
    except Exception as error:  # Colab has kinds of its own
        remedy = "allow access when Colab asks, make room on the Drive, or run this cell again later; "
        remedy += "keep_on_drive=False goes on without it"
        found = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        problem = "Your Drive cannot be used now. Nothing here was moved or lost."
        raise StorageError(problem, where=home, found=found, remedy=remedy) from error
    for folder, kept in folders.items():
        # The folder becomes another name of the one on Drive.
        if folder.is_symlink():
            folder.unlink()
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.symlink_to(kept, target_is_directory=True)
    if apart.exists():
        print(f"Results on your Drive differ from this session's and were kept. This session's lie in {apart}.")
    os.environ["GALAXY_UTILS_LOCKS"] = str(Path(tempfile.gettempdir(), "galaxy_utils_locks"))
    os.environ["HDF5_USE_FILE_LOCKING"] = "FALSE"


def _copy(path, target, otherwise):
    """Copy a file to where none is yet: to the second place if the first holds another one."""
    target = otherwise if target.exists() and not filecmp.cmp(path, target, shallow=False) else target
    if not target.exists():
        with write_atomically(target, path.stat().st_size) as temporary:
            shutil.copyfile(path, temporary)
