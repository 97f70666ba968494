"""Where the time of an extraction goes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

__all__ = ["STAGES", "Timings"]

STAGES = ("prepare", "read", "decode", "transform", "forward", "write", "waiting")


class Timings:
    """Seconds of work in each stage, added up over all threads.

    ``prepare`` is what comes before the first image: loading the network, exporting and timing it. ``read``,
    ``decode`` (with the digest), ``transform`` and ``forward`` are the loop's, ``write`` is that of parts and the
    finished stores. ``waiting`` is how long the network, or the cores it shares with decoding, had nothing to do.

    Attributes
    ----------
    seconds : dict of str to float
        By the names in :data:`STAGES`.
    """

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(STAGES, 0.0)
        self._lock = Lock()

    def add(self, stage: str, seconds: float) -> None:
        """Add to a stage; any thread may."""
        with self._lock:
            self.seconds[stage] += seconds

    @contextmanager
    def on(self, stage: str) -> Iterator[None]:
        """Add what a ``with`` block takes."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.add(stage, time.perf_counter() - began)
