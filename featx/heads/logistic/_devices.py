"""The few array operations that the logistic solver is written in, on numpy and on torch.

Large arrays (features, coefficients, gradients) live where the products are computed; numbers by problem are float64
numpy arrays always. Code written for both calls ``device.xp``, which is numpy or torch: what it uses of them has the
same name, the same order of arguments and ``out=`` in both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.errors import ParameterError

__all__ = ["Device", "Floats", "NumpyDevice", "TorchDevice", "open_device"]

Floats = npt.NDArray[np.float64]

_SMALL = 1_000_000
"""OpenBLAS multiplies up to this many terms without repacking: twice as fast where one side is thin."""
_TILE = 64


class NumpyDevice:
    """numpy on the processor.

    As many workers as BLAS would have had threads take blocks of rows, each with one thread of BLAS: a block is used
    for both products while it is in the cache, and numpy's own loops run on all cores, too.

    Parameters
    ----------
    dtype : {float32, float64}
        Of the arrays and the products.
    """

    xp: Any = np
    float64: Any = np.float64

    def __init__(self, dtype: npt.DTypeLike) -> None:
        self.dtype = np.dtype(dtype)
        self.workers = 1
        self._pool: ThreadPoolExecutor | None = None

    @contextmanager
    def session(self) -> Iterator[None]:
        """Keep the workers for a while."""
        from threadpoolctl import ThreadpoolController

        blas = ThreadpoolController().select(user_api="blas")
        self.workers = max([1, *(library["num_threads"] for library in blas.info())])
        with blas.limit(limits=1), ThreadPoolExecutor(self.workers) as self._pool:
            yield
        self._pool = None

    def each(self, work: Callable[[Any], Any], parts: Sequence[Any]) -> list[Any]:
        """Return ``work(part)`` of each part, computed by the workers."""
        if self._pool is None or len(parts) == 1:
            return [work(part) for part in parts]
        return list(self._pool.map(work, parts))

    def block_rows(self, columns: int) -> int:
        """Return how many rows to take at a time, for products with as many columns."""
        return 256 if columns < 128 else 512

    def array(self, values: npt.ArrayLike) -> Any:
        """Return values as an array of the device's dtype."""
        return np.ascontiguousarray(values, dtype=self.dtype)

    def index(self, values: npt.ArrayLike) -> Any:
        """Return positions as an array that indexes the device's arrays."""
        return np.ascontiguousarray(values, dtype=np.intp)

    def host(self, values: Any) -> Floats:
        """Return an array of the device as float64."""
        return np.asarray(values, dtype=np.float64)

    def keeps(self, values: int) -> bool:
        """Return whether so many numbers of features should be copied to the device: they are read where they lie."""
        return False

    def dot(self, a: Any, b: Any) -> Floats:
        """Return the inner product of each row of `a` with that of `b`."""
        dots: Floats = np.vecdot(a, b).astype(np.float64)
        return dots

    def scores(self, coef: Any, block: Any) -> Any:
        """Return ``coef @ block.T``, (columns, rows)."""
        (k, d), rows = coef.shape, len(block)
        out = np.empty((k, rows), dtype=self.dtype)
        whole = rows - rows % _TILE if k * d * _TILE <= _SMALL else 0
        tiles = block[:whole].reshape(-1, _TILE, d)
        np.matmul(coef, tiles.swapaxes(1, 2), out=out[:, :whole].reshape(k, -1, _TILE).swapaxes(0, 1))
        if whole < rows:
            np.matmul(coef, block[whole:].T, out=out[:, whole:])
        return out

    def gradient(self, residuals: Any, block: Any) -> Any:
        """Return ``residuals @ block``, (columns, d)."""
        (k, rows), d = residuals.shape, block.shape[1]
        whole = rows - rows % _TILE if k * d * _TILE <= _SMALL else 0
        if not whole:
            return residuals @ block
        tiles = residuals[:, :whole].reshape(k, -1, _TILE).swapaxes(0, 1)
        sums = np.matmul(tiles, block[:whole].reshape(-1, _TILE, d)).sum(0)
        return sums + residuals[:, whole:] @ block[whole:] if whole < rows else sums


class TorchDevice:
    """torch on one of its devices: the same operations on tensors.

    Parameters
    ----------
    name : str
        What ``torch.device`` takes.
    dtype : {float32, float64}
        Of the tensors and the products; float32 ones are computed without TF32.

    Raises
    ------
    ParameterError
        There is no such device here.
    """

    workers = 1

    def __init__(self, name: str, dtype: npt.DTypeLike) -> None:
        import torch

        self.xp: Any = torch
        self.float64: Any = torch.float64
        self.dtype = np.dtype(dtype)
        try:
            self._device = torch.device(name)
            torch.zeros(1, device=self._device)
        except (RuntimeError, AssertionError) as error:
            raise ParameterError(
                f"device must be 'cpu' or a device that torch has here, such as 'cuda'; got {name!r}, and torch says"
                f" {str(error).splitlines()[0]!r}"
            ) from None

    @contextmanager
    def session(self) -> Iterator[None]:
        """Compute without gradients and without TF32 for a while."""
        torch = self.xp
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
        try:
            with torch.inference_mode():
                yield
        finally:
            torch.set_float32_matmul_precision(before)

    def each(self, work: Callable[[Any], Any], parts: Sequence[Any]) -> list[Any]:
        """Return ``work(part)`` of each part."""
        return [work(part) for part in parts]

    def block_rows(self, columns: int) -> int:
        """Return how many rows to take at a time, for products with as many columns."""
        return 1 << 13

    def array(self, values: npt.ArrayLike) -> Any:
        """Return values as a tensor of the device's dtype."""
        return self.xp.as_tensor(np.array(values, dtype=self.dtype), device=self._device)

    def index(self, values: npt.ArrayLike) -> Any:
        """Return positions as a tensor that indexes the device's tensors."""
        return self.xp.as_tensor(np.array(values, dtype=np.int64), device=self._device)

    def host(self, values: Any) -> Floats:
        """Return a tensor as a float64 array."""
        array: Floats = values.to("cpu", self.float64).numpy()
        return array

    def keeps(self, values: int) -> bool:
        """Return whether so many numbers of features are best copied to the device: if they fit, with room to work."""
        on_gpu = self._device.type == "cuda"
        return on_gpu and bool(values * self.dtype.itemsize < 0.6 * self.xp.cuda.mem_get_info(self._device)[0])

    def dot(self, a: Any, b: Any) -> Floats:
        """Return the inner product of each row of `a` with that of `b`."""
        return self.host((a * b).sum(1))

    def scores(self, coef: Any, block: Any) -> Any:
        """Return ``coef @ block.T``, (columns, rows)."""
        return coef @ block.T

    def gradient(self, residuals: Any, block: Any) -> Any:
        """Return ``residuals @ block``, (columns, d)."""
        return residuals @ block


Device = NumpyDevice | TorchDevice


def open_device(name: str, dtype: npt.DTypeLike) -> Device:
    """Return the device of a name: numpy for ``"cpu"``, torch for the rest (``"torch:cpu"`` is torch's processor).

    Raises
    ------
    ParameterError
        The name is no device here.
    """
    if not isinstance(name, str):
        raise ParameterError(f"device must be a name such as 'cpu' or 'cuda'; got {name!r}")
    return NumpyDevice(dtype) if name == "cpu" else TorchDevice(name.removeprefix("torch:"), dtype)
