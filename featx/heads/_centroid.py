"""The nearest-centroid head."""

import numpy as np
from sklearn.base import ClassifierMixin

from featx.heads._blocks import LinearScores, Rows
from featx.heads._class_moments import ClassMoments
from featx.heads._moments import Moments, Scaling

__all__ = ["CentroidClassifier"]


class CentroidClassifier(LinearScores, ClassifierMixin, ClassMoments):
    """The class whose mean is nearest in Euclidean distance.

    ``||x - c||^2 = ||x||^2 - 2 (x @ c - ||c||^2 / 2)``, and the first term is the same for every class, so the
    nearest mean is the largest of the linear scores ``x @ c - ||c||^2 / 2``. The predictions are those of
    :class:`sklearn.neighbors.NearestCentroid`. That class also offers probabilities, but of another model (distances
    divided by the within-class deviation, which may prefer another class than its own ``predict``); a distance is
    no probability, and this class has none.

    Parameters
    ----------
    standardize : bool
        Measure distances with each feature brought to mean 0 and variance 1 of the training rows.

    Attributes
    ----------
    centroids_ : ndarray of shape (k, d), float64
        Mean of the rows of each class (weighted, if weights were given).
    coef_ : ndarray of shape (k, d), or (1, d) for two classes, float64
        Coefficients of the linear scores of the features as they come.
    intercept_ : ndarray of shape (k,) or (1,), float64
        Their intercepts.
    classes_ : ndarray of shape (k,)
        The labels, sorted.
    n_features_in_ : int
        d.
    """

    def __init__(self, *, standardize: bool = True) -> None:
        self.standardize = standardize

    def _take(self, moments: Moments, numbers: Rows) -> None:
        self.centroids_ = moments.shift + moments.target_sums[numbers] / moments.target_weights[numbers, None]
        scaling = Scaling.of(moments)
        scale = scaling.scale if self.standardize else np.ones_like(scaling.scale)
        # distances from the mean of all: nothing large cancels in them
        about_mean = (self.centroids_ - scaling.mean) / scale
        coef = about_mean / scale
        intercept = -0.5 * np.einsum("cd,cd->c", about_mean, about_mean) - coef @ scaling.mean
        two = self.classes_.size == 2
        self.coef_ = coef[1:] - coef[:1] if two else coef
        self.intercept_ = intercept[1:] - intercept[:1] if two else intercept
