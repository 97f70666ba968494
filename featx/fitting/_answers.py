"""What a head answered to samples whose truth is known: kept with a run, judged, compared, and looked at later."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.errors import RunError, first_line
from featx.evaluation import Evaluation, evaluate_multilabel, evaluate_predictions, evaluate_regression
from featx.fitting._table import Table, take
from featx.heads import head_scores, head_values

__all__ = ["Answers", "ask", "judge", "read_answers", "write_answers"]

_BLOCK_VALUES = 1 << 25
"""Features that are asked about at a time."""
_TRUTH = {"classification": np.dtype(np.int64), "multilabel": np.dtype(bool), "regression": np.dtype(np.float64)}


@dataclass(frozen=True, eq=False)
class Answers:
    """A head's answers to some samples, and the truth.

    Parameters
    ----------
    task : {"classification", "multilabel", "regression"}
    keys : tuple of str, length n
    truth : ndarray
        int64 (n,), indices into the run's classes; bool (n, k); or float64 (n, t).
    scores : ndarray of shape (n, k) or (n, t), float32
        A column for each of the run's classes, in their order, whether the head knows them all or not; in a
        regression the values.
    is_probability : bool
        Whether the scores are probabilities.
    """

    task: str
    keys: tuple[str, ...]
    truth: npt.NDArray[Any]
    scores: npt.NDArray[np.float32]
    is_probability: bool

    def __len__(self) -> int:
        return len(self.keys)


def ask(head: Any, table: Table, rows: npt.NDArray[np.int64], *, truth: npt.NDArray[Any], k: int) -> Answers:
    """Return the answers of a fitted head to some rows.

    Parameters
    ----------
    head : estimator
    table : Table
    rows : ndarray of int64
    truth : ndarray
        Of those rows, in terms of the run's classes.
    k : int
        How many classes the run has, or how many targets.
    """
    keys = tuple(table.keys[row] for row in rows.tolist())
    if table.task == "regression":
        values = np.concatenate([head_values(head, block, views=table.views) for block in _blocks(table, rows)])
        return Answers(table.task, keys, truth, values.astype(np.float32), False)
    answers = [head_scores(head, block, views=table.views) for block in _blocks(table, rows)]
    scores, is_probability = np.concatenate([found for found, _ in answers]), answers[0][1]
    if table.task == "classification":
        scores = _all_columns(scores, np.asarray(head.classes_), k, is_probability)
    return Answers(table.task, keys, truth, scores.astype(np.float32), is_probability)


def _blocks(table: Table, rows: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[Any]]:
    """Yield the features of some rows, so many at a time that copies of them take little memory."""
    step = max(1, _BLOCK_VALUES // math.prod(table.features.shape[1:]))
    for start in range(0, max(1, len(rows)), step):
        yield take(table.features, rows[start : start + step])


def _all_columns(
    scores: npt.NDArray[np.float64], known: npt.NDArray[np.int64], k: int, is_probability: bool
) -> npt.NDArray[np.float64]:
    """Give classes without training rows a column, too: of probability 0, or below every other score."""
    if len(known) == k:
        return scores
    lowest = 0.0 if is_probability or not len(scores) else float(scores.min()) - 1.0
    every = np.full((len(scores), k), lowest)
    every[:, known] = scores
    return every


def judge(answers: Answers, classes: tuple[str, ...], *, seed: int = 0) -> Evaluation:
    """Return the figures of some answers; `seed` is of the intervals' resamples."""
    truth, scores = answers.truth, answers.scores
    if answers.task == "regression":
        return evaluate_regression(truth, scores, names=classes, seed=seed)
    if answers.task == "multilabel":
        return evaluate_multilabel(truth, scores, classes=classes, is_probability=answers.is_probability, seed=seed)
    return evaluate_predictions(
        truth,
        scores,
        classes=classes,
        head_classes=np.arange(len(classes)),
        is_probability=answers.is_probability,
        seed=seed,
    )


def write_answers(answers: Answers, path: Path) -> None:
    """Write all but the keys, as safetensors."""
    from safetensors.numpy import save

    tensors = {"truth": np.ascontiguousarray(answers.truth), "scores": np.ascontiguousarray(answers.scores)}
    facts = {"task": answers.task, "is_probability": str(answers.is_probability).lower()}
    path.write_bytes(save(tensors, metadata=facts))


def read_answers(path: Path, keys: tuple[str, ...], classes: int) -> Answers:
    """Read what :func:`write_answers` wrote.

    Raises
    ------
    RunError
        If the file is damaged, or of other samples or classes than `keys` and `classes` say.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            facts = file.metadata() or {}
            truth, scores = file.get_tensor("truth"), file.get_tensor("scores")
    except (SafetensorError, OSError, ValueError) as error:
        raise RunError(f"{str(path)!r} cannot be read ({first_line(error)}): fit the head again") from error
    n, task = len(keys), facts.get("task", "")
    shape = (n,) if task == "classification" else (n, classes)
    if (
        truth.dtype != _TRUTH.get(task)
        or truth.shape != shape
        or scores.dtype != np.float32
        or scores.shape != (n, classes)
        or (task == "classification" and n and not 0 <= truth.min() <= truth.max() < classes)
    ):
        raise RunError(f"{str(path)!r} must hold the answers to {n} samples, and does not: fit the head again")
    return Answers(task, keys, truth, scores, facts.get("is_probability") == "true")
