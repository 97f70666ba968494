"""The figure to go by alone, for those who judge many heads and need no intervals."""

import numpy as np
import numpy.typing as npt

from featx.errors import ParameterError
from featx.evaluation._checks import checked_scores, class_indices, indicator
from featx.evaluation._ranking import rank_by_class
from featx.evaluation._regression import checked_values, regression_statistics

__all__ = ["headline_value"]


def headline_value(
    task: str, y_true: npt.ArrayLike, scores: npt.ArrayLike, *, is_probability: bool = False
) -> tuple[str, float]:
    """Return name and value of :attr:`Evaluation.headline` without its interval, which takes most of the time.

    Parameters
    ----------
    task : {"classification", "multilabel", "regression"}
    y_true : array_like
        Indices of classes (n,); an indicator matrix (n, k); or values (n,) or (n, t).
    scores : array_like of shape (n, k) or (n, t), float
        Scores of all classes, or the values.
    is_probability : bool
        Whether the scores are probabilities.

    Raises
    ------
    ParameterError
        The task is unknown, or the arrays do not go together.
    """
    if task == "regression":
        statistics = regression_statistics(*checked_values(y_true, scores))
        name, value = next(iter(statistics.resampled(np.ones((1, statistics.n))).items()))
        return name, float(value[0])
    k = np.shape(scores)[1] if np.ndim(scores) == 2 else 0
    if task == "classification":
        truth = class_indices("y_true", y_true, k)
        values = checked_scores(scores, truth.size, k, is_probability=is_probability)
        return "accuracy", float((values.argmax(axis=1) == truth).mean())
    if task != "multilabel":
        raise ParameterError(f"task must be classification, multilabel or regression; got {task!r}")
    matrix = indicator("y_true", y_true)
    values = checked_scores(scores, *matrix.shape, is_probability=is_probability)
    means, _ = rank_by_class(matrix, values)
    if "average_precision" in means:
        return "mean_average_precision", means["average_precision"].value
    return "exact_match", float((matrix == (values > (0.5 if is_probability else 0))).all(axis=1).mean())
