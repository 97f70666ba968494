"""Ridge heads: least squares with an L2 penalty, which exact leave-one-out errors choose unless it is given."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin, MultiOutputMixin, RegressorMixin
from sklearn.utils import compute_sample_weight
from sklearn.utils.validation import check_is_fitted

from featx.heads._blocks import Floats, Labels, LinearScores, Rows, checked_features, linear_scores, row_numbers
from featx.heads._least_squares import GramFactors, KernelFactors, Problem
from featx.heads._moments import Scaling, checked_weights, moments_of

__all__ = ["RidgeClassifier", "RidgeRegressor"]

AUTO_ALPHAS = (0.1, 1.0, 10.0, 100.0, 1e3, 1e4, 1e5)
"""No single alpha serves: 1,000 is best for 1,280 features, and answers the larger class only where there are 8."""


class _Ridge(BaseEstimator):
    """What the two share: as few passes and decompositions as the fits allow."""

    alpha: Any
    standardize: bool
    fit_intercept: bool
    class_weight: Any = None

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit the head.

        Parameters
        ----------
        X : array_like of shape (n, d), float
            Features; they are read in blocks, in memory or mapped, and never copied as a whole.
        y : array_like of shape (n,) or (n, t)
            Labels, or an indicator of several labels a sample; for the regressor numbers.
        sample_weight : array_like of shape (n,), optional
            Weights of the rows, in standardising too.

        Returns
        -------
        estimator
            The estimator itself.

        Raises
        ------
        ValueError
            The arrays do not go together, a parameter has a value it cannot have, or there is only one class.
        """
        self._fit_all([self], X, y, [None], sample_weight)
        return self

    @classmethod
    def fit_many(
        cls, heads: Sequence[Self], X: Any, y: Any, rows: Sequence[npt.ArrayLike], sample_weight: Any = None
    ) -> None:
        """Fit ``heads[i]`` on the rows ``rows[i]``, in as few sweeps over X as that takes.

        Heads that differ in alpha alone share one decomposition; the folds of a cross-validation share the Gram
        matrices of their parts, so that each row is multiplied once.

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
        alphas = [_checked_alphas(head.alpha) for head in heads]
        X, y = checked_features(heads[0], X, y, multi_output=True, ensure_min_samples=2)
        weights = checked_weights(sample_weight, X)
        groups: dict[tuple[Any, ...], dict[bytes | None, list[int]]] = {}
        for i, (head, rows) in enumerate(zip(heads, sets, strict=True)):
            head.n_features_in_ = X.shape[1]
            wide = (X.shape[0] if rows is None else rows.size) >= X.shape[1]
            name = None if rows is None else rows.tobytes()
            alone = name if head.class_weight == "balanced" else None  # these weights depend on the rows
            key = (head.standardize, head.fit_intercept, repr(head.class_weight), wide, alone)
            groups.setdefault(key, {}).setdefault(name, []).append(i)
        for (*_, wide, _), group in groups.items():
            alike = list(group.values())
            first, own_sets = heads[alike[0][0]], [sets[same[0]] for same in alike]
            targets = first._targets(y)
            columns = [targets.columns(rows) for rows in own_sets]
            own_weights = first._own_weights(y, own_sets[0], weights)
            all_moments = moments_of(X, own_sets, weights=own_weights, targets=targets, gram=wide)
            for same, rows, chosen, moments in zip(alike, own_sets, columns, all_moments, strict=True):
                scaling = Scaling.none(X.shape[1])
                if first.standardize:  # a class's weight is none of its rows'
                    plain = first.class_weight is None
                    scaling = Scaling.of(moments if plain else next(moments_of(X, [rows], weights=weights)))
                problem = Problem(X, rows, own_weights, targets, chosen, moments, scaling, first.fit_intercept)
                factors = GramFactors(problem) if wide else KernelFactors(problem)
                for i in same:
                    heads[i]._take(factors, alphas[i])
                    targets.describe(heads[i], rows)

    def _take(self, factors: GramFactors | KernelFactors, alphas: Floats) -> None:
        """Choose among the penalties, and keep the solution for that one."""
        best, self.best_score_ = 0, None
        if alphas.size > 1:
            errors = factors.left_out_errors(alphas)
            best = int(errors.argmin())
            self.best_score_ = -float(errors[best])
        self.alpha_ = float(alphas[best])
        self.coef_, self.intercept_ = factors.coefficients(self.alpha_)

    def _targets(self, y: npt.NDArray[Any]) -> _Labels | _Values:
        raise NotImplementedError

    def _own_weights(self, y: npt.NDArray[Any], rows: Rows | None, weights: Floats | None) -> Floats | None:
        """Return the weights of the rows of X with those of their classes, if there are any."""
        if self.class_weight is None:
            return weights
        balanced = self.class_weight == "balanced"
        rows = rows if balanced and rows is not None else np.arange(y.shape[0])
        own = np.zeros(y.shape[0])
        own[rows] = compute_sample_weight(self.class_weight, y[rows])
        return own if weights is None else own * weights


class RidgeClassifier(LinearScores, ClassifierMixin, _Ridge):
    """Least squares on the targets 1 for the class of a row and -1 for the others.

    The scores and predictions are those of :class:`sklearn.linear_model.RidgeClassifier` and, with several penalties,
    of :class:`sklearn.linear_model.RidgeClassifierCV`: exact leave-one-out errors choose. All penalties are served by
    one eigendecomposition, of the Gram matrix of the features or, for fewer rows than features, of the rows.

    Parameters
    ----------
    alpha : "auto", float or sequence of float
        Weight of the squared coefficients, or those to choose from; "auto" is 0.1, 1, 10, ... 100,000.
    class_weight : dict, "balanced" or None
        Weight of each class's rows, as :func:`sklearn.utils.compute_sample_weight` takes it.
    standardize : bool
        Bring each feature to mean 0 and variance 1 of the training rows; one that does not vary is only centred.
    fit_intercept : bool
        Whether there is an intercept, which is not penalised.

    Attributes
    ----------
    coef_ : ndarray of shape (k, d), or (1, d) for two classes, float64
        Coefficients of the features as they come, the standardising folded in.
    intercept_ : ndarray of shape (k,) or (1,), float64
        Their intercepts.
    alpha_ : float
        The penalty taken.
    best_score_ : float or None
        Mean squared leave-one-out error under ``alpha_`` (weighted), negative; None if there was no choice.
    classes_ : ndarray of shape (k,)
        The labels, sorted; 0 to k - 1 for an indicator.
    multilabel_ : bool
        Whether it was fitted on an indicator (n, k) of several labels a sample.
    n_features_in_ : int
        d.
    """

    def __init__(
        self, alpha: Any = "auto", *, class_weight: Any = None, standardize: bool = True, fit_intercept: bool = True
    ) -> None:
        self.alpha = alpha
        self.class_weight = class_weight
        self.standardize = standardize
        self.fit_intercept = fit_intercept

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's tags: several labels a sample are welcome."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def _targets(self, y: npt.NDArray[Any]) -> _Labels:
        return _Labels(y)


class RidgeRegressor(MultiOutputMixin, RegressorMixin, _Ridge):
    """Least squares with an L2 penalty, for one number a sample or several.

    The predictions are those of :class:`sklearn.linear_model.Ridge` and, with several penalties, of
    :class:`sklearn.linear_model.RidgeCV`; one penalty is chosen for all targets.

    Parameters
    ----------
    alpha, standardize, fit_intercept
        As in :class:`RidgeClassifier`.

    Attributes
    ----------
    coef_ : ndarray of shape (t, d), float64
        Coefficients of the features as they come, the standardising folded in; (1, d) for one target.
    intercept_ : ndarray of shape (t,), float64
        Their intercepts.
    alpha_, best_score_, n_features_in_
        As in :class:`RidgeClassifier`.
    """

    def __init__(self, alpha: Any = "auto", *, standardize: bool = True, fit_intercept: bool = True) -> None:
        self.alpha = alpha
        self.standardize = standardize
        self.fit_intercept = fit_intercept

    def predict(self, X: Any) -> Floats:
        """Return the values for features of shape (n, d): float64 (n, t), or (n,) if the targets were one number."""
        check_is_fitted(self)
        values = linear_scores(checked_features(self, X, reset=False), self.coef_, self.intercept_)
        return values[:, 0] if self._one_number else values

    def _targets(self, y: npt.NDArray[Any]) -> _Values:
        return _Values(y, centred=self.fit_intercept)


class _Labels:
    """Targets of a classifier: 1 for the class of a row, -1 for the others."""

    def __init__(self, y: npt.NDArray[Any]) -> None:
        self._labels = Labels(y)

    def __call__(self, rows: Any) -> Floats:
        return np.where(self._labels.indicator(rows), 1.0, -1.0)

    def columns(self, rows: Rows | None) -> Rows:
        """Return the targets that some rows call for: of two classes, the second says it all."""
        present = self._labels.present(rows)
        return present[1:] if present.size == 2 and not self._labels.multilabel else present

    def describe(self, head: Any, rows: Rows | None) -> None:
        """Tell a fitted head what its scores are of."""
        head.multilabel_ = self._labels.multilabel
        head.classes_ = self._labels.classes[self._labels.present(rows)]


class _Values:
    """Targets of a regressor, about their mean where there is an intercept to take it, so that nothing cancels."""

    def __init__(self, y: npt.NDArray[Any], *, centred: bool) -> None:
        self._one_number = y.ndim == 1
        values = y.astype(np.float64).reshape(y.shape[0], -1)
        self._mean = values.mean(axis=0) if centred else np.zeros(values.shape[1])
        self._values: Floats = values - self._mean

    def __call__(self, rows: Any) -> Floats:
        values: Floats = self._values[rows]
        return values

    def columns(self, rows: Rows | None) -> Rows:
        """Return all targets, whatever the rows."""
        return np.arange(self._values.shape[1])

    def describe(self, head: Any, rows: Rows | None) -> None:
        """Tell a fitted head how many numbers it answers with, and around which."""
        head.intercept_ += self._mean
        head._one_number = self._one_number


def _checked_alphas(alpha: Any) -> Floats:
    """Return the penalties to choose from, (a,)."""
    if isinstance(alpha, str) and alpha == "auto":
        return np.array(AUTO_ALPHAS)
    given = [alpha] if isinstance(alpha, Real) else alpha
    if not isinstance(alpha, (str, bool)):
        try:
            alphas = np.array(given, dtype=np.float64)
        except (TypeError, ValueError):
            alphas = np.empty(0)
        if alphas.ndim == 1 and alphas.size and np.isfinite(alphas).all() and alphas.min() > 0:
            return alphas
    raise ValueError(f"alpha must be auto, a number above 0 or several; got {alpha!r}: choose such a one")
