"""Threads for numpy's work on blocks of features."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Lock
from typing import Any, TypeVar

from featx.extraction import default_workers

__all__ = ["in_threads", "own_threads"]

Item = TypeVar("Item")
Result = TypeVar("Result")

_lock = Lock()
_limits: list[Any] = []
"""What was done to BLAS, once for each that is in :func:`own_threads`; all but the first find nothing to be done."""


@contextmanager
def own_threads() -> Iterator[None]:
    """Keep BLAS to one thread: beside threads of one's own, several wait for each other more than they work."""
    from threadpoolctl import threadpool_limits

    with _lock:
        _limits.append(None if _limits else threadpool_limits(1, "blas"))
    try:
        yield
    finally:
        with _lock:
            if len(_limits) == 1:
                _limits[0].restore_original_limits()
                _limits.clear()
            else:
                _limits.pop()


def in_threads(work: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """Yield what `work` makes of each of some items, in their order, a few ahead of what is asked for."""
    workers = default_workers()
    with own_threads(), ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(items), 4 * workers):
            yield from pool.map(work, items[start : start + 4 * workers])
