"""Text in figures: fonts that have its characters, and lines that fit."""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, cast

from featx.errors import printable

__all__ = ["Writing", "shortened", "wrapped"]

_FAMILY = "DejaVu Sans"
"""Comes with matplotlib, so it is always there."""

_BOXES = "Last Resort"
"""A font that has every character, as a box."""

_IGNORABLE = re.compile(
    r"[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    r"\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
"""What is not drawn whether a font has it or not: Unicode's Default_Ignorable_Code_Point."""

_LONGEST = 400
"""Characters of a text of which no more can be shown anyway."""


class Writing:
    """How some texts are written: in characters that there is a font for, in lines of some width.

    Parameters
    ----------
    texts : iterable of str
        All that is to be written.
    size : float
        Of the font, in points.
    """

    def __init__(self, texts: Iterable[str], size: float) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.font_manager import FontProperties

        self._families, self._missing = _families(set("".join(map(printable, texts))))
        self._size = size
        self._font = FontProperties(family=self._families, size=size)
        self._widths: dict[str, float] = {}
        self._paper = Figure(dpi=72)  # on which a pixel is a point
        self._renderer: Any = cast(Any, FigureCanvasAgg(self._paper)).get_renderer()

    @property
    def style(self) -> dict[str, Any]:
        """What matplotlib is to be given with each text: nothing in it is a formula."""
        return {"family": self._families, "size": self._size, "parse_math": False, "usetex": False}

    def lines(self, text: str, width: float, most: int) -> list[str]:
        """Return a text, which may have lines of its own, in at most so many lines that are no wider than `width`.

        Parameters
        ----------
        text : str
        width : float
            In points.
        most : int
            Of too long a text the middle is left out.
        """
        own = [self._legible(printable(line)) for line in text.split("\n")][:most]
        share = [most - len(own) + 1, *[1] * (len(own) - 1)]  # only the first may take what is left
        return [
            line
            for text, lines in zip(own, share, strict=True)
            for line in _fitted(text, lines, lambda line: self.width(line) <= width)
        ]

    def height(self, lines: Sequence[str]) -> float:
        """Return the height in points of some lines, one below the other."""
        text = self._paper.text(0, 0, "\n".join(lines), **self.style)
        return float(text.get_window_extent(self._renderer).height)

    def _legible(self, text: str) -> str:
        return "".join(
            character.encode("unicode_escape").decode("ascii") if character in self._missing else character
            for character in text
        )

    def width(self, line: str) -> float:
        """Return the width in points of a line."""
        if line not in self._widths:
            measured = self._renderer.get_text_width_height_descent(line, self._font, ismath=False)
            self._widths[line] = float(measured[0])
        return self._widths[line]


def _families(characters: set[str]) -> tuple[list[str], set[str]]:
    """Return names of fonts that together have some characters, and the characters that no font has."""
    from matplotlib.font_manager import FontProperties, findfont, fontManager

    families = [_FAMILY]
    missing = characters - _covered(findfont(FontProperties(family=families)), characters)
    for font in sorted(fontManager.ttflist, key=lambda font: font.name):
        if not missing:
            break
        if (font.style, font.weight) == ("normal", 400) and not font.name.startswith(_BOXES):
            found = _covered(font.fname, missing)
            families += [font.name] if found else []
            missing -= found
    return families, missing


def _covered(file: str, characters: set[str]) -> set[str]:
    """Return those of some characters that a font can draw; what would leave no trace (a soft hyphen, say) is none."""
    from matplotlib.font_manager import get_font

    try:
        font = get_font(file)
    except (OSError, RuntimeError):  # deleted since, or of a kind that is not understood
        return set()
    return {
        character
        for character in characters
        if font.scalable and font.get_char_index(ord(character)) and not _IGNORABLE.match(character)
    }


def shortened(text: str, length: int) -> str:
    """Return a text of at most `length` characters, with an ellipsis for its middle where it is longer."""
    if len(text) <= length:
        return text
    head = length // 2
    tail = length - 1 - head
    return f"{text[:head]}…{text[len(text) - tail :]}"


def wrapped(text: str, fits: Callable[[str], bool]) -> list[str]:
    """Break a text into lines that fit, between words or after a slash where it can be done."""
    lines = [""]
    for word in re.findall(r"[^\s/]*/|[^\s/]+|\s+", text):
        if fits((lines[-1] + word).rstrip()):
            lines[-1] += word
        elif fits(word):
            lines.append(word.lstrip())
        else:
            for character in word:
                if lines[-1] and not fits(lines[-1] + character):
                    lines.append("")
                lines[-1] += character
    return [line.rstrip() for line in lines]


def _fitted(text: str, most: int, fits: Callable[[str], bool]) -> list[str]:
    """Break a text into at most so many lines that fit, leaving out as much of its middle as it takes."""
    if fits(text):
        return [text.rstrip()]
    text, fits = shortened(text, _LONGEST), lru_cache(maxsize=None)(fits)
    kept = bisect_right(range(1, len(text) + 1), most, key=lambda length: len(wrapped(shortened(text, length), fits)))
    return wrapped(shortened(text, kept), fits)
