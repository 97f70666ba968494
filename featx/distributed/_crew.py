"""Workers of a Ray cluster at one work: begun, given shares, replaced where they are lost, and ended."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from functools import partial
from typing import Any

import ray
from ray.exceptions import RayError, RaySystemError, RayTaskError

from featx.distributed._schedule import Schedule
from featx.distributed._shares import Share
from featx.distributed._worker import Done, Task, Worker
from featx.errors import EngineError, StoreError, first_line
from featx.extraction import Timings

__all__ = ["Crew", "ask_worker", "worker_class"]

_THREADS = {"compute": 2, "control": 1}
"""Of a worker's process, for each group of methods: two shares at a time, and questions in between."""

_WAIT = 0.2
"""Seconds for which workers are listened to before anything else is looked after."""

_ASK_EVERY = 0.5
"""Seconds between two questions for how far they are; more where there are many workers."""

_ASKED_A_SECOND = 500

_TAKERS = 8
"""Parts that are taken from afar at a time."""

_CHANCES = 3
"""Workers that may be lost at one share, or as they begin, before that is an error."""

_END_SECONDS = 5.0
"""What workers have, at the end, to leave a share that another has done."""


def worker_class(cpus: float, gpus: float) -> Any:
    """Return the class of workers that have so much of the cluster each."""
    options = {"num_cpus": cpus, "num_gpus": gpus, "max_restarts": 0, "scheduling_strategy": "SPREAD"}
    return ray.remote(concurrency_groups=_THREADS, **options)(Worker)


def ask_worker(worker: Any, call: tuple[Any, ...], *, no_room: Callable[[], EngineError], timeout: float) -> Any:
    """Have a worker call a function, and end the worker.

    Parameters
    ----------
    worker : actor of Worker
    call : (callable, sequence, mapping)
        The function, its arguments and its keywords.
    no_room, timeout
        As :class:`Crew` takes them.
    """
    try:
        if not ray.wait([worker.counts.remote()], timeout=timeout)[0]:
            raise no_room()
        return ray.get(worker.ask.remote(*call))
    except RayTaskError as error:
        raise _own_error(error) from error
    except RayError as error:
        raise EngineError(
            f"a worker of the cluster ended as it began ({_last_line(error)}): look at Ray's log of it"
        ) from error
    finally:
        ray.kill(worker)


def _last_line(error: RayError) -> str:
    """Return the last line of an error of Ray's, which says most."""
    return str(error).strip().splitlines()[-1].strip()


def _own_error(error: RayTaskError) -> BaseException:
    """Return what was raised in a worker, out of what Ray makes of it."""
    cause: BaseException = error.cause
    if isinstance(cause, RaySystemError):  # what it was given could not be unpickled
        return EngineError(
            f"a worker of the cluster lacks what the work needs ({first_line(cause.client_exc)}): install it on every"
            " machine, or run the command in the folder that has it"
        )
    return cause


class Crew:
    """The workers.

    Parameters
    ----------
    hire : callable
        Returns a new worker (an actor of :class:`Worker`), wherever there is room for it.
    task : Task
    task_ref : ObjectRef
        The same, in the cluster's memory.
    schedule : Schedule
    size : int
        Number of workers.
    no_room : callable
        Returns what is to be said if there is none for a single worker.
    timeout : float
        Seconds after which that is said.
    timings : Timings
    report : callable
        Told the number of samples that were done.
    """

    def __init__(
        self,
        hire: Callable[[], Any],
        task: Task,
        task_ref: Any,
        schedule: Schedule,
        *,
        size: int,
        no_room: Callable[[], EngineError],
        timeout: float,
        timings: Timings,
        report: Callable[[int], None],
    ) -> None:
        self._hire_one = hire
        self._task = task
        self._schedule = schedule
        self._size = size
        self._no_room = no_room
        self._timeout = timeout
        self._timings = timings
        self._report = report
        self._task_ref = task_ref
        self._actors: list[Any] = []
        """Every worker there ever was; its number is its place."""
        self._at_work: set[int] = set()
        self._awaited: dict[Any, tuple[int, Callable[[Any], None]]] = {}
        """Of each answer that is to come, from which worker, and what is told it."""
        self._failed_starts = self._damaged = 0
        self._last_seen = time.monotonic()
        self._next_question = 0.0
        self._counts: dict[int, dict[Share, int]] = {}
        self._counting: set[int] = set()
        self._done = self._reported = self._images = 0
        self._takers = ThreadPoolExecutor(_TAKERS, thread_name_prefix="featx-parts")
        self._taking: dict[Future[bool], Share] = {}

    def run(self) -> int:
        """Have all shares done; return the number of images that were sent through the network."""
        try:
            for _ in range(self._size):
                self._hire()
            while self._taking or not self._schedule.finished:
                self._hand_out()
                self._listen()
                self._question()
                self._take_parts()
        finally:
            self._end()
        return self._images

    def _hire(self) -> None:
        actor = self._hire_one()
        number = len(self._actors)
        self._actors.append(actor)
        self._awaited[actor.begin.remote(self._task_ref)] = number, partial(self._begun, number)

    def _begun(self, number: int, nothing: None) -> None:
        self._at_work.add(number)
        self._failed_starts = 0

    def _hand_out(self) -> None:
        """Give out shares, to those that have fewest first, until nobody takes one."""
        taken = True
        while taken:
            taken = False
            for number in sorted(self._at_work, key=lambda one: len(self._schedule.shares_with(one))):
                found = self._schedule.take(number)
                if found is None:  # then there is nothing for the others either
                    break
                share, relieved = found
                done = self._actors[number].compute.options(concurrency_group="compute").remote(share)
                self._awaited[done] = number, partial(self._computed, number, share)
                if relieved is not None:
                    self._drop(relieved, share)
                taken = True

    def _listen(self) -> None:
        """Hear what workers have to say, waiting for it a little."""
        heard, others = ray.wait(list(self._awaited), timeout=_WAIT) if self._awaited else ([], [])
        heard += ray.wait(others, num_returns=len(others), timeout=0)[0] if others else []
        for ref in heard:
            if ref not in self._awaited:  # of a worker that was lost just now
                continue
            number, tell = self._awaited.pop(ref)
            try:
                answer = ray.get(ref)
            except RayTaskError as error:
                raise _own_error(error) from error
            except RayError as error:
                self._lose(number, error)
            else:
                tell(answer)
        now = time.monotonic()
        if self._at_work:
            self._last_seen = now
        elif now - self._last_seen > self._timeout:
            raise self._no_room()

    def _computed(self, number: int, share: Share, done: Done | None) -> None:
        if done is None:  # it was dropped
            self._schedule.give_back(number, share)
            return
        others = self._schedule.done(number, share, done.seconds)
        if others is None:  # another was first
            return
        for other in others:
            self._drop(other, share)
        self._done += share[1] - share[0]
        self._images += done.images
        for stage, seconds in done.stages.items():
            self._timings.add(stage, seconds)
        if self._task.parts is not None:
            workspace = self._task.job.workspace
            taking = self._takers.submit(self._task.parts.take, workspace.file_of(*share).name, workspace)
            self._taking[taking] = share

    def _take_parts(self) -> None:
        """See which parts have come from afar; one that is damaged is computed again."""
        if not self._awaited:
            wait(self._taking, timeout=_WAIT)
        for taking in [one for one in self._taking if one.done()]:
            share = self._taking.pop(taking)
            if not taking.result():
                self._damaged += 1
                if self._damaged == _CHANCES:
                    raise StoreError(
                        f"{_CHANCES} parts came damaged from {self._task.parts}: look at what holds them, or give"
                        " another folder or URL"
                    )
                self._schedule.again(share)
                self._done -= share[1] - share[0]

    def _question(self) -> None:
        """Ask workers how far they are, now and then, and report it."""
        now = time.monotonic()
        if now >= self._next_question:
            self._next_question = now + max(_ASK_EVERY, len(self._at_work) / _ASKED_A_SECOND)
            for number in self._at_work - self._counting:
                self._counting.add(number)
                counts = self._actors[number].counts.options(concurrency_group="control").remote()
                self._awaited[counts] = number, partial(self._counted, number)
        begun: dict[Share, int] = {}
        for counts in self._counts.values():
            for share, count in counts.items():
                if self._schedule.awaits(share):
                    begun[share] = max(count, begun.get(share, 0))
        done = self._done + sum(begun.values())
        if done > self._reported:
            self._report(done - self._reported)
            self._reported = done

    def _counted(self, number: int, counts: dict[Share, int]) -> None:
        self._counting.remove(number)
        self._counts[number] = counts

    def _lose(self, number: int, reason: RayError) -> None:
        """Give the shares of a lost worker to others, and hire another in its place."""
        self._awaited = {ref: (one, tell) for ref, (one, tell) in self._awaited.items() if one != number}
        self._counting.discard(number)
        self._counts.pop(number, None)
        with suppress(RayError):
            ray.kill(self._actors[number])  # it may only be out of reach
        if number in self._at_work:
            self._at_work.remove(number)
            lost = self._schedule.lose(number)
            if lost is not None and lost[1] == _CHANCES:
                raise self._lost_at(lost[0])
        else:
            self._failed_starts += 1
            if self._failed_starts == _CHANCES:
                raise EngineError(
                    f"workers of the cluster end as they begin ({_last_line(reason)}): look at Ray's log of them"
                ) from reason
        self._hire()

    def _lost_at(self, share: Share) -> EngineError:
        job = self._task.job
        first, last = (job.source.samples[job.order[position]].key for position in (share[0], share[1] - 1))
        return EngineError(
            f"{_CHANCES} workers were ended from outside at the samples from {first!r} to {last!r}, perhaps for want of"
            " memory: run the same command to go on, with a smaller batch_size, fewer workers, or without these samples"
        )

    def _drop(self, number: int, share: Share) -> None:
        self._actors[number].drop.options(concurrency_group="control").remote(share)

    def _end(self) -> None:
        """End all workers; those in the middle of a share are given a moment to leave it."""
        self._takers.shutdown(cancel_futures=True)
        with suppress(RayError):
            for number in self._at_work:
                for share in self._schedule.shares_with(number):
                    self._drop(number, share)
            left = [ref for ref, (number, _) in self._awaited.items() if number in self._at_work]
            if left:
                ray.wait(left, num_returns=len(left), timeout=_END_SECONDS)
        for actor in self._actors:
            with suppress(RayError):
                ray.kill(actor)
