"""Numbers against numbers: answers against truth, a score against a parameter."""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featx.errors import ParameterError
from featx.plots._style import AS_IT_IS, FONT, PALETTE, SERIES, add_legend, house_style, new_figure
from featx.plots._text import Writing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["MANY", "regularisation_path", "residuals"]

MANY = 2000
"""Points from which on they are drawn as pixels, so that a page stays small."""


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
    x, y = np.asarray(truth, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape or not x.size:
        raise ParameterError(
            f"truth and predicted must be as many numbers, at least one; got shapes {x.shape} and {y.shape}"
        )
    low, high = float(min(x.min(), y.min())), float(max(x.max(), y.max()))
    margin = 0.04 * (high - low) or 0.5
    limits = (low - margin, high + margin)
    with house_style():
        figure = new_figure(4.8, 5.2)
        axes = figure.subplots()
        (ideal,) = axes.plot(limits, limits, color=PALETTE["grey"], linewidth=1)
        many = x.size > MANY
        (points,) = axes.plot(
            x,
            y,
            "o",
            color=PALETTE["blue"],
            markersize=2.5 if many else 4,
            markeredgewidth=0,
            alpha=0.3 if many else 0.6,
            rasterized=many,
            gid=AS_IT_IS if many else None,
        )
        writing = Writing([name], FONT)
        shown = writing.lines(name, 200, 1)[0]
        axes.set(xlim=limits, ylim=limits, aspect="equal")
        axes.set_xlabel(f"true {shown}", **writing.style)
        axes.set_ylabel(f"predicted {shown}", **writing.style)
        axes.grid()
        legend = add_legend(
            figure, [points, ideal], [f"{x.size:,} samples", "as true"], loc="outside upper left", ncols=2
        )
        legend.legend_handles[0].set(alpha=1, markersize=4, gid=points.get_gid())  # type: ignore[union-attr]
    return figure


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
    with house_style():
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
