"""The images of a store that are nearest to others, by their features."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from featx.errors import ParameterError, SampleError, SourceError
from featx.fitting import Neighbor
from featx.labels import label_words
from featx.prediction._networks import load_network
from featx.sources import Source, content_digest, open_images
from featx.store import FeatureStore, find_store

if TYPE_CHECKING:
    from torch import nn

    from featx.extraction import Engine, Output

__all__ = ["NeighborSearch", "Neighborhood", "neighbors"]

Array = npt.NDArray[Any]
Rows = npt.NDArray[np.int64]
Metric = Literal["cosine", "euclidean"]

_BLOCK_BYTES = 1 << 28
"""Features that are searched at a time, where they are no memory map: about so many are in memory."""


@dataclass(frozen=True)
class Neighborhood:
    """An image, and those of a store that are nearest to it.

    Attributes
    ----------
    key : str
        The file as it was given, or a name for an image in memory; of the store the sample's key.
    neighbors : tuple of Neighbor
        Nearest first; of equal distances in the order of the store.
    row : int or None
        Of the store, if the image itself is in it, byte for byte: it is no neighbour of itself, but its copies are.
    error : str or None
        Why the image could not be used.
    """

    key: str
    neighbors: tuple[Neighbor, ...] = ()
    row: int | None = None
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as dicts, lists, text and numbers, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class _Query:
    """An image to search for: in the store, or with features of its own, or of no use."""

    key: str
    row: int | None = None
    vector: Array | None = None
    error: str | None = None


class NeighborSearch:
    """Looks for the images of a store that are nearest to others; the network is loaded once, when it is first needed.

    Parameters
    ----------
    store, split, cache, backbone, weights, device, batch_size, workers
        See :func:`neighbors`.
    """

    def __init__(
        self,
        store: str | os.PathLike[str] | FeatureStore,
        *,
        split: str | None = None,
        cache: str | os.PathLike[str] | None = None,
        backbone: "str | nn.Module | None" = None,
        weights: str | os.PathLike[str] | None = None,
        device: str = "auto",
        batch_size: int | None = None,
        workers: int | None = None,
    ) -> None:
        self.store = find_store(store, cache)
        self._rows = self.store.select(split)
        self._backbone = backbone
        self._weights = weights
        self._device = device
        self._batch_size = batch_size
        self._workers = workers

    def find(self, images: Any, k: int = 5, metric: Metric = "cosine") -> list[Neighborhood]:
        """Return the nearest images of the store for each of some images, in the order given.

        Parameters
        ----------
        images, k, metric
            See :func:`neighbors`.

        Returns
        -------
        list of Neighborhood
        """
        if isinstance(k, bool) or not isinstance(k, int) or k < 1:
            raise ParameterError(f"k must be a whole number of at least 1; got {k!r}")
        if metric not in get_args(Metric):
            raise ParameterError(f"metric must be {' or '.join(get_args(Metric))}; got {metric!r}")
        queries = self._queries(images)
        usable = [query for query in queries if query.error is None]
        near = iter(self._nearest(usable, k, metric))
        return [Neighborhood(query.key, () if query.error else next(near), query.row, query.error) for query in queries]

    def is_key(self, image: Any) -> bool:
        """Return whether an image is a key of the store; what lies under that name on the disk comes first."""
        if not isinstance(image, (str, os.PathLike)) or os.fspath(image) not in self._row_of:
            return False
        return not os.path.exists(os.fspath(image).encode("utf-8", "surrogateescape"))

    def _queries(self, images: Any) -> list[_Query]:
        if isinstance(images, (str, os.PathLike)):
            images = [images]
        if not isinstance(images, Sequence) or not len(images):
            return self._of_source(images if isinstance(images, Source) else open_images(images))
        queries = []
        for are_keys, group in groupby(images, self.is_key):
            if are_keys:
                queries += [_Query(key, self._row_of[key]) for key in map(os.fspath, group)]
            else:
                queries += self._of_source(self._open(list(group)))
        return queries

    def _open(self, images: list[Any]) -> Source:
        try:
            return open_images(images)
        except SourceError as error:
            raise SourceError(f"{error} (and it is no key of {self.store.path.name})") from error

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {key: row for row, key in enumerate(self.store.keys)}

    def _of_source(self, source: Source) -> list[_Query]:
        """Return the samples of a source; those whose bytes the store has need no network."""
        own = self._own_rows(source)
        unknown = np.flatnonzero(own < 0)
        vectors: dict[int, Array] = {}
        failures: dict[int, str] = {}
        if len(unknown):
            from featx.extraction import embed

            engine, output = self._engine
            (features,), rows, failed = embed(
                source, engine, [output], rows=unknown, batch_size=self._batch_size, workers=self._workers
            )
            vectors = dict(zip(rows.tolist(), map(np.ravel, features), strict=True))
            failures = dict(failed)
        return [
            _Query(sample.key, None if row < 0 else row, vectors.get(place), failures.get(place))
            for place, (sample, row) in enumerate(zip(source.samples, own.tolist(), strict=True))
        ]

    @cached_property
    def _engine(self) -> "tuple[Engine, Output]":
        from featx.extraction import load_engine, resolve_device

        device = resolve_device(self._device)
        backbone, output = load_network(self.store, backbone=self._backbone, weights=self._weights)
        return load_engine("torch", backbone, [output], device=device), output

    def _own_rows(self, source: Source) -> Rows:
        """Return which row of the store each sample of a source is, by its bytes; -1 for none.

        Of several copies in the store it is the one that the sample is called after, else the first.
        """

        def digest(index: int) -> str | None:
            try:
                return content_digest(source.read(index))
            except SampleError:  # said when it is to be embedded
                return None

        with ThreadPoolExecutor(self._workers) as pool:
            digests = list(pool.map(digest, range(len(source))))
        copies: dict[str | None, list[int]] = {found: [] for found in digests}
        for row, known in enumerate(self.store.digests):
            if known in copies:
                copies[known].append(row)

        def own(key: str, rows: list[int]) -> int:
            named = (row for row in rows if f"/{key}".endswith(f"/{self.store.keys[row]}"))
            return next(named, rows[0] if rows else -1)

        pairs = zip(source.samples, digests, strict=True)
        return np.array([own(sample.key, copies[found]) for sample, found in pairs], dtype=np.int64)

    def _nearest(self, queries: Sequence[_Query], k: int, metric: Metric) -> list[tuple[Neighbor, ...]]:
        """Return the k nearest rows for each query that can be used, itself not among them."""
        if not queries:
            return []
        vectors = np.stack([self._vectors([q.row])[0] if q.vector is None else q.vector for q in queries])
        distances, rows = self._search(vectors, k + 1, metric)
        shown = np.unique(rows)
        labels = dict(zip(shown.tolist(), self.store.samples.take(shown).named_labels(), strict=True))
        words = {row: None if label is None else label_words(label) for row, label in labels.items()}
        return [
            tuple(
                Neighbor(self.store.keys[row], words[row], distance, row)
                for distance, row in zip(away, near, strict=True)
                if row != query.row
            )[:k]
            for query, away, near in zip(queries, distances.tolist(), rows.tolist(), strict=True)
        ]

    def _search(self, vectors: Array, count: int, metric: Metric) -> tuple[Array, Rows]:
        """Return distances and rows of the nearest, both (m, count), or fewer if there are no more."""
        from featx.heads import nearest_rows

        distances, rows = np.empty((len(vectors), 0)), np.empty((len(vectors), 0), dtype=np.int64)
        for block in self._blocks():
            away, near = nearest_rows(self._vectors(block), vectors, min(count, len(block)), metric)
            distances, rows = np.hstack([distances, away]), np.hstack([rows, block[near]])
            order = np.argsort(distances, axis=1, kind="stable")[:, :count]
            distances, rows = np.take_along_axis(distances, order, axis=1), np.take_along_axis(rows, order, axis=1)
        return distances, rows

    def _blocks(self) -> Iterator[Rows]:
        row_bytes = max(1, self.store.features.nbytes // max(1, len(self.store)))
        step = max(1, _BLOCK_BYTES // row_bytes)
        for start in range(0, len(self._rows), step):
            yield self._rows[start : start + step]

    def _vectors(self, rows: Any) -> Array:
        """Return the features of the plain images of some rows, flat: mapped, where they follow one another."""
        first, last = int(rows[0]), int(rows[-1])
        together = last - first == len(rows) - 1  # rows are ascending
        features = self.store.features[first : last + 1] if together else self.store.features[rows]
        plain = features[:, 0] if self.store.axes[1:2] == "V" else features
        return plain.reshape(len(rows), -1)


def neighbors(
    store: str | os.PathLike[str] | FeatureStore,
    images: Any,
    k: int = 5,
    metric: Metric = "cosine",
    *,
    split: str | None = None,
    cache: str | os.PathLike[str] | None = None,
    backbone: "str | nn.Module | None" = None,
    weights: str | os.PathLike[str] | None = None,
    device: str = "auto",
    batch_size: int | None = None,
    workers: int | None = None,
) -> list[Neighborhood]:
    """Find the images of a store that are nearest to others, by the features that the store holds.

    Maps and tokens are compared value by value; of a store with views, the plain images are. An image whose bytes are
    in the store has its features from there. For others the store's network is loaded, and refused if its features
    would not be those that the store holds.

    Parameters
    ----------
    store : path, str or FeatureStore
        As :func:`featx.find_store` takes it.
    images : path, str, ndarray, PIL.Image.Image, Source, or a sequence of them
        Image files, folders and archives; arrays of shape (height, width, 3); keys of the store, where there is no file
        of that name.
    k : int
        How many, at least 1; there are fewer where the store has no more.
    metric : {"cosine", "euclidean"}
    split : str, optional
        Look among its samples only.
    cache : path, optional
        Where a store is looked for by name.
    backbone : str or torch.nn.Module, optional
        Instead of what the store says: for a network that was given as an object, and has no name to load it by.
    weights : str or path, optional
        Instead of what the store says: for a file that has moved.
    device : {"auto", "cpu", "cuda", "cuda:N"}
        Where the network runs.
    batch_size, workers : int, optional

    Returns
    -------
    list of Neighborhood
        One for each image, in the order given. An image that cannot be used has no neighbours but an error.

    Raises
    ------
    ParameterError
        The store has no such split, or `k` or `metric` is not what it can be.
    BackboneError
        The network is needed, and the store does not say how to load it.
    SpecMismatchError
        The network as it is loaded now gives other features than the store's.

    Examples
    --------
    >>> (found,) = neighbors("photos", "new.jpg")
    >>> [(one.key, one.label, one.distance) for one in found.neighbors]
    """
    search = NeighborSearch(
        store,
        split=split,
        cache=cache,
        backbone=backbone,
        weights=weights,
        device=device,
        batch_size=batch_size,
        workers=workers,
    )
    return search.find(images, k, metric)
