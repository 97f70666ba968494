"""Search by Optuna: the next setting is drawn from what the earlier ones came to."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from featx.errors import MissingDependencyError
from featx.fitting._contest import Result
from featx.fitting._grids import Grid
from featx.fitting._trials import Setting

__all__ = ["search_by_optuna"]


def search_by_optuna(
    head: str, grid: Grid, judge: Callable[[Setting], Result | None], *, trials: int, seed: int
) -> list[Result]:
    """Try settings of one head that a tree-structured Parzen estimator proposes [1]_.

    Parameters
    ----------
    head : str
    grid : mapping
        Values of each parameter. Two numbers or more are the ends of a range, searched on a logarithmic scale where
        all are positive and the largest is more than ten times the smallest; anything else is a list of choices.
    judge : callable
        From a setting to how it does; None where it cannot be judged.
    trials : int
        Settings to propose. Equal arguments propose the same ones again, so that a search that remembers its trials
        goes on from where it was.
    seed : int

    Returns
    -------
    list of Result
        Of each setting that could be judged, in the order proposed.

    Raises
    ------
    MissingDependencyError
        If Optuna is not installed.

    References
    ----------
    .. [1] T. Akiba et al. (2019), "Optuna: a next-generation hyperparameter optimization framework", KDD.
    """
    try:
        import optuna
    except ImportError as error:
        raise MissingDependencyError(
            "search 'optuna' needs Optuna, which is not installed: pip install 'featx[optuna]', or search a grid"
        ) from error
    found: dict[str, Result | None] = {}
    with _silent(optuna):
        study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
        for _ in range(trials):
            trial = study.ask()
            setting = Setting(head, {key: _suggest(trial, key, values) for key, values in grid.items()})
            if setting.text not in found:
                found[setting.text] = judge(setting)
            result = found[setting.text]
            if result is None:
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
            else:
                study.tell(trial, result.score.value)
    return [result for result in found.values() if result is not None]


def _suggest(trial: Any, key: str, values: Sequence[Any]) -> Any:
    numbers = [value for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
    if len(numbers) < len(values) or len(values) < 2:
        return values[trial.suggest_categorical(key, tuple(range(len(values))))]
    low, high = min(numbers), max(numbers)
    log = low > 0 and high > 10 * low
    if all(isinstance(number, int) for number in numbers):
        return trial.suggest_int(key, low, high, log=log)
    return float(f"{trial.suggest_float(key, float(low), float(high), log=log):.4g}")  # more nobody wants to read


@contextmanager
def _silent(optuna: Any) -> Iterator[None]:
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)
