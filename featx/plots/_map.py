"""Where samples lie: a map of points in the plane."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from featx.errors import ParameterError
from featx.plots._style import AS_IT_IS, FONT, PALETTE, SERIES, add_legend, figure_with_axes, in_house_style, trim
from featx.plots._text import Writing
from featx.plots._values import MANY

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["AxesBox", "axes_box", "feature_map"]

_WIDTH, _HEIGHT = 6.0, 5.0
"""Inches of the plane."""

_BATCHES = 6
"""Turns in which the classes are drawn, so that none lies over all others."""

_LEGEND = 130.0
"""Points that a name has at most in the legend."""

_NAME = 90.0
"""Points that it has at most among the points."""

_LISTED = 24
"""Classes up to which a legend names all."""

_MARKERS = ("o", "s", "^", "D", "v", "P", "X")

_NO_LABEL = (PALETTE["grey"], ".")

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

Box = tuple[float, float, float, float]
"""Left, bottom, right and top."""


class AxesBox(NamedTuple):
    """Where the axes of a figure lie, and what they show.

    Attributes
    ----------
    left, bottom, width, height : float
        In fractions of the figure, from its lower left corner.
    x_low, x_high, y_low, y_high : float
        The data at the axes' ends.
    """

    left: float
    bottom: float
    width: float
    height: float
    x_low: float
    x_high: float
    y_low: float
    y_high: float


def axes_box(figure: "Figure") -> AxesBox:
    """Return where a map's axes lie in its figure, and what they show: a page finds a point by that."""
    axes = figure.axes[0]
    left, bottom, width, height = axes.get_position().bounds
    return AxesBox(left, bottom, width, height, *axes.get_xlim(), *axes.get_ylim())


@in_house_style
def feature_map(
    points: npt.ArrayLike,
    labels: npt.ArrayLike,
    classes: Sequence[str] = (),
    *,
    highlighted: npt.ArrayLike | None = None,
) -> "Figure":
    """Draw samples as points.

    Parameters
    ----------
    points : array_like of shape (n, 2), float
    labels : array_like of shape (n,), int or float
        Index of each sample's class, -1 for none; or numbers, of a regression, nan for none.
    classes : sequence of str
        Each has a colour and a marker of its own, up to 56. Of more than 8, names are written where their samples lie,
        as many as do not overlap. For numbers the name of what they are.
    highlighted : array_like of int, optional
        Samples with a ring.

    Returns
    -------
    matplotlib.figure.Figure
        Of more than 2,000 samples the points are pixels, also in a page or an SVG file.

    Raises
    ------
    ParameterError
        If the arrays do not go together.
    """
    places, kinds = np.asarray(points, dtype=np.float64), np.asarray(labels)
    if places.ndim != 2 or places.shape[1] != 2 or kinds.shape != places.shape[:1] or not places.size:
        raise ParameterError(
            f"points must be at least one, in two columns, with a label each; got shapes {places.shape} and"
            f" {kinds.shape}"
        )
    if not np.isfinite(places).all():
        raise ParameterError("points must be finite; got nan or inf: leave such rows out")
    is_value = kinds.dtype.kind == "f"
    if not is_value and not -1 <= int(kinds.min()) <= int(kinds.max()) < len(classes):
        raise ParameterError(
            f"labels must be -1 or indices of {len(classes)} classes; got {kinds.min()} to {kinds.max()}"
        )
    figure, axes = figure_with_axes(_WIDTH, _HEIGHT, left=0.1, right=2.4, bottom=0.1, top=0.1)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(visible=True, color=PALETTE["line"])
    for bounds, values in ((axes.set_xlim, places[:, 0]), (axes.set_ylim, places[:, 1])):
        low, high = float(values.min()), float(values.max())
        margin = 0.03 * (high - low) or 0.5
        bounds(low - margin, high + margin)
    many = len(places) > MANY
    if is_value:
        _draw_values(axes, places, kinds.astype(np.float64), "".join(classes), many)
    else:
        _draw_classes(axes, places, kinds.astype(np.int64), classes, many)
    if highlighted is not None and np.size(highlighted):
        x, y = places[np.asarray(highlighted)].T
        axes.plot(x, y, "o", markerfacecolor="none", markeredgecolor=PALETTE["ink"], markersize=9)
    trim(figure)
    return figure


def _draw_classes(axes: "Axes", places: Floats, kinds: Integers, classes: Sequence[str], many: bool) -> None:
    k = len(classes)
    looks = [_look(c, k) for c in range(k)]
    handles, names = [], list(classes)
    style = _point_style(len(places), many)
    if (kinds < 0).any():
        _draw_points(axes, places[kinds < 0], _NO_LABEL, style)
        looks, names = [*looks, _NO_LABEL], [*names, "no label"]
    order = np.random.default_rng(0).permutation(np.flatnonzero(kinds >= 0))
    for batch in np.array_split(order, _BATCHES if many else 1):
        by_look: dict[tuple[str, str], list[Integers]] = {}
        for c in np.unique(kinds[batch]).tolist():
            by_look.setdefault(looks[c], []).append(batch[kinds[batch] == c])
        for look, rows in by_look.items():
            _draw_points(axes, places[np.concatenate(rows)], look, style)
    if k > len(SERIES):
        written = _write_names(axes, places, kinds, classes)
    if k > _LISTED:
        axes.text(1.02, 0, f"names of {written} of {k:,} classes", transform=axes.transAxes, va="bottom")
        looks, names = looks[k:], names[k:]
    handles = [_key(look, style["gid"]) for look in looks]
    if handles:
        place: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.01, 1), "borderaxespad": 0}
        add_legend(axes, handles, names, width=_LEGEND, handletextpad=0.3, **place)


def _look(c: int, k: int) -> tuple[str, str]:
    """Return colour and marker of a class."""
    turn, place = divmod(c, len(SERIES))
    marker = SERIES[place]["marker"] if k <= len(SERIES) else _MARKERS[turn % len(_MARKERS)]
    return SERIES[place]["color"], marker


def _draw_points(axes: "Axes", places: Floats, look: tuple[str, str], style: dict[str, Any]) -> None:
    colour, marker = look
    axes.plot(places[:, 0], places[:, 1], marker, color=colour, **style)


def _point_style(n: int, many: bool) -> dict[str, Any]:
    return {
        "markersize": 5 if not many else 4 if n < 10_000 else 2.5,
        "markeredgewidth": 0,
        "alpha": 0.8,
        "rasterized": many,
        "gid": AS_IT_IS if many else None,
    }


def _key(look: tuple[str, str], gid: str | None) -> Any:
    from matplotlib.lines import Line2D

    colour, marker = look
    return Line2D([], [], color=colour, marker=marker, linestyle="none", markeredgewidth=0, gid=gid)


def _write_names(axes: "Axes", places: Floats, kinds: Integers, classes: Sequence[str]) -> int:
    """Write each class's name at the median of its samples, the largest first, unless it would lie over another."""
    writing = Writing(classes, FONT)
    ground = {"facecolor": PALETTE["ground"], "alpha": 0.75, "linewidth": 0, "boxstyle": "square,pad=0.1"}
    to_points = axes.transData.transform
    scale = 72 / axes.figure.dpi
    left, bottom, right, top = (scale * side for side in axes.bbox.extents)
    counts = np.bincount(kinds[kinds >= 0], minlength=len(classes))
    up = 0.75 * FONT
    taken: list[Box] = []
    for c in np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)].tolist():
        middle = np.median(places[kinds == c], axis=0)
        x, y = scale * to_points(middle)
        if _overlap((x, y - up, x, y + up), taken):
            continue
        name = writing.lines(classes[c], _NAME, 1)[0]
        across = writing.width(name) / 2 + 2
        box = (x - across, y - up, x + across, y + up)
        if left <= box[0] and box[2] <= right and bottom <= box[1] and box[3] <= top and not _overlap(box, taken):
            taken.append(box)
            axes.text(middle[0], middle[1], name, ha="center", va="center", bbox=ground, **writing.style)
    return len(taken)


def _overlap(box: Box, others: Sequence[Box]) -> bool:
    left, bottom, right, top = box
    return any(left < other[2] and other[0] < right and bottom < other[3] and other[1] < top for other in others)


def _draw_values(axes: "Axes", places: Floats, values: Floats, name: str, many: bool) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    ramp = LinearSegmentedColormap.from_list("ramp", [PALETTE[name] for name in ("blue", "grey", "vermilion")])
    known = np.isfinite(values)
    style = _point_style(len(places), many)
    _draw_points(axes, places[~known], _NO_LABEL, style)
    x, y = places[known].T
    look = {"alpha": style["alpha"], "rasterized": many, "gid": AS_IT_IS}
    drawn = axes.scatter(x, y, style["markersize"] ** 2, values[known], cmap=ramp, linewidths=0, **look)
    writing = Writing([name], FONT)
    axes.text(1.02, 1, writing.lines(name, _LEGEND, 1)[0], transform=axes.transAxes, va="top", **writing.style)
    bar = axes.figure.colorbar(drawn, cax=axes.inset_axes((1.02, 0.5, 0.03, 0.4)), format="{x:g}")
    solids: Any = bar.solids
    solids.set(alpha=1, gid=AS_IT_IS)
    bar.outline.set_visible(False)
