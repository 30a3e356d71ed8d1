"""The package stays small: lines of code in all and in each file, no import in a circle, no more tests than code."""

import ast
import io
import tokenize
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = REPOSITORY / "galaxy_utils"
# 5,000 for chapters 1 to 12, and what the later ones need.
MOST_LINES, MOST_LINES_OF_A_FILE = 6_500, 350
# Tests of the book, of the assignments, in the browser and of faults are not tests of the package.
OTHER_TESTS = ("assignments", "book", "browser", "faults")
NO_CODE = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
NO_CODE += (tokenize.ENCODING, tokenize.ENDMARKER)


def lines_of_code(path):
    """Count the lines of a Python file that are no docstring, no comment and not blank."""
    source = path.read_bytes()
    lines = set()
    for token in tokenize.tokenize(io.BytesIO(source).readline):
        if token.type not in NO_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, documented) and ast.get_docstring(node) is not None:
            lines -= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    text = source.decode().split("\n")
    return sum(bool(text[line - 1].strip()) for line in lines)


def test_the_package_is_small(capsys):
    sizes = {path.relative_to(REPOSITORY).as_posix(): lines_of_code(path) for path in PACKAGE.rglob("*.py")}
    with capsys.disabled():
        print(f"\n{sum(sizes.values()):,} lines of code in {len(sizes)} files")
    long = {name: lines for name, lines in sizes.items() if lines > MOST_LINES_OF_A_FILE}
    assert not long, f"over {MOST_LINES_OF_A_FILE} lines: {long}"
    assert sum(sizes.values()) <= MOST_LINES, f"{sum(sizes.values()):,} lines in all, {MOST_LINES:,} allowed"


def test_the_package_has_at_least_as_many_lines_as_its_tests(capsys):
    files = [path for path in (REPOSITORY / "tests").rglob("*.py") if path.parent.name not in OTHER_TESTS]
    tests = sum(lines_of_code(path) for path in files)
    package = sum(lines_of_code(path) for path in PACKAGE.rglob("*.py"))
    with capsys.disabled():
        print(f"\n{tests:,} lines of tests for {package:,} of the package")
    assert tests <= package


def imports_of(path, modules):
    """Return the modules of one room that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found & set(modules)


def circles(modules):
    """Return modules that import each other, directly or over others.

    Args:
        modules: `{name: path}` of the files of one room.
    """
    reached = {name: imports_of(path, modules) - {name} for name, path in modules.items()}
    for _ in modules:
        reached = {name: found.union(*(reached[one] for one in found)) for name, found in reached.items()}
    return sorted(name for name, found in reached.items() if name in found)


def test_no_import_goes_in_a_circle():
    package = {
        ".".join(path.relative_to(REPOSITORY).with_suffix("").parts): path
        for path in PACKAGE.rglob("*.py")
        if path.name != "__init__.py"
    }
    assert not circles(package)
    # Programs beside each other import one another by their bare names.
    rooms = ("book/tools", "book/play", "book/measured", "notebooks/assignments/tools")
    others = {path.stem: path for room in rooms for path in (REPOSITORY / room).glob("*.py")}
    assert not circles(others)


def test_a_circle_would_be_found(tmp_path):
    for name, imported in (("a", "b"), ("b", "c"), ("c", "a"), ("d", "a")):
        (tmp_path / f"{name}.py").write_text(f"import {imported}\n")
    assert circles({path.stem: path for path in tmp_path.glob("*.py")}) == ["a", "b", "c"]
