"""You classify: by mouse, keyboard and touch, with storage blocked, from a file, and without scripts."""

import json

import pytest
from checks import check_still_figure, violations

PAGE = "play_classify.html"
BLOCK_STORAGE = """
Object.defineProperty(window, "localStorage", {get() { throw new DOMException("blocked", "SecurityError"); }});
"""


@pytest.fixture
def data(html):
    """What the page was given: {"galaxies": …, "classes": …}."""
    text = (html / PAGE).read_text(encoding="utf-8")
    return json.loads(text.split('id="play-classify-data"')[1].split(">", 1)[1].split("</script>")[0])


def counter(page):
    return page.locator(".play-counter").inner_text()


def answer_all(page, labels):
    for label in labels:
        page.locator(".play-choice").nth(label).click()


def test_the_survey_s_own_answers_agree_with_the_survey(open_page, data):
    page = open_page(PAGE)
    count = len(data["galaxies"])
    assert counter(page) == f"Galaxy 1 of {count}"
    assert page.locator(".play-choice").count() == len(data["classes"])
    answer_all(page, [galaxy["label"] for galaxy in data["galaxies"]])
    heading = page.locator(".play-result h3").first
    assert heading.inner_text() == f"You agree with the survey on {count} of {count}"
    assert page.evaluate("document.activeElement.textContent") == heading.inner_text()
    assert not page.locator(".play-question").is_visible()
    scores = page.locator(".play-score").all_inner_texts()
    right = sum(galaxy["answer"] == galaxy["label"] for galaxy in data["galaxies"])
    # Wilson's interval of all of twenty begins at 84 %.
    assert f"{count} of {count}, 100\u00a0%" in scores[0] and "84 to 100 %" in scores[0]
    assert f"{right} of {count}" in scores[1]
    assert f"all {data['network']['tested']} test galaxies" in scores[2]
    framed = page.locator(".play-matrix td.play-diagonal").all_inner_texts()
    assert sum(map(int, framed)) == count
    assert page.locator(".play-gallery > li").count() == count
    assert page.locator("h4", has_text="You see it differently").count() == 0


def test_wrong_answers_are_counted_where_they_belong(open_page, data):
    page = open_page(PAGE)
    number = len(data["classes"])
    answers = [(galaxy["label"] + 1) % number for galaxy in data["galaxies"]]
    answer_all(page, answers)
    count = len(answers)
    assert page.locator(".play-result h3").first.inner_text() == f"You agree with the survey on 0 of {count}"
    assert page.locator("h4").first.inner_text() == f"You see it differently ({count})"
    cells = page.locator(".play-matrix tbody tr").first.locator("td").all_inner_texts()
    first = min(galaxy["label"] for galaxy in data["galaxies"])
    expected = [galaxy["label"] for galaxy in data["galaxies"]].count(first)
    assert [int(cell) for cell in cells] == [expected * (label == (first + 1) % number) for label in range(number)]
    right = sum(galaxy["answer"] == galaxy["label"] for galaxy in data["galaxies"])
    told = page.locator(".play-scores + p").inner_text()
    if right:
        assert f"0 times you, {right} times the network" in told
    page.get_by_role("button", name="Start again").click()
    assert counter(page) == f"Galaxy 1 of {count}"
    assert page.evaluate("document.activeElement.id") == "play-classify"


def test_the_keyboard_alone_answers_goes_back_and_zooms(open_page, data):
    page = open_page(PAGE)
    count = len(data["galaxies"])
    # Keys of one letter must not answer while the focus is elsewhere.
    page.keyboard.press("3")
    assert counter(page) == f"Galaxy 1 of {count}"
    page.locator(".play-question button").first.focus()
    page.keyboard.press("3")
    assert counter(page) == f"Galaxy 2 of {count}"
    page.keyboard.press("ArrowLeft")
    assert counter(page) == f"Galaxy 1 of {count}"
    seen = page.locator(".play-large").get_attribute("aria-label")
    page.keyboard.press("z")
    assert page.locator(".play-large").get_attribute("aria-label") != seen
    for galaxy in data["galaxies"]:
        page.keyboard.press(str(galaxy["label"]))
    assert page.locator(".play-result h3").first.inner_text().endswith(f"{count} of {count}")
    page.get_by_role("button", name="Start again").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("0")
    assert counter(page) == f"Galaxy 2 of {count}"


def test_progress_survives_a_reload_and_a_blocked_storage_is_no_fault(open_page, chromium, site, data):
    page = open_page(PAGE)
    answer_all(page, [0, 1, 2])
    page.reload()
    assert counter(page) == f"Galaxy 4 of {len(data['galaxies'])}"
    page.evaluate("localStorage.setItem(Object.keys(localStorage).find(key => key.startsWith('galaxies')), '[99]')")
    page.reload()
    assert counter(page).startswith("Galaxy 1 "), "what cannot be an answer is forgotten"
    context = chromium.new_context()
    context.add_init_script(BLOCK_STORAGE)
    blocked, errors = context.new_page(), []
    blocked.on("pageerror", lambda error: errors.append(str(error)))
    blocked.goto(site + PAGE)
    answer_all(blocked, [0, 1])
    assert counter(blocked).startswith("Galaxy 3 ")
    assert [error for error in errors if "play" in error] == []
    context.close()


def test_it_works_from_a_file_and_by_touch(chromium, html, data):
    context = chromium.new_context(viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True)
    page, missing = context.new_page(), []
    page.on("requestfailed", lambda request: missing.append(request.url))
    page.goto((html / PAGE).as_uri())
    assert not page.locator(".play-choice small").first.is_visible()
    page.get_by_role("button", name="What to look for").tap()
    hinted = any(one["hint"] for one in data["classes"])
    assert page.locator(".play-choice small").first.is_visible() == hinted
    for galaxy in data["galaxies"]:
        page.locator(".play-choice").nth(galaxy["label"]).tap()
    assert page.locator(".play-result").is_visible()
    assert missing == []
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    context.close()


@pytest.mark.parametrize(("width", "theme"), [(390, "light"), (1280, "dark")])
def test_the_result_is_accessible_and_fits(open_page, data, width, theme):
    page = open_page(PAGE, width=width, theme=theme)
    answer_all(page, [number % len(data["classes"]) for number in range(len(data["galaxies"]))])
    assert violations(page, ".play") == []
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_without_scripts_the_galaxies_stay_with_a_folded_table(open_page, data):
    page = open_page(PAGE, width=390, java_script_enabled=False)
    figure = page.locator(".play noscript img")
    check_still_figure(figure)
    assert "labels" in figure.get_attribute("alt")
    assert page.locator(".play button").count() == 0
    table = page.locator(".play noscript table")
    assert not table.is_visible()
    page.locator(".play noscript summary").click()
    assert table.is_visible()
    assert table.locator("tbody tr").count() == len(data["galaxies"])
