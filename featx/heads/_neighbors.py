"""Nearest-neighbour heads: the vote, or the mean, of the training rows nearest to a query."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral
from typing import Any, Self, get_args

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin, MultiOutputMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from featx.heads._blocks import Floats, Labels, Rows, checked_features
from featx.heads._head_state import HeadState
from featx.heads._moments import Scaling, checked_weights, moments_of
from featx.heads._nearest import Metric, nearest_rows, nearest_scaled

__all__ = ["KNNClassifier", "KNNRegressor", "nearest_rows"]

_WEIGHTS = ("uniform", "distance")
_ENOUGH = 1.0 - 1e-9
"""Of n_neighbors: weights such as 1/3 do not add up to it exactly."""


class _KNN(BaseEstimator):
    """What the two share: the training rows, and who votes."""

    def __init__(
        self, n_neighbors: Any = 10, *, metric: Any = "cosine", weights: Any = "uniform", standardize: bool = False
    ) -> None:
        self.n_neighbors = n_neighbors
        self.metric = metric
        self.weights = weights
        self.standardize = standardize

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Keep the training rows: a reference to them, unless some have no weight.

        Parameters
        ----------
        X : array_like of shape (n, d), float
            Features, in memory or mapped.
        y : array_like of shape (n,) or (n, t)
            Labels, or an indicator of several labels a sample; for the regressor numbers.
        sample_weight : array_like of shape (n,), optional
            A weight of 2 counts as a row given twice: neighbours are counted by their weights, up to `n_neighbors`.

        Returns
        -------
        estimator
            The estimator itself.

        Raises
        ------
        ValueError
            The arrays do not go together, a parameter has a value it cannot have, or there are fewer rows (or less
            weight) than `n_neighbors`.
        """
        self._check_params()
        X, y = checked_features(self, X, y, multi_output=True)
        y = self._take_targets(y)
        row_weights = checked_weights(sample_weight, X)
        self._scaling = Scaling.of(next(moments_of(X, [None], weights=row_weights))) if self.standardize else None
        if row_weights is not None and not row_weights.all():
            kept = np.flatnonzero(row_weights)
            X, y, row_weights = X[kept], y[kept], row_weights[kept]
        self._keep(X, y, row_weights)
        return self

    def _check_params(self) -> None:
        k = self.n_neighbors
        if isinstance(k, bool) or not isinstance(k, Integral) or k < 1:
            raise ValueError(f"n_neighbors must be an integer, 1 or more; got {k!r}: choose such a one")
        for name, values in (("metric", get_args(Metric)), ("weights", _WEIGHTS)):
            if getattr(self, name) not in values:
                raise ValueError(
                    f"{name} must be {' or '.join(values)}; got {getattr(self, name)!r}: choose one of them"
                )

    def _keep(self, X: npt.NDArray[Any], y: npt.NDArray[Any], row_weights: Floats | None) -> None:
        total = X.shape[0] if row_weights is None else float(row_weights.sum())
        if total < self.n_neighbors * _ENOUGH:
            raise ValueError(
                f"n_neighbors must be at most the number of rows (or the sum of their weights); got {self.n_neighbors}"
                f" for n_samples = {total:g}: choose fewer"
            )
        self._X, self._y, self._row_weights = X, y, row_weights
        self.n_samples_fit_ = X.shape[0]
        self._most = int(self.n_neighbors)  # rows that may be needed
        if row_weights is not None:
            lightest = np.cumsum(np.sort(row_weights))
            self._most = min(X.shape[0], int(np.searchsorted(lightest, self.n_neighbors * _ENOUGH)) + 1)

    def _take_targets(self, y: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Look at labels or targets, and return what each training row says, (n,) or (n, t)."""
        raise NotImplementedError

    def _answers(self, X: Any, columns: int) -> Floats:
        """Return the mean of what the neighbours say, (n, columns)."""
        check_is_fitted(self)
        X = checked_features(self, X, reset=False)
        distances, rows = nearest_scaled(self._X, X, self._most, self.metric, self._scaling)
        votes = self._votes(distances, rows)
        answers = np.zeros((X.shape[0], columns))
        every = np.arange(X.shape[0])
        for j in range(rows.shape[1]):
            said = self._y[rows[:, j]]
            if said.ndim == 1:  # the number of a class
                answers[every, said] += votes[:, j]
            else:
                answers += votes[:, j, None] * said
        answers /= votes.sum(axis=1, keepdims=True)
        return answers

    def _votes(self, distances: Floats, rows: Rows) -> Floats:
        """Return how much each neighbour's word weighs, (n, m)."""
        votes = np.ones(rows.shape)
        if self._row_weights is not None:
            weights = self._row_weights[rows]
            before = np.cumsum(weights, axis=1) - weights
            votes = np.clip(self.n_neighbors - before, 0.0, weights)
        if self.weights == "distance":
            with np.errstate(divide="ignore", over="ignore"):
                inverse = 1.0 / distances
            here = np.isinf(inverse)  # rows equal to the query: only these count
            votes = votes * np.where(here.any(axis=1, keepdims=True), here, inverse)
        return votes

    def _state(self) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
        check_is_fitted(self)
        params = self.get_params()
        params["n_neighbors"] = int(self.n_neighbors)
        arrays = {"X": self._X.astype(np.float32) if self._X.dtype == np.float16 else np.asarray(self._X), "y": self._y}
        if self._scaling is not None:
            arrays |= {"mean": self._scaling.mean, "scale": self._scaling.scale}
        if self._row_weights is not None:
            arrays["row_weights"] = self._row_weights
        return params, arrays

    @classmethod
    def _from_state(cls, state: HeadState, y: npt.NDArray[Any]) -> Self:
        n_neighbors = state.integer("n_neighbors", least=1)
        metric = state.choice("metric", get_args(Metric))
        weights = state.choice("weights", _WEIGHTS)
        standardize = state.choice("standardize", (False, True))
        head = cls(n_neighbors, metric=metric, weights=weights, standardize=standardize)
        X = state.array("X", "f", (y.shape[0], None))
        head.n_features_in_ = X.shape[1]
        head._scaling = None
        if standardize:
            shape = (X.shape[1],)
            head._scaling = Scaling(state.array("mean", "f", shape), state.array("scale", "f", shape))
            state.rule(bool((head._scaling.scale > 0).all()), "scales above 0")
        row_weights = None
        if state.has("row_weights"):
            row_weights = state.array("row_weights", "f", (X.shape[0],))
            state.rule(bool((row_weights > 0).all()), "weights above 0")
        total = X.shape[0] if row_weights is None else float(row_weights.sum())
        state.rule(total >= n_neighbors * _ENOUGH, "as many rows as its n_neighbors")
        head._keep(X, y, row_weights)
        return head


class KNNClassifier(ClassifierMixin, _KNN):
    """Vote of the nearest training rows.

    Predictions and probabilities are those of :class:`sklearn.neighbors.KNeighborsClassifier` by brute force. The
    matrix of all distances never exists; of rows at equal distance the first vote.

    Parameters
    ----------
    n_neighbors : int
        How many vote.
    metric : {"cosine", "euclidean"}
        The distance.
    weights : {"uniform", "distance"}
        Votes of equal weight, or of the inverse of the distance (and of rows equal to the query, if there are any).
    standardize : bool
        Bring each feature to mean 0 and variance 1 of the training rows before measuring.

    Attributes
    ----------
    classes_ : ndarray of shape (k,)
        The labels, sorted; 0 to k - 1 for an indicator.
    multilabel_ : bool
        Whether it was fitted on an indicator (n, k) of several labels a sample.
    n_samples_fit_ : int
        Training rows.
    n_features_in_ : int
        d.
    """

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's tags: several labels a sample are welcome."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def _take_targets(self, y: npt.NDArray[Any]) -> npt.NDArray[Any]:
        labels = Labels(y)
        self.classes_, self.multilabel_ = labels.classes, labels.multilabel
        return labels.index

    def predict_proba(self, X: Any) -> Floats:
        """Return the shares of the votes, (n, k) float64, for features of shape (n, d)."""
        check_is_fitted(self)
        return self._answers(X, self.classes_.size)

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Return the label with most votes, (n,), or the indicator (n, k) of the labels with more than half."""
        shares = self.predict_proba(X)
        if self.multilabel_:
            return (shares > 0.5).astype(np.int64)
        labels: npt.NDArray[Any] = self.classes_[shares.argmax(axis=1)]
        return labels

    def head_state(self) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
        """Return parameters as plain JSON, and arrays (among them the training rows), for :meth:`from_head_state`."""
        params, arrays = self._state()
        return params | {"multilabel": self.multilabel_}, arrays | {"classes": self.classes_}

    @classmethod
    def from_head_state(cls, params: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Make the fitted head of which :meth:`head_state` told.

        Raises
        ------
        HeadError
            Something is missing, unknown or of a wrong type, shape or value.
        """
        state = HeadState(cls.__name__, params, arrays, {*cls().get_params(), "multilabel"})
        classes = state.classes(least=1)
        multilabel = state.choice("multilabel", (False, True))
        y = state.array("y", "b" if multilabel else "i", (None, classes.size) if multilabel else (None,))
        if not multilabel:
            state.rule(bool(y.min() >= 0 and y.max() < classes.size), "only classes it knows")
        head = cls._from_state(state, y)
        head.classes_, head.multilabel_ = classes, multilabel
        return head


class KNNRegressor(MultiOutputMixin, RegressorMixin, _KNN):
    """Mean of what the nearest training rows have, for one number a sample or several.

    The predictions are those of :class:`sklearn.neighbors.KNeighborsRegressor` by brute force.

    Parameters
    ----------
    n_neighbors, metric, weights, standardize
        As in :class:`KNNClassifier`.

    Attributes
    ----------
    n_samples_fit_ : int
        Training rows.
    n_features_in_ : int
        d.
    """

    def _take_targets(self, y: npt.NDArray[Any]) -> npt.NDArray[Any]:
        self._one_number = y.ndim == 1
        values: npt.NDArray[Any] = y.astype(np.float64).reshape(y.shape[0], -1)
        return values

    def predict(self, X: Any) -> Floats:
        """Return the values for features of shape (n, d): float64 (n, t), or (n,) if the targets were one number."""
        check_is_fitted(self)
        values = self._answers(X, self._y.shape[1])
        return values[:, 0] if self._one_number else values

    def head_state(self) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
        """Return parameters as plain JSON, and arrays (among them the training rows), for :meth:`from_head_state`."""
        params, arrays = self._state()
        return params | {"one_number": self._one_number}, arrays

    @classmethod
    def from_head_state(cls, params: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Make the fitted head of which :meth:`head_state` told.

        Raises
        ------
        HeadError
            Something is missing, unknown or of a wrong type, shape or value.
        """
        state = HeadState(cls.__name__, params, arrays, {*cls().get_params(), "one_number"})
        one_number = state.choice("one_number", (False, True))
        head = cls._from_state(state, state.array("y", "f", (None, 1) if one_number else (None, None)))
        head._one_number = one_number
        return head
