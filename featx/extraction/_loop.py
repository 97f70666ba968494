"""The only loop that runs a network over samples."""

import os
from collections import deque
from collections.abc import Callable, Container, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from featx.errors import SampleError
from featx.extraction._transform import preprocess
from featx.sources import Source, content_digest, decode_image
from featx.spec import Preprocessing

__all__ = ["ENGINE_NAMES", "Batch", "Engine", "default_batch_size", "default_workers", "extract_batches"]

_AHEAD = 3
"""Batches that are being decoded while one is in the network."""

_LONGEST = 64
"""A stretch with next to nothing to compute ends after so many batches' worth of samples."""


ENGINE_NAMES = ("torch",)


class Engine(Protocol):
    """Runs one backbone, cut at the wanted layers, on batches of pixels."""

    name: str
    device: str

    def __call__(self, pixels: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[Any], ...]:
        """Return one array (n, ...) per output for pixels of shape (n, height, width, 3)."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What came of the samples ``start`` to ``stop`` of the order.

    Parameters
    ----------
    start, stop : int
        Stretch of the order that was worked on.
    rows : ndarray of shape (m,) and dtype int64
        Positions in the order of the samples that have features, ascending.
    digests : tuple of str
        Content digest of each of them.
    fresh : ndarray of shape (m,) and dtype bool
        Which of them went through the network; the others are equal, by their digest, to an earlier one or to
        one that was known before.
    features : tuple of ndarray of shape (k, ...)
        One array per output of the engine, with a row for each fresh sample.
    failures : tuple of (int, str)
        Position and reason of each sample that has none.
    """

    start: int
    stop: int
    rows: npt.NDArray[np.int64]
    digests: tuple[str, ...]
    fresh: npt.NDArray[np.bool_]
    features: tuple[npt.NDArray[Any], ...]
    failures: tuple[tuple[int, str], ...]


def default_workers() -> int:
    """Return the number of decoding threads for ``workers=None``: the processors this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def default_batch_size(device: str) -> int:
    """Return the batch size that ``auto`` means on a device."""
    return 128 if device.startswith("cuda") else 32


Pixels = npt.NDArray[np.uint8]
Loaded = tuple[str, Pixels | None] | SampleError
"""Content digest and pixels of one sample (none where the digest is known), or why it cannot be used."""


class _Stretch:
    """Neighbouring samples that become one batch, with what is known of each content so far.

    `verdicts` says of each digest that went through the network None, or why its features cannot be used.
    """

    def __init__(self, start: int, known: Container[str], verdicts: dict[str, str | None]) -> None:
        self.start = self.stop = start
        self._known = known
        self._verdicts = verdicts
        self._samples: list[tuple[int, str]] = []
        self._failures: list[tuple[int, str]] = []
        self._fresh: dict[str, int] = {}
        self._pixels: list[Pixels] = []

    def add(self, loaded: Loaded) -> None:
        """Take the next sample."""
        position = self.stop
        self.stop += 1
        if isinstance(loaded, SampleError):
            self._failures.append((position, str(loaded)))
            return
        digest, pixels = loaded
        self._samples.append((position, digest))
        if digest not in self._known and digest not in self._verdicts and digest not in self._fresh:
            assert pixels is not None  # only what is known or has a verdict is not decoded
            self._fresh[digest] = position
            self._pixels.append(pixels)

    def __len__(self) -> int:
        return len(self._pixels)

    def run(self, engine: Engine) -> Batch:
        """Send the fresh samples through the network, and give each sample its verdict."""
        features: tuple[npt.NDArray[Any], ...] = ()
        if self._pixels:
            features = engine(np.stack(self._pixels))
            finite = np.ones(len(self._pixels), dtype=bool)
            for array in features:
                finite &= np.isfinite(array).reshape(len(array), -1).all(axis=1)
            features = tuple(array[finite] for array in features)
            for digest, good in zip(self._fresh, finite, strict=True):
                self._verdicts[digest] = None if good else "its features are not finite"
        good_samples = []
        for position, digest in self._samples:
            reason = None if digest in self._known else self._verdicts[digest]
            if reason is None:
                good_samples.append((position, digest))
            else:
                self._failures.append((position, reason))
        return Batch(
            start=self.start,
            stop=self.stop,
            rows=np.array([position for position, _ in good_samples], dtype=np.int64),
            digests=tuple(digest for _, digest in good_samples),
            fresh=np.array([self._fresh.get(digest) == position for position, digest in good_samples], dtype=bool),
            features=features,
            failures=tuple(sorted(self._failures)),
        )


def _loaded(
    source: Source,
    order: Sequence[int],
    preprocessing: Preprocessing,
    is_known: Callable[[str], bool],
    *,
    ahead: int,
    workers: int,
) -> Generator[Loaded, None, None]:
    """Yield the samples of `order` in their order; so many of the next are being read and decoded meanwhile."""

    def load(index: int) -> Loaded:
        try:
            data = source.read(index)
            digest = content_digest(data)
            return digest, None if is_known(digest) else preprocess(decode_image(data), preprocessing)
        except SampleError as error:
            return error

    pending: deque[Future[Loaded]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="featx-decode")
    try:
        for index in order:
            pending.append(pool.submit(load, index))
            if len(pending) > ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def extract_batches(
    source: Source,
    order: Sequence[int],
    ranges: Sequence[tuple[int, int]],
    engine: Engine,
    preprocessing: Preprocessing,
    *,
    batch_size: int,
    workers: int,
    known: Container[str] = frozenset(),
    verdicts: dict[str, str | None] | None = None,
) -> Iterator[Batch]:
    """Run the engine over samples, batch by batch; decoding goes on while the network computes.

    The same content goes through the network once: what is `known`, or was met before, is read and not decoded.
    A batch reaches as far as it takes to fill it with samples that are not, so that what it holds depends on
    the samples alone, and is the same when the work is taken up again where a batch ended.

    Parameters
    ----------
    source : Source
    order : sequence of int
        Indices into the source, in the order of the work; positions below are positions in it.
    ranges : sequence of (int, int)
        Start and stop of the stretches of positions that are to be done, ascending.
    engine : Engine
    preprocessing : Preprocessing
    batch_size : int
        Samples that go through the network at a time.
    workers : int
        Number of decoding threads.
    known : container of str
        Content digests whose features are not needed.
    verdicts : dict of str to (str or None), optional
        For each digest that was met by earlier batches of the same work None, or why it has no features; it is
        added to.

    Yields
    ------
    Batch
        In the order of the positions. A batch without a fresh sample has an empty tuple of features.
    """
    verdicts = {} if verdicts is None else verdicts
    for start, stop in ranges:
        stretch = _Stretch(start, known, verdicts)
        loaded = _loaded(
            source,
            order[start:stop],
            preprocessing,
            lambda digest: digest in known or digest in verdicts,
            ahead=_AHEAD * batch_size,
            workers=workers,
        )
        with closing(loaded):
            for sample in loaded:
                stretch.add(sample)
                if len(stretch) == batch_size or stretch.stop - stretch.start == _LONGEST * batch_size:
                    yield stretch.run(engine)
                    stretch = _Stretch(stretch.stop, known, verdicts)
        if stretch.stop > stretch.start:
            yield stretch.run(engine)
