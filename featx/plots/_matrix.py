"""Which class is answered with which."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featx.errors import ParameterError
from featx.plots._style import AS_IT_IS, FONT, PALETTE, add_legend, figure_with_axes, in_house_style
from featx.plots._text import Writing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["confusion_matrix"]

_FLAT = 3
"""Classes up to which names stand upright below the cells."""

_NUMBERED = 30
"""Classes up to which each cell is drawn with its number."""

_CELL = 0.6
"""Inches of a cell that has all the room it wants; of 2 or 3 classes more."""

_SIDE = 6.0
"""Inches of a matrix at most."""

_PIXELS = 300
"""Cells in a row that are still told apart."""

_NAME = 110.0
"""Points that a class's name has at most."""


@in_house_style
def confusion_matrix(counts: npt.ArrayLike, classes: Sequence[str]) -> "Figure":
    """Draw how many samples of each class were answered with each class.

    A cell is the darker, the larger its share of its row, the samples of a true class.

    Parameters
    ----------
    counts : array_like of shape (k, k), int
        Rows are true classes, columns the answers.
    classes : sequence of str of length k
        Of more than 30 the cells have no numbers, and not all are named. Of more than 300 a cell stands for several,
        and is as dark as the darkest of them.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ParameterError
        If the counts are no square with a row for each class.
    """
    table = np.asarray(counts)
    k = len(classes)
    if not k or table.shape != (k, k):
        raise ParameterError(f"counts must have a row and a column for each of {k} classes; got shape {table.shape}")
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    writing = Writing(classes, FONT)
    side = min(_CELL * max(k, 4), _SIDE)
    named = range(0, k, -(-k // _NUMBERED))
    names = [writing.lines(classes[i], _NAME, 1)[0] for i in named]
    room = max(map(writing.width, names)) / 72
    below, lines = names, FONT / 72
    if k <= _FLAT:
        below = ["\n".join(writing.lines(name, 0.9 * 72 * side / k, 2)) for name in classes]
        lines = max(writing.height(name.split("\n")) for name in below) / 72
    figure, axes = figure_with_axes(
        side, side, left=0.5 + room, right=1.3, bottom=0.5 + (lines if k <= _FLAT else room), top=0.15
    )
    if k <= _NUMBERED:
        _draw_cells(axes, table, shares, 72 * side / k)
    else:
        _draw_pixels(axes, shares)
    axes.set(xlim=(-0.5, k - 0.5), ylim=(k - 0.5, -0.5), xlabel="answer", ylabel="true class")
    axes.set_xticks(named, below, rotation=0 if k <= _FLAT else 90, **writing.style)
    axes.set_yticks(named, names, **writing.style)
    _explain(axes, side, rastered=k > _NUMBERED)
    return figure


def _draw_cells(axes: "Axes", table: npt.NDArray[Any], shares: npt.NDArray[Any], room: float) -> None:
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import to_rgba

    k = len(table)
    rows, columns = np.divmod(np.arange(k * k), k)
    corners = np.array([(-0.5, -0.5), (-0.5, 0.5), (0.5, 0.5), (0.5, -0.5)])
    shades = [to_rgba(PALETTE["shade"], share) for share in shares.ravel().tolist()]
    cells = np.stack([columns, rows], axis=1)[:, None] + corners
    axes.add_collection(PolyCollection(list(cells), facecolors=shades, edgecolors=PALETTE["line"], linewidths=0.5))
    digits = Writing([], FONT)
    widest = digits.width(str(int(table.max())))
    size = min(FONT, 0.9 * room / widest * FONT, 0.8 * room)
    if size >= 4:
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
            if table[row, column] or row == column:
                axes.text(column, row, str(int(table[row, column])), size=size, ha="center", va="center_baseline")


def _draw_pixels(axes: "Axes", shares: npt.NDArray[Any]) -> None:
    from matplotlib.colors import to_rgb

    k = len(shares)
    step = -(-k // _PIXELS)
    edges = np.arange(0, k, step)
    pooled = np.maximum.reduceat(np.maximum.reduceat(shares, edges, axis=0), edges, axis=1)
    pixels = np.empty((*pooled.shape, 4))
    pixels[..., :3] = to_rgb(PALETTE["shade"])
    pixels[..., 3] = pooled
    end = step * len(edges) - 0.5
    axes.imshow(pixels, extent=(-0.5, end, end, -0.5), aspect="auto")
    axes.spines[["top", "right"]].set_visible(True)


def _explain(axes: "Axes", side: float, *, rastered: bool) -> None:
    from matplotlib.patches import Patch

    steps = (0, 25, 50, 75, 100)
    handles = [
        Patch(facecolor=(PALETTE["shade"], step / 100), edgecolor=PALETTE["line"], linewidth=0.5) for step in steps
    ]
    legend = add_legend(
        axes,
        handles,
        [f"{step} %" for step in steps],
        title="of true class",
        loc="upper left",
        bbox_to_anchor=(1 + 0.1 / side, 1),
        borderaxespad=0,
        borderpad=0,
        alignment="left",
    )
    if rastered:
        for patch in legend.get_patches():
            patch.set_gid(AS_IT_IS)
