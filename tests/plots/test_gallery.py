from itertools import combinations

import matplotlib.style
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from featx.errors import ParameterError
from featx.plots import gallery
from featx.plots._style import PALETTE
from tests.plots.helpers import LONG, ODD, assert_legible, draw, texts_of
from tests.tiny import picture


def shown(figure):
    """Return the pixels of each picture as they are kept, in order."""
    return [axes.images[0].get_array() for axes in figure.axes]


def titles_of(figure):
    return [axes.get_title() for axes in figure.axes]


def test_pictures_and_titles_stand_side_by_side():
    images = [picture(0), np.asarray(picture(1)), np.asarray(picture(2))[..., 0]]
    titles = ["99% alien, 1% predator", "61% predator, 39% alien", "50% alien, 50% predator"]
    figure = gallery(images, titles)
    assert titles_of(figure) == titles
    for found, image in zip(shown(figure), images, strict=True):
        np.testing.assert_array_equal(found, np.asarray(image))
    places = [axes.get_position() for axes in figure.axes]
    assert len({round(place.y0, 6) for place in places}) == 1
    assert [place.x0 for place in places] == sorted(place.x0 for place in places)
    assert_legible(figure)


@pytest.mark.parametrize(("n", "columns"), [(1, 1), (4, 4), (5, 3), (16, 4), (17, 5), (48, 7)])
def test_as_many_columns_as_rows(n, columns):
    figure = gallery((picture(i) for i in range(n)), ["title"] * n)
    assert len(figure.axes) == n  # no empty ones
    assert len({round(axes.get_position().x0, 6) for axes in figure.axes}) == columns
    assert len({round(axes.get_position().y1, 6) for axes in figure.axes}) == -(-n // columns)
    assert_legible(figure)


def test_columns_as_wished():
    figure = gallery([picture(i) for i in range(6)], list("abcdef"), columns=2)
    assert len({round(axes.get_position().x0, 6) for axes in figure.axes}) == 2


@pytest.mark.parametrize("size", [(400, 300), (300, 1000), (28, 28), (1, 1), (1920, 1080)])
def test_the_aspect_is_kept(size):
    figure = gallery([Image.new("RGB", size), picture(0)], ["one", "two"])
    width, height = figure.axes[0].get_window_extent().size
    assert width / height == pytest.approx(size[0] / size[1])
    assert max(width, height) == pytest.approx(330)


def test_large_pictures_are_kept_as_they_are_shown():
    large = picture(0, size=(1000, 500))
    (found,) = shown(gallery([large], ["large"]))
    np.testing.assert_array_equal(found, np.asarray(large.resize((330, 165), Image.Resampling.LANCZOS, None, 2.0)))


def test_very_long_and_thin_pictures_can_be_seen():
    figure = gallery([Image.new("RGB", (1, 2000)), Image.new("RGB", (2000, 1))], ["tall", "wide"])
    assert all(min(axes.get_window_extent().size) > 3 for axes in figure.axes)
    assert_legible(figure)


def test_odd_titles_are_text_that_stays_in_its_place():
    figure = gallery([picture(i) for i in range(len(ODD))], ODD)
    assert_legible(figure)
    found = titles_of(figure)
    assert found[0] == ODD[0]
    assert found[1] == ODD[1]
    assert found[3] == ODD[3]
    assert found[4].split() == [r"carriage\rreturn\ttab", r"\x1b[31m", r"\x00"]
    assert found[5] == r"\u202egpj.exe"
    assert found[8] == r"caf\udce9"
    assert found[9].replace("\n", "").replace("…", "") == "n" * (len(found[9]) - 4)
    assert found[10].startswith("photos/very")
    assert found[10].endswith("down.jpg")
    assert "…" in found[11]
    assert all(title.count("\n") < 4 for title in found)
    for axes in figure.axes:
        assert not axes.title.get_parse_math()
        assert not axes.title.get_usetex()


def test_titles_lie_over_no_picture():
    figure = gallery([picture(i, size=(40, 20 + 10 * i)) for i in range(9)], [LONG, "short", "a\nb"] * 3)
    draw(figure)
    pictures = [axes.get_window_extent() for axes in figure.axes]
    for (_, title), box in ((text, box) for text in texts_of(figure) for box in pictures):
        assert not title.overlaps(box)
    assert not any(a.overlaps(b) for a, b in combinations(pictures, 2))


def test_a_users_own_style_moves_nothing():
    with matplotlib.style.context(["dark_background", {"figure.autolayout": True, "text.usetex": True}]):
        figure = gallery([picture(i) for i in range(4)], ["a", LONG, "$c", "d"], columns=2)
        assert_legible(figure)
        assert figure.get_facecolor() == (1, 1, 1, 1)
        assert {axes.title.get_color() for axes in figure.axes} == {PALETTE["ink"]}


@settings(max_examples=15)
@example(["\xad", "a\u200bb", "\ufe0f"])
@given(st.lists(st.text(max_size=120), min_size=1, max_size=4))
def test_any_title_is_legible(titles):
    assert_legible(gallery([picture(i) for i in range(len(titles))], titles))


@pytest.mark.parametrize(
    ("images", "titles", "words"),
    [
        ([], [], "got 0 images and 0 titles"),
        ([picture(0)], ["a", "b"], "got 1 images and 2 titles"),
        ([np.zeros((4, 4, 4), np.uint8)], ["a"], r"got uint8 of shape \(4, 4, 4\)"),
        ([np.zeros((4, 4, 3))], ["a"], r"got float64 of shape \(4, 4, 3\)"),
        ([np.zeros((0, 4, 3), np.uint8)], ["a"], r"got uint8 of shape \(0, 4, 3\)"),
    ],
)
def test_what_is_no_gallery(images, titles, words):
    with pytest.raises(ParameterError, match=words):
        gallery(images, titles)


def test_columns_must_be_some():
    with pytest.raises(ParameterError, match="columns must be at least 1; got 0"):
        gallery([picture(0)], ["a"], columns=0)
