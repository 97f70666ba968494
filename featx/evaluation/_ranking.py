"""Figures of the order that scores put rows in: ROC-AUC and average precision with their intervals, and curves.

The interval of a ROC-AUC is DeLong's, on the scale of log odds. The variance is found as the sum of squares of what
each row's weight changes the figure by (the infinitesimal jackknife), which for one class is exactly his; the same
serves average precision, and the mean over classes, in which a row is a positive of its own class and a negative of the
others.

References
----------
.. [1] E. R. DeLong, D. M. DeLong and D. L. Clarke-Pearson (1988), "Comparing the areas under two or more correlated
   receiver operating characteristic curves: a nonparametric approach", Biometrics 44(3), pp. 837-845.
.. [2] L. A. Jaeckel (1972), "The infinitesimal jackknife", Bell Laboratories memorandum MM72-1215-11.
.. [3] K. Boyd, K. H. Eng and C. D. Page (2013), "Area under the precision-recall curve: point estimates and confidence
   intervals", ECML PKDD, pp. 451-466 (for the scale of log odds).
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from featx.errors import ParameterError
from featx.evaluation._intervals import Figure, Floats, Ranked

__all__ = ["precision_recall_curve", "rank_by_class", "roc_curve"]

_COLUMNS = 64
"""Classes copied at a time, so that each lies in one piece."""


def rank_by_class(
    positive: npt.NDArray[Any], scores: npt.NDArray[np.floating]
) -> tuple[dict[str, Ranked], list[dict[str, Figure]]]:
    """Return ROC-AUC and average precision of each class against the rest, and their means over the classes.

    Parameters
    ----------
    positive : ndarray of shape (n, k), bool, or of shape (n,), int64
        Which rows are of which class, or the class of each.
    scores : ndarray of shape (n, k)

    Returns
    -------
    means : dict of str to Ranked
        Over the classes that some rows are of and others are not; empty if there is none.
    by_class : list of dict of str to Figure
        For each class; empty for the others.
    """
    n, k = scores.shape
    found: dict[str, list[Ranked]] = {"roc_auc": [], "average_precision": []}
    total = {name: np.zeros(n) for name in found}
    by_class: list[dict[str, Figure]] = []
    for start in range(0, k, _COLUMNS):
        for c, column in enumerate(np.ascontiguousarray(scores[:, start : start + _COLUMNS].T), start):
            ranked = _against_rest(_of_class(positive, c), column)
            by_class.append({name: one.figure() for name, one in ranked.items()})
            for name, one in ranked.items():
                found[name].append(one._replace(influence=np.empty(0)))
                total[name] += one.influence
    means = {
        name: Ranked(
            float(np.mean([one.value for one in ranks])), total[name] / len(ranks), sum(one.positives for one in ranks)
        )
        for name, ranks in found.items()
        if ranks
    }
    return means, by_class


def _of_class(positive: npt.NDArray[Any], c: int) -> npt.NDArray[np.bool_]:
    return positive == c if positive.ndim == 1 else positive[:, c]


def _against_rest(positive: npt.NDArray[np.bool_], scores: npt.NDArray[np.floating]) -> dict[str, Ranked]:
    """Return both figures of one class, with one binary search of the rows among its positives, and no sort of all."""
    own = np.flatnonzero(positive)
    m, rest = own.size, positive.size - own.size
    if not m or not rest:
        return {}
    levels, count = np.unique(scores[own], return_counts=True)
    # of each row: how many levels are not above it, and below it; where these differ it is on a level
    up_to = np.searchsorted(levels, scores, side="right")
    below = up_to - (levels.take(up_to - 1, mode="wrap") == scores)
    mine = up_to[own] - 1
    before = np.concatenate([[0], np.cumsum(count)])
    # negatives below each level, and not above it
    less = np.cumsum(np.bincount(up_to, minlength=levels.size + 1))[:-1] - before[:-1]
    not_more = np.cumsum(np.bincount(below, minlength=levels.size + 1))[:-1] - before[1:]
    auc = float(count @ (less + not_more) / (2 * m * rest))
    answered = m - before[:-1] + rest - less
    precision = (m - before[:-1]) / answered
    average = float(count @ precision / m)
    gain = np.concatenate([[0.0], np.cumsum(count / answered)])
    loss = np.concatenate([[0.0], np.cumsum(count * precision / answered)])
    # unbiased variances within the positives and within the others, as DeLong has them
    of_own, of_rest = ((size / max(size - 1, 1)) ** 0.5 / size for size in (m, rest))
    auc_of = (1 - auc - (before[up_to] + before[below]) / (2 * m)) * of_rest
    auc_of[own] = ((less + not_more)[mine] / (2 * rest) - auc) * of_own
    average_of = loss[up_to] * (-of_rest * rest / m)
    average_of[own] = (precision[mine] - average + gain[mine + 1] - loss[mine + 1]) * of_own
    return {"roc_auc": Ranked(auc, auc_of, m), "average_precision": Ranked(average, average_of, m)}


def roc_curve(positive: npt.ArrayLike, scores: npt.ArrayLike, *, points: int = 200) -> tuple[Floats, Floats, Floats]:
    """Return the ROC curve of one class against the rest, for a plot.

    Parameters
    ----------
    positive : array_like of shape (n,), bool
        Which rows are of the class.
    scores : array_like of shape (n,), float
        Higher for rows that are rather of it.
    points : int
        At most so many, spread evenly along the curve; the ends are always there.

    Returns
    -------
    false_positive_rate, true_positive_rate, thresholds : ndarray of shape (p,), float64
        From (0, 0), whose threshold is inf, to (1, 1).

    Raises
    ------
    ParameterError
        There are not rows of both kinds, or the arrays do not go together.
    """
    hits, misses, thresholds = _by_threshold(positive, scores)
    false, true = misses / misses[-1], hits / hits[-1]
    kept = _thinned(false + true, points)
    return false[kept], true[kept], thresholds[kept]


def precision_recall_curve(
    positive: npt.ArrayLike, scores: npt.ArrayLike, *, points: int = 200
) -> tuple[Floats, Floats, Floats]:
    """Return the curve of precision against recall of one class against the rest, for a plot.

    Parameters
    ----------
    positive : array_like of shape (n,), bool
        Which rows are of the class.
    scores : array_like of shape (n,), float
        Higher for rows that are rather of it.
    points : int
        At most so many, spread evenly along the recall; the ends are always there.

    Returns
    -------
    precision, recall, thresholds : ndarray of shape (p,), float64
        By increasing recall, from no row answered with the class (recall 0, precision 1, threshold inf).

    Raises
    ------
    ParameterError
        There are not rows of both kinds, or the arrays do not go together.
    """
    hits, misses, thresholds = _by_threshold(positive, scores)
    answered = hits + misses
    precision = np.divide(hits, answered, out=np.ones(hits.size), where=answered > 0)
    recall = hits / hits[-1]
    kept = _thinned(recall, points)
    return precision[kept], recall[kept], thresholds[kept]


def _by_threshold(positive: npt.ArrayLike, scores: npt.ArrayLike) -> tuple[Floats, Floats, Floats]:
    """Return rows of the class and others that reach each threshold, from the highest down, and these."""
    chosen, values = np.asarray(positive), np.asarray(scores, dtype=np.float64)
    if chosen.dtype != np.bool_ or chosen.ndim != 1 or values.shape != chosen.shape:
        raise ParameterError(
            f"positive must be a vector of bool, and scores one number for each of it; got {chosen.dtype} of shape"
            f" {chosen.shape}, and shape {values.shape}"
        )
    if not np.isfinite(values).all():
        raise ParameterError("scores must be finite; got nan or inf")
    if chosen.all() or not chosen.any():
        raise ParameterError(
            f"positive must have rows of the class and others for a curve; got {int(chosen.sum())} of {chosen.size}"
        )
    order = np.argsort(-values)  # the order of equals does not matter: only the last of them is looked at
    last = np.append(np.flatnonzero(np.diff(values[order])), values.size - 1)
    hits = np.cumsum(chosen[order], dtype=np.float64)[last]
    return (
        np.concatenate([[0.0], hits]),
        np.concatenate([[0.0], last + 1 - hits]),
        np.concatenate([[np.inf], values[order][last]]),
    )


def _thinned(way: Floats, points: int) -> npt.NDArray[np.intp]:
    """Return which of the points of a curve to keep, given how far along it each is."""
    if isinstance(points, bool) or not isinstance(points, int) or points < 2:
        raise ParameterError(f"points must be an integer of 2 or more; got {points!r}")
    if way.size <= points:
        return np.arange(way.size)
    steps = np.searchsorted(way, np.linspace(way[0], way[-1], points - 1))
    return np.union1d(steps, [0, way.size - 1])
