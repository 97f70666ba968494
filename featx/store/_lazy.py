"""Arrays that are not in memory: what NumPy takes for an index, answered from the rows that are asked for."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import prod
from types import EllipsisType
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Integers", "LazyArray"]

Array = npt.NDArray[Any]
Integers = npt.NDArray[np.int64]


class LazyArray(ABC):
    """A read-only array whose rows are fetched as they are asked for.

    It takes every index that NumPy takes, and returns what NumPy would. ``np.asarray(features)`` and ``features[:]``
    read all of it.

    Attributes
    ----------
    shape : tuple of int
        Its shape.
    dtype : dtype
        Its type.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

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
        """Bytes of the array, as it would be in memory."""
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {' x '.join(map(str, self.shape))} {self.dtype.name}>"

    def __getitem__(self, index: Any) -> Any:
        items = _normal(index, self.shape)
        first = next(place for place, item in enumerate(items) if _uses_axis(item))
        rows, items[first] = _needed(items[first], len(self))
        return self._gather(rows)[tuple(items)]

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> Array:
        if copy is False:
            raise ValueError("features that are not in memory cannot be an array without a copy")
        return self._gather(np.arange(len(self))).astype(self.dtype if dtype is None else dtype, copy=False)

    @abstractmethod
    def _gather(self, rows: Integers) -> Array:
        """Return some rows, ascending."""


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
