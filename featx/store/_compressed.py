"""Compressed features that answer as an array does, and unpack only the chunks they are asked for."""

from collections.abc import Sequence
from itertools import pairwise
from math import prod
from types import EllipsisType
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.errors import StoreError
from featx.store._audit import Layout

__all__ = ["CompressedFeatures"]

Array = npt.NDArray[Any]
Integers = npt.NDArray[np.int64]


class CompressedFeatures:
    """A read-only array in compressed chunks; :attr:`FeatureStore.features` of a compressed store.

    It takes every index that NumPy takes, and returns what NumPy would, as a new array. Only the chunks that hold
    the rows asked for are unpacked, one at a time; the last one is kept, for those who ask for row after row.
    ``np.asarray(features)`` and ``features[:]`` read all of it. Pickling keeps the path and the checksum.

    Attributes
    ----------
    shape : tuple of int
        Its shape.
    dtype : dtype
        Its type.
    """

    def __init__(self, layout: Layout) -> None:
        assert layout.chunks is not None
        self.shape = layout.chunks.shape
        self.dtype = layout.chunks.dtype
        self._layout = layout
        self._chunks = layout.chunks
        self._last: tuple[int, Array] = (-1, np.empty(0))

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the array, unpacked."""
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"<CompressedFeatures {' x '.join(map(str, self.shape))} {self.dtype.name}>"

    def __getitem__(self, index: Any) -> Any:
        items = _normal(index, self.shape)
        first = next(place for place, item in enumerate(items) if _uses_axis(item))
        rows, items[first] = _needed(items[first], len(self))
        return self._gather(rows)[tuple(items)]

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> Array:
        if copy is False:
            raise ValueError("compressed features cannot be an array without a copy")
        return self._gather(np.arange(len(self))).astype(self.dtype if dtype is None else dtype, copy=False)

    def __reduce__(self) -> tuple[Any, ...]:
        return CompressedFeatures, (self._layout,)

    def _gather(self, rows: Integers) -> Array:
        """Return some rows, ascending."""
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


def _normal(index: Any, shape: Sequence[int]) -> list[Any]:
    """Return an index as a list with an item for each axis, and integers in place of booleans, as NumPy reads it."""
    items: list[Any] = []
    for item in index if isinstance(index, tuple) else (index,):
        if isinstance(item, (slice, EllipsisType)) or item is None:
            items.append(item)
            continue
        array = np.asarray(item)
        if array.size == 0 and isinstance(item, Sequence):
            array = array.astype(np.intp)
        if array.dtype.kind not in "biu" or isinstance(item, str):
            raise IndexError(
                "only integers, slices (`:`), ellipsis (`...`), numpy.newaxis (`None`) and integer or boolean arrays"
                " are valid indices"
            )
        items.append(array)
    used = sum(_uses_axis(item) * (item.ndim if _is_mask(item) else 1) for item in items)
    ellipses = [place for place, item in enumerate(items) if item is Ellipsis]
    if used > len(shape) or len(ellipses) > 1:
        raise IndexError(f"too many indices for {len(shape)} axes: {used} of them, {len(ellipses)} ellipses")
    place = ellipses[0] if ellipses else len(items)
    whole: list[Any] = [slice(None)] * (len(shape) - used)
    items[place : place + 1] = whole or [...] * len(ellipses)  # where there are two groups of arrays, it parts them
    normal: list[Any] = []
    axis = 0
    for item in items:
        if _is_mask(item) and item.ndim:
            if item.shape != tuple(shape[axis : axis + item.ndim]):
                raise IndexError(
                    f"a boolean index has the shape {item.shape} where the axes have {tuple(shape[axis:])}"
                )
            normal.extend(item.nonzero())
            axis += item.ndim
        else:
            normal.append(item)
            axis += _uses_axis(item)
    return normal


def _is_mask(item: Any) -> bool:
    return isinstance(item, np.ndarray) and item.dtype == np.bool_


def _uses_axis(item: Any) -> bool:
    return not (item is None or item is Ellipsis or (_is_mask(item) and item.ndim == 0))


def _needed(item: Any, length: int) -> tuple[Integers, Any]:
    """Return the rows that the first axis' item needs, ascending, and what names them among those."""
    if isinstance(item, slice):
        asked = range(*item.indices(length))
        forward = asked if asked.step > 0 else asked[::-1]
        rows = np.arange(forward.start, forward.stop, forward.step)
        return rows, slice(None) if asked is forward else slice(None, None, -1)
    wrong = (item < -length) | (item >= length)
    if wrong.any():
        raise IndexError(f"index {item[wrong].flat[0]} is out of bounds for axis 0 with size {length}")
    needed, positions = np.unique(item.astype(np.int64) % length, return_inverse=True)
    return needed, positions.reshape(item.shape)
