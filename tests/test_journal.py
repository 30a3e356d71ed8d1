"""The journal: complete or absent entries, whatever happens to the process; no change without a trace."""

import json
import signal
import subprocess
import sys

import pytest

from galaxy_utils.errors import DataError
from galaxy_utils.files import locked
from galaxy_utils.journal import append_entry, read_entries


def write(path, *texts):
    for text in texts:
        with locked(path):
            append_entry(path, {"text": text, "number": 0.1})


def texts(path):
    return [entry["text"] for entry in read_entries(path)]


def test_entries_come_back_and_stand_in_plain_lines(tmp_path):
    path = tmp_path / "journal.jsonl"
    assert read_entries(path) == []
    write(path, "grün", "two\nlines")
    assert texts(path) == ["grün", "two\nlines"]
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 2 and lines[0].startswith('{"text": "grün", "number": 0.1, "hash": "')
    write(path, "third")
    assert path.read_text(encoding="utf-8").splitlines()[:2] == lines


def test_wherever_the_last_line_is_cut_the_entries_before_it_remain(tmp_path, capsys):
    path = tmp_path / "journal.jsonl"
    write(path, "first")
    before = path.read_bytes()
    write(path, "second, grün")
    complete = path.read_bytes()
    for length in range(len(before), len(complete)):
        path.write_bytes(complete[:length])
        assert texts(path) == ["first"]
        assert path.read_bytes() == before
        said = capsys.readouterr().out
        assert (f"cut off {length - len(before)} bytes" in said) == (length > len(before))
        write(path, "second, grün")
        assert path.read_bytes() == complete


def test_an_entry_is_appended_after_the_rest_of_another_is_cut_off(tmp_path):
    path = tmp_path / "journal.jsonl"
    write(path, "first")
    with open(path, "ab") as file:
        file.write(b'{"text": "half of')
    write(path, "second")
    assert texts(path) == ["first", "second"]


def change_a_number(lines):
    lines[1] = lines[1].replace("0.1", "0.2")


def change_the_last(lines):
    lines[2] = lines[2].replace("third", "other")


def remove_one(lines):
    del lines[1]


def swap(lines):
    lines[0], lines[1] = lines[1], lines[0]


def insert_one(lines):
    lines.insert(1, json.dumps({"text": "smuggled"}))


def repeat_one(lines):
    lines.insert(1, lines[0])


def forge_one_hash(lines):
    entry = json.loads(lines[1])
    lines[1] = json.dumps({**entry, "text": "better", "hash": "0" * 64})


def no_json(lines):
    lines[1] = "\ufffd"


def no_object(lines):
    lines[1] = "[1, 2]"


@pytest.mark.parametrize(
    ("tamper", "line"),
    [
        (change_a_number, 2),
        (change_the_last, 3),
        (remove_one, 2),
        (swap, 1),
        (insert_one, 2),
        (repeat_one, 2),
        (forge_one_hash, 2),
        (no_json, 2),
        (no_object, 2),
    ],
)
def test_a_change_is_noticed_and_located(tmp_path, tamper, line):
    path = tmp_path / "journal.jsonl"
    write(path, "first", "second", "third")
    lines = path.read_text(encoding="utf-8").splitlines()
    tamper(lines)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=f"line {line}\n"):
        read_entries(path)
    with pytest.raises(DataError, match="changed after"):
        write(path, "fourth")


def test_what_json_lacks_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "journal.jsonl"
    write(path, "first")
    before = path.read_bytes()
    with pytest.raises(ValueError, match="JSON"), locked(path):
        append_entry(path, {"accuracy": float("nan")})
    assert path.read_bytes() == before


PROGRAM = """
import sys
from galaxy_utils.files import locked
from galaxy_utils.journal import append_entry
path, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
for number in range(count):
    with locked(path):
        append_entry(path, {"text": f"{name} {number}", "filling": "x" * 2000})
    print(number, flush=True)
"""


def start(path, name, count):
    command = [sys.executable, "-c", PROGRAM, str(path), name, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_processes_that_append_at_the_same_time_lose_nothing(tmp_path):
    path = tmp_path / "journal.jsonl"
    processes = [start(path, name, 40) for name in "abc"]
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    assert sorted(texts(path)) == sorted(f"{name} {number}" for name in "abc" for number in range(40))


def test_killed_at_any_moment_no_completed_entry_is_lost(tmp_path):
    path, promised = tmp_path / "journal.jsonl", []
    for attempt in range(6):
        with start(path, f"run {attempt}", 100_000) as process:
            for _ in range(3 + 7 * attempt):
                process.stdout.readline()
            process.send_signal(signal.SIGKILL)
            printed = 3 + 7 * attempt + len([line for line in process.stdout if line.endswith("\n")])
        promised += [f"run {attempt} {number}" for number in range(printed)]
        found = texts(path)
        assert [text for text in found if text in set(promised)] == promised
        assert len(found) <= len(promised) + attempt + 1  # One entry at most was complete but not yet announced.
