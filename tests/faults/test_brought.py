"""What people bring: each try is read right or refused with its reason, and nothing that stood there before is lost."""

import base64
import csv
import gzip
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import unicodedata
import zipfile
from xml.etree import ElementTree

import nbformat
import pytest
from harness import REPOSITORY, WHOLE_TABLE, recorded

from galaxy_utils.errors import ConfigurationError
from galaxy_utils.keras_settings import check_keras_settings

sys.path.insert(0, str(REPOSITORY / "notebooks" / "assignments" / "tools"))

from points import Form, find_row, read_table, write_row
from submissions import find_submissions

CELLS = ("answer = 'ä'", "def double(x):\n    return 2 * x")
BOOK = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in CELLS])
BOOK.cells.insert(1, nbformat.v4.new_markdown_cell("words"))
PLAIN = json.dumps(BOOK, ensure_ascii=False).encode()
TEXT = PLAIN.decode()


def zipped(**members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def tarred(name, content, mode="w:gz"):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def old(version):
    """The notebook in an older format."""
    codes = [{"cell_type": "code", "language": "python", "input": source, "outputs": []} for source in CELLS]
    return json.dumps({"nbformat": version, "nbformat_minor": 0, "metadata": {}, "worksheets": [{"cells": codes}]})


def password():
    """A zip whose header says that it is locked."""
    content = bytearray(zipped(**{"a.ipynb": PLAIN}))
    content[6] |= 1
    content[content.index(b"PK\1\2") + 8] |= 1
    return bytes(content)


SCRIPT = "\n\n".join(["#!/usr/bin/env python", *(f"# In[{n}]:\n\n{source}" for n, source in enumerate(CELLS))])
LISTED = {**BOOK, "cells": [{**cell, "source": cell["source"].splitlines(keepends=True)} for cell in BOOK.cells]}
# How one and the same notebook is handed in: under this name, as these bytes.
RIGHT = {
    "plain.ipynb": PLAIN,
    "UPPER.IPYNB": PLAIN,
    "a1.ipynb.txt": PLAIN,
    "a1.json": PLAIN,
    "a1 (2).ipynb": PLAIN,
    "no_ending": PLAIN,
    "-begins.ipynb": PLAIN,
    "=1+1.ipynb": PLAIN,
    "a,b;c\"d'e.ipynb": PLAIN,
    "two\nlines.ipynb": PLAIN,
    "100% $HOME `x` #;.ipynb": PLAIN,
    f"{'long' * 60}.ipynb": PLAIN,
    unicodedata.normalize("NFD", "Müller.ipynb"): PLAIN,
    os.fsdecode(b"M\x81ller.ipynb"): PLAIN,
    "絵文字🌌.ipynb": PLAIN,
    "marked.ipynb": b"\xef\xbb\xbf" + PLAIN,
    "utf16.ipynb": TEXT.encode("utf-16"),
    "utf16_unmarked.ipynb": TEXT.encode("utf-16-le"),
    "utf32.ipynb": TEXT.encode("utf-32"),
    "windows.ipynb": TEXT.encode("cp1252"),
    "escaped.ipynb": json.dumps(BOOK).encode(),
    "carriage.ipynb": json.dumps(BOOK, indent=1).replace("\n", "\r\n").encode(),
    "listed.ipynb": json.dumps(LISTED).encode(),
    "version3.ipynb": old(3).encode(),
    "version5.ipynb": json.dumps({**BOOK, "nbformat": 5}).encode(),
    "no_version.ipynb": json.dumps({"cells": BOOK.cells}).encode(),
    "raw_tabs.ipynb": json.dumps(BOOK).replace("words", "a\ttab").encode(),
    "zipped.zip": zipped(**{"a1.ipynb": PLAIN}),
    "zipped.ipynb": zipped(**{"a1.ipynb": PLAIN}),
    "macs.zip": zipped(**{"a1/a1.ipynb": PLAIN, "__MACOSX/a1/._a1.ipynb": b"\0\5\x16\7", "a1/data.csv": b"1"}),
    "windows.zip": zipped(**{"a1\\a1.ipynb": PLAIN}),
    "out_of_it.zip": zipped(**{"../../../a1.ipynb": PLAIN}),
    "zip_in_zip.zip": zipped(**{"inner.zip": zipped(**{"a1.ipynb": PLAIN})}),
    "packed.tar.gz": tarred("a1/a1.ipynb", PLAIN),
    "packed.tar": tarred("a1.ipynb", PLAIN, "w:"),
    "packed.tar.xz": tarred("a1.ipynb", PLAIN, "w:xz"),
    "packed.ipynb.gz": gzip.compress(PLAIN),
    "folder/of/folders/a1.ipynb": PLAIN,
    "a1.ipynb/a1.ipynb": PLAIN,
    ".hidden.ipynb": PLAIN,
    "only_a_copy/.ipynb_checkpoints/a1-checkpoint.ipynb": PLAIN,
}
PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
# What is no notebook: the bytes, and words of the reason.
WRONG = {
    "empty.ipynb": (b"", "empty"),
    "blank.ipynb": (b" \n", "empty"),
    "cut.ipynb": (PLAIN[:-40], "cut off"),
    "damaged.ipynb": (PLAIN.replace(b"cells", b'ce"lls'), "damaged JSON"),
    "answers.pdf": (b"%PDF-1.7 ...", "a PDF"),
    "photo.png": (PICTURE, "a picture"),
    "page.ipynb": (b"<!DOCTYPE html><html>", "a web page"),
    "report.docx": (zipped(**{"[Content_Types].xml": b"<x/>", "word/document.xml": b"<x/>"}), "an Office document"),
    "packed.7z": (b"7z\xbc\xaf\x27\x1c...", "unpacked by hand"),
    "packed.rar": (b"Rar!\x1a\7...", "unpacked by hand"),
    "broken.zip": (zipped(**{"a1.ipynb": PLAIN})[:-30], "no notebook"),
    "locked.zip": (password(), "password"),
    "without.zip": (zipped(**{"notes.txt": b"hello"}), "it holds notes.txt"),
    "bomb.zip": (zipped(**{"a1.ipynb": b"0" * 10})[:-22] + b"", "no notebook"),
    "notes.txt": (b"I could not do it.", "I could not do it."),
    "settings.json": (b'{"a": 1}', "JSON without cells"),
    "cells.json": (b'{"cells": 3}', "JSON without cells"),
    "deep.ipynb": (b'{"cells":' + b"[" * 100_000, "damaged JSON"),
    "pointer.ipynb": (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
}


def test_whatever_is_handed_in_is_found_with_its_cells_or_a_reason(tmp_path):
    with recorded("Handed in", "the same notebook under other names, endings, encodings and packings") as outcome:
        for number, (name, content) in enumerate(RIGHT.items()):
            path = tmp_path / str(number) / name
            path.parent.mkdir(parents=True)
            path.write_bytes(content)
            found = find_submissions(tmp_path / str(number))
            (shown, one), *more = found.items()
            good = not more and [source.strip() for source in one.cells] == list(CELLS) and not one.reason
            safe = shown.isprintable() and shown[0] not in "=+-@" and ".." not in shown.split("/")
            shown.encode("utf-8")
            outcome.add(1, [] if good and safe else [f"{name!r}: {found}"])
    with recorded("Handed in", "what is no notebook") as outcome:
        for name, (content, _) in WRONG.items():
            (tmp_path / "wrong").mkdir(exist_ok=True)
            (tmp_path / "wrong" / name).write_bytes(content)
        os.mkfifo(tmp_path / "wrong" / "pipe.ipynb")
        (tmp_path / "wrong" / "link.ipynb").symlink_to("nowhere")
        (tmp_path / "wrong" / "nothing").mkdir()
        (tmp_path / "wrong" / "round").symlink_to(tmp_path / "wrong")
        wanted = {name: words for name, (_, words) in WRONG.items()}
        wanted |= {"pipe.ipynb": "no file", "link.ipynb": "link", "nothing": "empty"}
        found = find_submissions(tmp_path / "wrong")
        for name, words in wanted.items():
            one = found.pop(name, None)
            good = one is not None and not one.cells and words in one.reason
            outcome.add(1, [] if good else [f"{name}: {one}"])
        assert not found


def test_a_script_is_graded_cell_by_cell_and_what_lies_beside_a_notebook_is_left_out(tmp_path):
    for name, content in {
        "anna/a1.ipynb": PLAIN,
        "anna/tests/q1.py": b"1",
        "anna/ledger.jsonl": b"{}",
        "anna/helper.py": b"x = 1",
        "anna/.ipynb_checkpoints/a1-checkpoint.ipynb": PLAIN,
        "anna/.DS_Store": b"x",
        "bert.ipynb": PLAIN,
        "bert.html": b"<html>",
        "cleo.py": SCRIPT.encode(),
        "dora.pdf": b"%PDF",
        "group/emil.ipynb": PLAIN,
        "group/finn.docx": zipped(**{"[Content_Types].xml": b""}),
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    found = find_submissions(tmp_path)
    assert list(found) == ["anna/a1.ipynb", "bert.ipynb", "cleo.py", "dora.pdf", "group/emil.ipynb", "group/finn.docx"]
    assert [source.strip() for source in found["cleo.py"].cells][-2:] == list(CELLS)
    assert len(find_submissions(tmp_path / "anna" / "a1.ipynb")) == 1


ROWS = [
    {"submission": "anna.ipynb", "score": "3.5", "q1": "3.5", "q2, by hand, of 5": "2.5", "reason": 'said "a; b"'},
    {"submission": "Müller, Ö.ipynb", "score": "4", "q1": "4", "q2, by hand, of 5": "", "reason": ""},
]
ROWS = [{**row, "folder": "/course/a", "mark": f"{n}e5-{n}"} for n, row in enumerate(ROWS)]


def saved(delimiter=",", encoding="utf-8", quoting=csv.QUOTE_MINIMAL, ending="\r\n", change=lambda text: text):
    """The table as another program saves it."""
    file = io.StringIO()
    writer = csv.writer(file, delimiter=delimiter, quoting=quoting, lineterminator=ending)
    writer.writerow(ROWS[0])
    writer.writerows(row.values() for row in ROWS)
    return change(file.getvalue()).encode(encoding)


SAVED = {
    "as it was": saved(),
    "byte order mark": saved(encoding="utf-8-sig"),
    "semicolons": saved(";"),
    "semicolons, decimal commas": saved(";", change=lambda text: text.replace("3.5", "3,5").replace("2.5", "2,5")),
    "semicolons, byte order mark": saved(";", "utf-8-sig"),
    "tabs, UTF-16": saved("\t", "utf-16"),
    "Windows": saved(";", "cp1252"),
    "everything quoted": saved(quoting=csv.QUOTE_ALL),
    "numbers unquoted": saved(quoting=csv.QUOTE_NONNUMERIC),
    "other line ends": saved(ending="\n"),
    "old Macs' line ends": saved(ending="\r"),
    "blank lines and columns": saved(change=lambda text: text.replace("\r\n", ",,\r\n") + ",,,,,,,,\r\n\r\n"),
    "a first line that names the delimiter": b"sep=;\r\n" + saved(";"),
    "spaces around names": saved(change=lambda text: text.replace("submission,", " submission ,", 1)),
    "bars": saved("|"),
}


def test_the_table_survives_other_programs_and_another_group(tmp_path):
    with recorded("Handed in", "the table of points, saved by another program") as outcome:
        for name, content in SAVED.items():
            path = tmp_path / "grades.csv"
            path.write_bytes(content)
            new = {"submission": "anna.ipynb", "score": "1.5", "q1": "1.5", "q2, by hand, of 5": "", "reason": "new"}
            write_row(path, {**new, "folder": "/course/b", "mark": "9-9"}, {"anna.ipynb"})
            write_row(path, {**ROWS[0], "q2, by hand, of 5": "", "score": "4.0", "mark": "2-2"}, {"anna.ipynb"})
            rows, form = read_table(path)
            comma = "commas" in name or (";" in form.delimiter and form.decimal == ",")
            number = (lambda text: text.replace(".", ",")) if comma else (lambda text: text)
            kept = rows[0]["q2, by hand, of 5"].replace(",", ".") == "2.5" and rows[0]["score"] == number("4.0")
            kept &= rows[1]["submission"] == ROWS[1]["submission"] and rows[1]["mark"] == ROWS[1]["mark"]
            kept &= len(rows) == 3 and rows[2] | {"score": "", "q1": ""} == new | {
                "score": "", "q1": "", "folder": "/course/b", "mark": "9-9"
            }  # fmt: skip
            same = Form(form.delimiter) == Form(read_form(content))
            outcome.add(1, [] if kept and same else [f"{name}: {rows} {form}"])


def read_form(content):
    """The delimiter of a saved table, by counting."""
    text = content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "latin-1")
    return max(",;\t|", key=text.splitlines()[-1 if text.startswith("sep=") else 0].count)


def test_a_row_is_found_by_its_folder_or_what_was_handed_in():
    rows = [*ROWS, {"submission": "late.ipynb", "mark": "7-7"}]
    names = {"anna.ipynb", "new name.ipynb", "late.ipynb"}
    assert find_row(rows, "anna.ipynb", "/course/a", "other", names) == 0
    assert find_row(rows, "anna.ipynb", "/course/b", "other", names) is None  # another group's Anna
    assert find_row(rows, "new name.ipynb", "/course/a", "1e5-1", names) == 1  # renamed
    assert find_row(rows, "anna.ipynb", "/moved", "0e5-0", names) == 0  # the old folder is gone
    assert find_row(rows, "late.ipynb", "/course/b", "other", names) == 2  # a table without folders


KERAS_FILES = [{"floatx": kind} for kind in ("float16", "float64", "bfloat16")]
KERAS_FILES += [{"backend": name} for name in ("theano", "jax", "cntk", "")]
KERAS_FILES += [{"image_data_format": "channels_first"}, {"epsilon": 0.1}, {"floatx": 7}, {"backend": None}]


def test_settings_of_keras_are_named_with_their_file(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    for name in [name for name in sys.modules if name == "keras.config"]:
        monkeypatch.delitem(sys.modules, name)
    with recorded("Settings of other programs", "keras.json") as outcome:
        for content in KERAS_FILES:
            (tmp_path / "keras.json").write_text(json.dumps(content))
            name, told = next(iter(content)), ""
            try:
                check_keras_settings()
            except ConfigurationError as error:
                told = str(error)
            outcome.add(1, [] if name in told and str(tmp_path) in told else [f"{content}: {told}"])
    for content in ("{}", "no JSON", "[1]", '{"floatx": "float32", "image_dim_ordering": "th"}'):
        (tmp_path / "keras.json").write_text(content)
        check_keras_settings()  # as Keras itself: these change nothing
    monkeypatch.setenv("KERAS_BACKEND", "theano")
    with pytest.raises(ConfigurationError, match="KERAS_BACKEND"):
        check_keras_settings()
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    check_keras_settings()


# What a shell or make would run, expand or trip over.
PATHS = ["O'Neill", 'say "x"', "a b", "$HOME", "$$", "$(shell touch RAN)", "$(touch RAN)", "`touch RAN`", "a;touch RAN"]
PATHS += ["'; touch RAN; '", "a&touch RAN", "a|touch RAN", "#x", "%d", "a\\b", "é", "(x)", "*", "~", "-x", "a\nb", "\\"]


def test_nothing_of_a_path_is_run_by_make_or_a_shell(tmp_path):
    with recorded("Settings of other programs", "paths given to make") as outcome:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
        for name in PATHS if WHOLE_TABLE else PATHS[::2]:
            given = f"{tmp_path}/{name}"
            command = ["make", "-C", REPOSITORY, f"PYTHON={sys.executable}", "check-settings", f"DATASET={given}"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, check=False)
            shown = f"a path that does not exist ({given})" in done.stderr
            ran = (REPOSITORY / "RAN").exists() or (tmp_path / "RAN").exists()
            outcome.add(1, [] if shown and not ran and done.returncode else [f"{name!r}: {done.stdout}{done.stderr}"])


def test_every_recipe_of_the_makefile_reads_settings_from_the_environment():
    text = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    names = set(re.search(r"^SETTINGS := (.*)$", text, re.MULTILINE).group(1).split())
    names.remove("TENSORFLOW")  # looked at before: digits and points
    recipes = [line for line in text.splitlines() if line.startswith("\t")]
    assert not [line for line in recipes for name in names if f"$({name})" in line or f"${{{name}}}" in line]


# Tests of the package that bring what people have; `make test` runs them, the whole table counts them.
BROUGHT = {
    "pictures: depths, modes, endings, orientation, bands, pages, blank ones": (
        "test_folder.py",
        "kind_of_picture or turned_as or tiff or without_one_meaning or blank or other_shapes or unusable",
    ),
    "folders: sub-folders, parts, one class, scripts, links, left out": (
        "test_folder.py",
        "below_a_class or parts_of_a_split or fits or one_class or composed or official_names or sub_folders",
    ),
    "tables: names, endings, delimiters, encodings, units, placeholders, wrong lines": (
        "test_folder.py",
        "manifest or table_is_read or hours",
    ),
    "HDF5: written in part, virtual, open elsewhere, missing filter, changed in place, units": (
        "test_galaxy10.py",
        "not official_mirrors",
    ),
    "copies of real galaxies: turned, saved again, resized, shifted": ("test_copies.py", "real"),
}


@pytest.mark.skipif(not WHOLE_TABLE, reason="these are the package's own tests, which run beside this one")
@pytest.mark.parametrize("what", BROUGHT)
def test_what_people_bring_is_read_right_or_refused(what, tmp_path):
    name, words = BROUGHT[what]
    report = tmp_path / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-k", words, f"--junitxml={report}"]
    subprocess.run([*command, str(REPOSITORY / "tests" / "data" / name)], capture_output=True, check=False)
    (suite,) = ElementTree.parse(report).getroot()
    tests, failed, wrong, skipped = (int(suite.get(kind)) for kind in ("tests", "failures", "errors", "skipped"))
    with recorded("Brought", what) as outcome:
        outcome.add(tests - skipped - failed - wrong, [])
        outcome.add(failed + wrong, [f"{failed + wrong} of {tests} tests fail"] if failed + wrong else [])
