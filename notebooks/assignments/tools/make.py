"""Make assignments with Otter-Grader: from each master notebook a student's copy, an autograder bundle, a solution.

    python notebooks/assignments/tools/make.py                              # all masters of notebooks/assignments
    python notebooks/assignments/tools/make.py --masters FOLDER --only a1   # one, from a private folder

Everything lies under one output folder (`_build/assignments`): `student/` is for publishing, `private/` never is.
"""

import argparse
import os
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

import nbformat
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent))

from grade import grade_submission
from masters import MASTERS, OUTPUT, Assignment, AssignmentError, find_masters, read_members

from galaxy_utils.errors import GalaxyUtilsError

# Zip files carry times; equal content shall give equal bundles, so that what was graded before counts as graded.
ZIP_TIME = (2026, 1, 1, 0, 0, 0)


def make_assignment(master, output=OUTPUT):
    """Make the student's copy, the bundle and the solution of one master.

    Args:
        master: Path of the master notebook.
        output: Output folder.

    Returns:
        The `Assignment`.

    Raises:
        AssignmentError: The student's copy holds a hidden check or a solution.
    """
    # Otter takes seconds to import, and `find_masters` does not need it.
    from otter.assign import main as otter_assign

    master, assignment = Path(master).resolve(), Assignment(Path(master).stem, Path(output).resolve())
    with tempfile.TemporaryDirectory() as folder:
        # Otter would run the solution in a folder with the hidden checks; `main` below grades it as it grades students.
        otter_assign(str(master), folder, no_pdfs=True, no_run_tests=True)
        made = {name: Path(folder) / name for name in ("student", "autograder")}
        (bundle,) = made["autograder"].glob("*.zip")
        student_files = _files(made["student"])
        _check_nothing_private(student_files, read_members(bundle), master)
        _replace_folder(made["student"], assignment.student_folder)
        names = {path: f"{assignment.name}/{path.relative_to(made['student']).as_posix()}" for path in student_files}
        _zip(assignment.student_zip, {name: path.read_bytes() for path, name in names.items()})
        _zip(assignment.bundle, read_members(bundle))
        solution = nbformat.read(made["autograder"] / master.name, as_version=4)
        solution.metadata["galaxy_book"] = {"written": _written_questions(master)}
        assignment.solution.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(solution, assignment.solution)
    return assignment


def _check_nothing_private(student_files, bundle, master):
    """Refuse a student's folder in which a hidden check or a line of a solution can be read."""
    published = "\n".join(path.read_text(encoding="utf-8") for path in student_files)
    for name, text in bundle.items():
        if not name.startswith("tests/"):
            continue
        for check in text.decode().split("@test_case(")[1:]:
            function = next(line for line in check.splitlines() if line.startswith("def ")).split("(")[0]
            if "hidden=True" in check.splitlines()[0] and f"{function}(" in published:
                raise AssignmentError("The student's copy shows a hidden check.", where=master, found=function)
    for mark in ("# SOLUTION", "# BEGIN SOLUTION", "Rubric"):
        if mark in published:
            raise AssignmentError("The student's copy shows a solution.", where=master, found=repr(mark))


def _files(folder):
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and ".ipynb_checkpoints" not in path.parts]


def _zip(path, members):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(members):
            archive.writestr(zipfile.ZipInfo(name, ZIP_TIME), members[name], zipfile.ZIP_DEFLATED)


def _replace_folder(source, target):
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(".ipynb_checkpoints", ".OTTER_LOG"))


def _written_questions(master):
    """Return the same from a master, where every question begins with a cell that describes it."""
    cells = [cell.source for cell in nbformat.read(master, as_version=4).cells if cell.cell_type == "raw"]
    questions = [yaml.safe_load(source) for source in cells if source.startswith("# BEGIN QUESTION")]
    return {question["name"]: question["points"] for question in questions if question.get("manual")}


def main(arguments=None):
    """Make all assignments, or some, and grade each solution: it must score 100 %."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--masters", type=Path, default=MASTERS, help="folder of the master notebooks")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--only", nargs="*", default=["all"], help="short names, such as a1 a2; all when left out")
    options = parser.parse_args(arguments)

    masters = find_masters(options.masters)
    chosen = list(masters) if options.only == ["all"] else options.only
    if unknown := sorted(set(chosen) - set(masters)):
        known = f"all, {', '.join(masters)}"
        raise AssignmentError(f"There is no assignment {', '.join(unknown)}.", where=options.masters, expected=known)
    for key in chosen:
        assignment = make_assignment(masters[key], options.output)
        result = grade_submission(assignment.solution, assignment, private=[options.masters], keep_cache=True)
        print(f"{assignment.name}: {result.possible:g} points; the solution took {result.seconds:.0f} s", flush=True)
        failed = [message for several in result.messages.values() for message in several]
        if result.score != result.possible or result.reason:
            raise AssignmentError(
                "The solution does not score 100 %.",
                where=masters[key],
                found="\n".join([f"{result.score:g} of {result.possible:g} points", result.reason, *failed]),
            )
    print(f"For students: {options.output / 'student'}")
    print(f"Never to be published: {options.output / 'private'}")


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        main()
    except GalaxyUtilsError as error:
        sys.exit(str(error))
