"""Whether confidence is deserved."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from featx.errors import ParameterError
from featx.plots._style import PALETTE, SERIES, add_legend, in_house_style, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from featx.evaluation import ConfidenceBin

__all__ = ["calibration_curve"]


@in_house_style
def calibration_curve(bins: "Sequence[ConfidenceBin]") -> "Figure":
    """Draw how often answers of each confidence are right, with 95 % intervals, and how many there are.

    Parameters
    ----------
    bins : sequence of ConfidenceBin
        As :func:`featx.evaluation.reliability` gives them.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ParameterError
        If there are no bins.
    """
    if not bins:
        raise ParameterError("bins must be at least one; got none")
    figure = new_figure(5, 5)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    confidence = [each.confidence for each in bins]
    accuracy = [each.accuracy.value for each in bins]
    below = [each.accuracy.value - each.accuracy.low for each in bins]
    above = [each.accuracy.high - each.accuracy.value for each in bins]
    (ideal,) = upper.plot([0, 1], [0, 1], color=PALETTE["grey"], linewidth=1)
    style = SERIES[0]
    drawn = upper.errorbar(
        confidence, accuracy, [below, above], **{**style, "linestyle": "none"}, markersize=5, elinewidth=1.2
    )
    upper.set(ylabel="share that is right", ylim=(-0.02, 1.02))
    lower.bar(
        [each.low for each in bins],
        [each.count for each in bins],
        [each.high - each.low for each in bins],
        align="edge",
        color=style["color"],
        edgecolor=PALETTE["ground"],
        linewidth=0.8,
    )
    lower.set(xlabel="confidence", ylabel="answers", xlim=(-0.02, 1.02))
    for axes in (upper, lower):
        axes.grid()
    names = ["95 % interval", "as right as confident"]
    add_legend(upper, [drawn, ideal], names, loc="upper left", bbox_to_anchor=(0, 1.12), ncols=2, borderaxespad=0)
    return figure
