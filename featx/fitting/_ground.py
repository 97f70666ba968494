"""What trials are judged on: rows of stores, divided into folds, the same in every process that asks."""

import math
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.evaluation import folds_for
from featx.fitting._answers import Answers, ask
from featx.fitting._split import Rows, choose_rows
from featx.fitting._stores import joined_defaults
from featx.fitting._table import Table, join_stores, take
from featx.spec import digest_of
from featx.store import FeatureStore, LazyArray

__all__ = ["Ground", "RowChoice", "answers_to", "forget_grounds", "headline", "part_of"]

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class RowChoice:
    """Which rows are for training and which are kept out, in the words of :func:`~featx.fitting.fit_head`.

    Parameters
    ----------
    train, test : str, optional
    val : str or float, optional
    seed : int
    need_val : bool
        Whether there must be rows to judge on, so that some are drawn where the stores have no split for that.
    """

    train: str | None = None
    val: str | float | None = None
    test: str | None = None
    seed: int = 0
    need_val: bool = False


@dataclass(frozen=True, eq=False)
class Ground:
    """Stores, and which of their rows are training rows.

    It pickles as the stores' paths, and equals another of the same contents: a process that is given many tasks on
    it maps (or joins) the features once.

    Parameters
    ----------
    stores : tuple of FeatureStore
    choice : RowChoice
    """

    stores: tuple[FeatureStore, ...]
    choice: RowChoice = RowChoice()

    @cached_property
    def digest(self) -> str:
        """SHA-256 hex digest of the stores' contents and the choice of rows."""
        return digest_of({"stores": [store.checksum for store in self.stores], "rows": vars(self.choice)})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ground) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the stores; where two have one name, with the nodes that they hold."""
        names = [store.name for store in self.stores]
        return tuple(
            name if names.count(name) == 1 else f"{name}:{store.spec.layer}"
            for name, store in zip(names, self.stores, strict=True)
        )

    def defaults(self, head: str) -> dict[str, Any]:
        """Return what the parameters of a head begin with."""
        return joined_defaults(head, self.stores)

    @property
    def table(self) -> Table:
        """The features and what is to be learned."""
        return _prepared(self)[0]

    @property
    def rows(self) -> Rows:
        """Rows for training, and those that are kept out."""
        return _prepared(self)[1]

    def folds(self, count: int, seed: int) -> list[tuple[Indices, Indices]]:
        """Return training and held-out rows of each fold of the training rows; no image or group is in both."""
        table, rows = self.table, self.rows.train
        parts = folds_for(table.task, table.targets[rows], count, groups=table.groups[rows], seed=seed)
        return [(rows[train], rows[held_out]) for train, held_out in parts]

    def __reduce__(self) -> tuple[Any, ...]:
        return Ground, (self.stores, self.choice)


@lru_cache(maxsize=2)
def _prepared(ground: Ground) -> tuple[Table, Rows]:
    table = join_stores(ground.stores)
    if isinstance(table.features, LazyArray):  # every fit would fetch them again
        table = replace(table, features=table.features[:])
    choice = ground.choice
    rows = choose_rows(
        table, train=choice.train, val=choice.val, test=choice.test, seed=choice.seed, need_val=choice.need_val
    )
    return table, rows


def forget_grounds() -> None:
    """Let go of the features that this process holds."""
    _prepared.cache_clear()


def part_of(table: Table, rows: Indices) -> Table:
    """Return some rows of a table as a table of its own."""
    return replace(
        table,
        features=take(table.features, rows),
        targets=table.targets[rows],
        known=table.known[rows],
        splits=table.splits[rows],
        digests=table.digests[rows],
        groups=table.groups[rows],
        keys=tuple(table.keys[row] for row in rows.tolist()),
    )


def answers_to(head: Any, part: Table) -> Answers:
    """Return a fitted head's answers to all rows of a table."""
    return ask(head, part, np.arange(len(part)), truth=part.targets, k=len(part.classes))


def headline(answers: Answers) -> tuple[str, float]:
    """Return name and value of the figure to go by, as :attr:`~featx.evaluation.Evaluation.headline` has them.

    Without the interval and the other figures, which take longer than many a fit; nan where the rows do not define it.
    """
    truth, scores = answers.truth, answers.scores
    if answers.task == "classification":
        return "accuracy", float((scores.argmax(axis=1) == truth).mean())
    from sklearn.metrics import average_precision_score, r2_score

    if answers.task == "regression":
        return "r2", float(r2_score(truth, scores)) if len(truth) > 1 else math.nan
    mixed = truth.any(axis=0) & ~truth.all(axis=0)
    value = float(average_precision_score(truth[:, mixed], scores[:, mixed])) if mixed.any() else math.nan
    return "mean_average_precision", value
