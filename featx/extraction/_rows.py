"""What engines have in common: batches of one size, stored types, when rows are the same. No torch."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.errors import EngineError
from featx.extraction._loop import Features
from featx.spec import ExtractionSpec

__all__ = ["as_stored", "require_fp32", "require_same_rows", "run_in_batches"]

_RELATIVE = 1e-3
_COSINE = 1e-5


def require_fp32(specs: Sequence[ExtractionSpec], *, engine: str) -> None:
    """Raise EngineError for an arithmetic that only torch does."""
    for spec in specs:
        if spec.precision != "fp32":
            raise EngineError(
                f"engine {engine!r} computes in precision fp32; got precision {spec.precision!r}: use engine torch"
            )


def as_stored(features: Sequence[npt.NDArray[Any]], specs: Sequence[ExtractionSpec]) -> Features:
    """Return float32 features in the stored types of their specs, C-contiguous."""
    with np.errstate(over="ignore"):  # becomes infinite, which the loop sees
        return tuple(np.ascontiguousarray(array, dtype=spec.dtype) for array, spec in zip(features, specs, strict=True))


def run_in_batches(
    run: Callable[[npt.NDArray[np.uint8]], Sequence[npt.NDArray[Any]]], pixels: npt.NDArray[np.uint8], size: int
) -> Features:
    """Run what takes batches of one size only; the last is filled up with copies of its last image."""
    padded = np.concatenate([pixels, np.repeat(pixels[-1:], -len(pixels) % size, axis=0)])
    parts = [run(padded[start : start + size]) for start in range(0, len(padded), size)]
    return tuple(np.concatenate(arrays)[: len(pixels)] for arrays in zip(*parts, strict=True))


def require_same_rows(got: Sequence[npt.NDArray[Any]], expected: Sequence[npt.NDArray[Any]], *, what: str) -> None:
    """Raise EngineError unless `got` is `expected` to 1e-3 of the largest value, and each row to 1e-5 in cosine."""
    for mine, true in zip(got, expected, strict=True):
        if mine.shape != true.shape:
            raise EngineError(f"{what} gives features of shape {mine.shape} and not {true.shape}: use engine torch")
        a, b = (array.reshape(len(array), -1).astype(np.float64) for array in (mine, true))
        error = np.abs(a - b).max() / max(np.abs(b).max(), np.finfo(np.float32).tiny)
        lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        apart = (1 - (a * b).sum(axis=1) / np.where(lengths > 0, lengths, 1))[lengths > 0].max(initial=0)
        if not (error <= _RELATIVE and apart <= _COSINE):  # not the other way round, for NaN's sake
            raise EngineError(
                f"{what} gives other features than torch (by {error:.1e} of the largest, {apart:.1e} in cosine):"
                " use engine torch"
            )
