"""The logistic head; imported only when it is asked for, since it needs scikit-learn."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning

from featx.errors import ParameterError
from featx.heads._blocks import Floats, Labels, LinearScores, Rows, checked_features, row_numbers
from featx.heads._moments import checked_weights
from featx.heads.logistic._problems import Problems
from featx.heads.logistic._softmax import Problem, Solution, solve

__all__ = ["LogisticClassifier"]


class LogisticClassifier(LinearScores, ClassifierMixin, BaseEstimator):
    """Logistic regression with an L2 penalty: multinomial, of two classes, or one for each label.

    What is minimised is ``C * sum_i w_i * loss_i + 0.5 * ||coef||^2`` with the log loss of the softmax (of a sigmoid
    for two classes), the coefficients being those of the standardised features, and the intercept without penalty: the
    objective of :class:`sklearn.linear_model.LogisticRegression` after a
    :class:`sklearn.preprocessing.StandardScaler`. Only the way there differs: L-BFGS in the eigenbasis of the Gram
    matrix, for any number of fits at once (:meth:`fit_many`), in sweeps over blocks of the features, which may be
    memory-mapped and are never copied nor standardised.

    Parameters
    ----------
    C : float, default 1.0
        Inverse strength of the penalty.
    class_weight : dict or "balanced", optional
        Weights of the classes, multiplied with those of the rows; ``"balanced"`` makes the classes' totals equal.
    fit_intercept : bool, default True
        Whether the scores have intercepts.
    standardize : bool, default True
        Whether each feature is brought to mean 0 and variance 1 of the training rows (with their `sample_weight`).
    tol : float, default 1e-4
        How far the objective may end above its minimum, relative to it. With features of float32 it ends where these
        have no more to say, at about 1e-6 (1e-4 where C is 10,000).
    max_iter : int, default 5000
        Most steps; a :class:`sklearn.exceptions.ConvergenceWarning` says if they were not enough.
    device : str, default "cpu"
        ``"cpu"``, or a device of torch such as ``"cuda"``.

    Attributes
    ----------
    coef_ : ndarray of shape (k, d), or (1, d) for two classes, float64
        Coefficients of the features as they are given.
    intercept_ : ndarray of shape (k,) or (1,), float64
        Intercepts.
    classes_ : ndarray of shape (k,)
        The labels, sorted; ``np.arange(k)`` if `multilabel_`.
    multilabel_ : bool
        Whether `y` was an indicator of shape (n, k); then there are k fits of two classes, independent of each other.
    objective_ : float
        The objective at the solution.
    n_iter_ : ndarray of shape (1,), or (k,) if `multilabel_`, int32
        Steps taken.
    converged_ : bool
        Whether what was left was estimated to be below `tol`.
    n_features_in_ : int
        d.

    References
    ----------
    D. C. Liu, J. Nocedal, On the limited memory BFGS method for large scale optimization, Mathematical Programming 45
    (1989), 503-528.

    Examples
    --------
    >>> import numpy as np
    >>> from featx.heads import LogisticClassifier
    >>> X = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> LogisticClassifier().fit(X, ["no", "no", "yes", "yes"]).predict([[0.4], [2.6]])
    array(['no', 'yes'], dtype='<U3')
    """

    def __init__(
        self,
        C: float = 1.0,
        *,
        class_weight: Mapping[Any, float] | str | None = None,
        fit_intercept: bool = True,
        standardize: bool = True,
        tol: float = 1e-4,
        max_iter: int = 5000,
        device: str = "cpu",
    ) -> None:
        self.C = C
        self.class_weight = class_weight
        self.fit_intercept = fit_intercept
        self.standardize = standardize
        self.tol = tol
        self.max_iter = max_iter
        self.device = device

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit the coefficients.

        Parameters
        ----------
        X : array_like of shape (n, d), float
            Features. float64 ones are computed with in float64, others in float32.
        y : array_like of shape (n,) or (n, k)
            Labels of two or more classes; or an indicator of k labels, each of which some rows have and some have not.
        sample_weight : array_like of shape (n,), optional
            A weight of 2 counts as a row given twice, in standardising, too.

        Returns
        -------
        LogisticClassifier
            The estimator itself.

        Raises
        ------
        ParameterError
            A parameter has a value it cannot have.
        ValueError
            The arrays do not go together, or `y` holds fewer than two classes.
        """
        self._fit_all([self], X, y, [None], sample_weight)
        return self

    @classmethod
    def fit_many(
        cls,
        heads: Sequence[Self],
        X: Any,
        y: Any,
        rows: Sequence[npt.ArrayLike],
        sample_weight: Any = None,
    ) -> None:
        """Fit many heads on the same features at once: every sweep over these serves all heads.

        It is as if each ``heads[i].fit(X[rows[i]], y[rows[i]], sample_weight[rows[i]])``, and much sooner: folds,
        values of `C`, draws of rows and class weights are the columns of two products of matrices. Heads that are done
        drop out.

        Parameters
        ----------
        heads : sequence of LogisticClassifier
            Each with its own parameters; those of the same `standardize`, `fit_intercept` and `device` share sweeps.
        X, y, sample_weight
            As for :meth:`fit`.
        rows : sequence of array_like of int
            The rows of each head; a row named twice counts twice.

        Raises
        ------
        ParameterError, ValueError
            As :meth:`fit`.
        """
        cls._fit_all(heads, X, y, [row_numbers(part) for part in rows], sample_weight)

    @classmethod
    def _fit_all(cls, heads: Sequence[Self], X: Any, y: Any, sets: Sequence[Rows | None], sample_weight: Any) -> None:
        settings = [_settings(head) for head in heads]
        X, y = checked_features(heads[0], X, y, multi_output=True)
        weights = checked_weights(sample_weight, X)
        labels = Labels(y)
        problems_of = Problems(labels, np.ones(len(X)) if weights is None else weights, sets)
        alike: dict[tuple[Any, ...], list[tuple[Self, npt.NDArray[Any], list[Problem | float]]]] = {}
        for head, rows, setting in zip(heads, sets, settings, strict=True):
            classes, parts = problems_of.of(rows, head.class_weight, setting)
            sharing = (bool(head.standardize), bool(head.fit_intercept), head.device)
            alike.setdefault(sharing, []).append((head, classes, parts))
        for (standardize, fit_intercept, device), group in alike.items():
            problems = [part for _, _, parts in group for part in parts if isinstance(part, Problem)]
            solutions = iter(
                solve(
                    X,
                    problems,
                    chosen=problems_of.chosen,
                    standardize=standardize,
                    fit_intercept=fit_intercept,
                    device=device,
                )
            )
            for head, classes, parts in group:
                found = [
                    next(solutions) if isinstance(part, Problem) else Solution.constant(part, X.shape[1])
                    for part in parts
                ]
                head._take(classes, labels.multilabel, found)

    def _take(self, classes: npt.NDArray[Any], multilabel: bool, solutions: list[Solution]) -> None:
        self.classes_, self.multilabel_ = classes, multilabel
        self.coef_ = np.concatenate([solution.coef for solution in solutions])
        self.intercept_ = np.concatenate([solution.intercept for solution in solutions])
        self.objective_ = sum(solution.objective for solution in solutions)
        self.n_iter_ = np.array([solution.n_iter for solution in solutions], dtype=np.int32)
        self.n_features_in_ = self.coef_.shape[1]
        self.converged_ = all(solution.converged for solution in solutions)
        if not self.converged_:
            short = int(self.n_iter_.max()) < self.max_iter
            warnings.warn(
                f"LogisticClassifier did not come within tol={self.tol:g} of the optimum in {self.n_iter_.max()} steps;"
                f" {'give float64 features or a larger tol' if short else 'raise max_iter, or lower C'}",
                ConvergenceWarning,
                stacklevel=4,
            )

    def predict_proba(self, X: Any) -> Floats:
        """Return the probabilities, (n, k): of the classes, or of each label for itself.

        Parameters
        ----------
        X : array_like of shape (n, d), float
            Features.

        Returns
        -------
        ndarray of shape (n, k), float64
        """
        scores = self.decision_function(X)
        if self.multilabel_ or scores.ndim == 1:
            small = np.exp(-np.abs(scores))
            second: Floats = np.where(scores > 0, 1, small) / (1 + small)
            if self.multilabel_:
                return second
            return np.stack([np.where(scores > 0, small, 1) / (1 + small), second], axis=1)
        scores -= scores.max(axis=1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=1, keepdims=True)
        return scores

    def predict_log_proba(self, X: Any) -> Floats:
        """Return the logarithms of the probabilities, (n, k)."""
        with np.errstate(divide="ignore"):
            logs: Floats = np.log(self.predict_proba(X))
        return logs

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


def _settings(head: LogisticClassifier) -> dict[str, Any]:
    """Return what a head's problems are given, checked."""
    for name in ("C", "tol"):
        value = getattr(head, name)
        if isinstance(value, bool) or not isinstance(value, Real) or not 0 < float(value) < np.inf:
            raise ParameterError(f"{name} must be a number above 0; got {value!r}")
    most: Any = head.max_iter
    if isinstance(most, bool) or not isinstance(most, Integral) or int(most) < 1:
        raise ParameterError(f"max_iter must be an integer of 1 or more; got {most!r}")
    return {"C": float(head.C), "tol": float(head.tol), "max_iter": int(most)}
