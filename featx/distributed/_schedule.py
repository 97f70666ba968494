"""Who computes which share, until all are done: none is lost with a worker, and none waits for a slow one."""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from statistics import median

from featx.distributed._shares import Share

__all__ = ["Schedule"]

_AT_A_TIME = 2
"""Shares that a worker is given: it computes one while that before is written."""

_REMEMBERED = 1000

_LATE, _LATE_SECONDS = 2.0, 2.0
"""A share is late that takes so many times what as many samples of others took, and so much longer."""


class Schedule:
    """Shares that wait, that are with workers, and that are done.

    Parameters
    ----------
    shares : iterable of (int, int)
        Given out in this order.
    clock : callable, optional
        Returns seconds.
    """

    def __init__(self, shares: Iterable[Share], clock: Callable[[], float] = time.monotonic) -> None:
        self._waiting = deque(shares)
        self._undone = set(self._waiting)
        self._with: dict[int, list[Share]] = {}
        """What each worker has been given, and since when it is at the first of it."""
        self._since: dict[int, float] = {}
        self._pace: deque[float] = deque(maxlen=_REMEMBERED)
        """Seconds for a sample, of each of the last shares that were done."""
        self._losses: Counter[Share] = Counter()
        self._clock = clock

    @property
    def finished(self) -> bool:
        """Whether all shares are done."""
        return not self._undone

    def awaits(self, share: Share) -> bool:
        """Say whether a share is not done."""
        return share in self._undone

    def shares_with(self, worker: int) -> tuple[Share, ...]:
        """Return what a worker has been given and has not answered."""
        return tuple(self._with.get(worker, ()))

    def take(self, worker: int) -> tuple[Share, int | None] | None:
        """Return the next share for a worker, and the worker that need not compute it any more, if there is one.

        None if there is nothing for it. One that has nothing to do is given what waits behind another share, else
        what is late: then both compute it, and the first to be done counts.
        """
        has = self._with.setdefault(worker, [])
        relieved = None
        if len(has) == _AT_A_TIME:
            return None
        if self._waiting:
            share = self._waiting.popleft()
        elif has or (found := self._behind() or self._late()) is None:
            return None
        else:
            share, relieved = found
        if not has:
            self._since[worker] = self._clock()
        has.append(share)
        return share, relieved

    def done(self, worker: int, share: Share, seconds: float) -> list[int] | None:
        """Note that a worker took so many seconds for a share; return who else has it, None if it was done before."""
        self._leave(worker, share)
        if share not in self._undone:
            return None
        self._undone.remove(share)
        self._pace.append(seconds / (share[1] - share[0]))
        return self._holders(share)

    def give_back(self, worker: int, share: Share) -> None:
        """Note that a worker has left a share undone."""
        self._leave(worker, share)
        self._await(share)

    def again(self, share: Share) -> None:
        """Note that what was done is of no use."""
        self._undone.add(share)
        self._await(share)

    def lose(self, worker: int) -> tuple[Share, int] | None:
        """Note that a worker is gone; return the share that it was at, and how many workers were lost at that one."""
        shares = self._with.pop(worker, [])
        for share in reversed(shares):
            self._await(share)
        if not shares:
            return None
        self._losses[shares[0]] += 1
        return shares[0], self._losses[shares[0]]

    def _await(self, share: Share) -> None:
        if share in self._undone and not self._holders(share):
            self._waiting.appendleft(share)

    def _leave(self, worker: int, share: Share) -> None:
        if self._with[worker][0] == share:
            self._since[worker] = self._clock()
        self._with[worker].remove(share)

    def _holders(self, share: Share) -> list[int]:
        return [worker for worker, shares in self._with.items() if share in shares]

    def _behind(self) -> tuple[Share, int] | None:
        """Return an undone share that waits behind another, and the worker that has it."""
        for worker, shares in self._with.items():
            for share in shares[1:]:
                if share in self._undone and len(self._holders(share)) == 1:
                    return share, worker
        return None

    def _late(self) -> tuple[Share, None] | None:
        """Return the share that is late by most, of those that a worker alone computes."""
        now, pace = self._clock(), median(self._pace) if self._pace else float("inf")
        late = []
        for worker, (share, *_) in ((worker, shares) for worker, shares in self._with.items() if shares):
            expected = pace * (share[1] - share[0])
            by = now - self._since[worker] - max(_LATE * expected, expected + _LATE_SECONDS)
            if by > 0 and share in self._undone and len(self._holders(share)) == 1:
                late.append((-by, share))
        return (min(late)[1], None) if late else None
