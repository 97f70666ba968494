"""Whether a confidence of 0.9 is right nine times out of ten, and which answers to refuse."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from featx.errors import ParameterError
from featx.evaluation._checks import Integers, checked_scores, class_indices
from featx.evaluation._intervals import Figure, Floats, wilson

__all__ = ["ConfidenceBin", "Rejection", "calibration_error", "confidence_bins", "reject_threshold", "reliability"]

_BINS = 15


@dataclass(frozen=True)
class ConfidenceBin:
    """Answers of about the same confidence.

    Attributes
    ----------
    low, high : float
        The confidences: above `low` and up to `high`.
    count : int
        Answers.
    confidence : float
        Their mean confidence.
    accuracy : Figure
        Share of them that are right.
    """

    low: float
    high: float
    count: int
    confidence: float
    accuracy: Figure


@dataclass(frozen=True)
class Rejection:
    """A confidence below which answers are refused.

    Attributes
    ----------
    threshold : float
        The smallest confidence that is accepted.
    precision : Figure
        Share of the accepted answers that are right. Its value is at least what was wanted; its lower bound says what
        other rows may be expected to have, though being the best of many thresholds flatters both a little.
    coverage : Figure
        Share of the rows whose answer is accepted.
    """

    threshold: float
    precision: Figure
    coverage: Figure


def reliability(y_true: npt.ArrayLike, scores: npt.ArrayLike, *, bins: int = _BINS) -> tuple[ConfidenceBin, ...]:
    """Return the reliability diagram of probabilities: how often answers of each confidence are right.

    Parameters
    ----------
    y_true : array_like of shape (n,), integer
        Class of each row.
    scores : array_like of shape (n, k), float
        Probabilities of all classes; the largest of a row is its confidence.
    bins : int
        Number of bins, of equal width.

    Returns
    -------
    tuple of ConfidenceBin
        Those that answers fall into, by increasing confidence.

    Raises
    ------
    ParameterError
        The arrays do not go together, the scores are no probabilities, or `bins` is below 1.
    """
    truth, values = _checked(y_true, scores)
    right, confidence = _answers(truth, values)
    bin_of = _bins_of(confidence, bins)
    found = []
    for each in np.unique(bin_of).tolist():
        rows = bin_of == each
        count = int(rows.sum())
        share = wilson(int(right[rows].sum()), count)
        found.append(ConfidenceBin(each / bins, (each + 1) / bins, count, float(confidence[rows].mean()), share))
    return tuple(found)


def calibration_error(y_true: npt.ArrayLike, scores: npt.ArrayLike, *, bins: int = _BINS) -> float:
    """Return the expected calibration error: the mean distance of confidence and accuracy, by bins of equal width.

    Parameters
    ----------
    y_true : array_like of shape (n,), integer
        Class of each row.
    scores : array_like of shape (n, k), float
        Probabilities of all classes; the largest of a row is its confidence.
    bins : int
        Number of bins.

    Raises
    ------
    ParameterError
        The arrays do not go together, the scores are no probabilities, or `bins` is below 1.

    References
    ----------
    .. [1] M. P. Naeini, G. Cooper and M. Hauskrecht (2015), "Obtaining well calibrated probabilities using Bayesian
       binning", AAAI, pp. 2901-2907.
    .. [2] C. Guo, G. Pleiss, Y. Sun and K. Q. Weinberger (2017), "On calibration of modern neural networks", ICML.
    """
    truth, values = _checked(y_true, scores)
    return float(np.abs(confidence_bins(truth, values, bins).mean(axis=0)).sum())


def confidence_bins(truth: Integers, values: npt.NDArray[np.floating], bins: int = _BINS) -> Floats:
    """Return for each row, in the column of its bin, its confidence less whether it is right; 0 in the others."""
    right, confidence = _answers(truth, values)
    bin_of = _bins_of(confidence, bins)
    used, column = np.unique(bin_of, return_inverse=True)
    gaps = np.zeros((truth.size, used.size))
    gaps[np.arange(truth.size), column] = confidence - right
    return gaps


def reject_threshold(y_true: npt.ArrayLike, scores: npt.ArrayLike, *, precision: float) -> Rejection:
    """Find the confidence from which on answers are right as often as is wanted.

    Parameters
    ----------
    y_true : array_like of shape (n,), integer
        Class of each row; of rows that the head was not fitted on.
    scores : array_like of shape (n, k), float
        Scores of all classes, best probabilities; the largest of a row is its confidence.
    precision : float
        Share of the accepted answers that is to be right, above 0 and up to 1.

    Returns
    -------
    Rejection
        With the smallest threshold, which accepts the most rows.

    Raises
    ------
    ParameterError
        No threshold reaches the precision, it is no share, or the arrays do not go together.
    """
    if isinstance(precision, bool) or not isinstance(precision, (int, float)) or not 0 < precision <= 1:
        raise ParameterError(f"precision must be a number above 0 and up to 1; got {precision!r}")
    truth, values = _checked(y_true, scores, is_probability=False)
    right, confidence = _answers(truth, values)
    order = np.argsort(-confidence, kind="stable")
    falling = confidence[order]
    accepted = np.append(np.flatnonzero(np.diff(falling)), truth.size - 1) + 1
    hits = np.cumsum(right[order])[accepted - 1]
    enough = np.flatnonzero(hits >= precision * accepted)
    if not enough.size:
        best = int((hits / accepted).argmax())
        raise ParameterError(
            f"precision {precision:g} is not reached by any of the {accepted.size} thresholds; the best is"
            f" {hits[best] / accepted[best]:.4g}, for {accepted[best]} of {truth.size} rows: ask for less, or fit a"
            " better head"
        )
    last = enough[-1]
    count = int(accepted[last])
    return Rejection(float(falling[count - 1]), wilson(int(hits[last]), count), wilson(count, truth.size))


def _checked(
    y_true: npt.ArrayLike, scores: npt.ArrayLike, *, is_probability: bool = True
) -> tuple[Integers, npt.NDArray[np.floating]]:
    k = np.shape(scores)[1] if np.ndim(scores) == 2 else 0
    truth = class_indices("y_true", y_true, k)
    return truth, checked_scores(scores, truth.size, k, is_probability=is_probability)


def _answers(truth: Integers, values: npt.NDArray[np.floating]) -> tuple[npt.NDArray[np.bool_], Floats]:
    return values.argmax(axis=1) == truth, values.max(axis=1).astype(np.float64)


def _bins_of(confidence: Floats, bins: int) -> Integers:
    if isinstance(bins, bool) or not isinstance(bins, int) or bins < 1:
        raise ParameterError(f"bins must be an integer of 1 or more; got {bins!r}")
    # a confidence of exactly 1/3 belongs to the bin that ends there
    bin_of: Integers = np.clip(np.ceil(confidence * bins) - 1, 0, bins - 1).astype(np.int64)
    return bin_of
