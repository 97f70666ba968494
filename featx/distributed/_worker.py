"""What runs in a worker's process: one network, and the shares that it is given."""

import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock
from typing import Any

from featx.caching import Job, Network, compute_part, holder_of, version_of
from featx.distributed._parts import PartsFolder
from featx.distributed._shares import Share
from featx.errors import EngineError, SampleError, SourceError, StoreError
from featx.extraction import Engine, Timings
from featx.sources import content_digest

__all__ = ["Done", "Task", "Worker"]


@dataclass(frozen=True, slots=True)
class Task:
    """What every worker is told, once.

    Parameters
    ----------
    job : Job
        Its workspace by an absolute path.
    network : Network
    engine : str
        Its name.
    computed : set of str
        Digests of what parts have.
    holder : str or None
        Note on who works in the workspace, by which it is known to be the same folder.
    example : (int, str) or None
        A sample that can be read, and the digest of its content.
    parts : PartsFolder or None
        Where the parts go, if not into the workspace.
    version : str or None
        Of featx.
    """

    job: Job
    network: Network
    engine: str
    computed: set[str]
    holder: str | None
    example: tuple[int, str] | None
    parts: PartsFolder | None
    version: str | None


@dataclass(frozen=True, slots=True)
class Done:
    """What came of a share.

    Parameters
    ----------
    images : int
        That were sent through the network.
    seconds : float
        That it took to compute.
    stages : dict of str to float
        Seconds of work in each stage, over all threads.
    """

    images: int
    seconds: float
    stages: dict[str, float]


class _DroppedError(Exception):
    """Another worker has done the share."""


class Worker:
    """Computes shares one at a time; two may be given to it, so that one is computed while the other is written.

    Parameters
    ----------
    folder : str
        Current folder of the one who asks; it is the worker's, too, if it is there.
    """

    def __init__(self, folder: str) -> None:
        with suppress(OSError):
            os.chdir(folder)
        self._turn = Lock()
        self._counts: dict[Share, int] = {}
        self._dropped: set[Share] = set()
        self._task: Task
        self._engine: Engine

    def ask(self, function: Callable[..., Any], arguments: Sequence[Any], keywords: Mapping[str, Any]) -> Any:
        """Call a function."""
        return function(*arguments, **keywords)

    def begin(self, task: Task) -> None:
        """Be told the work, and see that it can be done here.

        Raises
        ------
        FeatxError
            If it cannot.
        """
        here, job = platform.node(), task.job
        version = version_of("featx")
        if version != task.version:
            raise EngineError(
                f"machine {here!r} of the cluster has featx {version}, and the one that asks {task.version}: install"
                " one version everywhere"
            )
        seen = holder_of(job.workspace.folder) == task.holder
        if not seen and task.parts is None:
            raise StoreError(
                f"machine {here!r} of the cluster does not see the folder {str(job.workspace.folder)!r}: keep the cache"
                " on storage that all machines share, or name in parts (--parts) a folder or URL that all can reach"
            )
        if task.example is not None:
            index, digest = task.example
            key, reason = job.source.samples[index].key, "it has other content there"
            try:
                same = content_digest(job.source.read(index)) == digest
            except SampleError as error:
                same, reason = False, str(error)
            if not same:
                raise SourceError(
                    f"machine {here!r} of the cluster does not see {key!r} as the one that asks does ({reason}): put"
                    " the source where all machines find it under the same name"
                )
        self._task = task
        self._engine = task.network.on(task.network.resolved.device, keeping=seen).engine(task.engine, job.wanted)

    def compute(self, share: Share) -> Done | None:
        """Write the part of a share; return None if it was dropped."""
        timings = Timings()

        def report(count: int) -> None:
            if share in self._dropped:
                raise _DroppedError
            self._counts[share] += count

        self._counts[share] = 0
        try:
            with self._turn:
                began = time.monotonic()
                report(0)
                part = compute_part(
                    self._task.job,
                    *share,
                    self._engine,
                    computed=self._task.computed,
                    timings=timings,
                    report=report,
                )
                seconds = time.monotonic() - began
            with timings.on("write"):
                if self._task.parts is None:
                    self._task.job.workspace.write(part)
                else:
                    self._task.parts.leave(part, self._task.job.workspace.digest)
        except _DroppedError:
            return None
        finally:
            del self._counts[share]
            self._dropped.discard(share)
        return Done(int(part.fresh.sum()), seconds, timings.seconds)

    def drop(self, share: Share) -> None:
        """Leave a share at its next batch, or before it is begun."""
        self._dropped.add(share)

    def counts(self) -> dict[Share, int]:
        """Return how many samples of each share are done."""
        return dict(self._counts)
