"""Figures of a classifier's answers, in numpy alone: what a linear head answers is judged without scikit-learn."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.errors import ParameterError

__all__ = ["ClassFigures", "Evaluation", "evaluate_predictions"]

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ClassFigures:
    """Figures of one class.

    Attributes
    ----------
    name : str
        The class.
    precision : float
        Share of the rows answered with this class that are of it; 0 if there are none.
    recall : float
        Share of the rows of this class that were answered with it; 0 if there are none.
    f1 : float
        Harmonic mean of the two; 0 if both are.
    support : int
        Rows of this class.
    """

    name: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Evaluation:
    """Figures of a classifier's answers on rows whose classes are known.

    Attributes
    ----------
    n : int
        Rows.
    accuracy : float
        Share of right answers.
    accuracy_interval : tuple of float
        95 % Wilson score interval of the accuracy, for rows drawn independently.
    macro_f1 : float
        Mean of F1 over the classes that occur among the rows or the answers: what scikit-learn's
        ``f1_score(average="macro", zero_division=0)`` gives. Classes that occur in neither do not count.
    log_loss : float or None
        Mean of ``-log(probability of the true class)`` in nats, each probability at least 2.2e-16 (as in scikit-learn's
        ``log_loss``); None if the scores were no probabilities.
    per_class : tuple of ClassFigures
        One for each of `classes`, in their order.
    confusion : tuple of tuple of int
        Rows are true classes, columns the answers.
    classes : tuple of str
        Names.
    """

    n: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    macro_f1: float
    log_loss: float | None
    per_class: tuple[ClassFigures, ...]
    confusion: tuple[tuple[int, ...], ...]
    classes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as dicts, lists, text and numbers, ready for JSON."""
        values = asdict(self)
        values["accuracy_interval"] = list(self.accuracy_interval)
        values["per_class"] = [asdict(figures) for figures in self.per_class]
        values["confusion"] = [list(row) for row in self.confusion]
        values["classes"] = list(self.classes)
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Evaluation":
        """Read what :meth:`to_dict` gave, also after a way through JSON.

        Raises
        ------
        ParameterError
            The values are not those of an evaluation.
        """
        try:
            low, high = values["accuracy_interval"]
            return cls(
                n=int(values["n"]),
                accuracy=float(values["accuracy"]),
                accuracy_interval=(float(low), float(high)),
                macro_f1=float(values["macro_f1"]),
                log_loss=None if values["log_loss"] is None else float(values["log_loss"]),
                per_class=tuple(
                    ClassFigures(
                        name=str(row["name"]),
                        precision=float(row["precision"]),
                        recall=float(row["recall"]),
                        f1=float(row["f1"]),
                        support=int(row["support"]),
                    )
                    for row in values["per_class"]
                ),
                confusion=tuple(tuple(int(count) for count in row) for row in values["confusion"]),
                classes=tuple(str(name) for name in values["classes"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ParameterError(
                f"values must be those of Evaluation.to_dict, and are not ({type(error).__name__}: {error})"
            ) from error


def evaluate_predictions(
    y_true: npt.ArrayLike,
    scores: npt.ArrayLike,
    *,
    classes: Sequence[str],
    head_classes: npt.ArrayLike,
    is_probability: bool,
) -> Evaluation:
    """Compare a head's scores with the true classes.

    Parameters
    ----------
    y_true : array_like of shape (n,), integer
        Index into `classes` of each row; rows without a label are to be left out.
    scores : array_like of shape (n, k), float
        What :func:`featx.heads.head_scores` returned; the answer is the column with the largest (of equals the first).
    classes : sequence of str
        Names of all classes, also of those the head has not seen.
    head_classes : array_like of shape (k,), integer
        Index into `classes` of each column of `scores`: the head's ``classes_``.
    is_probability : bool
        Whether the scores are probabilities; if so, there is a log loss. A class that the head has not seen
        has probability 0.

    Returns
    -------
    Evaluation
        The figures.

    Raises
    ------
    ParameterError
        There are no rows, the shapes do not go together, an index leads outside `classes`, or a score is nan or
        infinite, or a probability is outside 0..1.

    References
    ----------
    .. [1] E. B. Wilson (1927), "Probable inference, the law of succession, and statistical inference", Journal of the
       American Statistical Association 22(158), pp. 209-212.
    """
    names = tuple(str(name) for name in classes)
    columns = _indices("head_classes", head_classes, len(names))
    truth = _indices("y_true", y_true, len(names))
    values = np.asarray(scores, dtype=np.float64)
    n = truth.size
    if n == 0:
        raise ParameterError("y_true must have a row or more to be judged by; got none")
    if columns.size == 0 or np.unique(columns).size != columns.size:
        raise ParameterError(f"head_classes must be different classes, one or more; got {columns.tolist()}")
    if values.shape != (n, columns.size):
        raise ParameterError(
            f"scores must have a row for each of {n} labels and a column for each of {columns.size} head_classes;"
            f" got shape {values.shape}"
        )
    if not np.isfinite(values).all():
        raise ParameterError("scores must be finite; got nan or inf")
    if is_probability and (values.min() < 0 or values.max() > 1 + 1e-6):
        raise ParameterError(
            f"scores must be from 0 to 1 if they are probabilities; got {values.min():g} to {values.max():g}"
        )
    answers = columns[values.argmax(axis=1)]
    k = len(names)
    confusion = np.bincount(truth * k + answers, minlength=k * k).reshape(k, k)
    right = int(np.trace(confusion))
    per_class, f1 = _per_class(confusion, names)
    occurs = (confusion.sum(axis=0) + confusion.sum(axis=1)) > 0
    return Evaluation(
        n=n,
        accuracy=right / n,
        accuracy_interval=_wilson(right, n),
        macro_f1=float(f1[occurs].mean()),
        log_loss=_log_loss(truth, values, columns, k) if is_probability else None,
        per_class=per_class,
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        classes=names,
    )


def _indices(parameter: str, values: npt.ArrayLike, k: int) -> Integers:
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


def _per_class(confusion: Integers, names: tuple[str, ...]) -> tuple[tuple[ClassFigures, ...], Floats]:
    hits, answered, support = np.diagonal(confusion), confusion.sum(axis=0), confusion.sum(axis=1)
    precision, recall = _ratio(hits, answered), _ratio(hits, support)
    f1 = _ratio(2 * hits, answered + support)
    rows = zip(names, precision.tolist(), recall.tolist(), f1.tolist(), support.tolist(), strict=True)
    return tuple(ClassFigures(*row) for row in rows), f1


def _ratio(part: Integers, whole: Integers) -> Floats:
    """Return ``part / whole``, and 0 where there is nothing."""
    return np.divide(part, whole, out=np.zeros(part.shape), where=whole > 0)


def _log_loss(truth: Integers, values: Floats, columns: Integers, k: int) -> float:
    column_of = np.full(k, -1)
    column_of[columns] = np.arange(columns.size)
    seen = column_of[truth]
    probability = np.where(seen >= 0, values[np.arange(truth.size), seen], 0.0)
    # scikit-learn clips above too: a head that is certain and right has a loss of 2.2e-16, not of 0
    smallest = np.finfo(np.float64).eps
    return float(-np.log(np.clip(probability, smallest, 1 - smallest)).mean())


def _wilson(right: int, n: int) -> tuple[float, float]:
    z = NormalDist().inv_cdf(0.975)
    share = right / n
    centre = share + z * z / (2 * n)
    half = z * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
    whole = 1 + z * z / n
    # all right or all wrong: the bound is 1 or 0, which rounding may miss
    low = 0.0 if right == 0 else (centre - half) / whole
    high = 1.0 if right == n else (centre + half) / whole
    return low, high
