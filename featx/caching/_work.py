"""The work itself: fill a workspace with parts, then put the stores together from them."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.caching._lock import locked
from featx.caching._targets import Target, sample_table
from featx.errors import SampleError
from featx.extraction import Batch, Engine, Output, extract_batches
from featx.sources import Source
from featx.spec import digest_of
from featx.store import Part, Workspace, workspace_folder, write_store

__all__ = ["Progress", "fill_stores"]

Progress = Callable[[int, int], None]
"""Called with the number of samples done and their total, after each batch."""

_PART_BYTES = 64 * 2**20
_PART_SECONDS = 30.0
_BLOCK_ROWS = 4096


def fill_stores(
    source: Source,
    targets: Sequence[Target],
    engine: Engine,
    *,
    backbone: Mapping[str, Any],
    listing: str,
    batch_size: int,
    workers: int,
    strict: bool,
    progress: Progress | None,
) -> int:
    """Compute what no store has and write the targets; return the number of samples run now.

    The source's samples are worked on under a lock, in a folder beside the first of the targets.
    """
    began = time.monotonic()
    order = np.flatnonzero(np.any([target.old_rows < 0 for target in targets], axis=0))
    outputs = [target.output for target in targets]
    folder = workspace_folder(targets[0].path)
    manifest = {
        "identity": source.identity,
        "listing": listing,
        "specs": [output.spec.digest for output in outputs],
        "order": digest_of(order.tolist()),
        "batch_size": batch_size,
        "engine": engine.name,
        "device": engine.device.partition(":")[0],
    }
    with locked(folder.with_name(f"{folder.name}.lock")):
        workspace = Workspace.open(folder, manifest)
        computed = compute(
            source,
            order.tolist(),
            outputs,
            workspace,
            engine,
            batch_size=batch_size,
            workers=workers,
            strict=strict,
            progress=progress,
        )
        put_together(
            source,
            targets,
            order,
            workspace,
            facts={
                "source": {
                    "name": source.name,
                    "identity": source.identity,
                    "listing": listing,
                    "samples": len(source),
                },
                "backbone": backbone,
                "creation": {
                    "featx": version("featx"),
                    "torch": version("torch"),
                    "engine": engine.name,
                    "device": engine.device,
                    "batch_size": batch_size,
                    "workers": workers,
                    "computed": computed,
                    "seconds": round(time.monotonic() - began, 3),
                    "time": datetime.now(UTC).isoformat(timespec="seconds"),
                },
            },
        )
        workspace.remove()
    return computed


def compute(
    source: Source,
    order: Sequence[int],
    outputs: Sequence[Output],
    workspace: Workspace,
    engine: Engine,
    *,
    batch_size: int,
    workers: int,
    strict: bool,
    progress: Progress | None,
) -> int:
    """Fill the workspace with what it lacks of `order`; return the number of samples run now.

    Whatever ends it early, what is done stays done.
    """
    covered = np.zeros(len(order), dtype=bool)
    for start, stop in workspace.ranges():
        covered[start:stop] = True
    starts = [start for start in range(0, len(order), batch_size) if not covered[start]]
    first = done = int(covered.sum())
    report = progress or _say_nothing
    report(done, len(order))
    preprocessing = outputs[0].spec.preprocessing
    batches = extract_batches(source, order, starts, engine, preprocessing, batch_size=batch_size, workers=workers)
    with closing(_PartWriter(workspace, outputs)) as writer:
        for batch in batches:
            if strict and batch.failures:
                row, reason = batch.failures[0]
                key = source.samples[order[row]].key
                raise SampleError(f"{key!r} cannot be used ({reason}): mend or remove it, or leave strict out")
            writer.add(batch)
            done += batch.stop - batch.start
            report(done, len(order))
    return done - first


def _say_nothing(done: int, total: int) -> None:
    """Stand in for the progress that nobody asked for."""


class _PartWriter:
    """Gathers neighbouring batches until they are worth a file."""

    def __init__(self, workspace: Workspace, outputs: Sequence[Output]) -> None:
        self._workspace = workspace
        self._outputs = outputs
        self._start_anew()

    def _start_anew(self) -> None:
        self._batches: list[Batch] = []
        self._size = 0
        self._since = time.monotonic()

    def add(self, batch: Batch) -> None:
        """Take a batch, and write those gathered so far if they are many, old, or no neighbours of it."""
        if self._batches and self._batches[-1].stop != batch.start:
            self.close()
        self._batches.append(batch)
        self._size += sum(array.nbytes for array in batch.features)
        if self._size >= _PART_BYTES or time.monotonic() - self._since >= _PART_SECONDS:
            self.close()

    def close(self) -> None:
        """Write what is gathered."""
        batches = self._batches
        self._start_anew()
        if batches:
            self._workspace.write(_part(batches, self._outputs))


def _part(batches: Sequence[Batch], outputs: Sequence[Output]) -> Part:
    """Join neighbouring batches."""
    features = []
    for i, output in enumerate(outputs):
        blocks = [batch.features[i] for batch in batches if batch.features]
        empty = np.empty((0, *output.shape), dtype=output.spec.dtype)
        features.append(np.concatenate([empty, *blocks]))
    return Part(
        start=batches[0].start,
        stop=batches[-1].stop,
        rows=np.concatenate([batch.rows for batch in batches]),
        digests=np.array([digest for batch in batches for digest in batch.digests], dtype="U64"),
        features=tuple(features),
        failures=tuple(failure for batch in batches for failure in batch.failures),
    )


def merged(
    target: Target,
    index: int,
    order: npt.NDArray[np.int64],
    workspace: Workspace,
    present: npt.NDArray[np.bool_],
) -> Iterator[npt.NDArray[Any]]:
    """Yield the rows of a store in the order of the source, block by block: new ones from the parts, others from
    the older store.

    Parameters
    ----------
    target : Target
    index : int
        Which of the parts' features are its own.
    order : ndarray of shape (m,) and dtype int64
        The samples that were worked on, ascending.
    workspace : Workspace
        Its parts cover all of `order`.
    present : ndarray of shape (n,) and dtype bool
        Whether a sample has a row.
    """
    spec, old = target.output.spec, target.old
    start = 0

    def blocks(samples: npt.NDArray[np.int64], features: npt.NDArray[Any], end: int) -> Iterator[npt.NDArray[Any]]:
        for low in range(start, end, _BLOCK_ROWS):
            high = min(low + _BLOCK_ROWS, end)
            here = np.flatnonzero(present[low:high]) + low
            first, last = np.searchsorted(samples, (low, high))
            new = np.isin(here, samples[first:last])
            block = np.empty((len(here), *target.output.shape), dtype=spec.dtype)
            block[new] = features[first:last]
            if old is not None and not new.all():
                block[~new] = old.features[target.old_rows[here[~new]]]
            yield block

    for part in workspace.parts():
        end = int(order[part.stop - 1]) + 1
        yield from blocks(order[part.rows], part.features[index], end)
        start = end
    nothing = np.empty((0, *target.output.shape), dtype=spec.dtype)
    yield from blocks(np.empty(0, dtype=np.int64), nothing, len(present))


def put_together(
    source: Source,
    targets: Sequence[Target],
    order: npt.NDArray[np.int64],
    workspace: Workspace,
    facts: Mapping[str, Mapping[str, Any]],
) -> None:
    """Put the stores together from the parts and the rows that are kept."""
    table = sample_table(source)
    present = np.ones(len(source), dtype=bool)
    present[order] = False
    digests = np.empty(len(source), dtype="U64")
    failures = []
    for part in workspace.parts():
        rows = order[part.rows]
        present[rows] = True
        digests[rows] = part.digests
        failures += [(table.keys[order[row]], reason) for row, reason in part.failures]
    here = np.flatnonzero(present)
    for index, target in enumerate(targets):
        if target.old is not None:
            kept = np.setdiff1d(here, order, assume_unique=True)
            digests[kept] = np.array(target.old.digests, dtype="U64")[target.old_rows[kept]]
        write_store(
            target.path,
            spec=target.output.spec,
            samples=table.take(here),
            digests=digests[here].tolist(),
            features=merged(target, index, order, workspace, present),
            feature_shape=target.output.shape,
            axes=target.output.axes,
            failures=failures,
            source=facts["source"],
            backbone=facts["backbone"],
            creation=facts["creation"],
        )
