"""The nearest-centroid head; imported only when it is asked for, since it needs scikit-learn."""

from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

__all__ = ["CentroidClassifier"]


class CentroidClassifier(ClassifierMixin, BaseEstimator):
    """The class whose mean is nearest in Euclidean distance.

    ``||x - c||^2 = ||x||^2 - 2 (x @ c - ||c||^2 / 2)``, and the first term is the same for every class, so the
    nearest mean is the largest of the linear scores ``x @ c - ||c||^2 / 2``. The predictions are those of
    :class:`sklearn.neighbors.NearestCentroid`. That class also offers probabilities, but of another model (distances
    divided by the within-class deviation, which may prefer another class than its own ``predict``); a distance is
    no probability, and this class has none.

    Attributes
    ----------
    centroids_ : ndarray of shape (k, d), float64
        Mean of the rows of each class (weighted, if weights were given).
    coef_ : ndarray of shape (k, d), or (1, d) for two classes, float64
        Coefficients of the linear scores.
    intercept_ : ndarray of shape (k,) or (1,), float64
        Their intercepts.
    classes_ : ndarray of shape (k,)
        The labels, sorted.
    n_features_in_ : int
        d.
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Compute the means.

        Parameters
        ----------
        X : array_like of shape (n, d), float
            Features.
        y : array_like of shape (n,)
            Labels of two or more classes.
        sample_weight : array_like of shape (n,), optional
            A weight of 2 counts as a row given twice.

        Returns
        -------
        CentroidClassifier
            The estimator itself.

        Raises
        ------
        ValueError
            The arrays do not go together, or `y` holds fewer than two classes.
        """
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32])
        check_classification_targets(y)
        self.classes_, index = np.unique(y, return_inverse=True)
        k = len(self.classes_)
        if k < 2:
            raise ValueError(f"The number of classes has to be greater than one; got {k} class")
        weights = _check_sample_weight(sample_weight, X, dtype=np.float64)
        totals = np.bincount(index, weights=weights, minlength=k)
        if weights.min() < 0 or not totals.all():
            raise ValueError("no weight may be negative, and every class must have a row with a weight above 0")
        self.centroids_ = np.empty((k, X.shape[1]))
        for c in range(k):
            rows = index == c
            self.centroids_[c] = weights[rows] @ X[rows] / totals[c]
        coef, intercept = self.centroids_, -0.5 * np.einsum("cd,cd->c", self.centroids_, self.centroids_)
        self.coef_ = coef if k > 2 else coef[1:] - coef[:1]
        self.intercept_ = intercept if k > 2 else intercept[1:] - intercept[:1]
        return self

    def decision_function(self, X: Any) -> npt.NDArray[np.float64]:
        """Return ``x @ c - ||c||^2 / 2``, (n, k); for two classes the second's less the first's, (n,)."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=[np.float64, np.float32])
        scores: npt.NDArray[np.float64] = X @ self.coef_.T + self.intercept_
        return scores[:, 0] if len(self.classes_) == 2 else scores

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Return the label of the nearest mean, (n,), for features of shape (n, d)."""
        scores = self.decision_function(X)
        index = (scores > 0).astype(np.intp) if scores.ndim == 1 else scores.argmax(axis=1)
        labels: npt.NDArray[Any] = self.classes_[index]
        return labels
