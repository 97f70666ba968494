"""Rows for training and rows for judging, with every class on both sides and no image on both.

A *group* is what must not be torn apart: the rows of one image's bytes, of one patient, of one video.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from featx.errors import ParameterError

__all__ = ["Rows", "checked_fraction", "generator_of", "stratified_folds", "stratified_split"]

Rows = npt.NDArray[np.int64]

_ATTEMPTS = 100
"""Orders tried where groups of several classes get in each other's way."""


def stratified_split(
    labels: npt.ArrayLike, fraction: float, *, groups: npt.ArrayLike | None = None, seed: int
) -> tuple[Rows, Rows]:
    """Draw a fraction of the rows, class by class, to be held out.

    Parameters
    ----------
    labels : array_like of shape (n,), integer
        Class of each row, 0 or more.
    fraction : float
        Share to be held out, between 0 and 1. Of each class as near to it as the groups allow, but always one group
        or more, and never the last: small classes exceed it.
    groups : array_like of shape (n,), optional
        Rows of equal value stay together. Without it each row is a group.
    seed : int
        Equal arguments give equal rows.

    Returns
    -------
    train_rows, held_out_rows : ndarray of int64
        Increasing, without common rows, all rows together. A class of one group is in training alone.

    Raises
    ------
    ParameterError
        `fraction` is not between 0 and 1, `seed` is negative, the arrays do not go together, there is nothing to hold
        out since no class has two groups, or groups of several classes leave no way to have each class on both sides.
    """
    share = checked_fraction(fraction)
    cells = _Cells(labels, groups)
    splittable = np.flatnonzero(cells.groups_of_class >= 2)
    if splittable.size == 0:
        raise ParameterError(
            f"no class of the {cells.n} rows has two {'rows' if groups is None else 'groups'} or more, so none can be"
            " held out: name a split for it, or give more rows"
        )
    generator = generator_of(seed)
    for _ in range(_ATTEMPTS):
        held = _hold_out(cells, share, generator)
        sides = np.stack([cells.class_has(~held), cells.class_has(held)])[:, splittable]
        if sides.all():
            rows = held[cells.group]
            return np.flatnonzero(~rows), np.flatnonzero(rows)
    raise ParameterError(
        f"groups hold rows of several classes in such a way that class {splittable[~sides.all(axis=0)][0]} cannot be on"
        " both sides: correct the labels, or name a split"
    )


def stratified_folds(
    labels: npt.ArrayLike, k: int, *, groups: npt.ArrayLike | None = None, seed: int
) -> list[tuple[Rows, Rows]]:
    """Divide the rows into `k` parts alike in classes, each held out once.

    Parameters
    ----------
    labels : array_like of shape (n,), integer
        Class of each row, 0 or more.
    k : int
        Number of folds, 2 or more.
    groups : array_like of shape (n,), optional
        Rows of equal value stay together. Without it each row is a group.
    seed : int
        Equal arguments give equal folds.

    Returns
    -------
    list of (train_rows, test_rows)
        `k` pairs of increasing ndarrays of int64; each row is in one ``test_rows`` and in all other ``train_rows``.

    Raises
    ------
    ParameterError
        `k` is below 2 or above the number of groups of the smallest class, `seed` is negative, the arrays do not go
        together, or groups of several classes leave a fold empty or a class without rows to train on.

    Notes
    -----
    The rule is that of scikit-learn's ``StratifiedGroupKFold``: the largest groups first, each to the fold that has
    least of its classes. That class measures the deviation of all folds anew for each group (14 s for 60,000 rows);
    here only the counts of the group's own classes are compared.
    """
    if isinstance(k, bool) or not isinstance(k, int) or k < 2:
        raise ParameterError(f"the number of folds must be an integer of 2 or more; got {k!r}")
    cells = _Cells(labels, groups)
    present = np.flatnonzero(cells.groups_of_class)
    if present.size == 0:
        raise ParameterError(f"labels must have {k} rows or more of each class for {k} folds; got no rows")
    smallest = present[cells.groups_of_class[present].argmin()]
    if k > cells.groups_of_class[smallest]:
        raise ParameterError(
            f"the number of folds must be at most {cells.groups_of_class[smallest]}, the number of"
            f" {'rows' if groups is None else 'groups'} of the smallest class (label {smallest}); got {k}"
        )
    fold = _deal(cells, k, generator_of(seed))
    for part in range(k):
        if not (fold == part).any() or not cells.class_has(fold != part)[present].all():
            raise ParameterError(
                f"groups hold rows of several classes in such a way that {k} folds cannot each have every class to"
                " train on: ask for fewer folds, or correct the labels"
            )
    row_fold = fold[cells.group]
    return [(np.flatnonzero(row_fold != part), np.flatnonzero(row_fold == part)) for part in range(k)]


class _Cells:
    """Which groups have how many rows of which classes: one cell for each pair that occurs, sorted by group.

    Attributes
    ----------
    n : int
        Rows.
    group : ndarray of shape (n,)
        Group of each row, from 0.
    cell_group, cell_class, cell_rows : ndarray
        Group, class and number of rows of each cell.
    groups_of_class : ndarray
        Number of groups by class, 0 for a class that does not occur.
    """

    def __init__(self, labels: npt.ArrayLike, groups: npt.ArrayLike | None) -> None:
        classes = np.asarray(labels)
        if classes.ndim != 1 or (classes.size and classes.dtype.kind not in "iu"):
            raise ParameterError(
                f"labels must be a vector of integers; got {classes.dtype} of shape {classes.shape}: give the classes'"
                " indices"
            )
        classes = classes.astype(np.int64)
        if classes.size and classes.min() < 0:
            raise ParameterError(f"labels must be 0 or more; got {classes.min()}: leave rows without a label out")
        self.n = classes.size
        if groups is None:
            self.group = np.arange(self.n)
        else:
            given = np.asarray(groups)
            if given.shape != classes.shape:
                raise ParameterError(f"groups must be one for each of the {self.n} labels; got shape {given.shape}")
            self.group = np.unique(given, return_inverse=True)[1]
        k = int(classes.max()) + 1 if self.n else 0
        self.n_groups = int(self.group.max()) + 1 if self.n else 0
        cells, self.cell_rows = np.unique(self.group * max(k, 1) + classes, return_counts=True)
        self.cell_group, self.cell_class = np.divmod(cells, max(k, 1))
        self.groups_of_class = np.bincount(self.cell_class, minlength=k)
        self.rows_of_class = np.bincount(classes, minlength=k)

    def class_has(self, chosen: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Return for each class whether one of the chosen groups has rows of it."""
        counts = np.bincount(self.cell_class[chosen[self.cell_group]], minlength=self.groups_of_class.size)
        return counts > 0


def checked_fraction(fraction: float) -> float:
    """Return a number between 0 and 1, or raise ParameterError."""
    if isinstance(fraction, bool) or not isinstance(fraction, (int, float)) or not 0 < fraction < 1:
        raise ParameterError(f"fraction must be a number between 0 and 1; got {fraction!r}")
    return float(fraction)


def generator_of(seed: int) -> np.random.Generator:
    """Return random numbers of a seed, or raise ParameterError if it is none."""
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ParameterError(f"seed must be an integer of 0 or more; got {seed!r}")
    return np.random.default_rng(seed)


def _hold_out(cells: _Cells, fraction: float, generator: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Choose groups, class by class, the class of fewest groups first: it has the least choice."""
    held = np.zeros(cells.n_groups, dtype=bool)
    settled = np.zeros(cells.n_groups, dtype=bool)
    by_class = np.argsort(cells.cell_class, kind="stable")
    starts = np.searchsorted(cells.cell_class[by_class], np.arange(cells.groups_of_class.size + 1))
    tie = generator.random(cells.groups_of_class.size)
    for c in np.lexsort((tie, cells.groups_of_class)):
        own = by_class[starts[c] : starts[c + 1]]
        own_groups, own_rows = cells.cell_group[own], cells.cell_rows[own]
        if own.size >= 2:
            is_held = held[own_groups]
            free = generator.permutation(np.flatnonzero(~settled[own_groups]))
            kept_already = bool((settled[own_groups] & ~is_held).any())
            most = free.size - (0 if kept_already else 1)
            have = int(own_rows[is_held].sum())
            chosen = _fill(own_rows[free], fraction * cells.rows_of_class[c] - have, most, needed=not is_held.any())
            held[own_groups[free[chosen]]] = True
        settled[own_groups] = True
    return held


def _fill(sizes: Rows, wanted: float, most: int, *, needed: bool) -> npt.NDArray[np.intp]:
    """Return positions of at most `most` of `sizes` that add up to nearly `wanted`; at least one if `needed`."""
    if most < 1:
        return np.empty(0, dtype=np.intp)
    if sizes.max() == 1:
        return np.arange(min(max(round(wanted), 1 if needed else 0), most))
    chosen: list[int] = []
    total = 0
    for position, size in enumerate(sizes.tolist()):
        if len(chosen) == most or total >= wanted:
            break
        if abs(total + size - wanted) < abs(total - wanted):
            chosen.append(position)
            total += size
    if needed and not chosen:
        chosen.append(int(sizes.argmin()))
    return np.array(chosen, dtype=np.intp)


def _deal(cells: _Cells, k: int, generator: np.random.Generator) -> npt.NDArray[np.intp]:
    """Give each group, the largest first, to the fold that has least of its classes (of equals the emptiest)."""
    group_rows = np.bincount(cells.cell_group, weights=cells.cell_rows, minlength=cells.n_groups)
    starts = np.searchsorted(cells.cell_group, np.arange(cells.n_groups + 1))
    # of equal size class by class, so that folds of single rows differ by one row at most, in each class and in all
    order = np.lexsort((generator.random(cells.n_groups), cells.cell_class[starts[:-1]], -group_rows))
    share: Any = [[0.0] * k for _ in range(cells.groups_of_class.size)]  # of each class's rows, by fold
    filled = [0] * k
    fold = np.empty(cells.n_groups, dtype=np.intp)
    classes, rows, totals = cells.cell_class.tolist(), cells.cell_rows.tolist(), cells.rows_of_class.tolist()
    for group in order.tolist():
        own = range(starts[group], starts[group + 1])
        costs = [sum(share[classes[cell]][part] for cell in own) for part in range(k)]
        best = min(range(k), key=lambda part: (round(costs[part], 9), filled[part]))
        for cell in own:
            share[classes[cell]][best] += rows[cell] / totals[classes[cell]]
            filled[best] += rows[cell]
        fold[group] = best
    return fold
