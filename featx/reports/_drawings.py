"""The drawings of one part's answers, each with words that say what it shows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from featx import plots
from featx.evaluation import ClassFigures, Evaluation, Figure, precision_recall_curve, reliability, roc_curve
from featx.fitting import Answers

__all__ = ["Drawing", "drawings_of", "number", "with_interval"]

_NAMED = 10
"""Classes up to which words name each."""

_WORST = 3
"""Classes that are named of more."""

_POINTS = 40_000
"""Points of all curves of a drawing together."""

_COLUMNS = 64
"""Classes whose scores are copied at a time, so that each lies in one piece."""


@dataclass(frozen=True, eq=False)
class Drawing:
    """A figure in a page.

    Attributes
    ----------
    name : str
        That could be a file's.
    title : str
    figure : matplotlib.figure.Figure
    alt : str
        What it shows, in numbers.
    """

    name: str
    title: str
    figure: Any
    alt: str

    @property
    def svg(self) -> Any:
        """The figure as a part of a page."""
        from markupsafe import Markup

        return Markup(plots.page_svg(self.figure, self.alt))  # featx.plots escapes `alt`


def number(value: float) -> str:
    """Return a figure for people."""
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.5g}"


def with_interval(figure: Figure) -> str:
    """Return a figure and its 95 % interval for people."""
    dash = "–" if figure.low >= 0 else " to "
    return f"{number(figure.value)} ({number(figure.low)}{dash}{number(figure.high)})"


def drawings_of(evaluation: Evaluation, answers: Answers | None) -> list[Drawing]:
    """Return what there is to draw of some figures, and of the answers that they are of, if these were kept."""
    if evaluation.task == "regression":
        return [] if answers is None else _residuals(evaluation, answers)
    found = [] if evaluation.confusion is None else [_confusion(evaluation)]
    found.append(_scores(evaluation))
    if answers is not None:
        found += _curves(evaluation, answers)
        if evaluation.task == "classification" and answers.is_probability:
            found.append(_calibration(answers))
    return found


def _confusion(evaluation: Evaluation) -> Drawing:
    counts = np.array(evaluation.confusion, dtype=np.int64)
    alt = f"Confusion matrix of {evaluation.n:,} samples. Right are {np.trace(counts):,}: {_hits(counts, evaluation)}."
    return Drawing("confusion-matrix", "Confusion matrix", plots.confusion_matrix(counts, evaluation.classes), alt)


def _hits(counts: npt.NDArray[np.int64], evaluation: Evaluation) -> str:
    """Say how many of each class are right, and what the others are mostly taken for; of many classes, of the worst."""
    rows = evaluation.per_class
    chosen = _worst(rows, "recall")
    words = []
    for j in chosen:
        row = counts[j].copy()
        text = f"{rows[j].name} {row[j]:,} of {rows[j].support:,}"
        row[j] = 0
        if row.any():
            text += f" (else mostly {rows[int(row.argmax())].name}, {row.max():,})"
        words.append(text)
    return ("the worst are " if len(chosen) < len(rows) else "") + ", ".join(words)


def _scores(evaluation: Evaluation) -> Drawing:
    rows = [row for row in evaluation.per_class if row.support] or list(evaluation.per_class)
    figure = plots.score_by_class([row.name for row in rows], [row.recall for row in rows], figure="recall")
    words = ", ".join(f"{rows[j].name} {with_interval(rows[j].recall)}" for j in _worst(rows, "recall"))
    alt = f"Recall of each class with its 95 % interval, the worst first: {words}."
    return Drawing("recall-by-class", "Recall by class", figure, alt)


def _worst(rows: Sequence[ClassFigures], name: str) -> list[int]:
    """Return all classes if these are few, else the worst that rows are of, by a figure."""
    if len(rows) <= _NAMED:
        return list(range(len(rows)))
    some = [j for j, row in enumerate(rows) if row.support and name in row.figures]
    return sorted(some, key=lambda j: rows[j].figures[name].value)[:_WORST]


def _curves(evaluation: Evaluation, answers: Answers) -> list[Drawing]:
    ranked = [j for j, row in enumerate(evaluation.per_class) if "roc_auc" in row.figures]
    if not ranked:
        return []
    if len(evaluation.classes) == 2 and evaluation.task == "classification":
        ranked = ranked[1:]  # the other is its mirror image
    points = max(20, min(200, _POINTS // len(ranked)))
    roc, pr = [], []
    for j, positive, scores in _by_class(answers, ranked):
        row, (false, true, _) = evaluation.per_class[j], roc_curve(positive, scores, points=points)
        precision, recall, _ = precision_recall_curve(positive, scores, points=points)
        average = row.figures["average_precision"].value
        roc.append(plots.Curve(row.name, false, true, row.figures["roc_auc"].value))
        pr.append(plots.Curve(row.name, recall, precision, average, float(positive.mean())))
    rows = [evaluation.per_class[j] for j in ranked]
    areas, precisions = _areas(rows, "roc_auc"), _areas(rows, "average_precision")
    return [
        Drawing(
            "roc", "ROC curves", plots.roc_curves(roc), f"ROC curves, each class against the rest; areas: {areas}."
        ),
        Drawing(
            "precision-recall",
            "Precision and recall",
            plots.precision_recall_curves(pr),
            f"Precision against recall, each class against the rest; average precision: {precisions}.",
        ),
    ]


def _by_class(
    answers: Answers, classes: Sequence[int]
) -> Iterator[tuple[int, npt.NDArray[np.bool_], npt.NDArray[Any]]]:
    """Yield of each class its number, which rows are of it, and its scores, which are copied some classes at a time."""
    truth = answers.truth
    for start in range(0, len(classes), _COLUMNS):
        chosen = classes[start : start + _COLUMNS]
        for j, scores in zip(chosen, np.ascontiguousarray(answers.scores[:, chosen].T), strict=True):
            yield j, truth[:, j] if truth.ndim == 2 else truth == j, scores


def _areas(rows: Sequence[ClassFigures], name: str) -> str:
    words = ", ".join(f"{rows[j].name} {with_interval(rows[j].figures[name])}" for j in _worst(rows, name))
    return words if len(rows) <= _NAMED else f"{len(rows):,} classes, the worst are {words}"


def _calibration(answers: Answers) -> Drawing:
    bins = reliability(answers.truth, answers.scores)
    words = ", ".join(
        f"{each.count:,} of confidence {each.low:.2f} to {each.high:.2f}, of which {each.accuracy.value:.0%} are right"
        for each in bins
    )
    alt = f"How often answers of each confidence are right: {words}."
    return Drawing("calibration", "Calibration", plots.calibration_curve(bins), alt)


def _residuals(evaluation: Evaluation, answers: Answers) -> list[Drawing]:
    """Return predicted against true values, a drawing for each target."""
    several = len(evaluation.classes) > 1
    found = []
    for j, name in enumerate(evaluation.classes):
        figures = evaluation.per_class[j].figures if several else evaluation.figures
        words = ", ".join(f"{_words(key)} {with_interval(figure)}" for key, figure in figures.items())
        drawn = plots.residuals(answers.truth[:, j], answers.scores[:, j], name)
        alt = f"Predicted against true {name} of {evaluation.n:,} samples; {words}."
        found.append(Drawing(f"residuals-{j + 1}" if several else "residuals", f"Predicted {name}", drawn, alt))
    return found


def _words(name: str) -> str:
    return name.replace("_", " ")
