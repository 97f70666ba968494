"""Numbers against numbers: answers against truth, a score against a parameter."""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featx.errors import ParameterError
from featx.plots._style import AS_IT_IS, FONT, PALETTE, SERIES, add_legend, figure_with_axes, in_house_style, new_figure
from featx.plots._text import Writing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["MANY", "regularisation_path", "residuals"]

_SIDE = 4.0
"""Inches of a plot of answers against truth."""

MANY = 2000
"""Points from which on they are drawn as pixels, so that a page stays small."""


@in_house_style
def residuals(truth: npt.ArrayLike, predicted: npt.ArrayLike, name: str) -> "Figure":
    """Draw predicted against true values of a target.

    Parameters
    ----------
    truth, predicted : array_like of shape (n,), float
    name : str
        Of the target.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ParameterError
        If there are no values, or not as many on both sides.
    """
    from matplotlib.ticker import MaxNLocator

    x, y = np.asarray(truth, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape or not x.size or not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ParameterError(
            "truth and predicted must be as many finite numbers, at least one; got shapes"
            f" {x.shape} and {y.shape}: leave out rows without a value"
        )
    low, high = float(min(x.min(), y.min())), float(max(x.max(), y.max()))
    margin = 0.04 * (high - low) or 0.5
    limits = (low - margin, high + margin)
    figure, axes = figure_with_axes(_SIDE, _SIDE, left=0.9, right=0.2, bottom=0.5, top=0.55)
    (ideal,) = axes.plot(limits, limits, color=PALETTE["grey"], linewidth=1)
    many = x.size > MANY
    look: dict[str, Any] = {"color": PALETTE["blue"], "markeredgewidth": 0, "gid": AS_IT_IS if many else None}
    size, alpha = (2.5, 0.3) if many else (4, 0.6)
    axes.plot(x, y, "o", markersize=size, alpha=alpha, rasterized=many, **look)
    writing = Writing([name], FONT)
    shown = writing.lines(name, 180, 1)[0]
    axes.set(xlim=limits, ylim=limits)
    axes.set_xlabel(f"true {shown}", **writing.style)
    axes.set_ylabel(f"predicted {shown}", **writing.style)
    axes.yaxis.set_label_coords(-0.7 / _SIDE, 0.5)
    axes.grid()
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(6))
    (key,) = axes.plot([], [], "o", markersize=4, **look)
    place: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0, 1 + 0.2 / _SIDE), "borderaxespad": 0}
    add_legend(axes, [key, ideal], [f"{x.size:,} samples", "as true"], ncols=2, **place)
    return figure


@in_house_style
def regularisation_path(
    values: npt.ArrayLike,
    scores: npt.ArrayLike,
    *,
    chosen: float,
    parameter: str,
    figure: str,
    spread: npt.ArrayLike | None = None,
) -> "Figure":
    """Draw how good a head is for each value of a parameter, on a logarithmic scale.

    Parameters
    ----------
    values : array_like of shape (n,), float
        Of the parameter, all above 0, in any order.
    scores : array_like of shape (n,), float
    chosen : float
        The value that was taken: one of `values`.
    parameter, figure : str
        Names of what is varied and of what is measured.
    spread : array_like of shape (n, 2), float, optional
        Lower and upper bound of each score.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ParameterError
        If the arrays do not go together, or a value is not above 0.
    """
    x, y = np.asarray(values, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape or not x.size or not (x > 0).all() or chosen not in x:
        raise ParameterError(
            "values must be above 0, with a score each, and chosen one of them; got shapes"
            f" {x.shape} and {y.shape}, and {chosen!r}"
        )
    order = np.argsort(x, kind="stable")
    x, y = x[order], y[order]
    bounds = None if spread is None else np.asarray(spread, dtype=np.float64)
    if bounds is not None and bounds.shape != (x.size, 2):
        raise ParameterError(f"spread must have two bounds for each of {x.size} values; got shape {bounds.shape}")
    drawing = new_figure(5.5, 3.8)
    axes = drawing.subplots()
    style = SERIES[0]
    named: list[tuple[Any, str]] = []
    if bounds is not None:
        band = axes.fill_between(x, *bounds[order].T, color=style["color"], alpha=0.2, linewidth=0)
        named.append((band, "95 % interval"))
    axes.plot(x, y, **style, markersize=4)
    best = y[np.flatnonzero(x == chosen)[0]]
    (star,) = axes.plot(
        [chosen], [best], "*", color=PALETTE["vermilion"], markeredgecolor=PALETTE["ink"], markersize=14
    )
    named.append((star, f"chosen: {parameter} = {chosen:g}"))
    writing = Writing([parameter, figure], FONT)
    axes.set_xscale("log")
    axes.set_xlabel(writing.lines(parameter, 250, 1)[0], **writing.style)
    axes.set_ylabel(writing.lines(figure.replace("_", " "), 200, 1)[0], **writing.style)
    axes.grid()
    handles, names = zip(*named, strict=True)
    add_legend(drawing, handles, names, loc="outside lower center", ncols=2)
    return drawing
