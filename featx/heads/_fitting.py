"""Fitting a head and asking it: the checks that come before, and the words for what goes wrong."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.errors import HeadError

__all__ = ["FitReport", "fit_head", "head_scores"]

_BLOCK_VALUES = 1 << 22
_MAX_WARNING = 300


@dataclass(frozen=True)
class FitReport:
    """What :func:`fit_head` did.

    Attributes
    ----------
    n_samples : int
        Rows fitted on.
    n_features : int
        Columns.
    classes : list of int
        Labels that occur, increasing; the order of the columns of :func:`head_scores`.
    seconds : float
        Wall time of the fit.
    warnings : list of str
        What scikit-learn warned of, one line each; empty if nothing.
    """

    n_samples: int
    n_features: int
    classes: list[int]
    seconds: float
    warnings: list[str]


def fit_head(head: Any, X: npt.ArrayLike, y: npt.ArrayLike, *, sample_weight: npt.ArrayLike | None = None) -> FitReport:
    """Fit `head` in place, after checking what it is given.

    Parameters
    ----------
    head : estimator
        What :func:`~featx.heads.make_head` returned.
    X : array_like of shape (n, d), float
        Features, all finite. float32 stays float32 where scikit-learn keeps it; float16 becomes float32.
    y : array_like of shape (n,), integer
        Labels from 0, of at least two classes; classes may be missing.
    sample_weight : array_like of shape (n,), float, optional
        Weights of the rows, not negative; a weight of 2 counts as a row given twice, in standardising too.

    Returns
    -------
    FitReport
        Sizes, classes, time and warnings. Nothing is printed or warned.

    Raises
    ------
    HeadError
        The features are not a matrix of finite floats, the labels do not go with them, there is only one class, the
        head cannot use weights, or scikit-learn refuses a parameter's value or fails.
    """
    X = _checked_features(X)
    y = _checked_labels(y, X.shape[0])
    if not (hasattr(head, "fit") and hasattr(head, "get_params")):
        raise HeadError(
            f"a head to fit must be an estimator of make_head; got {type(head).__name__}: a head loaded from a file"
            " answers, and is not fitted again"
        )
    weights = {} if sample_weight is None else _weight_arguments(head, _checked_weights(sample_weight, y))
    caught: list[warnings.WarningMessage]
    start = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            head.fit(X, y, **weights)
            seconds = time.perf_counter() - start
            head.predict(X[:1])  # some refuse only here: more neighbours than rows
        except Exception as error:  # scikit-learn's classifiers raise whatever their solvers raise
            raise HeadError(f"{_title(head)} cannot be fitted: {_one_line(error)}") from error
    return FitReport(
        n_samples=X.shape[0],
        n_features=X.shape[1],
        classes=[int(label) for label in head.classes_],
        seconds=seconds,
        warnings=_as_text(caught),
    )


def head_scores(head: Any, X: npt.ArrayLike) -> tuple[npt.NDArray[np.float64], bool]:
    """Ask a fitted head, and say whether it answered with probabilities.

    Parameters
    ----------
    head : estimator or LinearClassifier
        Fitted, with k classes.
    X : array_like of shape (n, d), float
        Features, all finite.

    Returns
    -------
    scores : ndarray of shape (n, k), float64
        Column j belongs to ``head.classes_[j]``. Probabilities where the head has them; else the decision function
        (for two classes ``-d`` and ``d``); else 1 for the predicted class and 0 for the others. The largest is the
        answer.
    is_probability : bool
        Whether the scores are probabilities. None are made up for a head that has none.

    Raises
    ------
    HeadError
        The features are not a finite float matrix of d columns, or the head fails or answers with nan.
    """
    X = _checked_features(X, n_features=getattr(head, "n_features_in_", None))
    classes = np.asarray(head.classes_)
    if X.shape[0] == 0:
        return np.empty((0, classes.size)), hasattr(head, "predict_proba")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            scores, is_probability = _ask(head, X, classes)
        except HeadError:
            raise
        except Exception as error:
            raise HeadError(f"{_title(head)} cannot answer: {_one_line(error)}") from error
    if scores.shape != (X.shape[0], classes.size) or not np.isfinite(scores).all():
        raise HeadError(
            f"{_title(head)} must answer with {X.shape[0]} × {classes.size} finite scores, and does not:"
            " fit another head"
        )
    return scores, is_probability


def _ask(head: Any, X: npt.NDArray[Any], classes: npt.NDArray[Any]) -> tuple[npt.NDArray[np.float64], bool]:
    if hasattr(head, "predict_proba"):
        scores = np.array(head.predict_proba(X), dtype=np.float64)
        # float32 probabilities add up to 1 within 1e-7, which is not within 1e-15
        sums = scores.sum(axis=1, keepdims=True)
        return np.divide(scores, sums, out=scores, where=np.abs(sums - 1) < 1e-3), True
    if hasattr(head, "decision_function"):
        scores = np.array(head.decision_function(X), dtype=np.float64)
        if scores.ndim == 1:
            return np.stack([-scores, scores], axis=1), False
        if scores.shape[1] == classes.size:  # one against one has a column for each pair
            return scores, False
    return (np.asarray(head.predict(X))[:, None] == classes).astype(np.float64), False


def _checked_features(X: npt.ArrayLike, n_features: int | None = None) -> npt.NDArray[Any]:
    X = np.asanyarray(X)
    if X.ndim > 2:
        raise HeadError(
            f"features must be a matrix (rows, features); got shape {X.shape}: flatten or pool the maps, such as"
            " with --pool avg"
        )
    if X.ndim != 2 or X.shape[1] == 0:
        raise HeadError(f"features must be a matrix (rows, features); got shape {X.shape}: give one row a sample")
    if X.dtype.kind != "f":
        raise HeadError(f"features must be of a float type; got {X.dtype}: convert them, such as to float32")
    if n_features is not None and X.shape[1] != n_features:
        raise HeadError(
            f"features must have {n_features} columns, as the head was trained on; got {X.shape[1]}: use features of"
            " the same backbone, layer and pooling"
        )
    bad = _rows_not_finite(X)
    if bad.size:
        named = ", ".join(str(row) for row in bad[:5]) + (", ..." if bad.size > 5 else "")
        raise HeadError(
            f"features must be finite; got nan or inf in {bad.size} of {X.shape[0]} rows ({named}): leave these out"
        )
    return X.astype(np.float32) if X.dtype == np.float16 else X


def _rows_not_finite(X: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    step = max(1, _BLOCK_VALUES // X.shape[1])
    blocks = [
        start + np.flatnonzero(~np.isfinite(X[start : start + step]).all(axis=1))
        for start in range(0, X.shape[0], step)
    ]
    return np.concatenate(blocks) if blocks else np.empty(0, dtype=np.intp)


def _checked_labels(y: npt.ArrayLike, n: int) -> npt.NDArray[np.int64]:
    y = np.asarray(y)
    if y.ndim != 1 or y.shape[0] != n:
        raise HeadError(f"there must be one label for each of the {n} rows of features; got shape {y.shape}")
    if y.dtype.kind not in "iu":
        raise HeadError(f"labels must be integers, the indices of the classes; got {y.dtype}")
    labels = y.astype(np.int64)
    if n and labels.min() < 0:
        raise HeadError(
            f"labels must be 0 or more; got {int(labels.min())} in row {int(labels.argmin())}: leave unlabeled rows out"
        )
    classes = np.unique(labels)
    if classes.size < 2:
        raise HeadError(
            f"a head must be trained on two classes or more; got {classes.size}"
            f"{f' (only label {classes[0]})' if classes.size else ''} in {n} rows"
        )
    return labels


def _checked_weights(sample_weight: npt.ArrayLike, y: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    weights = np.asarray(sample_weight)
    if weights.shape != y.shape or weights.dtype.kind not in "iuf":
        raise HeadError(
            f"sample_weight must be one number for each of the {y.size} rows; got {weights.dtype} of shape"
            f" {weights.shape}"
        )
    weights = weights.astype(np.float64)
    if not np.isfinite(weights).all() or weights.min() < 0:
        raise HeadError("sample_weight must be finite and not negative; got another value")
    if np.unique(y[weights > 0]).size < 2:
        raise HeadError("sample_weight must leave two classes or more with a weight above 0")
    return weights


def _weight_arguments(head: Any, weights: npt.NDArray[np.float64]) -> dict[str, Any]:
    from sklearn.utils.validation import has_fit_parameter

    steps = getattr(head, "steps", None)
    owners = [("", head)] if steps is None else [(f"{step}__", estimator) for step, estimator in steps]
    final = owners[-1][1]
    if not has_fit_parameter(final, "sample_weight"):
        raise HeadError(f"{type(final).__name__} cannot use sample_weight: leave it out, or choose another head")
    return {f"{prefix}sample_weight": weights for prefix, owner in owners if has_fit_parameter(owner, "sample_weight")}


def _title(head: Any) -> str:
    steps = getattr(head, "steps", None)
    return type(head if steps is None else steps[-1][1]).__name__


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
