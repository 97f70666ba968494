"""Time and memory of a piece of work, measured in the process that does it."""

import time
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

__all__ = ["anonymous", "measured"]


def measured(work: Callable[[], object]) -> dict[str, float]:
    """Return seconds and the peak of anonymous memory in MiB."""
    peak, done = [anonymous()], Event()

    def watch() -> None:
        while not done.wait(0.01):
            peak.append(max(peak.pop(), anonymous()))

    watcher = Thread(target=watch, daemon=True)
    watcher.start()
    began = time.perf_counter()
    work()
    seconds = time.perf_counter() - began
    done.set()
    watcher.join()
    return {"seconds": seconds, "MiB": peak[0] / 1024}


def anonymous() -> int:
    """Return KiB of memory that this process has of its own, without the pages of mapped files (RssAnon)."""
    return int(Path("/proc/self/status").read_text(encoding="ascii").partition("RssAnon:")[2].split()[0])
