"""Where the images of a work go through the network: on this machine, or on others."""

import platform
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, Self, TypeVar

from featx.caching._compute import Job, Ranges, compute
from featx.caching._devices import compute_on, devices_of
from featx.extraction import Timings, default_workers

if TYPE_CHECKING:
    from featx.caching._network import Network

__all__ = ["Cluster", "ThisMachine"]

P = ParamSpec("P")
T = TypeVar("T")


class Cluster(Protocol):
    """Computes what is missing of a work; what else an extraction does is the same whoever computes.

    It is used as a context manager for the length of an extraction, and not set up before it is needed.

    Attributes
    ----------
    machine : str
        What is found out about a network there is remembered for this name.
    facts : mapping of str to object
        What a store's `creation` says of it.
    """

    @property
    def machine(self) -> str: ...

    @property
    def facts(self) -> Mapping[str, Any]: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *failure: object) -> None: ...

    def device(self, asked: str) -> str:
        """Return what a ``device`` that is asked for means there."""

    def threads(self, asked: int | None) -> int:
        """Return the number of threads of each loop that runs the network."""

    def ask(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function where the network runs."""

    def compute(
        self,
        job: Job,
        ranges: Ranges,
        network: "Network",
        engine: str,
        *,
        computed: set[str],
        timings: Timings,
        report: Callable[[int], None],
    ) -> int:
        """Write parts for all of the ranges; return the number of images (each view is one) sent through the network.

        Parameters
        ----------
        job, ranges, computed, timings, report
            As :func:`featx.caching._compute.compute` takes them.
        network : Network
        engine : str
            Its name.
        """


class ThisMachine:
    """This process, or one process for each of several GPUs."""

    machine = platform.node()
    facts: Mapping[str, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        pass

    def device(self, asked: str) -> str:
        """Return the device as it is asked for."""
        return asked

    def threads(self, asked: int | None) -> int:
        """Return as many as are asked for, else one for each processor."""
        return asked or default_workers()

    def ask(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function."""
        return function(*args, **kwargs)

    def compute(
        self,
        job: Job,
        ranges: Ranges,
        network: "Network",
        engine: str,
        *,
        computed: set[str],
        timings: Timings,
        report: Callable[[int], None],
    ) -> int:
        """Compute here, or on every GPU if the device is all of them."""
        devices = devices_of(network.resolved.device)
        if len(devices) == 1 or not ranges:
            lazy = network.engine(engine, job.wanted)
            return compute(job, ranges, lazy, computed=computed, timings=timings, report=report)
        shared = replace(job, workers=max(1, job.workers // len(devices)))
        return compute_on(devices, shared, ranges, network, engine, computed=computed, timings=timings, report=report)
