"""The only loop that runs a network over samples."""

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from featx.errors import ParameterError, SampleError
from featx.extraction._augment import augmentation_for
from featx.extraction._sample import Image, Known, Loaded, load_sample
from featx.extraction._timings import Timings
from featx.sources import Source, decode_image
from featx.spec import ExtractionSpec

__all__ = [
    "ENGINE_NAMES",
    "Batch",
    "Engine",
    "Features",
    "Image",
    "Submit",
    "default_batch_size",
    "default_workers",
    "extract_batches",
]

_AHEAD = 3
"""Batches that are being decoded while one is in the network."""

_ON_THE_WAY = 3
"""Batches that a GPU is given before the first of them must be finished."""

_LONGEST = 64
"""A stretch with next to nothing to compute ends after so many batches' worth of samples."""


ENGINE_NAMES = ("torch", "compile", "onnxruntime")

Features = tuple[npt.NDArray[Any], ...]
"""One array (n, ...) for each output of an engine."""

Submit = Callable[..., Future[Any]]
"""What hands a function and its arguments to a pool of threads."""


class Engine(Protocol):
    """Runs one backbone, cut at the wanted layers, on batches of images."""

    name: str
    device: str
    resizes: bool
    """Whether it takes decoded images of any size, and brings them to the network's size itself."""

    def load(self) -> None:
        """Be ready for a batch: what is slow the first time is done here."""

    def start(self, images: Sequence[Image], submit: Submit) -> Callable[[], Features]:
        """Begin with a batch and return what waits for its features.

        An engine that computes on one core hands its work to `submit`, so that as many batches as the pool has
        threads are computed at a time; any other computes at once, or has its device do so.
        """


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
    fresh : ndarray of shape (m,) and dtype int64
        How many images of each went through the network, the last of its views. None did if the sample is equal, by
        its digest, to an earlier one, or all of its views were known before.
    features : tuple of ndarray of shape (k, ...)
        One array per output of the engine, with a row for each of those images.
    failures : tuple of (int, str)
        Position and reason of each sample that has none.
    """

    start: int
    stop: int
    rows: npt.NDArray[np.int64]
    digests: tuple[str, ...]
    fresh: npt.NDArray[np.int64]
    features: Features
    failures: tuple[tuple[int, str], ...]


def default_workers() -> int:
    """Return the number of threads for ``workers=None``: the processors this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def default_batch_size(engine: str, device: str) -> int:
    """Return the batch size that ``auto`` means where nothing was measured.

    A processor is fastest with so few images that what lies between two layers stays in its caches.
    """
    if device != "cpu":
        return 128
    return 4 if engine == "onnxruntime" else 8


_SEEN = b""
"""Stands for the pixels of an image that is in the network."""


def _fault(image: Image) -> str:
    """Return why the features of an image are not finite: an engine that cannot decode a file answers with NaN."""
    try:
        if isinstance(image, bytes) and image:
            decode_image(image)
    except SampleError as error:
        return str(error)
    return "its features are not finite"


class _Stretch:
    """Neighbouring samples that become one batch, with what is known of each content so far.

    `verdicts` says of each digest that was sent through the network None, or why its features cannot be used.
    """

    def __init__(self, start: int, is_known: Callable[[str], bool], verdicts: dict[str, str | None]) -> None:
        self.start = self.stop = start
        self._is_known = is_known
        self._verdicts = verdicts
        self._samples: list[tuple[int, str]] = []
        self._failures: list[tuple[int, str]] = []
        self._fresh: dict[str, tuple[int, int]] = {}
        """Position and number of images of each content that goes through the network."""
        self._images: list[Image] = []
        self._wait: Callable[[], Features] | None = None

    def add(self, loaded: Loaded) -> None:
        """Take the next sample."""
        position = self.stop
        self.stop += 1
        if isinstance(loaded, SampleError):
            self._failures.append((position, str(loaded)))
            return
        digest, images = loaded
        self._samples.append((position, digest))
        if not self._is_known(digest) and digest not in self._verdicts:
            assert images  # only what is known or was sent is not decoded
            self._verdicts[digest] = None
            self._fresh[digest] = position, len(images)
            self._images.extend(images)

    def __len__(self) -> int:
        return len(self._images)

    def start_engine(self, engine: Engine, submit: Submit) -> None:
        """Send the fresh images to the network."""
        self._wait = engine.start(self._images, submit)
        self._images = [image if isinstance(image, bytes) else _SEEN for image in self._images]

    def finish(self) -> Batch:
        """Wait for the features, and give each sample its verdict; earlier stretches must have finished."""
        features: Features = ()
        if self._wait is not None:
            features = self._wait()
            finite = np.ones(len(self), dtype=bool)
            for array in features:
                finite &= np.isfinite(array).reshape(len(array), -1).all(axis=1)
            if not finite.all():
                counts = [count for _, count in self._fresh.values()]
                starts = np.cumsum([0, *counts[:-1]])
                good = np.logical_and.reduceat(finite, starts)
                features = tuple(array[np.repeat(good, counts)] for array in features)
                for digest, first, is_good in zip(self._fresh, starts.tolist(), good.tolist(), strict=True):
                    self._verdicts[digest] = None if is_good else _fault(self._images[first])
        sent = dict(self._fresh.values())
        good_samples = []
        for position, digest in self._samples:
            reason = None if self._is_known(digest) else self._verdicts[digest]
            if reason is None:
                good_samples.append((position, digest))
            else:
                self._failures.append((position, reason))
        return Batch(
            start=self.start,
            stop=self.stop,
            rows=np.array([position for position, _ in good_samples], dtype=np.int64),
            digests=tuple(digest for _, digest in good_samples),
            fresh=np.array([sent.get(position, 0) for position, _ in good_samples], dtype=np.int64),
            features=features,
            failures=tuple(sorted(self._failures)),
        )


def extract_batches(
    source: Source,
    order: Sequence[int] | npt.NDArray[np.int64],
    ranges: Sequence[tuple[int, int]],
    engine: Engine,
    spec: ExtractionSpec,
    *,
    batch_size: int,
    workers: int,
    known: Known = lambda digest: 0,
    verdicts: dict[str, str | None] | None = None,
    timings: Timings | None = None,
) -> Iterator[Batch]:
    """Run the engine over samples, batch by batch; decoding goes on while the network computes.

    The same content goes through the network once: what is `known`, or was met before, is read and not decoded.
    A batch reaches as far as it takes to fill it with images that are not, so that what it holds depends on
    the samples alone, and is the same when the work is taken up again where a batch ended.

    Parameters
    ----------
    source : Source
    order : sequence of int
        Indices into the source, in the order of the work; positions below are positions in it.
    ranges : sequence of (int, int)
        Start and stop of the stretches of positions that are to be done, ascending.
    engine : Engine
    spec : ExtractionSpec
        Says what the network is shown: its preprocessing and views.
    batch_size : int
        Images that go through the network at a time; all views of a sample go together, if they are more.
    workers : int
        Number of threads that read and decode, and run an engine that computes on one core.
    known : callable
        Says for a content digest of how many leading views the features are not needed.
    verdicts : dict of str to (str or None), optional
        For each digest that was met by earlier batches of the same work None, or why it has no features; it is
        added to.
    timings : Timings, optional
        Told what each stage takes.

    Yields
    ------
    Batch
        In the order of the positions. A batch without a fresh sample has an empty tuple of features.
    """
    if spec.preprocessing.decode == "gpu" and not engine.resizes:
        raise ParameterError(f"decode 'gpu' needs a GPU; got device {engine.device!r}: use another device, or exact")
    timings = Timings() if timings is None else timings
    verdicts = {} if verdicts is None else verdicts
    ahead = -(-_AHEAD * batch_size // spec.views) + 2 * workers
    with closing(_Pool(workers, timings)) as pool:
        load = partial(
            load_sample,
            source,
            spec,
            augmentation_for(spec.views, spec.augment, spec.augment_seed),
            lambda digest: spec.views if digest in verdicts else known(digest),
            timings,
            resize=not engine.resizes,
        )

        def is_known(digest: str) -> bool:
            return known(digest) >= spec.views

        def started() -> Iterator[_Stretch]:
            """Yield stretches whose fresh samples have been sent to the network."""
            for start, stop in ranges:
                stretch = _Stretch(start, is_known, verdicts)
                for loaded in pool.map(load, map(int, order[start:stop]), ahead=ahead):
                    stretch.add(loaded)
                    length = stretch.stop - stretch.start
                    if len(stretch) >= batch_size or length == _LONGEST * batch_size or stretch.stop == stop:
                        if len(stretch):
                            with timings.on("prepare"):
                                engine.load()
                            with pool.computing():
                                stretch.start_engine(engine, pool.submit)
                        yield stretch
                        stretch = _Stretch(stretch.stop, is_known, verdicts)

        # What is on its way to a GPU takes memory there; cores of a processor take a batch each, and one is ready.
        yield from _finished(started(), pool, at_a_time=_ON_THE_WAY if engine.resizes else workers + 1)


def _finished(stretches: Iterator[_Stretch], pool: "_Pool", *, at_a_time: int) -> Iterator[Batch]:
    """Yield what comes of stretches, so many at a time; those before an error are yielded before it is raised."""
    under_way: deque[_Stretch] = deque()

    def finish() -> Batch:
        with pool.computing():
            return under_way.popleft().finish()

    failed: Exception | None = None
    while failed is None:
        try:
            under_way.append(next(stretches))
        except StopIteration:
            break
        except Exception as error:
            failed = error
        if len(under_way) == at_a_time:
            yield finish()
    while under_way:
        yield finish()
    if failed is not None:
        raise failed


class _Pool:
    """Threads that load samples and, for an engine that computes on one core, run it."""

    def __init__(self, workers: int, timings: Timings) -> None:
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="featx-worker")
        self._workers = workers
        self._timings = timings
        self._began = time.perf_counter()
        self._before = dict(timings.seconds)
        self._blocked = 0.0
        self._computes = False

    def map(self, load: Callable[[int], Loaded], order: Iterable[int], *, ahead: int) -> Iterator[Loaded]:
        """Yield what `load` makes of each index, in their order; so many of the next are being loaded meanwhile."""
        pending: deque[Future[Loaded]] = deque()
        for index in order:
            pending.append(self._pool.submit(load, index))
            if len(pending) > ahead:
                yield self._result(pending.popleft())
        while pending:
            yield self._result(pending.popleft())

    def _result(self, future: Future[Loaded]) -> Loaded:
        began = time.perf_counter()
        loaded = future.result()
        self._blocked += time.perf_counter() - began
        return loaded

    def submit(self, function: Callable[..., Any], /, *args: Any) -> Future[Any]:
        """Have an engine's work done by the next thread that is free."""
        self._computes = True

        def run() -> Any:
            with self._timings.on("forward"):
                return function(*args)

        return self._pool.submit(run)

    def computing(self) -> AbstractContextManager[None]:
        """Count a ``with`` block as the network's time, unless the threads count it."""
        return nullcontext() if self._computes else self._timings.on("forward")

    def close(self) -> None:
        """Begin nothing more, and wait for what the threads have in hand."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        spent = {stage: seconds - self._before[stage] for stage, seconds in self._timings.seconds.items()}
        worked = sum(spent[stage] for stage in ("read", "decode", "transform", "forward"))
        wall = time.perf_counter() - self._began - spent["prepare"]
        self._timings.add("waiting", max(0.0, wall - worked / self._workers) if self._computes else self._blocked)
