"""What a threshold gives and takes: ROC curves, and precision against recall."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from featx.errors import ParameterError
from featx.plots._style import AS_IT_IS, FONT, PALETTE, SERIES, add_legend, figure_with_axes, in_house_style, trim
from featx.plots._text import Writing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Curve", "precision_recall_curves", "roc_curves"]

_GRID = np.linspace(0, 1, 201)
"""Where the mean of curves is taken."""

_WORST = 3

_PIXELS = 50
"""Curves from which on they are drawn as pixels, so that a page stays small."""

_SIDE = 4.0
"""Inches of a plot."""

_NAME = 150.0
"""Points that a class's name has at most."""

Floats = npt.NDArray[np.float64]


class Curve(NamedTuple):
    """One class against the rest.

    Attributes
    ----------
    name : str
        The class.
    x, y : ndarray of shape (p,), float
        By increasing `x`: false and true positive rate, or recall and precision.
    area : float
        ROC-AUC or average precision.
    base : float or None
        Share of the rows that are of the class: the precision of answers by chance.
    """

    name: str
    x: npt.ArrayLike
    y: npt.ArrayLike
    area: float
    base: float | None = None


@in_house_style
def roc_curves(curves: Sequence[Curve]) -> "Figure":
    """Draw true against false positive rates, as :func:`featx.evaluation.roc_curve` gives them.

    Parameters
    ----------
    curves : sequence of Curve
        Up to 8 are told apart by colour and dash. Of more, all are drawn faintly, with their mean at each false
        positive rate, and the three of the least area by name.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ParameterError
        If there are no curves.
    """
    figure, axes = _empty(curves, "false positive rate", "true positive rate")
    (chance,) = axes.plot([0, 1], [0, 1], color=PALETTE["grey"], linewidth=1)
    _draw(axes, curves, "area under the curve", [chance], "default")
    trim(figure)
    return figure


@in_house_style
def precision_recall_curves(curves: Sequence[Curve]) -> "Figure":
    """Draw precision against recall, as :func:`featx.evaluation.precision_recall_curve` gives them.

    The step before a recall is as high as the precision there, so that the area below is the average precision.

    Parameters
    ----------
    curves : sequence of Curve
        As in :func:`roc_curves`. Where they say it, a thin line shows the precision of answers by chance: of each class
        or, of more than 8, the mean.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ParameterError
        If there are no curves.
    """
    figure, axes = _empty(curves, "recall", "precision")
    bases = [curve.base for curve in curves if curve.base is not None]
    if len(curves) > len(SERIES):
        bases = [float(np.mean(bases))] if bases else []
    chance = [axes.plot([0, 1], [base, base], color=PALETTE["grey"], linewidth=1)[0] for base in sorted(set(bases))]
    _draw(axes, curves, "average precision", chance, "steps-pre")
    trim(figure)
    return figure


def _empty(curves: Sequence[Curve], across: str, up: str) -> "tuple[Figure, Axes]":
    if not curves:
        raise ParameterError("curves must be at least one; got none: no class has both rows of it and others")
    figure, axes = figure_with_axes(_SIDE, _SIDE, left=0.6, right=3.1, bottom=0.5, top=0.15)
    axes.set(xlabel=across, ylabel=up, xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    axes.grid()
    return figure, axes


def _draw(axes: "Axes", curves: Sequence[Curve], area: str, chance: Sequence[Any], drawstyle: Any) -> None:
    named: list[tuple[Any, str]] = []
    shown = list(curves)
    if len(curves) > len(SERIES):
        mean = np.mean([_at(curve, drawstyle) for curve in curves], axis=0)
        (line,) = axes.plot(_GRID, mean, color=PALETTE["ink"], linewidth=2, zorder=3)
        named.append((line, f"mean of {len(curves):,} classes: {np.mean([curve.area for curve in curves]):.3f}"))
        shown = sorted(curves, key=lambda curve: curve.area)[:_WORST]
    writing = Writing([curve.name for curve in shown], FONT)
    for curve, style in zip(shown, SERIES, strict=False):
        look: dict[str, Any] = {"color": style["color"], "linestyle": style["linestyle"], "linewidth": 1.6}
        (line,) = axes.plot(curve.x, curve.y, drawstyle=drawstyle, zorder=4, **look)
        named.append((line, f"{writing.lines(curve.name, _NAME, 1)[0]}: {curve.area:.3f}"))
    if len(curves) > len(SERIES):
        many = len(curves) > _PIXELS
        faint: dict[str, Any] = {"color": PALETTE["grey"], "linewidth": 0.7, "gid": AS_IT_IS if many else None}
        alpha = max(0.1, min(0.5, 20 / len(curves)))
        for curve in curves:
            axes.plot(curve.x, curve.y, drawstyle=drawstyle, alpha=alpha, rasterized=many, **faint)
        named += [(line, "each class") for line in axes.plot([], [], **faint)]
    named += [(line, "by chance") for line in chance[:1]]
    handles, names = zip(*named, strict=True)
    place: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.03, 1), "borderaxespad": 0, "alignment": "left"}
    add_legend(axes, handles, names, title=area, handlelength=3.2, **place)


def _at(curve: Curve, drawstyle: str) -> Floats:
    """Return how high a curve is at each point of the grid."""
    x, y = np.asarray(curve.x, dtype=np.float64), np.asarray(curve.y, dtype=np.float64)
    if drawstyle == "steps-pre":
        found: Floats = y[np.searchsorted(x, _GRID).clip(max=x.size - 1)]
        return found
    return np.asarray(np.interp(_GRID, x, y), dtype=np.float64)  # of points above each other the last, the highest
