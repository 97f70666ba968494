"""Which samples are close, and which far from all others: cosine distances, found in a sketch, checked in full."""

from collections import deque
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from featx.extraction import default_workers
from featx.reports._sketch import Sketch
from featx.reports._threads import in_threads
from featx.reports._vectors import Array, Rows, over_blocks, spread

__all__ = ["NEIGHBORS", "Closeness", "closeness_of"]

Singles = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

NEIGHBORS = 10
"""To how many others a sample's distance is taken."""

_NEAR = 0.25
"""Of the distance at which a typical sample has its tenth neighbour: what is closer are near-duplicates.

Measured on Alien vs Predator and CIFAR-10, with the last layer of the embedded backbone and two earlier ones. Of copies
saved as JPEG of quality 80, cropped by 5 %, or mirrored, the last layer's features find 97 to 100 %, and besides 4 of
6,000 different CIFAR images. No fixed distance would do: typical ones are 0.03 to 0.4 there."""

_TYPICAL = 500
"""Samples whose tenth neighbour's distance says what is typical."""

_SLACK = 1e-4
"""What float32 may lose of half a squared distance."""

_CROWD, _CROWD_PAIRS = 64, 1_000_000
"""Neighbours that are looked at where ten are not all that could be near-duplicates, and pairs at most."""

_FIRST = 64
"""Samples that are compared with all others at first; of more than 6,400, one in a hundred."""

_COMPARED = 2_000
"""Samples that are compared with all others at most. Of features that are mostly noise all are equally far, and no
bound tells which need not be."""

_QUERY_VALUES = 1 << 24
"""Products with all others that are held at a time."""

_GATHERED_BYTES = 1 << 20
"""Features that are gathered at a time: few, so that they stay in the processor's caches."""


@dataclass(frozen=True, eq=False)
class Closeness:
    """The samples that a sketch holds to be nearest to each, and how far they are in truth.

    Attributes
    ----------
    values : ndarray of shape (n, d), float
    points : ndarray of shape (n, k), float32
        Directions as :meth:`Sketch.directions` has them.
    lengths : ndarray of shape (n,)
        Of the features; those that are all 0 have no direction.
    near : ndarray of shape (n, m), int64
        By the sketch, m being 10, or as many as there are.
    least : ndarray of shape (n, m)
        Distances that they have at least.
    distances : ndarray of shape (n, m)
        Their cosine distances.
    """

    values: Array
    points: Singles
    lengths: Floats
    near: Rows
    least: Floats
    distances: Floats

    def typical_distance(self) -> float:
        """Return the median distance of a sample to its tenth neighbour, from 500 samples spread evenly."""
        return float(np.median(self._nearest_distances(spread(len(self.values), _TYPICAL))[:, -1]))

    def near_duplicates(self) -> tuple[Rows, Floats, float]:
        """Return pairs of samples that are much closer than neighbours usually are.

        Returns
        -------
        pairs : ndarray of shape (p, 2), int64
            Ascending, the smaller number first.
        distances : ndarray of shape (p,)
        threshold : float
            Below which they are.
        """
        if not self.near.size:
            return np.empty((0, 2), dtype=np.int64), np.empty(0), 0.0
        threshold = _NEAR * self.typical_distance()
        first = np.repeat(np.arange(len(self.near)), self.near.shape[1])
        pairs, distances = np.column_stack([first, self.near.ravel()]), self.distances.ravel()
        others = self._crowd(threshold + _SLACK)
        away = _distances(self.values, self.lengths, others[:, 0], others[:, 1:])[:, 0]
        pairs, distances = np.concatenate([pairs, others]), np.concatenate([distances, away])
        close = distances < threshold
        pairs, places = np.unique(np.sort(pairs[close], axis=1), axis=0, return_index=True)
        return pairs, distances[close][places], threshold

    def _crowd(self, least: float) -> Rows:
        """Return pairs of samples that may be as near as that, where the ten nearest may be not all that are."""
        crowded = np.flatnonzero((self.lengths > 0) & (self.least[:, -1] <= least))
        more = min(_CROWD, len(crowded) - 1, _CROWD_PAIRS // max(1, len(crowded)))
        if more < 1 or self.near.shape[1] < NEIGHBORS:
            return np.empty((0, 2), dtype=np.int64)
        near, lower = _nearest(self.points[crowded], more)
        maybe = lower <= least
        return np.column_stack([np.repeat(crowded, maybe.sum(axis=1)), crowded[near[maybe]]])

    def farthest(self, count: int) -> tuple[Rows, Floats]:
        """Return the samples that are farthest from their nearest others.

        Parameters
        ----------
        count : int

        Returns
        -------
        samples : ndarray of shape (count,), int64
            Farthest first; fewer if there are no more.
        distances : ndarray of shape (count,)
            Mean cosine distance to the ten nearest. It is exact: those the sketch holds to be nearest are at least as
            far as the nearest are, and all whose distance to them is large enough are compared with all others; where
            these are more than 2,000, only so many, those with the largest.
        """
        n, m = self.near.shape
        if not m:
            return np.empty(0, dtype=np.int64), np.empty(0)
        at_most = self.distances.mean(axis=1) + _SLACK
        order = np.argsort(-at_most, kind="stable")
        exact = np.empty(0)
        most = min(n, max(count, _COMPARED))
        while len(exact) < most:
            start = len(exact)
            if start >= count and np.partition(exact, -count)[-count] >= at_most[order[start]]:
                break
            batch = order[start : min(most, start + max(_FIRST, n // 100, start))]
            exact = np.concatenate([exact, self._nearest_distances(batch).mean(axis=1)])
        best = np.argsort(-exact, kind="stable")[:count]
        return order[best], exact[best]

    def _nearest_distances(self, samples: Rows) -> Floats:
        """Return the distances of some samples to the ten nearest of all others, (b, m), increasing."""
        n, m = self.near.shape
        nearest = np.empty((len(samples), m))
        lengths = np.where(self.lengths > 0, self.lengths, 1.0).astype(np.float32)
        step = max(1, _QUERY_VALUES // n)
        for start in range(0, len(samples), step):
            own = samples[start : start + step]
            distances = self._to_all(self.values[own].astype(np.float32) / lengths[own, None], lengths)
            distances[np.arange(len(own)), own] = np.inf
            parts = np.array_split(distances, default_workers())
            smallest = in_threads(lambda part: np.sort(np.partition(part, m - 1)[:, :m]), parts)
            nearest[start : start + step] = np.concatenate(list(smallest))
        return np.maximum(nearest, 0.0)

    def _to_all(self, directions: Singles, lengths: Singles) -> Singles:
        """Return the distances of some directions to all samples, (b, n)."""

        def distances(where: slice, block: Singles) -> Singles:
            products: Singles = directions @ block.T
            products /= -lengths[where]
            products += 1
            return products

        return np.concatenate(list(over_blocks(self.values, distances)), axis=1)


def closeness_of(values: Array, sketch: Sketch, rows: Rows | None = None) -> Closeness:
    """Return which samples are close to each other.

    Parameters
    ----------
    values : ndarray of shape (n, d), float
    sketch : Sketch
        Of the same.
    rows : ndarray of int64, optional
        Compare these with each other only, and number them as they stand here.

    Returns
    -------
    Closeness
    """
    points, lengths = sketch.directions(), sketch.lengths
    if rows is not None:
        values, points, lengths = values[rows], points[rows], lengths[rows]
    near, least = _nearest(points, min(NEIGHBORS, len(points) - 1))
    return Closeness(values, points, lengths, near, least, _distances(values, lengths, np.arange(len(points)), near))


def _nearest(points: Singles, count: int) -> tuple[Rows, Floats]:
    """Return the nearest of the other points for each, and half their squared distance: what a cosine distance is."""
    from featx.heads import nearest_rows

    if not count:
        return np.empty((len(points), 0), dtype=np.int64), np.empty((len(points), 0))

    def search(own: Rows) -> tuple[Floats, Rows]:
        return nearest_rows(points, points[own], count, "euclidean", own_rows=own)

    found = list(in_threads(search, np.array_split(np.arange(len(points)), default_workers())))
    return np.concatenate([near for _, near in found]), np.square(np.concatenate([away for away, _ in found])) / 2


def _distances(values: Array, lengths: Floats, samples: Rows, others: Rows) -> Floats:
    """Return the cosine distances of samples (p,) to some others each, (p, m); 1 from features that are all 0."""
    lengths = np.where(lengths > 0, lengths, 1.0)
    distances = np.empty(others.shape)
    step = max(1, _GATHERED_BYTES // max(1, 4 * values.shape[1] * others.shape[1]))

    def fill(start: int) -> None:
        own, their = samples[start : start + step], others[start : start + step]
        products = np.matmul(values[their].astype(np.float32, copy=False), values[own].astype(np.float32)[:, :, None])
        distances[start : start + step] = 1.0 - products[:, :, 0] / lengths[their] / lengths[own, None]

    deque(in_threads(fill, range(0, len(samples), step)), maxlen=0)
    return np.maximum(distances, 0.0)
