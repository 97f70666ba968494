"""Features that lie in several files, as one array: mapped side by side, or answering as an array does."""

import ctypes
import mmap
import os
import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.errors import StoreError
from featx.store import _format as names
from featx.store._audit import Layout
from featx.store._compressed import CompressedFeatures
from featx.store._lazy import Integers, LazyArray

__all__ = ["ShardedFeatures", "features_of"]

Array = npt.NDArray[Any]

_MAP_FIXED = 0x10
_FAILED = ctypes.c_void_p(-1).value


def features_of(layout: Layout) -> Array | LazyArray:
    """Return the features of a store as an array, or as what answers like one."""
    if not layout.shards:
        return layout.array(names.FEATURES) if layout.chunks is None else CompressedFeatures(layout)
    return _side_by_side(layout) if _fits(layout.shards) else ShardedFeatures(layout)


class ShardedFeatures(LazyArray):
    """A read-only array whose rows lie in several files; :attr:`FeatureStore.features` of a store in shards.

    Rows that follow one another in one file are a view of its memory map; others are a new array. Pickling keeps the
    path and the checksum.
    """

    def __init__(self, layout: Layout) -> None:
        whole = layout.elements[names.FEATURES]
        self.shape, self.dtype = whole.shape, whole.dtype
        self._layout = layout
        self._parts = [features_of(shard) for shard in layout.shards]
        self._ends = np.cumsum([len(part) for part in self._parts])

    def __reduce__(self) -> tuple[Any, ...]:
        return ShardedFeatures, (self._layout,)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            number = int(np.searchsorted(self._ends, start, side="right"))
            if step == 1 and start < stop <= self._ends[number]:
                before = int(self._ends[number]) - len(self._parts[number])
                return self._parts[number][start - before : stop - before]
        return super().__getitem__(index)

    def _gather(self, rows: Integers) -> Array:
        gathered = np.empty((len(rows), *self.shape[1:]), self.dtype)
        cuts = np.searchsorted(rows, self._ends)
        for number, (start, stop) in enumerate(pairwise([0, *cuts.tolist()])):
            if start < stop:
                before = int(self._ends[number]) - len(self._parts[number])
                first, last = int(rows[start]) - before, int(rows[stop - 1]) - before
                together = last - first == stop - start - 1  # then a slice, which is read as it lies
                gathered[start:stop] = self._parts[number][
                    slice(first, last + 1) if together else rows[start:stop] - before
                ]
        return gathered


def _fits(shards: Sequence[Layout]) -> bool:
    """Return whether the features of shards can be mapped one behind the other, without a gap."""
    if sys.platform != "linux" or ctypes.sizeof(ctypes.c_void_p) != 8 or any(shard.chunks for shard in shards):
        return False
    features = [shard.elements[names.FEATURES] for shard in shards]
    places = [element.offset for element in features] + [element.nbytes for element in features[:-1]]
    return not any(place % mmap.ALLOCATIONGRANULARITY for place in places)


def _side_by_side(layout: Layout) -> Array:
    """Return the features of shards as one array: their files mapped at addresses that follow one another.

    The range of addresses is first taken by an empty map, which gives all of it back when nobody needs it any more.
    """
    whole = layout.elements[names.FEATURES]
    taken = mmap.mmap(-1, whole.nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=mmap.PROT_READ)
    array = np.frombuffer(taken, whole.dtype).reshape(whole.shape)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    address = array.ctypes.data
    for shard in layout.shards:
        part = shard.elements[names.FEATURES]
        how = mmap.MAP_SHARED | _MAP_FIXED
        if libc.mmap(address, part.nbytes, mmap.PROT_READ, how, shard.file.fileno(), part.offset) == _FAILED:
            reason = os.strerror(ctypes.get_errno())
            raise StoreError(f"{shard.path} cannot be mapped into memory ({reason}): raise the limits of the process")
        address += part.nbytes
    return array
