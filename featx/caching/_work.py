"""The work itself: fill a workspace with parts, then put the stores together from them."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.caching._targets import Target, sample_table
from featx.errors import SampleError
from featx.extraction import Batch, Engine, Output, extract_batches
from featx.sources import Source
from featx.store import Part, Workspace, write_store

__all__ = ["Progress", "compute", "put_together"]

Progress = Callable[[int, int], None]
"""Called with the number of samples done and their total, after each batch."""

_PART_BYTES = 64 * 2**20
_PART_SECONDS = 30.0
_BLOCK_ROWS = 4096


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
    """Fill the workspace with what it lacks of `order`; return the number of samples run now."""
    covered = np.zeros(len(order), dtype=bool)
    for start, stop in workspace.ranges():
        covered[start:stop] = True
    starts = [start for start in range(0, len(order), batch_size) if not covered[start]]
    done, total = int(covered.sum()), len(order)
    first = done
    pending: list[Batch] = []
    size, since = 0, time.monotonic()

    def flush() -> None:
        nonlocal size, since
        if pending:
            workspace.write(_part(pending, outputs))
            pending.clear()
        size, since = 0, time.monotonic()

    if progress is not None:
        progress(done, total)
    preprocessing = outputs[0].spec.preprocessing
    batches = extract_batches(source, order, starts, engine, preprocessing, batch_size=batch_size, workers=workers)
    try:
        for batch in batches:
            if strict and batch.failures:
                row, reason = batch.failures[0]
                key = source.samples[order[row]].key
                raise SampleError(f"{key!r} cannot be used ({reason}): mend or remove it, or leave strict out")
            if pending and pending[-1].stop != batch.start:
                flush()
            pending.append(batch)
            size += sum(array.nbytes for array in batch.features)
            done += batch.stop - batch.start
            if size >= _PART_BYTES or time.monotonic() - since >= _PART_SECONDS:
                flush()
            if progress is not None:
                progress(done, total)
    except (KeyboardInterrupt, SampleError):
        flush()  # what is done stays done
        raise
    flush()
    return done - first


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


def _merged(
    target: Target,
    index: int,
    order: npt.NDArray[np.int64],
    workspace: Workspace,
    present: npt.NDArray[np.bool_],
) -> Iterator[npt.NDArray[Any]]:
    """Yield the rows of a store in the order of the source, block by block: new ones from the parts, others from
    the older store.

    `order` has the samples that were worked on, ascending; `present` says of each sample whether it has a row.
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
            features=_merged(target, index, order, workspace, present),
            feature_shape=target.output.shape,
            axes=target.output.axes,
            failures=failures,
            **facts,
        )
