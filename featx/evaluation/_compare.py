"""Two heads on the same rows: what is hard in the rows is hard for both, and falls out of the difference.

References
----------
.. [1] Q. McNemar (1947), "Note on the sampling error of the difference between correlated proportions or percentages",
   Psychometrika 12(2), pp. 153-157; here the exact test.
.. [2] C. Nadeau and Y. Bengio (2003), "Inference for the generalization error", Machine Learning 52(3), pp. 239-281.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.errors import ParameterError
from featx.evaluation._checks import checked_scores, class_indices, indicator
from featx.evaluation._classification import classification_statistics
from featx.evaluation._figures import HEADLINES
from featx.evaluation._intervals import Statistics, differences
from featx.evaluation._multilabel import multilabel_statistics
from featx.evaluation._regression import checked_values, regression_statistics

__all__ = ["Comparison", "Difference", "FoldComparison", "compare_folds", "compare_predictions", "mcnemar_test"]


@dataclass(frozen=True)
class Difference:
    """A figure of two heads.

    Attributes
    ----------
    a, b : float
        The figure of each.
    value : float
        ``b - a``.
    low, high : float
        95 % interval of the difference; if 0 is not in it, the rows tell the two apart.
    """

    a: float
    b: float
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """Two heads' answers to the same rows.

    Attributes
    ----------
    task : {"classification", "multilabel", "regression"}
    n : int
        Rows.
    differences : dict of str to Difference
        For each figure that both have.
    only_a, only_b : int or None
        In a classification, rows that only one answers right.
    p_value : float or None
        In a classification, of the exact McNemar test that both are right equally often.
    """

    task: str
    n: int
    differences: dict[str, Difference]
    only_a: int | None
    only_b: int | None
    p_value: float | None

    @property
    def headline(self) -> tuple[str, Difference]:
        """Name and difference of the figure to go by: that of :attr:`Evaluation.headline`."""
        name = HEADLINES[self.task]
        return (name, self.differences[name]) if name in self.differences else next(iter(self.differences.items()))

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as dicts and numbers, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class FoldComparison:
    """A figure of two heads on the same folds.

    Attributes
    ----------
    folds : int
    value : float
        Mean difference, ``b - a``.
    low, high : float
        95 % interval of it.
    p_value : float
        Of the corrected resampled t-test that there is none.
    """

    folds: int
    value: float
    low: float
    high: float
    p_value: float


def compare_predictions(
    task: str,
    y_true: npt.ArrayLike,
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    *,
    a_is_probability: bool = True,
    b_is_probability: bool = True,
    seed: int = 0,
) -> Comparison:
    """Compare two heads' answers to the same rows.

    Parameters
    ----------
    task : {"classification", "multilabel", "regression"}
    y_true : array_like
        Indices of classes (n,); an indicator matrix (n, k); or values (n,) or (n, t).
    a, b : array_like of shape (n, k) or (n, t), float
        Scores of all classes, or the values.
    a_is_probability, b_is_probability : bool
        Whether these scores are probabilities; figures of probabilities are compared if both are.
    seed : int
        Of the resamples.

    Returns
    -------
    Comparison
        Every figure that both have, with the interval of the difference: Agresti and Min's for matched pairs where the
        figure is a share, the jackknife of the difference for figures of ranks, else the bootstrap of it. The test is
        McNemar's, exact [1]_.

    Raises
    ------
    ParameterError
        The task is unknown, or the arrays do not go together.
    """
    before = _statistics(task, y_true, a, is_probability=a_is_probability)
    after = _statistics(task, y_true, b, is_probability=b_is_probability)
    if task != "regression" and np.shape(a)[1] != np.shape(b)[1]:
        raise ParameterError(
            f"a and b must have scores of the same classes; got shapes {np.shape(a)} and {np.shape(b)}"
        )
    only_a = only_b = p_value = None
    if task == "classification":
        right_a, right_b = before.shares["accuracy"], after.shares["accuracy"]
        only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
        p_value = mcnemar_test(only_a, only_b)
    found = {
        name: Difference(mine, theirs, difference.value, difference.low, difference.high)
        for name, (mine, theirs, difference) in differences(before, after, seed=seed).items()
    }
    return Comparison(task, before.n, found, only_a, only_b, p_value)


def mcnemar_test(only_a: int, only_b: int) -> float:
    """Return the p-value of the exact McNemar test, two-sided.

    Parameters
    ----------
    only_a, only_b : int
        Rows that only one of two heads answers right.
    """
    total, less = only_a + only_b, min(only_a, only_b)
    if total == 0:
        return 1.0
    logs = np.log(np.arange(1, total + 1))
    factorial = np.concatenate([[0.0], np.cumsum(logs)])
    chosen = np.arange(less + 1)
    tail = factorial[total] - factorial[chosen] - factorial[total - chosen] - total * np.log(2)
    return min(1.0, 2 * float(np.exp(tail).sum()))


def compare_folds(a: Sequence[float], b: Sequence[float], *, ratio: float | None = None) -> FoldComparison:
    """Compare a figure of two heads over the same folds by the corrected resampled t-test.

    Parameters
    ----------
    a, b : sequence of float
        The figure of each on every fold.
    ratio : float, optional
        Rows judged on for each row trained on; by default that of cross-validation, ``1 / (folds - 1)``.

    Returns
    -------
    FoldComparison

    Raises
    ------
    ParameterError
        There are fewer than two folds, or not as many of each.

    Notes
    -----
    Training sets of folds overlap, so the folds' differences spread less than those of new data would: the variance is
    multiplied by ``1 / folds + ratio`` instead of by ``1 / folds`` [2]_.
    """
    from scipy.special import stdtr, stdtrit

    difference = np.asarray(b, dtype=np.float64) - np.asarray(a, dtype=np.float64) if len(a) == len(b) else np.empty(0)
    k = difference.size
    if k < 2:
        raise ParameterError(f"folds must be two or more, and as many of a as of b; got {len(a)} and {len(b)}")
    mean = float(difference.mean())
    error = float(np.sqrt((1 / k + (1 / (k - 1) if ratio is None else ratio)) * difference.var(ddof=1)))
    if error == 0:
        return FoldComparison(k, mean, mean, mean, 1.0 if mean == 0 else 0.0)
    half = float(stdtrit(k - 1, 0.975)) * error
    return FoldComparison(k, mean, mean - half, mean + half, 2 * float(stdtr(k - 1, -abs(mean) / error)))


def _statistics(task: str, y_true: npt.ArrayLike, answers: npt.ArrayLike, *, is_probability: bool) -> Statistics:
    if task == "regression":
        return regression_statistics(*checked_values(y_true, answers))
    k = np.shape(answers)[1] if np.ndim(answers) == 2 else 0
    if task == "classification":
        truth = class_indices("y_true", y_true, k)
        scores = checked_scores(answers, truth.size, k, is_probability=is_probability)
        return classification_statistics(truth, scores, is_probability=is_probability)[0]
    if task == "multilabel":
        matrix = indicator("y_true", y_true)
        scores = checked_scores(answers, *matrix.shape, is_probability=is_probability)
        return multilabel_statistics(matrix, scores, is_probability=is_probability)[0]
    raise ParameterError(f"task must be classification, multilabel or regression; got {task!r}")
