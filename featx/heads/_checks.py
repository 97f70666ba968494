"""What features, targets and weights must be before a head sees them, and the words for it when they are not."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from featx.errors import HeadError
from featx.heads._estimators import Task, final_estimator, fit_takes, is_featx, is_regressor

__all__ = [
    "as_taken",
    "check_classes",
    "check_weighted_classes",
    "check_width",
    "checked_features",
    "checked_shape",
    "checked_targets",
    "checked_weights",
    "refuse_rows",
    "rows_not_finite",
    "task_for",
]

Indices = npt.NDArray[np.int64]

_BLOCK_VALUES = 1 << 22


def checked_features(head: Any, X: npt.ArrayLike, *, views: bool = False) -> npt.NDArray[Any]:
    """Return features as an array, after checking shape and type, and that all is finite.

    Raises
    ------
    HeadError
        The features are none for this head, or hold nan or inf.
    """
    X = checked_shape(head, X, views=views)
    refuse_rows(rows_not_finite(X), X.shape[0])
    return X


def checked_shape(head: Any, X: npt.ArrayLike, *, views: bool = False) -> npt.NDArray[Any]:
    """Return features as an array, after checking shape and type."""
    X = np.asanyarray(X)
    lead = 2 if views else 1
    if views and (X.ndim < 3 or not X.shape[1]):
        raise HeadError(
            f"features with views must have shape (n, views, ...); got {X.shape}: give views=False for one row a sample"
        )
    if X.ndim > lead + 1 and not fit_takes(final_estimator(head), "views"):
        raise HeadError(
            f"features must be a matrix (rows, features); got shape {X.shape}: flatten or pool the maps, such as"
            " with --pool avg"
        )
    if X.ndim <= lead or 0 in X.shape[lead:]:
        raise HeadError(f"features must be a matrix (rows, features); got shape {X.shape}: give one row a sample")
    if X.dtype.kind != "f":
        raise HeadError(f"features must be of a float type; got {X.dtype}: convert them, such as to float32")
    return X


def rows_not_finite(X: npt.NDArray[Any]) -> Indices:
    """Return the rows that hold nan or inf, read in blocks."""
    step = max(1, _BLOCK_VALUES // int(np.prod(X.shape[1:])))
    found = []
    for start in range(0, X.shape[0], step):
        block = X[start : start + step]
        found.append(start + np.flatnonzero(~np.isfinite(block.reshape(len(block), -1)).all(axis=1)))
    return np.concatenate(found).astype(np.int64) if found else np.empty(0, dtype=np.int64)


def refuse_rows(bad: Indices, n: int) -> None:
    """Raise HeadError if there are rows among the `n` that are not finite."""
    if bad.size:
        named = ", ".join(str(row) for row in bad[:5]) + (", ..." if bad.size > 5 else "")
        raise HeadError(f"features must be finite; got nan or inf in {bad.size} of {n} rows ({named}): leave these out")


def check_width(head: Any, X: npt.NDArray[Any], *, views: bool = False) -> None:
    """Raise HeadError unless the features are of the shape that the head was fitted on."""
    shape = X.shape[2:] if views else X.shape[1:]
    wanted = tuple(getattr(head, "input_shape_", ())) or (getattr(head, "n_features_in_", shape[0]),)
    if shape == wanted:
        return
    if len(wanted) == 1 == len(shape):
        raise HeadError(
            f"features must have {wanted[0]} columns, as the head was trained on; got {shape[0]}: use features of"
            " the same backbone, layer and pooling"
        )
    raise HeadError(
        f"features must have shape {wanted} in each row, as the head was trained on; got {shape}: use features of"
        " the same backbone, layer and pooling"
    )


def as_taken(head: Any, X: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return features in a type that the head takes: scikit-learn makes float64 of float16, not float32."""
    return X.astype(np.float32) if X.dtype == np.float16 and not is_featx(head) else X


def task_for(head: Any, y: npt.ArrayLike) -> Task:
    """Return what the head is to learn from such targets."""
    if is_regressor(head):
        return "regression"
    return "multilabel" if np.ndim(y) == 2 else "classification"


def checked_targets(y: npt.ArrayLike, n: int, task: Task, rows: Indices | None = None) -> npt.NDArray[Any]:
    """Return targets in the task's type, after checking those of the given rows, or all.

    Raises
    ------
    HeadError
        There is not one for each of the `n` rows, or one is of another kind than the task's.
    """
    y = np.asarray(y)
    named = np.arange(n) if rows is None else rows
    if task == "regression":
        return _checked_values(y, n, named)
    if task == "multilabel":
        return _checked_indicators(y, n, named)
    if y.ndim != 1 or y.shape[0] != n:
        raise HeadError(f"there must be one label for each of the {n} rows of features; got shape {y.shape}")
    if y.dtype.kind not in "iu":
        raise HeadError(f"labels must be integers, the indices of the classes; got {y.dtype}")
    labels = y.astype(np.int64)
    used = labels[named]
    if used.size and used.min() < 0:
        raise HeadError(
            f"labels must be 0 or more; got {int(used.min())} in row {named[used.argmin()]}: leave unlabeled rows out"
        )
    return labels


def check_classes(y: npt.NDArray[Any], task: Task) -> None:
    """Raise HeadError if there is nothing to tell apart."""
    if task == "classification":
        classes = np.unique(y)
        if classes.size < 2:
            raise HeadError(
                f"a head must be trained on two classes or more; got {classes.size}"
                f"{f' (only label {classes[0]})' if classes.size else ''} in {len(y)} rows"
            )
    elif len(y) < 2:
        raise HeadError(f"a head must be trained on two rows or more; got {len(y)}")
    elif task == "multilabel" and not (y != y[:1]).any():
        raise HeadError(f"a head must be trained on rows with different labels; all {len(y)} have the same")


def _checked_values(y: npt.NDArray[Any], n: int, rows: Indices) -> npt.NDArray[np.float64]:
    if y.ndim not in (1, 2) or y.shape[0] != n or 0 in y.shape[1:]:
        raise HeadError(f"there must be one number or more for each of the {n} rows of features; got shape {y.shape}")
    if y.dtype.kind not in "iuf":
        raise HeadError(f"targets of a regressor must be numbers; got {y.dtype}")
    values = y.astype(np.float64)
    bad = rows[~np.isfinite(values[rows].reshape(len(rows), -1)).all(axis=1)]
    if bad.size:
        raise HeadError(f"targets must be finite; got nan or inf in row {bad[0]}: leave rows without a target out")
    return values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values


def _checked_indicators(y: npt.NDArray[Any], n: int, rows: Indices) -> npt.NDArray[np.uint8]:
    if y.ndim != 2 or y.shape[0] != n:
        raise HeadError(f"there must be a row of labels for each of the {n} rows of features; got shape {y.shape}")
    if y.shape[1] < 2:
        raise HeadError(
            f"labels of a multilabel head must have two columns or more; got {y.shape[1]}: give a single label"
            " as two classes, with it and without"
        )
    if y.dtype.kind not in "biu":
        raise HeadError(f"labels of a multilabel head must be true or false, or 1 or 0; got {y.dtype}")
    bad = rows[((y[rows] != 0) & (y[rows] != 1)).any(axis=1)]
    if bad.size:
        raise HeadError(f"labels of a multilabel head must be 1 or 0; got another number in row {bad[0]}")
    return y.astype(np.uint8)


def checked_weights(sample_weight: npt.ArrayLike, n: int, rows: Indices | None = None) -> npt.NDArray[np.float64]:
    """Return the weights as float64, after checking those of the given rows, or all.

    Raises
    ------
    HeadError
        There is not one for each of the `n` rows, or one is negative or not finite.
    """
    weights = np.asarray(sample_weight)
    if weights.shape != (n,) or weights.dtype.kind not in "iuf":
        raise HeadError(
            f"sample_weight must be one number for each of the {n} rows; got {weights.dtype} of shape {weights.shape}"
        )
    weights = weights.astype(np.float64)
    used = weights if rows is None else weights[rows]
    if not np.isfinite(used).all() or (used < 0).any():
        raise HeadError("sample_weight must be finite and not negative; got another value")
    return weights


def check_weighted_classes(weights: npt.NDArray[np.float64], y: npt.NDArray[Any], task: Task) -> None:
    """Raise HeadError if what has a weight is of one class, or nothing has."""
    there = y[weights > 0]
    if not len(there) or (task == "classification" and np.unique(there).size < 2):
        what = "two classes or more" if task == "classification" else "rows"
        raise HeadError(f"sample_weight must leave {what} with a weight above 0")
