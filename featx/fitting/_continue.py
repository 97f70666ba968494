"""Go on with the training of a net that was saved."""

import os
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from featx.errors import ParameterError
from featx.fitting._evaluate import own_stores
from featx.fitting._fit import concluded, fit_watched
from featx.fitting._run import Run
from featx.fitting._split import Rows, rows_by_key
from featx.fitting._stores import StoreLike, open_stores
from featx.fitting._table import Table, join_stores
from featx.spec import require_same_spec

__all__ = ["continue_fit"]


def continue_fit(
    run: Run | str | os.PathLike[str],
    stores: StoreLike | Sequence[StoreLike] | None = None,
    params: Mapping[str, Any] | None = None,
    *,
    cache: str | os.PathLike[str] | None = None,
) -> Run:
    """Train a run's net for more epochs, on the rows it was trained on, watched by the rows that watched it.

    Parameters
    ----------
    run : Run, str or path
        Or the folder or name of one, of a head that learns in epochs. It stays as it is.
    stores : str, path, FeatureStore or a sequence of them, optional
        Where its samples are now; by default where they were.
    params : mapping, optional
        Parameters of the head that are to be others from here on, such as ``max_epochs`` and ``learning_rate``.
    cache : path, optional
        Where stores are looked for by name.

    Returns
    -------
    Run
        Its history begins with that of `run`. The optimizer's memory is not kept in files: a net from a folder
        starts with a new one.

    Raises
    ------
    ParameterError
        If the head does not learn in epochs, was trained with its network, a parameter does not exist, or samples of
        the run are missing.
    SpecMismatchError
        If the features are not of the run's spec.
    """
    run = Run.load(run)
    if run.network is not None:
        raise ParameterError(
            f"run must be of a head alone to go on; {run.name} holds a network that was trained with it: go on with"
            " `featx fine-tune SOURCE --init-head RUN`"
        )
    if not hasattr(run.head, "warm_start"):
        raise ParameterError(
            f"run must be of a net, which learns in epochs, to go on; its head is {run.settings['head']!r}"
            f"{', calibrated' if 'calibrate' in run.settings else ''}: fit it anew"
        )
    opened = own_stores(run) if stores is None else open_stores(stores, cache)
    for spec, store in zip(run.specs, opened, strict=True):
        require_same_spec(spec, store.spec, what=f"store {store.path.name}")
    table = join_stores(opened)
    estimator = deepcopy(run.head)
    unknown = set(params or {}) - set(estimator.get_params())
    if unknown:
        raise ParameterError(
            f"head {run.settings['head']!r} has no parameter {min(unknown)!r};"
            f" it has {', '.join(sorted(estimator.get_params()))}"
        )
    estimator.set_params(**{**(params or {}), "warm_start": True})
    settings = {key: run.settings[key] for key in ("head", "seed")}
    settings |= {"params": {**run.settings["params"], **(params or {})}, "continues": run.name}
    rows = _rows(run, table)
    return concluded(estimator, opened, table, rows, fit_watched(estimator, table, rows), settings, answers={})


def _rows(run: Run, table: Table) -> Rows:
    """Return the rows of a run's samples."""
    if table.task != run.task or table.classes != run.classes:
        raise ParameterError("stores must have the classes or targets that the run was trained on, and have others")
    return rows_by_key(table, run.keys, run.settings["rows"])
