"""Splits and folds for every task: alike in classes, in labels, or in the range of values on both sides."""

import numpy as np
import numpy.typing as npt

from featx.errors import ParameterError
from featx.evaluation._checks import indicator
from featx.evaluation._intervals import Floats
from featx.evaluation._splits import Rows, checked_fraction, generator_of, stratified_folds, stratified_split

__all__ = ["folds_for", "split_for"]

_BINS = 10
"""Ranges of values at most; fewer where these would hold fewer than two groups a fold."""


def split_for(
    task: str, y: npt.ArrayLike, fraction: float, *, groups: npt.ArrayLike | None = None, seed: int
) -> tuple[Rows, Rows]:
    """Draw a fraction of the rows to be held out.

    Parameters
    ----------
    task : {"classification", "multilabel", "regression"}
    y : array_like
        Classes (n,), an indicator matrix (n, k), or values (n,) or (n, t).
    fraction : float
        Share to be held out, between 0 and 1; as near to it as the groups allow.
    groups : array_like of shape (n,), optional
        Rows of equal value stay together. Without it each row is a group.
    seed : int
        Equal arguments give equal rows.

    Returns
    -------
    train_rows, held_out_rows : ndarray of int64
        Increasing, without common rows, all rows together, one or more on each side.

    Raises
    ------
    ParameterError
        A parameter is out of its range, the arrays do not go together, or there are too few groups to be divided.

    Notes
    -----
    Classes are stratified by :func:`stratified_split`. A regression is too, by ranges of the values that hold
    equally many groups (of several targets, of their first principal component), each group by its mean. Several labels
    a row are balanced by iterative stratification [1]_, the rarest label first, over groups instead of rows; a label
    that one group alone has is in training.

    References
    ----------
    .. [1] K. Sechidis, G. Tsoumakas and I. Vlahavas (2011), "On the stratification of multi-label data", ECML PKDD,
       pp. 145-158.
    """
    if task == "classification":
        return stratified_split(y, fraction, groups=groups, seed=seed)
    share = checked_fraction(fraction)
    if task == "regression":
        values, group = _values(y), _groups(groups, np.shape(y)[0])
        bins = _bins(values, group, max(2, round(2 / min(share, 1 - share))))
        return stratified_split(bins, fraction, groups=group, seed=seed)
    truth, group = _multilabel(task, y, groups)
    part = _iterative(truth, group, np.array([1 - share, share]), seed)[group]
    return np.flatnonzero(part == 0), np.flatnonzero(part == 1)


def folds_for(
    task: str, y: npt.ArrayLike, k: int, *, groups: npt.ArrayLike | None = None, seed: int
) -> list[tuple[Rows, Rows]]:
    """Divide the rows into `k` parts alike, each held out once.

    Parameters
    ----------
    task : {"classification", "multilabel", "regression"}
    y : array_like
        Classes (n,), an indicator matrix (n, k), or values (n,) or (n, t).
    k : int
        Number of folds, from 2 to the number of groups (in a classification, of the smallest class's).
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
        A parameter is out of its range, the arrays do not go together, or there are too few groups to be divided.

    Notes
    -----
    As in :func:`split_for`.
    """
    if task == "classification":
        return stratified_folds(y, k, groups=groups, seed=seed)
    if task == "regression":
        values, group = _values(y), _groups(groups, np.shape(y)[0])
        return stratified_folds(
            _bins(values, group, 2 * k if isinstance(k, int) and k > 1 else 2), k, groups=group, seed=seed
        )
    truth, group = _multilabel(task, y, groups)
    if isinstance(k, bool) or not isinstance(k, int) or k < 2:
        raise ParameterError(f"the number of folds must be an integer of 2 or more; got {k!r}")
    fold = _iterative(truth, group, np.full(k, 1 / k), seed)[group]
    return [(np.flatnonzero(fold != part), np.flatnonzero(fold == part)) for part in range(k)]


def _values(y: npt.ArrayLike) -> Floats:
    values = np.asarray(y, dtype=np.float64)
    if values.ndim not in (1, 2) or not np.isfinite(values).all():
        raise ParameterError(
            f"targets must be finite values, (n,) or (n, t); got shape {values.shape}: leave rows without a target out"
        )
    return values[:, None] if values.ndim == 1 else values


def _multilabel(task: str, y: npt.ArrayLike, groups: npt.ArrayLike | None) -> tuple[npt.NDArray[np.bool_], Rows]:
    if task != "multilabel":
        raise ParameterError(f"task must be classification, multilabel or regression; got {task!r}")
    truth = indicator("y", y)
    return truth, _groups(groups, truth.shape[0])


def _groups(groups: npt.ArrayLike | None, n: int) -> Rows:
    """Return the number of each row's group, from 0."""
    if groups is None:
        return np.arange(n)
    given = np.asarray(groups)
    if given.shape != (n,):
        raise ParameterError(f"groups must be one for each of the {n} rows; got shape {given.shape}")
    return np.unique(given, return_inverse=True)[1].astype(np.int64)


def _bins(values: Floats, group: Rows, smallest: int) -> Rows:
    """Return for each row the range that the mean of its group is in: as many groups in each, `smallest` or more."""
    rows = np.bincount(group)
    spread = values.std(axis=0)
    scaled = (values - values.mean(axis=0)) / np.where(spread > 0, spread, 1)
    if values.shape[1] > 1:
        axes = np.linalg.eigh(scaled.T @ scaled)[1]
        scaled = scaled @ axes[:, -1:]
    means = np.bincount(group, weights=scaled[:, 0]) / np.maximum(rows, 1)
    bins = max(1, min(_BINS, means.size // smallest))
    rank = np.empty(means.size, dtype=np.int64)
    rank[np.argsort(means, kind="stable")] = np.arange(means.size)
    return (rank * bins // max(means.size, 1))[group]


def _iterative(truth: npt.NDArray[np.bool_], group: Rows, shares: Floats, seed: int) -> Rows:
    """Return for each group the part it goes to, by iterative stratification."""
    n_groups = int(group.max(initial=-1)) + 1
    if n_groups < shares.size:
        raise ParameterError(f"there must be {shares.size} rows or groups or more to be divided; got {n_groups}")
    generator = generator_of(seed)
    size = np.bincount(group)
    has = np.zeros((n_groups, truth.shape[1]))
    np.add.at(has, group, truth)
    wanted = shares[:, None] * has.sum(axis=0)  # rows of each label that each part still wants
    room = shares * group.size
    part = np.full(n_groups, -1)
    left = (has > 0).sum(axis=0)
    tie = generator.random(shares.size)
    shuffled = generator.permutation(n_groups)

    def place(each: int, wish: Floats) -> None:
        # of equal wishes the part with most room; equal in that too, any
        to = int(np.lexsort((tie, room, np.round(wish, 9)))[-1])
        part[each] = to
        wanted[to] -= has[each]
        room[to] -= size[each]
        left[has[each] > 0] -= 1

    while left.max(initial=0) > 0:
        label = int(np.where(left > 0, left, np.iinfo(np.int64).max).argmin())
        holders = shuffled[(part[shuffled] < 0) & (has[shuffled, label] > 0)]
        for each in holders.tolist():
            place(each, wanted[:, label])
    for each in shuffled[part[shuffled] < 0].tolist():
        place(each, room)
    for empty in np.setdiff1d(np.arange(shares.size), part).tolist():
        # a part so small that no label wanted it: one group of the fullest
        fullest = np.flatnonzero(part == np.bincount(part, minlength=shares.size).argmax())
        part[fullest[-1]] = empty
    return part
