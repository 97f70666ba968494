"""Which engine computes, and on how many images at a time: as asked for, as before, or as a short trial says."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from featx.caching._memory import read_json, version_of, write_json
from featx.caching._network import Network
from featx.caching._targets import Wanted
from featx.errors import EngineError
from featx.extraction import Engine, Image, default_batch_size
from featx.spec import digest_of

__all__ = ["Choice", "Trial", "choose", "remembered_choice"]

_FOLDER = ".engines"
_VERSION = 1

_WORTH = 5.0
"""Seconds of work from which on it pays to try larger batches, and to export a graph that is kept: with those for its
weights, about half of what that takes."""

_WORTH_A_BYTE = 1e-7

_ONCE = 3
"""How many times the work a graph must be worth that cannot be kept."""

_FEW = 8
"""Batches for which not even a trial pays."""

_DECODED = (375, 500, 3)
"""Of the images that an engine which resizes is tried with."""

_RISE = 1.05
"""A larger batch is better if it computes so many times the images a second."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What computes.

    Parameters
    ----------
    engine : str
        One of :data:`featx.extraction.ENGINE_NAMES`.
    batch_size : int
        Images at a time.
    """

    engine: str
    batch_size: int


def choose(
    network: Network,
    wanted: Sequence[Wanted],
    *,
    engine: str | None,
    batch_size: int | None,
    count: int,
    workers: int,
) -> Choice:
    """Return what is to compute `count` images; what a trial found is remembered for this machine and network.

    On a processor ONNX Runtime is tried against torch, where there is work enough for that to pay. On a GPU the batch
    grows until the images per second grow no more.

    Parameters
    ----------
    network : Network
    wanted : sequence of Wanted
        What it is to compute.
    engine : str, optional
        None for the faster one.
    batch_size : int, optional
        None for the fastest one.
    count : int
        Images that are to be computed.
    workers : int
        Threads of the loop.
    """
    device = network.resolved.device
    first = Choice(engine or "torch", batch_size or default_batch_size(engine or "torch", device))
    onnx_can = device == "cpu" and engine is None and wanted[0].spec.precision == "fp32"
    may_grow = device != "cpu" and batch_size is None
    if not (onnx_can or may_grow):
        return first
    path = _path(network, wanted, engine, batch_size, workers)
    found = _read(path)
    if found is not None:
        return found
    if count <= _FEW * first.batch_size:
        return first
    with Trial(network, wanted, workers) as trial:
        rate = trial.rate(first)
        worth = _WORTH + _WORTH_A_BYTE * network.weight_bytes if onnx_can else _WORTH
        if count / rate < (worth if path else _ONCE * worth):
            return first
        choice = _faster(trial, first, rate, batch_size) if onnx_can else _larger(trial, first, rate, count)
    if path is not None:
        write_json(path, asdict(choice))
    return choice


def remembered_choice(
    network: Network, wanted: Sequence[Wanted], *, engine: str | None, batch_size: int | None, workers: int
) -> Choice | None:
    """Return what an earlier trial of the same came to on this machine; None if there was none."""
    return _read(_path(network, wanted, engine, batch_size, workers))


def _read(path: Path | None) -> Choice | None:
    """Return the choice that was written down; None if there is none, or it cannot be read."""
    values = None if path is None else read_json(path)
    try:
        return None if values is None else Choice(str(values["engine"]), int(values["batch_size"]))
    except (KeyError, TypeError, ValueError):
        return None


def _faster(trial: "Trial", first: Choice, rate: float, batch_size: int | None) -> Choice:
    """Return the faster of the torch engine, whose images per second are known, and ONNX Runtime."""
    other = Choice("onnxruntime", batch_size or default_batch_size("onnxruntime", "cpu"))
    try:
        return other if trial.rate(other) > rate else first
    except EngineError:  # it does not take this network
        return first


def _larger(trial: "Trial", first: Choice, rate: float, count: int) -> Choice:
    """Return the choice with the batch doubled as long as that computes more images a second."""
    best = first
    while best.batch_size < count:
        larger = Choice(best.engine, 2 * best.batch_size)
        reached = trial.rate(larger)
        if reached < _RISE * rate:
            break
        best, rate = larger, reached
    return best


def _path(
    network: Network, wanted: Sequence[Wanted], engine: str | None, batch_size: int | None, workers: int
) -> Path | None:
    """Return where the choice for this machine and network is remembered; None if it must not be."""
    key = {
        "version": _VERSION,
        "packages": {package: version_of(package) for package in ("featx", "torch", "onnxruntime")},
        "machine": [network.machine, network.resolved.device, workers],
        "specs": [one.spec.plain.digest for one in wanted],
        "engine": engine,
        "batch_size": batch_size,
    }
    return network.memory_file(f"{_FOLDER}/{digest_of(key)}.json")


class Trial(ExitStack):
    """Runs engines on made-up images, as the loop would; used as a context manager."""

    def __init__(self, network: Network, wanted: Sequence[Wanted], workers: int) -> None:
        super().__init__()
        self._network = network
        self._wanted = wanted
        self._workers = workers
        self._pool = self.enter_context(ThreadPoolExecutor(workers))

    def rate(self, choice: Choice) -> float:
        """Return the images per second of two batches, on each core where the engine computes on one."""
        engine = self._network.engine(choice.engine, self._wanted)
        shape = _DECODED if engine.resizes else (*self._wanted[0].spec.preprocessing.crop_size, 3)
        pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        batches = 2 * (self._workers if choice.engine == "onnxruntime" else 1)
        self._run(engine, [pixels] * choice.batch_size, batches // 2)  # the first batch loads, and is slower
        began = time.perf_counter()
        self._run(engine, [pixels] * choice.batch_size, batches)
        return batches * choice.batch_size / (time.perf_counter() - began)

    def _run(self, engine: Engine, images: Sequence[Image], batches: int) -> None:
        for wait in [engine.start(images, self._pool.submit) for _ in range(batches)]:
            wait()
