"""Nearest rows by cosine or Euclidean distance: blocks of products, and of each only the top k."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from featx.heads._blocks import BLOCK_VALUES, Floats, Rows, row_blocks
from featx.heads._moments import Scaling

__all__ = ["Metric", "nearest_rows", "nearest_scaled"]

Metric = Literal["cosine", "euclidean"]

_QUERY_ROWS, _SEARCH_ROWS = 1 << 11, 1 << 12
"""The most queries and rows of a product."""

_MIDDLE_ROWS = 256
_MORE = 8
"""Candidates beyond k that are compared again in float64: products in float32 may misplace close ones."""


def nearest_rows(
    X: npt.NDArray[Any],
    queries: npt.NDArray[Any],
    k: int,
    metric: Metric = "cosine",
    *,
    own_rows: Rows | None = None,
) -> tuple[Floats, Rows]:
    """Find the k rows of X nearest to each query.

    Candidates are found by products in the features' own type (float32 for float16), a block of queries by a block
    of rows at a time; the k and a few more are then compared in float64, by differences, so that equal rows have
    distance 0 exactly. Of rows at equal distance the first are taken.

    Parameters
    ----------
    X : ndarray of shape (n, d), float
        Rows to search, in memory or mapped.
    queries : ndarray of shape (m, d), float
        Rows to search for.
    k : int
        How many, from 1 to n (n - 1 with `own_rows`).
    metric : {"cosine", "euclidean"}
        A row of zeros has cosine distance 1 from every other, as in scikit-learn.
    own_rows : ndarray of shape (m,), int64, optional
        The row of X that each query is; it is no neighbour of itself. Without, it is, at distance 0.

    Returns
    -------
    distances : ndarray of shape (m, k), float64
        Increasing.
    rows : ndarray of shape (m, k), int64
        Which rows of X.

    Raises
    ------
    ValueError
        The arrays are no matrices of the same number of float columns, `own_rows` is not one row of X for each query,
        there are fewer than k rows to find, or there is no such metric.
    """
    X, queries = np.asanyarray(X), np.asanyarray(queries)
    if X.ndim != 2 or queries.ndim != 2 or X.shape[1] != queries.shape[1] or X.dtype.kind + queries.dtype.kind != "ff":
        raise ValueError(
            "rows and queries must be float matrices of as many columns as each other; got"
            f" {X.dtype} of shape {X.shape} and {queries.dtype} of shape {queries.shape}"
        )
    if metric not in get_args(Metric):
        raise ValueError(f"metric must be cosine or euclidean; got {metric!r}: choose one of these")
    if own_rows is not None:
        own_rows = np.asarray(own_rows)
        inside = own_rows.dtype.kind in "iu" and own_rows.shape == queries.shape[:1]
        if not inside or bool(np.any((own_rows < 0) | (own_rows >= X.shape[0]))):
            raise ValueError(
                f"own_rows must be one row of X for each of the {queries.shape[0]} queries; got {own_rows.dtype} of"
                f" shape {own_rows.shape}, or rows that X does not have"
            )
    most = X.shape[0] - (own_rows is not None)
    if not 1 <= k <= most:
        raise ValueError(f"k must be from 1 to {most}, the number of rows to find; got {k}: ask for fewer")
    return nearest_scaled(X, queries, k, metric, None, own_rows=own_rows)


def nearest_scaled(
    X: npt.NDArray[Any],
    queries: npt.NDArray[Any],
    k: int,
    metric: Metric,
    scaling: Scaling | None,
    *,
    own_rows: Rows | None = None,
) -> tuple[Floats, Rows]:
    """Do what :func:`nearest_rows` does, on features brought to `scaling` block by block, and without its checks."""
    n, d = X.shape
    if scaling is None:
        scaling = Scaling.none(d)
        if metric == "euclidean":  # from the middle of the rows: far from it, float32 products would cancel
            some = np.asarray(X[:: max(1, n // _MIDDLE_ROWS)], dtype=np.float64)
            scaling = Scaling(some.mean(axis=0), scaling.scale)
    points, exactly = _Points(metric, scaling, shifted=True), _Points(metric, scaling, shifted=metric == "cosine")
    dtype = np.dtype(np.float64 if np.float64 in (X.dtype, queries.dtype) else np.float32)
    distances = np.empty((queries.shape[0], k))
    rows = np.empty((queries.shape[0], k), dtype=np.int64)
    step = min(_QUERY_ROWS, max(1, 4 * BLOCK_VALUES // d))
    for start in range(0, queries.shape[0], step):
        block = slice(start, start + step)
        own = None if own_rows is None else own_rows[block]
        candidates = _candidates(X, points(queries[block], dtype), min(k + _MORE, n), points, own)
        distances[block], rows[block] = _compared(X, queries[block], candidates, k, exactly, own)
    return distances, rows


class _Points:
    """From features to points whose Euclidean distances order the rows.

    They are `shifted` to the mean of the scaling or not: directions depend on it, differences only in their rounding.
    """

    def __init__(self, metric: Metric, scaling: Scaling, *, shifted: bool) -> None:
        self.cosine = metric == "cosine"
        self._scaling = scaling
        self._shifted = shifted

    def __call__(self, block: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        """Return the points of some rows, in a new array of shape (..., d)."""
        points = np.array(block, dtype=dtype)
        if self._shifted:
            points -= self._scaling.mean.astype(dtype)
        points /= self._scaling.scale.astype(dtype)
        if self.cosine:
            lengths = np.linalg.norm(points, axis=-1, keepdims=True)
            points /= np.where(lengths > 0, lengths, 1.0)
        return points

    def distances(self, a: Floats, b: Floats) -> Floats:
        """Return the distances of points in float64, which are broadcast against each other."""
        squares: Floats = np.square(a - b).sum(axis=-1)
        if not self.cosine:
            return np.sqrt(squares)
        # half the squared chord; a row of zeros has no direction, and is given half of its distance 1 by each side
        zeros = np.where(a.any(axis=-1), 0.0, 0.5) + np.where(b.any(axis=-1), 0.0, 0.5)
        return np.where(zeros > 0, 1.0, 0.5 * squares)


def _candidates(X: npt.NDArray[Any], queries: npt.NDArray[Any], m: int, points: _Points, own: Rows | None) -> Rows:
    """Return the m rows of X nearest to each query by products, in increasing order of rows, (b, m)."""
    best = np.empty((queries.shape[0], 0), dtype=queries.dtype)
    rows = np.empty((queries.shape[0], 0), dtype=np.int64)
    products = np.empty(queries.shape[0] * _SEARCH_ROWS, dtype=queries.dtype)  # once: fresh memory costs more than they
    start = 0
    for _, raw in row_blocks(X, None, queries.dtype, values=min(BLOCK_VALUES, _SEARCH_ROWS * X.shape[1])):
        block = points(raw, queries.dtype)
        # half the squared distance, less what is the same for all rows
        order = products[: queries.shape[0] * block.shape[0]].reshape(queries.shape[0], block.shape[0])
        np.matmul(queries, block.T, out=order)
        np.subtract(0.5 * np.square(block).sum(axis=1), order, out=order)
        if own is not None:
            inside = np.flatnonzero((own >= start) & (own < start + block.shape[0]))
            order[inside, own[inside] - start] = np.inf
        if best.shape[1] < m:
            nearest = _smallest(order, min(m, block.shape[0]))
            values = np.take_along_axis(order, nearest, axis=1)
        else:  # few are nearer than the best so far: to find them costs a quarter
            values, nearest = _below(order, best.max(axis=1))
        best, rows = np.concatenate([best, values], axis=1), np.concatenate([rows, start + nearest], axis=1)
        kept = _smallest(best, min(m, best.shape[1]))
        best, rows = np.take_along_axis(best, kept, axis=1), np.take_along_axis(rows, kept, axis=1)
        start += block.shape[0]
    return rows


def _below(values: npt.NDArray[Any], bounds: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[np.intp]]:
    """Return the values of each row that are below its bound, and where they are; filled up with infinity."""
    row, place = np.divmod(np.flatnonzero(values < bounds[:, None]), values.shape[1])  # sooner than nonzero
    counts = np.bincount(row, minlength=values.shape[0])
    column = np.arange(row.size) - np.repeat(np.cumsum(counts) - counts, counts)
    shape = (values.shape[0], int(counts.max()))
    found, places = np.full(shape, np.inf, dtype=values.dtype), np.zeros(shape, dtype=np.intp)
    found[row, column], places[row, column] = values[row, place], place
    return found, places


def _smallest(values: npt.NDArray[Any], m: int) -> npt.NDArray[np.intp]:
    """Return where the m smallest of each row are, in increasing order of place; of equal values, the first."""
    if m == values.shape[1]:
        return np.broadcast_to(np.arange(m), values.shape)
    kept = np.argpartition(values, m - 1, axis=1)[:, :m]
    largest = np.take_along_axis(values, kept, axis=1).max(axis=1, keepdims=True)
    for row in np.flatnonzero((values <= largest).sum(axis=1) > m):
        kept[row] = np.argsort(values[row], kind="stable")[:m]
    kept.sort(axis=1)
    return kept


def _compared(
    X: npt.NDArray[Any], queries: npt.NDArray[Any], candidates: Rows, k: int, points: _Points, own: Rows | None
) -> tuple[Floats, Rows]:
    """Return the k nearest of the candidates and their distances, both (b, k), in float64."""
    dtype = np.dtype(np.float64)
    distances = np.empty(candidates.shape)
    step = max(1, BLOCK_VALUES // max(1, candidates.shape[1] * X.shape[1]))
    for start in range(0, candidates.shape[0], step):
        block = slice(start, start + step)
        distances[block] = points.distances(points(X[candidates[block]], dtype), points(queries[block], dtype)[:, None])
    if own is not None:
        distances[candidates == own[:, None]] = np.inf
    # candidates are in order of rows, and the sort is stable: of equal distances the first row
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(distances, order, axis=1), np.take_along_axis(candidates, order, axis=1)
