"""Digests as a column: found again without a dictionary of them all."""

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["DIGEST", "DigestIndex", "Digests", "as_digests", "repeated"]

Digests = npt.NDArray[np.bytes_]
Integers = npt.NDArray[np.int64]

DIGEST = np.dtype("S64")
"""A SHA-256 hex digest; empty where it is not known."""

_MIX = np.uint64(0x9E3779B97F4A7C15)


def as_digests(digests: Any) -> Digests:
    """Return digests as a column, shape (n,) and dtype S64."""
    return np.ascontiguousarray(digests, dtype=DIGEST)


class DigestIndex:
    """Finds the row of a digest in a column of them; a dozen bytes for each row.

    Parameters
    ----------
    digests : ndarray of S64, shape (n,)
        Kept as it is, so that it may be a memory map. Where a digest is there several times, the first row counts.
    """

    def __init__(self, digests: Digests) -> None:
        self.digests = digests
        marks = _marks(digests)
        order = np.argsort(marks, kind="stable")
        self._marks = marks[order]
        self._rows = order.astype(np.uint32 if len(digests) <= 2**32 else np.int64)

    def rows(self, wanted: Digests) -> Integers:
        """Return the row of each of some digests, int64 of shape (m,); -1 for those that are not there."""
        marks = _marks(wanted)
        places = np.searchsorted(self._marks, marks)
        rows = np.full(len(wanted), -1, dtype=np.int64)
        left = np.arange(len(wanted))
        while len(left):  # once, but for digests that share a mark
            left = left[places[left] < len(self._marks)]
            left = left[self._marks[places[left]] == marks[left]]
            found = self._rows[places[left]].astype(np.int64)
            same = self.digests[found] == wanted[left]
            rows[left[same]] = found[same]
            left = left[~same]
            places[left] += 1
        return rows

    def __len__(self) -> int:
        return len(self.digests)


def repeated(digests: Digests) -> npt.NDArray[np.bool_]:
    """Return which digests may be there more than once, bool of shape (n,): all that are, hardly any other."""
    marks = _marks(digests)
    order = np.argsort(marks)
    marks = marks[order]
    same = np.zeros(len(marks) + 1, dtype=bool)
    same[1:-1] = marks[1:] == marks[:-1]
    found = np.empty(len(marks), dtype=bool)
    found[order] = same[1:] | same[:-1]
    return found


def _marks(digests: Digests) -> npt.NDArray[np.uint64]:
    """Return a number for each digest, of its first 16 digits: equal for equal ones."""
    words = as_digests(digests).view("<u8").reshape(-1, 8)
    with np.errstate(over="ignore"):
        marks: npt.NDArray[np.uint64] = words[:, 0] * _MIX + words[:, 1]
    return marks
