"""The work itself: fill a workspace with parts, then put the stores together from them."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.caching._choice import Choice, choose
from featx.caching._cluster import Cluster
from featx.caching._compute import Job, Progress, missing
from featx.caching._known import KnownViews, gather, image_rows
from featx.caching._lock import lock_of, locked
from featx.caching._memory import version_of
from featx.caching._network import Network
from featx.caching._targets import Target, known_digests, sample_table, views_left
from featx.errors import StoreError
from featx.extraction import Timings
from featx.sources import Source
from featx.spec import digest_of
from featx.store import FeatureStore, Workspace, require_space, rows_per_shard, workspace_folder, write_store

__all__ = ["Changes", "fill_stores"]


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
        Images that went through the network now; each view of a sample is one.
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
    network: Network,
    *,
    cluster: Cluster,
    listing: str,
    engine: str | None,
    batch_size: int | None,
    workers: int | None,
    strict: bool,
    rehash: bool,
    progress: Progress | None,
    compress: bool,
    shards: int | str | None,
) -> tuple[list[Changes], dict[str, float]]:
    """Compute what no store has and write the targets.

    Return what was found against each as it was, and the seconds that each stage took.

    The source's samples are worked on under a lock, in a folder beside the first of the targets.
    """
    began = time.monotonic()
    timings = Timings()
    wanted = [target.wanted for target in targets]
    if shards is not None:  # too many of them are better refused now than in the end
        for target in targets:
            rows_per_shard(shards, len(source), target.wanted.row_bytes)
    digests: list[str | None] = [None] * len(source) if rehash else known_digests(source, targets)
    left = views_left(digests, targets)
    order = [i for i, count in enumerate(left) if count]
    folder = workspace_folder(targets[0].path)
    with locked(lock_of(folder)):
        manifest = {
            "identity": source.identity,
            "listing": listing,
            "specs": [one.spec.digest for one in wanted],
            "order": digest_of(order),
            "device": network.resolved.device.partition(":")[0],
        }
        with timings.on("prepare"):
            threads = cluster.threads(workers)
            begun = Workspace.manifest_in(folder)
            choice = _as_begun(begun, manifest, engine=engine, batch_size=batch_size) or cluster.ask(
                choose, network, wanted, engine=engine, batch_size=batch_size, count=sum(left), workers=threads
            )
        workspace = Workspace.open(folder, {**manifest, **asdict(choice)})
        known = KnownViews([target.known for target in targets])
        job = Job(source, order, wanted, known, workspace, choice.batch_size, threads, strict)
        ranges, there = missing(job)
        done = len(order) - sum(stop - start for start, stop in ranges)
        require_space(folder, sum(one.row_bytes for one in wanted) * (len(source) + len(order) - done))
        report = _counter(done, len(order), progress)
        computed = cluster.compute(job, ranges, network, choice.engine, computed=there, timings=timings, report=report)
        facts = {
            "source": {
                "name": source.name,
                "identity": source.identity,
                "listing": listing,
                "samples": len(source),
                **({"arranged": source.arranged} if source.arranged else {}),
            },
            "backbone": network.resolved.backbone,
            "creation": {
                **{package: version_of(package) for package in ("featx", "torch", "onnxruntime")},
                **asdict(choice),
                "device": network.resolved.device,
                "workers": threads,
                **cluster.facts,
                "computed": computed,
                "seconds": round(time.monotonic() - began, 3),
                "stages": {stage: round(seconds, 3) for stage, seconds in timings.seconds.items()},
                "time": datetime.now(UTC).isoformat(timespec="seconds"),
            },
        }
        with timings.on("write"):
            changes = put_together(
                source, targets, order, digests, workspace, computed, facts, compress=compress, shards=shards
            )
            workspace.remove()
    return changes, timings.seconds


def _counter(done: int, total: int, progress: Progress | None) -> Callable[[int], None]:
    """Return what takes numbers of samples and reports how many are done."""

    def report(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done, total)

    report(0)
    return report


def _as_begun(
    begun: Mapping[str, Any] | None, manifest: Mapping[str, Any], *, engine: str | None, batch_size: int | None
) -> Choice | None:
    """Return what computed the parts of work that was begun, unless that was other work or is not asked for."""
    if begun is None or {**begun, **manifest} != begun:
        return None
    choice = Choice(begun["engine"], begun["batch_size"])
    return choice if engine in (None, choice.engine) and batch_size in (None, choice.batch_size) else None


def put_together(
    source: Source,
    targets: Sequence[Target],
    order: Sequence[int],
    digests: list[str | None],
    workspace: Workspace,
    computed: int,
    facts: Mapping[str, Any],
    *,
    compress: bool,
    shards: int | str | None,
) -> list[Changes]:
    """Put the stores together, in the order of the source, from the parts and what was known before.

    `digests` has the content of the samples that were not worked on.
    """
    table = sample_table(source)
    contents = list(digests)
    parts = list(workspace.parts())
    covered = sum(part.stop - part.start for part in parts)
    if covered != len(order):
        raise StoreError(
            f"{workspace.folder} has parts for {covered} of {len(order)} samples, though all were computed: see that"
            " nothing else works in that folder, and run the same command to compute the others again"
        )
    fresh: dict[str, tuple[int, int, int]] = {}
    """Of each content, its part, the row of the first of its images there, and how many there are."""
    failures = []
    for row in order:
        contents[row] = None
    for number, part in enumerate(parts):
        for position, digest in zip(part.rows.tolist(), part.digests.tolist(), strict=True):
            contents[order[position]] = digest
        firsts = (part.fresh.cumsum() - part.fresh).tolist()
        for digest, first, count in zip(part.digests.tolist(), firsts, part.fresh.tolist(), strict=True):
            if count:
                fresh[digest] = number, first, count
        failures += [(table.keys[order[position]], reason) for position, reason in part.failures]
    here = [row for row, digest in enumerate(contents) if digest is not None]
    good = [digest for digest in contents if digest is not None]
    samples = table.take(here)
    now = dict(zip(samples.keys, good, strict=True))
    for index, target in enumerate(targets):
        arrays = [part.features[index] for part in parts] + list(map(image_rows, target.known.stores))
        write_store(
            target.path,
            spec=target.wanted.spec,
            samples=samples,
            digests=good,
            features=gather(
                arrays, _places(good, fresh, target, len(parts)), target.wanted.image_shape, target.wanted.spec.dtype
            ),
            feature_shape=target.wanted.shape,
            axes=target.wanted.axes,
            failures=failures,
            compress=compress,
            shards=shards,
            **facts,
        )
    return [_changes(target.old, now, failures, fresh, computed) for target in targets]


def _places(
    digests: Sequence[str], fresh: Mapping[str, tuple[int, int, int]], target: Target, parts: int
) -> npt.NDArray[np.int64]:
    """Return where the features of each content are, (n, 2), or of each of its views, (n, views, 2).

    The last views are those that were computed; what comes before them is in stores, behind the parts.
    """
    views = target.wanted.spec.views
    ends = [fresh.get(digest, (0, 0, 0)) for digest in digests]
    starts = [
        target.known.place(digest) if count < views else (0, 0)
        for digest, (_, _, count) in zip(digests, ends, strict=True)
    ]
    part, row, count = np.array(ends, dtype=np.int64).reshape(-1, 3, 1).swapaxes(0, 1)
    store, store_row = np.array(starts, dtype=np.int64).reshape(-1, 2, 1).swapaxes(0, 1)
    view, first = np.arange(views), views - count
    numbers = np.where(view < first, parts + store, part)
    rows = np.where(view < first, store_row + view, row + view - first)
    places = np.stack([numbers, rows], axis=-1)
    return places if views > 1 else places[:, 0]


def _changes(
    old: FeatureStore | None,
    now: Mapping[str, str],
    failures: Sequence[tuple[str, str]],
    fresh: Mapping[str, tuple[int, int, int]],
    computed: int,
) -> Changes:
    """Compare the samples of an older store with those of now, whose digests `now` has by key."""
    before: dict[str, str | None] = {}
    if old is not None:
        before.update(zip(old.keys, old.digests, strict=True))
        before.update((key, None) for key, _ in old.failures)
    others = {key: digest for key, digest in now.items() if before.get(key) != digest}
    failed = {key for key, _ in failures}
    sent = sum(count for _, _, count in fresh.values())
    return Changes(
        kept=len(now) - len(others),
        new=len((others.keys() | failed) - before.keys()),
        changed=len(others.keys() & before.keys()) + sum(before.get(key) is not None for key in failed),
        removed=len(before.keys() - now.keys() - failed),
        copied=len(others) - len(fresh.keys() & set(others.values())),
        computed=computed,
        resumed=max(0, sent - computed),  # several processes may meet one content at the same time
        failed=len(failed),
    )
