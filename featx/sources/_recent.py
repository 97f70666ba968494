"""What was read a moment ago, kept for a while: one thread reads it, all threads of the process get it."""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")


class Recent(Generic[T]):
    """Things by key, the last used of them, up to a size in all.

    Parameters
    ----------
    budget : int
        Bytes that are kept; the last two things are, whatever their size, so that readers at a border get along.
    weigh : callable
        Says how many bytes a thing takes.
    """

    def __init__(self, budget: int, weigh: Callable[[T], int]) -> None:
        self._budget = budget
        self._weigh = weigh
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._found: OrderedDict[Hashable, Future[T]] = OrderedDict()

    def __contains__(self, key: Hashable) -> bool:
        return key in self._found

    def get(self, key: Hashable, load: Callable[[], T]) -> T:
        """Return the thing of a key, which is loaded unless it is there, or another thread is about to."""
        if self._pid != os.getpid():  # forked: the threads that held the lock, or were loading, are not here
            self._reset()
        with self._lock:
            future = self._found.get(key)
            is_mine = future is None
            if future is None:
                future = self._found[key] = Future()
            self._found.move_to_end(key)
        if is_mine:
            try:
                future.set_result(load())
            except BaseException as error:
                with self._lock:
                    self._found.pop(key, None)
                future.set_exception(error)
            else:
                self._let_go()
        return future.result()

    def _let_go(self) -> None:
        with self._lock:
            done = {key: self._weigh(future.result()) for key, future in self._found.items() if _is_there(future)}
            excess = sum(done.values()) - self._budget
            for key, weight in list(done.items())[:-2]:
                if excess <= 0:
                    return
                del self._found[key]
                excess -= weight


def _is_there(future: "Future[T]") -> bool:
    return future.done() and future.exception() is None
