"""Servers that lie, stall and lead astray: bounded time, a clear message, the next mirror.

`tests/data/test_download.py` has more.
"""

import gzip
import hashlib
import re
import socket
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from harness import REPOSITORY, recorded

from galaxy_utils import pretrained
from galaxy_utils.data.download import download
from galaxy_utils.errors import ConfigurationError, DownloadError

CONTENT = np.random.default_rng(1).bytes(3_000_000)
CHECKSUM = hashlib.sha256(CONTENT).hexdigest()
# Seconds in which a server has to be given up, with three attempts and half a second of patience: two on a machine that
# does nothing else. The third attempt is for the good server, which a busy machine may keep from answering.
LONGEST = 60


def answer(body=CONTENT, status="200 OK", cut=None, **headers):
    """Return the bytes of an answer as they go over the wire; a header that is None is left out."""
    headers = {"Content-Length": len(body), "Content-Type": "application/octet-stream", **headers}
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items() if value is not None]
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode("ascii") + body[:cut]


PAGE = b"<html><title>Please sign in</title></html>"
# What a server sends before it closes the connection; a number is how many seconds it then says nothing instead.
ANSWERS = {
    "nothing at all": [b""],
    "silence": [b"", 3],
    "silence in the middle of a header": [b"HTTP/1.1 200 OK\r\nContent-Le", 3],
    "silence after the header": [answer(cut=0), 3],
    "silence near the end": [answer(cut=-10), 3],
    "noise": [np.random.default_rng(2).bytes(10_000)],
    "a header without an end": [b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000],
    "a cut in the middle": [answer(cut=1_000_000)],
    "a length that is too large": [answer(Content_Length=len(CONTENT) + 1000)],
    "a length that is too small": [answer(Content_Length=len(CONTENT) - 1000)],
    "a length that is no number": [answer(cut=-1, Content_Length="many")],
    "a length below zero": [answer(cut=-1, Content_Length=-5)],
    "two lengths": [answer(cut=-1, Content_Length=f"{len(CONTENT)}, 7")],
    "no length and a cut": [answer(cut=2_000_000, Content_Length=None)],
    "a web page": [answer(PAGE, Content_Type="text/html; charset=utf-8")],
    "a web page that calls itself data": [answer(PAGE)],
    "a wrong file of the right size": [answer(CONTENT[:-1] + bytes([CONTENT[-1] ^ 1]))],
    "zeros of the right size": [answer(bytes(len(CONTENT)))],
    "an empty file": [answer(b"")],
    "a packed file": [answer(gzip.compress(CONTENT), Content_Encoding="gzip")],
    "chunks without an end": [answer(b"fffff\r\n" + CONTENT[:1000], Content_Length=None, Transfer_Encoding="chunked")],
    "another part than none": [
        answer(CONTENT[1000:], "206 Partial Content", Content_Range="bytes 1000-2999999/3000000")
    ],
    "not found": [answer(PAGE, "404 Not Found")],
    "too many requests": [answer(PAGE, "429 Too Many Requests")],
    "an error of its own": [answer(PAGE, "500 Internal Server Error")],
    "a status that does not exist": [answer(PAGE, "999 Whatever")],
    "nothing has changed": [answer(b"", "304 Not Modified")],
    "a redirect to itself": [answer(b"", "302 Found", Location="/bad")],
    "a redirect to plain http": [answer(b"", "302 Found", Location="http://example.invalid/file")],
    "a redirect to a file here": [answer(b"", "302 Found", Location="file:///etc/passwd")],
    "a redirect to another protocol": [answer(b"", "301 Moved", Location="ftp://example.invalid/file")],
    "a redirect to no address": [answer(b"", "302 Found", Location="http://[::1")],
    "a redirect to nowhere": [answer(b"", "302 Found")],
}


@pytest.fixture
def mirrors():
    """A function that starts a server with an answer; returns its address and that of one that serves the file."""
    listeners, ended = [], threading.Event()

    def serve(listener, parts):
        while not ended.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=say, args=(connection, parts), daemon=True).start()

    def say(connection, parts):
        try:
            with connection:
                connection.recv(65536)
                for part in parts:
                    connection.sendall(part) if isinstance(part, bytes) else ended.wait(part)
        except OSError:
            pass

    def start(parts):
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)
        threading.Thread(target=serve, args=(listener, parts), daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield lambda parts: (start(parts) + "/bad", start([answer()]) + "/good")
    ended.set()
    for listener in listeners:
        listener.close()


@pytest.mark.parametrize("wrong", ANSWERS)
def test_the_next_mirror_is_taken(wrong, mirrors, tmp_path):
    bad, good = mirrors(ANSWERS[wrong])
    options = {"size": len(CONTENT), "attempts": 3, "pause": 0.01, "timeout": 0.5}
    with recorded("Servers", wrong) as outcome:
        start = time.monotonic()
        with pytest.raises(DownloadError) as caught:
            download([(bad, CHECKSUM)], tmp_path / "file.h5", **options)
        assert bad in str(caught.value) and "save it as" in str(caught.value)
        assert not (tmp_path / "file.h5").exists()
        path = download([(bad, CHECKSUM), (good, CHECKSUM)], tmp_path / "file.h5", **options)
        assert path.read_bytes() == CONTENT
        assert not list(tmp_path.glob("*.partial*"))
        seconds = time.monotonic() - start
        outcome.add(1, [f"{wrong}: {seconds:.0f} s"] if seconds > LONGEST else [])


@pytest.mark.parametrize("wrong", ["a web page", "a web page that calls itself data", "an empty file"])
def test_a_page_is_not_taken_for_a_file_without_a_known_checksum(wrong, mirrors, tmp_path):
    bad, _ = mirrors(ANSWERS[wrong])
    with pytest.raises(DownloadError, match="web page|instead of about"):
        download([(bad, None)], tmp_path / "file.h5", size=len(CONTENT), attempts=2, pause=0.01, timeout=0.5)
    assert not (tmp_path / "file.h5").exists()


# What a server says that never comes to an end, besides.
SLOW = {
    "a header, letter by letter": [b"HTTP/1.1 200 OK\r\nX: "] + [b"y", 0.2] * 100,
    "a file, letter by letter": [answer(cut=0)] + [b"y", 0.2] * 100,
}


@pytest.mark.parametrize("wrong", [*SLOW, *ANSWERS])
def test_weights_that_nobody_asked_for_keep_nobody_waiting(wrong, mirrors, tmp_path, monkeypatch):
    """Pretrained weights are tried once: seconds, a reason in a few words, and the page does without them."""
    bad, _ = mirrors({**ANSWERS, **SLOW}[wrong])
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delenv("GALAXY_UTILS_WEIGHTS", raising=False)
    monkeypatch.setattr(pretrained, "WEIGHTS_FOLDER", bad.removesuffix("bad"))
    monkeypatch.setitem(pretrained.BACKBONES, "file", pretrained.Backbone("F", "tf", "bad", CHECKSUM, len(CONTENT)))
    monkeypatch.setitem(pretrained.TRIED_ONCE, "timeout", 0.5)
    with recorded("Servers", "pretrained weights that nobody asked for") as outcome:
        start = time.monotonic()
        path, reason = pretrained.look_for_weights("file", 96)
        assert path is None and len(reason) < 200 and "\n" not in reason
        assert re.match(r"127\.0\.0\.1:\d+, where Keras keeps them: .", reason), reason
        seconds = time.monotonic() - start
        outcome.add(1, [f"{wrong}: {seconds:.0f} s"] if seconds > 10 else [])
    monkeypatch.setenv("GALAXY_UTILS_WEIGHTS", "none")
    assert pretrained.look_for_weights("file", 96) == (None, "")


def test_a_name_that_is_never_resolved_keeps_nobody_waiting(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delenv("GALAXY_UTILS_WEIGHTS", raising=False)
    monkeypatch.setitem(pretrained.TRIED_ONCE, "timeout", 0.2)
    released = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments, **options: released.wait(60) and [])
    start = time.monotonic()
    path, reason = pretrained.look_for_weights("mobilenetv2", 96)
    released.set()
    assert path is None and "no answer within 0.2 s" in reason
    assert time.monotonic() - start < 10


@pytest.mark.parametrize(
    "address",
    ["http://example.invalid/f", "HTTP://example.invalid/f", "ftp://example.invalid/f", "file:///etc/passwd", "//x/f"]
    + ["http://127.0.0.1.example.invalid/f", "http://localhost@example.invalid/f", "http://[::1", "", "https//x"],
)
def test_no_address_but_https(address, tmp_path):
    with recorded("Servers", "addresses that are not https") as outcome:
        with pytest.raises(ConfigurationError, match="https"):
            download([(address, CHECKSUM)], tmp_path / "f", size=1)
        outcome.add(1, [])


def test_no_path_reaches_plain_http_for_code_or_weights():
    """Every address in the package and in the builds is https, and only `download` fetches."""
    allowed = re.compile(
        r"https?://(127\.0\.0\.1|localhost|www\.w3\.org|www\.sitemaps\.org/schemas)|http://\.\.\.|http://json-schema"
    )
    paths = [*REPOSITORY.glob("galaxy_utils/**/*.py"), *REPOSITORY.glob("book/**/*.py"), REPOSITORY / "Makefile"]
    paths += [*REPOSITORY.glob(".github/**/*.yml"), REPOSITORY / "requirements.lock", REPOSITORY / "environment.yml"]
    for path in paths:
        text = path.read_text(encoding="utf-8")
        plain = [found.group() for found in re.finditer(r"http://[^\s\"')]*", text) if not allowed.match(found.group())]
        assert not plain, f"{path}: {plain}"
        if path.is_relative_to(REPOSITORY / "galaxy_utils") and path.name != "download.py":
            for word in (
                "requests.get",
                "urlopen",
                "urlretrieve",
                "get_file(",
                "tarfile",
                "unpack_archive",
                "extractall",
            ):
                assert word not in text, f"{path}: {word}"


def test_no_archive_is_unpacked_to_names_of_its_own(tmp_path):
    """Archives of arrays are read member by member into memory; what a member is called is nowhere a path."""
    from galaxy_utils.arrays import read_arrays

    np.savez(tmp_path / "a.npz", **{"../../outside": np.zeros(3), "/etc/outside": np.zeros(3)})
    before = sorted(Path(tmp_path).parent.rglob("*"))
    assert sorted(read_arrays(tmp_path / "a.npz")) == ["../../outside", "/etc/outside"]
    assert sorted(Path(tmp_path).parent.rglob("*")) == before
