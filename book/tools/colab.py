"""Rehearse Colab here: a bare environment, a stand-in for Colab's own package, this checkout served by git.

    python book/tools/colab.py                  # every chapter in a bare environment, from its set-up cell on
    python book/tools/colab.py --chapters 02_   # only chapters whose names begin so
    python book/tools/colab.py --python /usr/bin/python3   # in Colab's own image, with the Python it brings

The bare environment holds what Colab brings, at the versions of the environment that runs this program.
"""

import argparse
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import venv
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))
sys.path.insert(0, str(Path(__file__).parent))

from address import rewritten  # noqa: E402

from galaxy_utils.errors import ConfigurationError, GalaxyUtilsError  # noqa: E402

# What the package requires and Colab does not bring. pip installs it there, and in the rehearsal.
NOT_ON_COLAB = {"galsim"}
KERNEL = "rehearsal"

RUN_CELLS = """
import json, sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
for source in json.load(open(sys.argv[1])):
    shell.run_cell(source).raise_error()
"""
VERSIONS = """
import importlib.metadata, json
print(json.dumps({d.metadata["Name"]: d.version for d in importlib.metadata.distributions()}))
"""


class RehearsalError(GalaxyUtilsError):
    """Something that works here would not work on Colab."""


class Rehearsal:
    """A machine like Colab's, in a folder.

    Args:
        folder: An empty folder for everything.
        python: Python of the machine, or `None` to make a bare environment here.
    """

    def __init__(self, folder, python=None):
        self.folder = Path(folder).resolve()
        self.checkout = serve_checkout(self.folder / "served")
        self.stand_in = None
        if python is None:
            python = make_bare_environment(self.folder / "environment")
            self.stand_in = write_stand_in(self.folder / "stand-in")
        self.python = Path(python)
        self.bare = self.versions()

    @property
    def chapters(self):
        """`{name: path}` of the chapters, with set-up cells that install from the served checkout."""
        return {path.stem: path for path in sorted((self.checkout / "notebooks").glob("[0-9][0-9]_*.ipynb"))}

    def environment(self, artifacts="artifacts"):
        """Variables of a process on the machine; nothing leads back to this checkout."""
        own = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
        own["GALAXY_UTILS_ARTIFACTS"] = str(self.folder / artifacts)
        own.setdefault("GALAXY_UTILS_CACHE", str(self.folder / "cache"))
        own["IPYTHONDIR"] = str(self.folder / "ipython")
        return own | ({"PYTHONPATH": str(self.stand_in)} if self.stand_in else {})

    def versions(self):
        """`{package: version}` of all that is installed on the machine."""
        answer = self._run("-c", VERSIONS)
        return {canonicalize_name(name): version for name, version in json.loads(answer).items() if name}

    def run_set_up_cells(self, chapters):
        """Run the set-up cells of chapters one after the other in one session; return what they print."""
        cells = self.folder / "cells.json"
        cells.write_text(json.dumps([_set_up_cell(self.chapters[name]) for name in chapters]), encoding="utf-8")
        printed = self._run("-c", RUN_CELLS, str(cells))
        self.check_unchanged()
        return printed

    def check_unchanged(self):
        """Refuse a set-up that changed a package which was there, or added one that nobody asked for.

        Raises:
            RehearsalError: With the packages and their versions.
        """
        after = self.versions()
        changed = {name: (old, after.get(name)) for name, old in self.bare.items() if after.get(name) != old}
        wanted = {canonicalize_name(found.metadata["Name"]) for found in _with_what_they_need(NOT_ON_COLAB)}
        added = set(after) - set(self.bare) - wanted - {"galaxy-utils"}
        if changed or added:
            raise RehearsalError(
                "The set-up cell changed more than it should.", found=f"changed {changed}, added {sorted(added)}"
            )

    def forget_the_package(self):
        """Make the environment bare again, for the next chapter."""
        self._run("-m", "pip", "uninstall", "--quiet", "--yes", *sorted(set(self.versions()) - set(self.bare)))

    def run_chapter(self, name):
        """Run one chapter alone in the smoke profile, from its set-up cell on.

        Returns:
            What its set-up cell printed.

        Raises:
            RehearsalError: A cell raised.
        """
        import papermill

        alone = self.folder / "alone" / name
        alone.mkdir(parents=True)
        shutil.copy(self.chapters[name], alone)
        specification = self.folder / "jupyter" / "kernels" / KERNEL / "kernel.json"
        specification.parent.mkdir(parents=True, exist_ok=True)
        command = [str(self.python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        kernel = {"argv": command, "display_name": KERNEL, "language": "python"}
        specification.write_text(json.dumps({**kernel, "env": self.environment(f"artifacts of {name}")}))
        os.environ["JUPYTER_PATH"] = str(self.folder / "jupyter")
        try:
            notebook = papermill.execute_notebook(
                alone / f"{name}.ipynb",
                alone / "executed.ipynb",
                {"profile_name": "smoke"},
                kernel_name=KERNEL,
                cwd=alone,
                progress_bar=False,
            )
        except papermill.PapermillExecutionError as error:
            raise RehearsalError(f"{name} fails on Colab: {error.ename}: {error.evalue}", where=alone) from error
        self.check_unchanged()
        cell = next(cell for cell in notebook.cells if cell.get("id") == "set-up")
        return "".join(output.get("text", "") for output in cell.outputs)

    def _run(self, *arguments):
        result = subprocess.run(
            [self.python, *arguments],
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=self.environment(),
            check=False,
        )
        if result.returncode:
            raise RehearsalError(
                "A command failed on the rehearsed machine.",
                where=" ".join(map(str, arguments))[:200],
                found=(result.stdout + result.stderr)[-3000:],
            )
        return result.stdout


def serve_checkout(folder):
    """Make a git repository of this checkout's files, whose set-up cells install from that very repository."""
    names = ["pyproject.toml", "README.md", "LICENSE", "_config.yml", "CITATION.cff", "book/index.md"]
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, folder / name)
    for name in ("galaxy_utils", "notebooks"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    settings = folder / "pyproject.toml"
    text = re.sub(r'^repository = "[^"]*"', f'repository = "file://{folder}"', settings.read_text(), flags=re.MULTILINE)
    settings.write_text(re.sub(r'^reference = "[^"]*"', 'reference = "main"', text, flags=re.MULTILINE))
    for path, content in rewritten(folder).items():
        path.write_text(content, encoding="utf-8")
    identity = ["-c", "user.name=Rehearsal", "-c", "user.email=rehearsal@localhost"]
    for command in (["init", "--quiet", "--initial-branch=main"], ["add", "."], ["commit", "--quiet", "-m", "Served"]):
        subprocess.run(["git", *identity, *command], cwd=folder, check=True)
    return folder


def make_bare_environment(folder):
    """Make a virtual environment with what Colab brings, as hard links to the running environment's files.

    Returns:
        Path of its Python.
    """
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    packages = Path(next((folder / "lib").glob("python3*")) / "site-packages")
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    brought = {Requirement(line).name for line in project["dependencies"]} - NOT_ON_COLAB
    for distribution in _with_what_they_need([*sorted(brought), "ipykernel"]):
        for file in distribution.files or ():
            if ".." not in file.parts and (source := Path(distribution.locate_file(file))).is_file():
                target = packages / file
                target.parent.mkdir(parents=True, exist_ok=True)
                _link(source, target)
    return python


def _with_what_they_need(names):
    """Installed distributions called `names`, and all that they require."""
    found, waiting = {}, list(names)
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name in found or name == "pip":
            continue
        try:
            found[name] = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:  # for another platform, or optional
            continue
        for line in map(Requirement, found[name].requires or ()):
            if line.marker is None or line.marker.evaluate({"extra": ""}):
                waiting.append(line.name)
    return list(found.values())


def _link(source, target):
    if target.exists():  # files that two distributions share
        return
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)


def write_stand_in(folder):
    """Write what answers to `google.colab` in the rehearsal. Return the folder to be found on Python's path."""
    package = folder / "google" / "colab"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text('"""Stands in for the package that only Colab has."""\n', encoding="utf-8")
    return folder


def _set_up_cell(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "".join(next(cell for cell in cells if cell["cell_type"] == "code")["source"])


def main():
    """Command line: 0 when every chapter ran, 1 with a message when not."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", default="", help="Python of a machine that is there, such as Colab's image")
    parser.add_argument("--chapters", default="", help="run chapters whose names begin so; all by default")
    options = parser.parse_args()
    try:
        if not any(path.name.startswith(options.chapters) for path in (REPOSITORY / "notebooks").glob("[0-9]*.ipynb")):
            raise ConfigurationError("No chapter's name begins so.", where="CHAPTERS", found=repr(options.chapters))
        with tempfile.TemporaryDirectory() as folder:
            rehearsal = Rehearsal(folder, options.python or None)
            print(f"TensorFlow {rehearsal.bare.get('tensorflow')}, {len(rehearsal.bare)} packages before", flush=True)
            for name in [name for name in rehearsal.chapters if name.startswith(options.chapters)]:
                start = time.perf_counter()
                print(rehearsal.run_chapter(name).strip())
                print(f"  {name}: {time.perf_counter() - start:.0f} s", flush=True)
                rehearsal.forget_the_package()
    except GalaxyUtilsError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
