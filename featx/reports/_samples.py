"""Which samples of a run's answers are worth a look, and what to say of each."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.evaluation import LabelErrors, find_label_errors
from featx.fitting import Answers

__all__ = ["Sample", "described", "mistakes", "score_text", "suspects", "uncertain"]

Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_BLOCK_VALUES = 1 << 24


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
        error = np.abs(answers.scores - answers.truth) / _spread(answers.truth)
        return _descending(error.max(axis=1), np.arange(len(answers)))
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
    describe = {"regression": _values, "multilabel": _labels, "classification": _class}[answers.task]
    return [Sample(answers.keys[row], describe(answers, classes, row)) for row in rows]


def score_text(answers: Answers, value: float) -> str:
    """Return a score for people: a probability as a percentage."""
    return f"{value:.0%}" if answers.is_probability else f"{value:.2f}"


def _class(answers: Answers, classes: Sequence[str], row: int) -> tuple[str, ...]:
    scores, truth = answers.scores[row], int(answers.truth[row])
    answer = int(scores.argmax())
    other = truth if answer != truth else int(np.argsort(-scores, kind="stable")[1])
    given = f"{classes[answer]}, {score_text(answers, scores[answer])}"
    rest = f"{classes[other]}, {score_text(answers, scores[other])}"
    if answer == truth:
        return f"right: {given}", f"next: {rest}"
    return f"answered: {given}", f"true: {rest}"


def _labels(answers: Answers, classes: Sequence[str], row: int) -> tuple[str, ...]:
    scores, truth, threshold = answers.scores[row], answers.truth[row], _threshold(answers)
    given = scores > threshold
    wrong = [j for j in np.argsort(-np.abs(scores - threshold), kind="stable").tolist() if given[j] != truth[j]]
    answer = f"{'answered' if wrong else 'right'}: {_names(classes, given)}"
    worst = [f"wrong: {classes[j]}, {score_text(answers, scores[j])}" for j in wrong[:3]]
    return (answer, f"true: {_names(classes, truth)}", *worst) if wrong else (answer,)


def _values(answers: Answers, classes: Sequence[str], row: int) -> tuple[str, ...]:
    pairs = zip(classes, answers.scores[row].tolist(), answers.truth[row].tolist(), strict=True)
    return tuple(f"{name} {value:.4g}, true: {truth:.4g}" for name, value, truth in pairs)


def _names(classes: Sequence[str], chosen: npt.NDArray[np.bool_]) -> str:
    return ", ".join(classes[j] for j in np.flatnonzero(chosen).tolist()) or "none"


def _threshold(answers: Answers) -> float:
    return 0.5 if answers.is_probability else 0.0


def _spread(truth: npt.NDArray[Any]) -> Floats:
    """Return the standard deviation of each target, 1 for one that does not vary."""
    spread: Floats = truth.std(axis=0)
    return np.where(spread > 0, spread, 1.0)


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
