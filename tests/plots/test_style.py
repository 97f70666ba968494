"""The palette: the same in figures as in pages, to be seen on both grounds, and told apart by everybody."""

import re
from importlib.resources import files
from itertools import combinations

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from featx.plots._style import PALETTE, SERIES

CSS = (files("featx.reports") / "templates" / "page.css").read_text(encoding="utf-8")
LIGHT, DARK = (dict(re.findall(r"--(\w+): (#\w{6})", part)) for part in CSS.split("}", 1)[0:1] + CSS.split("}", 2)[1:2])

CONES = {
    "all": np.eye(3),
    "no red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "no blue": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
"""What linear RGB looks like (Machado, Oliveira and Fernandes, 2009)."""

LEAST = {"all": 0.12, "no red": 0.07, "no green": 0.07, "no blue": 0.04}


def linear(colour):
    values = np.array(to_rgb(colour))
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def contrast(a, b):
    """Return WCAG's contrast of two colours."""
    low, high = sorted(float(linear(colour) @ [0.2126, 0.7152, 0.0722]) for colour in (a, b))
    return (high + 0.05) / (low + 0.05)


def oklab(rgb):
    """Return where a colour lies in Oklab (Ottosson, 2020), in which distances are as large as they look."""
    lms = np.cbrt(
        np.clip(
            [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
             [0.0883024619, 0.2817188376, 0.6299787005]] @ rgb, 0, None,
        )
    )  # fmt: skip
    return np.array(
        [[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099],
         [0.0259040371, 0.7827717662, -0.8086757660]]
    ) @ lms  # fmt: skip


SHOWN = [name for name, colour in PALETTE.items() if colour in {style["color"] for style in SERIES}]


def test_a_light_page_has_the_figures_colours():
    assert {name: LIGHT[name] for name in PALETTE} == PALETTE


@pytest.mark.parametrize("page", [LIGHT, DARK], ids=["light", "dark"])
def test_all_is_seen_on_its_page(page):
    assert set(PALETTE) <= set(page)
    for name in ("ink", "faint"):
        assert contrast(page[name], page["ground"]) >= 4.5, name
    for name in (*SHOWN, "grey", "shade"):
        assert contrast(page[name], page["ground"]) >= 3, name
    assert contrast(page["ink"], page["shade"]) >= 4.5


def test_pixels_are_seen_on_both_pages():
    for name in (*SHOWN, "grey"):
        assert contrast(PALETTE[name], DARK["ground"]) >= 3, name


@pytest.mark.parametrize("cones", CONES)
@pytest.mark.parametrize("page", [LIGHT, DARK], ids=["light", "dark"])
def test_everybody_tells_the_colours_apart(page, cones):
    seen = {name: oklab(np.clip(np.asarray(CONES[cones]) @ linear(page[name]), 0, 1)) for name in SHOWN}
    for a, b in combinations(SHOWN, 2):
        assert np.linalg.norm(seen[a] - seen[b]) >= LEAST[cones], (a, b)


def test_no_two_series_share_a_dash_or_a_marker():
    assert len(SHOWN) == len(SERIES)
    for part in ("color", "linestyle", "marker"):
        assert len({style[part] for style in SERIES}) == len(SERIES)
