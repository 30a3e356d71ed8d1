"""Where files live, and how they are written so that nothing is lost: temporary name first, rename last."""

import contextlib
import errno
import glob
import hashlib
import json
import os
import re
import secrets
import shutil
import tempfile
from pathlib import Path

import platformdirs
from filelock import FileLock

from galaxy_utils.errors import DataError, GalaxyUtilsError, StorageError

# What the system says when a disk, a quota or the largest allowed file is full, and when a folder takes no files.
# Not every system knows a quota.
FULL = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))
CLOSED = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST)
CLOSED += (errno.ENOTCONN, errno.EIO, errno.ESTALE)  # of a Drive that is away
ELSEWHERE = "set GALAXY_UTILS_CACHE or GALAXY_UTILS_ARTIFACTS to a folder elsewhere"


def cache_folder():
    """Folder for downloads, rendered surveys and prepared images; `GALAXY_UTILS_CACHE` overrides it."""
    return Path(os.environ.get("GALAXY_UTILS_CACHE") or platformdirs.user_cache_dir("galaxy_utils")).expanduser()


def artifacts_folder():
    """Folder for splits, checkpoints and reports; `GALAXY_UTILS_ARTIFACTS` overrides it."""
    return Path(os.environ.get("GALAXY_UTILS_ARTIFACTS") or "artifacts").expanduser()


@contextlib.contextmanager
def write_atomically(path, size=None):
    """Yield a temporary path beside `path`; rename it to `path` on success, remove it on failure.

    A reader sees either the old file or the complete new one, never half of it, even when the process is killed. What
    a killed process leaves under a temporary name is removed by the next that holds `locked(path)`.

    Args:
        path: The file.
        size: About how many bytes it will have; `None` where that is not known. Room for it is made sure of first.

    Raises:
        StorageError: The disk is or becomes full, or the folder cannot be written to.
    """
    path = Path(path)
    with explain_write_errors(path, size):
        path.parent.mkdir(parents=True, exist_ok=True)
        if size is not None:
            check_free_space(path, size)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
        # Other than those of `tempfile`, this file has the permissions that the user's umask gives.
        temporary.touch()
        try:
            yield temporary
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def check_free_space(path, needed, alternative=""):
    """Make sure that there is room for a file before its writing starts.

    Args:
        path: The file; it or its folder need not exist.
        needed: Bytes.
        alternative: A line for the error message: what works without this file.

    Raises:
        StorageError: There is no room.
    """
    if _free_space(path) < needed:
        raise _full(path, needed, alternative)


def _free_space(path):
    return shutil.disk_usage(next(folder for folder in Path(path).absolute().parents if folder.is_dir())).free


@contextlib.contextmanager
def explain_write_errors(path, size=None):
    """Turn what the system says of a full disk or a closed folder into an error that says what to do.

    Args:
        path: The file that is being written.
        size: About how many bytes it will have; `None` where that is not known.

    Raises:
        StorageError: Instead of an `OSError`, or of what HDF5 makes of one.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        if isinstance(error, StorageError):
            raise
        number = _number(error)
        if number in FULL:
            raise _full(path, size) from error
        if number in CLOSED:
            remedy = f"{ELSEWHERE}, or make its folder writable"
            raise StorageError("This file cannot be written.", where=path, found=error, remedy=remedy) from error
        raise


def _number(error):
    """Return the system's number of an error, or `None`."""
    # HDF5 writes the number into its message, and raises another kind of error when it closes a file.
    told = re.search(r"errno = (\d+)", str(error))
    return getattr(error, "errno", None) or (int(told.group(1)) if told else None)


def _is_full(error):
    """Whether an error, or one that it followed from, says that a disk is full."""
    while error is not None:
        # Python finds no folder for temporary files where each that it tries is full.
        no_folder = isinstance(error, FileNotFoundError) and "usable temporary" in str(error)
        if no_folder or (isinstance(error, (OSError, RuntimeError)) and _number(error) in FULL):
            return True
        error = error.__cause__ or error.__context__
    return False


def _full(path, needed, alternative=""):
    problem, expected = f"The disk has no room for {Path(path).name}.", needed and f"{needed / 2**20:,.1f} MiB free"
    found = f"{_free_space(path) / 2**20:,.1f} MiB free, or as much as your quota leaves of it"
    remedy = f"free some space, or {ELSEWHERE}. {alternative}".strip(" .")
    return StorageError(problem, where=Path(path).parent, expected=expected, found=found, remedy=remedy)


def _cannot_unpack(path):
    # `gettempdir` would try to write, and raise.
    folder = Path(tempfile.tempdir or path.absolute().parent)
    found = f"{_free_space(folder / path.name) / 2**20:,.1f} MiB free, or as much as your quota leaves of it"
    remedy = "free some space, or set TMPDIR to a folder elsewhere"
    return StorageError(f"The disk has no room to unpack {path.name}.", where=folder, found=found, remedy=remedy)


@contextlib.contextmanager
def locked(path):
    """Hold the lock that belongs to `path`, across processes: one works, the others wait.

    Whoever holds the lock is the only one to write `path`. So what lies beside it under a temporary name was left by a
    process that was killed, and is removed.

    Args:
        path: What is locked; the lock itself is a hidden file beside it, or one in the folder that the environment
            variable `GALAXY_UTILS_LOCKS` names, where files lie on a disk that knows no locks.

    Raises:
        StorageError: The folder cannot be written to.
    """
    path = Path(path)
    with explain_write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(_lock_file(path))
        lock.acquire()
    try:
        for leftover in path.parent.glob(f".{glob.escape(path.name)}.????????.partial"):
            leftover.unlink(missing_ok=True)
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


@contextlib.contextmanager
def explain_read_errors(problem, path, *, expected=None, remedy=None):
    """Turn whatever a library says of a damaged file, or of one from elsewhere, into one error that says what to do.

    Libraries that are given bytes which nobody meant for them raise nearly anything: hence all exceptions.

    Args:
        problem: One sentence that says what cannot be read.
        path: The file. A folder or a device of that name is refused: reading from a device may never end.
        expected: What would have been right.
        remedy: What the reader can do next.

    Raises:
        DataError: Instead of any exception that is not one of this package's own.
        StorageError: The disk is full: libraries unpack some files before they read them.
    """
    path = Path(path)
    details = {"where": path, "expected": expected, "remedy": remedy}
    if path.exists() and not path.is_file():
        raise DataError(problem, **details, found="a folder or a device, no file")
    try:
        yield
    except GalaxyUtilsError:
        raise
    except Exception as error:
        if _is_full(error):
            raise _cannot_unpack(path) from error
        raise DataError(problem, **details, found=f"{type(error).__name__}: {str(error)[:500]}") from error


def write_json(path, content):
    """Write `content` as readable JSON, atomically. NaN and infinity are refused: they are not JSON."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with locked(path), write_atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
