"""Figures of answers that are numbers."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from featx.errors import ParameterError
from featx.evaluation._figures import ClassFigures, Evaluation
from featx.evaluation._intervals import Floats, Ranked, Statistics, figures

__all__ = ["checked_values", "evaluate_regression", "regression_statistics"]


def evaluate_regression(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, *, names: Sequence[str], seed: int = 0
) -> Evaluation:
    """Compare a head's values with the true ones.

    Parameters
    ----------
    y_true : array_like of shape (n,) or (n, t), float
        True values of `t` targets.
    y_pred : array_like of shape (n,) or (n, t), float
        What :func:`featx.heads.head_values` returned.
    names : sequence of str of length t
        Of the targets.
    seed : int
        Of the resamples.

    Returns
    -------
    Evaluation
        ``r2``, the share of the variance that is explained; ``mae``, the mean absolute error; ``rmse``, the root of the
        mean square error; ``spearman``, the correlation of the ranks (0 where one side is constant): each the mean over
        the targets. One row has neither R² nor a correlation; of a constant target R² is 1 if all values are right,
        else 0, as scikit-learn has it.

    Raises
    ------
    ParameterError
        There are no rows, the shapes do not go together, or a value is nan or infinite.

    Notes
    -----
    The intervals are percentiles of resamples of the rows; of the correlation from what each row's weight changes it by
    (the infinitesimal jackknife [1]_), on Fisher's scale. All targets of a row are taken together.

    References
    ----------
    .. [1] L. A. Jaeckel (1972), "The infinitesimal jackknife", Bell Laboratories memorandum MM72-1215-11.
    """
    targets = tuple(str(name) for name in names)
    truth, values = checked_values(y_true, y_pred)
    if truth.shape[1] != len(targets) or not targets:
        raise ParameterError(f"y_true must have a column for each of {len(targets)} names; got shape {truth.shape}")
    n = truth.shape[0]
    columns = range(len(targets)) if len(targets) > 1 else ()
    return Evaluation(
        task="regression",
        n=n,
        figures=figures(regression_statistics(truth, values), seed=seed),
        per_class=tuple(
            ClassFigures(
                targets[j], n, figures(regression_statistics(truth[:, j : j + 1], values[:, j : j + 1]), seed=seed)
            )
            for j in columns
        ),
        confusion=None,
        classes=targets,
    )


def checked_values(y_true: npt.ArrayLike, y_pred: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Return both sides as matrices of float64 of equal shape.

    Raises
    ------
    ParameterError
        There are no rows, the shapes do not go together, or a value is nan or infinite.
    """
    sides = []
    for parameter, given in (("y_true", y_true), ("y_pred", y_pred)):
        array = np.asarray(given, dtype=np.float64)
        if array.ndim not in (1, 2):
            raise ParameterError(f"{parameter} must have a row for each sample; got shape {array.shape}")
        if not np.isfinite(array).all():
            raise ParameterError(f"{parameter} must be finite; got nan or inf: leave such rows out")
        sides.append(array[:, None] if array.ndim == 1 else array)
    truth, values = sides
    if truth.shape[0] == 0:
        raise ParameterError("y_true must have a row or more to be judged by; got none")
    if values.shape != truth.shape:
        raise ParameterError(f"y_pred must be of y_true's shape, {truth.shape}; got {values.shape}")
    return truth, values


def regression_statistics(truth: Floats, values: Floats) -> Statistics:
    """Return the statistics of values of shape (n, t)."""
    n, t = truth.shape
    centred = truth - truth[0]  # a constant becomes 0 exactly
    centred -= centred.mean(axis=0)
    error = values - truth
    columns = np.column_stack([np.abs(error), error**2, centred, centred**2])

    def resampled(weights: Floats) -> dict[str, Floats]:
        absolute, squared, mean, square = np.split(weights @ columns / n, 4, axis=1)
        found = {"mae": absolute.mean(axis=1), "rmse": np.sqrt(squared).mean(axis=1)}
        if n == 1:
            return found
        variance = square - mean**2
        unexplained = np.divide(
            squared, variance, out=(squared > 0).astype(np.float64), where=variance > 1e-12 * square
        )
        return {"r2": (1 - unexplained).mean(axis=1), **found}

    if n == 1:
        return Statistics(n, {}, resampled)
    ranked = [_spearman(truth[:, j], values[:, j]) for j in range(t)]
    mean = Ranked(
        float(np.mean([one.value for one in ranked])), np.mean([one.influence for one in ranked], axis=0), n, least=-1.0
    )
    return Statistics(n, {}, resampled, {"spearman": mean}, width=4 * t)


def _spearman(x: Floats, y: Floats) -> Ranked:
    """Return the correlation of the ranks, and what each row's weight changes it by; 0 where a side is constant.

    With weights w and s the sign, the rank of row i less its mean is the sum of ``w_j s(x_i - x_j) / 2``, so that the
    weight of a row counts thrice: in its own product of ranks, and in either rank of all others.
    """
    n = x.size
    (a, above_x), (b, above_y) = _centred_ranks(x), _centred_ranks(y)
    spread = np.sqrt((a @ a) * (b @ b))
    if spread == 0:
        return Ranked(0.0, np.zeros(n), n, least=-1.0)
    value = min(max(float(a @ b / spread), -1.0), 1.0)
    product = a * b + (above_x(b) + above_y(a)) / 2
    squares = (a * a + above_x(a)) / (a @ a) + (b * b + above_y(b)) / (b @ b)
    influence = (product / spread - value / 2 * squares) * np.sqrt(n / (n - 1))
    return Ranked(value, influence, n, least=-1.0)


def _centred_ranks(x: Floats) -> tuple[Floats, Callable[[Floats], Floats]]:
    """Return ranks less their mean, of equals the mean, and a function that sums numbers of rows above less below."""
    _, level, count = np.unique(x, return_inverse=True, return_counts=True)
    below = np.cumsum(count) - count

    def above(numbers: Floats) -> Floats:
        at = np.bincount(level, weights=numbers)
        upto = np.cumsum(at)
        sums: Floats = (upto[-1] - 2 * upto + at)[level]
        return sums

    return (below + count / 2)[level] - x.size / 2, above
