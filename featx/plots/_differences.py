"""How far apart two runs are."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from featx.errors import ParameterError
from featx.evaluation import LOWER_IS_BETTER
from featx.plots._style import PALETTE, add_legend, in_house_style, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from featx.evaluation import Difference

__all__ = ["score_differences"]

_IN_UNITS = ("log_loss", "mae", "rmse")
"""Figures that are no shares, and have a scale of their own."""

_VERDICTS = {
    "better": ("b is better", {"color": PALETTE["blue"], "marker": "^"}),
    "worse": ("b is worse", {"color": PALETTE["vermilion"], "marker": "v"}),
    "open": ("not told apart", {"color": PALETTE["grey"], "marker": "o"}),
}


@in_house_style
def score_differences(differences: "Mapping[str, Difference]") -> "Figure":
    """Draw each figure's difference, b - a, with its 95 % interval about zero.

    Parameters
    ----------
    differences : mapping of str to Difference
        By the figures' names, as :func:`featx.evaluation.compare_predictions` gives them.

    Returns
    -------
    matplotlib.figure.Figure
        A panel for the shares, and one for each figure that has a unit.

    Raises
    ------
    ParameterError
        If there are no differences.
    """
    from matplotlib.ticker import MaxNLocator

    if not differences:
        raise ParameterError("differences must be at least one; got none")
    shares = [name for name in differences if name not in _IN_UNITS]
    panels = [panel for panel in (shares, *([name] for name in differences if name in _IN_UNITS)) if panel]
    figure = new_figure(8, 0.8 + sum(0.28 * len(panel) + 0.45 for panel in panels))
    rows = figure.subplots(len(panels), 1, squeeze=False, height_ratios=[len(panel) + 0.6 for panel in panels])
    seen: dict[str, object] = {}
    for axes, panel in zip(rows[:, 0], panels, strict=True):
        axes.axvline(0, color=PALETTE["grey"], linewidth=1)
        for row, name in enumerate(panel):
            found = differences[name]
            words, style = _VERDICTS[_verdict(name, found)]
            seen[words] = axes.errorbar(
                [found.value],
                [row],
                xerr=[[found.value - found.low], [found.high - found.value]],
                linestyle="none",
                markersize=6,
                elinewidth=1.4,
                **style,
            )
            text = "{:+{f}}  ({:+{f}} to {:+{f}})".format(
                found.value, found.low, found.high, f=".3g" if name in _IN_UNITS else ".3f"
            ).replace("-", "−")
            axes.text(1.02, row, text, transform=axes.get_yaxis_transform(), va="center")
        axes.set_yticks(range(len(panel)), [_label(name) for name in panel])
        axes.set_ylim(len(panel) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
        reach = max(abs(value) for name in panel for value in (differences[name].low, differences[name].high))
        axes.set_xlim(-1.1 * (reach or 1), 1.1 * (reach or 1))
        axes.xaxis.set_major_locator(MaxNLocator(4))
    rows[-1, 0].set_xlabel("b − a")
    add_legend(figure, list(seen.values()), list(seen), loc="outside upper left", ncols=3)
    return figure


def _verdict(name: str, found: "Difference") -> str:
    if found.low <= 0 <= found.high:
        return "open"
    return "better" if (found.value > 0) != (name in LOWER_IS_BETTER) else "worse"


def _label(name: str) -> str:
    return name.replace("_", " ") + (" (less is better)" if name in LOWER_IS_BETTER else "")
