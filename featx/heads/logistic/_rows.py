"""Rows of features in blocks, wherever they lie, and their weighted moments."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.heads.logistic._devices import Device, Floats, NumpyDevice

__all__ = ["Rows", "moments"]

_SAMPLED = 512
"""Rows of a sample that are taken at a time."""
_LOST = 1e-5
"""A variance this small beside the mean square may be what rounding left of it."""


class Rows:
    """Some rows of a matrix of features, as blocks of a device's dtype.

    Parameters
    ----------
    X : ndarray of shape (m, d), float16, float32 or float64
        Features; may be memory-mapped. Never copied whole, but to a device with a memory of its own.
    chosen : ndarray of shape (n,), int, or None
        The rows that count, increasing; None for all.
    device : Device
    """

    def __init__(self, X: npt.NDArray[Any], chosen: npt.NDArray[np.intp] | None, device: Device) -> None:
        self._X, self._chosen, self._device = X, chosen, device
        self.n, self.d = len(X) if chosen is None else len(chosen), X.shape[1]
        self.shift: npt.NDArray[Any] | None = None
        self._kept: dict[int, Any] | None = None

    def keep(self) -> None:
        """Keep blocks on the device from now on, if it has a memory of its own."""
        self._kept = {} if self._device.keeps(self.n * self.d) else None

    def sample(self, most: int) -> Iterator[Any]:
        """Yield at most so many rows, spread evenly, in blocks as :meth:`block` returns them."""
        where = np.arange(self.n) if self.n <= most else np.linspace(0, self.n - 1, most).astype(np.intp)
        for start in range(0, len(where), _SAMPLED):
            some = where[start : start + _SAMPLED]
            rows = self._X[some if self._chosen is None else self._chosen[some]]
            yield self._device.array(self._converted(rows))

    def parts(self, columns: int) -> list[list[slice]]:
        """Return blocks for products with as many columns, dealt out to the device's workers."""
        step = self._device.block_rows(columns)
        blocks = [slice(start, min(start + step, self.n)) for start in range(0, self.n, step)]
        share = -(-len(blocks) // self._device.workers)
        return [blocks[i : i + share] for i in range(0, len(blocks), share)]

    def block(self, where: slice) -> Any:
        """Return a block of rows less the shift, where the products are computed."""
        if self._kept is not None and where.start in self._kept:
            return self._kept[where.start]
        rows = self._X[where] if self._chosen is None else self._X[self._chosen[where]]
        block = self._device.array(self._converted(rows))
        if self._kept is not None:
            self._kept[where.start] = block
        return block

    def _converted(self, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
        rows = np.asarray(rows, dtype=self._device.dtype)
        return rows if self.shift is None else rows - self.shift


def moments(
    X: npt.NDArray[Any], chosen: npt.NDArray[np.intp] | None, weights: npt.NDArray[Any]
) -> tuple[Floats, Floats]:
    """Return weighted means and standard deviations of the columns, for several weightings in one pass.

    Parameters
    ----------
    X : ndarray of shape (m, d), float16, float32 or float64
        Features.
    chosen : ndarray of shape (n,), int, or None
        The rows that count; None for all.
    weights : ndarray of shape (s, n), float32 or float64
        Not negative.

    Returns
    -------
    means : ndarray of shape (s, d), float64
    scales : ndarray of shape (s, d), float64
        Standard deviations; 1 for a column that is constant, by the rule of
        :class:`sklearn.preprocessing.StandardScaler`.
    """
    device = NumpyDevice(weights.dtype)
    rows = Rows(X, chosen, device)
    # the median of a few rows: near the mean, and of a constant column itself
    rows.shift = origin = np.median(next(rows.sample(9)), axis=0)
    s, d = len(weights), rows.d

    def sums(part: list[slice]) -> Floats:
        total = np.zeros((2, s, d))
        for where in part:
            block, weight = rows.block(where), weights[:, where]
            total[0] += weight @ block
            total[1] += weight @ np.square(block, out=block)  # not X itself: the shift was taken off
        return total

    with device.session():
        first, second = np.sum(device.each(sums, rows.parts(1)), axis=0)
    n = weights.sum(axis=1, dtype=np.float64)[:, None]
    first, second = first / n, second / n
    means, variances = origin + first, second - first**2
    for i in range(s):
        lost = np.flatnonzero(variances[i] <= _LOST * second[i])
        if lost.size:
            means[i, lost], variances[i, lost] = _exact(Rows(X, chosen, device), lost, weights[i])
    eps = np.finfo(np.float64).eps
    constant = variances <= n * eps * variances + (n * means * eps) ** 2
    return means, np.sqrt(np.where(constant, 1, variances))


def _exact(rows: Rows, columns: npt.NDArray[np.intp], weights: npt.NDArray[Any]) -> tuple[Floats, Floats]:
    """Return means and variances of some columns, with a pass for each."""
    n = weights.sum(dtype=np.float64)
    part = [where for share in rows.parts(1) for where in share]

    def blocks() -> Iterator[tuple[Floats, Floats]]:
        for where in part:
            yield rows.block(where)[:, columns].astype(np.float64), weights[where].astype(np.float64)

    means = sum((weight @ block for block, weight in blocks()), start=np.zeros(len(columns))) / n
    squares = sum((weight @ (block - means) ** 2 for block, weight in blocks()), start=np.zeros(len(columns)))
    return means, np.asarray(squares / n)
