"""Compressed features that answer as an array does, and unpack only the chunks they are asked for."""

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.errors import StoreError
from featx.store._audit import Layout
from featx.store._lazy import Integers, LazyArray

__all__ = ["CompressedFeatures"]

Array = npt.NDArray[Any]


class CompressedFeatures(LazyArray):
    """A read-only array in compressed chunks; :attr:`FeatureStore.features` of a compressed store.

    Only the chunks that hold the rows asked for are unpacked, one at a time; the last one is kept, for those who ask
    for row after row. Pickling keeps the path and the checksum.
    """

    def __init__(self, layout: Layout) -> None:
        assert layout.chunks is not None
        self.shape = layout.chunks.shape
        self.dtype = layout.chunks.dtype
        self._layout = layout
        self._chunks = layout.chunks
        self._last: tuple[int, Array] = (-1, np.empty(0))

    def __reduce__(self) -> tuple[Any, ...]:
        return CompressedFeatures, (self._layout,)

    def _gather(self, rows: Integers) -> Array:
        gathered = np.empty((len(rows), *self.shape[1:]), self.dtype)
        numbers = rows // self._chunks.rows
        starts = np.flatnonzero(np.diff(numbers, prepend=-1))
        for start, stop in pairwise([*starts.tolist(), len(rows)]):
            number = int(numbers[start])
            gathered[start:stop] = self._chunk(number)[rows[start:stop] - number * self._chunks.rows]
        return gathered

    def _chunk(self, number: int) -> Array:
        last, chunk = self._last
        if last != number:
            try:
                chunk = self._chunks.load(self._layout.data, number)
            except ValueError as error:
                first = number * self._chunks.rows
                raise StoreError(
                    f"{self._layout.path} is damaged (the features of rows {first} to"
                    f" {min(first + self._chunks.rows, len(self)) - 1} cannot be unpacked: {error}):"
                    " delete it and extract again"
                ) from error
            self._last = number, chunk
        return chunk
