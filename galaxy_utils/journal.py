"""A journal: a text file of JSON lines that only ever grows, and that shows when a line was changed afterwards.

Each line ends with a hash of itself and of the hash before, so one changed, removed or inserted line breaks the chain
from there on. Lines cut off at the very end are not noticed, unless the last hash stands somewhere else too.
"""

import hashlib
import json
import os
from pathlib import Path

from galaxy_utils.errors import DataError
from galaxy_utils.files import explain_read_errors, explain_write_errors, locked


def read_entries(path, *, holds_lock=False):
    """Return the entries of a journal; a file that does not exist has none.

    A process that was killed while it appended leaves a line without an end. Such a rest is cut off, with a message:
    its entry never was recorded.

    Args:
        path: Path of the journal.
        holds_lock: Whether the caller holds `locked(path)`.

    Returns:
        List of dictionaries, each with its `hash`.

    Raises:
        DataError: A line was changed after it was written.
    """
    lines, rest = _lines(path)
    if rest and holds_lock:
        _cut_off(path, rest)
    elif rest:
        # Half a line may also be one that another process is writing at this moment: it finishes before the lock opens.
        with locked(path):
            return read_entries(path, holds_lock=True)
    entries, previous = [], ""
    for number, line in enumerate(lines, start=1):
        entries.append(_unsealed(line, previous, f"{path}, line {number}"))
        previous = entries[-1]["hash"]
    return entries


def append_entry(path, entry):
    """Append one entry and wait until the disk has it; the caller holds `locked(path)`.

    Killed at any moment, this leaves the entry complete or as a rest that the next reader cuts off.

    Args:
        path: Path of the journal.
        entry: Dictionary that JSON can hold, without NaN and infinity.

    Raises:
        DataError: A line was changed after it was written.
        StorageError: The disk is full. What was written of the line is cut off by the next reader.
    """
    entries = read_entries(path, holds_lock=True)
    previous = entries[-1]["hash"] if entries else ""
    line = json.dumps({**entry, "hash": _hash(entry, previous)}, ensure_ascii=False, allow_nan=False)
    content = line.encode("utf-8") + b"\n"
    with explain_write_errors(path, len(content)), open(path, "ab") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _lines(path):
    """Return the complete lines and the bytes after the last line break."""
    if not Path(path).exists():
        return [], b""
    with explain_read_errors("The journal cannot be read.", path):
        content = Path(path).read_bytes()
    *lines, rest = content.split(b"\n")
    return lines, rest


def _cut_off(path, rest):
    os.truncate(path, os.path.getsize(path) - len(rest))
    print(f"{path}: cut off {len(rest):,} bytes of an entry whose writing was interrupted. It was never recorded.")


def _hash(entry, previous):
    text = json.dumps(entry, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256((previous + text).encode("utf-8")).hexdigest()


def _unsealed(line, previous, where):
    try:
        entry = json.loads(line)
        content = {name: value for name, value in entry.items() if name != "hash"}
        intact = entry["hash"] == _hash(content, previous)
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        intact = False
    if not intact:
        raise DataError(
            "This line was changed after it was written.",
            where=where,
            expected="a line that ends with the hash of itself and of the line before",
            remedy="restore the file from a copy; a record that can be edited proves nothing",
        )
    return entry
