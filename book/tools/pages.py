"""Make Jupyter Book's pages self-contained, light and accessible, then check them.

Jupyter Book writes pages that fetch MathJax from another host, offer to fetch thebe, and hold pictures as heavy PNG
files without sizes. `finish_pages` rewrites them in place, after the rendering and before anybody sees them:

- equations become MathML, which browsers draw themselves: nothing is fetched, and screen readers can read it;
- scripts that only serve MathJax, thebe or icons are taken out (the theme's style sheet draws the same icons), and
  those of the interactive pieces on all pages but their own;
- the other scripts no longer hold up the first sight of the page;
- pictures become WebP, have their sizes written beside them, and are fetched when they come near the window;
- roles that contradict what is in the element are taken off, so that screen readers are not misled;
- the first mention of a word of the glossary leads there, and so does the first bold one;
- each page gets a description, and, where the book's address is known, says it and is listed in a sitemap.

`check_pages` refuses a book in which a page, an alternative text, a description or the target of a link is missing.
"""

import re
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote, urlsplit
from xml.etree.ElementTree import Element, ElementTree, SubElement

import yaml
from bs4 import BeautifulSoup, NavigableString
from math_core import LatexError, LatexToMathML
from PIL import Image

from galaxy_utils.errors import GalaxyUtilsError

# Scripts of other hosts, scripts that only wait to fetch from them, and 1.5 MB of icons that the style sheet has too.
UNWANTED_SOURCES = ("mathjax", "thebe", "fontawesome.js")
UNWANTED_CODE = ("window.MathJax", "THEBE_JS_URL", "kernelName =")
# Jupyter Book puts every script and style sheet of `_static` on every page; interactive pages name theirs themselves.
OWN_SOURCES = "_static/play"
# Pages that Sphinx adds to those of the table of contents.
ADDED_PAGES = ("genindex", "search")
# What Sphinx writes for MathJax: \(…\) in a line, \[…\] in a paragraph of its own.
EQUATION = re.compile(r"\s*\\([(\[])(.*)\\[)\]]\s*", re.DOTALL)
# A mark right after a formula; columns of a printed table; a number and its unit, or both sides of a product.
PUNCTUATION = re.compile(r"[^\s\w]+")
COLUMNS = re.compile(r"\S {2,}\S")
HELD = re.compile(r"\d %|\d × (?=\d)")
REPOSITORY = str(Path(__file__).resolve().parents[2])
GLOSSARY = "glossary"
WITHOUT_TERMS = (GLOSSARY, "bibliography", *ADDED_PAGES)
# Words of the glossary that also mean something else: only where they are bold do they lead there.
EVERYDAY_WORDS = {
    "baseline",
    "baselines",
    "batch",
    "features",
    "frozen",
    "hard",
    "hash",
    "head",
    "lazy",
    "leak",
    "leaks",
}
EVERYDAY_WORDS |= {"interval", "paired", "probe", "soft", "test", "training"}
# Where a word may become a link, and where not.
PROSE, NO_PROSE = {"p", "li"}, {"a", "code", "pre", "math", "summary", "table", "figcaption", "button"}
LARGEST_LOSSLESS = 200_000  # bytes; above, the difference from a picture of quality 90 is seen in the waiting only
LEAST_WORDS = 6  # an alternative text with fewer hardly says more than 'a plot'


class PageError(GalaxyUtilsError):
    """The rendered book is not fit to be read."""


class Page:
    """One HTML file of the book.

    Attributes:
        path: The file.
        name: Its path in the book, without the ending, such as `"notebooks/01_meet_the_galaxies"`.
    """

    def __init__(self, path, html):
        self.path = path
        self.name = path.relative_to(html).with_suffix("").as_posix()

    @cached_property
    def soup(self):
        """The parsed page."""
        return BeautifulSoup(self.path.read_text(encoding="utf-8"), "html.parser")

    @property
    def article(self):
        """The part that the author wrote; the search page has none of it."""
        return self.soup.find("article") or self.soup.new_tag("article")

    def write(self):
        """Write the page back."""
        self.path.write_text(str(self.soup), encoding="utf-8")


def read_pages(html):
    """Return every `Page` of a folder, in the order of their names."""
    return [Page(path, html) for path in sorted(html.rglob("*.html")) if "_static" not in path.relative_to(html).parts]


def finish_pages(html, site=""):
    """Rewrite all pages of a rendered book in place.

    Args:
        html: Folder with Jupyter Book's pages.
        site: Address under which they will lie, ending in a slash, or `""` where it is not known.

    Raises:
        PageError: An equation is not valid LaTeX, or uses a command that cannot become MathML.
    """
    pages = read_pages(html)
    problems, pictures = [], {}
    terms = read_terms(pages)
    for page in pages:
        remove_scripts(page.soup)
        defer_scripts(page.soup)
        problems += [f"{page.name}: {problem}" for problem in draw_equations(page.soup)]
        wrap_sentences(page.soup)
        lighten_pictures(page, html, pictures)
        mend_roles(page.soup)
        link_terms(page, terms)
        hold_units(page.soup)
        describe(page)
        if site:
            page.soup.head.append(page.soup.new_tag("link", rel="canonical", href=site + _address(page)))
        page.write()
    if problems:
        raise PageError("Some equations cannot be drawn.", where=html, found="\n    ".join(problems))
    for original, lightened in pictures.items():
        if original != lightened:
            original.unlink()
    if site:
        write_sitemap(pages, html, site)


def remove_scripts(soup):
    """Take out what would fetch something from another host, and what the pages do not use."""
    for script in soup.find_all("script"):
        source, code = script.get("src", ""), script.get_text()
        if (
            any(name in source for name in UNWANTED_SOURCES)
            or any(name in code for name in UNWANTED_CODE)
            or script.get("type") == "text/x-thebe-config"
        ):
            script.decompose()
    for link in soup.find_all("link", href=re.compile("thebe")):
        link.decompose()
    for element in soup.head.find_all(["script", "link"]):
        if OWN_SOURCES in (element.get("src") or element.get("href") or ""):
            element.decompose()


def defer_scripts(soup):
    """Let scripts of the head run, in their order, when the page is there; inline code needs the one that stays."""
    for script in soup.head.find_all("script", src=True):
        if "documentation_options.js" not in script["src"]:
            script["defer"] = "defer"
    # The theme asks for some early, ahead of the style sheets without which nothing is shown.
    for link in soup.head.find_all("link", rel="preload"):
        link.decompose()


def draw_equations(soup):
    """Replace the LaTeX that Sphinx leaves for MathJax by MathML.

    Returns:
        A list of the equations that are not valid, each with what is wrong.
    """
    converter = LatexToMathML(fancy_error=False)
    problems = []
    for text in soup.find_all(string=EQUATION):
        if "math" not in text.parent.get("class", ()):
            continue
        kind, latex = EQUATION.fullmatch(text).groups()
        # Sphinx puts equations of several lines into an environment that means the same as this one.
        latex = latex.strip().replace("{split}", "{aligned}")
        try:
            mathml = converter.convert_with_local_state(latex, displaystyle=kind == "[")
        except LatexError as error:
            problems.append(f"{latex}: {error}")
            continue
        if kind == "[":
            # On a phone, a long one scrolls: the keyboard must reach it for that.
            text.parent["tabindex"] = "0"
        formula, after = text.parent, text.parent.next_sibling
        text.replace_with(BeautifulSoup(mathml, "html.parser"))
        if kind == "(" and isinstance(after, NavigableString) and (mark := PUNCTUATION.match(after)):
            # A browser may begin a line with the full stop after a formula.
            after.replace_with(after[mark.end() :])
            formula.wrap(soup.new_tag("span", attrs={"class": "held"})).append(mark[0])
    return problems


def wrap_sentences(soup):
    """Let printed sentences break on a phone; printed tables keep their columns, and scroll."""
    for printed in soup.select("div.cell_output div.output pre"):
        if not any(COLUMNS.search(line) for line in printed.get_text().splitlines()):
            printed["class"] = [*printed.get("class", ()), "sentences"]


def hold_units(soup):
    """Keep a number and its per cent sign, and the sides of a product, on one line."""
    for text in soup.find_all(string=HELD):
        if not {parent.name for parent in text.parents} & {"pre", "code", "script", "style", "math"}:
            text.replace_with(HELD.sub(lambda found: found[0].replace(" ", "\N{NO-BREAK SPACE}"), text))


def lighten_pictures(page, html, done):
    """Turn pictures into WebP, say how large they are, and let them be fetched when they are nearly seen.

    Args:
        page: The `Page`.
        html: Folder of the book.
        done: {original file: light file}, filled here: several pages may show one picture.
    """
    for image in page.article.find_all("img"):
        image["decoding"] = "async"
        # The first one, too: it lies below the first screen, and must not hold up the style sheets.
        image["loading"] = "lazy"
        original = (page.path.parent / unquote(image["src"])).resolve()
        if original.suffix not in (".png", ".jpg", ".webp") or not (original in done or original.is_file()):
            continue  # such as one of another host, or one that is missing: `check_pages` says so
        if original not in done:
            done[original] = original if original.suffix == ".webp" else _as_webp(original)
        light = done[original]
        with Image.open(light) as picture:
            # The browser keeps the room free before the picture arrives: nothing on the page jumps.
            image["width"], image["height"] = picture.size
        image["src"] = image["src"].removesuffix(original.name) + light.name
        if image.parent.name == "a" and image.parent.get("href", "").endswith(original.name):
            image.parent["href"] = image["src"]


def _as_webp(original):
    """Write a picture beside the original as WebP; return the path of the smaller of the two."""
    light = original.with_suffix(".webp")
    with Image.open(original) as picture:
        # Drawings stay exactly as they are. Many galaxies in one picture are a photograph, and heavy.
        picture.save(light, lossless=True)
        if original.suffix == ".jpg" or light.stat().st_size > LARGEST_LOSSLESS:
            picture.save(light, quality=90)
    if light.stat().st_size < original.stat().st_size:
        return light
    light.unlink()
    return original


def mend_roles(soup):
    """Take off roles with which the bibliography breaks the rules of ARIA: a list whose children are no items."""
    for element in soup.find_all(role=["list", "doc-biblioentry"]):
        del element["role"]


def read_terms(pages):
    """Return {word in small letters: id of its entry} of the glossary, if the book has one."""
    entries = [entry for page in pages if page.name == GLOSSARY for entry in page.article.select("dl.glossary dt[id]")]
    # The first text of an entry is the word; the sign that links to the entry follows.
    return {entry.find(string=True).strip().lower(): entry["id"] for entry in entries}


def link_terms(page, terms):
    """Let the first mention of each word of the glossary lead to its entry, and the first bold one, which explains it.

    Words that also mean something else, such as *test*, are left alone where they are not bold.
    """
    if page.name in WITHOUT_TERMS or not terms:
        return
    glossary = "../" * page.name.count("/") + GLOSSARY + ".html"

    def link_to(word):
        return page.soup.new_tag("a", href=f"{glossary}#{terms[word]}", attrs={"class": "glossary-term"})

    longest_first = sorted(set(terms) - EVERYDAY_WORDS, key=len, reverse=True)
    words = "|".join(re.escape(word).replace("\\ ", r"\s+") for word in longest_first)
    mention = re.compile(rf"\b({words})s?\b", re.IGNORECASE)
    mentioned, explained = set(), set()
    for text in page.article.find_all(string=True):
        inside = {parent.name for parent in text.parents}
        if not inside & PROSE or inside & NO_PROSE or text.find_parent(class_="cell_output"):
            continue
        if bold := text.find_parent("strong"):
            word = _squeezed(bold.get_text())
            if word in terms and word not in explained:
                explained.add(word)
                mentioned.add(word)
                bold.wrap(link_to(word))
            continue
        pieces, done = [], 0
        for found in mention.finditer(text):
            word = _squeezed(found[1])
            if word not in mentioned:
                mentioned.add(word)
                link = link_to(word)
                link.string = found[0]
                pieces += [text[done : found.start()], link]
                done = found.end()
        if pieces:
            text.replace_with(*pieces, text[done:])


def _squeezed(text):
    return " ".join(text.split()).lower()


def describe(page):
    """Give a page the description that search engines show: its first sentences, unless it has one of its own."""
    if page.soup.head.find("meta", {"name": "description"}):
        return
    for paragraph in page.article.find_all("p"):
        text = " ".join(paragraph.get_text().split())
        if len(text.split()) >= 12:
            description = text if len(text) <= 200 else text[:200].rsplit(" ", 1)[0] + " …"
            page.soup.head.append(page.soup.new_tag("meta", attrs={"name": "description", "content": description}))
            return


def write_sitemap(pages, html, site):
    """List the pages for search engines (https://www.sitemaps.org/protocol.html): all that somebody wrote."""
    listing = Element("urlset", xmlns="http://www.sitemaps.org/schemas/sitemap/0.9")
    for page in pages:
        if page.name not in ADDED_PAGES:
            SubElement(SubElement(listing, "url"), "loc").text = site + _address(page)
    ElementTree(listing).write(html / "sitemap.xml", encoding="utf-8", xml_declaration=True)


def _address(page):
    """A page's address below that of the book; the landing page is the book itself."""
    return "" if page.name == "index" else f"{page.name}.html"


def check_pages(html, source):
    """Refuse a book in which something is missing, or that would fetch something from another host.

    Args:
        html: Folder with the finished pages.
        source: Folder from which Jupyter Book made them: the table of contents is in it.

    Raises:
        PageError: A page or notebook is missing or was not asked for, a picture has no alternative text, a link
            leads nowhere, headings skip a level, a cell failed, a caption has no picture, a page has no description,
            no page uses a word of the glossary, or something would come from another host.
    """
    expected = {*_listed_pages(source), *ADDED_PAGES}
    notebooks = {path.relative_to(source).with_suffix("").as_posix() for path in source.rglob("*.ipynb")}
    pages = {page.name: page for page in read_pages(html)}
    problems = [f"{name}: the page is missing" for name in sorted(expected - set(pages))]
    problems += [f"{name}: the page is not in the table of contents" for name in sorted(set(pages) - expected)]
    problems += [f"{name}: the notebook is not in the table of contents" for name in sorted(notebooks - expected)]
    targets = {page.path.resolve(): _targets(page) for page in pages.values()}
    for page in pages.values():
        found = [*_silent_pictures(page), *_foreign_addresses(page), *_dead_links(page, targets)]
        found += [*_skipped_headings(page), *_failures(page), *_captions_of_nothing(page)]
        if page.name not in ADDED_PAGES and not page.soup.head.find("meta", {"name": "description"}):
            found.append("it has no description: no paragraph of it is long enough")
        problems += [f"{page.name}: {problem}" for problem in found]
    problems += [f"{GLOSSARY}: no page leads to {word!r}" for word in _unused_terms(pages)]
    if problems:
        raise PageError("The rendered book is not complete.", where=html, found="\n    ".join(problems))


def _listed_pages(source):
    """Names of the pages that the table of contents lists."""
    contents = yaml.safe_load((source / "_toc.yml").read_text(encoding="utf-8"))
    entries = [entry for part in contents.get("parts", [contents]) for entry in part.get("chapters", ())]
    return [contents["root"], *(entry["file"] for entry in entries)]


def _unused_terms(pages):
    """Words of the glossary to whose entry no other page leads. An entry may have several words."""
    if GLOSSARY not in pages:
        return
    links = [link for page in pages.values() for link in page.article.select("a.glossary-term")]
    used = {link["href"].partition("#")[2] for link in links}
    for entry in pages[GLOSSARY].article.select("dl.glossary dd"):
        words = []
        for element in entry.find_previous_siblings(True):
            if element.name == "dd":
                break
            words.insert(0, element)
        if not used & {word.get("id") for word in words}:
            yield words[0].find(string=True).strip()


def _silent_pictures(page):
    for image in page.article.find_all("img"):
        alternative = image.get("alt", "")
        # Without metadata, Jupyter Book 1 takes the hashed name of the file as alternative text.
        if len(alternative.split()) < LEAST_WORDS:
            yield f"{image.get('src')} has no alternative text that tells what it shows: {alternative!r}"


def _foreign_addresses(page):
    """Whatever a browser fetches by itself; links that a reader may follow are none of it."""
    for element in page.soup.find_all(["script", "link", "img", "iframe", "source", "video", "audio", "object"]):
        address = element.get("src") or element.get("href") or element.get("data") or ""
        if urlsplit(address).netloc and element.get("rel") != ["canonical"]:
            yield f"{address} would be fetched from another host"


def _targets(page):
    return {element["id"] for element in page.soup.find_all(id=True)}


def _dead_links(page, targets):
    """Links and files that are not there, within the book."""
    for element in page.soup.find_all(href=True) + page.soup.find_all(src=True):
        address = element.get("href") or element.get("src")
        link = urlsplit(address)
        if link.scheme or link.netloc:
            continue
        path = (page.path.parent / unquote(link.path)).resolve() if link.path else page.path.resolve()
        # "#" alone is the top of the page.
        known = targets.get(path, set()) | {""}
        if not path.is_file() or (path in targets and unquote(link.fragment) not in known):
            yield f"{address} leads nowhere"


def _skipped_headings(page):
    levels = [int(heading.name[1]) for heading in page.article.find_all(re.compile("^h[1-6]$"))]
    if page.article.contents and levels.count(1) != 1:
        yield f"it has {levels.count(1)} headings of the first level instead of one"
    for before, after in zip(levels, levels[1:], strict=False):
        if after > before + 1:
            yield f"a heading of level {after} follows one of level {before}"


def _captions_of_nothing(page):
    """Jupyter Book gives a cell's caption to the first output that is not a stream, be it a picture or not."""
    for figure in page.article.find_all("figure"):
        if not figure.find(["img", "svg", "canvas", "video"]):
            yield f"a caption has no picture: {figure.get_text().strip()[:120]}"


def _failures(page):
    for failure in page.article.select(".output.traceback, .output.stderr, .admonition.error"):
        yield f"an error is shown: {failure.get_text().strip()[:200]}"
    for output in page.article.select(".cell_output .output"):
        if REPOSITORY in output.get_text():
            yield f"a path of this machine is shown: {output.get_text().strip()[:200]}"
