"""A contestant in a process of its own, that is told when to run, and watched from outside while it does.

The protocol is a line of JSON in each direction: `{"folder": ..., "features": FILE}` to the child, and what
:class:`Answer` holds back.
"""

import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np

from bench.contestants import Contestant

__all__ = ["Answer", "FailureError", "Host", "Usage", "Watch", "serve"]

_TICK = os.sysconf("SC_CLK_TCK")
_EVERY = 0.2
_GROWTH = 1.03
_FOREIGN = 0.05
"""Share of the machine's processors that others may have used before a round is marked as disturbed."""


def serve(make: Callable[[], Contestant]) -> None:
    """Be the child: make the contestant, then run it whenever a line asks for it.

    What the contestant prints goes to standard error.
    """
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(**values: Any) -> None:
        answers.write(json.dumps(values) + "\n")
        answers.flush()

    try:
        contestant = make()
        say(ready=True)
        for line in sys.stdin:
            order = json.loads(line)
            folder = Path(order["folder"])
            contestant.prepare(folder)
            say(begun=True)
            began = time.perf_counter()
            result = contestant.run(folder)
            seconds = time.perf_counter() - began
            say(done=True)
            if result.features is not None:
                np.save(order["features"], result.features)
            say(
                seconds=seconds,
                keys=result.keys,
                features=None if result.features is None else order["features"],
                normalised=result.normalised,
                stages=result.stages,
                facts=result.facts,
            )
    except Exception as error:
        traceback.print_exc()
        say(error=f"{type(error).__name__}: {error}".splitlines()[0])


@dataclass(frozen=True)
class Usage:
    """What a process and its children used.

    Parameters
    ----------
    cpu : float
        Seconds of processor time.
    peak : float
        MiB of memory of their own at its highest: no files, and what they share counted once.
    foreign : float
        Share of the machine's processor time that other processes, or other guests of the host, took.
    """

    cpu: float
    peak: float
    foreign: float

    @property
    def disturbed(self) -> bool:
        """Whether others took more than they may."""
        return self.foreign > _FOREIGN


class Watch:
    """Watches a process and its children: as a context manager, between entering and leaving.

    Parameters
    ----------
    pid : int
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def __enter__(self) -> "Watch":
        self._peak, self._done = 0.0, Event()
        self._cpu, self._busy, self._own = _cpu_of(self._pid), _machine_busy(), time.process_time()
        self._began = time.perf_counter()
        self._thread = Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def _look(self) -> None:
        # An exact figure takes the kernel 15 ms: it is asked for only where the rough one has grown.
        highest = 0
        while True:
            rough = sum(_resident_of(pid) for pid in _tree(self._pid))
            if rough > _GROWTH * highest:
                highest = rough
                self._peak = max(self._peak, sum(_memory_of(pid) for pid in _tree(self._pid)))
            if self._done.wait(_EVERY):
                return

    def __exit__(self, *failure: object) -> None:
        wall = time.perf_counter() - self._began
        cpu = _cpu_of(self._pid) - self._cpu
        mine = 0.0 if self._pid == os.getpid() else time.process_time() - self._own
        foreign = max(0.0, _machine_busy() - self._busy - cpu - mine)
        self._done.set()
        self._thread.join()
        self.usage = Usage(cpu, self._peak, foreign / (wall * (os.cpu_count() or 1)))


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat after the name; the first one is the state."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(") ")[2].split()
    except OSError:  # it has ended
        return []


def _tree(pid: int) -> Iterator[int]:
    """Yield a process and its children, and theirs."""
    yield pid
    for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = tasks.read_text(encoding="ascii").split()
        except OSError:
            continue
        for child in children:
            yield from _tree(int(child))


def _cpu_of(pid: int) -> float:
    """Return the processor seconds of a process and its children, those that have ended included."""
    return sum(sum(map(int, fields[11:15])) for fields in map(_stat, _tree(pid)) if fields) / _TICK


def _resident_of(pid: int) -> int:
    """Return a process's anonymous and shared memory in KiB; what it shares with its parent counts fully."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith(("RssAnon:", "RssShmem:")))


def _memory_of(pid: int) -> float:
    """Return a process's share of anonymous and shared memory in MiB; files that are mapped belong to the system."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0.0
    sizes = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines[1:])}
    if "Pss_Anon" not in sizes:  # before Linux 5.9
        return sizes.get("Pss", 0) / 1024
    return (sizes["Pss_Anon"] + sizes["Pss_Shmem"]) / 1024


def _machine_busy() -> float:
    """Return the processor seconds that the whole machine has used, or its host has taken from it."""
    user, nice, system, _, _, irq, softirq, steal, *_ = map(
        int, Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:]
    )
    return (user + nice + system + irq + softirq + steal) / _TICK


@dataclass(frozen=True)
class Answer:
    """A run as the driver sees it.

    Parameters
    ----------
    seconds : float
        Wall time.
    usage : Usage
    keys : list of str
    features : ndarray, optional
    normalised : bool
    stages : dict
    facts : dict
    """

    seconds: float
    usage: Usage
    keys: list[str]
    features: np.ndarray | None
    normalised: bool
    stages: dict[str, float]
    facts: dict[str, Any]


class FailureError(Exception):
    """A contestant has failed; the message says why."""


class Host:
    """The driver's side of a contestant.

    Parameters
    ----------
    command : list of str
        Runs a program that calls :func:`serve`.
    log : Path
        Where its messages go; the features of its last run lie beside it.
    """

    def __init__(self, command: list[str], log: Path) -> None:
        self._features = log.with_suffix(".npy")
        began = time.perf_counter()
        with log.open("wb") as messages:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=messages, text=True
            )
        self._log = log
        try:
            self._hear()
        except FailureError:
            self.close()
            raise
        self.loading = time.perf_counter() - began

    def run(self, folder: Path) -> Answer:
        """Have the contestant run over a folder."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"folder": str(folder), "features": str(self._features)}) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise FailureError(f"ended by itself; see {self._log}") from error
        self._hear()
        with Watch(self._process.pid) as watch:
            self._hear()
        values = self._hear()
        features = None if values["features"] is None else np.load(values.pop("features"))
        return Answer(**{**values, "features": features}, usage=watch.usage)

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        values: dict[str, Any] = json.loads(line) if line else {"error": f"ended by itself; see {self._log}"}
        if "error" in values:
            raise FailureError(values["error"])
        return values

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
