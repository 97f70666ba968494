"""The only loop that runs a network over samples."""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.errors import SampleError
from featx.extraction._engine import Engine
from featx.extraction._transform import preprocess
from featx.sources import Source, content_digest, decode_image
from featx.spec import Preprocessing

__all__ = ["Batch", "default_batch_size", "default_workers", "extract_batches"]

_AHEAD = 3
"""Batches that are being decoded while one is in the network."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What came of the samples ``start`` to ``stop`` of the order.

    Parameters
    ----------
    start, stop : int
        Stretch of the order that was worked on.
    rows : ndarray of shape (m,) and dtype int64
        Positions in the order of the samples that gave features, ascending.
    digests : tuple of str
        Content digest of each of them.
    features : tuple of ndarray of shape (m, ...)
        One array per output of the engine.
    failures : tuple of (int, str)
        Position and reason of each sample that gave none.
    """

    start: int
    stop: int
    rows: npt.NDArray[np.int64]
    digests: tuple[str, ...]
    features: tuple[npt.NDArray[Any], ...]
    failures: tuple[tuple[int, str], ...]


def default_workers() -> int:
    """Return the number of decoding threads for ``workers=None``: the processors this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def default_batch_size(device: str) -> int:
    """Return the batch size that ``auto`` means on a device."""
    return 128 if device.startswith("cuda") else 32


Loaded = tuple[str, npt.NDArray[np.uint8]] | SampleError
"""Content digest and pixels of one sample, or why there are none."""


def _load(source: Source, index: int, preprocessing: Preprocessing) -> Loaded:
    """Read, digest, decode and preprocess one sample, in a decoding thread."""
    try:
        data = source.read(index)
        return content_digest(data), preprocess(decode_image(data), preprocessing)
    except SampleError as error:
        return error


def _results(decoding: tuple[int, list[Future[Loaded]]]) -> tuple[int, list[Loaded]]:
    start, futures = decoding
    return start, [future.result() for future in futures]


def _run(engine: Engine, start: int, loaded: Sequence[Loaded]) -> Batch:
    failures = [(start + i, str(item)) for i, item in enumerate(loaded) if isinstance(item, SampleError)]
    good = [(start + i, *item) for i, item in enumerate(loaded) if not isinstance(item, SampleError)]
    rows = np.array([row for row, _, _ in good], dtype=np.int64)
    digests = np.array([digest for _, digest, _ in good])
    features: tuple[npt.NDArray[Any], ...] = ()
    if good:
        features = engine(np.stack([pixels for _, _, pixels in good]))
        finite = np.ones(len(good), dtype=bool)
        for array in features:
            finite &= np.isfinite(array).reshape(len(good), -1).all(axis=1)
        if not finite.all():
            failures += [(int(row), "its features are not finite") for row in rows[~finite]]
            rows, digests = rows[finite], digests[finite]
            features = tuple(array[finite] for array in features)
    return Batch(
        start=start,
        stop=start + len(loaded),
        rows=rows,
        digests=tuple(digests.tolist()),
        features=features,
        failures=tuple(sorted(failures)),
    )


def extract_batches(
    source: Source,
    order: Sequence[int],
    starts: Sequence[int],
    engine: Engine,
    preprocessing: Preprocessing,
    *,
    batch_size: int,
    workers: int,
) -> Iterator[Batch]:
    """Run the engine over samples, batch by batch; decoding goes on while the network computes.

    Parameters
    ----------
    source : Source
    order : sequence of int
        Indices into the source, in the order of the work; positions below are positions in it.
    starts : sequence of int
        Positions at which the wanted batches start; all are multiples of `batch_size`, so that a batch is the
        same whenever it is computed.
    engine : Engine
    preprocessing : Preprocessing
    batch_size : int
    workers : int
        Number of decoding threads.

    Yields
    ------
    Batch
        In the order of `starts`. A batch of only bad samples has no rows and an empty tuple of features.
    """
    pending: deque[tuple[int, list[Future[Loaded]]]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="featx-decode")
    try:
        for start in starts:
            indices = order[start : start + batch_size]
            pending.append((start, [pool.submit(_load, source, index, preprocessing) for index in indices]))
            if len(pending) > _AHEAD:
                yield _run(engine, *_results(pending.popleft()))
        while pending:
            yield _run(engine, *_results(pending.popleft()))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
