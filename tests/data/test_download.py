"""Downloads from a real server on this machine that misbehaves on purpose."""

import hashlib
import http.server
import os
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from galaxy_utils.data.download import download
from galaxy_utils.errors import ConfigurationError, DownloadError, StorageError

CONTENT = np.random.default_rng(1).bytes(3_000_000)
CHECKSUM = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT; each path is one way to misbehave. The server counts requests and keeps their headers."""

    def do_GET(self):
        requests = self.server.requests
        requests.append((self.path, self.headers.get("Range")))
        times = sum(path == self.path for path, _ in requests)
        content, cut, pause = CONTENT, None, 0
        wanted = self.headers.get("Range")
        if self.path == "/broken" or (self.path == "/broken-once" and times == 1):
            return self.send_error(503)
        if self.path == "/missing":
            return self.send_error(404)
        if self.path == "/redirect":
            self.send_response(302)
            self.send_header("Location", "http://files.invalid/elsewhere")
            return self.end_headers()
        if self.path == "/slow":
            pause = 0.8
        if self.path == "/wrong":
            content = CONTENT[:-1] + b"?"
        if self.path == "/endless":
            content = CONTENT * 2
        if self.path.startswith("/cut") and times < 4:
            cut = 700_000
        if self.path == "/always-cut":
            cut = 1000
        if self.path == "/stall" and times == 1:
            cut = 500_000
        start = 0
        if self.path == "/no-range":
            wanted = None
            cut = 1_000_000 if times == 1 else None
        if self.path == "/changed" and times == 1:
            content, cut = bytes(len(CONTENT)), 1_000_000
        if wanted:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                return self.send_error(416)
            if self.path == "/cut-wrong-part":
                start = 0
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        body = content[start:]
        if self.path != "/endless":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        time.sleep(pause)
        self.wfile.write(body[:cut])
        if self.path == "/stall" and cut:
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


def check_nothing_final(tmp_path):
    assert not (tmp_path / "galaxies.h5").exists()


def test_a_file_arrives_whole_and_is_not_fetched_twice(fetch, server):
    assert fetch("/plain").read_bytes() == CONTENT
    fetch("/plain")
    assert len(server.requests) == 1


def test_checksums_compare_in_either_case(fetch):
    assert fetch("/plain", checksum=CHECKSUM.upper()).read_bytes() == CONTENT


def test_a_cut_download_goes_on_where_it_stopped(fetch, server):
    assert fetch("/cut").read_bytes() == CONTENT
    ranges = [requested for _, requested in server.requests]
    assert ranges == [None, "bytes=700000-", "bytes=1400000-", "bytes=2100000-"]


def test_a_later_process_goes_on_too(fetch, server, tmp_path):
    with pytest.raises(DownloadError):
        fetch("/cut", attempts=2)
    check_nothing_final(tmp_path)
    (partial,) = tmp_path.glob("*.partial")
    assert partial.stat().st_size == 1_400_000
    assert fetch("/cut").read_bytes() == CONTENT
    assert server.requests[2][1] == "bytes=1400000-"
    assert not list(tmp_path.glob("*.partial*"))


def test_a_file_that_changed_on_the_server_comes_anew(fetch, server):
    assert fetch("/changed").read_bytes() == CONTENT
    assert [requested for _, requested in server.requests] == [None, "bytes=1000000-", None]


def test_a_redirect_away_from_https_is_not_followed(fetch, server):
    with pytest.raises(DownloadError, match="leads to http://files.invalid/elsewhere"):
        fetch("/redirect")
    assert len(server.requests) == 1


def test_a_server_that_ignores_range_makes_it_start_again(fetch, server):
    assert fetch("/no-range").read_bytes() == CONTENT
    assert [requested for _, requested in server.requests] == [None, "bytes=1000000-"]


def test_a_server_that_sends_another_part_is_not_believed(fetch):
    assert fetch("/cut-wrong-part").read_bytes() == CONTENT


def test_server_errors_are_tried_again_and_missing_files_are_not(fetch, server, tmp_path):
    assert fetch("/broken-once").read_bytes() == CONTENT
    (tmp_path / "galaxies.h5").unlink()
    with pytest.raises(DownloadError, match="404"):
        fetch("/missing")
    assert sum(path == "/missing" for path, _ in server.requests) == 1


def test_attempts_are_bounded_with_growing_pauses(fetch, server, tmp_path):
    start = time.monotonic()
    with pytest.raises(DownloadError, match=r"503.*\(4 attempts\)"):
        fetch("/broken", attempts=4, pause=0.1)
    assert len(server.requests) == 4
    assert 0.1 + 0.2 + 0.4 <= time.monotonic() - start < 5
    check_nothing_final(tmp_path)


def test_a_stalled_connection_counts_as_cut(fetch, server):
    assert fetch("/stall", timeout=0.3).read_bytes() == CONTENT
    assert [requested for _, requested in server.requests] == [None, "bytes=500000-"]


def test_a_trickle_counts_as_cut(tmp_path):
    """A server that sends a few bytes again and again never lets a read time out."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ended = threading.Event()

        def trickle():
            while not ended.is_set():
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(4096)
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n")
                    try:
                        while not ended.wait(0.05):
                            connection.sendall(b"x")
                    except OSError:
                        pass

        threading.Thread(target=trickle, daemon=True).start()
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        start = time.monotonic()
        with pytest.raises(DownloadError, match=r"only \d+ bytes in"):
            download([(address, CHECKSUM)], tmp_path / "f", size=len(CONTENT), attempts=2, pause=0.01, timeout=0.4)
        assert time.monotonic() - start < 5
        ended.set()


def test_wrong_content_goes_to_the_next_mirror_and_leaves_nothing(fetch, server, tmp_path):
    assert fetch("/wrong", "/plain").read_bytes() == CONTENT
    assert [path for path, _ in server.requests] == ["/wrong", "/plain"]
    (tmp_path / "galaxies.h5").unlink()
    with pytest.raises(DownloadError, match=f"not {CHECKSUM}"):
        fetch("/wrong")
    check_nothing_final(tmp_path)
    assert not list(tmp_path.glob("*.partial*"))


def test_an_old_piece_that_spoils_the_file_earns_a_fresh_start(fetch, server, tmp_path):
    (tmp_path / f"galaxies.h5.{CHECKSUM[:8]}.partial").write_bytes(b"spoilt" * 1000)
    assert fetch("/plain").read_bytes() == CONTENT
    assert [requested for _, requested in server.requests] == ["bytes=6000-", None]


def test_a_complete_piece_that_was_never_renamed_is_used(fetch, tmp_path):
    (tmp_path / f"galaxies.h5.{CHECKSUM[:8]}.partial").write_bytes(CONTENT)
    assert fetch("/plain").read_bytes() == CONTENT


def test_a_file_of_quite_another_size_is_refused(fetch, tmp_path):
    for path in ("/plain", "/endless"):
        with pytest.raises(DownloadError, match="instead of about|sent more than"):
            fetch(path, size=1_000_000)
        check_nothing_final(tmp_path)


def test_only_https_is_downloaded_from_except_on_this_machine(fetch, tmp_path):
    for address in ("http://example.org/a.h5", "ftp://example.org/a.h5", "http://127.0.0.1.example.org/a.h5"):
        with pytest.raises(ConfigurationError, match="https"):
            download([(address, CHECKSUM)], tmp_path / "f", size=1)


def test_a_full_disk_is_noticed_first(fetch, server):
    with pytest.raises(StorageError, match=r"no room[\s\S]*MiB free"):
        fetch("/plain", size=10**18)
    assert not server.requests


def test_offline_gives_one_error_that_says_what_to_do(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/galaxies.h5"
    # The port is closed now: nobody answers there.
    with pytest.raises(DownloadError) as caught:
        download(
            [(address, CHECKSUM)],
            tmp_path / "galaxies.h5",
            size=10,
            attempts=2,
            pause=0.01,
            alternative='load("simulated") needs no download.',
        )
    for words in (address, str(tmp_path / "galaxies.h5"), 'load("simulated") needs no download.', "2 attempts"):
        assert words in str(caught.value)


def test_two_processes_at_once_download_once(server, tmp_path):
    program = f"""
import pathlib
from galaxy_utils.data.download import download
mirrors = [({server.address + "/slow"!r}, {CHECKSUM!r})]
path = download(mirrors, pathlib.Path({str(tmp_path / "galaxies.h5")!r}), size={len(CONTENT)})
print(path.stat().st_size)
"""
    processes = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=os.environ.copy())
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=60)[0].strip() for process in processes]
    assert outputs == [str(len(CONTENT))] * 2
    assert len(server.requests) == 1


def test_the_official_file_says_where_to_put_it_by_hand(monkeypatch):
    from galaxy_utils.data import galaxy10
    from galaxy_utils.files import cache_folder

    # A disk without room is the one failure of the official download that needs no network.
    monkeypatch.setattr(galaxy10, "APPROXIMATE_BYTES", 10**18)
    with pytest.raises(StorageError) as caught:
        galaxy10.fetch_galaxy10()
    assert "DATASET=simulated" in str(caught.value)
    assert not list((cache_folder() / "galaxy10").glob("*.h5"))


def test_without_a_checksum_a_cut_file_is_begun_again(fetch, server):
    assert fetch("/cut", checksum=None).read_bytes() == CONTENT
    assert {requested for _, requested in server.requests} == {None}
