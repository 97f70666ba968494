"""What all figures ask of the arrays they are given."""

import numpy as np
import numpy.typing as npt

from featx.errors import ParameterError

__all__ = ["Integers", "checked_scores", "class_indices", "indicator"]

Integers = npt.NDArray[np.int64]


def class_indices(parameter: str, values: npt.ArrayLike, k: int) -> Integers:
    """Return a vector of indices of `k` classes as int64.

    Raises
    ------
    ParameterError
        The values are no vector of integers, or lead outside the classes.
    """
    array = np.asarray(values)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise ParameterError(
            f"{parameter} must be a vector of integers; got {array.dtype} of shape {array.shape}: give the classes'"
            " indices"
        )
    indices = array.astype(np.int64)
    if indices.size and (indices.min() < 0 or indices.max() >= k):
        wrong = indices[(indices < 0) | (indices >= k)][0]
        raise ParameterError(
            f"{parameter} must lead into the {k} classes (0 to {k - 1}); got {wrong}: leave rows without a label out"
        )
    return indices


def indicator(parameter: str, values: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Return a matrix of 0 and 1 as bool.

    Raises
    ------
    ParameterError
        The values are no matrix of bool, or of the integers 0 and 1.
    """
    array = np.asarray(values)
    if array.ndim != 2 or array.dtype.kind not in "biu" or (array.size and not 0 <= array.min() <= array.max() <= 1):
        raise ParameterError(
            f"{parameter} must be a matrix of 0 and 1 with a column for each class; got {array.dtype} of shape"
            f" {array.shape}"
        )
    return array.astype(bool)


def checked_scores(
    scores: npt.ArrayLike, n: int, k: int, *, is_probability: bool, each: str = "classes"
) -> npt.NDArray[np.floating]:
    """Return scores as floats, float32 as they are.

    Raises
    ------
    ParameterError
        There are no rows, or the scores are of another shape than (n, k), not finite, or no probabilities.
    """
    values = np.asarray(scores)
    if values.dtype not in (np.float32, np.float64):
        values = values.astype(np.float64)
    if n == 0:
        raise ParameterError("y_true must have a row or more to be judged by; got none")
    if values.shape != (n, k):
        raise ParameterError(
            f"scores must have a row for each of {n} labels and a column for each of {k} {each}; got shape"
            f" {values.shape}"
        )
    if not np.isfinite(values).all():
        raise ParameterError("scores must be finite; got nan or inf")
    if is_probability and (values.min() < 0 or values.max() > 1 + 1e-6):
        raise ParameterError(
            f"scores must be from 0 to 1 if they are probabilities; got {values.min():g} to {values.max():g}"
        )
    return values
