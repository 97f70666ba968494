"""Which settings of which heads a sweep tries."""

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from featx.errors import HeadError, ParameterError, did_you_mean
from featx.fitting._trials import Setting
from featx.heads import make_head

__all__ = ["Grid", "GridLike", "grids_of", "product_of"]

Task = Literal["classification", "multilabel", "regression"]

Grid = Mapping[str, Sequence[Any]]
"""For each parameter the values to be tried."""

GridLike = Mapping[str, Sequence[Any] | Grid]
"""A grid for all heads, or by head (an empty name is of all)."""

# Powers of ten where a strength of regularisation is searched: its optimum is flat, and moves by orders of magnitude
# with the backbone and the number of rows. Standardised features make the ranges those of every backbone.
_DEFAULTS: dict[str, Grid] = {
    "logistic": {"C": (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)},
    "ridge": {"alpha": (0.1, 1.0, 10.0, 100.0, 1e3, 1e4, 1e5)},
    "linear_svm": {"C": (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)},
    "lda": {"shrinkage": ("auto", 0.01, 0.1, 0.5)},
    "gaussian_nb": {"var_smoothing": (1e-9, 1e-6, 1e-3, 1e-1)},
    "knn": {"n_neighbors": (1, 3, 5, 10, 20, 50)},
    "mlp": {"learning_rate": (3e-4, 1e-3, 3e-3)},
    "conv": {"learning_rate": (3e-4, 1e-3, 3e-3)},
}


def grids_of(
    heads: Sequence[str], grid: GridLike | None, *, task: Task, n: int | None
) -> dict[str, dict[str, list[Any]]]:
    """Return for each head the values of each parameter: its default grid, and over that what is given.

    Parameters
    ----------
    heads : sequence of str
    grid : mapping, optional
        Values by parameter, for every head that has it; or by head and parameter.
    task : {"classification", "multilabel", "regression"}
    n : int or None
        Rows that a head is fitted on at least: no default asks for more neighbours. None for no defaults.

    Raises
    ------
    ParameterError
        If there is no head or one is given twice, no head has a parameter of the grid, or it has no values.
    HeadError
        If there is no such head.
    """
    names = [_canonical(head) for head in heads]
    if not names or len(set(names)) < len(names):
        raise ParameterError(f"heads must be one or more, each once; got {', '.join(names) or 'none'}")
    grids = {}
    for name in names:
        make_head(name, task=task)
        grids[name] = {} if n is None else {key: list(values) for key, values in _DEFAULTS.get(name, {}).items()}
        if n is not None and name == "knn":
            grids[name]["n_neighbors"] = [k for k in grids[name]["n_neighbors"] if k <= n]
    for owner, given in _by_head(grid or {}).items():
        if owner and owner not in grids:
            raise ParameterError(
                f"grid must be of the heads that are tried ({', '.join(grids)}); got {owner!r}"
                f"{did_you_mean(owner, grids)}"
            )
        for key, values in given.items():
            listed = _checked(key, values)
            for name in [owner] if owner else _owners(key, listed[0], names, task):
                grids[name][key] = listed
    return grids


def product_of(head: str, grid: Grid) -> list[Setting]:
    """Return a setting for each combination of a grid's values; the last parameter varies fastest."""
    return [Setting(head, dict(zip(grid, values, strict=True))) for values in itertools.product(*grid.values())]


def _canonical(head: str) -> str:
    return head if "." in head else head.replace("-", "_")


def _by_head(grid: GridLike) -> dict[str, dict[str, Sequence[Any]]]:
    found: dict[str, dict[str, Sequence[Any]]] = {}
    for name, values in grid.items():
        owner, given = (_canonical(name), values) if isinstance(values, Mapping) else ("", {name: values})
        found.setdefault(owner, {}).update(given)
    # what is of one head is stronger than what is of all
    return dict(sorted(found.items(), key=lambda item: item[0] != ""))


def _checked(key: str, values: Any) -> list[Any]:
    """Return a grid's values, which must be such that a trial's file can hold them."""
    values = values.tolist() if isinstance(values, np.ndarray) else values
    if isinstance(values, str) or not isinstance(values, Sequence) or not values:
        raise ParameterError(f"grid must have a list of one value or more for {key!r}; got {values!r}")
    try:
        texts = [json.dumps(value, sort_keys=True, allow_nan=False) for value in values]
    except (TypeError, ValueError) as error:
        raise ParameterError(
            f"grid must have numbers, text, true, false, none or lists of such for {key!r}; got {values!r}"
        ) from error
    if len(set(texts)) < len(texts):
        raise ParameterError(f"grid must have each value of {key!r} once; got {values!r}")
    return list(values)


def _owners(key: str, value: Any, names: Sequence[str], task: Task) -> list[str]:
    """Return the heads that have a parameter; where none has, raise what the first says of it."""
    owners, refusals = [], []
    for name in names:
        try:
            make_head(name, {key: value}, task=task)
            owners.append(name)
        except (ParameterError, HeadError) as error:
            refusals.append(error)
    if not owners:
        raise refusals[0]
    return owners
