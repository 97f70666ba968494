"""Figures as a part of a page, in the page's colours."""

import hashlib
import io
import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from featx.errors import printable
from featx.plots._style import AS_IT_IS, DPI, PALETTE, house_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["page_svg"]

_PAGE_COLOURS = {colour: "currentColor" if name == "ink" else f"var(--{name})" for name, colour in PALETTE.items()}
_COLOUR = re.compile("|".join(_PAGE_COLOURS))
_REFERENCE = re.compile(r"(?:^|(?<=url\())#([\w-]+)")
_REFERRING = ("href", "clip-path", "style")
_UNUSED = ("metadata", "style")


def page_svg(figure: "Figure", alt: str) -> str:
    """Return a figure as an SVG element to stand in a page.

    What is drawn in a colour of the house takes the page's colour of that name, from the custom properties ``--blue``,
    ``--line`` and so on, and what is drawn in ink takes the colour of the page's text; the ground is the page's own.
    Text is drawn as paths, names of parts are the figure's own, and the same figure always gives the same element.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    alt : str
        What the figure shows, for those who do not see it.

    Returns
    -------
    str
        HTML that needs no escaping.
    """
    file = io.StringIO()
    with house_style():
        figure.savefig(file, format="svg", dpi=DPI, transparent=True, metadata={"Date": None})
    drawn = file.getvalue()
    root = ET.fromstring(drawn)
    _strip(root)
    prefix = "f" + hashlib.sha256(drawn.encode()).hexdigest()[:10]
    used = {name for element in root.iter() for name in _referred(element)}
    for element in root.iter():
        _rename(element, prefix, used)
    _recolour(root)
    width, height = figure.get_size_inches()
    root.attrib = {
        "xmlns": "http://www.w3.org/2000/svg",
        "role": "img",
        "aria-label": printable(alt),
        "viewBox": root.attrib["viewBox"],
        "width": f"{96 * width:.0f}",
        "height": f"{96 * height:.0f}",
        "fill": "currentColor",
        "stroke-linejoin": "round",
    }
    return ET.tostring(root, encoding="unicode")


def _strip(element: ET.Element) -> None:
    """Leave out namespaces, which HTML knows, and what says nothing of the picture."""
    element.tag = _local(element.tag)
    element.attrib = {_local(name): value for name, value in element.attrib.items()}
    element.tail = None
    if not (element.text or "").strip():
        element.text = None
    for child in list(element):
        if _local(child.tag) in _UNUSED:
            element.remove(child)
        else:
            _strip(child)


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _referred(element: ET.Element) -> list[str]:
    return [name for key in _REFERRING for name in _REFERENCE.findall(element.get(key, ""))]


def _rename(element: ET.Element, prefix: str, used: set[str]) -> None:
    """Give the figure's own names to what is referred to; the rest needs none."""
    name = element.get("id")
    if name is not None and name != AS_IT_IS:
        if name in used:
            element.set("id", f"{prefix}-{name}")
        else:
            del element.attrib["id"]
    for key in _REFERRING:
        if key in element.attrib:
            element.set(
                key,
                _REFERENCE.sub(
                    lambda found: f"#{prefix}-{found[1]}" if found[1] in used else found[0], element.attrib[key]
                ),
            )


def _recolour(element: ET.Element) -> None:
    if element.get("id") == AS_IT_IS:
        del element.attrib["id"]
        return
    for key in ("style", "fill", "stroke"):
        if key in element.attrib:
            element.set(key, _COLOUR.sub(lambda found: _PAGE_COLOURS[found[0]], element.attrib[key]))
    for child in element:
        _recolour(child)
