"""The work itself: fill a workspace with parts, then put the stores together from them."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np

from featx.caching._known import gather
from featx.caching._lock import locked
from featx.caching._targets import Target, known_digests, sample_table
from featx.errors import SampleError
from featx.extraction import Batch, Engine, extract_batches
from featx.sources import Source
from featx.spec import digest_of
from featx.store import FeatureStore, Part, Workspace, require_space, workspace_folder, write_store

__all__ = ["Changes", "Progress", "fill_stores"]

Progress = Callable[[int, int], None]
"""Called with the number of samples done and their total, after each batch."""

_PART_BYTES = 64 * 2**20
_PART_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Changes:
    """What an extraction found, sample by sample, against the store of the same source as it was.

    Parameters
    ----------
    kept : int
        Samples of the same name and content, whose features are those of the older store.
    new, changed, removed : int
        Samples that were not there, have another content, and are there no more.
    copied : int
        Of the new and changed ones, those whose features were there under another name or in another store.
    computed : int
        Images that went through the network now.
    resumed : int
        Images that an interrupted run had sent through it.
    failed : int
        Samples that cannot be used.
    """

    kept: int = 0
    new: int = 0
    changed: int = 0
    removed: int = 0
    copied: int = 0
    computed: int = 0
    resumed: int = 0
    failed: int = 0


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
    rehash: bool,
    progress: Progress | None,
    compress: bool,
) -> list[Changes]:
    """Compute what no store has and write the targets; return what was found against each as it was.

    The source's samples are worked on under a lock, in a folder beside the first of the targets.
    """
    began = time.monotonic()
    digests: list[str | None] = [None] * len(source) if rehash else known_digests(source, targets)
    order = [
        i for i, digest in enumerate(digests) if digest is None or any(digest not in target.known for target in targets)
    ]
    folder = workspace_folder(targets[0].path)
    manifest = {
        "identity": source.identity,
        "listing": listing,
        "specs": [target.wanted.spec.digest for target in targets],
        "order": digest_of(order),
        "batch_size": batch_size,
        "engine": engine.name,
        "device": engine.device.partition(":")[0],
    }
    with locked(folder.with_name(f"{folder.name}.lock")):
        workspace = Workspace.open(folder, manifest)
        done = sum(stop - start for start, stop in workspace.ranges())
        require_space(folder, sum(target.wanted.row_bytes for target in targets) * (len(source) + len(order) - done))
        computed = compute(
            source,
            order,
            targets,
            workspace,
            engine,
            batch_size=batch_size,
            workers=workers,
            strict=strict,
            progress=progress,
        )
        facts = {
            "source": {"name": source.name, "identity": source.identity, "listing": listing, "samples": len(source)},
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
        }
        changes = put_together(source, targets, order, digests, workspace, computed, facts, compress=compress)
        workspace.remove()
    return changes


def compute(
    source: Source,
    order: Sequence[int],
    targets: Sequence[Target],
    workspace: Workspace,
    engine: Engine,
    *,
    batch_size: int,
    workers: int,
    strict: bool,
    progress: Progress | None,
) -> int:
    """Fill the workspace with what it lacks of `order`; return the number of images sent through the network.

    Whatever ends it early, what is done stays done.
    """
    verdicts: dict[str, str | None] = {}
    gaps, done = [], 0
    workspace.ranges()  # damaged parts are deleted, and made again
    for part in workspace.parts():
        if part.start > done:
            gaps.append((done, part.start))
        done = part.stop
        verdicts.update(dict.fromkeys(part.digests[part.fresh].tolist()))
    if done < len(order):
        gaps.append((done, len(order)))
    done = len(order) - sum(stop - start for start, stop in gaps)
    computed = 0
    report = progress or _say_nothing
    report(done, len(order))
    batches = extract_batches(
        source,
        order,
        gaps,
        engine,
        targets[0].wanted.spec.preprocessing,
        batch_size=batch_size,
        workers=workers,
        known=_InAll(targets),
        verdicts=verdicts,
    )
    with closing(_PartWriter(workspace, targets)) as writer:
        for batch in batches:
            if strict and batch.failures:
                row, reason = batch.failures[0]
                key = source.samples[order[row]].key
                raise SampleError(f"{key!r} cannot be used ({reason}): mend or remove it, or leave strict out")
            writer.add(batch)
            done += batch.stop - batch.start
            computed += int(batch.fresh.sum())
            report(done, len(order))
    return computed


def _say_nothing(done: int, total: int) -> None:
    """Stand in for the progress that nobody asked for."""


class _InAll:
    """The digests whose features all of the targets know."""

    def __init__(self, targets: Sequence[Target]) -> None:
        self._known = [target.known for target in targets]

    def __contains__(self, digest: object) -> bool:
        return all(digest in known for known in self._known)


class _PartWriter:
    """Gathers neighbouring batches until they are worth a file."""

    def __init__(self, workspace: Workspace, targets: Sequence[Target]) -> None:
        self._workspace = workspace
        self._targets = targets
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
            self._workspace.write(_part(batches, self._targets))


def _part(batches: Sequence[Batch], targets: Sequence[Target]) -> Part:
    """Join neighbouring batches."""
    features = []
    for i, target in enumerate(targets):
        blocks = [batch.features[i] for batch in batches if batch.features]
        empty = np.empty((0, *target.wanted.shape), dtype=target.wanted.spec.dtype)
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


def put_together(
    source: Source,
    targets: Sequence[Target],
    order: Sequence[int],
    digests: list[str | None],
    workspace: Workspace,
    computed: int,
    facts: Mapping[str, Mapping[str, Any]],
    *,
    compress: bool,
) -> list[Changes]:
    """Put the stores together, in the order of the source, from the parts and what was known before.

    `digests` has the content of the samples that were not worked on.
    """
    table = sample_table(source)
    contents = list(digests)
    parts = list(workspace.parts())
    fresh: dict[str, tuple[int, int]] = {}
    failures = []
    for row in order:
        contents[row] = None
    for number, part in enumerate(parts):
        for position, digest in zip(part.rows.tolist(), part.digests.tolist(), strict=True):
            contents[order[position]] = digest
        for row, digest in enumerate(part.digests[part.fresh].tolist()):
            fresh[digest] = number, row
        failures += [(table.keys[order[position]], reason) for position, reason in part.failures]
    here = [row for row, digest in enumerate(contents) if digest is not None]
    good = [digest for digest in contents if digest is not None]
    samples = table.take(here)
    now = dict(zip(samples.keys, good, strict=True))
    for index, target in enumerate(targets):
        arrays = [part.features[index] for part in parts] + [store.features for store in target.known.stores]
        places = np.array(
            [fresh[digest] if digest in fresh else _behind(parts, target.known.place(digest)) for digest in good],
            dtype=np.int64,
        ).reshape(-1, 2)
        write_store(
            target.path,
            spec=target.wanted.spec,
            samples=samples,
            digests=good,
            features=gather(arrays, places, target.wanted.shape, target.wanted.spec.dtype),
            feature_shape=target.wanted.shape,
            axes=target.wanted.axes,
            failures=failures,
            compress=compress,
            **facts,
        )
    return [_changes(target.old, now, failures, fresh, computed) for target in targets]


def _behind(parts: Sequence[Part], place: tuple[int, int]) -> tuple[int, int]:
    """Return a place in a store as one in the list of the parts and then the stores."""
    return len(parts) + place[0], place[1]


def _changes(
    old: FeatureStore | None,
    now: Mapping[str, str],
    failures: Sequence[tuple[str, str]],
    fresh: Mapping[str, tuple[int, int]],
    computed: int,
) -> Changes:
    """Compare the samples of an older store with those of now, whose digests `now` has by key."""
    before: dict[str, str | None] = {}
    if old is not None:
        before.update(zip(old.keys, old.digests, strict=True))
        before.update((key, None) for key, _ in old.failures)
    others = {key: digest for key, digest in now.items() if before.get(key) != digest}
    failed = {key for key, _ in failures}
    return Changes(
        kept=len(now) - len(others),
        new=len((others.keys() | failed) - before.keys()),
        changed=len(others.keys() & before.keys()) + sum(before.get(key) is not None for key in failed),
        removed=len(before.keys() - now.keys() - failed),
        copied=len(others) - len(fresh.keys() & set(others.values())),
        computed=computed,
        resumed=len(fresh) - computed,
        failed=len(failed),
    )
