"""Folders of images that heads get some of wrong, and what a page shows of them."""

import json
from pathlib import Path

import numpy as np

from tests.tiny import COLOURS, picture


def write_confusing(root: Path, *, per_class: int = 12, names: dict[str, str] | None = None) -> Path:
    """Write images below `root`, every third of a class in the next one's colour, and a manifest; return that.

    `names` are those of the classes; every other image is of ``val``.
    """
    names = names or {colour: colour for colour in COLOURS}
    colours = list(COLOURS)
    lines = []
    root.mkdir(parents=True, exist_ok=True)
    for number, colour in enumerate(colours * per_class):
        shown = colours[(colours.index(colour) + (number // 3 % 3 == 2)) % 3]
        path = root / f"{number:03d}.png"
        picture(number, COLOURS[shown]).save(path)
        split = ("train", "val")[number // 3 % 2]
        lines.append(json.dumps({"path": path.name, "label": names[colour], "split": split}))
    manifest = root / "list.jsonl"
    manifest.write_text("\n".join(lines))
    return manifest


def cells(browser, table):
    """Return the texts of a table's body, row by row."""
    script = "return [...arguments[0].tBodies[0].rows].map(row => [...row.cells].map(cell => cell.innerText))"
    return browser.execute_script(script, table)


def section(browser, anchor, tag="H2"):
    """Return the elements between a heading and the next of its kind or above."""
    script = """
    const found = [];
    for (let one = document.getElementById(arguments[0]).nextElementSibling; one; one = one.nextElementSibling) {
      if (one.tagName === 'H2' || one.tagName === arguments[1]) break;
      found.push(one);
    }
    return found;
    """
    return browser.execute_script(script, anchor, tag)


def table(browser, anchor, number=0):
    """Return a table of a section."""
    return [one for each in section(browser, anchor) for one in each.find_elements("css selector", "table")][number]


def listed(browser, anchor, tag="H2"):
    """Return the items of the lists of a section."""
    return [item.text for one in section(browser, anchor, tag) for item in one.find_elements("css selector", "li")]


def unfold(browser):
    """Open what is folded."""
    browser.execute_script("document.querySelectorAll('details').forEach(one => { one.open = true; })")


def pictures(browser, anchor):
    """Return (address of the image or None, lines) of the pictures of a section."""
    found = []
    for element in section(browser, anchor, browser.find_element("id", anchor).tag_name.upper()):
        for item in element.find_elements("css selector", "ul.pictures > li"):
            images = item.find_elements("css selector", "img")
            lines = [line.text for line in item.find_elements("css selector", "figcaption span")]
            found.append((images[0].get_attribute("src") if images else None, lines))
    return found


def as_text(figure):
    """Return a figure as pages write it, by other code than theirs."""
    value, low, high = (np.format_float_positional(x, 3, unique=False) for x in (figure.value, figure.low, figure.high))
    return f"{value} ({low}–{high})"
