import pytest
from hypothesis import given
from hypothesis import strategies as st

from featx.plots._text import Writing, shortened, wrapped

WORDS = st.text(alphabet="ab ", max_size=40)


@given(WORDS, st.integers(1, 12))
def test_lines_fit_and_lose_only_spaces(text, width):
    lines = wrapped(text, lambda line: len(line) <= width)
    assert all(len(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_lines_break_between_words_where_they_can():
    assert wrapped("one two three", lambda line: len(line) <= 7) == ["one two", "three"]
    assert wrapped("onetwothree", lambda line: len(line) <= 7) == ["onetwot", "hree"]
    assert wrapped("a/bcd/efg", lambda line: len(line) <= 7) == ["a/bcd/", "efg"]
    assert wrapped("", lambda line: len(line) <= 7) == [""]


@given(st.text(max_size=30), st.integers(1, 30))
def test_shortened_in_the_middle(text, length):
    found = shortened(text, length)
    assert len(found) == min(len(text), length)
    if found != text:
        head, _, tail = found.partition("…") if "…" not in text else (found[: length // 2], "", "")
        assert text.startswith(head)
        assert text.endswith(tail)


@pytest.mark.parametrize("most", [1, 2, 4])
def test_as_much_is_kept_as_fits(most):
    writing = Writing(["x" * 200], 9)
    lines = writing.lines("x" * 200, 100, most)
    assert len(lines) == most
    text = "".join(lines)
    assert text.count("…") == 1
    one_more = shortened("x" * 200, len(text) + 1)
    assert len(wrapped(one_more, lambda line: writing.width(line) <= 100)) > most


def test_a_text_that_fits_stays_as_it_is():
    writing = Writing(["99% alien, 1% predator"], 9)
    assert writing.lines("99% alien, 1% predator", 158, 4) == ["99% alien, 1% predator"]


def test_a_narrow_w_takes_less_than_a_wide_one():
    writing = Writing(["iW"], 9)
    assert len(writing.lines("i" * 50, 100, 9)) < len(writing.lines("W" * 50, 100, 9))


def test_characters_of_no_font_are_escaped():
    private = "\U000f0000"
    assert Writing([private], 9).lines(f"a{private}b", 200, 1) == [r"a\U000f0000b"]


def test_fonts_are_looked_for_by_what_they_have():
    style = Writing(["plain"], 9).style
    assert style == {"family": ["DejaVu Sans"], "size": 9, "parse_math": False, "usetex": False}
    assert Writing(["ﬀ ∮ ✓ ✗"], 9).style["family"] == ["DejaVu Sans"]
