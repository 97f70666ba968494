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

    name, device, resizes = "mean", "cpu", False

    def __init__(self, nan=(), *, slow=0.0):
        self.nan = set(nan)
        self.slow = slow
        self.loaded = False
        self.sizes: list[int] = []

    def load(self):
        self.loaded = True

    def start(self, images, submit):
        features = self(np.stack(images))
        return lambda: features

    def __call__(self, pixels):
        self.sizes.append(len(pixels))
        time.sleep(self.slow)
        mean = pixels.astype(np.float32).mean((1, 2, 3))
        bad = np.isin(mean, list(self.nan))
        return np.where(bad, np.nan, mean)[:, None], np.stack([mean, 2 * mean], 1)


class PooledMean(Mean):
    """The same, computed by the loop's threads; `meet` batches wait for each other in the network."""

    def __init__(self, nan=(), *, slow=0.0, meet=1):
        super().__init__(nan, slow=slow)
        self.inside = self.most = 0
        self.lock = threading.Lock()
        self.barrier = threading.Barrier(meet)

    def start(self, images, submit):
        return submit(self._run, images).result

    def _run(self, images):
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        self.barrier.wait(5)
        features = self(np.stack(images))
        with self.lock:
            self.inside -= 1
        return features


def decoding_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("featx-worker")]
