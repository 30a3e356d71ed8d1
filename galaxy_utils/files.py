"""Where files live, and how they are written so that nothing is lost: temporary name first, rename last."""

import contextlib
import hashlib
import json
import os
import tempfile
from pathlib import Path

import platformdirs
from filelock import FileLock, Timeout


def cache_folder():
    """Folder for downloads, rendered surveys and prepared images; `GALAXY_UTILS_CACHE` overrides it."""
    return Path(os.environ.get("GALAXY_UTILS_CACHE") or platformdirs.user_cache_dir("galaxy_utils")).expanduser()


def artifacts_folder():
    """Folder for splits, checkpoints and reports; `GALAXY_UTILS_ARTIFACTS` overrides it."""
    return Path(os.environ.get("GALAXY_UTILS_ARTIFACTS") or "artifacts").expanduser()


@contextlib.contextmanager
def write_atomically(path):
    """Yield a temporary path beside `path`; rename it to `path` on success, remove it on failure.

    A reader sees either the old file or the complete new one, never half of it, even when the process is killed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        # mkstemp makes files only their owner can read; a finished file follows the user's own umask.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(path, waiting=None):
    """Hold the lock that belongs to `path`, across processes: one works, the others wait.

    Args:
        path: What is locked; the lock itself is a hidden file beside it, or one in the folder that the environment
            variable `GALAXY_UTILS_LOCKS` names, where files lie on a disk that knows no locks.
        waiting: Line to print when another process holds the lock; `None` waits in silence.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(_lock_file(path))
    try:
        lock.acquire(blocking=False)
    except Timeout:
        if waiting is not None:
            print(waiting, flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _lock_file(path):
    elsewhere = os.environ.get("GALAXY_UTILS_LOCKS")
    if not elsewhere:
        return path.with_name(f".{path.name}.lock")
    folder = Path(elsewhere)
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{hashlib.sha256(str(path.resolve()).encode()).hexdigest()}.lock"


def write_json(path, content):
    """Write `content` as readable JSON, atomically. NaN and infinity are refused: they are not JSON."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    with write_atomically(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
