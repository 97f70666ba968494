"""Figures of answers of which one class is right."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.errors import ParameterError
from featx.evaluation._calibration import confidence_bins
from featx.evaluation._checks import Integers, checked_scores, class_indices
from featx.evaluation._figures import ClassFigures, Evaluation
from featx.evaluation._intervals import Figure, Floats, Grouped, Statistics, figures, wilson, with_spread
from featx.evaluation._ranking import rank_by_class

__all__ = ["classification_statistics", "evaluate_confusion", "evaluate_predictions"]

_TOP = 5
_EPS = float(np.finfo(np.float64).eps)
_BLOCK = 1 << 21


def evaluate_predictions(
    y_true: npt.ArrayLike,
    scores: npt.ArrayLike,
    *,
    classes: Sequence[str],
    head_classes: npt.ArrayLike,
    is_probability: bool,
    seed: int = 0,
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
        Whether the scores are probabilities; if so, there are a log loss, a Brier score and a calibration error. A
        class that the head has not seen has probability 0.
    seed : int
        Of the resamples.

    Returns
    -------
    Evaluation
        ``accuracy``; with more than five classes ``top_5_accuracy`` (of equals the first count); ``balanced_accuracy``
        (mean recall of the classes that rows are of); ``macro_f1`` (mean over the classes that occur among the rows
        or the answers) and ``weighted_f1``; ``log_loss`` in nats, each probability at least 2.2e-16; ``brier`` (the
        sum of squares over the classes; with two classes half of it, as scikit-learn has it);
        ``expected_calibration_error`` (15 equal-width bins of the confidence [2]_); ``roc_auc`` and
        ``average_precision``, each class against the rest, mean over the classes that some rows are of and others are
        not.

    Raises
    ------
    ParameterError
        There are no rows, the shapes do not go together, an index leads outside `classes`, or a score is nan or
        infinite, or a probability is outside 0..1.

    Notes
    -----
    Accuracy, top-5, precision and recall have Wilson's interval [1]_; F1 of a class too, by way of the Jaccard index, a
    share that it rises with; figures of ranks have DeLong's or its like; all others are from 1,000 resamples of the
    rows, down to 200 for very many. The bounds are percentiles; for macro F1 and the calibration error, which a
    resample biases (rare classes drop out, bins add noise), those of the basic bootstrap, and for the second of its
    square. Where all answers are right or all are wrong, resamples show no spread, and the means over classes have
    Wilson's interval too.

    References
    ----------
    .. [1] E. B. Wilson (1927), "Probable inference, the law of succession, and statistical inference", Journal of the
       American Statistical Association 22(158), pp. 209-212.
    .. [2] C. Guo, G. Pleiss, Y. Sun and K. Q. Weinberger (2017), "On calibration of modern neural networks", ICML.
    """
    names = tuple(str(name) for name in classes)
    columns = class_indices("head_classes", head_classes, len(names))
    if columns.size == 0 or np.unique(columns).size != columns.size:
        raise ParameterError(f"head_classes must be different classes, one or more; got {columns.tolist()}")
    truth = class_indices("y_true", y_true, len(names))
    values = checked_scores(scores, truth.size, columns.size, is_probability=is_probability, each="head_classes")
    values = _every_class(values, columns, len(names), is_probability=is_probability)
    answers = values.argmax(axis=1)
    statistics, ranked = classification_statistics(truth, values, is_probability=is_probability)
    confusion = _confusion(truth, answers, len(names))
    return _evaluation(statistics, confusion, names, ranked, seed=seed)


def evaluate_confusion(confusion: Any, *, classes: Sequence[str], log_loss: float | None) -> Evaluation:
    """Return the figures that a confusion matrix alone gives, and a log loss of which only the value is known."""
    names = tuple(str(name) for name in classes)
    counts = np.array(confusion, dtype=np.int64)
    if counts.shape != (len(names), len(names)) or counts.min(initial=0) < 0 or not counts.any():
        raise ValueError(f"confusion of shape {counts.shape} for {len(names)} classes")
    truth, answers = (np.repeat(side, counts.ravel()) for side in np.indices(counts.shape).reshape(2, -1))
    means = _MeansOverClasses(truth, answers, len(names))
    statistics = Statistics(truth.size, {"accuracy": truth == answers}, means, biased={"macro_f1": 1})
    evaluation = _evaluation(statistics, counts, names, [{} for _ in names], seed=0)
    if log_loss is not None:
        evaluation.figures["log_loss"] = Figure(float(log_loss), 0.0, -float(np.log(_EPS)))
    return evaluation


def classification_statistics(
    truth: Integers, values: npt.NDArray[np.floating], *, is_probability: bool
) -> tuple[Statistics, list[dict[str, Figure]]]:
    """Return the statistics of scores that have a column for each class, and the ranks' figures of each class."""
    n, k = values.shape
    answers = values.argmax(axis=1)
    shares = {"accuracy": answers == truth}
    if k > _TOP:
        shares[f"top_{_TOP}_accuracy"] = _before_truth(truth, values) < _TOP
    means = _MeansOverClasses(truth, answers, k)
    losses, bins = np.empty((n, 0)), 0
    if is_probability:
        gaps = confidence_bins(truth, values)
        losses, bins = np.column_stack([_log_loss(truth, values), _brier(truth, values), gaps]), gaps.shape[1]

    def resampled(weights: Floats) -> dict[str, Floats]:
        found = means(weights)
        if is_probability:
            sums = weights @ losses / n
            found["log_loss"], found["brier"] = sums[:, 0], sums[:, 1]
            found["expected_calibration_error"] = np.abs(sums[:, 2:]).sum(axis=1)
        return found

    ranked, by_class = rank_by_class(truth, values)
    biased = {"macro_f1": 1, "expected_calibration_error": 2}
    return Statistics(n, shares, resampled, ranked, biased, width=2 + bins), by_class


def _evaluation(
    statistics: Statistics,
    confusion: Integers,
    names: tuple[str, ...],
    ranked: list[dict[str, Figure]],
    *,
    seed: int,
) -> Evaluation:
    found = figures(statistics, seed=seed)
    for name in ("balanced_accuracy", "macro_f1", "weighted_f1"):
        found[name] = with_spread(found[name], statistics.n)
    hits, answered, support = np.diagonal(confusion), confusion.sum(axis=0), confusion.sum(axis=1)
    return Evaluation(
        task="classification",
        n=statistics.n,
        figures=found,
        per_class=per_class(names, hits, answered, support, ranked),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        classes=names,
    )


def per_class(
    names: tuple[str, ...], hits: Integers, answered: Integers, support: Integers, ranked: list[dict[str, Figure]]
) -> tuple[ClassFigures, ...]:
    """Return precision, recall and F1 of each class from counts of rows, and its figures of ranks."""
    rows = zip(names, hits.tolist(), answered.tolist(), support.tolist(), ranked, strict=True)
    return tuple(
        ClassFigures(
            name,
            of_class,
            {
                "precision": wilson(hit, given),
                "recall": wilson(hit, of_class),
                "f1": _f1(hit, given + of_class),
                **more,
            },
        )
        for name, hit, given, of_class, more in rows
    )


def _f1(hits: int, total: int) -> Figure:
    """Return F1, which is 2j / (1 + j) of the share j of the rows of the class or answered with it that are both."""
    share = wilson(hits, total - hits)
    value, low, high = (2 * bound / (1 + bound) for bound in (share.value, share.low, share.high))
    return Figure(2 * hits / total if total else value, low, high)


def _confusion(truth: Integers, answers: npt.NDArray[np.intp], k: int) -> Integers:
    return np.bincount(truth * k + answers, minlength=k * k).reshape(k, k)


class _MeansOverClasses:
    """Balanced accuracy, macro and weighted F1 as functions of the rows' weights."""

    def __init__(self, truth: Integers, answers: npt.NDArray[np.intp], k: int) -> None:
        # cells of the confusion matrix that occur are fewer than rows: these are summed once, the rest is small
        cells, cell = np.unique(truth * k + answers, return_inverse=True)
        of, given = np.divmod(cells, k)
        self._by_cell = Grouped(cell, cells.size)
        self._by_class, self._by_answer = Grouped(of, k), Grouped(given, k)
        self._is_hit = of == given

    def __call__(self, weights: Floats) -> dict[str, Floats]:
        counts = self._by_cell(weights)
        support, answered = self._by_class(counts), self._by_answer(counts)
        hits = self._by_class(counts * self._is_hit)
        f1 = _ratio(2 * hits, support + answered)
        return {
            "balanced_accuracy": _ratio(hits, support).sum(axis=1) / (support > 0).sum(axis=1),
            "macro_f1": f1.sum(axis=1) / ((support + answered) > 0).sum(axis=1),
            "weighted_f1": (f1 * support).sum(axis=1) / support.sum(axis=1),
        }


def _ratio(part: Floats, whole: Floats) -> Floats:
    """Return ``part / whole``, and 0 where there is nothing."""
    ratio: Floats = np.divide(part, whole, out=np.zeros(part.shape), where=whole > 0)
    return ratio


def _every_class(
    values: npt.NDArray[np.floating], columns: Integers, k: int, *, is_probability: bool
) -> npt.NDArray[np.floating]:
    """Give classes that the head has not seen a column too: of probability 0, or below every other score."""
    if np.array_equal(columns, np.arange(k)):
        return values
    every = np.full((values.shape[0], k), 0.0 if is_probability else values.min() - 1, dtype=values.dtype)
    every[:, columns] = values
    return every


def _before_truth(truth: Integers, values: npt.NDArray[np.floating]) -> Integers:
    """Return how many classes have a larger score than the true one, or an equal one and come first."""
    n, k = values.shape
    step = max(1, _BLOCK // k)
    before = np.empty(n, dtype=np.int64)
    for start in range(0, n, step):
        block, own = values[start : start + step], truth[start : start + step, None]
        score = np.take_along_axis(block, own, axis=1)
        before[start : start + step] = ((block > score) | ((block == score) & (np.arange(k) < own))).sum(axis=1)
    return before


def _log_loss(truth: Integers, values: npt.NDArray[np.floating]) -> Floats:
    probability = values[np.arange(truth.size), truth].astype(np.float64)
    # scikit-learn clips above too: a head that is certain and right has a loss of 2.2e-16, not of 0
    return -np.log(np.clip(probability, _EPS, 1 - _EPS))


def _brier(truth: Integers, values: npt.NDArray[np.floating]) -> Floats:
    squares: Floats = np.einsum("ij,ij->i", values, values, dtype=np.float64)
    probability = values[np.arange(truth.size), truth].astype(np.float64)
    return (squares - 2 * probability + 1) * (0.5 if values.shape[1] == 2 else 1.0)
