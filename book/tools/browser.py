"""The system's Chromium, for the tests that read the book and for `screenshots.py`. No browser is downloaded."""

import os
import shutil

from galaxy_utils.errors import GalaxyUtilsError

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Containers give it neither the rights for its sandbox nor a large /dev/shm. For it, no other machine exists.
OPTIONS = ("--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--disable-background-networking")
OPTIONS += ("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",)

# JavaScript: pictures are fetched when they come near the window; this fetches all of them, and waits.
FETCH_ALL_PICTURES = """
async () => {
  for (const image of document.images) image.loading = "eager";
  await Promise.all([...document.images].map(image => image.decode().catch(() => {})));
}
"""


class BrowserError(GalaxyUtilsError):
    """There is no browser to read the book with."""


def launch(playwright):
    """Start the browser, headless.

    Args:
        playwright: What `playwright.sync_api.sync_playwright` gives.

    Raises:
        BrowserError: This machine has no Chromium.
    """
    found = next(filter(None, map(shutil.which, (os.environ.get("CHROMIUM") or "", *PROGRAMS))), None)
    if not found:
        raise BrowserError(
            "There is no Chromium.",
            where="this machine",
            expected=f"a program called {' or '.join(PROGRAMS)}, or its path in the variable CHROMIUM",
            remedy="install one; Debian's package is called chromium",
        )
    return playwright.chromium.launch(executable_path=found, args=list(OPTIONS))
