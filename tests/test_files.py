import json
import os
import signal
import subprocess
import sys

import pytest

from galaxy_utils.errors import DataError, StorageError
from galaxy_utils.files import artifacts_folder, cache_folder, explain_read_errors, locked, write_atomically, write_json


def test_variables_decide_where_files_live(tmp_path, monkeypatch):
    assert cache_folder() == tmp_path / "cache" and artifacts_folder() == tmp_path / "artifacts"
    monkeypatch.setenv("GALAXY_UTILS_CACHE", "~/elsewhere")
    assert str(cache_folder()) == os.path.expanduser("~/elsewhere")
    monkeypatch.delenv("GALAXY_UTILS_CACHE")
    monkeypatch.delenv("GALAXY_UTILS_ARTIFACTS")
    assert cache_folder().name == "galaxy_utils" and str(artifacts_folder()) == "artifacts"


def test_a_file_appears_complete_with_the_users_permissions(tmp_path):
    path = tmp_path / "new" / "file.txt"
    with write_atomically(path) as temporary:
        temporary.write_text("complete")
        assert not path.exists() and temporary.parent == path.parent
    assert path.read_text() == "complete"
    plain = tmp_path / "plain.txt"
    plain.touch()
    assert path.stat().st_mode == plain.stat().st_mode
    assert list(path.parent.iterdir()) == [path]


def test_a_failure_leaves_the_old_file_and_no_rest(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), write_atomically(path) as temporary:
        temporary.write_text("half of the n")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_who_reads_the_old_file_reads_it_to_its_end(tmp_path):
    path = tmp_path / "page.txt"
    path.write_text("old")
    with open(path) as reader:
        with write_atomically(path) as temporary:
            temporary.write_text("new")
        assert (reader.read(), path.read_text()) == ("old", "new")


def test_a_killed_writer_leaves_the_old_file_and_its_lock_is_free(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    program = f"""
import time
from galaxy_utils.files import locked, write_atomically
with locked({str(path)!r}), write_atomically({str(path)!r}) as temporary:
    temporary.write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "writing\n"
        process.send_signal(signal.SIGKILL)
    assert path.read_text() == "old"
    with locked(path):
        pass


def test_a_lock_makes_another_process_wait(tmp_path):
    path = tmp_path / "file.txt"
    program = f"""
from galaxy_utils.files import locked
print("started", flush=True)
with locked({str(path)!r}):
    print(open({str(path)!r}).read())
"""
    with locked(path):
        process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "started\n"
        path.write_text("finished")
    assert process.communicate(timeout=30)[0] == "finished\n"


def test_json_is_readable_and_refuses_what_json_lacks(tmp_path):
    path = tmp_path / "report.json"
    write_json(path, {"colour": "grün", "numbers": [1, 2.5]})
    assert json.loads(path.read_text(encoding="utf-8")) == {"colour": "grün", "numbers": [1, 2.5]}
    assert "grün" in path.read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"accuracy": float("nan")})
    assert json.loads(path.read_text(encoding="utf-8"))["numbers"] == [1, 2.5]


def test_what_a_killed_writer_left_goes_with_the_next_lock(tmp_path):
    left, others = tmp_path / ".a.x1_bcdef.partial", [tmp_path / ".a.json.x1_bcdef.partial", tmp_path / "a.partial"]
    for path in (left, *others):
        path.touch()
    with locked(tmp_path / "a"):
        assert not left.exists() and all(path.exists() for path in others)


def test_a_disk_without_room_is_noticed_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setenv("GALAXY_UTILS_CACHE", str(tmp_path))
    with pytest.raises(StorageError, match="no room") as caught, write_atomically(tmp_path / "new" / "a", size=2**60):
        raise AssertionError("the writing began")
    assert "set GALAXY_UTILS_CACHE" in str(caught.value) and not list((tmp_path / "new").iterdir())


def test_a_file_where_a_folder_should_be_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot be written") as caught:
        write_json(tmp_path / "file" / "a.json", {})
    assert str(tmp_path / "file" / "a.json") in str(caught.value)


def test_whatever_a_library_says_of_a_file_becomes_one_error(tmp_path):
    for error in (KeyError("key"), MemoryError(), RecursionError("deep"), ValueError("x" * 5000)):
        with (
            pytest.raises(DataError, match="It cannot be read") as caught,
            explain_read_errors("It cannot be read.", "f"),
        ):
            raise error
        assert type(error).__name__ in str(caught.value) and len(str(caught.value)) < 700
    with pytest.raises(DataError, match="folder or a device"), explain_read_errors("It cannot be read.", tmp_path):
        raise AssertionError("the reading began")
