"""Fitting a head: the checks that come before, and the words for what goes wrong."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.errors import HeadError
from featx.heads._checks import (
    as_taken,
    check_classes,
    check_weighted_classes,
    checked_features,
    checked_targets,
    checked_weights,
    task_for,
)
from featx.heads._estimators import Task, final_estimator, fit_takes, is_featx, is_multilabel, title

__all__ = ["FitReport", "fit_head", "fit_one", "report_of", "require_estimator", "watched"]

_MAX_WARNING = 300


@dataclass(frozen=True)
class FitReport:
    """What :func:`fit_head` did.

    Attributes
    ----------
    n_samples : int
        Samples fitted on.
    n_features : int
        Numbers in the features of a sample (of one view of it).
    classes : list of int
        Labels that occur, increasing; the order of the columns of :func:`head_scores`. Empty for a regressor.
    seconds : float
        Wall time of the fit; of heads fitted together, an equal share.
    warnings : list of str
        What the head warned of, one line each; empty if nothing.
    task : {"classification", "multilabel", "regression"}
        What was learned.
    history : tuple of dict
        One for each epoch of a head that learns in epochs.
    converged : bool
        Whether no solver stopped before it was done.
    """

    n_samples: int
    n_features: int
    classes: list[int]
    seconds: float
    warnings: list[str]
    task: Task = "classification"
    history: tuple[dict[str, Any], ...] = ()
    converged: bool = True


def fit_head(
    head: Any,
    X: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    sample_weight: npt.ArrayLike | None = None,
    validation: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    views: bool = False,
) -> FitReport:
    """Fit `head` in place, after checking what it is given.

    Parameters
    ----------
    head : estimator
        What :func:`~featx.heads.make_head` returned.
    X : array_like of shape (n, d), float
        Features, all finite; of shape (n, ...) for a head that takes maps. featx's own heads read them as they are,
        also from a memory map; for scikit-learn's, float16 becomes float32.
    y : array_like
        Labels from 0, (n,) integer, of at least two classes (classes may be missing); or of a head made for several
        labels a sample, (n, k) bool or 0 and 1; or of a regressor, numbers (n,) or (n, t).
    sample_weight : array_like of shape (n,), float, optional
        Weights of the samples, not negative; a weight of 2 counts as a sample given twice, in standardising too.
    validation : (X, y), optional
        Other samples, by which a head that learns in epochs chooses the best. The other heads do not look at them.
    views : bool
        Whether `X` is (n, v, ...), with v views of each sample. A head that learns in epochs takes one of them at a
        time; the others take each view as a row of weight 1/v, if they take weights.

    Returns
    -------
    FitReport
        Sizes, classes, time and warnings. Nothing is printed or warned.

    Raises
    ------
    HeadError
        The features are no finite floats of the right shape, the targets do not go with them, there is only one class,
        the head cannot use weights, or it refuses a parameter's value or fails.
    """
    require_estimator(head)
    features = checked_features(head, X, views=views)
    task = task_for(head, y)
    n, v = features.shape[0], features.shape[1] if views else 1
    targets = checked_targets(y, n, task)
    check_classes(targets, task)
    extra: dict[str, Any] = {}
    if validation is not None and fit_takes(head, "validation"):
        extra = _validation(head, features, targets, validation, task, views=views)
    weights = None
    if sample_weight is not None:
        weights = checked_weights(sample_weight, n)
        check_weighted_classes(weights, targets, task)
    if views and fit_takes(head, "views"):
        extra["views"] = True
    elif views:
        features, targets = features.reshape(-1, *features.shape[2:]), np.repeat(targets, v, axis=0)
        if weights is not None or fit_takes(final_estimator(head), "sample_weight"):
            weights = np.repeat(np.ones(n) if weights is None else weights, v) / v
    return fit_one(head, features, targets, weights, extra, task=task, n_samples=n)


def _validation(
    head: Any,
    X: npt.NDArray[Any],
    y: npt.NDArray[Any],
    validation: tuple[npt.ArrayLike, npt.ArrayLike],
    task: Task,
    *,
    views: bool,
) -> dict[str, Any]:
    """Return the argument that holds the validation samples whose class there is something to learn of."""
    X_val = checked_features(head, validation[0], views=views)
    y_val = checked_targets(validation[1], X_val.shape[0], task)
    lead = 2 if views else 1
    if X_val.shape[lead:] != X.shape[lead:] or y_val.shape[1:] != y.shape[1:]:
        raise HeadError(
            f"validation must have features and targets of shape {X.shape[lead:]} and {y.shape[1:]} in each row, as"
            f" those to fit on; got {X_val.shape[lead:]} and {y_val.shape[1:]}"
        )
    if task == "classification":
        known = np.isin(y_val, y)
        if not known.all():
            X_val, y_val = X_val[known], y_val[known]
    return {"validation": (X_val, y_val)} if len(y_val) else {}


def require_estimator(head: Any) -> None:
    """Raise HeadError unless the head can be fitted."""
    if not (hasattr(head, "fit") and hasattr(head, "get_params")):
        raise HeadError(
            f"a head to fit must be an estimator of make_head; got {type(head).__name__}: a head loaded from a file"
            " answers, and is not fitted again"
        )


def fit_one(
    head: Any,
    X: npt.NDArray[Any],
    y: npt.NDArray[Any],
    weights: npt.NDArray[np.float64] | None = None,
    extra: dict[str, Any] | None = None,
    *,
    task: Task,
    n_samples: int | None = None,
) -> FitReport:
    """Fit a head on what has been checked; `extra` are further arguments of its ``fit``."""
    X = as_taken(head, X)
    arguments = {**(extra or {}), **({} if weights is None else _weight_arguments(head, weights))}
    seconds, caught = watched(head, lambda: head.fit(X, y, **arguments))
    asked = X[:1, 0] if arguments.get("views") else X[:1]
    return report_of(head, asked, task, X.shape[0] if n_samples is None else n_samples, seconds, caught)


def watched(head: Any, fit: Callable[[], Any]) -> tuple[float, list[warnings.WarningMessage]]:
    """Call `fit`; return the seconds it took and what it warned of, or raise HeadError in the name of the head."""
    start = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            fit()
        except Exception as error:  # scikit-learn's estimators raise whatever their solvers raise
            raise HeadError(f"{title(head)} cannot be fitted: {_one_line(error)}") from error
    return time.perf_counter() - start, caught


def report_of(
    head: Any, X: npt.NDArray[Any], task: Task, n: int, seconds: float, caught: list[warnings.WarningMessage]
) -> FitReport:
    """Try a head that has just been fitted, and tell about the fit."""
    _, more = watched(head, lambda: head.predict(as_taken(head, X[:1])))  # some refuse only here: too many neighbours
    if task == "multilabel" and not is_multilabel(head):
        raise HeadError(f"{title(head)} was made for one label a row: make it with task='multilabel'")
    width = int(np.prod(X.shape[1:]))
    if not hasattr(head, "n_features_in_"):
        head.n_features_in_ = width  # OneVsRestClassifier asks its first estimator, which may be a constant
    final = final_estimator(head)
    caught = [*caught, *more]
    unfinished = [warning for warning in caught if warning.category.__name__ == "ConvergenceWarning"]
    converged = bool(np.all(getattr(final, "converged_", not unfinished)))
    if converged:  # those are of others, fitted together with it
        caught = [warning for warning in caught if warning not in unfinished]
    return FitReport(
        n_samples=n,
        n_features=width,
        classes=[] if task == "regression" else [int(label) for label in head.classes_],
        seconds=seconds,
        warnings=_as_text(caught),
        task=task,
        history=tuple(dict(epoch) for epoch in getattr(final, "history_", ())) if is_featx(final) else (),
        converged=converged,
    )


def _weight_arguments(head: Any, weights: npt.NDArray[np.float64]) -> dict[str, Any]:
    steps = getattr(head, "steps", None)
    owners = [("", head)] if steps is None else [(f"{step}__", estimator) for step, estimator in steps]
    final = owners[-1][1]
    if not fit_takes(final, "sample_weight"):
        raise HeadError(f"{type(final).__name__} cannot use sample_weight: leave it out, or choose another head")
    return {f"{prefix}sample_weight": weights for prefix, owner in owners if fit_takes(owner, "sample_weight")}


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _as_text(caught: list[warnings.WarningMessage]) -> list[str]:
    lines = []
    for warning in caught:
        if issubclass(warning.category, (DeprecationWarning, PendingDeprecationWarning)):
            continue
        text = " ".join(str(warning.message).split())
        if len(text) > _MAX_WARNING:
            text = f"{text[:_MAX_WARNING].rsplit(' ', 1)[0]} ..."
        if text not in lines:
            lines.append(text)
    return lines
