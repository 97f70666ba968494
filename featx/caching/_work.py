"""The work itself: fill a workspace with parts, then put the stores together from them."""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import numpy as np

from featx.caching._choice import Choice, choose
from featx.caching._cluster import Cluster
from featx.caching._compute import Job, Progress, missing
from featx.caching._index import DIGEST
from featx.caching._join import Changes, put_together
from featx.caching._known import KnownViews
from featx.caching._lock import lock_of, locked
from featx.caching._memory import version_of
from featx.caching._network import Network
from featx.caching._targets import Target, known_digests, views_left
from featx.extraction import Timings
from featx.sources import Source
from featx.store import Workspace, require_space, rows_per_shard, workspace_folder

__all__ = ["fill_stores"]


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
    digests = np.zeros(len(source), dtype=DIGEST) if rehash else known_digests(source, targets)
    left = views_left(digests, targets)
    order = np.flatnonzero(left)
    digests[order] = b""
    folder = workspace_folder(targets[0].path)
    with locked(lock_of(folder)):
        manifest = {
            "identity": source.identity,
            "listing": listing,
            "specs": [one.spec.digest for one in wanted],
            "order": hashlib.sha256(order.astype("<i8").tobytes()).hexdigest(),
            "device": network.resolved.device.partition(":")[0],
        }
        with timings.on("prepare"):
            threads = cluster.threads(workers)
            begun = Workspace.manifest_in(folder)
            choice = _as_begun(begun, manifest, engine=engine, batch_size=batch_size) or cluster.ask(
                choose, network, wanted, engine=engine, batch_size=batch_size, count=int(left.sum()), workers=threads
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
