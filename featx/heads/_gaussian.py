"""Gaussian heads: linear discriminant analysis with shrinkage, and naive Bayes, from sums over each class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy import linalg
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from featx.heads._blocks import Floats, Labels, LinearScores, Rows, checked_features, row_blocks, row_numbers
from featx.heads._class_moments import ClassMoments
from featx.heads._head_state import HeadState
from featx.heads._moments import Moments, Scaling, checked_weights, moments_of

__all__ = ["GaussianNBClassifier", "LDAClassifier"]

_LEAST_PIVOT = 1e-6
"""Root of the least pivot of a correlation matrix that is taken for regular; of what rounding leaves it is 1e-8."""

_NB_VALUES = 1 << 16
"""Values of a block of rows that is gone over once for each class: it stays in the processor's cache."""


class LDAClassifier(LinearScores, ClassifierMixin, BaseEstimator):
    """Linear discriminant analysis: Gaussian classes of one covariance, shrunk towards a multiple of the identity.

    Predictions and probabilities are those of :class:`sklearn.discriminant_analysis.LinearDiscriminantAnalysis` with
    ``solver="lsqr"``: the covariance of each class is shrunk by itself, and they are averaged by the priors. The scores
    of three or more classes differ from its by a term that all classes share.

    Parameters
    ----------
    shrinkage : "auto", float or None
        From 0, the covariance of the class, to 1, its mean variance on the diagonal; "auto" is the amount of Ledoit
        and Wolf [1]_, of the class's features brought to variance 1.
    priors : array_like of shape (k,), optional
        Probabilities of the classes; without, their shares of the (weighted) rows.
    standardize : bool
        First bring each feature to mean 0 and variance 1 of the training rows. It matters for a fixed shrinkage.

    Attributes
    ----------
    coef_ : ndarray of shape (k, d), or (1, d) for two classes, float64
        Coefficients of the features as they come.
    intercept_ : ndarray of shape (k,) or (1,), float64
        Their intercepts.
    means_ : ndarray of shape (k, d), float64
        Mean of the rows of each class.
    priors_ : ndarray of shape (k,), float64
        Probabilities of the classes.
    shrinkage_ : ndarray of shape (k,), float64
        The amount taken for each class.
    classes_ : ndarray of shape (k,)
        The labels, sorted.
    n_features_in_ : int
        d.

    References
    ----------
    .. [1] O. Ledoit, M. Wolf, "A well-conditioned estimator for large-dimensional covariance matrices", Journal of
       Multivariate Analysis 88, 2004.
    """

    def __init__(self, shrinkage: Any = "auto", *, priors: Any = None, standardize: bool = False) -> None:
        self.shrinkage = shrinkage
        self.priors = priors
        self.standardize = standardize

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Compute means and covariances.

        Parameters
        ----------
        X : array_like of shape (n, d), float
            Features; they are read in blocks, class by class.
        y : array_like of shape (n,)
            Labels of two or more classes.
        sample_weight : array_like of shape (n,), optional
            A weight of 2 counts as a row given twice.

        Returns
        -------
        LDAClassifier
            The estimator itself.

        Raises
        ------
        ValueError
            The arrays do not go together, a parameter has a value it cannot have, `y` holds fewer than two classes
            or no class has two rows.
        """
        self._fit_all([self], X, y, [None], sample_weight)
        return self

    @classmethod
    def fit_many(
        cls, heads: Sequence[Self], X: Any, y: Any, rows: Sequence[npt.ArrayLike], sample_weight: Any = None
    ) -> None:
        """Fit ``heads[i]`` on the rows ``rows[i]``: folds share the products of their parts.

        Parameters
        ----------
        heads : sequence of LDAClassifier
            Unfitted.
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
            _check_shrinkage(head.shrinkage)
        X, y = checked_features(heads[0], X, y, ensure_min_samples=2)
        labels, weights = Labels(y), checked_weights(sample_weight, X)
        present = [labels.present(rows) for rows in sets]
        pools = []
        for head, rows, numbers in zip(heads, sets, present, strict=True):
            if (X.shape[0] if rows is None else rows.size) == numbers.size:
                raise ValueError(
                    f"the number of samples must be more than the number of classes; got {numbers.size} of both"
                )
            head.n_features_in_ = X.shape[1]
            head.classes_ = labels.classes[numbers]
            head.priors_ = _checked_priors(head.priors, labels.total_weights(rows, weights)[numbers])
            scaling = Scaling.none(X.shape[1])
            if head.standardize:
                scaling = Scaling.of(next(moments_of(X, [rows], weights=weights)))
            pools.append(_PooledCovariance(head.shrinkage, head.priors_, scaling))
        for number in range(labels.classes.size):
            asked = [i for i, numbers in enumerate(present) if number in numbers]
            of_class = [labels.of_class(number, sets[i]) for i in asked]
            all_moments = moments_of(X, of_class, weights=weights, gram=True)
            for i, rows, moments in zip(asked, of_class, all_moments, strict=True):
                pools[i].add(X, rows, weights, moments)
        for head, pool in zip(heads, pools, strict=True):
            head._solve(pool)

    def _solve(self, pool: _PooledCovariance) -> None:
        means, scaling = np.stack(pool.means), pool.scaling
        self.means_ = means * scaling.scale + scaling.mean
        self.shrinkage_ = np.array(pool.amounts)
        # measured from their mean, which moves the scores of all classes alike: nothing large cancels between them
        centre = self.priors_ @ means
        means -= centre
        coef = _solve_symmetric(pool.covariance, means.T).T
        intercept = -0.5 * np.einsum("cd,cd->c", means, coef) + np.log(self.priors_)
        coef = coef / scaling.scale
        intercept -= coef @ (scaling.mean + centre * scaling.scale)
        two = self.classes_.size == 2
        self.coef_ = coef[1:] - coef[:1] if two else coef
        self.intercept_ = intercept[1:] - intercept[:1] if two else intercept

    def predict_proba(self, X: Any) -> Floats:
        """Return the probabilities of the classes, (n, k) float64, for features of shape (n, d)."""
        scores = self.decision_function(X)
        if scores.ndim == 1:
            return np.exp(-np.logaddexp(0.0, np.stack([scores, -scores], axis=1)))
        return _softmax(scores)


class _PooledCovariance:
    """Means of the classes, and their shrunk covariances added up by the priors, on scaled features."""

    def __init__(self, shrinkage: Any, priors: Floats, scaling: Scaling) -> None:
        d = scaling.scale.size
        self.scaling = scaling
        self.means: list[Floats] = []
        self.amounts: list[float] = []
        self.covariance: Floats = np.zeros((d, d))
        self._shrinkage = shrinkage
        self._priors = priors

    def add(self, X: npt.NDArray[Any], rows: Rows, weights: Floats | None, moments: Moments) -> None:
        """Add the next class."""
        scale, prior = self.scaling.scale, self._priors[len(self.means)]
        covariance = moments.scatter(moments.mean)
        covariance /= moments.weight * scale
        covariance /= scale[:, None]
        variances = np.maximum(np.diagonal(covariance), 0.0)
        if isinstance(self._shrinkage, str):
            deviations = np.where(moments.constant, 1.0, np.sqrt(variances))
            correlation = covariance / np.outer(deviations, deviations)
            amount = _ledoit_wolf(X, rows, weights, moments, correlation, deviations * scale)
            target = np.mean(variances / deviations**2) * deviations**2
        else:
            amount = float(self._shrinkage or 0.0)
            target = np.full(variances.size, variances.mean())
        covariance *= prior * (1.0 - amount)
        covariance[np.diag_indices_from(covariance)] += prior * amount * target
        self.covariance += covariance
        self.means.append((moments.mean - self.scaling.mean) / scale)
        self.amounts.append(amount)


def _ledoit_wolf(
    X: npt.NDArray[Any],
    rows: Rows,
    weights: Floats | None,
    moments: Moments,
    correlation: Floats,
    deviations: Floats,
) -> float:
    """Return the shrinkage of Ledoit and Wolf for some rows, measured from their mean in units of `deviations`."""
    d = deviations.size
    if d == 1:
        return 0.0
    fourth = 0.0
    for index, block in row_blocks(X, rows, np.float64):
        block -= moments.mean
        lengths = np.square(block, out=block) @ (1.0 / deviations**2)
        fourth += float(np.square(lengths) @ (np.ones(lengths.size) if weights is None else weights[index]))
    squared = float(np.square(correlation).sum())
    mean = float(np.trace(correlation)) / d
    noise = (fourth / moments.weight - squared) / moments.weight
    spread = squared - d * mean**2
    noise = min(max(noise, 0.0), spread)
    return noise / spread if noise > 0 else 0.0


def _solve_symmetric(matrix: Floats, right: Floats) -> Floats:
    """Solve ``matrix @ x = right``; if `matrix` is singular, in the sense of least squares and with the least norm."""
    roots = np.sqrt(np.diagonal(matrix))
    if roots.min() > 0:
        try:
            factor = linalg.cholesky(matrix / np.outer(roots, roots), lower=True, overwrite_a=True, check_finite=False)
        except linalg.LinAlgError:
            factor = None
        if factor is not None and np.diagonal(factor).min() > _LEAST_PIVOT:
            scaled = linalg.cho_solve((factor, True), right / roots[:, None], check_finite=False)
            return np.asarray(scaled / roots[:, None])
    return np.asarray(linalg.lstsq(matrix, right, check_finite=False)[0])


class GaussianNBClassifier(ClassifierMixin, ClassMoments):
    """Gaussian naive Bayes: each feature is normal within a class, and independent of the others.

    The probabilities are those of :class:`sklearn.naive_bayes.GaussianNB`; but here a weight of 2 counts as a row
    given twice in ``epsilon_`` too.

    Parameters
    ----------
    priors : array_like of shape (k,), optional
        Probabilities of the classes; without, their shares of the (weighted) rows.
    var_smoothing : float
        Share of the largest variance of all features that is added to every variance.

    Attributes
    ----------
    theta_, var_ : ndarray of shape (k, d), float64
        Mean and variance of each feature in each class.
    priors_ : ndarray of shape (k,), float64
        Probabilities of the classes.
    epsilon_ : float
        What was added to the variances.
    classes_ : ndarray of shape (k,)
        The labels, sorted.
    n_features_in_ : int
        d.
    """

    _squares = True

    def __init__(self, *, priors: Any = None, var_smoothing: Any = 1e-9) -> None:
        self.priors = priors
        self.var_smoothing = var_smoothing

    def _check_params(self) -> None:
        value = self.var_smoothing
        if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) < np.inf:
            raise ValueError(f"var_smoothing must be a number, 0 or more; got {value!r}: choose such a one")

    def _take(self, moments: Moments, numbers: Rows) -> None:
        totals = moments.target_weights[numbers, None]
        about_shift = moments.target_sums[numbers] / totals
        variances = np.maximum(moments.target_squares[numbers] / totals - about_shift**2, 0.0)
        self.priors_ = _checked_priors(self.priors, totals[:, 0])
        self.theta_ = moments.shift + about_shift
        self.epsilon_ = float(self.var_smoothing * moments.variance.max())
        self.var_ = variances + self.epsilon_

    def _log_joint(self, X: Any) -> Floats:
        """Return log p(x, class), (n, k)."""
        check_is_fitted(self)
        X = checked_features(self, X, reset=False)
        joint = np.empty((X.shape[0], self.classes_.size))
        halves = 0.5 / self.var_
        start = np.log(self.priors_) - 0.5 * np.log(2.0 * np.pi * self.var_).sum(axis=1)
        for index, block in row_blocks(X, None, np.float64, values=_NB_VALUES):
            for c, (mean, half) in enumerate(zip(self.theta_, halves, strict=True)):
                # squares of differences: sums of products would cancel where a variance is small
                distance = block - mean
                joint[index, c] = start[c] - np.square(distance, out=distance) @ half
        return joint

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Return the likeliest label, (n,), for features of shape (n, d)."""
        numbers = self._log_joint(X).argmax(axis=1)
        labels: npt.NDArray[Any] = self.classes_[numbers]
        return labels

    def predict_proba(self, X: Any) -> Floats:
        """Return the probabilities of the classes, (n, k) float64, for features of shape (n, d)."""
        return _softmax(self._log_joint(X))

    def head_state(self) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
        """Return parameters and fitted facts as plain JSON, and arrays: all that :meth:`from_head_state` needs."""
        check_is_fitted(self)
        priors = None if self.priors is None else np.asarray(self.priors, dtype=np.float64).tolist()
        params = {"priors": priors, "var_smoothing": float(self.var_smoothing), "epsilon": self.epsilon_}
        arrays = {"classes": self.classes_, "priors": self.priors_, "theta": self.theta_, "var": self.var_}
        return params, arrays

    @classmethod
    def from_head_state(cls, params: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Make the fitted head of which :meth:`head_state` told.

        Raises
        ------
        HeadError
            Something is missing, unknown or of a wrong type, shape or value.
        """
        state = HeadState(cls.__name__, params, arrays, {"priors", "var_smoothing", "epsilon"})
        classes = state.classes()
        theta = state.array("theta", "f", (classes.size, None))
        head = cls(var_smoothing=state.number("var_smoothing", least=0.0))
        head.classes_, head.theta_, head.n_features_in_ = classes, theta, theta.shape[1]
        head.var_ = state.array("var", "f", theta.shape)
        head.priors_ = state.array("priors", "f", (classes.size,))
        head.epsilon_ = state.number("epsilon", least=0.0)
        state.rule(bool((head.var_ > 0).all() and (head.priors_ > 0).all()), "variances and priors above 0")
        if params["priors"] is not None:
            state.rule(params["priors"] == head.priors_.tolist(), "equal priors in its parameters and its arrays")
            head.priors = params["priors"]
        return head


def _check_shrinkage(shrinkage: Any) -> None:
    if shrinkage is None or (isinstance(shrinkage, str) and shrinkage == "auto"):
        return
    if isinstance(shrinkage, bool) or not isinstance(shrinkage, Real) or not 0 <= float(shrinkage) <= 1:
        raise ValueError(f"shrinkage must be auto, none or a number from 0 to 1; got {shrinkage!r}: choose such a one")


def _checked_priors(priors: Any, totals: Floats) -> Floats:
    """Return the probabilities of the classes, (k,), from the parameter or else the weights of their rows."""
    if totals.min() <= 0:
        raise ValueError("every class must have a row with a weight above 0: leave the others out")
    if priors is None:
        shares: Floats = totals / totals.sum()
        return shares
    given = np.asarray(priors, dtype=np.float64)
    if given.shape != totals.shape or not (given > 0).all() or not np.isclose(given.sum(), 1.0):
        raise ValueError(f"priors must be {totals.size} numbers above 0 that add up to 1; got {priors!r}: set such")
    return given


def _softmax(scores: Floats) -> Floats:
    """Return the probabilities of scores (n, k), which are overwritten."""
    scores -= scores.max(axis=1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=1, keepdims=True)
    return scores
