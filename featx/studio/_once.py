"""Values that take time: each is made once, however many ask for it at a time, and the latest are kept."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from threading import Lock
from typing import Generic, TypeVar

__all__ = ["Once"]

T = TypeVar("T")


class Once(Generic[T]):
    """Makes values in a thread of its own, one after the other.

    Parameters
    ----------
    most : int
        How many are kept.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = Lock()
        self._made: OrderedDict[Hashable, Future[T]] = OrderedDict()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="featx-studio")

    def get(self, key: Hashable, make: Callable[[], T], patience: float | None = None) -> T | None:
        """Return the value for a key, or raise what `make` did; after that the next to ask has it made anew.

        Parameters
        ----------
        key : hashable
        make : callable
            Called unless the value is there, or being made.
        patience : float, optional
            Seconds after which None is returned while the value is still being made; by default there is no end.
        """
        with self._lock:
            if key not in self._made:
                self._made[key] = self._pool.submit(make)
            self._made.move_to_end(key)
            future = self._made[key]
            surplus = len(self._made) - self._most
            for old in [each for each, made in self._made.items() if made.done()][: max(0, surplus)]:
                del self._made[old]
        if wait([future], patience).not_done:
            return None
        if future.cancelled() or future.exception() is not None:
            with self._lock:
                if self._made.get(key) is future:
                    del self._made[key]
        return future.result()

    @property
    def idle(self) -> bool:
        """Whether nothing is being made."""
        with self._lock:
            return all(future.done() for future in self._made.values())

    def close(self, *, wait: bool = True) -> None:
        """Make nothing more; what is being made cannot be stopped, only waited for."""
        self._pool.shutdown(wait=wait, cancel_futures=True)
