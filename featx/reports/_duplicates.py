"""Samples that are there more than once: the same bytes, or nearly the same image."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from featx.labels import Label
from featx.reports._counts import split_order
from featx.reports._vectors import Rows
from featx.store import FeatureStore

__all__ = ["Group", "exact_groups", "near_groups"]


@dataclass(frozen=True)
class Group:
    """Samples that are the same image, or nearly.

    Attributes
    ----------
    rows : tuple of int
        Of the store, ascending.
    leaks : tuple of (str, str)
        Pairs of splits that the image is in, as it is or nearly.
    conflict : bool
        Whether the samples are labelled differently.
    distance : float
        Of the farthest two that are near-duplicates; 0 for equal bytes.
    """

    rows: tuple[int, ...]
    leaks: tuple[tuple[str, str], ...]
    conflict: bool
    distance: float = 0.0


def exact_groups(store: FeatureStore, labels: Sequence[Label | None]) -> list[Group]:
    """Return the samples of equal bytes, those in several splits first, then those of several labels, then the largest.

    Parameters
    ----------
    store : FeatureStore
    labels : sequence of Label or None, length n
        Of its samples.

    Returns
    -------
    list of Group
    """
    copies: dict[str, list[int]] = {}
    for row, digest in enumerate(store.digests):
        copies.setdefault(digest, []).append(row)
    return _sorted(
        _group(store, labels, rows, combinations(dict.fromkeys(store.splits[row] for row in rows), 2))
        for rows in copies.values()
        if len(rows) > 1
    )


def near_groups(
    store: FeatureStore, labels: Sequence[Label | None], pairs: Rows, distances: npt.NDArray[np.float64]
) -> list[Group]:
    """Return the samples that hang together by pairs of near-duplicates, sorted as those of equal bytes.

    Parameters
    ----------
    store : FeatureStore
    labels : sequence of Label or None, length n
        Of its samples.
    pairs : ndarray of shape (p, 2), int64
        Rows of the store.
    distances : ndarray of shape (p,)

    Returns
    -------
    list of Group
        Those that are more than copies of the same bytes.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    rows, ends = np.unique(pairs, return_inverse=True)
    ends = ends.reshape(-1, 2)
    links = coo_array((np.ones(len(ends), dtype=np.int8), (ends[:, 0], ends[:, 1])), shape=(len(rows), len(rows)))
    count, member = connected_components(links, directed=False) if len(rows) else (0, np.empty(0, dtype=np.int64))
    members: list[list[int]] = [[] for _ in range(count)]
    for row, group in zip(rows.tolist(), member.tolist(), strict=True):
        members[group].append(row)
    crossed: list[set[tuple[str, str]]] = [set() for _ in range(count)]
    farthest = [0.0] * count
    for (a, b), group, distance in zip(pairs.tolist(), member[ends[:, 0]].tolist(), distances.tolist(), strict=True):
        crossed[group].add((store.splits[a], store.splits[b]))
        farthest[group] = max(farthest[group], distance)
    return _sorted(
        _group(store, labels, mine, splits, distance)
        for mine, splits, distance in zip(members, crossed, farthest, strict=True)
        if len({store.digests[row] for row in mine}) > 1
    )


def _group(
    store: FeatureStore,
    labels: Sequence[Label | None],
    rows: Sequence[int],
    splits: Iterable[tuple[str, str]],
    distance: float = 0.0,
) -> Group:
    pairs = [split_order(pair) for pair in splits if pair[0] != pair[1] and all(pair)]
    known = {labels[row] for row in rows if labels[row] is not None}
    return Group(tuple(rows), tuple(sorted({(a, b) for a, b in pairs})), len(known) > 1, distance)


def _sorted(groups: Iterable[Group]) -> list[Group]:
    return sorted(groups, key=lambda group: (not group.leaks, not group.conflict, -len(group.rows), group.rows))
