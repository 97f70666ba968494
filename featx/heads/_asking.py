"""Asking a fitted head: the checks that come before, and the words for what goes wrong."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.errors import HeadError, first_line
from featx.heads._calibration import CalibratedHead
from featx.heads._checks import as_taken, check_width, checked_features
from featx.heads._estimators import is_regressor, raw_scores, title

__all__ = ["head_scores", "head_values"]

Floats = npt.NDArray[np.float64]


def head_scores(head: Any, X: npt.ArrayLike, *, views: bool = False) -> tuple[Floats, bool]:
    """Ask a fitted classifier, and say whether it answered with probabilities.

    Parameters
    ----------
    head : estimator, LinearClassifier or CalibratedHead
        Fitted, with k classes, or k labels that are each there or not.
    X : array_like of shape (n, d), float
        Features, all finite; of shape (n, ...) for a head that was fitted on maps.
    views : bool
        Whether `X` is (n, v, ...), with v views of each sample: their scores are then averaged.

    Returns
    -------
    scores : ndarray of shape (n, k), float64
        Column j belongs to ``head.classes_[j]``. Probabilities where the head has them; else the decision function
        (for two classes ``-d`` and ``d``); else 1 for the predicted class and 0 for the others. The largest is the
        answer; of a multilabel head, every label of a probability above 0.5 or a score above 0.
    is_probability : bool
        Whether the scores are probabilities. None are made up for a head that has none.

    Raises
    ------
    HeadError
        The features are not finite floats of the shape the head was fitted on, the head is a regressor, or it fails
        or answers with nan.
    """
    if not hasattr(head, "classes_"):
        raise HeadError(f"scores are of a fitted classifier; {title(head)} is none: fit it, or ask for its values")
    if isinstance(head, CalibratedHead):  # which was calibrated on averages over the views
        scores, is_probability = head_scores(head.head, X, views=views)
        return head.calibration(scores, is_probability), True
    k = len(head.classes_)
    is_probability = hasattr(head, "predict_proba")
    return _answers(head, X, views, k, lambda rows: raw_scores(head, rows)[0]), is_probability


def head_values(head: Any, X: npt.ArrayLike, *, views: bool = False) -> Floats:
    """Ask a fitted regressor.

    Parameters
    ----------
    head : estimator or LinearRegressor
        Fitted on t targets.
    X : array_like of shape (n, d), float
        Features, all finite; of shape (n, ...) for a head that was fitted on maps.
    views : bool
        Whether `X` is (n, v, ...), with v views of each sample: their values are then averaged.

    Returns
    -------
    ndarray of shape (n, t), float64

    Raises
    ------
    HeadError
        The features are not finite floats of the shape the head was fitted on, the head is a classifier, or it fails
        or answers with nan.
    """
    if not is_regressor(head):
        raise HeadError(f"values are of a regressor; {title(head)} is none: ask for its scores")

    def ask(rows: npt.NDArray[Any]) -> Floats:
        values = np.array(head.predict(rows), dtype=np.float64)
        return values.reshape(len(values), -1)

    return _answers(head, X, views, None, ask)


def _answers(
    head: Any, X: npt.ArrayLike, views: bool, k: int | None, ask: Callable[[npt.NDArray[Any]], Floats]
) -> Floats:
    """Return the answers (n, k) to features, averaged over views."""
    features = checked_features(head, X, views=views)
    check_width(head, features, views=views)
    n = len(features)
    rows = features.reshape(-1, *features.shape[2:]) if views else features
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            # no estimator answers to no rows, but to one that is left out
            answers = ask(as_taken(head, rows)) if n else ask(np.zeros((1, *rows.shape[1:]), np.float32))[:0]
        except Exception as error:  # scikit-learn's estimators raise whatever they meet
            raise HeadError(f"{title(head)} cannot answer: {first_line(error)}") from error
    if answers.shape != (len(rows), k or answers.shape[-1]) or not np.isfinite(answers).all():
        raise HeadError(
            f"{title(head)} must answer with {len(rows)} × {k or 'any'} finite numbers, and does not: fit another head"
        )
    return answers.reshape(n, -1, answers.shape[1]).mean(axis=1) if views and n else answers
