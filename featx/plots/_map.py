"""Where samples lie: a map of points in the plane."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from featx.errors import ParameterError
from featx.plots._style import AS_IT_IS, FONT, PALETTE, SERIES, add_legend, figure_with_axes, house_style
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

_NAME = 90.0
"""Points that a class's name has at most."""

_MARKERS = ("o", "s", "^", "D", "v", "P", "X")

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


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
        Of up to 8 each has a colour and a marker. Of more, several look alike, and names are written where their
        samples lie, as many as do not overlap.
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
    is_value = kinds.dtype.kind == "f"
    if not is_value and not -1 <= int(kinds.min()) <= int(kinds.max()) < len(classes):
        raise ParameterError(
            f"labels must be -1 or indices of {len(classes)} classes; got {kinds.min()} to {kinds.max()}"
        )
    with house_style():
        figure, axes = figure_with_axes(_WIDTH, _HEIGHT, left=0.1, right=2.2, bottom=0.1, top=0.1)
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set(visible=True, color=PALETTE["line"])
        for bounds, values in ((axes.set_xlim, places[:, 0]), (axes.set_ylim, places[:, 1])):
            low, high = float(values.min()), float(values.max())
            margin = 0.03 * (high - low) or 0.5
            bounds(low - margin, high + margin)
        many = len(places) > MANY
        if is_value:
            _draw_values(axes, places, kinds.astype(np.float64), many)
        else:
            _draw_classes(axes, places, kinds.astype(np.int64), classes, many)
        if highlighted is not None and np.size(highlighted):
            x, y = places[np.asarray(highlighted)].T
            axes.plot(x, y, "o", markerfacecolor="none", markeredgecolor=PALETTE["ink"], markersize=9, label="ring")
    return figure


def _draw_classes(axes: "Axes", places: Floats, kinds: Integers, classes: Sequence[str], many: bool) -> None:
    k = len(classes)
    style = _point_style(len(places), many)
    none = kinds < 0
    handles: list[Any] = []
    names: list[str] = []
    if none.any():
        axes.plot(*places[none].T, ".", color=PALETTE["grey"], **style)
        handles.append(_key(PALETTE["grey"], ".", many))
        names.append("no label")
    order = np.random.default_rng(0).permutation(np.flatnonzero(~none))
    colours = [SERIES[c % len(SERIES)]["color"] for c in range(k)]
    markers = [
        SERIES[c]["marker"] if k <= len(SERIES) else _MARKERS[c // len(SERIES) % len(_MARKERS)] for c in range(k)
    ]
    looks = sorted(set(zip(colours, markers, strict=True)))
    look_of = np.array([looks.index(look) for look in zip(colours, markers, strict=True)], dtype=np.int64)
    for batch in np.array_split(order, _BATCHES if many else 1):
        look = look_of[kinds[batch]] if k else batch
        for i in np.unique(look).tolist():
            colour, marker = looks[i]
            axes.plot(*places[batch[look == i]].T, marker, color=colour, **style)
    if k <= len(SERIES):
        handles[:0] = [_key(colour, marker, many) for colour, marker in zip(colours, markers, strict=True)]
        names[:0] = classes
    else:
        written = _write_names(axes, places, kinds, classes)
        handles[:0] = [_key(PALETTE["blue"], "o", many)]
        names[:0] = [f"{k} classes, {written} of them named"]
    if handles:
        _legend(axes, handles, names)


def _point_style(n: int, many: bool) -> dict[str, Any]:
    return {
        "markersize": 5 if not many else 4 if n < 10_000 else 2.5,
        "markeredgewidth": 0,
        "alpha": 0.75 if not many else 0.6,
        "rasterized": many,
        "gid": AS_IT_IS if many else None,
    }


def _key(colour: str, marker: str, many: bool) -> Any:
    from matplotlib.lines import Line2D

    return Line2D(
        [], [], color=colour, marker=marker, linestyle="none", markeredgewidth=0, gid=AS_IT_IS if many else None
    )


def _legend(axes: "Axes", handles: Sequence[Any], names: Sequence[str]) -> None:
    legend = add_legend(
        axes, handles, names, loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0, handletextpad=0.3
    )
    for drawn, handle in zip(legend.legend_handles, handles, strict=True):
        if drawn is not None:
            drawn.set_gid(handle.get_gid())


def _write_names(axes: "Axes", places: Floats, kinds: Integers, classes: Sequence[str]) -> int:
    """Write each class's name at the median of its samples, the largest first, unless it would lie over another."""
    from matplotlib.patheffects import withStroke

    writing = Writing(classes, FONT)
    halo = [withStroke(linewidth=3, foreground=PALETTE["ground"])]
    to_points = axes.transData.transform
    scale = 72 / axes.figure.dpi
    left, bottom, right, top = (scale * side for side in axes.bbox.extents)
    counts = np.bincount(kinds[kinds >= 0], minlength=len(classes))
    taken: list[tuple[float, float, float, float]] = []
    for c in np.argsort(-counts, kind="stable").tolist():
        if not counts[c]:
            break
        name = writing.lines(classes[c], _NAME, 1)[0]
        middle = np.median(places[kinds == c], axis=0)
        x, y = scale * to_points(middle)
        across, up = writing.width(name) / 2 + 2, 0.75 * FONT
        box = (x - across, y - up, x + across, y + up)
        inside = left <= box[0] and box[2] <= right and bottom <= box[1] and box[3] <= top
        if inside and not any(
            box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3] for other in taken
        ):
            taken.append(box)
            axes.text(middle[0], middle[1], name, ha="center", va="center", path_effects=halo, **writing.style)
    return len(taken)


def _draw_values(axes: "Axes", places: Floats, values: Floats, many: bool) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    ramp = LinearSegmentedColormap.from_list("ramp", [PALETTE["blue"], PALETTE["grey"], PALETTE["vermilion"]])
    known = np.isfinite(values)
    style = _point_style(len(places), many)
    size = style.pop("markersize")
    if not known.all():
        axes.plot(*places[~known].T, ".", color=PALETTE["grey"], markersize=size, **style)
    if known.any():
        x, y = places[known].T
        del style["markeredgewidth"]
        drawn = axes.scatter(x, y, size**2, values[known], cmap=ramp, linewidths=0, **{**style, "gid": AS_IT_IS})
        bar = axes.inset_axes((1.02, 0.5, 0.03, 0.5))
        axes.figure.colorbar(drawn, cax=bar)
        bar.set_gid(AS_IT_IS)
