"""Linear heads in numpy alone.

Most heads come down to one matrix and one vector. Kept like that, a head loads in milliseconds, needs no
scikit-learn (of whatever version) and cannot carry code.
"""

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from featx.errors import HeadError

__all__ = ["LinearClassifier", "LinearRegressor", "Link"]

Link = Literal["softmax", "sigmoid", "none"]
Floats = npt.NDArray[np.float64]

_BLOCK_VALUES = 1 << 22
"""Features converted to float64 at a time, so that no second copy of the matrix is made."""


class _Linear:
    """``X @ coef.T + intercept``, with `rows` rows of coefficients."""

    def __init__(self, coef: npt.ArrayLike, intercept: npt.ArrayLike, rows: int, what: str) -> None:
        self.coef_: Floats = np.array(coef, dtype=np.float64)
        self.intercept_: Floats = np.array(intercept, dtype=np.float64)
        if (
            self.coef_.ndim != 2
            or self.coef_.shape[0] != rows
            or not self.coef_.size
            or self.intercept_.shape != (rows,)
        ):
            raise HeadError(
                f"a linear head of {what} must have coefficients of shape ({rows}, d) and {rows} intercept(s);"
                f" got shapes {self.coef_.shape} and {self.intercept_.shape}"
            )
        if not (np.isfinite(self.coef_).all() and np.isfinite(self.intercept_).all()):
            raise HeadError("coefficients and intercepts of a linear head must be finite; got nan or inf")
        self.n_features_in_ = int(self.coef_.shape[1])

    def _products(self, X: npt.ArrayLike) -> Floats:
        X = np.asanyarray(X)
        if X.ndim != 2 or X.shape[1] != self.n_features_in_:
            raise HeadError(
                f"features must have shape (n, {self.n_features_in_}), as the head was trained on; got {X.shape}"
            )
        scores = np.empty((X.shape[0], self.coef_.shape[0]))
        step = max(1, _BLOCK_VALUES // max(1, X.shape[1]))
        for start in range(0, X.shape[0], step):
            block = np.asarray(X[start : start + step], dtype=np.float64)
            scores[start : start + step] = block @ self.coef_.T
        scores += self.intercept_
        return scores


class LinearClassifier(_Linear):
    """A fitted linear classifier: ``X @ coef.T + intercept``, and the class with the largest score.

    It is what :func:`~featx.heads.load_head` returns for a linear head. Everything is computed in float64.

    Parameters
    ----------
    coef : ndarray of shape (k, d) or (1, d), float64
        One row of coefficients for each class; one row in all for two classes (the score of the second).
    intercept : ndarray of shape (k,) or (1,), float64
        One number for each row of `coef`.
    classes : ndarray of shape (k,), int64
        The label of each class, increasing.
    link : {"softmax", "sigmoid", "none"}
        How scores become probabilities: ``softmax`` over three or more classes, ``sigmoid`` for two and for
        independent labels, ``none`` if the head has no probabilities, and then the object has no ``predict_proba``
        either.
    multilabel : bool
        Whether each of the k labels is there or not on its own, where the score is positive; `coef` then has k rows,
        and the classes are 0 to k - 1.

    Attributes
    ----------
    coef_, intercept_, classes_ : ndarray
        The parameters.
    multilabel_ : bool
        The parameter.
    n_features_in_ : int
        d, the number of features expected.
    link : str
        The parameter.

    Raises
    ------
    HeadError
        The shapes do not go together, or a number is not finite.
    """

    def __init__(
        self,
        coef: npt.ArrayLike,
        intercept: npt.ArrayLike,
        classes: npt.ArrayLike,
        *,
        link: Link = "none",
        multilabel: bool = False,
    ) -> None:
        self.classes_: npt.NDArray[np.int64] = np.array(classes, dtype=np.int64)
        self.link = link
        self.multilabel_ = multilabel
        k = self.classes_.size
        if multilabel and not (k > 1 and np.array_equal(self.classes_, np.arange(k))):
            raise HeadError(
                f"labels of a multilabel head must be 0 to k - 1, two or more; got {self.classes_.tolist()}"
            )
        if not multilabel and (self.classes_.ndim != 1 or k < 2 or bool(np.any(np.diff(self.classes_) <= 0))):
            raise HeadError(
                f"classes of a linear head must be two or more increasing integers; got {self.classes_.tolist()}"
            )
        what = f"{k} labels" if multilabel else f"{k} classes"
        super().__init__(coef, intercept, 1 if k == 2 and not multilabel else k, what)
        usual = "sigmoid" if multilabel or k == 2 else "softmax"
        if link not in get_args(Link) or link not in (usual, "none"):
            raise HeadError(f"the link of a linear head of {what} must be {usual} or none; got {link!r}")

    def __repr__(self) -> str:
        """Return the shape in words, not the numbers."""
        what = "labels" if self.multilabel_ else "classes"
        return f"LinearClassifier({self.classes_.size} {what}, {self.n_features_in_} features, link={self.link!r})"

    def decision_function(self, X: npt.ArrayLike) -> Floats:
        """Return the scores, as scikit-learn's estimators do.

        Parameters
        ----------
        X : array_like of shape (n, d), float
            Features; converted to float64 in blocks.

        Returns
        -------
        ndarray of shape (n, k), or (n,) for two classes, float64
            Larger is likelier; for two classes, positive means the second; of independent labels, positive means
            that the label is there.

        Raises
        ------
        HeadError
            `X` has not d columns.
        """
        scores = self._products(X)
        return scores[:, 0] if self.classes_.size == 2 and not self.multilabel_ else scores

    def predict(self, X: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Return the label with the largest score, (n,), or a 1 for each label that is there, (n, k); int64."""
        scores = self.decision_function(X)
        if self.multilabel_:
            return (scores > 0).astype(np.int64)
        index = (scores > 0).astype(np.intp) if scores.ndim == 1 else scores.argmax(axis=1)
        labels: npt.NDArray[np.int64] = self.classes_[index]
        return labels

    @property
    def predict_proba(self) -> Callable[[npt.ArrayLike], Floats]:
        """Method from features of shape (n, d) to probabilities (n, k), float64; missing if the link is none."""
        if self.link == "none":
            raise AttributeError("this head has no probabilities (its link is 'none')")
        return self._probabilities

    def _probabilities(self, X: npt.ArrayLike) -> Floats:
        scores = self.decision_function(X)
        if scores.ndim == 1:
            scores = np.stack([-scores, scores], axis=1)
        if self.link == "sigmoid":
            return np.exp(-np.logaddexp(0.0, -scores))
        scores -= scores.max(axis=1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=1, keepdims=True)
        return scores


class LinearRegressor(_Linear):
    """A fitted linear regressor: ``X @ coef.T + intercept``.

    It is what :func:`~featx.heads.load_head` returns for a linear regressor. Everything is computed in float64.

    Parameters
    ----------
    coef : ndarray of shape (t, d), float64
        One row of coefficients for each target.
    intercept : ndarray of shape (t,), float64
        One number for each target.

    Attributes
    ----------
    coef_, intercept_ : ndarray
        The parameters.
    n_features_in_ : int
        d, the number of features expected.

    Raises
    ------
    HeadError
        The shapes do not go together, or a number is not finite.
    """

    def __init__(self, coef: npt.ArrayLike, intercept: npt.ArrayLike) -> None:
        targets = max(1, np.size(intercept))
        super().__init__(coef, intercept, targets, f"{targets} target(s)")

    def __repr__(self) -> str:
        """Return the shape in words, not the numbers."""
        return f"LinearRegressor({self.intercept_.size} targets, {self.n_features_in_} features)"

    def predict(self, X: npt.ArrayLike) -> Floats:
        """Return the values, (n, t), or (n,) of a single target, float64, for features of shape (n, d)."""
        values = self._products(X)
        return values[:, 0] if values.shape[1] == 1 else values
