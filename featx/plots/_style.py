"""How all figures look: colours that everybody can tell apart, each of which a page has for light and for dark."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from threading import RLock
from typing import TYPE_CHECKING, Any, ParamSpec

from featx.plots._text import Writing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend

__all__ = [
    "AS_IT_IS",
    "DPI",
    "FONT",
    "PALETTE",
    "SERIES",
    "add_legend",
    "figure_with_axes",
    "house_style",
    "in_house_style",
    "new_figure",
    "trim",
]

DPI = 150
"""Pixels of an inch of a figure."""

FONT = 9.0
"""Size of what is written, in points."""

PALETTE = {
    "ground": "#ffffff",
    "ink": "#1c1e21",
    "faint": "#5a6068",
    "line": "#d5d9de",
    "shade": "#3d9bd9",
    "grey": "#757b84",
    "blue": "#0072b2",
    "vermilion": "#c44e00",
    "green": "#00795a",
    "violet": "#9b5fe8",
    "olive": "#999818",
    "purple": "#b12d92",
    "teal": "#38a293",
    "lavender": "#858bc7",
}
"""Colours by the names that a page has for them: those of a light page. From `grey` on they have a contrast of 3 to
white and to a dark page, too. The first three are those of Okabe and Ito (Color Universal Design, 2008), made darker;
the others were looked for so that no two are alike to anybody, whichever cones one has."""

SERIES: tuple[dict[str, Any], ...] = tuple(
    {"color": PALETTE[name], "linestyle": line, "marker": marker}
    for name, line, marker in (
        ("blue", "-", "o"),
        ("vermilion", "--", "s"),
        ("green", "-.", "^"),
        ("violet", ":", "D"),
        ("olive", (0, (5, 1, 1, 1, 1, 1)), "v"),
        ("purple", (0, (8, 3)), "P"),
        ("teal", (0, (3, 1)), "X"),
        ("lavender", (0, (1, 2.5)), "*"),
    )
)
"""How lines and points of different things are drawn: no two share a colour, a dash or a marker."""

AS_IT_IS = "as-it-is"
"""Group of what keeps its colours in a page: pixels, and what explains them."""

_STYLE: Any = {
    "font.size": FONT,
    "axes.labelsize": FONT,
    "axes.titlesize": FONT,
    "xtick.labelsize": FONT,
    "ytick.labelsize": FONT,
    "legend.fontsize": FONT,
    "text.color": PALETTE["ink"],
    "axes.labelcolor": PALETTE["ink"],
    "axes.edgecolor": PALETTE["faint"],
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "axes.titlelocation": "left",
    "xtick.color": PALETTE["faint"],
    "ytick.color": PALETTE["faint"],
    "xtick.labelcolor": PALETTE["ink"],
    "ytick.labelcolor": PALETTE["ink"],
    "grid.color": PALETTE["line"],
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "figure.facecolor": PALETTE["ground"],
    "figure.dpi": DPI,
    "svg.fonttype": "path",
    "svg.hashsalt": "featx",
}

_LOCK = RLock()

P = ParamSpec("P")


@contextmanager
def house_style() -> Iterator[None]:
    """Draw in the house's style, whatever the user's own is; one thread at a time, as matplotlib has one style."""
    import matplotlib as mpl

    with _LOCK, mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        yield


def in_house_style(draw: "Callable[P, Figure]") -> "Callable[P, Figure]":
    """Have what a function draws in the house's style, and where it is, for good."""

    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> "Figure":
        with house_style():
            figure = draw(*args, **kwargs)
            figure.draw_without_rendering()  # marks on axes take their style, and axes their place, when drawn
            figure.set_layout_engine("none")
        return figure

    return drawn


def new_figure(width: float, height: float) -> "Figure":
    """Return an empty figure of so many inches that places its axes itself."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def figure_with_axes(
    across: float, down: float, *, left: float, right: float, bottom: float, top: float
) -> "tuple[Figure, Axes]":
    """Return a figure with axes of so many inches, and so many inches around them."""
    from matplotlib.figure import Figure

    width, height = left + across + right, bottom + down + top
    figure = Figure(figsize=(width, height))
    figure.set_layout_engine("none")
    return figure, figure.add_axes((left / width, bottom / height, across / width, down / height))


def trim(figure: "Figure") -> None:
    """Take away what is empty at the right of a figure with one pair of axes."""
    (axes,) = figure.axes
    left, bottom, across, down = axes.get_position().bounds
    width, height = figure.get_size_inches()
    used = min(figure.get_tightbbox().x1 + 0.1, width)
    figure.set_size_inches(used, height)
    axes.set_position((left * width / used, bottom, across * width / used, down))


def add_legend(
    owner: "Figure | Axes", handles: Sequence[Any], names: Sequence[str], *, width: float = 220, **place: Any
) -> "Legend":
    """Add a legend in which a name is nothing but text, no wider than so many points."""
    from matplotlib.artist import Artist

    writing = Writing(names, FONT)
    legend = owner.legend(handles, [str(i) for i in range(len(names))], **place)
    shown: list[Any] = legend.legend_handles
    for text, name, handle, drawn in zip(legend.get_texts(), names, handles, shown, strict=True):
        text.set(text=writing.lines(name, width, 1)[0], **writing.style)
        if isinstance(handle, Artist):
            drawn.set_gid(handle.get_gid())
    return legend
