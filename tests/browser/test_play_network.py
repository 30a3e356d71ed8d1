"""The network in the page, used as a reader uses it: its answers are Keras' answers, and nothing leaves the page."""

import base64
import io
import json

import numpy as np
import pytest
from checks import violations
from PIL import Image

PAGE = "play_network.html"
ALLOWED = 1e-3  # what the page promises
MOST_BYTES = 1_500_000
PROBABILITIES = """
() => [...document.querySelectorAll(".network-value")].map(value => Number(value.dataset.probability))
"""
DROP = """
([name, type, content]) => {
  const files = new DataTransfer();
  files.items.add(new File([Uint8Array.from(atob(content), letter => letter.charCodeAt(0))], name, {type}));
  const event = {dataTransfer: files, bubbles: true, cancelable: true};
  document.querySelector(".network-drop").dispatchEvent(new DragEvent("drop", event));
}
"""


def pictures_of(html):
    """The pictures that the page offers, with Keras' answers, as `book/play/play_network.py` wrote them."""
    text = (html / "_static" / "play" / "network_data.js").read_text(encoding="utf-8")
    data = json.loads(text.removeprefix("window.galaxyNetwork = ").removesuffix(";\n"))
    for picture in data["pictures"]:
        pixels = np.frombuffer(base64.b64decode(picture["pixels"]), np.uint8)
        picture["image"] = pixels.reshape(data["side"], data["side"], 3)
    return data


@pytest.fixture(scope="module")
def data(html):
    return pictures_of(html)


def choose(page, number):
    """Choose a picture and wait for its probabilities."""
    page.click(f'[data-picture="{number}"]')
    page.wait_for_selector(f'[data-picture="{number}"][aria-pressed=true]')
    return np.array(page.evaluate(PROBABILITIES))


def changes(page):
    """Wait for the map, and return what covering each place changes."""
    page.wait_for_selector("#network-map[data-changes]")
    return np.array(json.loads(page.get_attribute("#network-map", "data-changes")))


def as_file(image, form="png", **options):
    content = io.BytesIO()
    Image.fromarray(image).save(content, form, **options)
    return {"name": f"mine.{form}", "mimeType": f"image/{form}", "buffer": content.getvalue()}


def test_probabilities_are_those_of_keras_for_every_picture(open_page, data):
    page = open_page(PAGE)
    for number, picture in enumerate(data["pictures"]):
        np.testing.assert_allclose(choose(page, number), picture["probabilities"], atol=ALLOWED, rtol=0)
        likeliest = page.inner_text(".network-likeliest th")
        assert likeliest.endswith(data["classes"][int(np.argmax(picture["probabilities"]))])
    # And they are not all the same answer.
    assert np.ptp([picture["probabilities"] for picture in data["pictures"]], axis=0).max() > 10 * ALLOWED


def test_the_map_is_that_of_keras(open_page, data):
    page = open_page(PAGE)
    largest = [np.abs(picture["changes"]).max() for picture in data["pictures"]]
    number = int(np.argmax(largest))  # where there is most to get wrong
    assert largest[number] > 10 * ALLOWED
    choose(page, number)
    np.testing.assert_allclose(changes(page), data["pictures"][number]["changes"], atol=ALLOWED, rtol=0)
    assert 0 <= float(page.get_attribute("#network", "data-difference")) < ALLOWED
    assert "The largest difference from what Keras computed" in page.inner_text("#network-words")


def test_words_tell_the_answer_the_label_and_the_map(open_page, data):
    page = open_page(PAGE)
    choose(page, 0)
    picture = data["pictures"][0]
    answer, label = (data["classes"][k] for k in (int(np.argmax(picture["probabilities"])), picture["label"]))
    said = page.inner_text("#network-status")
    assert said.startswith(f"The network says {answer} ({max(picture['probabilities']):.2f})")
    assert f"The survey says {label}. They {'agree' if answer == label else 'differ'}." in said
    place, grid = int(np.argmin(changes(page))), data["grid"]
    told = page.get_attribute("#network-map", "aria-label")
    assert f"row {place // grid + 1}, column {place % grid + 1} of {grid} × {grid}" in told
    choose(page, len(data["pictures"]) - 1)
    assert "This is no galaxy, which the network has no way to say." in page.inner_text("#network-status")


def test_nothing_is_loaded_before_the_first_choice_and_nothing_is_sent_after_it(chromium, site, data):
    context = chromium.new_context()
    page = context.new_page()
    requests, received = [], []
    page.on("request", lambda request: requests.append((request.method, request.url.removeprefix(site))))
    network = context.new_cdp_session(page)
    network.send("Network.enable")
    network.on("Network.loadingFinished", lambda event: received.append(event["encodedDataLength"]))
    page.goto(site + PAGE, wait_until="networkidle")
    assert sum(received) <= MOST_BYTES
    assert not [url for _, url in requests if "network_data" in url or "tensorflowjs" in url]
    before = len(requests)
    choose(page, 0)
    assert requests[before:] == [
        ("GET", "_static/play/tensorflowjs/tf-core.es2017.min.js"),
        ("GET", "_static/play/tensorflowjs/tf-backend-cpu.es2017.min.js"),
        ("GET", "_static/play/network_data.js"),
    ]
    page.set_input_files("#network-file", as_file(data["pictures"][0]["image"]))
    page.wait_for_function("document.getElementById('network-status').textContent.includes('Nobody has labelled')")
    assert len(requests) == before + 3
    context.close()


def test_other_pages_do_not_ask_for_its_files(open_page):
    page = open_page("credits.html")
    assert page.locator("script[src*='play/'], link[href*='play/']").count() == 0


def test_by_keyboard_alone(open_page, data):
    page = open_page(PAGE)
    page.focus(".network-galaxies button")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.wait_for_selector('[data-picture="1"][aria-pressed=true]')
    np.testing.assert_allclose(page.evaluate(PROBABILITIES), data["pictures"][1]["probabilities"], atol=ALLOWED)
    width = page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
    assert page.evaluate("document.activeElement.dataset.picture") == "1" and width == "3px"
    # From the last picture to the file chooser, and on to the choice of what is cut from it.
    page.focus(f'[data-picture="{len(data["pictures"]) - 1}"]')
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "network-file"


def test_an_own_picture_is_cut_and_shrunk_as_the_book_does_it(open_page, data):
    page = open_page(PAGE)
    picture = data["pictures"][0]
    # A frame, which the middle half of the side leaves out; beyond it, what makes it oblong.
    large = np.repeat(np.repeat(picture["image"], 3, axis=0), 3, axis=1)
    side = len(large)
    framed = np.pad(large, ((side // 2,) * 2, (side,) * 2, (0, 0)), constant_values=255)
    page.set_input_files("#network-file", as_file(framed))
    page.wait_for_selector("#network.network-answered")
    narrow = page.evaluate(PROBABILITIES)[0]
    np.testing.assert_allclose(page.evaluate(PROBABILITIES), picture["probabilities"], atol=ALLOWED)
    assert page.locator(".network-pictures [aria-pressed=true]").count() == 0
    page.check('.network-crop input[value="1"]')
    page.wait_for_function(
        "before => Number(document.querySelector('.network-value').dataset.probability) !== before",
        arg=narrow,
    )
    # As large as the network expects it, and all of it: the same pixels again.
    page.set_input_files("#network-file", as_file(picture["image"]))
    page.wait_for_function(
        "expected => Math.abs(Number(document.querySelector('.network-value').dataset.probability) - expected) < 1e-3",
        arg=picture["probabilities"][0],
    )


def test_a_small_picture_is_said_to_be_enlarged_and_can_be_chosen_again(open_page, data):
    page = open_page(PAGE)
    file = as_file(data["pictures"][0]["image"])  # of which the middle half is kept at first
    page.set_input_files("#network-file", file)
    page.wait_for_function("document.getElementById('network-status').textContent.includes('were enlarged to')")
    choose(page, 1)
    assert "enlarged" not in page.inner_text("#network-status")
    page.set_input_files("#network-file", file)
    page.wait_for_function("document.getElementById('network-status').textContent.includes('were enlarged to')")


@pytest.mark.parametrize("form", ["jpeg", "webp"])
def test_other_kinds_of_pictures_can_be_dropped(open_page, data, form):
    page = open_page(PAGE)
    file = as_file(data["pictures"][0]["image"], form, quality=95)
    page.evaluate(DROP, [file["name"], file["mimeType"], base64.b64encode(file["buffer"]).decode()])
    page.wait_for_selector("#network.network-answered")
    assert "Nobody has labelled this picture" in page.inner_text("#network-status")
    assert np.sum(page.evaluate(PROBABILITIES)) == pytest.approx(1)


def test_other_files_are_refused_and_the_answer_stays(open_page, data):
    page = open_page(PAGE)
    before = choose(page, 0)
    refused = {
        "film.gif is no PNG, JPEG or WebP picture": {"name": "film.gif", "mimeType": "image/gif", "buffer": b"GIF89a"},
        "broken.png calls itself PNG, but cannot be read as a picture": {
            "name": "broken.png",
            "mimeType": "image/png",
            "buffer": b"no picture",
        },
        "mine.png is 90 × 2 pixels: too small": as_file(np.zeros((2, 90, 3), np.uint8)),
    }
    for said, file in refused.items():
        page.set_input_files("#network-file", file)
        page.wait_for_function("said => document.getElementById('network-status').textContent.includes(said)", arg=said)
        np.testing.assert_array_equal(page.evaluate(PROBABILITIES), before)
    np.testing.assert_allclose(changes(page), data["pictures"][0]["changes"], atol=ALLOWED)


def test_a_later_choice_overtakes_an_earlier_one(open_page, data):
    page = open_page(PAGE)
    page.click('[data-picture="0"]')
    choose(page, 1)
    np.testing.assert_allclose(changes(page), data["pictures"][1]["changes"], atol=ALLOWED)
    assert page.locator(".network-pictures [aria-pressed=true]").count() == 1


def test_it_works_from_a_file(chromium, html, data):
    context = chromium.new_context()
    page = context.new_page()
    problems = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: message.type in ("error", "warning") and problems.append(message.text))
    page.goto((html / PAGE).as_uri())
    np.testing.assert_allclose(choose(page, 0), data["pictures"][0]["probabilities"], atol=ALLOWED)
    changes(page)
    assert problems == []
    context.close()


def test_without_javascript_a_figure_tells_what_it_would_show(open_page):
    page = open_page(PAGE, java_script_enabled=False)
    still = page.locator(".network-still img")
    assert still.is_visible() and "probabilities" in still.get_attribute("alt")
    for hidden in (".network-controls", ".network-result", ".network-status"):
        assert not page.locator(hidden).is_visible()


@pytest.mark.parametrize(("theme", "width"), [("light", 390), ("dark", 1280), ("light", 1900)])
def test_it_is_accessible_and_fits_while_it_is_used(open_page, theme, width):
    page = open_page(PAGE, width, theme, has_touch=width == 390)
    press = page.tap if width == 390 else page.click
    press('[data-picture="2"]')
    page.wait_for_selector("#network-map[data-changes]")
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    status = page.locator("#network-status").bounding_box()
    assert 0 <= status["y"] < 800  # in sight, without scrolling
    assert violations(page) == []
