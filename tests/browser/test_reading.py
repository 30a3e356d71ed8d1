"""The book as a reader meets it: every page in a real browser, at four widths, in both themes, without a network."""

import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from browser import FETCH_ALL_PICTURES
from checks import violations

sys.path.append(str(Path(__file__).parents[1] / "faults"))

from harness import when_and_what

WIDTHS = (320, 390, 1280, 1920)  # what WCAG asks for, a phone, a laptop, a wide screen
THEMES = ("light", "dark")
# `make pages` sets it: all pages, axe-core in all views, each page's paint, and a table of all that was found.
WHOLE_TABLE = os.environ.get("PAGES") == "all"
# Otherwise, for CI, a page of every kind; the other interactive pages are looked at by tests of their own.
# Widths matter in one theme; axe-core, which takes seconds, sees both themes and layouts on every other page.
SOME_VIEWS = [("light", 320), ("light", 390), ("light", 1280), ("dark", 1280)]
VIEWS_FOR_AXE = [("light", 390), ("dark", 1280)]
SAMPLE = r"index|api|glossary|scores|notebooks/09_.*"
BEGIN = "<!-- table of pages, written by `make pages` -->"
MOST_BYTES = 1_500_000
CHAPTER = "notebooks/01_meet_the_galaxies.html"
# Whatever sticks out to the right and cannot be reached by scrolling inside something that scrolls.
CUT_OFF = """
() => [...document.querySelectorAll("article *")].filter(element => {
  if (element.getBoundingClientRect().right <= innerWidth + 1 || !element.checkVisibility()) return false;
  for (let box = element; box.tagName !== "ARTICLE"; box = box.parentElement)
    if (["auto", "scroll"].includes(getComputedStyle(box).overflowX)) return false;
  return !element.closest("math");
}).map(element => element.outerHTML.slice(0, 120))
"""
# Pictures that are drawn in another shape than their own.
DISTORTED = """
() => [...document.querySelectorAll("article img")].filter(image => {
  const box = image.getBoundingClientRect();
  if (!box.width || !image.checkVisibility() || getComputedStyle(image).objectFit !== "fill") return false;
  return Math.abs(box.width / box.height * image.naturalHeight / image.naturalWidth - 1) > 0.03;
}).map(image => `distorted: ${image.outerHTML.slice(0, 120)}`)
"""
# The largest contentful paint, in milliseconds, and how far things jumped, both as browsers define them.
WATCH = """
window.seen = {paint: 0, picture: "", shift: 0};
new PerformanceObserver(list => { for (const entry of list.getEntries()) {
  seen.paint = entry.startTime;
  seen.picture = entry.url;
}})
  .observe({type: "largest-contentful-paint", buffered: true});
new PerformanceObserver(list => { for (const entry of list.getEntries()) seen.shift += entry.value; })
  .observe({type: "layout-shift", buffered: true});
"""


# The page itself, what it must have before it shows anything, and the picture if that is the largest thing it shows.
BYTES_BEFORE_PAINT = """
() => [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
  .filter(entry => entry.entryType === "navigation" || entry.renderBlockingStatus === "blocking"
    || entry.name === seen.picture)
  .reduce((sum, entry) => sum + entry.encodedBodySize, 0)
"""
# A slow line, as phones are commonly simulated: 1.6 Mbit/s, and 150 ms from a request to its answer.
LATENCY, BYTES_PER_SECOND = 0.15, 200_000
# One after the other: the connection, the page, its style sheets, the style sheet that one of them asks for.
ROUND_TRIPS = 4
LONGEST_WAIT = 1.5  # seconds


@dataclass
class Visit:
    """What a browser saw on one page."""

    addresses: list = field(default_factory=list)
    errors: list = field(default_factory=list)
    missing_pictures: list = field(default_factory=list)
    bytes_before_interaction: int = 0
    # (theme, width) → what sticks out, is cut off or distorted there; what axe-core finds there, where it was asked
    sticking_out: dict = field(default_factory=dict)
    violations: dict = field(default_factory=dict)
    # The largest contentful paint in milliseconds, and how far things jumped; only for the whole table.
    paint: float = 0
    shift: float = 0


@pytest.fixture(scope="module")
def visits(chromium, html, site, pages):
    """{page: `Visit`}: each page is loaded once, and looked at in all widths and themes."""
    looked_at = [name for name in pages if WHOLE_TABLE or re.fullmatch(f"({SAMPLE}).html", name)]
    found = {
        name: _visit(chromium, site, name, VIEWS_FOR_AXE[number % 2 :][:1]) for number, name in enumerate(looked_at)
    }
    if WHOLE_TABLE:
        for name, visit in found.items():
            context = chromium.new_context(viewport={"width": 390, "height": 800})
            page = context.new_page()
            page.goto(site + "search.html")
            seen, _ = _appear(page, site, name)
            visit.paint, visit.shift = seen["paint"], seen["shift"]
            context.close()
        path = Path(__file__).with_name("README.md")
        before = path.read_text(encoding="utf-8").partition(BEGIN)[0]
        path.write_text(f"{before}{BEGIN}\n{_table(found)}", encoding="utf-8")
    return found


def _visit(chromium, site, name, views_for_axe):
    visit, all_views = Visit(), [(theme, width) for theme in THEMES for width in WIDTHS]
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(120_000)
    page = context.new_page()
    page.on("request", lambda request: visit.addresses.append(request.url))
    page.on("response", lambda response: response.ok or visit.errors.append(f"{response.status} {response.url}"))
    page.on("pageerror", lambda error: visit.errors.append(str(error)))
    page.on("console", lambda message: message.type == "error" and visit.errors.append(message.text))
    network = context.new_cdp_session(page)
    network.send("Network.enable")
    arrived = []
    network.on("Network.loadingFinished", lambda event: arrived.append(event["encodedDataLength"]))
    page.goto(site + name, wait_until="networkidle")
    visit.bytes_before_interaction = int(sum(arrived))
    page.evaluate("document.querySelectorAll('article details').forEach(details => details.open = true)")
    page.evaluate(FETCH_ALL_PICTURES)
    visit.missing_pictures = page.evaluate(
        "[...document.images].filter(image => !image.naturalWidth).map(image => image.src)"
    )
    for theme, width in all_views if WHOLE_TABLE else SOME_VIEWS:
        page.emulate_media(color_scheme=theme)
        page.wait_for_selector(f"html[data-theme={theme}]")
        page.set_viewport_size({"width": width, "height": 800})
        wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        sideways = [f"the page scrolls sideways by {wider} px"] if wider > 0 else []
        visit.sticking_out[theme, width] = sideways + page.evaluate(CUT_OFF) + page.evaluate(DISTORTED)
        if WHOLE_TABLE or (theme, width) in views_for_axe:
            page.wait_for_timeout(1000)  # after a change of width, the theme looks what scrolls now; not at once
            visit.violations[theme, width] = violations(page)
    context.close()
    return visit


def _table(visits):
    """Return what was found as a table in Markdown: a row a page, a column a theme and width."""
    views = [(theme, width) for theme in THEMES for width in WIDTHS]
    titles = ["page", "kB", "paint, s", "shift", "errors", *(f"{theme} {width}" for theme, width in views)]
    lines = [titles, ["---", *["---:"] * (len(titles) - 1)]]
    for name, visit in visits.items():
        lines.append(
            [
                name.removesuffix(".html").removeprefix("notebooks/"),
                f"{visit.bytes_before_interaction / 1000:,.0f}",
                f"{visit.paint / 1000:.2f}",
                f"{visit.shift:.3f}",
                str(len(visit.errors) + len(visit.missing_pictures)),
                *(f"{len(visit.sticking_out[view])} + {len(visit.violations[view])}" for view in views),
            ]
        )
    heading = (
        f"Looked at on {when_and_what()}: what sticks out, is cut off or distorted + kinds of violations of WCAG 2.2\n"
    )
    return heading + "AA, by theme and width.\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _all(visits, attribute):
    """What was found on any page, a line each, with the page's name."""
    return "\n".join(f"{name}: {found}" for name, visit in visits.items() for found in getattr(visit, attribute))


def _in_all_views(visits, attribute):
    """What was found on any page in any theme and width, a line each."""
    return "\n".join(
        f"{name}, {theme}, {width} px: {one}"
        for name, visit in visits.items()
        for (theme, width), found in getattr(visit, attribute).items()
        for one in found
    )


def test_nothing_comes_from_another_host(visits, site):
    assert len(visits) >= 5
    foreign = [address for visit in visits.values() for address in visit.addresses if not address.startswith(site)]
    assert [address for address in foreign if not address.startswith("data:")] == []


def test_no_file_is_missing_and_no_script_fails(visits):
    assert not _all(visits, "errors")
    assert not _all(visits, "missing_pictures")


def test_nothing_is_cut_off_at_any_width_in_either_theme(visits):
    assert not _in_all_views(visits, "sticking_out")


def test_axe_finds_no_violation_of_wcag(visits):
    assert not _in_all_views(visits, "violations")


def test_pages_are_light(visits):
    heavy = {name: visit.bytes_before_interaction for name, visit in visits.items()}
    assert min(heavy.values()) > 50_000  # the measurement works
    assert {name: size for name, size in heavy.items() if size > MOST_BYTES} == {}


def test_the_button_back_to_the_top_can_be_read(open_page):
    """It appears when somebody scrolls upwards, so the visits above never see it."""
    for theme in THEMES:
        page = open_page(CHAPTER, width=390, theme=theme)
        page.mouse.wheel(0, 1500)
        page.wait_for_function("scrollY > 1000")
        page.mouse.wheel(0, -200)
        page.locator("#pst-back-to-top").wait_for(state="visible")
        assert violations(page, "#pst-back-to-top") == []


def test_axe_would_find_a_violation(open_page):
    page = open_page("index.html")
    page.evaluate("document.querySelector('article').insertAdjacentHTML('beforeend', '<img src=none.png>')")
    assert any(violation.startswith("image-alt") for violation in violations(page))


def test_what_is_cut_off_would_be_found(open_page):
    page = open_page("index.html", width=390)
    page.evaluate("document.querySelector('article').insertAdjacentHTML('beforeend', '<p style=width:500px>wide')")
    assert [found[:8] for found in page.evaluate(CUT_OFF)] == ["<p style"]


def test_a_distorted_picture_would_be_found(open_page):
    page = open_page("index.html")
    page.evaluate(FETCH_ALL_PICTURES)
    assert page.evaluate(DISTORTED) == []
    page.evaluate("document.querySelector('article img').style.height = '50px'")
    assert len(page.evaluate(DISTORTED)) == 1


def test_the_keyboard_opens_and_closes_an_answer(open_page):
    page = open_page(CHAPTER)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to main content"
    page.keyboard.press("Enter")
    for _ in range(300):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('article details:not([class]) > summary')"):
            break
    answer = page.locator("article details:not([class])", has=page.locator("summary:focus"))
    assert answer.get_attribute("open") is None
    page.keyboard.press("Enter")
    assert answer.get_attribute("open") is not None
    assert answer.locator("p").first.is_visible()
    page.keyboard.press("Space")
    assert answer.get_attribute("open") is None


def test_focus_can_be_seen(open_page):
    page = open_page(CHAPTER)
    page.locator("article details > summary").first.focus()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"


def test_search_finds_a_word_without_a_network(open_page):
    page = open_page("index.html")
    page.keyboard.press("Control+k")
    page.keyboard.type("smoothing")
    page.keyboard.press("Enter")
    results = page.locator("#search-results li a")
    results.first.wait_for()
    results.first.click()
    page.wait_for_load_state()
    assert "smoothing" in page.locator("article").inner_text().lower()


def _appear(page, site, name):
    """Load a page over a slow line, after another one; return what the browser has seen, and how many bytes it took."""
    network = page.context.new_cdp_session(page)
    network.send("Network.enable")
    network.send("Network.clearBrowserCache")
    speed = {"downloadThroughput": BYTES_PER_SECOND, "uploadThroughput": BYTES_PER_SECOND, "latency": LATENCY * 1000}
    network.send("Network.emulateNetworkConditions", {**speed, "offline": False})
    page.add_init_script(WATCH)
    page.goto(site + name, wait_until="load")
    page.wait_for_timeout(1000)
    return page.evaluate("window.seen"), page.evaluate(BYTES_BEFORE_PAINT)


APPEARING = [("index.html", 390), (CHAPTER, 390), ("play_network.html", 390)]
if WHOLE_TABLE:
    APPEARING += [(CHAPTER, 1280), ("notebooks/05_autoencoder_and_classifier.html", 1280)]
    APPEARING += [("play_classify.html", 390), ("play_map.html", 1280)]


@pytest.mark.parametrize(("name", "width"), APPEARING)
def test_pages_appear_quickly_and_nothing_jumps(open_page, site, name, width):
    seen, size = _appear(open_page("search.html", width=width), site, name)
    assert seen["paint"] > 0
    assert seen["shift"] < 0.01
    # What the line takes is the page's own; what comes on top depends on what else this machine is doing.
    assert size > 50_000
    assert ROUND_TRIPS * LATENCY + size / BYTES_PER_SECOND <= LONGEST_WAIT
    if os.getloadavg()[0] < 1:
        assert seen["paint"] <= LONGEST_WAIT * 1000


def test_equations_pictures_and_answers_need_no_scripts(open_page):
    page = open_page("notebooks/02_preprocessing_and_an_honest_split.html", java_script_enabled=False)
    equation = page.locator("math[display=block]").first
    equation.scroll_into_view_if_needed()
    box = equation.bounding_box()
    assert box["width"] > 100 and box["height"] > 15
    answer = page.locator("article details").first
    answer.locator("summary").click()
    assert answer.locator(":scope > :not(summary)").first.is_visible()


def test_printed_pages_show_all_pictures_and_answers_and_no_navigation(open_page):
    page = open_page(CHAPTER)
    pictures = page.locator("article img").count()
    assert not page.locator("article details > p").first.is_visible()
    page.emulate_media(media="print")
    assert not page.locator(".bd-sidebar-primary").is_visible()
    assert not page.locator(".bd-sidebar-secondary").is_visible()
    assert page.locator("article details > p").first.is_visible()
    pdf = page.pdf(format="A4")
    assert len(re.findall(rb"/Subtype\s*/Image", pdf)) >= pictures >= 5
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) >= 5


def test_paper_is_white_when_the_screen_is_dark(open_page):
    page = open_page(CHAPTER, theme="dark")
    colour = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(colour)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate(colour) == "rgb(255, 255, 255)" != dark
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate(colour) == dark
