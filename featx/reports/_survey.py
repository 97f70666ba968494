"""What is found in the features of a store: where samples lie, which are there twice, which stand apart."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from featx.labels import Label
from featx.reports._closeness import Closeness, closeness_of
from featx.reports._duplicates import Group, near_groups
from featx.reports._sketch import Sketch, sketch_of
from featx.reports._threads import own_threads
from featx.reports._vectors import Rows, spread, vectors_of
from featx.store import FeatureStore

__all__ = ["Survey", "class_members", "survey_of"]

_MOST = 100_000
"""Samples whose features are looked at: to find what is near them takes their number squared."""

_OUTLIERS, _OUTLIERS_OF_CLASS, _CLASSES = 24, 4, 48

Apart = tuple[tuple[int, float], ...]
"""Rows of a store, and their mean distance to their nearest others."""


@dataclass(frozen=True, eq=False)
class Survey:
    """What :func:`survey_of` finds.

    Attributes
    ----------
    rows : ndarray of shape (m,) and dtype int64
        Of the store, ascending: those whose features were looked at.
    odd : ndarray of int64
        Rows with features that are not finite, or beyond all reason.
    zero : ndarray of int64
        Rows whose features are all 0.
    sketch : Sketch
        Of the others.
    neighbors : int
        To how many others distances are taken: 10, or as many as there are.
    near : list of Group
        Near-duplicates.
    threshold : float
        Cosine distance that these are below.
    outliers : tuple of (int, float)
        The farthest first.
    by_class : list of (str, tuple of (int, float))
        Of each class, among its own.
    alike : float or None
        Share of the samples whose nearest other is of the same class; None where samples have no single class.
    """

    rows: Rows
    odd: Rows
    zero: Rows
    sketch: Sketch
    neighbors: int
    near: list[Group]
    threshold: float
    outliers: Apart
    by_class: list[tuple[str, Apart]]
    alike: float | None


@own_threads()
def survey_of(store: FeatureStore, labels: Sequence[Label | None]) -> Survey | None:
    """Look at the features of a store.

    Parameters
    ----------
    store : FeatureStore
    labels : sequence of Label or None, length n
        Of its samples.

    Returns
    -------
    Survey or None
        None if there are no features to be looked at.
    """
    vectors = vectors_of(store, _MOST)
    rows, values = vectors.rows, vectors.values
    if not len(rows):
        return None
    sketch = sketch_of(values)
    close = closeness_of(values, sketch)
    pairs, distances, threshold = close.near_duplicates()
    members = class_members(store)
    shown = [members[i] for i in spread(len(members), _CLASSES).tolist()]
    own_rows = [(name, np.flatnonzero(np.isin(rows, own, assume_unique=True))) for name, own in shown]
    apart = [(name, own, closeness_of(values, sketch, own)) for name, own in own_rows if len(own) > 1]
    return Survey(
        rows,
        vectors.odd,
        rows[sketch.lengths == 0],
        sketch,
        close.near.shape[1],
        near_groups(store, labels, rows[pairs], distances),
        threshold,
        _farthest(close, rows, _OUTLIERS),
        [(name, _farthest(own_close, rows[own], _OUTLIERS_OF_CLASS)) for name, own, own_close in apart],
        _alike(store, rows, close),
    )


def class_members(store: FeatureStore) -> list[tuple[str, Rows]]:
    """Return the rows of each class; of several labels a sample, those that have it."""
    if store.multilabels is not None:
        return [(name, np.flatnonzero(store.multilabels[:, i])) for i, name in enumerate(store.classes)]
    return [(name, np.flatnonzero(store.labels == i)) for i, name in enumerate(store.classes)]


def _farthest(close: Closeness, rows: Rows, most: int) -> Apart:
    """Return the samples that are farthest from their nearest others, never more than half of them."""
    found, distances = close.farthest(min(most, len(rows) // 2))
    return tuple(zip(rows[found].tolist(), distances.tolist(), strict=True))


def _alike(store: FeatureStore, rows: Rows, close: Closeness) -> float | None:
    """Return the share of labelled samples whose nearest other image, copies left out, is of the same class."""
    labels = store.labels[rows]
    if not close.near.shape[1] or (labels < 0).all():
        return None
    image = np.unique(np.array(store.digests)[rows], return_inverse=True)[1]
    distances = np.where(image[close.near] == image[:, None], np.inf, close.distances)
    nearest = close.near[np.arange(len(rows)), distances.argmin(axis=1)]
    both = (labels >= 0) & (labels[nearest] >= 0) & np.isfinite(distances.min(axis=1))
    return float((labels == labels[nearest])[both].mean()) if both.any() else None
