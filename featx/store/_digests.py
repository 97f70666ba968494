"""Digests of stored arrays: one for each small array, one for each block of rows of the features.

The writer takes them while the rows stream by, the reader checks a small array when it is first asked for,
and a verification compares those of the features, naming the rows of a block that differs.
"""

import hashlib
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

BLOCK_BYTES = 2**20
ROWS_TOGETHER = 64
"""Blocks of more rows than this are multiples of it, so that they are whole chunks."""


def array_digest(array: Array) -> str:
    """Return the SHA-256 hex digest of an array's dtype, shape and bytes.

    Parameters
    ----------
    array : ndarray of any shape and plain dtype
        Digested as ``dtype.str``, a space, the lengths joined by commas, a newline, the bytes in C order.
    """
    header = f"{array.dtype.str} {','.join(map(str, array.shape))}\n"
    digest = hashlib.sha256(header.encode("ascii"))
    digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def rows_per_block(row_bytes: int) -> int:
    """Return how many rows of `row_bytes` bytes share one digest: about a mebibyte of them, at least one."""
    rows = max(1, BLOCK_BYTES // row_bytes)
    return rows if rows < ROWS_TOGETHER else rows - rows % ROWS_TOGETHER


def block_starts(row_counts: Sequence[int], rows: int) -> npt.NDArray[np.int64]:
    """Return where each block of `rows` rows that share a digest begins, and where the last one ends.

    Parameters
    ----------
    row_counts : sequence of int
        Rows of each file that the features lie in: blocks begin anew with each.
    rows : int
        Of a block; the last of a file may have fewer.
    """
    ends = np.cumsum([0, *row_counts])
    starts = [np.arange(start, stop, rows) for start, stop in pairwise(ends)]
    return np.concatenate([*starts, ends[-1:]]).astype(np.int64)


class BlockDigests:
    """SHA-256 digests of each `rows` consecutive rows, whatever the blocks they arrive in.

    Parameters
    ----------
    rows : int
        Rows that share one digest; the last digest may cover fewer.
    """

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self._digests: list[str] = []
        self._current = hashlib.sha256()
        self._filled = 0

    def update(self, block: Array) -> None:
        """Add rows, an ndarray of shape (any, ...), the same dtype and row shape each time."""
        start = 0
        while start < len(block):
            stop = min(len(block), start + self.rows - self._filled)
            piece = np.ascontiguousarray(block[start:stop])
            self._current.update(piece.view(np.uint8).data)
            self._filled += stop - start
            start = stop
            if self._filled == self.rows:
                self._close()

    def finish(self) -> list[str]:
        """Return the hex digests of all rows added."""
        if self._filled:
            self._close()
        return self._digests

    def _close(self) -> None:
        self._digests.append(self._current.hexdigest())
        self._current = hashlib.sha256()
        self._filled = 0


def block_digests(features: Array, rows: int) -> list[str]:
    """Return the digests of `features`, shape (n, ...), as :class:`BlockDigests` takes them."""
    digests = BlockDigests(rows)
    for start in range(0, len(features), rows):
        digests.update(features[start : start + rows])
    return digests.finish()
