"""What is done to Jupyter Book's pages before they are published, and what is refused, on a book of two pages."""

import runpy
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from galaxy_utils.errors import GalaxyUtilsError

REPOSITORY = Path(__file__).resolve().parents[2]
HEAD = """<script src="_static/documentation_options.js"></script><script src="_static/doctools.js"></script>
<script>window.MathJax = {}</script><script src="https://elsewhere.example/mathjax@3/tex.js" defer="defer"></script>
<script>const THEBE_JS_URL = "https://elsewhere.example"</script><link href="_static/sphinx-thebe.css"/>
<script src="_static/play/play_network.js"></script><link href="_static/play/play_network.css"/>"""
ALTERNATIVE = "Four galaxies: two smooth, two with spiral arms."
ARTICLE = """<h1 id="top">Galaxies<a href="#top">#</a></h1><h2>Equations</h2>
<p>With <span class="math notranslate">\\(\\varepsilon = 0.1\\)</span> a label says less than everything.</p>
<div class="math notranslate"><span class="eqno">(1)</span>
\\[\\begin{split}a &amp;= b \\\\ c &amp;= d\\end{split}\\]</div>
<p>This is the first paragraph that is long enough to tell what the whole page is about.</p>
<img alt="ALTERNATIVE" src="_images/drawing.png"/><img alt="ALTERNATIVE" src="_images/sky.png"/>
<a href="search.html">Search</a> <a href="https://elsewhere.example">elsewhere</a>""".replace(
    "ALTERNATIVE", ALTERNATIVE
)


@pytest.fixture(scope="module")
def pages():
    """The module `book/tools/pages.py`."""
    return runpy.run_path(str(REPOSITORY / "book" / "tools" / "pages.py"))


@pytest.fixture
def book(tmp_path):
    """A function that writes a book of one chapter with this article; returns its HTML and its source."""
    html, source = tmp_path / "html", tmp_path / "source"

    def write(article=ARTICLE):
        for folder in (html / "_static", html / "_images", source):
            folder.mkdir(parents=True, exist_ok=True)
        (source / "_toc.yml").write_text("format: jb-book\nroot: index\n")
        for name in ("documentation_options.js", "doctools.js"):
            (html / "_static" / name).touch()
        drawing = np.zeros((40, 60, 3), np.uint8)
        drawing[10:20] = 200
        Image.fromarray(drawing).save(html / "_images" / "drawing.png")
        noise = np.random.default_rng(1).integers(0, 256, (400, 500, 3), np.uint8)
        Image.fromarray(noise).save(html / "_images" / "sky.png")
        page = "<!DOCTYPE html>\n<html><head>{}</head><body><article>{}</article></body></html>"
        (html / "index.html").write_text(page.format(HEAD, article))
        for name in ("search", "genindex"):
            (html / f"{name}.html").write_text(page.format("", ""))
        return html, source

    return write


def finished(pages, html):
    pages["finish_pages"](html)
    return pages["read_pages"](html)[1].soup


def test_a_sound_book_passes_and_fetches_nothing(pages, book):
    html, source = book()
    soup = finished(pages, html)
    pages["check_pages"](html, source)
    assert [script["src"] for script in soup.find_all("script")] == [
        "_static/documentation_options.js",
        "_static/doctools.js",
    ]
    assert soup.find("link") is None
    assert soup.find("meta", {"name": "description"})["content"].startswith("This is the first paragraph")


def test_what_interactive_pages_need_is_loaded_by_them_alone(pages, book):
    """Jupyter Book names all scripts of `_static` in the head of every page; pages name their own in their text."""
    html, source = book(ARTICLE + '<script src="_static/play/play_map.js" defer></script>')
    (html / "_static" / "play").mkdir()
    for name in ("play_map.js", "play.css"):
        (html / "_static" / "play" / name).touch()
    page = (html / "index.html").read_text()
    head = '<head><script src="_static/play/play_map.js?v=1"></script>'
    head += '<link rel="stylesheet" href="_static/play/play.css?v=1"/>'
    (html / "index.html").write_text(page.replace("<head>", head))
    soup = finished(pages, html)
    pages["check_pages"](html, source)
    assert "_static/play" not in str(soup.head)
    assert soup.article.find("script")["src"] == "_static/play/play_map.js"


def test_with_an_address_pages_say_it_and_a_sitemap_lists_them(pages, book):
    html, source = book()
    pages["finish_pages"](html)
    assert not (html / "sitemap.xml").exists()
    html, source = book()
    pages["finish_pages"](html, "https://school.example/galaxies/")
    pages["check_pages"](html, source)
    listed = ElementTree.parse(html / "sitemap.xml").getroot()
    assert [page.findtext("{*}loc") for page in listed] == ["https://school.example/galaxies/"]
    links = [page.soup.find("link", rel="canonical")["href"] for page in pages["read_pages"](html)]
    assert "https://school.example/galaxies/" in links and "https://school.example/galaxies/search.html" in links


def test_what_belongs_together_stays_on_one_line(pages, book):
    text = """<p>Of 16 × 16 pixels 95 % are sky, and <span class="math notranslate">\\(x = 1\\)</span>. So it is.</p>
        <div class="cell_output"><div class="output stream"><pre>A sentence of 95 % words.</pre></div>
        <div class="output stream"><pre>spirals    95 %\nbars        5 %</pre></div></div>"""
    html, _ = book(ARTICLE + text)
    soup = finished(pages, html)
    assert "16\u00a0×\u00a016 pixels 95\u00a0% are" in soup.get_text()
    (held,) = soup.select(".held")
    assert held.math and held.get_text().endswith(".") and held.next_sibling.startswith(" So it is")
    sentence, table = soup.select("pre")
    assert sentence["class"] == ["sentences"] and "95 %" in sentence.get_text()
    assert not table.get("class")


def test_a_description_of_its_own_stays(pages, book):
    html, _ = book()
    index = html / "index.html"
    index.write_text(index.read_text().replace("<head>", '<head><meta name="description" content="Galaxies."/>'))
    (description,) = finished(pages, html).find_all("meta", {"name": "description"})
    assert description["content"] == "Galaxies."


def test_equations_become_mathml(pages, book):
    html, _ = book()
    soup = finished(pages, html)
    inline, block = soup.find_all("math")
    assert inline.get_text() == "ε=0.1"
    assert block["display"] == "block" and len(block.find_all("mtr")) == 2
    assert block.find_parent("div")["tabindex"] == "0"  # a long one scrolls on a phone
    assert soup.find(class_="eqno").get_text() == "(1)"
    assert "\\" not in soup.article.get_text()


@pytest.mark.parametrize("latex", [r"\(\nosuchcommand\)", r"\(\frac{1}\)", r"\(x^\)"])
def test_a_wrong_equation_is_named(pages, book, latex):
    html, _ = book(f'<h1>One</h1><span class="math notranslate">{latex}</span>')
    with pytest.raises(GalaxyUtilsError, match="index: ") as error:
        pages["finish_pages"](html)
    assert latex[2:-2] in str(error.value)


def test_pictures_become_light_and_keep_room_for_themselves(pages, book):
    html, _ = book()
    with Image.open(html / "_images" / "drawing.png") as picture:
        original = np.asarray(picture)
    drawing, sky = finished(pages, html).find_all("img")
    assert (drawing["src"], drawing["width"], drawing["height"]) == ("_images/drawing.webp", "60", "40")
    assert drawing["loading"] == sky["loading"] == "lazy"
    assert not list(html.rglob("*.png"))
    with Image.open(html / "_images" / "drawing.webp") as picture:
        np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), original)
    assert (html / "_images" / "sky.webp").stat().st_size < 300_000  # 600 kB of noise without loss


def test_a_picture_that_is_light_already_keeps_room_for_itself_too(pages, book):
    html, source = book(ARTICLE.replace("sky.png", "field.webp"))
    Image.new("RGB", (30, 20)).save(html / "_images" / "field.webp")
    _, field = finished(pages, html).find_all("img")
    assert (field["src"], field["width"], field["height"]) == ("_images/field.webp", "30", "20")
    pages["check_pages"](html, source)


GLOSSARY = """<h1 id="top">Glossary</h1><p>The words of the field, each in a sentence or two, are explained here.</p>
<dl class="glossary"><dt id="term-bands">bands<a class="headerlink" href="#term-bands">#</a></dt><dd>Colours.</dd>
<dt id="term-epoch">epoch</dt><dd>A pass.</dd>
<dt id="term-KL">KL divergence</dt><dt id="term-test">test</dt><dd>Two.</dd></dl>"""


def with_glossary(book, article):
    """Write a book with a page of this article and a glossary of four words; return its HTML and its source."""
    html, source = book(article)
    page = f"<html><head></head><body><article>{GLOSSARY}</article></body></html>"
    (html / "glossary.html").write_text(page, encoding="utf-8")
    (source / "_toc.yml").write_text("format: jb-book\nroot: index\nchapters: [{file: glossary}]\n")
    return html, source


def glossary_links(pages, html):
    pages["finish_pages"](html)
    index = next(page for page in pages["read_pages"](html) if page.name == "index")
    return [(link["href"].partition("#")[2], link.get_text()) for link in index.soup.select("a.glossary-term")]


@pytest.mark.parametrize(
    ("text", "links"),
    [
        ("<strong>Bands</strong>, <strong>bands</strong>, bands, <strong>arms</strong>", [("term-bands", "Bands")]),
        ("Two epochs, an epoch, one <em>epoch</em>", [("term-epoch", "epochs")]),
        # Where it is first used, and where it is explained.
        ("An epoch is <strong>epoch</strong>", [("term-epoch", "epoch"), ("term-epoch", "epoch")]),
        (
            "The KL\ndivergence of a test, a <strong>test</strong>",
            [("term-KL", "KL\ndivergence"), ("term-test", "test")],
        ),
        ("<code>epoch</code>, <a href='x'>an epoch</a>, epochal", []),
    ],
)
def test_words_of_the_field_lead_to_the_glossary(pages, book, text, links):
    html, _ = with_glossary(book, f"<h1>Epoch</h1><p>{text}</p>")
    assert glossary_links(pages, html) == links


def test_a_word_of_the_glossary_that_no_page_uses_is_named(pages, book):
    html, source = with_glossary(book, f"{ARTICLE}<p>The <strong>KL divergence</strong> of three bands.</p>")
    pages["finish_pages"](html)
    with pytest.raises(GalaxyUtilsError, match="glossary: no page leads to 'epoch'$"):
        pages["check_pages"](html, source)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (ALTERNATIVE, "0123abcd", "no alternative text"),
        ("search.html", "serach.html", "serach.html leads nowhere"),
        ("#top", "#toop", "#toop leads nowhere"),
        ("_images/sky.png", "https://elsewhere.example/sky.png", "from another host"),
        ("h2>", "h3>", "a heading of level 3 follows one of level 1"),
        ("h2>", "h1>", "2 headings of the first level"),
        ("<h2>", '<div class="output traceback">ValueError</div><h2>', "ValueError"),
        (
            "<h2>",
            f'<div class="cell_output"><div class="output">{REPOSITORY}/x</div></div><h2>',
            "a path of this machine",
        ),
        ("<h2>", "<figure><pre>Training</pre><figcaption>Two curves.</figcaption></figure><h2>", "a caption has no"),
        ("first paragraph that is long enough to tell what the whole page", "one", "it has no description"),
    ],
)
def test_what_is_missing_is_named(pages, book, before, after, message):
    html, source = book(ARTICLE.replace(before, after))
    pages["finish_pages"](html)
    with pytest.raises(GalaxyUtilsError, match=f"index: .*{message}"):
        pages["check_pages"](html, source)


def test_pages_and_notebooks_are_those_of_the_table_of_contents(pages, book):
    html, source = book()
    pages["finish_pages"](html)
    (html / "search.html").rename(html / "stray.html")
    (source / "01_forgotten.ipynb").touch()
    with pytest.raises(GalaxyUtilsError) as error:
        pages["check_pages"](html, source)
    assert "search: the page is missing" in str(error.value)
    assert "stray: the page is not in the table of contents" in str(error.value)
    assert "01_forgotten: the notebook is not in the table of contents" in str(error.value)
