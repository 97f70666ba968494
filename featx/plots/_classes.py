"""Class by class: how good the answers are, and how many samples there are."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featx.errors import ParameterError
from featx.plots._style import FONT, PALETTE, SERIES, add_legend, figure_with_axes, in_house_style
from featx.plots._text import Writing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from featx.evaluation import Figure as Measured

__all__ = ["class_counts", "score_by_class"]

_ROW = 0.22
"""Inches of a class."""

_NAME = 170.0
"""Points that its name has at most."""

_WIDTH = 4.5
"""Inches in which numbers are shown."""

_COLUMNS = 3
"""Entries of a legend side by side."""

_HATCHES = ("", "///", "---", "xxx", "|||", "\\\\\\", "+++")


@in_house_style
def score_by_class(
    classes: Sequence[str], scores: "Sequence[Measured]", *, figure: str = "recall", most: int = 30
) -> "Figure":
    """Draw a figure of each class with its 95 % interval, the worst first.

    Parameters
    ----------
    classes : sequence of str
    scores : sequence of featx.evaluation.Figure
        One for each class.
    figure : str
        What it is.
    most : int
        Of more classes, the worst are drawn.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ParameterError
        If there are no classes, or not as many as scores.
    """
    if not classes or len(classes) != len(scores):
        raise ParameterError(
            f"classes must be at least one, with a score each; got {len(classes)} classes and {len(scores)} scores"
        )
    order = sorted(range(len(classes)), key=lambda i: scores[i].value)[:most]
    drawing, axes = _rows([classes[i] for i in order], legend=1)
    values = [scores[i].value for i in order]
    spread = [
        [scores[i].value - scores[i].low for i in order],
        [scores[i].high - scores[i].value for i in order],
    ]
    drawn = axes.errorbar(
        values, range(len(order)), xerr=spread, fmt="o", color=PALETTE["blue"], markersize=4, elinewidth=1.2
    )
    mean = float(np.mean([score.value for score in scores]))
    line = axes.axvline(mean, color=PALETTE["grey"], linestyle="--", linewidth=1)
    low, high = axes.get_xlim()
    axes.set(xlabel=figure.replace("_", " "), xlim=(min(low, -0.02), max(high, 1.02)))
    axes.grid(axis="x")
    shown = "95 % interval" if len(order) == len(classes) else f"worst {len(order)} of {len(classes)} classes"
    _legend_above(axes, [drawn, line], [shown, f"mean of all: {mean:.3f}"])
    return drawing


@in_house_style
def class_counts(
    counts: npt.ArrayLike, classes: Sequence[str], splits: Sequence[str] = ("",), *, most: int = 40
) -> "Figure":
    """Draw how many samples each class has in each split.

    Parameters
    ----------
    counts : array_like of shape (k, s), int
    classes : sequence of str of length k
    splits : sequence of str of length s
        A single one that is empty is not named.
    most : int
        Of more classes, the largest and the smallest are drawn.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ParameterError
        If the counts have no row for each class and column for each split.
    """
    table = np.asarray(counts)
    if not len(classes) or table.shape != (len(classes), len(splits)):
        raise ParameterError(
            f"counts must have a row for each of {len(classes)} classes and a column for each of {len(splits)} splits;"
            f" got shape {table.shape}"
        )
    totals = table.sum(axis=1)
    order = np.arange(len(classes))
    gap = 0
    if len(classes) > most:
        falling = np.argsort(-totals, kind="stable")
        order, gap = np.concatenate([falling[: most // 2], falling[-(most // 2) :]]), most // 2
    writing = Writing(["0"], FONT)
    names = [classes[i] for i in order.tolist()]
    if gap:
        names.insert(gap, f"… {len(classes) - len(order)} classes between …")
    places = np.arange(len(order)) + (np.arange(len(order)) >= gap if gap else 0)
    shown = [split for split in splits if split or len(splits) > 1]
    drawing, axes = _rows(names, legend=-(-len(shown) // _COLUMNS))
    before = np.zeros(len(order))
    handles = []
    for column in range(len(splits)):
        look: dict[str, Any] = {
            "color": SERIES[column % len(SERIES)]["color"],
            "hatch": _HATCHES[column % len(_HATCHES)],
            "edgecolor": PALETTE["ground"],
            "linewidth": 0.5,
        }
        handles.append(axes.barh(places, table[order, column], 0.75, before, **look))
        before += table[order, column]
    room = writing.width(f"  {int(totals.max()):,}") / 72
    axes.set(xlabel="samples", xlim=(0, max(1, totals.max()) * _WIDTH / (_WIDTH - room)))
    for place, total in zip(places, totals[order], strict=True):
        axes.text(total, place, f" {int(total):,}", ha="left", va="center_baseline")
    axes.grid(axis="x")
    if shown:
        _legend_above(axes, handles, shown)
    return drawing


def _rows(names: Sequence[str], *, legend: int) -> "tuple[Figure, Axes]":
    """Return axes with a row for each name, from the top down, and room for so many lines of a legend."""
    writing = Writing(names, FONT)
    labels = [writing.lines(name, _NAME, 1)[0] for name in names]
    left = max(map(writing.width, labels)) / 72 + 0.2
    down, top = _ROW * (len(names) + 1), 0.15 + 0.2 * legend
    figure, axes = figure_with_axes(_WIDTH, down, left=left, right=0.2, bottom=0.45, top=top)
    axes.set_yticks(range(len(names)), labels, **writing.style)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(names), -1)
    return figure, axes


def _legend_above(axes: "Axes", handles: Sequence[Any], names: Sequence[str]) -> None:
    place: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0, 1), "borderaxespad": 0.3}
    width = 72 * _WIDTH / min(_COLUMNS, len(names)) - 4 * FONT
    add_legend(axes, handles, names, width=width, ncols=min(_COLUMNS, len(names)), columnspacing=1, **place)
