"""Many heads on the same features: those that can share the work do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.errors import HeadError
from featx.heads._checks import (
    check_classes,
    check_weighted_classes,
    checked_shape,
    checked_targets,
    checked_weights,
    refuse_rows,
    rows_not_finite,
    task_for,
)
from featx.heads._estimators import Task
from featx.heads._fitting import FitReport, fit_one, report_of, require_estimator, watched

__all__ = ["fit_many"]

Indices = npt.NDArray[np.int64]


def fit_many(
    heads: Sequence[Any],
    X: npt.ArrayLike,
    y: npt.ArrayLike,
    rows: Sequence[npt.ArrayLike],
    *,
    sample_weight: npt.ArrayLike | None = None,
) -> list[FitReport]:
    """Fit each head in place on some rows of the same features: folds, parameters and seeds at once.

    Heads of one class that can share their sweeps over the features do; the others are fitted one by one. Each ends as
    if it had been fitted alone.

    Parameters
    ----------
    heads : sequence of estimators
        What :func:`~featx.heads.make_head` returned, all for the same task.
    X : array_like of shape (n, d), float
        Features; also a memory map larger than memory. Rows that no head is fitted on are not looked at.
    y : array_like
        As :func:`fit_head` takes it, (n,) or (n, k); rows that no head is fitted on may hold anything.
    rows : sequence of array_like of int
        For each head the rows to fit it on, each row at most once.
    sample_weight : array_like of shape (n,), float, optional
        Weights of the rows, as of :func:`fit_head`.

    Returns
    -------
    list of FitReport
        One for each head.

    Raises
    ------
    HeadError
        As of :func:`fit_head`, or there is not one set of rows for each head, or the rows are not there.
    """
    if not heads:
        return []
    if len(rows) != len(heads):
        raise HeadError(f"rows must be as many as heads; got {len(rows)} and {len(heads)}")
    for head in heads:
        require_estimator(head)
    tasks = {task_for(head, y) for head in heads}
    if len(tasks) > 1:
        raise HeadError("heads that are fitted together must all be classifiers or all regressors; got both")
    (task,) = tasks
    features: npt.NDArray[Any] = np.asanyarray(X)
    chosen = [_checked_rows(part, len(features)) for part in rows]
    used = np.unique(np.concatenate(chosen))
    for head in {type(head): head for head in heads}.values():
        features = checked_shape(head, features)
    bad = rows_not_finite(features)
    refuse_rows(np.intersect1d(bad, used), used.size)
    targets = checked_targets(y, len(features), task, used)
    weights = None if sample_weight is None else checked_weights(sample_weight, len(features), used)
    for part in chosen:
        check_classes(targets[part], task)
        if weights is not None:
            check_weighted_classes(weights[part], targets[part], task)
    if bad.size:
        features, targets, chosen = features[used], targets[used], [np.searchsorted(used, part) for part in chosen]
        weights = None if weights is None else weights[used]
    elif used.size < len(features):
        # what stands in the other rows must not matter, and in a sum over all rows nan and -1 would
        idle = np.ones(len(features), dtype=bool)
        idle[used] = False
        targets[idle] = targets[used[:1]]
        if weights is not None:
            weights[idle] = 0.0
    reports: dict[int, FitReport] = {}
    for cls in dict.fromkeys(map(type, heads)):
        mine = [i for i, head in enumerate(heads) if type(head) is cls]
        fit = _fit_together if len(mine) > 1 and hasattr(cls, "fit_many") else _fit_apart
        found = fit([heads[i] for i in mine], features, targets, [chosen[i] for i in mine], weights, task)
        reports.update(zip(mine, found, strict=True))
    return [reports[i] for i in range(len(heads))]


def _fit_together(
    heads: list[Any],
    X: npt.NDArray[Any],
    y: npt.NDArray[Any],
    rows: list[Indices],
    weights: npt.NDArray[np.float64] | None,
    task: Task,
) -> list[FitReport]:
    """Fit heads of one class that knows how to."""
    seconds, caught = watched(heads[0], lambda: type(heads[0]).fit_many(heads, X, y, rows, weights))
    return [
        report_of(head, X[part[:1]], task, len(part), seconds / len(heads), caught)
        for head, part in zip(heads, rows, strict=True)
    ]


def _fit_apart(
    heads: list[Any],
    X: npt.NDArray[Any],
    y: npt.NDArray[Any],
    rows: list[Indices],
    weights: npt.NDArray[np.float64] | None,
    task: Task,
) -> list[FitReport]:
    """Fit heads one by one, each on its rows (a copy, unless they are all in their order)."""
    reports = []
    for head, part in zip(heads, rows, strict=True):
        taken = slice(None) if np.array_equal(part, np.arange(len(X))) else part
        reports.append(fit_one(head, X[taken], y[taken], None if weights is None else weights[taken], task=task))
    return reports


def _checked_rows(rows: npt.ArrayLike, n: int) -> Indices:
    found = np.asarray(rows)
    if found.ndim != 1 or (found.size and found.dtype.kind not in "iu"):
        raise HeadError(f"rows must be indices, one after the other; got {found.dtype} of shape {found.shape}")
    found = found.astype(np.int64)
    if found.size and (found.min() < 0 or found.max() >= n or len(np.unique(found)) < len(found)):
        raise HeadError(f"rows must be from 0 to {n - 1}, each at most once; got others")
    return found
