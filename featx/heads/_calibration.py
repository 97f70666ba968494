"""Scores become probabilities that keep their word: scikit-learn's calibrators, kept as plain numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from featx.errors import HeadError, ParameterError, first_line
from featx.heads._estimators import is_multilabel, is_regressor, raw_scores, title
from featx.heads._folding import as_linear
from featx.heads._linear import LinearClassifier
from featx.heads._state import read_state, state_bytes

__all__ = [
    "CalibratedHead",
    "Isotonic",
    "Temperature",
    "calibrate_head",
    "calibration_bytes",
    "fit_calibration",
    "read_calibration",
    "with_calibration",
]

Floats = npt.NDArray[np.float64]
Method = Literal["temperature", "isotonic"]

_LEAST = 1e-12
"""What scikit-learn adds to probabilities before it takes their logarithm."""
_TINY = float(np.finfo(np.float32).tiny)
"""What a softmax may have rounded to 0; linear heads are known to have had a logit there."""
_FORMAT = "featx-calibration"


@dataclass(frozen=True)
class Temperature:
    """Softmax of the scores divided by a temperature; the scores of a head with probabilities are their logarithms.

    Parameters
    ----------
    value : float
        Above 1, a head with probabilities was too sure of itself.
    """

    value: float

    def __call__(self, scores: Floats, is_probability: bool) -> Floats:
        """Return probabilities (n, k) for the scores (n, k) of the head."""
        logits = (np.log(scores + _LEAST) if is_probability else scores) / self.value
        logits -= logits.max(axis=1, keepdims=True)
        np.exp(logits, out=logits)
        logits /= logits.sum(axis=1, keepdims=True)
        return logits


@dataclass(frozen=True, eq=False)
class Isotonic:
    """Each class's score through its own increasing piecewise linear function; then all divided by their sum.

    Parameters
    ----------
    knots : tuple of (ndarray, ndarray)
        Scores (increasing) and probabilities at the knots, float64, for each class; for two classes of the second.
    """

    knots: tuple[tuple[Floats, Floats], ...]

    def __call__(self, scores: Floats, is_probability: bool) -> Floats:
        """Return probabilities (n, k) for the scores (n, k) of the head."""
        if len(self.knots) == 1:
            second: Floats = np.interp(scores[:, 1], *self.knots[0])
            return np.stack([1 - second, second], axis=1)
        each = np.stack([np.interp(column, x, y) for column, (x, y) in zip(scores.T, self.knots, strict=True)], axis=1)
        sums = each.sum(axis=1, keepdims=True)
        probabilities: Floats = np.divide(each, sums, out=np.full_like(each, 1 / len(self.knots)), where=sums > 0)
        return probabilities


Calibration = Temperature | Isotonic


class CalibratedHead:
    """A fitted head whose scores a calibration turns into probabilities; :func:`calibrate_head` makes it.

    Parameters
    ----------
    head : estimator or LinearClassifier
        Fitted.
    calibration : Temperature or Isotonic
        What turns its scores into probabilities.

    Attributes
    ----------
    head, calibration
        The parameters.
    classes_ : ndarray of shape (k,), int64
        The labels, increasing.
    n_features_in_ : int
        The number of features expected.
    """

    def __init__(self, head: Any, calibration: Calibration) -> None:
        self.head = head
        self.calibration = calibration
        self.classes_: npt.NDArray[np.int64] = np.asarray(head.classes_, dtype=np.int64)
        self.n_features_in_: int = head.n_features_in_

    def __repr__(self) -> str:
        """Return the head and the kind of calibration."""
        return f"CalibratedHead({title(self.head)}, {type(self.calibration).__name__.lower()})"

    def predict_proba(self, X: Any) -> Floats:
        """Return the probabilities, (n, k) float64, of features as the head takes them."""
        return self.calibration(*raw_scores(self.head, np.asanyarray(X)))

    def predict(self, X: Any) -> npt.NDArray[np.int64]:
        """Return the most probable label of each row, (n,) int64, which need not be the head's own answer."""
        labels: npt.NDArray[np.int64] = self.classes_[self.predict_proba(X).argmax(axis=1)]
        return labels


def calibrate_head(
    head: Any, scores: npt.ArrayLike, y: npt.ArrayLike, *, method: Method = "temperature"
) -> CalibratedHead | LinearClassifier:
    """Make probabilities of a head's scores by its answers to rows it was not fitted on.

    Parameters
    ----------
    head, scores, y, method
        As in :func:`fit_calibration`.

    Returns
    -------
    CalibratedHead or LinearClassifier
        See :func:`with_calibration`.

    Raises
    ------
    HeadError, ParameterError
        As :func:`fit_calibration` does.
    """
    return with_calibration(head, fit_calibration(head, scores, y, method=method))


def with_calibration(head: Any, calibration: Calibration) -> CalibratedHead | LinearClassifier:
    """Return a head whose scores a calibration turns into probabilities.

    Parameters
    ----------
    head : estimator or LinearClassifier
        The one that the calibration was fitted for; it stays as it is.
    calibration : Temperature or Isotonic

    Returns
    -------
    CalibratedHead or LinearClassifier
        A new head with ``predict_proba``, whether `head` had that or scores alone. A linear head under a temperature
        stays linear.
    """
    linear = as_linear(head) if isinstance(calibration, Temperature) else None
    if not isinstance(linear, LinearClassifier) or isinstance(calibration, Isotonic):
        return CalibratedHead(head, calibration)
    two = len(linear.classes_) == 2
    double = two and not hasattr(head, "predict_proba")  # scores of two classes are -d and d
    slope = (2.0 if double else 1.0) / calibration.value
    return LinearClassifier(
        linear.coef_ * slope, linear.intercept_ * slope, linear.classes_, link="sigmoid" if two else "softmax"
    )


def fit_calibration(
    head: Any, scores: npt.ArrayLike, y: npt.ArrayLike, *, method: Method = "temperature"
) -> Calibration:
    """Find what makes probabilities of a head's scores, by its answers to rows it was not fitted on.

    Parameters
    ----------
    head : estimator or LinearClassifier
        Fitted, with k classes.
    scores : array_like of shape (n, k), float
        What :func:`~featx.heads.head_scores` gave for rows that neither this head nor, with cross-validation, the
        head of the fold was fitted on.
    y : array_like of shape (n,), integer
        Their true labels.
    method : {"temperature", "isotonic"}
        ``temperature``: one number for all classes, which changes no answer. ``isotonic``: an increasing function for
        each class; it needs rows of every class, some thousand in all, and may change answers.

    Returns
    -------
    Temperature or Isotonic
        Takes scores of shape (n, k), and whether they are probabilities, to probabilities.

    Raises
    ------
    HeadError
        The head gives no class scores, is calibrated already, or the scores and labels do not go with it.
    ParameterError
        There is no such method.

    Notes
    -----
    The calibrators are those of :class:`sklearn.calibration.CalibratedClassifierCV`, fitted on the scores. A
    temperature does not mind the scale of the scores, so that margins and distances serve as well as logits.

    References
    ----------
    C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On calibration of modern neural networks", ICML 2017.
    B. Zadrozny, C. Elkan, "Transforming classifier scores into accurate multiclass probability estimates", KDD 2002.
    """
    if method not in get_args(Method):
        raise ParameterError(f"method must be one of {', '.join(get_args(Method))}; got {method!r}")
    if isinstance(head, CalibratedHead):
        raise HeadError("a calibrated head must not be calibrated again: calibrate the head it is made of")
    if not hasattr(head, "classes_") or is_regressor(head) or is_multilabel(head):
        raise HeadError(f"a head to calibrate must answer with one class for each row; {title(head)} does not")
    found, truth = _checked(np.asarray(scores), np.asarray(y), np.asarray(head.classes_), method)
    if method == "isotonic":
        return Isotonic(tuple((c.X_thresholds_, c.y_thresholds_) for c in _calibrators(found, truth, method)))
    logits = found
    if hasattr(head, "predict_proba"):
        logits = np.log(found + _LEAST if as_linear(head) is None else np.maximum(found, _TINY))
    logits -= logits.mean(axis=1, keepdims=True)
    scale = float(np.sqrt(np.mean(logits**2))) or 1.0  # scikit-learn looks for it within e^10 of 1
    (calibrator,) = _calibrators(logits / scale, truth, method)
    return Temperature(scale / float(calibrator.beta_))


def _checked(
    scores: npt.NDArray[Any], y: npt.NDArray[Any], classes: npt.NDArray[Any], method: Method
) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Return the scores, and the labels as indices of columns."""
    if scores.ndim != 2 or scores.shape[1] != len(classes) or scores.dtype.kind != "f":
        raise HeadError(
            f"scores must be a float matrix of a column for each of the head's {len(classes)} classes;"
            f" got {scores.dtype} of shape {scores.shape}"
        )
    if y.shape != scores.shape[:1] or y.dtype.kind not in "iu":
        raise HeadError(f"labels must be an integer for each of the {len(scores)} rows; got {y.dtype} of {y.shape}")
    if not np.isfinite(scores).all():
        raise HeadError("scores to calibrate by must be finite; got nan or inf: leave these rows out")
    unknown = ~np.isin(y, classes)
    if unknown.any():
        raise HeadError(
            f"labels to calibrate by must be classes of the head; got {y[unknown][0]}: leave these rows out"
        )
    there = np.unique(y)
    if len(there) < 2:
        raise HeadError(f"rows to calibrate by must be of two classes or more; got {len(there)} in {len(y)} rows")
    missing = np.setdiff1d(classes, there)
    if method == "isotonic" and missing.size:
        raise HeadError(
            f"rows to calibrate by must be of every class for isotonic; none are of {', '.join(map(str, missing[:5]))}:"
            " take more rows, or method=temperature"
        )
    return scores.astype(np.float64), np.searchsorted(classes, y)


def _calibrators(scores: Floats, index: npt.NDArray[np.int64], method: Method) -> list[Any]:
    """Return the calibrators that scikit-learn fits to the scores of a classifier."""
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.frozen import FrozenEstimator

    class Given(ClassifierMixin, BaseEstimator):
        """A fitted classifier whose features are the scores."""

        classes_ = np.arange(scores.shape[1])

        def __sklearn_is_fitted__(self) -> bool:
            return True

        def fit(self, X: Any, y: Any) -> Given:
            return self

        def decision_function(self, X: Floats) -> Floats:
            return X[:, 1] if X.shape[1] == 2 else X

    rows = np.arange(len(scores))
    fitted = CalibratedClassifierCV(FrozenEstimator(Given()), method=method, cv=[(rows, rows)], ensemble=True)
    (only,) = fitted.fit(scores, index).calibrated_classifiers_
    calibrators: list[Any] = only.calibrators
    return calibrators


def calibration_bytes(calibration: Calibration, digest: str) -> bytes:
    """Return the file of a calibration that belongs to the head whose file has this SHA-256 digest."""
    facts = {"format": _FORMAT, "format_version": 1, "head_sha256": digest}
    if isinstance(calibration, Temperature):
        return state_bytes({**facts, "method": "temperature"}, {"temperature": np.array([calibration.value])})
    x, y = (np.concatenate(parts) for parts in zip(*calibration.knots, strict=True))
    offset = np.cumsum([0, *(len(scores) for scores, _ in calibration.knots)])
    return state_bytes({**facts, "method": "isotonic"}, {"offset": offset.astype(np.int64), "x": x, "y": y})


def read_calibration(path: Path, digest: str, head: Any) -> Calibration:
    """Read what :func:`calibration_bytes` made for the head whose file has this digest.

    Raises
    ------
    HeadError
        The file is damaged, of a newer format, or of another head.
    """
    facts, arrays = read_state(path, {_FORMAT: 1})
    if facts.get("head_sha256") != digest:
        raise HeadError(f"{path} belongs to another head than the one beside it: fit the head again")
    try:
        calibration = _READERS[facts["method"]](arrays, len(head.classes_))
    except (HeadError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise HeadError(f"{path} is damaged ({first_line(error)}): fit the head again") from error
    return calibration


def _read_temperature(arrays: dict[str, npt.NDArray[Any]], k: int) -> Temperature:
    (value,) = arrays.pop("temperature").astype(np.float64)
    if arrays or not value > 0:
        raise HeadError("it must hold one temperature above 0")
    return Temperature(float(value))


def _read_isotonic(arrays: dict[str, npt.NDArray[Any]], k: int) -> Isotonic:
    offset, x, y = (arrays.pop(name) for name in ("offset", "x", "y"))
    functions = 1 if k == 2 else k
    if (
        arrays
        or x.dtype != np.float64
        or y.dtype != np.float64
        or offset.dtype != np.int64
        or offset.shape != (functions + 1,)
        or (offset[0], offset[-1]) != (0, x.size)
        or np.any(np.diff(offset) < 1)
        or x.shape != (x.size,)
        or y.shape != x.shape
        or np.any((y < 0) | (y > 1))
    ):
        raise HeadError(f"it must hold {functions} functions from scores to probabilities")
    parts = [slice(*pair) for pair in pairwise(offset)]
    if any(np.any(np.diff(x[part]) <= 0) or np.any(np.diff(y[part]) < 0) for part in parts):
        raise HeadError("its functions must be increasing")
    return Isotonic(tuple((x[part], y[part]) for part in parts))


_READERS: dict[str, Callable[[dict[str, npt.NDArray[Any]], int], Calibration]] = {
    "isotonic": _read_isotonic,
    "temperature": _read_temperature,
}
