"""What an estimator says of itself, whichever library it is of."""

import inspect
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from featx.heads._linear import LinearRegressor

__all__ = [
    "Task",
    "final_estimator",
    "fit_takes",
    "is_featx",
    "is_fitted",
    "is_multilabel",
    "is_regressor",
    "raw_scores",
    "title",
]

Task = Literal["classification", "multilabel", "regression"]


def final_estimator(head: Any) -> Any:
    """Return the last step of a pipeline, or the head itself."""
    steps = getattr(head, "steps", None)
    return head if steps is None else steps[-1][1]


def title(head: Any) -> str:
    """Return the name of the class that does the work, for messages."""
    return type(final_estimator(head)).__name__


def fit_takes(head: Any, parameter: str) -> bool:
    """Return whether ``fit`` of the head has a parameter of that name.

    With ``views`` it also takes maps: such a head looks at the axes of its features.
    """
    fit = getattr(head, "fit", None)
    return fit is not None and parameter in inspect.signature(fit).parameters


def is_featx(head: Any) -> bool:
    """Return whether the head is one of featx's own estimators, which take features as a store has them."""
    return type(head).__module__.startswith("featx.heads.")


def is_multilabel(head: Any) -> bool:
    """Return whether a fitted head answers each label on its own."""
    return bool(getattr(final_estimator(head), "multilabel_", False))


def is_regressor(head: Any) -> bool:
    """Return whether the head, fitted or not, answers with numbers instead of classes."""
    if isinstance(head, LinearRegressor):
        return True
    from sklearn.base import is_regressor

    return hasattr(head, "fit") and bool(is_regressor(head))


def is_fitted(head: Any) -> bool:
    """Return whether the head can answer: with classes, which are integers, or with numbers."""
    width = getattr(head, "n_features_in_", None)
    if not hasattr(head, "predict") or not isinstance(width, int) or width < 1:
        return False
    classes = getattr(head, "classes_", None)
    if classes is None:
        return is_regressor(head)
    return (
        isinstance(classes, np.ndarray)
        and classes.ndim == 1
        and classes.size >= 2
        and classes.dtype.kind in "iu"
        and bool(np.all(np.diff(classes.astype(np.int64)) > 0))
    )


def raw_scores(head: Any, X: npt.NDArray[Any]) -> tuple[npt.NDArray[np.float64], bool]:
    """Ask a fitted classifier.

    Returns
    -------
    scores : ndarray of shape (n, k), float64
        The largest is the answer; of a multilabel head each stands for itself.
    is_probability : bool
        Whether they are probabilities.
    """
    if hasattr(head, "predict_proba"):
        scores = np.array(head.predict_proba(X), dtype=np.float64)
        if is_multilabel(head):
            return scores, True
        # float32 probabilities add up to 1 within 1e-7, which is not within 1e-15
        sums = scores.sum(axis=1, keepdims=True)
        return np.divide(scores, sums, out=scores, where=np.abs(sums - 1) < 1e-3), True
    classes = np.asarray(head.classes_)
    if hasattr(head, "decision_function"):
        scores = np.array(head.decision_function(X), dtype=np.float64)
        if scores.ndim == 1:
            return np.stack([-scores, scores], axis=1), False
        if scores.shape[1] == classes.size:  # one against one has a column for each pair
            return scores, False
    return (np.asarray(head.predict(X))[:, None] == classes).astype(np.float64), False
