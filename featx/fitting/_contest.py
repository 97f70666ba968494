"""Judge settings of heads by cross-validation: many at once, over the cores, and each only once in a lifetime."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from featx.errors import FeatxError, first_line
from featx.evaluation import Figure
from featx.fitting._ground import Ground, answers_to, headline, part_of
from featx.fitting._table import take
from featx.fitting._trials import Setting, Trial, TrialFile, fold_figure
from featx.fitting._workers import workers
from featx.heads import fit_head, fit_many, make_head
from featx.spec import canonical_json, digest_of

__all__ = ["Contest", "Progress", "Result"]

_WIDTH = 1 << 25
"""Coefficients that are fitted together at most: 128 MiB in float32, of which a solver keeps some copies."""


@dataclass(frozen=True)
class Result:
    """A setting of a head on some stores, and how it did under all seeds.

    Attributes
    ----------
    stores : tuple of str
    setting : Setting
    figure : str
        Name of the figure.
    score : Figure
        Mean of the folds' figures with its 95 % interval.
    std : float
        Standard deviation of the folds' figures.
    values : tuple of float
        The folds' figures, seed by seed.
    n : int
        Rows that were divided into folds.
    seconds : float
        For all folds and seeds.
    warnings : tuple of str
    """

    stores: tuple[str, ...]
    setting: Setting
    figure: str
    score: Figure
    std: float
    values: tuple[float, ...]
    n: int
    seconds: float
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Progress:
    """How far a sweep is: told after each trial.

    Attributes
    ----------
    trial : Trial or None
        What was just finished; None for one that failed.
    done, total : int
        Trials finished, and asked for so far.
    known : int
        Of those finished, how many were remembered from an earlier sweep.
    """

    trial: Trial | None
    done: int
    total: int
    known: int


@dataclass(frozen=True)
class _Judged:
    """What became of a trial, or of one fold of it."""

    figure: str
    values: tuple[float, ...]
    seconds: float
    warnings: tuple[str, ...]


Case = tuple[Setting, int]
"""A setting and a seed."""


@dataclass(eq=False)
class Contest:
    """The rules by which settings are judged, and the trials that were.

    Parameters
    ----------
    folds : int
    seeds : tuple of int
        Each draws folds of its own, and is the heads' seed.
    file : TrialFile
    jobs, backend : optional
        As :func:`~featx.fitting._workers.workers` takes them.
    watch : callable, optional
        Called with a :class:`Progress` after each trial.

    Attributes
    ----------
    failures : dict of (str, str) to str
        Why a setting could not be judged, by its head and its parameters as text.
    done, total, known : int
        Trials finished, asked for, and remembered from an earlier sweep.
    """

    folds: int
    seeds: tuple[int, ...]
    file: TrialFile
    jobs: int | None = None
    backend: str | None = None
    watch: Callable[[Progress], None] | None = None
    failures: dict[tuple[str, str], str] = field(default_factory=dict, init=False)
    done: int = field(default=0, init=False)
    total: int = field(default=0, init=False)
    known: int = field(default=0, init=False)

    def judge(self, ground: Ground, settings: Sequence[Setting]) -> list[Result | None]:
        """Return for each setting how it does; None for one that failed."""
        cases = [(setting, seed) for setting in settings for seed in self.seeds]
        keys = [self._key(ground, *case) for case in cases]
        trials = [self.file.get(key) for key in keys]
        self.total += len(cases)
        for trial in trials:
            if trial is not None:
                self.known += 1
                self._tell(trial)
        missing = [i for i, trial in enumerate(trials) if trial is None]
        for i, judged in self._outcomes(ground, cases, missing):
            setting, seed = cases[i]
            if isinstance(judged, str):
                self.failures[setting.head, setting.text] = judged
                self._tell(None)
                continue
            trial = Trial(
                stores=ground.names,
                head=setting.head,
                params=dict(setting.params),
                seed=seed,
                figure=judged.figure,
                values=judged.values,
                n=len(ground.rows.train),
                seconds=judged.seconds,
                warnings=judged.warnings,
            )
            self.file.add(keys[i], trial)
            trials[i] = trial
            self._tell(trial)
        each = len(self.seeds)
        return [self._result(setting, trials[i * each : (i + 1) * each]) for i, setting in enumerate(settings)]

    def _key(self, ground: Ground, setting: Setting, seed: int) -> str:
        """Return what a trial depends on: also the head's defaults, so that a changed one makes another trial."""
        params = _make(ground, setting, seed).get_params()
        return digest_of(
            {
                "ground": ground.digest,
                "folds": self.folds,
                "head": setting.head,
                "params": {name: value for name, value in params.items() if _is_plain(value)},
                "seed": seed,
            }
        )

    def _tell(self, trial: Trial | None) -> None:
        self.done += 1
        if self.watch is not None:
            self.watch(Progress(trial, self.done, self.total, self.known))

    def _outcomes(
        self, ground: Ground, cases: Sequence[Case], missing: Sequence[int]
    ) -> Iterator[tuple[int, _Judged | str]]:
        """Yield, for the position of each missing case, what became of it, or why nothing did."""
        if not missing:
            return
        joint = [i for i in missing if not ground.table.views and hasattr(_make(ground, *cases[i]), "fit_many")]
        width = max(1, len(ground.table.classes)) * int(np.prod(ground.table.features.shape[1:])) * self.folds
        step = max(1, _WIDTH // width)
        for start in range(0, len(joint), step):
            batch = joint[start : start + step]
            yield from zip(batch, _judge_together(ground, [cases[i] for i in batch], self.folds), strict=True)
        yield from self._judge_apart(ground, cases, [i for i in missing if i not in set(joint)])

    def _judge_apart(
        self, ground: Ground, cases: Sequence[Case], positions: Sequence[int]
    ) -> Iterator[tuple[int, _Judged | str]]:
        """Judge each fold of each case by itself, over the workers."""
        from joblib import delayed

        tasks = [(i, fold) for i in positions for fold in range(self.folds)]
        if not tasks:
            return
        waiting: dict[int, dict[int, _Judged | str]] = {i: {} for i in positions}
        calls = (delayed(_judge_fold)(i, ground, cases[i], fold, self.folds) for i, fold in tasks)
        with workers(self.jobs, self.backend) as answers:
            for i, fold, judged in answers(calls):
                waiting[i][fold] = judged
                if len(waiting[i]) == self.folds:
                    yield i, _whole([waiting[i][each] for each in range(self.folds)])

    def _result(self, setting: Setting, trials: Sequence[Trial | None]) -> Result | None:
        done = [trial for trial in trials if trial is not None]
        if len(done) < len(trials):
            return None
        first = done[0]
        values = tuple(value for trial in done for value in trial.values)
        return Result(
            stores=first.stores,
            setting=setting,
            figure=first.figure,
            score=fold_figure(values, self.folds, first.figure),
            std=float(np.std(values, ddof=1)),
            values=values,
            n=first.n,
            seconds=sum(trial.seconds for trial in done),
            warnings=tuple(dict.fromkeys(warning for trial in done for warning in trial.warnings)),
        )


def _make(ground: Ground, setting: Setting, seed: int) -> Any:
    return make_head(
        setting.head, {**ground.defaults(setting.head), **setting.params}, seed=seed, task=ground.table.task
    )


def _is_plain(value: Any) -> bool:
    try:
        canonical_json(value)
    except (TypeError, ValueError):
        return False
    return True


def _judge_together(ground: Ground, cases: Sequence[Case], folds: int) -> list[_Judged | str]:
    """Fit all folds of all cases in the same sweeps over the features, and judge them."""
    start = time.perf_counter()
    table = ground.table
    parts = {seed: ground.folds(folds, seed) for _, seed in cases}
    heads = [[_make(ground, *case) for _ in range(folds)] for case in cases]
    rows = [train for _, seed in cases for train, _ in parts[seed]]
    judged: list[list[_Judged]] = [[] for _ in cases]
    try:
        reports = fit_many([head for group in heads for head in group], table.features, table.targets, rows)
        for seed, fold in ((seed, fold) for seed in parts for fold in range(folds)):
            held_out = part_of(table, parts[seed][fold][1])
            for i in (i for i, case in enumerate(cases) if case[1] == seed):
                figure, value = headline(answers_to(heads[i][fold], held_out))
                judged[i].append(_Judged(figure, (value,), 0.0, tuple(reports[i * folds + fold].warnings)))
    except FeatxError as error:
        if len(cases) == 1:
            return [first_line(error)]
        # one of them is at fault: the others shall not suffer for it
        return [outcome for case in cases for outcome in _judge_together(ground, [case], folds)]
    share = (time.perf_counter() - start) / len(cases)
    outcomes = [_whole(group) for group in judged]
    return [outcome if isinstance(outcome, str) else replace(outcome, seconds=share) for outcome in outcomes]


def _judge_fold(i: int, ground: Ground, case: Case, fold: int, folds: int) -> tuple[int, int, _Judged | str]:
    """Fit and judge a case on one fold: a worker's task."""
    start = time.perf_counter()
    table = ground.table
    train, held_out = ground.folds(folds, case[1])[fold]
    try:
        head = _make(ground, *case)
        report = fit_head(head, take(table.features, train), table.targets[train], views=table.views)
        figure, value = headline(answers_to(head, part_of(table, held_out)))
    except FeatxError as error:
        return i, fold, first_line(error)
    return i, fold, _Judged(figure, (value,), time.perf_counter() - start, tuple(report.warnings))


def _whole(parts: Sequence[_Judged | str]) -> _Judged | str:
    """Put the folds of a case together; the first reason why it failed, if it did."""
    done = []
    for part in parts:
        if isinstance(part, str):
            return part
        done.append(part)
    values = tuple(value for part in done for value in part.values)
    if not np.isfinite(values).all():
        return f"{done[0].figure} is not defined on every fold: ask for fewer folds"
    return _Judged(
        figure=done[0].figure,
        values=values,
        seconds=sum(part.seconds for part in done),
        warnings=tuple(dict.fromkeys(warning for part in done for warning in part.warnings)),
    )
