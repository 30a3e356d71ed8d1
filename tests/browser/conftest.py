"""A browser without a network, and a server on this machine that hands out the built book.

`GALAXY_UTILS_BOOK=_build/html` tests a book that is there already instead of building one in the smoke profile;
`CHROMIUM=/path/to/program` names another browser than the system's.
"""

import functools
import gzip
import http.server
import os
import sys
import threading
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "book" / "tools"))

from browser import BrowserError, launch

# Milliseconds: a machine that also trains networks is slow, and no test is about that.
PATIENCE = 120_000
TEXT = (".html", ".js", ".css", ".json", ".svg")


class _WebServer(http.server.SimpleHTTPRequestHandler):
    """What web hosts do: connections stay open, and text is compressed."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path = Path(self.translate_path(self.path))
        path = path / "index.html" if path.is_dir() else path
        content = path.read_bytes() if path.is_file() else b"not found"
        self.send_response(200 if path.is_file() else 404)
        if path.suffix in TEXT:
            content = gzip.compress(content)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Type", self.guess_type(str(path)))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments):
        """Say nothing: the test's own output is enough."""


@pytest.fixture(scope="session")
def html(request):
    """Folder with the pages of the book."""
    named = os.environ.get("GALAXY_UTILS_BOOK")
    if named:
        folder = Path(named).resolve()
        assert (folder / "index.html").exists(), f"There is no book in {folder}: `make book` builds one."
        return folder
    built = request.getfixturevalue("first_build")
    assert built["status"] == 0, built["output"]
    return built["html"]


@pytest.fixture(scope="session")
def pages(html):
    """Names of all pages, such as `"notebooks/01_meet_the_galaxies.html"`."""
    names = (path.relative_to(html) for path in html.rglob("*.html"))
    return sorted(name.as_posix() for name in names if "_static" not in name.parts)


@pytest.fixture(scope="session")
def site(html):
    """Address of the book, ending in a slash, on a server of this machine."""
    handler = functools.partial(_WebServer, directory=str(html))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="session")
def chromium():
    """The system's Chromium, headless, for which no other machine exists."""
    with sync_playwright() as playwright:
        try:
            browser = launch(playwright)
        except BrowserError as error:
            if os.environ.get("PAGES") == "all":
                raise  # `make pages` is asked for the table: without a browser there is none
            pytest.skip(str(error))
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium, site):
    """A function that opens a page of the book in a window of its own and returns Playwright's page."""
    contexts = []

    def open_it(name, width=1280, theme="light", **options):
        context = chromium.new_context(viewport={"width": width, "height": 800}, color_scheme=theme, **options)
        contexts.append(context)
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        page.goto(site + name, wait_until="load")
        return page

    yield open_it
    for context in contexts:
        context.close()
