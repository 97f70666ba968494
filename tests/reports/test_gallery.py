"""Galleries: each picture with what is said of it, for those who do not see it, too."""

import base64
import io
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from featx.reports import Picture, data_address, gallery_page, write_page
from tests.browser import complaints, requested, show
from tests.reports.test_page import HOSTILE
from tests.tiny import picture


def image_of(address):
    kind, _, data = address.partition(",")
    assert kind == "data:image/webp;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


@pytest.mark.parametrize(
    ("size", "side", "shown"),
    [((40, 32), 96, (40, 32)), ((400, 320), 96, (96, 77)), ((1, 1000), 50, (1, 50)), ((192, 192), 192, (192, 192))],
)
def test_thumbnails_keep_their_shape_and_are_never_larger(size, side, shown):
    across, down = np.meshgrid(np.linspace(0, 255, size[0]), np.linspace(0, 255, size[1]))
    whole = Image.fromarray(np.stack([across, down, 255 - across], axis=2).astype(np.uint8))
    for given in (whole, np.asarray(whole)):
        small = image_of(data_address(given, side))
        assert small.size == shown
        difference = np.asarray(whole.resize(shown, Image.Resampling.BOX), int) - np.asarray(small.convert("RGB"))
        assert np.abs(difference).mean() < 5


def test_grey_pixels_and_turned_photographs():
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
    np.testing.assert_allclose(np.asarray(image_of(data_address(grey, 8)).convert("L"), int), grey, atol=25)
    turned = Image.new("RGB", (30, 10))
    turned.getexif()[0x0112] = 6
    assert image_of(data_address(turned, 96)).size == (10, 30)


def test_sections_titles_marks_and_what_is_not_at_hand(tmp_path, browser):
    asked = []

    def load():
        asked.append(1)
        return picture(2)

    sections = [
        ("first", [Picture(picture(0), ["99% cat", "true: cat"], "photos/cat/1.jpg", True)]),
        (
            "",
            [
                Picture(np.asarray(picture(1)), ["98% dog", "true: cat"], "2.jpg", False),
                Picture(load, ["5% eel"], "3.jpg"),
                Picture(lambda: None, ["4.jpg", "gone"], "4.jpg"),
                Picture(None, ["gone"], "5.jpg"),
            ],
        ),
    ]
    show(browser, write_page(gallery_page(sections, "some", notes=["a note"]), tmp_path / "page.html"))
    assert asked == [1]
    assert (complaints(browser), requested(browser)) == ([], [(tmp_path / "page.html").as_uri()])
    assert [one.text for one in browser.find_elements("css selector", "h2")] == ["first"]
    assert [one.text for one in browser.find_elements("css selector", ".notes li")] == ["a note"]
    captions = [one.text.split("\n") for one in browser.find_elements("css selector", "figcaption")]
    assert captions == [
        ["99% cat", "true: cat", "✓ right", "photos/cat/1.jpg"],
        ["98% dog", "true: cat", "✗ wrong", "2.jpg"],
        ["5% eel", "3.jpg"],
        ["4.jpg", "gone"],
        ["gone", "5.jpg"],
    ]
    images = browser.find_elements("css selector", "main img")
    assert [one.get_attribute("alt") for one in images] == ["photos/cat/1.jpg", "2.jpg", "3.jpg"]
    assert all(one.get_property("naturalWidth") == 40 for one in images)
    missing = browser.find_elements("css selector", "[role=img]")
    assert [one.get_attribute("aria-label") for one in missing] == ["4.jpg, not at hand", "5.jpg, not at hand"]


def test_names_stay_text(tmp_path, browser):
    pictures = [Picture(picture(0), [name, f"true: {name}"], f"{name}/{name}", True) for name in HOSTILE]
    sections = [(name, pictures) for name in HOSTILE]
    page = gallery_page(sections, HOSTILE[1], notes=HOSTILE)
    show(browser, write_page(page, tmp_path / "page.html"))
    assert (complaints(browser), requested(browser)) == ([], [(tmp_path / "page.html").as_uri()])
    shown = [*HOSTILE[:-1], "caf\\udce9 \\u202egnp.exe"]
    assert browser.title == HOSTILE[1]
    assert [one.text for one in browser.find_elements("css selector", "h2")] == shown
    items = browser.find_elements("css selector", ".pictures")[0].find_elements("css selector", "li")
    captions = [item.find_element("css selector", "figcaption").text.split("\n") for item in items]
    assert captions == [[name, f"true: {name}", "✓ right", f"{name}/{name}"] for name in shown]
    alternatives = [item.find_element("css selector", "img").get_attribute("alt") for item in items]
    assert alternatives == [f"{name}/{name}" for name in shown]
    assert len(browser.find_elements("css selector", "main img")) == len(HOSTILE) ** 2
    assert not browser.find_elements("css selector", "main script")


@pytest.mark.parametrize("width", [400, 1200])
def test_pictures_fit_into_the_window(tmp_path, browser, width):
    pictures = [Picture(picture(i), ["w" * 50, "x/" * 60], "n" * 300) for i in range(9)]
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        show(browser, write_page(gallery_page([("h" * 300, pictures)], "t" * 300), tmp_path / "page.html"))
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        boxes = [one.rect for one in browser.find_elements("css selector", ".pictures li")]
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert len({box["x"] for box in boxes}) == (2 if width == 400 else 6)
    for box in boxes:
        assert 150 < box["width"] < 192
    for above, below in pairwise(boxes):
        assert below["x"] >= above["x"] + above["width"] or below["y"] >= above["y"] + above["height"]
