"""Computing what is missing of a work: batch by batch into parts."""

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from featx.caching._index import Integers, as_digests
from featx.caching._known import KnownViews
from featx.caching._targets import Wanted
from featx.errors import SampleError
from featx.extraction import Batch, Engine, Timings, extract_batches
from featx.sources import Source
from featx.store import Part, Workspace

__all__ = ["Job", "Progress", "Ranges", "compute", "compute_part", "missing"]

Progress = Callable[[int, int], None]
"""Called with the number of samples done and their total, after each batch."""

Ranges = list[tuple[int, int]]

_PART_BYTES = 64 * 2**20
_PART_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be computed, and how.

    Parameters
    ----------
    source : Source
    order : ndarray of int64
        Indices of the samples whose features are not known.
    wanted : sequence of Wanted
        What is to come of each.
    known : KnownViews
        Says of how many leading views of a content the features are known for all that is wanted.
    workspace : Workspace
        Where the parts go.
    batch_size, workers : int
        See :func:`featx.extraction.extract_batches`.
    strict : bool
        Whether a bad sample ends the work.
    """

    source: Source
    order: Integers
    wanted: Sequence[Wanted]
    known: KnownViews
    workspace: Workspace
    batch_size: int
    workers: int
    strict: bool


def missing(job: Job) -> tuple[Ranges, set[str]]:
    """Return the stretches of the order that no part covers, and, if there are any, the digests of what the parts have.

    A part that leans on features that were there and are no more is deleted: it is made again, as damaged ones are.
    """
    job.workspace.ranges()  # damaged parts are deleted
    lean: dict[int, set[str]] = {}
    for part in job.workspace.parts():
        if _lacks(job, part):
            job.workspace.discard(part)
        else:
            lean[part.start] = _leans_on(job, part)
    needed = set[str]().union(*lean.values())
    given = {part.start: needed.intersection(part.digests[part.fresh > 0].tolist()) for part in job.workspace.parts()}
    while lost := _lost(lean, given):
        for part in job.workspace.parts():
            if part.start in lost:
                job.workspace.discard(part)
                del given[part.start]
    gaps: Ranges = []
    done = 0
    for start, stop in job.workspace.ranges():
        if start > done:
            gaps.append((done, start))
        done = stop
    if done < len(job.order):
        gaps.append((done, len(job.order)))
    if not gaps:
        return [], set()
    return gaps, {digest for part in job.workspace.parts() for digest in part.digests[part.fresh > 0].tolist()}


def _lost(lean: Mapping[int, set[str]], given: Mapping[int, set[str]]) -> set[int]:
    """Return the parts, by their starts, that lean on what none of them has."""
    there = set[str]().union(*given.values())
    return {start for start in given if not lean[start] <= there}


def _leans_on(job: Job, part: Part) -> set[str]:
    """Return the contents whose features come neither with their rows in the part nor from a store."""
    others = part.digests[part.fresh == 0]
    return set(others[job.known.of(as_digests(others)) < job.wanted[0].spec.views].tolist())


def _lacks(job: Job, part: Part) -> bool:
    """Return whether stores do not have the first views, where a part has only the last ones."""
    views = job.wanted[0].spec.views
    some = (part.fresh > 0) & (part.fresh < views)
    return bool((job.known.of(as_digests(part.digests[some])) < views - part.fresh[some]).any())


def compute(
    job: Job, ranges: Ranges, engine: Engine, *, computed: set[str], timings: Timings, report: Callable[[int], None]
) -> int:
    """Compute stretches of a job's order; return the number of images (each view is one) sent through the network.

    Whatever ends it early, what is done stays done.

    Parameters
    ----------
    job : Job
    ranges : list of (int, int)
        From :func:`missing`.
    engine : Engine
    computed : set of str
        Digests of what the parts have.
    timings : Timings
    report : callable
        Told the number of samples of each batch.
    """
    count = 0
    with closing(_PartWriter(job.workspace, job.wanted, timings)) as writer:
        for batch in _batches(job, ranges, engine, computed, timings):
            writer.add(batch)
            count += int(batch.fresh.sum())
            report(batch.stop - batch.start)
    return count


def compute_part(
    job: Job,
    start: int,
    stop: int,
    engine: Engine,
    *,
    computed: set[str],
    timings: Timings,
    report: Callable[[int], None],
) -> Part:
    """Compute one stretch of a job's order, all of it or nothing, and return it as a part that is not yet written.

    Parameters
    ----------
    job : Job
    start, stop : int
        Positions in the order.
    engine, computed, timings, report
        As :func:`compute` takes them.
    """
    done = []
    with closing(_batches(job, [(start, stop)], engine, computed, timings)) as batches:
        for batch in batches:
            done.append(batch)
            report(batch.stop - batch.start)
    return _part(done, job.wanted)


def _batches(job: Job, ranges: Ranges, engine: Engine, computed: set[str], timings: Timings) -> Generator[Batch]:
    """Yield what comes of stretches of a job's order, batch by batch."""
    for batch in extract_batches(
        job.source,
        job.order,
        ranges,
        engine,
        job.wanted[0].spec,
        batch_size=job.batch_size,
        workers=job.workers,
        known=job.known,
        verdicts=dict.fromkeys(computed),
        timings=timings,
    ):
        if job.strict and batch.failures:
            row, reason = batch.failures[0]
            key = job.source.samples[job.order[row]].key
            raise SampleError(f"{key!r} cannot be used ({reason}): mend or remove it, or leave strict out")
        yield batch


class _PartWriter:
    """Gathers neighbouring batches until they are worth a file, and writes that while the next are computed."""

    def __init__(self, workspace: Workspace, wanted: Sequence[Wanted], timings: Timings) -> None:
        self._workspace = workspace
        self._wanted = wanted
        self._timings = timings
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="featx-writer")
        self._writing: Future[None] | None = None
        self._start_anew()

    def _start_anew(self) -> None:
        self._batches: list[Batch] = []
        self._size = 0
        self._since = time.monotonic()

    def add(self, batch: Batch) -> None:
        """Take a batch, and write those gathered so far if they are many, old, or no neighbours of it."""
        if self._batches and self._batches[-1].stop != batch.start:
            self._flush()
        self._batches.append(batch)
        self._size += sum(array.nbytes for array in batch.features)
        if self._size >= _PART_BYTES or time.monotonic() - self._since >= _PART_SECONDS:
            self._flush()

    def _flush(self) -> None:
        """Begin to write what is gathered, once the part before it is written."""
        batches = self._batches
        self._start_anew()
        self._wait()
        if batches:
            self._writing = self._thread.submit(self._write, batches)

    def _write(self, batches: Sequence[Batch]) -> None:
        with self._timings.on("write"):
            self._workspace.write(_part(batches, self._wanted))

    def _wait(self) -> None:
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def close(self) -> None:
        """Write what is gathered, and wait until it is there."""
        try:
            self._flush()
            self._wait()
        finally:
            self._thread.shutdown()


def _part(batches: Sequence[Batch], wanted: Sequence[Wanted]) -> Part:
    """Join neighbouring batches."""
    features = []
    for i, one in enumerate(wanted):
        blocks = [batch.features[i] for batch in batches if batch.features]
        empty = np.empty((0, *one.image_shape), dtype=one.spec.dtype)
        features.append(np.concatenate([empty, *blocks]))
    return Part(
        start=batches[0].start,
        stop=batches[-1].stop,
        rows=np.concatenate([batch.rows for batch in batches]),
        digests=np.array([digest for batch in batches for digest in batch.digests], dtype="U64"),
        features=tuple(features),
        failures=tuple(failure for batch in batches for failure in batch.failures),
        fresh=np.concatenate([batch.fresh for batch in batches]),
    )
