"""Features that are there already: by the digest of the image they are of."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.caching._index import DigestIndex, Digests, Integers, as_digests
from featx.errors import StoreError
from featx.spec import ExtractionSpec
from featx.store import FeatureStore, LazyArray, open_store

__all__ = ["Known", "KnownViews", "gather", "image_rows", "stores_of"]

_BLOCK_BYTES = 32 * 2**20


def stores_of(spec: ExtractionSpec, paths: Iterable[Any]) -> list[FeatureStore]:
    """Open those of some stores that have views of a spec; what cannot be opened is of no use and passed over."""
    found = []
    for path in paths:
        try:
            store = open_store(path)
        except StoreError:
            continue
        if spec.shared_views(store.spec):
            found.append(store)
    return found


class Known:
    """Where the features of each content digest are: those of all its views, or of the first few.

    Parameters
    ----------
    spec : ExtractionSpec
        What is asked for.
    stores : sequence of FeatureStore
        With views of it. Where a digest is in several, the one with the most counts; of those the ones of the very
        spec, then the first.
    """

    def __init__(self, spec: ExtractionSpec, stores: Sequence[FeatureStore]) -> None:
        shared = {store.path: spec.shared_views(store.spec) for store in stores}
        self.stores = tuple(sorted(stores, key=lambda store: (-shared[store.path], store.spec != spec)))
        self.shared = [shared[store.path] for store in self.stores]
        self.indices = [DigestIndex(store.digest_column) for store in self.stores]

    def places(self, digests: Digests) -> tuple[Integers, Integers]:
        """Return where the features of some contents are.

        Parameters
        ----------
        digests : ndarray of S64, shape (m,)

        Returns
        -------
        numbers : ndarray of int64, shape (m,)
            Of the store; -1 where the content is not known.
        rows : ndarray of int64, shape (m,)
            Of the first view in the store's :func:`image_rows`.
        """
        numbers, rows = np.full((2, len(digests)), -1, dtype=np.int64)
        for number, (store, index) in enumerate(zip(self.stores, self.indices, strict=True)):
            left = np.flatnonzero(numbers < 0)
            found = index.rows(digests[left])
            left, found = left[found >= 0], found[found >= 0]
            numbers[left], rows[left] = number, found * store.spec.views
        return numbers, rows

    def views(self, digests: Digests) -> Integers:
        """Return of how many leading views of some contents the features are known, int64 of shape (m,)."""
        return np.array([*self.shared, 0], dtype=np.int64)[self.places(digests)[0]]


class KnownViews:
    """Says of how many leading views of a content the features are known in all of several :class:`Known`.

    What another process is given is a table, whose memory the processes of a machine may share.

    Parameters
    ----------
    knowns : sequence of Known
    """

    def __init__(self, knowns: Sequence[Known]) -> None:
        self._knowns = tuple(knowns)

    def __call__(self, digest: str) -> int:
        return int(self.of(as_digests([digest]))[0])

    def of(self, digests: Digests) -> Integers:
        """Return the number for each of some digests, int64 of shape (m,)."""
        return np.min([known.views(digests) for known in self._knowns], axis=0)  # type: ignore[no-any-return]

    def __reduce__(self) -> tuple[Any, ...]:
        columns = [as_digests([]), *(index.digests for index in self._knowns[0].indices)]
        digests = np.concatenate(columns)
        counts = self.of(digests)
        return _ViewsTable, (digests[counts > 0], counts[counts > 0])


class _ViewsTable:
    """A number for each of some digests, 0 for the others."""

    def __init__(self, digests: Digests, counts: Integers) -> None:
        self._index = DigestIndex(digests)
        self._counts = counts

    def __call__(self, digest: str) -> int:
        row = int(self._index.rows(as_digests([digest]))[0])
        return int(self._counts[row]) if row >= 0 else 0

    def __reduce__(self) -> tuple[Any, ...]:
        return _ViewsTable, (self._index.digests, self._counts)


def image_rows(store: FeatureStore) -> Any:
    """Return the features of a store with a row for each view of each sample."""
    return store.features if store.spec.views == 1 else _ImageRows(store.features, store.spec.views)


class _ImageRows:
    """Features (n, views, ...) that are indexed as if they were (n * views, ...)."""

    def __init__(self, features: npt.NDArray[Any] | LazyArray, views: int) -> None:
        self._features = features
        self._views = views

    def __getitem__(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        found: npt.NDArray[Any] = self._features[rows // self._views, rows % self._views]
        return found


def gather(
    arrays: Sequence[Any], places: npt.NDArray[np.int64], shape: tuple[int, ...], dtype: str
) -> Iterator[npt.NDArray[Any]]:
    """Yield rows of several arrays, in any order, block by block.

    Parameters
    ----------
    arrays : sequence of array-like, each of shape (any, *shape)
        Memory-mapped, or read as they are indexed.
    places : ndarray of shape (n, 2) or (n, views, 2) and dtype int64
        For each row the number of the array and the row in it; or for each view of a row.
    shape : tuple of int
        Of what one place holds.
    dtype : str

    Yields
    ------
    ndarray of shape (any, *shape) or (any, views, *shape)
    """
    place_bytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    step = max(1, _BLOCK_BYTES // (place_bytes * max(1, int(np.prod(places.shape[1:-1])))))
    for start in range(0, len(places), step):
        part = places[start : start + step]
        numbers, rows = part.reshape(-1, 2).T
        block = np.empty((len(rows), *shape), dtype=dtype)
        for number in np.unique(numbers):
            chosen = numbers == number
            block[chosen] = arrays[number][rows[chosen]]
        yield block.reshape(*part.shape[:-1], *shape)
