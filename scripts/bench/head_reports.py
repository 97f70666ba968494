"""What `scripts/bench_heads` prints of what it measured: plain figures in, rows of tables and sentences out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bench.figures import median
from bench.heads import Case, Floats, Floors, accuracy, fold_rows, objective, predictions, sweep_grid

__all__ = [
    "Found",
    "agreement_rows",
    "floor_sentences",
    "interval",
    "quickest",
    "single_rows",
    "sweep_figures",
    "sweep_rows",
    "within_sentences",
]


@dataclass
class Found:
    """What was measured of a contestant.

    Parameters
    ----------
    package, title : str
        The title also says which settings, and may be the package's name.
    result : ndarray
        Answers to the rows held out, or packed coefficients, of the last run.
    fit, predict : list of float
        Seconds of each run.
    growth : float
        MiB by which the process grew at most.
    disturbed : int
        Runs in which others used the machine.
    facts : dict
        What else the contestant said, of the last run.
    objective, distance : float, optional
        Of a logistic regression, and relative to the lowest that is known.
    """

    package: str
    title: str
    result: Any = None
    fit: list[float] = field(default_factory=list)
    predict: list[float] = field(default_factory=list)
    growth: float = 0.0
    disturbed: int = 0
    facts: dict[str, Any] = field(default_factory=dict)
    objective: float | None = None
    distance: float | None = None

    @property
    def seconds(self) -> float:
        """Median of fit and answers together."""
        return median([sum(pair) for pair in zip(self.fit, self.predict or [0.0] * len(self.fit), strict=True)])

    def to_json(self) -> dict[str, Any]:
        """Return all but the result."""
        return {name: value for name, value in vars(self).items() if name != "result"}


def _common(found: Found) -> dict[str, str]:
    growth = {"growth MiB": f"{found.growth:.0f}"}
    return {**growth, "disturbed": f"{found.disturbed} of {len(found.fit)}"}


def single_rows(case: Case, found: Sequence[Found]) -> list[dict[str, str]]:
    """Return rows for logistic regressions whose objectives are known."""
    X, y = case.standardised, case.labels
    rows = []
    for each in found:
        coef, intercept = each.result[:, :-1], each.result[:, -1]
        answers = predictions(coef, intercept, X)
        rows.append(
            {
                "": each.title,
                "s": f"{median(each.fit):.3f}",
                "least": f"{min(each.fit):.3f}",
                "steps": f"{each.facts['n_iter_']}",
                "objective": f"{each.objective:.6f}",
                "distance": f"{each.distance:.1e}",
                "accuracy": f"{accuracy(answers[case.n :], y[case.n :]):.4f}",
                "in training": f"{accuracy(answers[: case.n], y[: case.n]):.4f}",
                **_common(each),
            }
        )
    return rows


def quickest(found: Sequence[Found], package: str, distance: float) -> Found | None:
    """Return the quickest contestant of a package that came so near to the lowest objective, if one did."""
    near = [each for each in found if each.package == package and each.distance is not None]
    near = [each for each in near if each.distance <= distance]  # type: ignore[operator]
    return min(near, key=lambda each: median(each.fit), default=None)


def within_sentences(found: Sequence[Found], distances: Sequence[float], first: str) -> list[str]:
    """Say who came within some distances of the lowest objective soonest, and how many times as long that took."""
    sentences = []
    packages = [first, *dict.fromkeys(each.package for each in found if each.package != first)]
    for distance in distances:
        base = quickest(found, first, distance)
        parts = []
        for package in packages:
            other = quickest(found, package, distance)
            if other is None:
                reached = [each.distance for each in found if each.package == package and each.distance is not None]
                parts.append(f"{package} comes no nearer than {min(reached, default=np.inf):.1e}")
                continue
            ratio = f" ({median(other.fit) / median(base.fit):.2f} times as long)" if base and other is not base else ""
            parts.append(f"{other.title}: {median(other.fit):.3f} s{ratio}")
        sentences.append(f"Within {distance:.0e} of the lowest objective: {'; '.join(parts)}.")
    return sentences


def agreement_rows(case: Case, head: str, found: Sequence[Found], reference: str) -> list[dict[str, str]]:
    """Return rows for estimators of one head that answered to what is held out."""
    theirs = next((each for each in found if each.package == reference), None)
    truth = case.labels[case.n :]
    return [
        {
            "": f"{head}: {each.title}",
            "fit s": f"{median(each.fit):.3f}",
            "predict s": f"{median(each.predict):.3f}",
            "ratio": "" if theirs is None else f"{theirs.seconds / each.seconds:.2f}",
            "equal answers": "" if theirs is None else f"{accuracy(each.result, theirs.result):.4f}",
            "accuracy": f"{accuracy(each.result, truth):.4f}",
            "alpha": f"{each.facts['alpha_']:g}" if "alpha_" in each.facts else "",
            **_common(each),
        }
        for each in found
    ]


def sweep_figures(case: Case, fits: Mapping[str, Sequence[int]], results: Mapping[str, Floats]) -> dict[str, Any]:
    """Return objectives and out-of-fold accuracies of the fits of each contestant of a sweep.

    Parameters
    ----------
    case : Case
    fits : mapping
        Contestant to the positions of its fits in :func:`~bench.heads.sweep_grid`.
    results : mapping
        Contestant to packed coefficients, (fits, columns, d + 1).

    Returns
    -------
    dict
        Contestant to a dict of ``objective`` and ``accuracy``, each by position of the fit.
    """
    figures: dict[str, Any] = {name: {"objective": {}, "accuracy": {}} for name in fits}
    labels, grid = case.labels[: case.n], sweep_grid()
    for fold, mask in enumerate(fold_rows(labels)):
        train, out = np.flatnonzero(mask), np.flatnonzero(~mask)
        X, X_out = case.standard(train, train), case.standard(out, train)
        for name, own in fits.items():
            for place, i in enumerate(own):
                C, of = grid[i]
                if of != fold:
                    continue
                coef, intercept = results[name][place][:, :-1], results[name][place][:, -1]
                figures[name]["objective"][i] = objective(coef, intercept, X, labels[train], C)
                figures[name]["accuracy"][i] = accuracy(predictions(coef, intercept, X_out), labels[out])
    return figures


def sweep_rows(
    found: Sequence[Found], figures: Mapping[str, Any], lowest: Mapping[int, float], first: str
) -> list[dict[str, str]]:
    """Return rows for the contestants of a sweep; seconds of few fits are scaled to all.

    Parameters
    ----------
    found : sequence of Found
        Those of the same objective have a `facts["own_objective"]` that is not true.
    figures : mapping
        Of :func:`sweep_figures`, by title.
    lowest : mapping
        Lowest objective known, by position of the fit.
    first : str
        Title of the one that the others are compared with; it has made all fits.
    """
    total = len(sweep_grid())
    base = next(each for each in found if each.title == first)
    rows = []
    for each in found:
        own = figures[each.title]
        scale = total / len(own["accuracy"])
        distances = [value / lowest[i] - 1 for i, value in own["objective"].items()]
        apart = [abs(value - figures[first]["accuracy"][i]) for i, value in own["accuracy"].items()]
        same = not each.facts.get("own_objective")
        rows.append(
            {
                "": each.title,
                "fits": str(len(own["accuracy"])),
                "s": f"{median(each.fit):.2f}",
                f"s for {total}": f"{median(each.fit) * scale:.2f}",
                "times as long": f"{median(each.fit) * scale / median(base.fit):.2f}",
                "median distance": f"{np.median(distances):.1e}" if same else "",
                "worst distance": f"{max(distances):.1e}" if same else "",
                "accuracies apart": f"{max(apart):.4f}",
                "best accuracy": _best(own["accuracy"]),
                **_common(each),
            }
        )
    return rows


def _best(accuracies: Mapping[int, float]) -> str:
    """Return the best mean over the folds and its C, if all folds of all C were fitted."""
    grid = sweep_grid()
    if len(accuracies) < len(grid):
        return ""
    by_strength: dict[float, list[float]] = {}
    for i, value in accuracies.items():
        by_strength.setdefault(grid[i][0], []).append(value)
    C, values = max(by_strength.items(), key=lambda item: float(np.mean(item[1])))
    return f"{np.mean(values):.4f} at C={C:.2g}"


def floor_sentences(floors: Floors, found: Found) -> list[str]:
    """Say what the machine allows for the sweeps that featx's fit made, and how near it came."""
    sweeps, columns = found.facts["sweeps"], found.facts["columns"]
    said, seconds = floors.say(sweeps, columns), median(found.fit)
    return [
        f"{found.title} swept {sweeps} times over {floors.size / 1e6:.0f} MB, for {columns / sweeps:.1f} columns at a"
        f" time. Summing them up reads {floors.bandwidth / 1e9:.1f} GB/s: {said['reading']:.3f} s for all sweeps."
        f" BLAS does {floors.square_rate / 1e9:.0f} GFLOP/s on large squares: {said['computing']:.3f} s; on products of"
        f" these very shapes {floors.thin_rate / 1e9:.0f} GFLOP/s: {said['products']:.3f} s.",
        f"What bounds it is {said['bound']}: {said['floor']:.3f} s, {said['floor'] / seconds:.0%} of the"
        f" {seconds:.3f} s that it took (with checks, moments, preconditioner and softmax).",
    ]


def interval(figure: Any) -> str:
    """Return a figure with its interval."""
    return f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})"
