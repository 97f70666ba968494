"""Which samples of a run's answers are worth a look, and what to say of each."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.evaluation import LabelErrors, find_label_errors
from featx.fitting import Answers

__all__ = ["Sample", "contrasted", "described", "disagreements", "mistakes", "score_text", "suspects", "uncertain"]

Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_BLOCK_VALUES = 1 << 24

_NAMED = 3
"""Labels of a sample that are named as wrong."""


@dataclass(frozen=True)
class Sample:
    """A sample, and what is said of it.

    Attributes
    ----------
    key : str
    lines : tuple of str
        The first is the most important.
    """

    key: str
    lines: tuple[str, ...]


def mistakes(answers: Answers) -> Rows:
    """Return the rows that were answered wrongly, the most confident ones first; of numbers all, the farthest first."""
    if answers.task == "regression":
        return _descending(_errors(answers), np.arange(len(answers)))
    if answers.task == "multilabel":
        distance = np.abs(answers.scores - _threshold(answers))
        wrong = distance * ((answers.scores > _threshold(answers)) != answers.truth)
        return _descending(wrong.max(axis=1), np.flatnonzero(wrong.any(axis=1)))
    best, second = _two_best(answers.scores)
    confidence = best if answers.is_probability else best - second
    return _descending(confidence, np.flatnonzero(answers.scores.argmax(axis=1) != answers.truth))


def uncertain(answers: Answers) -> Rows:
    """Return all rows, those first whose answer was the closest call; none of numbers, which come without a doubt."""
    if answers.task == "regression":
        return np.empty(0, dtype=np.int64)
    if answers.task == "multilabel":
        margin = np.abs(answers.scores - _threshold(answers)).min(axis=1)
    else:
        best, second = _two_best(answers.scores)
        margin = best - second
    return _descending(-margin, np.arange(len(answers)))


def suspects(answers: Answers) -> LabelErrors | None:
    """Return the rows whose label is probably wrong; None where confident learning has nothing to say."""
    if answers.task != "classification" or not answers.is_probability:
        return None
    return find_label_errors(answers.truth, answers.scores)


def described(answers: Answers, classes: Sequence[str], rows: Iterable[int]) -> list[Sample]:
    """Return what was answered to some rows, and what is true."""
    describe = _class if answers.task == "classification" else _labels if answers.task == "multilabel" else _values
    return [Sample(answers.keys[row], describe(answers, classes, row)) for row in rows]


def disagreements(a: Answers, b: Answers) -> Rows:
    """Return the rows, the same of both, on which a is right and b is not, those first that they differ most about.

    Of several labels and of numbers these are the rows on which a is less wrong.
    """
    if a.task == "classification":
        is_better = (a.scores.argmax(axis=1) == a.truth) & (b.scores.argmax(axis=1) != b.truth)
        gap = _margins(a) - _margins(b)
    elif a.task == "multilabel":
        gap = _wrong_labels(b) - _wrong_labels(a)
        is_better = gap > 0
    else:
        gap = _errors(b) - _errors(a)
        is_better = gap > 0
    return _descending(gap, np.flatnonzero(is_better))


def contrasted(a: Answers, b: Answers, classes: Sequence[str], rows: Iterable[int]) -> list[Sample]:
    """Return what two heads answered to the same rows, and what is true."""
    return [
        Sample(
            a.keys[row],
            (f"a: {_answer(a, classes, row)}", f"b: {_answer(b, classes, row)}", f"true: {_truth(a, classes, row)}"),
        )
        for row in rows
    ]


def score_text(answers: Answers, value: float) -> str:
    """Return a score for people: a probability as a percentage."""
    return f"{value:.0%}" if answers.is_probability else f"{value:.2f}"


def _class(answers: Answers, classes: Sequence[str], row: int) -> tuple[str, ...]:
    scores, truth = answers.scores[row], int(answers.truth[row])
    if scores.argmax() == truth:
        other = int(np.argsort(-scores, kind="stable")[1])
        return f"right: {_answer(answers, classes, row)}", f"next: {_scored(answers, classes, row, other)}"
    return f"answered: {_answer(answers, classes, row)}", f"true: {_scored(answers, classes, row, truth)}"


def _labels(answers: Answers, classes: Sequence[str], row: int) -> tuple[str, ...]:
    distance, given = np.abs(answers.scores[row] - _threshold(answers)), answers.scores[row] > _threshold(answers)
    wrong = _descending(distance, np.flatnonzero(given != answers.truth[row]))
    if not wrong.size:
        return (f"right: {_answer(answers, classes, row)}",)
    worst = [f"wrong: {_scored(answers, classes, row, j)}" for j in wrong[:_NAMED].tolist()]
    return (f"answered: {_answer(answers, classes, row)}", f"true: {_truth(answers, classes, row)}", *worst)


def _values(answers: Answers, classes: Sequence[str], row: int) -> tuple[str, ...]:
    pairs = zip(classes, answers.scores[row].tolist(), answers.truth[row].tolist(), strict=True)
    return tuple(f"{name} {value:.4g}, true: {truth:.4g}" for name, value, truth in pairs)


def _answer(answers: Answers, classes: Sequence[str], row: int) -> str:
    if answers.task == "classification":
        return _scored(answers, classes, row, int(answers.scores[row].argmax()))
    if answers.task == "multilabel":
        return _names(classes, answers.scores[row] > _threshold(answers))
    return _numbers(classes, answers.scores[row])


def _truth(answers: Answers, classes: Sequence[str], row: int) -> str:
    if answers.task == "classification":
        return classes[int(answers.truth[row])]
    return (_names if answers.task == "multilabel" else _numbers)(classes, answers.truth[row])


def _scored(answers: Answers, classes: Sequence[str], row: int, j: int) -> str:
    return f"{classes[j]}, {score_text(answers, answers.scores[row, j])}"


def _numbers(names: Sequence[str], values: npt.NDArray[Any]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in zip(names, values.tolist(), strict=True))


def _names(classes: Sequence[str], chosen: npt.NDArray[np.bool_]) -> str:
    return ", ".join(classes[j] for j in np.flatnonzero(chosen).tolist()) or "none"


def _threshold(answers: Answers) -> float:
    return 0.5 if answers.is_probability else 0.0


def _errors(answers: Answers) -> Floats:
    """Return of each row the largest error of a target, in its standard deviations; 1 for one that does not vary."""
    spread = answers.truth.std(axis=0)
    errors: Floats = (np.abs(answers.scores - answers.truth) / np.where(spread > 0, spread, 1.0)).max(axis=1)
    return errors


def _wrong_labels(answers: Answers) -> Floats:
    wrong: Floats = ((answers.scores > _threshold(answers)) != answers.truth).sum(axis=1, dtype=np.float64)
    return wrong


def _margins(answers: Answers) -> Floats:
    """Return by how much the true class is ahead of the best other; of scores, in their standard deviations."""
    best, second = _two_best(answers.scores)
    own = answers.scores[np.arange(len(answers)), answers.truth]
    margin: Floats = own - np.where(own < best, best, second)
    return margin if answers.is_probability else margin / (margin.std() or 1.0)


def _two_best(scores: npt.NDArray[np.float32]) -> tuple[Floats, Floats]:
    """Return the largest score of each row and the next, with few copies."""
    n, k = scores.shape
    found = np.empty((n, 2))
    step = max(1, _BLOCK_VALUES // k)
    for start in range(0, n, step):
        found[start : start + step] = np.partition(scores[start : start + step], (k - 2, k - 1), axis=1)[:, k - 2 :]
    return found[:, 1], found[:, 0]


def _descending(values: npt.NDArray[Any], rows: Rows) -> Rows:
    """Return some rows by falling value, equal ones in their order."""
    ordered: Rows = rows[np.argsort(-values[rows], kind="stable")]
    return ordered
