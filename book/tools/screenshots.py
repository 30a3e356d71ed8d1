"""Take pictures of the built book, to look at it with one's own eyes.

    make screenshots                              # every page, at three widths, in both themes
    .venv/bin/python book/tools/screenshots.py glossary 04_   # only pages whose names contain one of these
    .venv/bin/python book/tools/screenshots.py --readme # the README's picture of the book

The pictures are whole pages with all folds open, in `_build/screenshots`, one folder for each width and theme.
"""

import argparse
import io
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY), str(Path(__file__).parent)]

from browser import FETCH_ALL_PICTURES, launch  # noqa: E402

from galaxy_utils.errors import ConfigurationError, GalaxyUtilsError  # noqa: E402

WIDTHS = (390, 1280, 1900)  # a phone, a laptop, a wide screen
THEMES = ("light", "dark")
HEIGHT = 900
# What the README shows: page, the section that is scrolled to, theme.
README_PAGES = (
    ("notebooks/01_meet_the_galaxies.html", "ten-kinds-of-galaxies", "light"),
    ("index.html", "deep-learning-on-galaxies", "dark"),
)
SIMULATED = "simulated survey (no real galaxy)"  # how `build.py` says in a book what it was computed from
README_PICTURE = REPOSITORY / "book" / "images" / "book.webp"


def take_all(browser, html, output, wanted=()):
    """Write a picture of every page, width and theme.

    Args:
        browser: Playwright's browser.
        html: Folder with the built book.
        output: Folder for the pictures.
        wanted: Parts of names; only pages whose names contain one of them are taken. Empty: all pages.

    Returns:
        The number of pictures.
    """
    pages = [path for path in sorted(html.rglob("*.html")) if "_static" not in path.relative_to(html).parts]
    pages = [path for path in pages if not wanted or any(name in path.stem for name in wanted)]
    for width in WIDTHS:
        for theme in THEMES:
            folder = output / f"{width}-{theme}"
            folder.mkdir(parents=True, exist_ok=True)
            context = browser.new_context(viewport={"width": width, "height": HEIGHT}, color_scheme=theme)
            for path in pages:
                page = context.new_page()
                _open(page, path.as_uri())
                page.evaluate("document.querySelectorAll('article details').forEach(fold => fold.open = true)")
                page.screenshot(path=folder / f"{path.stem}.jpg", full_page=True, type="jpeg", quality=85)
                page.close()
            context.close()
    return len(pages) * len(WIDTHS) * len(THEMES)


def take_readme(browser, html, target):
    """Write one picture of two pages side by side, as on a laptop's screen."""
    shots = []
    for name, section, theme in README_PAGES:
        page = browser.new_page(viewport={"width": 1000, "height": 800}, color_scheme=theme)
        _open(page, (html / name).as_uri())
        # Not by the address: what that names is highlighted.
        page.evaluate("section => document.getElementById(section).scrollIntoView()", section)
        shots.append(Image.open(io.BytesIO(page.screenshot())))
        page.close()
    gap = 16
    picture = Image.new("RGB", (sum(shot.width for shot in shots) + gap, shots[0].height), "white")
    picture.paste(shots[0], (0, 0))
    picture.paste(shots[1], (shots[0].width + gap, 0))
    picture.save(target, quality=85)


def _open(page, address):
    """Open a page and wait for all of its pictures."""
    page.goto(address, wait_until="load")
    page.evaluate(FETCH_ALL_PICTURES)


def _refuse_real_galaxies(html):
    """The README's picture is committed, and real galaxies belong to those who made their images."""
    if SIMULATED not in (html / "this_copy.html").read_text(encoding="utf-8"):
        raise ConfigurationError(
            "The README's picture shows simulated galaxies only.", where=html, remedy="build the book without DATASET=…"
        )


def main():
    """Command line: 0 when the pictures are there, 1 with a message when not."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pages", nargs="*", help="parts of names of pages; without any, all pages")
    parser.add_argument("--html", type=Path, default=REPOSITORY / "_build" / "html", help="the built book")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "_build" / "screenshots", help="where to write")
    parser.add_argument("--readme", action="store_true", help=f"write {README_PICTURE.relative_to(REPOSITORY)} instead")
    options = parser.parse_args()
    html = options.html.resolve()
    try:
        if not (html / "index.html").exists():
            raise ConfigurationError("There is no book to look at.", where=html, remedy="`make book` builds one")
        with sync_playwright() as playwright:
            browser = launch(playwright)
            if options.readme:
                _refuse_real_galaxies(html)
                take_readme(browser, html, README_PICTURE)
                print(f"Written: {README_PICTURE}")
            else:
                number = take_all(browser, html, options.output, options.pages)
                print(f"{number} pictures are in {options.output}")
            browser.close()
    except GalaxyUtilsError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
