"""Which rows a head is fitted on, and on which it is judged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from featx.errors import ParameterError, did_you_mean
from featx.evaluation import split_for
from featx.fitting._table import Table

__all__ = ["DEFAULT_FRACTION", "Rows", "choose_rows", "rows_by_key"]

DEFAULT_FRACTION = 0.2

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows for training, and by name those for judging.

    Parameters
    ----------
    train : ndarray of int64
    held_out : dict of str to ndarray of int64
        ``val`` and ``test``, where there are such.
    origin : dict of str to str
        For ``train``, ``val`` and ``test``, in words, which rows they are.
    """

    train: Indices
    held_out: dict[str, Indices]
    origin: dict[str, str]


def rows_by_key(table: Table, keys: Mapping[str, Sequence[str]], origin: Mapping[str, str]) -> Rows:
    """Return the rows of the samples that a run was fitted on and judged by.

    Parameters
    ----------
    table : Table
    keys : mapping of str to sequence of str
        Of ``train`` and of what was held out.
    origin : mapping of str to str
        In words, which these are.

    Raises
    ------
    ParameterError
        If one of them is not there, or has no label any more.
    """
    row_of = {key: row for row, key in enumerate(table.keys)}
    found = {
        part: np.array([row_of[key] for key in names if key in row_of], dtype=np.int64) for part, names in keys.items()
    }
    missing = sum(len(keys[part]) - int(table.known[rows].sum()) for part, rows in found.items())
    if missing or "train" not in found:
        raise ParameterError(
            f"stores must hold the samples that the run was trained on, with their labels; {missing} are missing: fit"
            " the head anew"
        )
    return Rows(found.pop("train"), found, dict(origin))


def _fraction(val: str | float | None, known: Sequence[str]) -> float | None:
    """Return the fraction that `val` is; None for the name of a split, also of one that is called ``2024``."""
    if val is None or val in known:
        return None
    try:
        return float(val)
    except (TypeError, ValueError):
        return None


def choose_rows(
    table: Table,
    *,
    train: str | None,
    val: str | float | None,
    test: str | None,
    seed: int,
    need_val: bool,
) -> Rows:
    """Choose the labelled rows for training, validation and test.

    Parameters
    ----------
    table : Table
    train, test : str, optional
        Names of splits. By default ``train`` and ``test`` where the store has such; without a split for
        training, all that is in no other.
    val : str or float, optional
        Name of a split, or a fraction of the training rows, drawn with each class in its proportion and
        no image or group on both sides; ``"none"`` for no validation. By default the split ``val`` where the
        store has one, else a fraction of :data:`DEFAULT_FRACTION` if `need_val`.
    seed : int
        For drawing the fraction.
    need_val : bool

    Raises
    ------
    ParameterError
        If a split does not exist or two of them are the same, or there are no labels, or only one to train on.
    """
    if not table.known.any():
        raise ParameterError(
            "the store has no labels, so no head can be fitted: extract from class folders or a manifest"
        )
    known = sorted(set(table.splits[table.known].tolist()) - {""})

    def rows_of(parameter: str, split: str) -> Indices:
        if split not in known:
            raise ParameterError(
                f"{parameter} must be one of the store's splits with labels ({', '.join(known) or 'it has none'});"
                f" got {split!r}{did_you_mean(split, known)}"
            )
        return np.flatnonzero(table.known & (table.splits == split))

    fraction = _fraction(val, known)
    if fraction is not None and not 0 < fraction < 1:
        raise ParameterError(f"val must be a split, none, or a fraction between 0 and 1; got {val!r}")
    asked = {"train": train, "val": None if fraction is not None or val == "none" else val, "test": test}
    free = [part for part in ("val", "test") if part not in asked.values()]
    named = {
        part: split or (part if part in known and part in ("train", *free) else None) for part, split in asked.items()
    }
    if val is not None:
        named["val"] = asked["val"]
    used = [str(split) for split in named.values() if split is not None]
    if len(set(used)) < len(used):
        raise ParameterError(f"train, val and test must be different splits; got {', '.join(used)}")
    held_out = {part: rows_of(part, str(named[part])) for part in ("val", "test") if named[part] is not None}
    origin = {part: f"split {named[part]}" for part in held_out}
    if named["train"] is not None:
        rows = rows_of("train", str(named["train"]))
        origin["train"] = f"split {named['train']}"
    else:
        rows = np.setdiff1d(np.flatnonzero(table.known), np.concatenate([*held_out.values(), np.empty(0, np.int64)]))
        origin["train"] = "all other rows with a label" if held_out else "all rows with a label"
    if not len(rows):
        raise ParameterError(
            f"train has no rows, since all labelled ones are of split {' or '.join(used)}: name other splits, or add"
            " images to train on"
        )
    if table.task == "classification" and len(only := np.unique(table.targets[rows])) < 2:
        raise ParameterError(
            f"train must have images of two classes or more; got {table.classes[only[0]]!r} alone: name other splits,"
            " or extract more classes"
        )
    if "val" not in held_out and (fraction is not None or (need_val and val != "none")):
        fraction = DEFAULT_FRACTION if fraction is None else fraction
        kept, drawn = split_for(table.task, table.targets[rows], fraction, groups=table.groups[rows], seed=seed)
        held_out = {"val": rows[drawn], **held_out}
        origin["val"] = f"{fraction:g} of {origin['train']}, stratified, seed {seed}"
        rows = rows[kept]
    return Rows(rows, held_out, origin)
