"""Where an assignment's files lie, and what is read from them: for the tools that make and grade assignments."""

import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import nbformat

REPOSITORY = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(REPOSITORY))

from galaxy_utils.errors import GalaxyUtilsError  # noqa: E402

MASTERS = REPOSITORY / "notebooks" / "assignments"
OUTPUT = REPOSITORY / "_build" / "assignments"


class AssignmentError(GalaxyUtilsError):
    """An assignment could not be made or graded."""


@dataclass(frozen=True)
class Assignment:
    """Where one assignment's files lie.

    Attributes:
        name: Name of the master notebook, without its ending.
        output: The output folder that all assignments share.
    """

    name: str
    output: Path

    @property
    def key(self):
        """Short name, such as `"a1"`."""
        return self.name.split("_")[0]

    @property
    def student_folder(self):
        """The student's notebook, and the visible checks in `tests/`."""
        return self.output / "student" / self.name

    @property
    def student_zip(self):
        """The same folder as one file to hand out."""
        return self.output / "student" / f"{self.name}.zip"

    @property
    def bundle(self):
        """Otter's autograder bundle: all checks, the hidden ones included."""
        return self.output / "private" / "autograder" / f"{self.key}.zip"

    @property
    def solution(self):
        """The notebook with solutions, rubrics and check cells."""
        return self.output / "private" / "solutions" / f"{self.name}.ipynb"

    @property
    def start_cache(self):
        """Rendered and prepared galaxies with which grading begins, so that no submission has to render them."""
        return self.output / "private" / "cache"


def find_masters(folder=MASTERS):
    """Return `{key: path}` of the master notebooks in a folder, such as `{"a1": …}`, sorted.

    Raises:
        AssignmentError: There are none, or two share a key.
    """
    masters = {}
    for path in sorted(Path(folder).glob("a[0-9]*_*.ipynb")):
        key = path.stem.split("_")[0]
        if key in masters:
            raise AssignmentError(
                f"Two masters are called {key}.", where=folder, found=f"{masters[key].name} and {path.name}"
            )
        masters[key] = path
    if not masters:
        raise AssignmentError(
            "There are no master notebooks.", where=folder, expected="files such as a1_title.ipynb, one or more"
        )
    return masters


def read_checks(bundle):
    """Return `{question: source}`: the checks of a bundle, the hidden ones included, as Otter wrote them.

    Raises:
        AssignmentError: There is no such bundle.
    """
    if not Path(bundle).is_file():
        raise AssignmentError("There is no autograder bundle.", where=bundle, remedy="make assignments")
    members = read_members(bundle)
    checks = {Path(name).stem: text.decode() for name, text in members.items() if name.startswith("tests/")}
    return dict(sorted(checks.items()))


def read_written_questions(solution):
    """Return `{question: points}`: the questions that a person grades, as `make_assignment` noted them."""
    return dict(nbformat.read(solution, as_version=4).metadata["galaxy_book"]["written"])


def read_members(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in sorted(archive.namelist()) if not name.endswith("/")}
