"""How a head learned: loss and accuracy, epoch by epoch."""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any

from featx.errors import ParameterError
from featx.plots._style import PALETTE, SERIES, add_legend, in_house_style, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["learning_curves"]

_PANELS = ("loss", "accuracy")
_LINES = (("", "training", SERIES[0]), ("val_", "validation", SERIES[1]))
"""Before the name of a figure, what it is of, and how that is drawn."""

_SINGLE = 40
"""Epochs up to which each has a mark of its own."""

Entry = Mapping[str, Any]


@in_house_style
def learning_curves(history: Sequence[Entry]) -> "Figure":
    """Draw loss and accuracy of training and validation over the epochs.

    The epoch with the least validation loss has a star. Where fine-tuning starts, there is a line that says so.

    Parameters
    ----------
    history : sequence of dict
        One for each epoch, as a run has them: ``epoch`` and as many of ``loss``, ``accuracy``, ``val_loss`` and
        ``val_accuracy`` as there are; ``phase`` is ``"fine-tune"`` from the first epoch of fine-tuning on. What no
        epoch has is left out, and so is a panel that would be empty.

    Returns
    -------
    matplotlib.figure.Figure
        A panel for each of loss and accuracy; known to no window and to no ``pyplot``.

    Raises
    ------
    ParameterError
        If no epoch has a loss or an accuracy.
    """
    from matplotlib.ticker import MaxNLocator

    panels = [name for name in _PANELS if any(_points(history, prefix + name) for prefix, _, _ in _LINES)]
    if not panels:
        raise ParameterError(
            f"history must have an epoch with a loss or an accuracy; got {len(history)} without: fit a head that learns"
            " in epochs, such as mlp"
        )
    epochs = [_epoch(row, entry) for row, entry in enumerate(history)]
    best, start = _best(history), _fine_tuning(history)
    figure = new_figure(1 + 4 * len(panels), 3.4)
    handles: dict[str, Any] = {}
    for name, axes in zip(panels, figure.subplots(1, len(panels), squeeze=False)[0], strict=True):
        for artist in _draw(axes, name, history, best):
            handles.setdefault(str(artist.get_label()), artist)
        axes.set(xlabel="epoch", ylabel=name, xlim=(epochs[0] - 0.5, epochs[-1] + 0.5))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid()
        if start is not None:
            axes.axvline(start, color=PALETTE["faint"], linestyle=":")
            place: Any = {"transform": axes.get_xaxis_transform(), "ha": "center", "va": "bottom"}
            axes.text(start, 1.01, "fine-tuning starts", **place)
    add_legend(figure, list(handles.values()), list(handles), loc="outside lower center", ncols=len(handles))
    return figure


def _draw(axes: "Axes", name: str, history: Sequence[Entry], best: float | None) -> list[Any]:
    """Draw the lines of one panel, and the star on the validation's; return what the legend is to explain."""
    drawn = []
    for prefix, label, style in _LINES:
        points = _points(history, prefix + name)
        if not points:
            continue
        marker = style["marker"] if len(points) <= _SINGLE else ""
        drawn += axes.plot(*zip(*points, strict=True), **{**style, "marker": marker}, markersize=4, label=label)
        if prefix and best in dict(points):
            value, label = dict(points)[best], f"least validation loss: epoch {best:g}"
            star = {"color": style["color"], "markeredgecolor": PALETTE["ink"], "markersize": 14}
            drawn += axes.plot([best], [value], "*", label=label, zorder=3, **star)
    return drawn


def _points(history: Sequence[Entry], name: str) -> list[tuple[float, float]]:
    """Return (epoch, value) of the epochs that have a finite value of that name."""
    found = [(_epoch(row, entry), entry.get(name)) for row, entry in enumerate(history)]
    return [(epoch, value) for epoch, value in found if value is not None and isfinite(value)]


def _epoch(row: int, entry: Entry) -> float:
    return float(entry.get("epoch", row + 1))


def _best(history: Sequence[Entry]) -> float | None:
    """Return the first epoch with the least validation loss."""
    points = _points(history, "val_loss")
    return min(points, key=lambda point: point[1])[0] if points else None


def _fine_tuning(history: Sequence[Entry]) -> float | None:
    """Return where fine-tuning starts, half an epoch before its first; None without it, and without a before."""
    phases = [entry.get("phase") == "fine-tune" for entry in history]
    if not any(phases[1:]) or phases[0]:
        return None
    first = phases.index(True)
    return (_epoch(first - 1, history[first - 1]) + _epoch(first, history[first])) / 2
