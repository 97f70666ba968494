"""Shares: stretches of the work's order that one worker computes at a time, alike in bytes."""

from collections.abc import Sequence
from itertools import pairwise
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["Share", "shares_of"]

Share: TypeAlias = tuple[int, int]
"""Positions in the order of the work: start and stop."""


def shares_of(
    ranges: Sequence[Share], sizes: npt.NDArray[np.int64], *, batch_size: int, at_least: int, longest: int
) -> list[Share]:
    """Cut what is missing of a work into shares of about as many bytes each.

    Where they are cut depends on the whole work and the numbers given here, not on what is missing, so that work which
    is taken up again has the same shares.

    Parameters
    ----------
    ranges : sequence of (int, int)
        What is missing, ascending.
    sizes : ndarray of int64, shape (n,)
        Bytes of each sample in the order of the work; one that is not known (-1) counts as the mean of the others.
    batch_size : int
        Images that go through the network at a time; shares begin at multiples of it.
    at_least : int
        Into how many shares the whole work is cut, if it has as many batches. It counts as the next power of two, so
        that the cuts for few workers are among those for many.
    longest : int
        Samples of a share at most, where that is a batch or more.

    Returns
    -------
    list of (int, int)
        Ascending; none is empty, and together they are `ranges`.
    """
    cuts = _cuts(sizes, batch_size, at_least, longest)
    shares: list[Share] = []
    for start, stop in ranges:
        inner = cuts[np.searchsorted(cuts, start, "right") : np.searchsorted(cuts, stop, "left")]
        shares += pairwise([start, *inner.tolist(), stop])
    return shares


def _cuts(sizes: npt.NDArray[np.int64], batch_size: int, at_least: int, longest: int) -> npt.NDArray[np.int64]:
    """Return the positions, multiples of the batch size, at which the whole work is cut."""
    count = 2 ** (at_least - 1).bit_length()
    known = sizes[sizes >= 0]
    weights = np.where(sizes < 0, known.mean() if len(known) else 1, sizes).clip(1)
    ends = np.cumsum(weights, dtype=np.float64)
    places = np.searchsorted(ends, ends[-1] * np.arange(1, count) / count, "right")
    cuts = np.unique(np.rint(places / batch_size).astype(np.int64) * batch_size)
    step = max(1, longest // batch_size) * batch_size
    edges = pairwise([0, *cuts.tolist(), len(sizes)])
    return np.concatenate([np.arange(start, stop, step) for start, stop in edges if start < stop])
