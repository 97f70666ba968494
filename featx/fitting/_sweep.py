"""Sweep heads, their parameters and seeds by cross-validation, and fit the best."""

import functools
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from featx.errors import HeadError, ParameterError
from featx.fitting._contest import Contest, Progress, Result
from featx.fitting._fit import fit_head
from featx.fitting._grids import GridLike, grids_of, product_of
from featx.fitting._ground import Ground, RowChoice, forget_grounds
from featx.fitting._optuna import search_by_optuna
from featx.fitting._run import Run, runs_folder
from featx.fitting._selection import Step, select_stores
from featx.fitting._stores import StoreLike, open_stores
from featx.fitting._trials import Setting, TrialFile
from featx.store import FeatureStore

__all__ = ["SWEEPS", "TRIALS", "Join", "Progress", "Search", "Sweep", "sweep", "sweep_folder"]

SWEEPS = "sweeps"
"""Folder of the sweeps, among the runs."""

TRIALS = "trials.jsonl"
"""File of a sweep's trials, in its folder."""

Join = Literal["all", "auto", "each"]
Search = Literal["grid", "optuna"]

_MAX_BYTES = 120


@dataclass(frozen=True, eq=False)
class Sweep:
    """What :func:`sweep` found.

    Attributes
    ----------
    name : str
        Of the stores, and a digest of their contents and of the choice of rows.
    folder : Path
        Where the trials are.
    folds : int
    seeds : tuple of int
    results : tuple of Result
        Of every setting, the best first.
    steps : tuple of Step
        With ``join="auto"``, the sets of stores that were looked at.
    failures : tuple of (str, str, str)
        Head, parameters, and why they could not be judged.
    tried : int
        Settings tried on all sets of stores.
    known : int
        Trials that an earlier sweep had finished.
    run : Run
        The best, fitted on all training rows.
    """

    name: str
    folder: Path
    folds: int
    seeds: tuple[int, ...]
    results: tuple[Result, ...]
    steps: tuple[Step, ...]
    failures: tuple[tuple[str, str, str], ...]
    tried: int
    known: int
    run: Run = field(repr=False)

    @property
    def best(self) -> Result:
        """The result of the highest mean."""
        return self.results[0]

    def to_dict(self) -> dict[str, Any]:
        """Return all but the run, as JSON can hold it."""
        return {
            "name": self.name,
            "folder": str(self.folder),
            "folds": self.folds,
            "seeds": list(self.seeds),
            "figure": self.best.figure,
            "results": [
                {
                    "stores": list(result.stores),
                    "head": result.setting.head,
                    "params": dict(result.setting.params),
                    **vars(result.score),
                    "std": result.std,
                    "values": list(result.values),
                    "n": result.n,
                    "seconds": result.seconds,
                    "warnings": list(result.warnings),
                }
                for result in self.results
            ],
            "steps": [
                {
                    "stores": list(step.stores),
                    **vars(step.score),
                    "gain": None if step.gain is None else vars(step.gain),
                    "taken": step.taken,
                }
                for step in self.steps
            ],
            "failures": [{"head": head, "params": params, "reason": reason} for head, params, reason in self.failures],
            "tried": self.tried,
            "known": self.known,
        }


def sweep(
    stores: StoreLike | Sequence[StoreLike],
    heads: str | Sequence[str] = "logistic",
    grid: GridLike | None = None,
    *,
    seeds: Sequence[int] = (0,),
    cv: int = 5,
    search: Search = "grid",
    trials: int = 30,
    join: Join = "all",
    train: str | None = None,
    val: str | float | None = None,
    test: str | None = None,
    jobs: int | None = None,
    backend: str | None = None,
    watch: Callable[[Progress], None] | None = None,
    cache: str | os.PathLike[str] | None = None,
) -> Sweep:
    """Judge settings of heads by cross-validation on the training rows, and fit the best on all of them.

    Each finished trial (a setting under a seed) is written to ``runs/sweeps/NAME/trials.jsonl`` at once: a sweep that
    was killed goes on from there, and a wider one computes only what is new.

    Parameters
    ----------
    stores : str, path, FeatureStore or a sequence of them
        Files, or names of stores in the cache, of the same samples.
    heads : str or sequence of str
        As :func:`~featx.fitting.fit_head` takes one.
    grid : mapping, optional
        Values by parameter, ``{"C": [0.1, 1]}``, for every head that has it, or by head, ``{"knn": {"n_neighbors":
        [5, 10]}}``. A head's other parameters keep their default grid; a list of one value fixes one.
    seeds : sequence of int
        Each draws folds of its own, and is the heads' seed. A setting's figure is the mean over all.
    cv : int
        Number of folds: each class in its proportion, the same image or group never on both sides.
    search : {"grid", "optuna"}
        Every combination, or what Optuna proposes between the grid's smallest and largest values.
    trials : int
        With Optuna, the settings it proposes for each head.
    join : {"all", "auto", "each"}
        What to do with several stores: join their features, join those that help (chosen by cross-validation with the
        first head, see :func:`~featx.fitting._selection.select_stores`), or try each alone.
    train, val, test : optional
        As in :func:`~featx.fitting.fit_head`. Rows for validation and test take no part; none are drawn for validation
        unless `val` is a fraction.
    jobs : int, optional
        Workers for the heads that cannot be fitted many at once; -1 for one on each core. By default as joblib is
        configured, else one; with Ray, one on each processor of the cluster.
    backend : str, optional
        Of joblib: ``loky``, ``threading``, ``ray`` (on the cluster at the environment's ``RAY_ADDRESS``, else on one of
        this machine alone, which ends afterwards), or any that is registered. Workers open the stores by their paths.
    watch : callable, optional
        Called with a :class:`~featx.fitting._contest.Progress` after each trial.
    cache : path, optional
        Where stores are looked for by name.

    Returns
    -------
    Sweep
        Its `run` is the best setting's, not yet saved. It has been cross-validated once more, under the first seed,
        for all its figures; they are those of the winner, and so better than the truth, as its notes say.

    Raises
    ------
    FeatxError
        In one sentence: what, by which rule, and what to do. A setting that cannot be fitted is no error but a
        failure, unless there is no other.
    """
    heads = [heads] if isinstance(heads, str) else list(heads)
    seeds = _checked_seeds(seeds)
    for parameter, value, choices in (("search", search, get_args(Search)), ("join", join, get_args(Join))):
        if value not in choices:
            raise ParameterError(f"{parameter} must be one of {', '.join(choices)}; got {value!r}")
    if isinstance(trials, bool) or not isinstance(trials, int) or trials < 1:
        raise ParameterError(f"trials must be a whole number of at least 1; got {trials!r}")
    opened = tuple(open_stores(stores, cache))
    # the seed is of the rows drawn for validation, and of nothing where there are none
    choice = RowChoice(train, val, test, seed=0 if val is None else seeds[0])
    folder = sweep_folder(opened, choice)
    name = folder.name
    contest = Contest(cv, seeds, TrialFile(folder / TRIALS), jobs, backend, watch)
    try:
        first = Ground(opened if join == "all" else opened[:1], choice)
        smallest = min(len(rows) for rows, _ in first.folds(cv, seeds[0]))
        grids = grids_of(heads, grid, task=first.table.task, n=smallest)

        @functools.cache
        def results_on(joined: tuple[FeatureStore, ...], names: tuple[str, ...]) -> list[Result]:
            ground = Ground(joined, choice)
            if search == "optuna":
                judge = functools.partial(_judge_one, contest, ground)
                searches = (search_by_optuna(head, grids[head], judge, trials=trials, seed=seeds[0]) for head in names)
                return [result for found in searches for result in found]
            judged = contest.judge(ground, [setting for head in names for setting in product_of(head, grids[head])])
            return [result for result in judged if result is not None]

        steps: list[Step] = []
        sets, groups = [(store,) for store in opened] if join == "each" else [opened], [tuple(grids)]
        if join == "auto":
            groups = [tuple(grids)[:1], tuple(grids)[1:]]
            chosen, steps = select_stores(opened, lambda joined: _best(results_on(joined, groups[0])), cv)
            sets = [chosen]
        found = [(joined, result) for joined in sets for names in groups for result in results_on(joined, names)]
    finally:
        forget_grounds()
    failures = tuple((*setting, reason) for setting, reason in contest.failures.items())
    if not found:
        raise HeadError(failures[0][2])
    found.sort(key=lambda pair: -pair[1].score.value)  # stable: of equals the first
    tried = contest.total // len(seeds)
    return Sweep(
        name=name,
        folder=folder,
        folds=cv,
        seeds=seeds,
        results=tuple(result for _, result in found),
        steps=tuple(steps),
        failures=failures,
        tried=tried,
        known=contest.known,
        run=_fit_best(
            *found[0],
            {"name": name, "tried": tried},
            train=train,
            val=val,
            test=test,
            cv=cv,
            seed=seeds[0],
        ),
    )


def _fit_best(joined: Sequence[FeatureStore], result: Result, origin: dict[str, Any], **rows: Any) -> Run:
    run = fit_head(list(joined), result.setting.head, result.setting.params, **rows)
    note = (
        f"chosen among {origin['tried']} settings by cross-validation, so that its cv figures are optimistic: judge the"
        " run on a test split"
    )
    return replace(run, settings={**run.settings, "sweep": origin}, notes=(*run.notes, note))


def _judge_one(contest: Contest, ground: Ground, setting: Setting) -> Result | None:
    return contest.judge(ground, [setting])[0]


def _best(results: Sequence[Result]) -> Result | None:
    return max(results, key=lambda result: result.score.value, default=None)


def _checked_seeds(seeds: Sequence[int]) -> tuple[int, ...]:
    found = tuple(seeds)
    if not found or len(set(found)) < len(found) or any(type(seed) is not int or seed < 0 for seed in found):
        raise ParameterError(f"seeds must be different whole numbers of at least 0; got {list(found)!r}")
    return found


def sweep_folder(stores: Sequence[FeatureStore], choice: RowChoice) -> Path:
    """Return where the trials on some rows of stores are kept."""
    words = re.sub(r"[^\w+\-]+", "_", "+".join(store.name for store in stores)).strip("-_").encode()[:_MAX_BYTES]
    return runs_folder() / SWEEPS / f"{words.decode(errors='ignore')}-{Ground(tuple(stores), choice).digest[:8]}"
