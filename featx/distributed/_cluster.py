"""A Ray cluster, as an extraction is given it."""

import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, ParamSpec, Self, TypeVar

import numpy as np

from featx._ray import address_of, connect, disconnect, load_ray
from featx.caching import Job, Network, Ranges, holder_of, missing, version_of
from featx.distributed._fit import Layout, Machine, layout_of
from featx.distributed._parts import PartsFolder
from featx.distributed._schedule import Schedule
from featx.distributed._shares import Share, shares_of
from featx.distributed._worker import Task
from featx.errors import EngineError, ParameterError, SampleError, StoreError
from featx.extraction import Timings, default_workers
from featx.sources import content_digest
from featx.store import Workspace

__all__ = ["RayCluster"]

P = ParamSpec("P")
T = TypeVar("T")

_PART_BYTES = 64 * 2**20
"""Features of a share at most."""

_SHARES = 4
"""For each worker, at least: so that none waits long for the last."""

_BATCHES = 128
"""Of a share at most, for each thread of a worker: what is lost with it is a matter of seconds."""

_SEEN_SECONDS = 60.0
"""In which a shared folder shows what another machine has written there."""

_EXAMPLES = 8
"""Samples that are tried for one that can be read."""


class RayCluster:
    """Workers on a Ray cluster that compute what an extraction is missing.

    Everything else of an extraction stays where it is called: what is known, what is missing, the lock, and the joining
    of the parts that the workers write. Nothing is set up before there is something to compute. As a context manager
    it stays set up for several extractions.

    Parameters
    ----------
    address : str, optional
        Of a cluster, as ``ray.init`` takes it: ``auto`` for the one that this machine belongs to, or HOST:PORT. By
        default the one that this process is connected to, else one of this machine alone, which is ended afterwards.
    num_workers : int, optional
        Processes that hold the network; by default one for each GPU they have, or without GPUs one for each eight
        processors of a machine, and at least one on each.
    gpus_per_worker : float
        1, part of one that several workers share, or 0 to compute on processors.
    parts : str or path, optional
        Folder or URL (``s3://...``, whatever fsspec knows) that every machine can write to, where they do not see the
        cache folder.
    timeout : float
        Seconds to wait for room for a worker.

    Examples
    --------
    >>> import featx
    >>> store = featx.extract("photos/", cluster=featx.RayCluster(num_workers=2))  # doctest: +SKIP
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        num_workers: int | None = None,
        gpus_per_worker: float = 0,
        parts: str | os.PathLike[str] | None = None,
        timeout: float = 300.0,
    ) -> None:
        if num_workers is not None and (not isinstance(num_workers, int) or num_workers < 1):
            raise ParameterError(f"num_workers must be a whole number of at least 1; got {num_workers!r}")
        if not 0 <= gpus_per_worker <= 1:
            raise ParameterError(
                "gpus_per_worker must be from 0 to 1, for a worker runs its network on one GPU;"
                f" got {gpus_per_worker!r}: use more workers instead"
            )
        self.address = address
        self.num_workers = num_workers
        self.gpus_per_worker = gpus_per_worker
        self.parts = None if parts is None else os.fspath(parts)
        self.timeout = timeout
        self._entered = 0
        self._ours = False
        self._fitted: Layout | None = None

    def __repr__(self) -> str:
        return f"RayCluster({self.address!r}, num_workers={self.num_workers}, gpus_per_worker={self.gpus_per_worker})"

    def __enter__(self) -> Self:
        self._entered += 1
        return self

    def __exit__(self, *failure: object) -> None:
        self._entered -= 1
        if not self._entered:
            self._fitted = None
            if self._ours:
                self._ours = False
                disconnect()

    @property
    def machine(self) -> str:
        """For which machine it is remembered what a network comes to: this one, if its processors are what is used."""
        return f"ray {self.address}" if self.gpus_per_worker else platform.node()

    @property
    def facts(self) -> Mapping[str, Any]:
        """What a store's ``creation`` says."""
        return {} if self._fitted is None else {"cluster": "ray", "num_workers": self._fitted.num_workers}

    def device(self, asked: str) -> str:
        """Return the device that workers have: a GPU if they are given one, else the processor."""
        kind = "cuda" if self.gpus_per_worker else "cpu"
        if asked in ("auto", kind):
            return kind
        raise ParameterError(
            f"device must be auto or {kind} for workers with gpus_per_worker {self.gpus_per_worker:g};"
            f" got {asked!r}: change one of them"
        )

    def threads(self, asked: int | None) -> int:
        """Return the threads of each worker: as many as are asked for, else one for each of its processors."""
        return asked or self._layout().cpus

    def ask(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function where the network runs: on processors, this machine can answer for the others."""
        if not self.gpus_per_worker:
            return function(*args, **kwargs)
        self._connect()
        from featx.distributed._crew import ask_worker

        answer: T = ask_worker(self._hire(), (function, args, kwargs), no_room=self._no_room, timeout=self.timeout)
        return answer

    def compute(
        self,
        job: Job,
        ranges: Ranges,
        network: Network,
        engine: str,
        *,
        computed: set[str],
        timings: Timings,
        report: Callable[[int], None],
    ) -> int:
        """Have the workers write a part for each share of the ranges, and wait until all are in the workspace."""
        workspace = Workspace(job.workspace.folder.absolute(), job.workspace.digest)
        job = replace(job, workspace=workspace)
        parts = None if self.parts is None else PartsFolder(self.parts, workspace.folder.name)
        if parts is not None and parts.take_all(workspace):
            left = _length(ranges)
            ranges, computed = missing(job)
            report(left - _length(ranges))
        if not ranges:
            return 0
        self._connect()
        from featx.distributed._crew import Crew

        layout = self._layout()
        shares = _shares(job, ranges, layout.num_workers)
        task = Task(
            job,
            network.on(network.resolved.device),
            engine,
            computed,
            holder_of(workspace.folder),
            _example(job, ranges),
            parts,
            version_of("featx"),
        )
        crew = Crew(
            self._hire,
            task,
            load_ray().put(task),
            Schedule(shares),
            size=min(layout.num_workers, len(shares)),
            no_room=self._no_room,
            timeout=self.timeout,
            timings=timings,
            report=report,
        )
        images = crew.run()
        _wait_for(workspace, shares)
        if parts is not None:
            parts.remove()
        return images

    def _layout(self) -> Layout:
        if self._fitted is None:
            if self._address is None and not self.gpus_per_worker and not load_ray().is_initialized():
                machines = [Machine(self._own_cpus, 0)]  # as it will be
            else:
                self._connect()
                nodes = [node["Resources"] for node in load_ray().nodes() if node["Alive"]]
                machines = [Machine(node.get("CPU", 0), node.get("GPU", 0)) for node in nodes]
            self._fitted = layout_of(machines, self.num_workers, self.gpus_per_worker)
        return self._fitted

    @property
    def _address(self) -> str | None:
        return address_of(self.address)

    @property
    def _own_cpus(self) -> int:
        return max(default_workers(), self.num_workers or 1)

    def _hire(self) -> Any:
        from featx.distributed._crew import worker_class

        return worker_class(self._layout().cpus, self.gpus_per_worker).remote(os.getcwd())

    def _no_room(self) -> EngineError:
        has, cpus = load_ray().cluster_resources(), self._layout().cpus
        return EngineError(
            f"the Ray cluster had no room for a worker with {cpus} CPUs and {self.gpus_per_worker:g} GPUs within"
            f" {self.timeout:g} s (it has {has.get('CPU', 0):g} and {has.get('GPU', 0):g} in all): ask for less, or run"
            " it again when there is room"
        )

    def _connect(self) -> None:
        self._ours = connect(self._address, self._own_cpus) or self._ours


def _length(ranges: Ranges) -> int:
    return sum(stop - start for start, stop in ranges)


def _shares(job: Job, ranges: Ranges, num_workers: int) -> list[Share]:
    """Return the shares of what is missing: alike in bytes to be read, and none too long."""
    samples, spec = job.source.samples, job.wanted[0].spec
    return shares_of(
        ranges,
        np.fromiter((samples[index].size for index in job.order), np.int64, len(job.order)),
        batch_size=job.batch_size,
        at_least=_SHARES * num_workers,
        longest=min(
            _PART_BYTES // sum(one.row_bytes for one in job.wanted),
            _BATCHES * job.batch_size * job.workers // spec.views,
        ),
    )


def _example(job: Job, ranges: Ranges) -> tuple[int, str] | None:
    """Return one of the first samples that can be read, and the digest of its content."""
    for index in job.order[ranges[0][0] :][:_EXAMPLES]:
        with suppress(SampleError):
            return index, content_digest(job.source.read(index))
    return None


def _wait_for(workspace: Workspace, shares: Sequence[Share]) -> None:
    """Wait until the parts that other machines have written are seen here."""
    until = time.monotonic() + _SEEN_SECONDS
    while unseen := [share for share in shares if not workspace.file_of(*share).exists()]:
        if time.monotonic() > until:
            raise StoreError(
                f"{len(unseen)} parts that workers have written are not seen in {str(workspace.folder)!r}: see that no"
                " one removes files there, and run the same command to go on"
            )
        time.sleep(0.5)
