"""Downloads from a real server on this machine that misbehaves on purpose."""

import contextlib
import hashlib
import http.server
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from galaxy_utils.data import galaxy10
from galaxy_utils.data.download import download
from galaxy_utils.errors import ConfigurationError, DownloadError, StorageError

CONTENT = np.random.default_rng(1).bytes(3_000_000)
CHECKSUM = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT; each path is one way to misbehave. The server keeps paths and ranges of all requests."""

    def do_GET(self):
        wanted, path = self.headers.get("Range"), self.path
        self.server.requests.append((path, wanted))
        times = sum(asked == path for asked, _ in self.server.requests)
        if path == "/broken" or (path == "/broken-once" and times == 1):
            return self.send_error(503)
        if path == "/missing":
            return self.send_error(404)
        if path == "/redirect":
            self.send_response(302)
            self.send_header("Location", "http://files.invalid/elsewhere")
            return self.end_headers()
        content = {"/wrong": CONTENT[:-1] + b"?", "/endless": CONTENT * 2}.get(path, CONTENT)
        first_cut = {"/stall": 500_000, "/no-range": 1_000_000, "/changed": 1_000_000}.get(path)
        cut = 700_000 if path.startswith("/cut") and times < 4 else first_cut if times == 1 else None
        if path == "/changed" and times == 1:
            content = bytes(len(CONTENT))
        start = 0
        if wanted and path != "/no-range":
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                return self.send_error(416)
            start = 0 if path == "/cut-wrong-part" else start
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        if path != "/endless":
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        time.sleep(0.8 if path == "/slow" else 0)
        self.wfile.write(content[start:][:cut])
        if path == "/stall" and cut:
            self.wfile.flush()
            self.server.released.wait(20)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        # Connections that the client gives up are the point here, not an error.
        server.handle_error = lambda *arguments: None
        server.requests, server.released = [], threading.Event()
        server.address = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.released.set()
        server.shutdown()


@pytest.fixture
def fetch(server, tmp_path):
    """Download from paths of the server, quickly; returns where the file should be."""

    def fetch(*paths, checksum=CHECKSUM, **options):
        mirrors = [(server.address + path, checksum) for path in paths]
        options = {"size": len(CONTENT), "pause": 0.01, "timeout": 5.0, **options}
        return download(mirrors, tmp_path / "galaxies.h5", **options)

    return fetch


@pytest.mark.parametrize(
    ("path", "piece", "ranges"),
    [
        ("/plain", b"", [None]),
        ("/cut", b"", [None, "bytes=700000-", "bytes=1400000-", "bytes=2100000-"]),
        ("/changed", b"", [None, "bytes=1000000-", None]),
        ("/no-range", b"", [None, "bytes=1000000-"]),
        ("/cut-wrong-part", b"", [None, "bytes=700000-", None, "bytes=700000-", None]),
        ("/stall", b"", [None, "bytes=500000-"]),
        ("/broken-once", b"", [None, None]),
        # What an earlier process has left: spoilt, or complete and never renamed.
        ("/plain", b"spoilt" * 1000, ["bytes=6000-", None]),
        ("/plain", CONTENT, ["bytes=3000000-"]),
    ],
)
def test_a_file_arrives_whole_from_where_it_was_cut_and_only_once(fetch, server, tmp_path, path, piece, ranges):
    if piece:
        (tmp_path / f"galaxies.h5.{CHECKSUM[:8]}.partial").write_bytes(piece)
    for _ in range(2):
        assert fetch(path, checksum=CHECKSUM.upper(), timeout=0.5 if path == "/stall" else 5.0).read_bytes() == CONTENT
    assert [requested for _, requested in server.requests] == ranges
    assert not list(tmp_path.glob("*.partial"))


def test_a_later_process_goes_on_and_without_a_checksum_begins_again(fetch, server, tmp_path):
    with pytest.raises(DownloadError):
        fetch("/cut", attempts=2)
    (partial,) = tmp_path.glob("*.partial")
    assert partial.stat().st_size == 1_400_000 and not (tmp_path / "galaxies.h5").exists()
    assert fetch("/cut").read_bytes() == CONTENT
    assert server.requests[2][1] == "bytes=1400000-"
    (tmp_path / "galaxies.h5").unlink()
    server.requests.clear()
    assert fetch("/cut", checksum=None).read_bytes() == CONTENT
    assert {requested for _, requested in server.requests} == {None}


@pytest.mark.parametrize(
    ("path", "options", "told", "requests"),
    [
        ("/missing", {}, "404", 1),
        ("/broken", {"attempts": 4, "pause": 0.1}, r"503.*\(4 attempts\)", 4),
        ("/redirect", {}, "leads to http://files.invalid/elsewhere", 1),
        ("/wrong", {}, f"not {CHECKSUM}", 1),
        ("/plain", {"size": 1_000_000}, "instead of about", 1),
        ("/endless", {"size": 1_000_000}, "sent more than", 1),
    ],
)
def test_what_will_not_do_leaves_nothing_and_the_next_mirror_is_taken(
    fetch, server, tmp_path, path, options, told, requests
):
    start = time.monotonic()
    with pytest.raises(DownloadError, match=told):
        fetch(path, **options)
    # The pauses grow: 0.1, 0.2, 0.4 seconds.
    assert time.monotonic() - start < 5 and (path != "/broken" or time.monotonic() - start > 0.7)
    assert len(server.requests) == requests and not (tmp_path / "galaxies.h5").exists()
    if "size" not in options:
        assert fetch(path, "/plain", **options).read_bytes() == CONTENT
        assert not list(tmp_path.glob("*.partial"))


def test_a_trickle_counts_as_cut(tmp_path):
    """A server that sends a few bytes again and again never lets a read time out."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ended = threading.Event()

        def trickle():
            while not ended.wait(0.01):
                with contextlib.suppress(OSError):
                    connection, _ = listener.accept()
                    with connection:
                        connection.recv(4096)
                        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n")
                        while not ended.wait(0.05):
                            connection.sendall(b"x")

        threading.Thread(target=trickle, daemon=True).start()
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        start = time.monotonic()
        with pytest.raises(DownloadError, match=r"only \d+ bytes in"):
            download([(address, CHECKSUM)], tmp_path / "f", size=len(CONTENT), attempts=2, pause=0.01, timeout=0.4)
        assert time.monotonic() - start < 5
        ended.set()


def test_only_https_is_downloaded_from_except_on_this_machine(tmp_path):
    for address in ("http://example.org/a.h5", "ftp://example.org/a.h5", "http://127.0.0.1.example.org/a.h5"):
        with pytest.raises(ConfigurationError, match="https"):
            download([(address, CHECKSUM)], tmp_path / "f", size=1)


def test_a_full_disk_is_noticed_first(fetch, server, monkeypatch):
    with pytest.raises(StorageError, match=r"no room[\s\S]*MiB free"):
        fetch("/plain", size=10**18)
    assert not server.requests
    # The official file says what works without it.
    monkeypatch.setattr(galaxy10, "APPROXIMATE_BYTES", 10**18)
    with pytest.raises(StorageError, match="DATASET=simulated"):
        galaxy10.fetch_galaxy10()


def test_offline_gives_one_error_that_says_what_to_do(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        mirrors = [(f"http://127.0.0.1:{listener.getsockname()[1]}/galaxies.h5", CHECKSUM)]
    # The port is closed now: nobody answers there.
    with pytest.raises(DownloadError) as caught:
        download(mirrors, tmp_path / "galaxies.h5", size=10, attempts=2, pause=0.01, alternative="Or do without.")
    for words in (mirrors[0][0], str(tmp_path / "galaxies.h5"), "Or do without.", "2 attempts"):
        assert words in str(caught.value)


def test_two_processes_at_once_download_once(server, tmp_path):
    program = f"""
import pathlib
from galaxy_utils.data.download import download
mirrors = [({server.address + "/slow"!r}, {CHECKSUM!r})]
path = download(mirrors, pathlib.Path({str(tmp_path / "galaxies.h5")!r}), size={len(CONTENT)})
print(path.stat().st_size)
"""
    command = [sys.executable, "-c", program]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate(timeout=60)[0].strip() for process in processes]
    assert outputs == [str(len(CONTENT))] * 2
    assert len(server.requests) == 1
