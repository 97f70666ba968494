"""What heads share that need no more than the sums of each class: one pass, whatever the number of fits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy.typing as npt
from sklearn.base import BaseEstimator

from featx.heads._blocks import Labels, Rows, checked_features, row_numbers
from featx.heads._moments import Moments, checked_weights, moments_of

__all__ = ["ClassMoments"]


class ClassMoments(BaseEstimator):
    """Base of classifiers that are made from the moments of the classes."""

    _squares: ClassVar[bool] = False
    """Whether the head needs the squares of each class, too."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Add up the rows of each class.

        Parameters
        ----------
        X : array_like of shape (n, d), float
            Features; they are read in blocks, in memory or mapped, and never copied as a whole.
        y : array_like of shape (n,)
            Labels of two or more classes.
        sample_weight : array_like of shape (n,), optional
            A weight of 2 counts as a row given twice.

        Returns
        -------
        estimator
            The estimator itself.

        Raises
        ------
        ValueError
            The arrays do not go together, a parameter has a value it cannot have, `y` holds fewer than two classes,
            or a class has no row with a weight above 0.
        """
        self._fit_all([self], X, y, [None], sample_weight)
        return self

    @classmethod
    def fit_many(
        cls, heads: Sequence[Self], X: Any, y: Any, rows: Sequence[npt.ArrayLike], sample_weight: Any = None
    ) -> None:
        """Fit ``heads[i]`` on the rows ``rows[i]``, all in one pass over X.

        Parameters
        ----------
        heads : sequence of estimators
            Of this class.
        X, y, sample_weight
            As in :meth:`fit`.
        rows : sequence of array_like of int
            The rows of each head, one array for each.

        Raises
        ------
        ValueError
            As in :meth:`fit`.
        """
        cls._fit_all(heads, X, y, [row_numbers(part) for part in rows], sample_weight)

    @classmethod
    def _fit_all(cls, heads: Sequence[Self], X: Any, y: Any, sets: Sequence[Rows | None], sample_weight: Any) -> None:
        for head in heads:
            head._check_params()
        X, y = checked_features(heads[0], X, y)
        labels, weights = Labels(y), checked_weights(sample_weight, X)
        present = [labels.present(rows) for rows in sets]
        all_moments = moments_of(X, sets, weights=weights, targets=labels.indicator, squares=cls._squares)
        for head, numbers, moments in zip(heads, present, all_moments, strict=True):
            if moments.target_weights[numbers].min() <= 0:
                raise ValueError("every class must have a row with a weight above 0: leave the others out")
            head.n_features_in_ = X.shape[1]
            head.classes_ = labels.classes[numbers]
            head._take(moments, numbers)

    def _check_params(self) -> None:
        """Raise ValueError for a parameter of a wrong value."""

    def _take(self, moments: Moments, numbers: Rows) -> None:
        """Set the fitted attributes from the moments, in which the present classes have these numbers."""
        raise NotImplementedError
