"""The map of galaxies: by pointer, keyboard and touch, its legend, and what stays without scripts."""

import json

import pytest
from checks import check_still_figure, violations

PAGE = "play_map.html"


@pytest.fixture
def data(html):
    """What the page was given: {"rows": …, "labels": …, "positions": …}."""
    text = (html / PAGE).read_text(encoding="utf-8")
    return json.loads(text.split('id="play-map-data"')[1].split(">", 1)[1].split("</script>")[0])


def chosen(page):
    """Row of the chosen galaxy."""
    return int(page.locator(".play-title small").inner_text().split()[1])


def lonely(data):
    """Places of marks, the loneliest first: a pointer cannot miss them."""
    points = data["positions"]

    def room(place):
        x, y = points[place]
        return min(abs(x - u) + abs(y - v) for other, (u, v) in enumerate(points) if other != place)

    return sorted((p for p in range(len(points)) if p != data["start"]), key=room, reverse=True)


def at(page, place):
    """Where a mark is in the window."""
    mark = page.locator(f".play-point[data-place='{place}']")
    page.locator(".play-chart").scroll_into_view_if_needed()
    box = mark.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def rows_of(page, kind):
    """Rows of the galaxies in one of the two lists of neighbours."""
    labels = page.locator(f"ul.{kind} button").evaluate_all("all => all.map(one => one.ariaLabel)")
    return [int(label.split("galaxy ")[1].split(":")[0]) for label in labels]


def test_hovering_shows_and_clicking_keeps(open_page, data):
    page = open_page(PAGE)
    assert chosen(page) == data["rows"][data["start"]]
    assert page.locator(".play-point").count() == len(data["rows"])
    first, second = lonely(data)[:2]
    page.mouse.move(*at(page, first))
    assert chosen(page) == data["rows"][first]
    assert data["classes"][data["labels"][first]]["name"] in page.locator(".play-title").inner_text()
    for kind, near in (("play-in-space", data["inSpace"]), ("play-on-map", data["onMap"])):
        assert rows_of(page, kind) == [data["rows"][place] for place in near[first]]
        assert page.locator(f".play-rings .{kind}").count() == len(near[first])
    common = len(set(data["inSpace"][first]) & set(data["onMap"][first]))
    assert page.locator(".play-overlap").inner_text().startswith(f"{common} of {len(data['onMap'][first])} ")
    page.mouse.click(*at(page, first))
    page.mouse.move(*at(page, second))
    assert chosen(page) == data["rows"][first], "a mark that was clicked stays"
    page.mouse.click(*at(page, second))
    assert chosen(page) == data["rows"][second]


def test_a_neighbour_can_be_followed(open_page, data):
    page = open_page(PAGE)
    page.locator("ul.play-in-space button").nth(1).click()
    assert chosen(page) == data["rows"][data["inSpace"][data["start"]][1]]
    assert page.evaluate("document.activeElement.classList.contains('play-chart')")


def test_arrow_keys_walk_over_the_map(open_page, data):
    page = open_page(PAGE)
    page.locator(".play-chart").focus()
    column = {row: data["positions"][place] for place, row in enumerate(data["rows"])}
    for key, axis, sign in (("ArrowRight", 0, 1), ("ArrowLeft", 0, -1), ("ArrowDown", 1, 1), ("ArrowUp", 1, -1)):
        for _ in range(3):
            before = chosen(page)
            page.keyboard.press(key)
            after = chosen(page)
            assert after == before or sign * (column[after][axis] - column[before][axis]) > 0
    seen = set()
    for _ in range(40):
        page.keyboard.press("ArrowRight")
        seen.add(chosen(page))
    assert len(seen) >= 2, "it goes on until there is nothing further to the right"


def test_the_legend_filters_by_mouse_and_keyboard(open_page, data):
    page = open_page(PAGE)
    filters = page.locator(".play-filter[aria-pressed]")
    names = filters.all_inner_texts()
    assert names[0] == "All" and len(names) == 1 + len(set(data["labels"]))
    label = data["labels"][lonely(data)[0]]
    button = page.locator(".play-filter", has_text=f"{label} {data['classes'][label]['short']}")
    button.click()
    shown = page.locator(".play-point:not(.play-hidden)")
    assert shown.count() == data["labels"].count(label)
    assert data["labels"][data["rows"].index(chosen(page))] == label, "what is chosen is shown"
    page.keyboard.press("Enter")  # the last class is taken away: none is left, so all come back
    assert shown.count() == len(data["rows"])
    assert filters.first.get_attribute("aria-pressed") == "true"
    button.click()
    page.mouse.click(*at(page, next(p for p in lonely(data) if data["labels"][p] != label)))
    assert data["labels"][data["rows"].index(chosen(page))] == label, "hidden marks cannot be chosen"
    page.get_by_role("button", name="All", exact=True).click()
    assert shown.count() == len(data["rows"])


def test_it_works_from_a_file_and_by_touch(chromium, html, data):
    context = chromium.new_context(viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True)
    page, missing = context.new_page(), []
    page.on("requestfailed", lambda request: missing.append(request.url))
    page.goto((html / PAGE).as_uri())
    place = lonely(data)[0]
    page.touchscreen.tap(*at(page, place))
    assert chosen(page) == data["rows"][place]
    assert missing == []
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    context.close()


def test_nothing_jumps_while_galaxies_are_looked_at(open_page, data):
    page = open_page(PAGE)
    below = page.locator("article h2").first
    page.wait_for_timeout(300)
    height = below.bounding_box()["y"] + page.evaluate("scrollY")
    for place in lonely(data)[:5]:
        page.mouse.move(*at(page, place))
        assert below.bounding_box()["y"] + page.evaluate("scrollY") == pytest.approx(height, abs=1)


@pytest.mark.parametrize(("width", "theme"), [(390, "dark"), (1280, "light")])
def test_a_filtered_map_is_accessible(open_page, width, theme):
    page = open_page(PAGE, width=width, theme=theme)
    page.locator(".play-filter").nth(1).click()
    assert violations(page, ".play") == []


def test_without_scripts_a_map_stays(open_page):
    page = open_page(PAGE, width=390, java_script_enabled=False)
    figure = page.locator(".play noscript img")
    check_still_figure(figure)
    assert "%" in figure.get_attribute("alt")
    assert page.locator(".play button, .play svg").count() == 0
