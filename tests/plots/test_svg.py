"""Figures in a page: in its colours, beside each other, and as text that nothing in them breaks out of."""

import io
import re
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from markupsafe import Markup
from PIL import Image

from featx.plots import axes_box, confusion_matrix, feature_map, page_svg, residuals, roc_curves
from featx.reports import Page, write_page
from featx.reports._page import environment
from tests.browser import complaints, requested, show
from tests.plots.examples import cloud, curves, figures, names
from tests.plots.test_style import DARK, LIGHT

TEMPLATE = """{% extends "base.html" %}
{% block main %}{% for each in drawings %}{{ parts.drawing(each) }}{% endfor %}{% endblock %}
"""
HOSTILE = '"><script>document.title = "caught"</script> {{7*7}} \u202e\ud800\nend & <b>'


@pytest.fixture
def page(monkeypatch, tmp_path):
    """Return a function that writes a page with some drawings."""
    from jinja2 import ChoiceLoader, DictLoader

    made = environment()
    monkeypatch.setattr(made, "loader", ChoiceLoader([DictLoader({"some.html": TEMPLATE}), made.loader]))

    def write(*drawings):
        drawn = Page("some.html", "drawings", {"drawings": [Markup(each) for each in drawings]})
        return write_page(drawn, tmp_path / "page.html")

    return write


def prefer(browser, scheme):
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def test_the_same_figure_is_always_the_same_element():
    matrix = [[3, 1], [0, 4]]
    first, again = (page_svg(confusion_matrix(matrix, ["a", "b"]), "alt") for _ in range(2))
    assert first == again
    assert first != page_svg(confusion_matrix([[3, 1], [1, 4]], ["a", "b"]), "alt")


def test_nothing_but_the_picture_is_in_it():
    for name, figure in figures(9).items():
        svg = page_svg(figure, HOSTILE)
        root = ET.fromstring(svg)
        assert svg.startswith('<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="')
        assert root.get("aria-label").endswith(r"{{7*7}} \u202e\ud800\nend & <b>")
        tags = {element.tag.removeprefix("{http://www.w3.org/2000/svg}") for element in root.iter()}
        assert tags <= {"svg", "g", "defs", "path", "use", "clipPath", "rect", "image", "pattern"}, name
        ids = {element.get("id") for element in root.iter()} - {None}
        assert set(re.findall(r"(?:url\(|href=\")#([^)\"]+)", svg)) == ids, name
        if name not in ("map of numbers", "gallery"):  # which have pixels
            assert not re.search(r"(?:fill|stroke)(?:: |=\")#", svg), name


def test_figures_stand_beside_each_other_in_a_page(page, browser):
    drawn = figures(9)
    path = page(*[page_svg(figure, f"{name} {HOSTILE}") for name, figure in drawn.items()])
    show(browser, path)
    assert complaints(browser) == []
    assert requested(browser) == [path.as_uri()]
    assert browser.title == "drawings"
    found = browser.execute_script(
        """const all = [...document.querySelectorAll("svg [id]")].map(each => each.id);
        const asked = [...document.querySelectorAll("svg use")].map(each => each.getAttribute("href").slice(1));
        return [all.length, new Set(all).size, asked.length, asked.filter(each => !document.getElementById(each))];"""
    )
    assert found[0] == found[1] > 100
    assert found[2] > 100
    assert found[3] == []
    shown = browser.find_elements("css selector", "svg[role=img]")
    assert [each.accessible_name.split(" ", 1)[0] for each in shown] == [name.split(" ")[0] for name in drawn]
    for each, figure in zip(shown, drawn.values(), strict=True):
        width, height = 96 * figure.get_size_inches()
        assert each.size["width"] == pytest.approx(min(width, 1104), abs=2)  # the page is as wide
        assert each.size["width"] / each.size["height"] == pytest.approx(width / height, rel=0.01)


def rgb(colour):
    return "rgb({}, {}, {})".format(*(int(colour[i : i + 2], 16) for i in (1, 3, 5)))


def test_colours_are_the_pages_own(page, browser):
    drawn = page_svg(roc_curves(curves(2, "roc")), "curves")
    show(browser, page(drawn))
    for scheme, colours in (("light", LIGHT), ("dark", DARK)):
        prefer(browser, scheme)
        found = browser.execute_script(
            """const of = part => [...new Set([...document.querySelectorAll("svg *")].map(
                each => getComputedStyle(each)[part]))];
            return [of("stroke"), of("fill")];"""
        )
        line, fill = (set(each) - {"none"} for each in found)
        parts = ("blue", "vermilion", "grey", "faint", "line")
        assert line == {rgb(colours[part]) for part in parts}
        assert fill == {rgb(colours[part]) for part in ("ink", "faint")}  # text, and marks on the axes


def pixel(browser, figure, element, point):
    """Return the colour of the page where the axes' box says that a point lies."""
    box = axes_box(figure)
    x = box.left + box.width * (point[0] - box.x_low) / (box.x_high - box.x_low)
    y = 1 - box.bottom - box.height * (point[1] - box.y_low) / (box.y_high - box.y_low)
    image = Image.open(io.BytesIO(element.screenshot_as_png)).convert("RGB")
    return image.getpixel((round(x * image.width), round(y * image.height)))


def near(colour, expected):
    return np.abs(np.subtract(colour, [int(expected[i : i + 2], 16) for i in (1, 3, 5)])).max() < 60


@pytest.mark.parametrize("n", [24, 4000])
def test_the_page_knows_where_a_point_lies(page, browser, n):
    points, labels = cloud(2, n)
    points[:2] = [[-20, 15], [12, -11]]  # apart from all others
    figure = feature_map(points, labels, names(2))
    svg = page_svg(figure, "map")
    assert ("<image" in svg) == (n > 2000)
    show(browser, page(svg))
    for scheme, colours in (("light", LIGHT), ("dark", DARK)):
        prefer(browser, scheme)
        element = browser.find_element("css selector", "svg")
        first, second = (pixel(browser, figure, element, point) for point in points[:2])
        of_points = LIGHT if n > 2000 else colours  # pixels keep their colours
        assert near(first, of_points["blue"])
        assert near(second, of_points["vermilion"])
        assert near(pixel(browser, figure, element, (12, 15)), colours["ground"])


def test_what_explains_pixels_keeps_its_colours_with_them(page, browser):
    points, labels = cloud(2, 4000)
    show(browser, page(page_svg(feature_map(points, labels, names(2)), "map")))
    prefer(browser, "dark")
    fills = browser.execute_script(
        "return [...document.querySelectorAll('svg use')].map(each => getComputedStyle(each).fill);"
    )
    assert {rgb(LIGHT["blue"]), rgb(LIGHT["vermilion"])} <= set(fills)
    assert rgb(DARK["blue"]) not in fills


def test_many_points_make_no_large_page():
    random = np.random.default_rng(0)
    values = random.normal(size=(50_000, 2))
    assert len(page_svg(residuals(*values.T, "x"), "values")) < 1_000_000
    assert len(page_svg(feature_map(values, random.integers(0, 9, 50_000), names(9)), "map")) < 2_000_000
