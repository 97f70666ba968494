"""The features of a store as vectors, one a sample: the memory map itself wherever that is what it holds."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.store import FeatureStore, LazyArray

__all__ = ["Array", "Rows", "Vectors", "blocks_of", "spread", "vectors_of"]

Array = npt.NDArray[Any]
Rows = npt.NDArray[np.int64]

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
    usable = np.ones(len(rows), dtype=bool)
    for where, block in blocks_of(values):
        with np.errstate(invalid="ignore"):
            usable[where] = (np.abs(block) <= _LARGEST).all(axis=1)
    if usable.all():
        return Vectors(rows, values, rows[:0])
    return Vectors(rows[usable], values[usable], rows[~usable])


def spread(n: int, most: int) -> Rows:
    """Return the numbers below `n` or, of more than `most`, so many that are spread evenly; ascending."""
    return np.arange(n) if n <= most else np.arange(most) * n // most


def blocks_of(values: Array) -> Iterator[tuple[slice, npt.NDArray[np.float32]]]:
    """Yield rows of a matrix in blocks, each a new array that may be changed, and where they are."""
    step = max(1, _BLOCK_BYTES // max(1, 4 * values.shape[1]))
    for start in range(0, len(values), step):
        where = slice(start, start + step)
        yield where, np.array(values[where], dtype=np.float32)


def _values(store: FeatureStore, rows: Rows) -> Array:
    features = store.features
    plain = features.ndim == 2 + (store.axes[1:2] == "V")
    if isinstance(features, np.ndarray) and plain and len(rows) == len(features):
        return features if features.ndim == 2 else features[:, 0]
    values = np.empty((len(rows), features.shape[-1]), dtype=features.dtype if plain else np.float32)
    step = max(1, _BLOCK_BYTES * len(features) // features.nbytes)
    for start in range(0, len(rows), step):
        block = _read(features, rows[start : start + step])
        if store.axes[1:2] == "V":
            block = block[:, 0]
        values[start : start + step] = block if plain else _averaged(block)
    return values


def _read(features: Array | LazyArray, rows: Rows) -> Array:
    whole = int(rows[-1]) - int(rows[0]) == len(rows) - 1
    block: Array = features[int(rows[0]) : int(rows[-1]) + 1] if whole else features[rows]
    return block


def _averaged(block: Array) -> Array:
    averaged: Array = block.reshape(len(block), -1, block.shape[-1]).mean(axis=1, dtype=np.float32)
    return averaged
