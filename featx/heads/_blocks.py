"""Rows in blocks: how the native heads read features of any float type, in memory or mapped, without a copy of all."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils import assert_all_finite
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

__all__ = [
    "BLOCK_VALUES",
    "Floats",
    "Labels",
    "LinearScores",
    "Rows",
    "checked_features",
    "linear_scores",
    "row_blocks",
    "row_numbers",
]

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

BLOCK_VALUES = 1 << 21
"""Values of a block: a few thousand rows of features, 16 MiB in float64."""

_FLOATS = [np.float64, np.float32, np.float16]
_NO_Y = "no_validation"
"""scikit-learn's word for prediction; None is a mistake in fitting, which it names."""


def checked_features(estimator: Any, X: Any, y: Any = _NO_Y, *, reset: bool = True, **rules: Any) -> Any:
    """Check features (and labels) as scikit-learn does, leaving float16 as it is and looking at it block by block.

    Parameters
    ----------
    estimator : estimator
        Whose ``n_features_in_`` is set or compared.
    X : array_like of shape (n, d)
        Features.
    y : array_like, optional
        Labels or targets, in fitting.
    reset : bool
        Set ``n_features_in_``, or compare with it.
    **rules
        Of :func:`sklearn.utils.validation.validate_data`.

    Returns
    -------
    X : ndarray of shape (n, d), float64, float32 or float16
        The same memory where possible.
    y : ndarray
        If `y` was given.

    Raises
    ------
    ValueError
        `X` is no finite matrix, or does not go with `y` or with what the estimator was fitted on.
    """
    half = getattr(X, "dtype", None) == np.float16  # scikit-learn's own look at it would take a mask of all
    checked = validate_data(estimator, X, y, reset=reset, dtype=_FLOATS, ensure_all_finite=not half, **rules)
    if half:
        for _, block in row_blocks(checked if y is _NO_Y else checked[0], None, np.float32):
            assert_all_finite(block, input_name="X")
    return checked


def row_numbers(rows: npt.ArrayLike) -> Rows:
    """Return the numbers of some rows as int64, (m,).

    Raises
    ------
    ValueError
        They are no list of integers, 0 or more, or there are none.
    """
    numbers = np.asarray(rows)
    if numbers.ndim != 1 or numbers.dtype.kind not in "iu" or not numbers.size or numbers.min() < 0:
        raise ValueError(
            f"rows must be one or more integers, 0 or more, for each head; got {numbers.dtype} of shape {numbers.shape}"
        )
    return numbers.astype(np.int64)


def row_blocks(
    X: npt.NDArray[Any], rows: Rows | None, dtype: npt.DTypeLike, *, values: int | None = None
) -> Iterator[tuple[slice | Rows, npt.NDArray[Any]]]:
    """Yield blocks of rows, each a new array that may be changed.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        Features.
    rows : ndarray of shape (m,), int64, or None
        The rows to yield, in this order; all for None.
    dtype : dtype
        Of the blocks.
    values : int, optional
        Values in a block, about; ``BLOCK_VALUES`` without.

    Yields
    ------
    index : slice or ndarray of int64
        Which rows they are.
    block : ndarray of shape (b, d), `dtype`
        The rows.
    """
    step = max(1, (BLOCK_VALUES if values is None else values) // max(1, X.shape[1]))
    for start in range(0, X.shape[0] if rows is None else rows.size, step):
        index = slice(start, start + step) if rows is None else rows[start : start + step]
        yield index, np.array(X[index], dtype=dtype, order="C")


class Labels:
    """What a classifier is told: a class for each row, or an indicator of several labels.

    Parameters
    ----------
    y : ndarray of shape (n,), or (n, k) of 0 and 1
        Labels of any kind, or the indicator (of a single label if it is of bool or uint8; else one column is a
        column of labels, as scikit-learn takes it).

    Attributes
    ----------
    multilabel : bool
        Whether it is an indicator.
    classes : ndarray of shape (k,)
        The labels, sorted; 0 to k - 1 for an indicator.
    index : ndarray of shape (n,), int64, or (n, k), bool
        Where in `classes` the label of each row is; or the indicator.

    Raises
    ------
    ValueError
        The labels are continuous, or a matrix that is no indicator.
    """

    def __init__(self, y: npt.NDArray[Any]) -> None:
        self.multilabel = y.ndim == 2 and (y.shape[1] > 1 or y.dtype in (np.bool_, np.uint8))
        if not self.multilabel:
            y = column_or_1d(y, warn=True)
            check_classification_targets(y)
            self.classes, self.index = np.unique(y, return_inverse=True)
            return
        if y.dtype.kind not in "biuf" or not np.isin(y, (0, 1)).all():
            raise ValueError(
                f"Unknown label type: several labels a sample must be an indicator of 0 and 1; got {y.dtype} of shape"
                f" {y.shape}"
            )
        self.classes = np.arange(y.shape[1])
        self.index = y.astype(np.bool_)

    def indicator(self, rows: Any) -> npt.NDArray[np.bool_]:
        """Return which of the classes each of some rows has, (b, k)."""
        index = self.index[rows]
        indicator: npt.NDArray[np.bool_] = index if self.multilabel else index[:, None] == np.arange(self.classes.size)
        return indicator

    def present(self, rows: Rows | None, *, least: int = 2) -> Rows:
        """Return the numbers of the classes that occur in some rows; of an indicator, all.

        Raises
        ------
        ValueError
            There are fewer than `least` classes.
        """
        if self.multilabel:
            return np.arange(self.classes.size)
        found = np.unique(self.index if rows is None else self.index[rows])
        if found.size < least:
            raise ValueError(f"The number of classes has to be greater than one; got {found.size} class")
        return found

    def total_weights(self, rows: Rows | None, weights: Floats | None) -> Floats:
        """Return the weights of some rows added up for each class, (k,)."""
        index = self.index if rows is None else self.index[rows]
        own = weights if weights is None or rows is None else weights[rows]
        return np.bincount(index, weights=own, minlength=self.classes.size).astype(np.float64)

    def of_class(self, number: int, rows: Rows | None) -> Rows:
        """Return those of some rows that are of a class."""
        if rows is None:
            return np.flatnonzero(self.index == number)
        of_class: Rows = rows[self.index[rows] == number]
        return of_class


def linear_scores(X: npt.NDArray[Any], coef: Floats, intercept: Floats) -> Floats:
    """Return ``X @ coef.T + intercept``, (n, k) float64, computed in float64 block by block."""
    scores = np.empty((X.shape[0], coef.shape[0]))
    for index, block in row_blocks(X, None, np.float64):
        scores[index] = block @ coef.T
    scores += intercept
    return scores


class LinearScores:
    """What linear classifiers share: ``coef_`` and ``intercept_`` on raw features make scores, and these the labels."""

    coef_: Floats
    intercept_: Floats
    classes_: npt.NDArray[Any]
    multilabel_ = False

    def decision_function(self, X: Any) -> Floats:
        """Return the scores ``X @ coef_.T + intercept_``.

        Parameters
        ----------
        X : array_like of shape (n, d), float
            Features.

        Returns
        -------
        ndarray of shape (n, k), or (n,) for two classes, float64
            Larger is likelier; for two classes, or a label of several, positive means yes.
        """
        check_is_fitted(self)
        scores = linear_scores(checked_features(self, X, reset=False), self.coef_, self.intercept_)
        return scores[:, 0] if len(self.classes_) == 2 and not self.multilabel_ else scores

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Return the label with the largest score.

        Parameters
        ----------
        X : array_like of shape (n, d), float
            Features.

        Returns
        -------
        ndarray of shape (n,), or of shape (n, k) and int64 for several labels a sample
            Labels, or the indicator of those whose score is positive.
        """
        scores = self.decision_function(X)
        if self.multilabel_:
            return (scores > 0).astype(np.int64)
        index = (scores > 0).astype(np.intp) if scores.ndim == 1 else scores.argmax(axis=1)
        labels: npt.NDArray[Any] = self.classes_[index]
        return labels
