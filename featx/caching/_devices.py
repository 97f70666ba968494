"""Several GPUs: one worker process each, all writing parts into one workspace."""

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

from featx.caching._compute import Job, Ranges, compute
from featx.errors import EngineError
from featx.extraction import Timings

if TYPE_CHECKING:
    from featx.caching._network import Network

__all__ = ["compute_on", "devices_of"]

_SHARE = 128
"""Batches that a process takes at a time. Shares begin at multiples of so many, so that they are the same when the work
is taken up again."""

_POLL_SECONDS = 0.25


def devices_of(device: str) -> tuple[str, ...]:
    """Return the devices that a name means: ``cuda`` is every GPU that torch sees."""
    if device != "cuda":
        return (device,)
    import torch

    return tuple(f"cuda:{index}" for index in range(torch.cuda.device_count()))


def shares_of(ranges: Ranges, length: int) -> Ranges:
    """Return the ranges cut at multiples of `length`."""
    return [
        (max(start, cut), min(stop, cut + length))
        for start, stop in ranges
        for cut in range(start // length * length, stop, length)
    ]


def compute_on(
    devices: Sequence[str],
    job: Job,
    ranges: Ranges,
    network: "Network",
    engine: str,
    *,
    computed: set[str],
    timings: Timings,
    report: Callable[[int], None],
) -> int:
    """Compute stretches of a job's order on several devices; return the number of images sent through the network.

    Parameters
    ----------
    devices : sequence of str
        One process for each.
    job, ranges, computed, timings, report
        As :func:`featx.caching._compute.compute` takes them.
    network : Network
    engine : str
        Its name.

    Raises
    ------
    EngineError
        If a process dies.
    """
    context = get_context("spawn")  # a forked process could not use CUDA
    free, done, stop = context.SimpleQueue(), context.Value("q", 0), context.Event()
    for device in devices:
        free.put(network.on(device))
    shares = shares_of(ranges, _SHARE * job.batch_size)
    pool = ProcessPoolExecutor(
        min(len(devices), len(shares)),
        mp_context=context,
        initializer=_begin,
        initargs=(free, done, stop, job, engine, computed),
    )
    reported = 0
    try:
        futures = [pool.submit(_compute_share, share) for share in shares]
        while True:
            ended, running = wait(futures, _POLL_SECONDS, FIRST_EXCEPTION)
            report(done.value - reported)
            reported = done.value
            for future in ended:
                future.result()  # raises what went wrong
            if not running:
                break
    except BrokenProcessPool as error:
        raise EngineError(
            f"a worker process of {', '.join(devices)} was ended from outside, perhaps for want of memory: run the"
            " same command to go on, with a smaller batch_size or fewer workers"
        ) from error
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)
    for future in futures:
        for stage, seconds in future.result()[1].items():
            timings.add(stage, seconds)
    return sum(future.result()[0] for future in futures)


class _StoppedError(BaseException):
    """Another process has failed, or the user has interrupted the work."""


_state: dict[str, Any] = {}
"""What this worker process works on."""


def _begin(free: Any, done: Any, stop: Any, job: Job, engine: str, computed: set[str]) -> None:
    """Set up a worker process: it takes the next free device's network."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is the first process's to handle
    network: Network = free.get()
    lazy = network.engine(engine, job.wanted)
    _state.update(done=done, stop=stop, job=job, engine=lazy, computed=computed)


def _compute_share(share: tuple[int, int]) -> tuple[int, dict[str, float]]:
    """Compute a share; return the number of images, and the seconds of each stage."""
    timings = Timings()

    def report(count: int) -> None:
        if _state["stop"].is_set():
            raise _StoppedError
        with _state["done"].get_lock():
            _state["done"].value += count

    count = 0
    with suppress(_StoppedError):
        count = compute(
            _state["job"], [share], _state["engine"], computed=_state["computed"], timings=timings, report=report
        )
    return count, timings.seconds
