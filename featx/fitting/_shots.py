"""Few-shot: how good a head is when it is given a handful of samples of each class."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.errors import HeadError, ParameterError, first_line
from featx.evaluation import Figure
from featx.fitting._grids import GridLike, grids_of, product_of
from featx.fitting._ground import Ground, RowChoice, answers_to, forget_grounds, headline, part_of
from featx.fitting._stores import StoreLike, open_stores
from featx.fitting._table import Table
from featx.fitting._trials import Setting, mean_figure
from featx.heads import fit_head, fit_many, make_head

__all__ = ["FewShot", "ShotResult", "few_shot"]

Indices = npt.NDArray[np.int64]

_NEIGHBORS = 10


@dataclass(frozen=True)
class ShotResult:
    """A setting of a head, fitted on some samples of each class.

    Attributes
    ----------
    setting : Setting
    shots : int
        Samples of each class.
    score : Figure
        Mean accuracy on the validation rows, with Student's 95 % interval over the draws: how it would come out on
        the same rows with other draws.
    values : tuple of float
        The accuracy of each draw.
    seconds : float
        For all draws.
    """

    setting: Setting
    shots: int
    score: Figure
    values: tuple[float, ...]
    seconds: float


@dataclass(frozen=True)
class FewShot:
    """What :func:`few_shot` found.

    Attributes
    ----------
    stores : tuple of str
    n : int
        Validation rows.
    rows : str
        Which those are, in words.
    repeats : int
    results : tuple of ShotResult
        By head and setting, in the order asked for, then by shots.
    failures : tuple of (str, str, str)
        Head, parameters and shots, and why it could not be judged.
    """

    stores: tuple[str, ...]
    n: int
    rows: str
    repeats: int
    results: tuple[ShotResult, ...]
    failures: tuple[tuple[str, str, str], ...]

    def to_dict(self) -> dict[str, Any]:
        """Return everything, as JSON can hold it."""
        return {
            "stores": list(self.stores),
            "n": self.n,
            "rows": self.rows,
            "repeats": self.repeats,
            "figure": "accuracy",
            "results": [
                {
                    "head": result.setting.head,
                    "params": dict(result.setting.params),
                    "shots": result.shots,
                    **vars(result.score),
                    "values": list(result.values),
                    "seconds": result.seconds,
                }
                for result in self.results
            ],
            "failures": [{"head": head, "params": params, "reason": reason} for head, params, reason in self.failures],
        }


def few_shot(
    stores: StoreLike | Sequence[StoreLike],
    heads: str | Sequence[str] = "logistic",
    grid: GridLike | None = None,
    *,
    shots: Sequence[int] = (1, 5, 10),
    repeats: int = 20,
    seed: int = 0,
    train: str | None = None,
    val: str | float | None = None,
    test: str | None = None,
    cache: str | os.PathLike[str] | None = None,
) -> FewShot:
    """Fit heads on a few training samples of each class, drawn again and again, and judge them on the validation rows.

    Parameters
    ----------
    stores, heads
        As in :func:`~featx.fitting.sweep`.
    grid : mapping, optional
        As there, but without defaults: heads have their own. kNN asks for no more neighbours than there are shots,
        unless the grid says how many.
    shots : sequence of int
        Samples of each class.
    repeats : int
        Draws. The same for every setting; and those of few shots are part of those of more, so that what differs is
        the number, not the luck.
    seed : int
        Of the draws, the rows for validation, and the heads.
    train, val, test, cache
        As in :func:`~featx.fitting.sweep`. Without a split for validation a fraction of the training rows is drawn for
        it. Test rows take no part.

    Returns
    -------
    FewShot

    Raises
    ------
    ParameterError
        If the samples have no classes, a class has fewer different images (or groups) than shots, or an argument is
        wrong.
    HeadError
        If no setting can be fitted.
    """
    heads = [heads] if isinstance(heads, str) else list(heads)
    shots = _checked(shots, repeats)
    ground = Ground(tuple(open_stores(stores, cache)), RowChoice(train, val, test, seed=seed, need_val=True))
    try:
        table, rows = ground.table, ground.rows
        if table.task != "classification":
            raise ParameterError(
                f"shots are samples of each class, and need classes; the store has {table.task} targets"
            )
        if "val" not in rows.held_out:
            raise ParameterError("shots are judged on the validation rows, and there are none: set val")
        judge_on = part_of(table, rows.held_out["val"])
        draws = [_draw(table, rows.train, shots, np.random.default_rng((seed, repeat))) for repeat in range(repeats)]
        pool = np.unique(np.concatenate([drawn[max(shots)] for drawn in draws]))
        few = part_of(table, pool)
        positions = {count: [np.searchsorted(pool, drawn[count]) for drawn in draws] for count in shots}
        grids = grids_of(heads, grid, task=table.task, n=None)
        results, failures = [], []
        for setting in (setting for head in grids for setting in product_of(head, grids[head])):
            for count in shots:
                fitting = _fitting(setting, count)
                try:
                    results.append(_judge(ground, fitting, count, few, positions[count], judge_on, seed))
                except HeadError as error:
                    failures.append((fitting.head, f"{fitting.text} shots={count}".strip(), first_line(error)))
    finally:
        forget_grounds()
    if not results:
        raise HeadError(failures[0][2])
    return FewShot(ground.names, len(judge_on), rows.origin["val"], repeats, tuple(results), tuple(failures))


def _checked(shots: Sequence[int], repeats: int) -> tuple[int, ...]:
    for parameter, values in (("shots", tuple(shots)), ("repeats", (repeats,))):
        if not values or any(type(value) is not int or value < 1 for value in values):
            raise ParameterError(f"{parameter} must be whole numbers of at least 1; got {list(values)!r}")
    return tuple(dict.fromkeys(shots))


def _fitting(setting: Setting, shots: int) -> Setting:
    if setting.head != "knn" or "n_neighbors" in setting.params:
        return setting
    return Setting(setting.head, {**setting.params, "n_neighbors": min(shots, _NEIGHBORS)})


def _draw(table: Table, rows: Indices, shots: Sequence[int], generator: np.random.Generator) -> Mapping[int, Indices]:
    """Return for each number of shots as many rows of each class, of each image and group one at most."""
    drawn = generator.permutation(rows)
    _, first = np.unique(table.groups[drawn], return_index=True)
    single = drawn[np.sort(first)]
    labels = table.targets[single]
    of_class = [single[labels == label] for label in np.unique(table.targets[rows])]
    for label, mine in zip(np.unique(table.targets[rows]).tolist(), of_class, strict=True):
        if len(mine) < max(shots):
            raise ParameterError(
                f"shots must be at most {len(mine)}, the different images (or groups) of the smallest class"
                f" ({table.classes[label]!r}) in the training rows; got {max(shots)}"
            )
    return {count: np.sort(np.concatenate([mine[:count] for mine in of_class])) for count in shots}


def _judge(
    ground: Ground, setting: Setting, shots: int, few: Table, rows: Sequence[Indices], judge_on: Table, seed: int
) -> ShotResult:
    start = time.perf_counter()
    params = {**ground.defaults(setting.head), **setting.params}
    heads = [make_head(setting.head, params, seed=seed, task=few.task) for _ in rows]
    if few.views:
        for head, mine in zip(heads, rows, strict=True):
            fit_head(head, few.features[mine], few.targets[mine], views=True)
    else:
        fit_many(heads, few.features, few.targets, rows)
    values = tuple(headline(answers_to(head, judge_on))[1] for head in heads)
    return ShotResult(setting, shots, mean_figure(values, "accuracy"), values, time.perf_counter() - start)
