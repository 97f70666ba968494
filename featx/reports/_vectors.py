"""The features of a store as vectors, one a sample: the memory map itself wherever that is what it holds."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from featx.reports._threads import in_threads
from featx.store import FeatureStore, LazyArray

__all__ = ["Array", "Rows", "Vectors", "as_vectors", "over_blocks", "spread", "vectors_of"]

Array = npt.NDArray[Any]
Rows = npt.NDArray[np.int64]
Result = TypeVar("Result")

_BLOCK_BYTES = 1 << 23
"""Of the features that are read at a time."""

_LARGEST = 1e12
"""Squares of larger numbers, added up, are too much for float32."""


@dataclass(frozen=True, eq=False)
class Vectors:
    """Samples of a store, and their features.

    Attributes
    ----------
    rows : ndarray of shape (m,) and dtype int64
        Of the store, ascending.
    values : ndarray of shape (m, d), float
        Their features.
    odd : ndarray of int64
        Rows of the store that are left out: their features are not finite, or beyond 1e12.
    """

    rows: Rows
    values: Array
    odd: Rows


def vectors_of(store: FeatureStore, most: int) -> Vectors:
    """Return the features of a store as vectors.

    Maps and sequences are averaged over their positions; of views, the first is taken, which is the plain image.

    Parameters
    ----------
    store : FeatureStore
    most : int
        Of more samples, so many are taken, spread evenly.

    Returns
    -------
    Vectors
    """
    n = len(store)
    rows = spread(n, most)
    values = _values(store, rows)
    usable = np.concatenate([np.empty(0, dtype=bool), *over_blocks(values, _usable)])
    if usable.all():
        return Vectors(rows, values, rows[:0])
    return Vectors(rows[usable], values[usable], rows[~usable])


def _usable(where: slice, block: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    with np.errstate(invalid="ignore"):
        usable: npt.NDArray[np.bool_] = np.all(np.abs(block) <= _LARGEST, axis=1)
    return usable


def spread(n: int, most: int) -> Rows:
    """Return the numbers below `n` or, of more than `most`, so many that are spread evenly; ascending."""
    return np.arange(n) if n <= most else np.arange(most) * n // most


def over_blocks(values: Array, work: Callable[[slice, npt.NDArray[np.float32]], Result]) -> Iterator[Result]:
    """Yield what `work` makes of the rows of a matrix, block by block and in their order; in threads.

    It is given where the rows are, and a new array of them that it may change.
    """
    step = max(1, _BLOCK_BYTES // max(1, 4 * values.shape[1]))
    places = [slice(start, start + step) for start in range(0, len(values), step)]
    return in_threads(lambda where: work(where, np.array(values[where], dtype=np.float32)), places)


def as_vectors(block: Array, axes: str) -> Array:
    """Return features of some rows, laid out as `axes` say, as a vector each: plain images, averaged over positions."""
    plain = block[:, 0] if axes[1:2] == "V" else block
    if plain.ndim == 2:
        return plain
    averaged: Array = plain.mean(axis=tuple(range(1, plain.ndim - 1)), dtype=np.float32)
    return averaged


def _values(store: FeatureStore, rows: Rows) -> Array:
    features = store.features
    if isinstance(features, np.ndarray) and store.axes in ("NC", "NVC") and len(rows) == len(features):
        return as_vectors(features, store.axes)
    values = np.empty((len(rows), features.shape[-1]), dtype=as_vectors(features[:0], store.axes).dtype)
    step = max(1, _BLOCK_BYTES * len(features) // features.nbytes)
    for start in range(0, len(rows), step):
        block = _read(features, rows[start : start + step])
        values[start : start + step] = as_vectors(block, store.axes)
    return values


def _read(features: Array | LazyArray, rows: Rows) -> Array:
    whole = int(rows[-1]) - int(rows[0]) == len(rows) - 1
    block: Array = features[int(rows[0]) : int(rows[-1]) + 1] if whole else features[rows]
    return block
