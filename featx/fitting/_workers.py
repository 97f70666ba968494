"""Workers for the heads that cannot be fitted many at once: joblib's, on this machine or on a Ray cluster."""

import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor
from contextlib import ExitStack, contextmanager
from itertools import islice
from typing import Any

from featx._ray import address_of, connect, disconnect, load_ray
from featx.errors import HeadError, ParameterError

__all__ = ["Answers", "workers"]

Answers = Callable[[Iterable[Any]], Iterator[Any]]
"""Takes joblib's delayed calls, and yields what they return, in any order."""

_LOT = 8
"""Calls for each worker at a time, of a backend that answers when all are done."""


@contextmanager
def workers(jobs: int | None, backend: str | None) -> Iterator[Answers]:
    """Yield what has calls answered by workers.

    Threads share the cores among them here; loky's processes and Ray's do so by themselves.

    Parameters
    ----------
    jobs : int, optional
        How many, -1 for one on each core; by default as joblib is configured, else one, and with Ray as many as the
        cluster has processors.
    backend : str, optional
        Of joblib: ``loky``, ``threading``, ``ray``, or any that is registered.

    Raises
    ------
    ParameterError
        If there is no such backend, or not one worker.
    HeadError
        If a worker is killed.
    MissingDependencyError
        If Ray is asked for and not installed.
    """
    from joblib import cpu_count, effective_n_jobs, parallel_config
    from threadpoolctl import threadpool_limits

    if jobs == 0:
        raise ParameterError("jobs must be a number of workers, or -1 for one on each core; got 0")
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())  # threads leave one another's filters behind
        if backend == "ray":
            jobs = stack.enter_context(_ray(jobs))
        if backend is not None:
            try:
                stack.enter_context(parallel_config(backend=backend))
            except ValueError as error:
                raise ParameterError(
                    f"backend must be one that joblib knows, such as loky, threading or ray; got {backend!r}"
                ) from error
        count = effective_n_jobs(jobs)
        if count > 1:
            stack.enter_context(threadpool_limits(max(1, cpu_count() // count)))
        try:
            yield _answers(jobs, count)
        except Exception as error:
            if not isinstance(error, BrokenExecutor) and not type(error).__module__.startswith("ray.exceptions"):
                raise
            raise HeadError(
                "a worker was killed while it fitted a head, perhaps for want of memory: ask for fewer jobs; the same"
                " sweep goes on from the last finished trial"
            ) from error


def _answers(jobs: int | None, count: int) -> Answers:
    from joblib import Parallel

    try:
        parallel: Answers = Parallel(n_jobs=jobs, return_as="generator_unordered")
        return parallel
    except ValueError:  # multiprocessing and Ray answer when all is done, so they are given a little at a time
        pass

    def in_lots(calls: Iterable[Any]) -> Iterator[Any]:
        left = iter(calls)
        with Parallel(n_jobs=jobs) as parallel:
            while lot := list(islice(left, _LOT * count)):
                yield from parallel(lot)

    return in_lots


@contextmanager
def _ray(jobs: int | None) -> Iterator[int]:
    """Have joblib know Ray, on the cluster of RAY_ADDRESS or of this machine alone; yield how many workers it has."""
    from joblib import cpu_count
    from joblib.pool import PicklingPool

    ray: Any = load_ray()
    from ray.util.joblib import register_ray

    most = None if jobs is None or jobs < 0 else jobs
    ours = connect(address_of(None), most or cpu_count())
    bases = PicklingPool.__bases__  # which Ray changes, for all of joblib
    try:
        register_ray()
        processors = int(ray.cluster_resources().get("CPU", 1))
        yield processors if most is None else min(most, processors)
    finally:
        PicklingPool.__bases__ = bases
        if ours:
            disconnect()
