"""What an evaluation holds: figures with their intervals, for all rows and for each class or target."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from featx.errors import ParameterError
from featx.evaluation._intervals import Figure

__all__ = ["HEADLINES", "LOWER_IS_BETTER", "ClassFigures", "Evaluation"]

LOWER_IS_BETTER = frozenset({"brier", "expected_calibration_error", "hamming_loss", "log_loss", "mae", "rmse"})
"""Names of the figures of which less is better."""

HEADLINES = {"classification": "accuracy", "multilabel": "mean_average_precision", "regression": "r2"}
"""Of each task the figure to go by."""


@dataclass(frozen=True)
class ClassFigures:
    """Figures of one class or, in a regression, of one target.

    Attributes
    ----------
    name : str
        The class, or the target.
    support : int
        Rows of this class; in a regression all rows.
    figures : dict of str to Figure
        For a class ``precision`` (share of the rows answered with it that are of it), ``recall`` (share of its rows
        that were answered with it) and ``f1`` (the harmonic mean of the two), each 0 where there are no such rows;
        and where some rows are of it and others are not, ``roc_auc`` and ``average_precision``. For a target those of
        :func:`evaluate_regression`.
    """

    name: str
    support: int
    figures: dict[str, Figure]

    @property
    def precision(self) -> Figure:
        """Share of the rows answered with the class that are of it."""
        return self.figures["precision"]

    @property
    def recall(self) -> Figure:
        """Share of the rows of the class that were answered with it."""
        return self.figures["recall"]

    @property
    def f1(self) -> Figure:
        """Harmonic mean of precision and recall."""
        return self.figures["f1"]


@dataclass(frozen=True)
class Evaluation:
    """Figures of a head's answers to rows whose truth is known.

    Attributes
    ----------
    task : {"classification", "multilabel", "regression"}
        What was to be answered.
    n : int
        Rows.
    figures : dict of str to Figure
        Each with its 95 % interval. A figure that the rows do not define, such as the ROC-AUC of one class, is absent.
    per_class : tuple of ClassFigures
        One for each of `classes`, in their order; none in a regression of one target, which has no parts.
    confusion : tuple of tuple of int, or None
        In a classification: rows are true classes, columns the answers.
    classes : tuple of str
        Names of the classes or targets.
    """

    task: str
    n: int
    figures: dict[str, Figure]
    per_class: tuple[ClassFigures, ...]
    confusion: tuple[tuple[int, ...], ...] | None
    classes: tuple[str, ...]

    @property
    def headline(self) -> tuple[str, Figure]:
        """Name and value of the figure to go by: accuracy, mean average precision or R²; the first if that is none."""
        name = HEADLINES[self.task]
        return (name, self.figures[name]) if name in self.figures else next(iter(self.figures.items()))

    @property
    def accuracy(self) -> float:
        """Share of right answers, in a classification."""
        return self.figures["accuracy"].value

    @property
    def accuracy_interval(self) -> tuple[float, float]:
        """95 % Wilson score interval of the accuracy."""
        return self.figures["accuracy"].low, self.figures["accuracy"].high

    @property
    def macro_f1(self) -> float:
        """Mean of F1 over the classes that occur among the rows or the answers."""
        return self.figures["macro_f1"].value

    @property
    def log_loss(self) -> float | None:
        """Mean of ``-log(probability of the truth)`` in nats; None if the scores were no probabilities."""
        return self.figures["log_loss"].value if "log_loss" in self.figures else None

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as dicts, lists, text and numbers, ready for JSON."""
        return {
            "task": self.task,
            "n": self.n,
            "figures": _as_dicts(self.figures),
            "per_class": [
                {"name": row.name, "support": row.support, **_as_dicts(row.figures)} for row in self.per_class
            ],
            "confusion": None if self.confusion is None else [list(row) for row in self.confusion],
            "classes": list(self.classes),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Evaluation":
        """Read what :meth:`to_dict` gave, also after a way through JSON.

        What featx 0.1 wrote (figures without intervals) is judged anew by its confusion matrix. That does not tell how
        the losses of the rows spread: the interval of such a log loss is all that a log loss can be.

        Raises
        ------
        ParameterError
            The values are not those of an evaluation.
        """
        try:
            if "task" not in values:
                from featx.evaluation._classification import evaluate_confusion

                return evaluate_confusion(values["confusion"], classes=values["classes"], log_loss=values["log_loss"])
            if values["task"] not in HEADLINES:
                raise ValueError(f"task {values['task']!r}")
            return cls(
                task=values["task"],
                n=int(values["n"]),
                figures=_as_figures(values["figures"]),
                per_class=tuple(
                    ClassFigures(
                        name=str(row["name"]),
                        support=int(row["support"]),
                        figures=_as_figures({key: row[key] for key in row if key not in ("name", "support")}),
                    )
                    for row in values["per_class"]
                ),
                confusion=None
                if values["confusion"] is None
                else tuple(tuple(int(count) for count in row) for row in values["confusion"]),
                classes=tuple(str(name) for name in values["classes"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ParameterError(
                f"values must be those of Evaluation.to_dict, and are not ({type(error).__name__}: {error})"
            ) from error


def _as_dicts(figures: Mapping[str, Figure]) -> dict[str, dict[str, float]]:
    return {name: asdict(figure) for name, figure in figures.items()}


def _as_figures(values: Mapping[str, Mapping[str, Any]]) -> dict[str, Figure]:
    return {
        str(name): Figure(*(float(figure[bound]) for bound in ("value", "low", "high")))
        for name, figure in values.items()
    }
