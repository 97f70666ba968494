"""Fitted estimators as the linear heads they come down to."""

from typing import Any

import numpy as np
import numpy.typing as npt

from featx.errors import HeadError
from featx.heads._linear import LinearClassifier, LinearRegressor, Link

__all__ = ["as_linear"]

Floats = npt.NDArray[np.float64]

_OWN = {
    "featx.heads._centroid.CentroidClassifier",
    "featx.heads._gaussian.LDAClassifier",
    "featx.heads.logistic._estimator.LogisticClassifier",
    "featx.heads._ridge.RidgeClassifier",
    "featx.heads._ridge.RidgeRegressor",
}
"""featx's estimators that answer with ``X @ coef_.T + intercept_``, by the link that their probabilities show."""

_OF_SCIKIT_LEARN = {
    "sklearn.discriminant_analysis.LinearDiscriminantAnalysis",
    "sklearn.linear_model.BayesianRidge",
    "sklearn.linear_model.ElasticNet",
    "sklearn.linear_model.ElasticNetCV",
    "sklearn.linear_model.HuberRegressor",
    "sklearn.linear_model.Lasso",
    "sklearn.linear_model.LassoCV",
    "sklearn.linear_model.LinearRegression",
    "sklearn.linear_model.LogisticRegression",
    "sklearn.linear_model.LogisticRegressionCV",
    "sklearn.linear_model.PassiveAggressiveClassifier",
    "sklearn.linear_model.Perceptron",
    "sklearn.linear_model.Ridge",
    "sklearn.linear_model.RidgeCV",
    "sklearn.linear_model.RidgeClassifier",
    "sklearn.linear_model.RidgeClassifierCV",
    "sklearn.linear_model.SGDClassifier",
    "sklearn.linear_model.SGDRegressor",
    "sklearn.svm.LinearSVC",
    "sklearn.svm.LinearSVR",
}
"""scikit-learn's that do, and are each asked whether they really do."""


def as_linear(head: Any) -> LinearClassifier | LinearRegressor | None:
    """Return a fitted head as the linear head that answers alike, or None if there is no such.

    Standardising by a pipeline is folded into the coefficients, and the classifiers of a one-against-the-rest become
    its rows.

    Raises
    ------
    HeadError
        Its coefficients are not finite.
    """
    if isinstance(head, (LinearClassifier, LinearRegressor)):
        return head
    steps = [estimator for _, estimator in getattr(head, "steps", [("head", head)])]
    rows = _rows(steps[-1])
    if len(steps) > 2 or rows is None:
        return None
    coef, intercept = rows
    centre, scale = np.zeros(coef.shape[1]), np.ones(coef.shape[1])
    if len(steps) == 2:
        scaler = steps[0]
        if _public_path(type(scaler)) != "sklearn.preprocessing.StandardScaler":
            return None
        centre = centre if scaler.mean_ is None else np.asarray(scaler.mean_, dtype=np.float64)
        scale = scale if scaler.scale_ is None else np.asarray(scaler.scale_, dtype=np.float64)
        coef = coef / scale
        intercept = intercept - coef @ centre
    try:
        linear = _linear(head, coef, intercept, multilabel=bool(getattr(steps[-1], "multilabel_", False)))
    except HeadError as error:
        raise HeadError(f"{type(steps[-1]).__name__} cannot be stored: {error}") from error
    return linear if _public_path(type(steps[-1])) in _OWN or _answers_alike(head, linear, scale) else None


def _rows(final: Any) -> tuple[Floats, Floats] | None:
    """Return the coefficients (rows, d) and intercepts (rows,) of a final estimator."""
    path = _public_path(type(final))
    if path == "sklearn.multiclass.OneVsRestClassifier" and final.multilabel_:
        parts = [_rows(estimator) for estimator in final.estimators_]
        found = [part for part in parts if part is not None]
        if len(found) < len(parts):
            return None
        return np.concatenate([coef for coef, _ in found]), np.concatenate([intercept for _, intercept in found])
    if path not in _OWN and path not in _OF_SCIKIT_LEARN:
        return None
    coef = np.atleast_2d(final.coef_).astype(np.float64)  # of a single target it is a vector
    intercept = np.atleast_1d(final.intercept_).astype(np.float64)
    return coef, np.broadcast_to(intercept, (coef.shape[0],))  # one zero, if it was fitted without


def _linear(head: Any, coef: Floats, intercept: Floats, *, multilabel: bool) -> LinearClassifier | LinearRegressor:
    if not hasattr(head, "classes_"):
        return LinearRegressor(coef, intercept)
    link: Link = "none"
    if hasattr(head, "predict_proba"):
        link = "sigmoid" if multilabel or len(head.classes_) == 2 else "softmax"
    return LinearClassifier(coef, intercept, head.classes_, link=link, multilabel=multilabel)


def _answers_alike(head: Any, linear: LinearClassifier | LinearRegressor, scale: Floats) -> bool:
    """Compare the two on rows made to have scores of a few units, where the probabilities are neither 0 nor 1.

    Classes and versions of scikit-learn differ in what they make of the same scores (``multi_class``, ``loss``);
    asking is surer than knowing.
    """
    generator = np.random.default_rng(0)
    scores = 2.0 * generator.standard_normal((64, linear.coef_.shape[0]))
    probe = (scores - linear.intercept_) @ np.linalg.pinv(linear.coef_ * scale).T
    aside = generator.standard_normal(probe.shape)  # and something of what the coefficients do not see
    probe = (probe + aside - aside @ np.linalg.pinv(linear.coef_ * scale) @ (linear.coef_ * scale)) * scale
    if isinstance(linear, LinearRegressor):
        return _close(linear.predict(probe), head.predict(probe))
    return _close(linear.decision_function(probe), head.decision_function(probe)) and (
        linear.link == "none" or np.allclose(linear.predict_proba(probe), head.predict_proba(probe), atol=1e-6)
    )


def _close(ours: Floats, theirs: npt.NDArray[Any]) -> bool:
    size = max(1.0, float(np.abs(theirs).max()))
    return ours.shape == theirs.shape and np.allclose(ours, theirs, rtol=1e-6, atol=1e-6 * size)


def _public_path(cls: type) -> str:
    if not cls.__module__.startswith("sklearn."):
        return f"{cls.__module__}.{cls.__name__}"
    return f"{cls.__module__.partition('._')[0]}.{cls.__name__}"
