"""What was handed in, under whatever name, ending, encoding or packing: each becomes code cells or a reason why not."""

import bz2
import codecs
import gzip
import io
import json
import lzma
import os
import re
import stat
import tarfile
import unicodedata
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from masters import AssignmentError

LARGEST, MOST_MEMBERS, DEEPEST = 200 * 2**20, 5000, 3  # bytes of a file or an unpacked archive; files; archives in each
CHECKPOINTS = ".ipynb_checkpoints"
# What programs leave behind and nobody hands in.
LITTER = {"__MACOSX", "__pycache__", ".git", ".OTTER_LOG", ".DS_Store", "Thumbs.db", "desktop.ini"}
# What may lie beside a notebook in a student's own folder without being an answer itself.
BESIDE = (".csv", ".json", ".jsonl", ".npy", ".npz", ".h5", ".hdf5", ".keras", ".fits", ".png", ".jpg", ".jpeg", ".gif")
BESIDE += (".svg", ".webp", ".txt", ".md", ".log", ".py", ".pyc", ".yml", ".yaml", ".toml", ".cfg", ".lock", ".zip")
KINDS = {
    b"%PDF": "a PDF",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"GIF8": "a picture",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive, which has to be unpacked by hand",
    b"Rar!": "a RAR archive, which has to be unpacked by hand",
    b"\xd0\xcf\x11\xe0": "an old Office document",
    b"\x89HDF": "an HDF5 file",
    b"{\\rtf": "a text document (RTF)",
    b"version https://git-lfs": "a pointer of Git LFS instead of the file",
}
BROKEN_ARCHIVE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError)
BROKEN_ARCHIVE += (RuntimeError, NotImplementedError, KeyError)  # what zipfile makes of a password and of new packers
BYTE_ORDER_MARKS = {codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32", codecs.BOM_UTF8: "utf-8-sig"}
BYTE_ORDER_MARKS |= {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
SCRIPT_CELL = re.compile(r"^# ?(?:In ?\[[ \d]*\]:?|%%.*)$", re.MULTILINE)


class NoNotebook(Exception):
    """A file is no notebook; the message says what it is instead."""


@dataclass(frozen=True)
class Submission:
    """One file that was handed in, loose or out of an archive.

    Attributes:
        name: What the table calls it: its path below the folder of submissions, in characters that any program reads.
        content: Its bytes; empty where they cannot be read.
        cells: Sources of its code cells, as a tuple.
        reason: Why there are none, if the file is no notebook; else empty.
    """

    name: str
    content: bytes
    cells: tuple = ()
    reason: str = ""

    @classmethod
    def of(cls, name, content, reason=""):
        """Make one of a file's bytes, or of the reason why they cannot be read."""
        try:
            return cls(name, content, () if reason else tuple(read_cells(content, name)), reason)
        except NoNotebook as error:
            return cls(name, content, (), str(error))


def find_submissions(folder):
    """Return `{name: Submission}`: everything that was handed in below a folder, or in one file.

    Archives are opened, also in each other. Left out is only what programs leave behind, and what lies beside a
    notebook: the same under another ending, and data in a folder with a single notebook.

    Raises:
        AssignmentError: There is nothing.
    """
    folder = Path(folder)
    found = {}
    for path, content, reason in _files(folder):
        for parts, one in _opened((*path,), content, reason):
            found[parts] = one
    for parts in [parts for parts, one in found.items() if CHECKPOINTS in parts]:
        place = parts[: parts.index(CHECKPOINTS)]
        if any(one.cells and other[: len(place)] == place and other != parts for other, one in found.items()):
            del found[parts]
    notebooks = {parts for parts, one in found.items() if one.cells or not one.reason}
    kept = {parts: one for parts, one in found.items() if not _is_beside(parts, parts in notebooks, notebooks)}
    if not kept:
        raise AssignmentError("There are no submissions.", where=folder, expected="notebooks, *.ipynb")
    named = {}
    for parts, one in sorted(kept.items()):
        name = readable_name(parts)
        while name in named:  # two names that look the same
            name += "′"
        named[name] = Submission(name, one.content, one.cells, one.reason)
    return named


def readable_name(parts):
    """Return a path as text that every program can write, and no spreadsheet takes for a formula."""
    name = "/".join(part for part in parts if part not in ("", "/", ".", "..")) or "?"
    name = os.fsencode(name).decode("utf-8", "backslashreplace")
    name = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in unicodedata.normalize("NFC", name))
    return f"./{name}" if name[0] in "=+-@" else name


def _is_beside(parts, is_notebook, notebooks):
    """Whether a file only accompanies a notebook."""
    own, suffix = PurePosixPath(parts[-1]), PurePosixPath(parts[-1]).suffix.lower()
    proper = {other for other in notebooks if PurePosixPath(other[-1]).suffix.lower() != ".py"} - {parts}
    if is_notebook and suffix != ".py":
        return False
    if "tests" in parts[:-1] and suffix == ".py":
        return any(other[: parts.index("tests")] == parts[: parts.index("tests")] for other in proper)
    if any(other[:-1] == parts[:-1] and PurePosixPath(other[-1]).stem == own.stem for other in proper):
        return True
    near = [sum(other[:depth] == parts[:depth] for other in proper) for depth in range(1, len(parts))]
    return suffix in BESIDE and 1 in near


def _files(folder):
    """Yield `(parts, content, reason)` of every file below a folder."""
    if folder.is_file():
        yield (folder.name,), *_content(folder)
        return
    seen = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        own = Path(place).relative_to(folder).parts
        folders[:] = sorted(name for name in folders if name not in LITTER)
        if (real := os.path.realpath(place)) in seen or not os.access(place, os.R_OK | os.X_OK):
            folders.clear()
            if real not in seen:
                yield (own or (".",)), b"", "the folder cannot be opened"
            continue
        seen.add(real)
        if own and not folders and not names:
            yield own, b"", "the folder is empty"
        for name in sorted(names):
            hidden = name.startswith("._") or (name.startswith(".") and not name.lower().endswith(".ipynb"))
            if name not in LITTER and not hidden:
                yield (*own, name), *_content(Path(place, name))


def _content(path):
    """Return a file's bytes and an empty reason, or no bytes and why there are none. Never waits, as a pipe would."""
    try:
        about = os.stat(path)
        if not stat.S_ISREG(about.st_mode):
            return b"", "this is a pipe or a device, no file"
        if about.st_size > LARGEST:
            return b"", f"the file is larger than {LARGEST // 2**20} MiB"
        return path.read_bytes(), ""
    except FileNotFoundError:
        return b"", "this is a link to a file that does not exist"
    except OSError as error:
        return b"", f"the file cannot be read: {error.strerror}"


def _opened(parts, content, reason, depth=0):
    """Yield `(parts, Submission)` of a file, or of what an archive holds; of that itself if it holds no notebook."""
    members, problem = (None, reason) if reason else _members(parts[-1], content)
    if members is None and not problem:
        yield parts, Submission.of(parts[-1], content)
        return
    inside = []
    for name, packed in members or ():
        own = PurePosixPath(name.replace("\\", "/")).parts
        if own and depth < DEEPEST and not LITTER.intersection(own) and not own[-1].startswith("._"):
            inside += _opened((*parts, *own), packed, "", depth + 1)
    if any(one.cells for _, one in inside):
        yield from inside
    else:
        holds = ", ".join(sorted("/".join(own[len(parts) :]) for own, _ in inside)[:5])
        problem = problem or f"an archive without a notebook; it holds {holds or 'nothing'}"
        yield parts, Submission(parts[-1], content, (), problem)


def _members(name, content):
    """Return `([(name, bytes)], "")` of an archive, `(None, "")` of what is none, `(None, reason)` of a bad one."""
    packed = {b"\x1f\x8b": gzip, b"BZh": bz2, b"\xfd7zXZ": lzma}
    packer = next((module for start, module in packed.items() if content.startswith(start)), None)
    try:
        if zipfile.is_zipfile(io.BytesIO(content)) and content[:2] == b"PK":
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                infos = [one for one in archive.infolist() if not one.is_dir()]
                if {"[Content_Types].xml", "mimetype"} & {one.filename for one in infos}:
                    return None, "no notebook: an Office document; the notebook itself is needed (.ipynb)"
                _check_size(len(infos), sum(one.file_size for one in infos))
                return [(one.filename, archive.read(one)) for one in infos], ""
        if content[257:262] == b"ustar" or packer:
            if packer:
                with packer.open(io.BytesIO(content)) as file:
                    content = file.read(LARGEST + 1)
                _check_size(1, len(content))
                if content[257:262] != b"ustar":  # a single file
                    return [(PurePosixPath(name).stem, content)], ""
            with tarfile.open(fileobj=io.BytesIO(content)) as archive:
                infos = [one for one in archive.getmembers() if one.isfile()]
                _check_size(len(infos), sum(one.size for one in infos))
                return [(one.name, archive.extractfile(one).read()) for one in infos], ""
    except BROKEN_ARCHIVE as error:
        return None, f"the archive cannot be opened: {error}"
    return None, ""


def _check_size(members, size):
    if members > MOST_MEMBERS or size > LARGEST:
        raise ValueError(f"{members:,} files, {size / 2**20:,.0f} MiB unpacked")


def read_cells(content, name=""):
    """Return the sources of a notebook's code cells, of any version and in any encoding; of a script, its parts.

    Args:
        content: The file's bytes.
        name: Its name. Only whether it ends in `.py` counts.

    Raises:
        NoNotebook: This is something else.
    """
    wanted = "; the notebook itself is needed (.ipynb, in Colab: File → Download)"
    if not content.strip(b"\0 \t\r\n"):
        raise NoNotebook("no notebook: the file is empty")
    for start, kind in KINDS.items():
        if content.startswith(start):
            raise NoNotebook(f"no notebook: {kind}{wanted}")
    text = decode(content).lstrip("\ufeff \t\r\n")
    if text.startswith("<"):
        raise NoNotebook(f"no notebook: a web page{wanted}")
    is_script = name.lower().endswith(".py")
    if is_script or (SCRIPT_CELL.search(text) and not text.startswith("{")):
        return [source.strip("\n") for source in SCRIPT_CELL.split(text) if source.strip()]
    if not text.startswith("{"):
        raise NoNotebook(f"no notebook: text that begins {text[:40]!r}{wanted}")
    try:
        book = json.loads(text, strict=False)
        cells = book["cells"] if "cells" in book else [cell for page in book["worksheets"] for cell in page["cells"]]
        codes = [cell for cell in cells if cell["cell_type"] == "code"]
        sources = [cell["source"] if "source" in cell else cell["input"] for cell in codes]
        return ["".join(source) for source in sources]
    except (ValueError, RecursionError) as error:
        cut = ". It seems to be cut off" if text.rstrip()[-1:] != "}" else ""
        raise NoNotebook(f"no notebook: damaged JSON: {error}{cut}; ask for the file once more") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise NoNotebook(f"no notebook: JSON without cells{wanted}") from error


def decode(content):
    """Return bytes as text, whichever program wrote them: with a byte order mark, UTF-8, -16, -32, or Windows'."""
    marked = [encoding for mark, encoding in BYTE_ORDER_MARKS.items() if content.startswith(mark)]
    for encoding in [*marked, "utf-8" if marked else json.detect_encoding(content[:4]), "cp1252"]:
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    return content.decode("latin-1")
