"""How the figure of a run's head goes with a parameter, as far as the sweep that chose it has tried."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featx.evaluation import Figure
from featx.fitting._run import Run, runs_folder
from featx.fitting._sweep import SWEEPS, TRIALS
from featx.fitting._trials import Trial, fold_figure, read_trials

__all__ = ["ParameterPath", "parameter_paths"]


@dataclass(frozen=True)
class ParameterPath:
    """Cross-validated figures of heads that differ in one parameter, such as the strength of the regularisation.

    Attributes
    ----------
    parameter : str
    figure : str
        Name of the figure: the task's headline.
    values : tuple of float
        Of the parameter, increasing.
    scores : tuple of Figure
        One for each, with its 95 % interval.
    chosen : float
        The run's value.
    """

    parameter: str
    figure: str
    values: tuple[float, ...]
    scores: tuple[Figure, ...]
    chosen: float


def parameter_paths(run: Run, folder: str | os.PathLike[str] | None = None) -> tuple[ParameterPath, ...]:
    """Return the path along each parameter of which the run's sweep tried several numbers, all else as in the run.

    Parameters
    ----------
    run : Run
    folder : path, optional
        Where the run is: its sweep is looked for where runs are kept, then beside the run.

    Returns
    -------
    tuple of ParameterPath
        None for a run that no sweep chose, or whose trials are gone.
    """
    if "sweep" not in run.settings:
        return ()
    places = [runs_folder(), *([] if folder is None else [Path(folder).parent])]
    files = [place / SWEEPS / run.settings["sweep"]["name"] / TRIALS for place in places]
    trials = next((found for file in files if (found := _alike(run, read_trials(file)))), [])
    chosen = max((trial.params for trial in trials if _is_within(trial.params, run)), key=len, default={})
    paths = (_path(name, chosen, trials) for name in chosen)
    return tuple(path for path in paths if path is not None)


def _alike(run: Run, trials: Iterable[Trial]) -> list[Trial]:
    """Return the trials of the run's head on its stores, over as many folds as it was judged by."""
    stores = tuple(store["name"] for store in run.settings["stores"])
    folds = run.cv["folds"] if run.cv else 0
    return [
        trial
        for trial in trials
        if (trial.head, trial.stores, len(trial.values)) == (run.settings["head"], stores, folds)
    ]


def _is_within(params: dict[str, Any], run: Run) -> bool:
    return all(name in run.settings["params"] and run.settings["params"][name] == params[name] for name in params)


def _path(name: str, chosen: dict[str, Any], trials: Iterable[Trial]) -> ParameterPath | None:
    others = {key: value for key, value in chosen.items() if key != name}
    found: dict[float, list[Trial]] = {}
    for trial in trials:
        value: Any = trial.params.get(name)
        rest = {key: value for key, value in trial.params.items() if key != name}
        if _is_number(value) and rest == others:
            found.setdefault(float(value), []).append(trial)
    if len(found) < 2 or not _is_number(chosen[name]):
        return None
    values = tuple(sorted(found))
    folds = [[fold for trial in found[value] for fold in trial.values] for value in values]
    figure, count = found[values[0]][0].figure, len(found[values[0]][0].values)
    scores = tuple(fold_figure(mine, count, figure) for mine in folds)
    return ParameterPath(name, figure, values, scores, float(chosen[name]))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
