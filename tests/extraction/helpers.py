"""A source and an engine that count what is asked of them."""

import threading
import time

import numpy as np

from featx.errors import SampleError
from featx.sources import Sample, Source


class Numbered(Source):
    """Pictures of one colour each, its number; some are bad."""

    def __init__(self, n, *, bad=(), slow=0.0, crash=(), size=(6, 5)):
        super().__init__("numbered", "numbered")
        self.n, self.bad, self.slow, self.crash, self.size = n, set(bad), slow, set(crash), size
        self.reads: list[int] = []
        self.lock = threading.Lock()

    def _list(self):
        return [Sample(key=f"{i:06d}") for i in range(self.n)]

    def _read(self, index):
        with self.lock:
            self.reads.append(index)
        time.sleep(self.slow * (1 + index % 3))
        if index in self.bad:
            raise SampleError(f"bad number {index}")
        if index in self.crash:
            raise RuntimeError(f"crash at {index}")
        return np.full((*self.size, 3), index % 256, dtype=np.uint8)


class Painted(Numbered):
    """Pictures of the given colours, some of them the same; some are bad."""

    def __init__(self, colours, bad=()):
        super().__init__(len(colours), bad=bad)
        self.colours = colours

    def _read(self, index):
        super()._read(index)
        return np.full((*self.size, 3), self.colours[index], dtype=np.uint8)


class Mean:
    """An engine whose features are the mean colour and its double; pictures of `nan` give NaN."""

    name, device = "mean", "cpu"

    def __init__(self, nan=()):
        self.nan = set(nan)
        self.sizes: list[int] = []

    def __call__(self, pixels):
        self.sizes.append(len(pixels))
        mean = pixels.astype(np.float32).mean((1, 2, 3))
        bad = np.isin(mean, list(self.nan))
        return np.where(bad, np.nan, mean)[:, None], np.stack([mean, 2 * mean], 1)


def decoding_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("featx-decode")]
