"""Features that are there already: by the digest of the image they are of."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.errors import StoreError
from featx.spec import ExtractionSpec
from featx.store import FeatureStore, open_store

__all__ = ["Known", "gather", "stores_of"]

_BLOCK_BYTES = 32 * 2**20


def stores_of(spec: ExtractionSpec, paths: Iterable[Any]) -> list[FeatureStore]:
    """Open those of some stores that have a spec; what cannot be opened is of no use and passed over."""
    found = []
    for path in paths:
        try:
            store = open_store(path)
        except StoreError:
            continue
        if store.spec == spec:
            found.append(store)
    return found


class Known:
    """Where the features of each content digest are, in stores of one spec.

    Parameters
    ----------
    stores : sequence of FeatureStore
        Where a digest is in several, the first counts.
    """

    def __init__(self, stores: Sequence[FeatureStore]) -> None:
        self.stores = tuple(stores)
        self._places: dict[str, tuple[int, int]] = {}
        for number, store in enumerate(self.stores):
            for row, digest in enumerate(store.digests):
                self._places.setdefault(digest, (number, row))

    def __contains__(self, digest: object) -> bool:
        return digest in self._places

    def place(self, digest: str) -> tuple[int, int]:
        """Return the number of the store and the row in it."""
        return self._places[digest]


def gather(
    arrays: Sequence[Any], places: npt.NDArray[np.int64], shape: tuple[int, ...], dtype: str
) -> Iterator[npt.NDArray[Any]]:
    """Yield rows of several arrays, in any order, block by block.

    Parameters
    ----------
    arrays : sequence of array-like, each of shape (any, *shape)
        Memory-mapped, or read as they are indexed.
    places : ndarray of shape (n, 2) and dtype int64
        For each row the number of the array and the row in it.
    shape : tuple of int
        Of a row.
    dtype : str

    Yields
    ------
    ndarray of shape (any, *shape)
    """
    row_bytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    step = max(1, _BLOCK_BYTES // row_bytes)
    for start in range(0, len(places), step):
        numbers, rows = places[start : start + step].T
        block = np.empty((len(rows), *shape), dtype=dtype)
        for number in np.unique(numbers):
            chosen = numbers == number
            block[chosen] = arrays[number][rows[chosen]]
        yield block
