"""Who computes what: everything once, whatever workers are slow, lost or late."""

import heapq
import random
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featx.distributed._schedule import Schedule

A, B, C, D = ((0, 10), (10, 20), (20, 30), (30, 40))


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_a_worker_has_two_at_a_time_in_their_order(clock):
    schedule = Schedule([A, B, C], clock)
    assert [schedule.take(0) for _ in range(3)] == [(A, None), (B, None), None]
    assert schedule.shares_with(0) == (A, B)
    assert schedule.done(0, A, 1.0) == []
    assert schedule.take(0) == (C, None)
    assert schedule.done(0, B, 1.0) == schedule.done(0, C, 1.0) == []
    assert schedule.finished
    assert schedule.take(0) is None


def test_who_has_nothing_takes_what_waits_behind_another(clock):
    schedule = Schedule([A, B], clock)
    schedule.take(0), schedule.take(0)
    assert schedule.take(1) == (B, 0)
    assert schedule.take(2) is None  # B is with two already, and A is not late
    schedule.give_back(0, B)
    assert schedule.done(1, B, 1.0) == []
    assert not schedule.finished


def test_what_is_late_is_computed_by_another_too_and_the_first_counts(clock):
    schedule = Schedule([A, B, C], clock)
    assert [schedule.take(worker)[0] for worker in (0, 1, 2)] == [A, B, C]
    clock.now = 10
    assert schedule.done(1, B, 10.0) == []
    assert schedule.take(1) is None  # nobody is late
    clock.now = 19.9
    assert schedule.take(1) is None
    clock.now = 20.1
    assert schedule.take(1) == (A, None)
    assert schedule.done(2, C, 20.1) == []
    assert schedule.take(2) is None  # two are at A
    assert schedule.done(1, A, 5.0) == [0]
    assert schedule.finished
    assert schedule.done(0, A, 100.0) is None


def test_the_share_that_is_late_the_most_is_helped_first(clock):
    schedule = Schedule([A, B, C, D], clock)
    schedule.take(0)
    clock.now = 5
    for worker in (1, 2):
        schedule.take(worker)
    schedule.take(3)
    schedule.done(3, D, 1.0)
    clock.now = 50
    assert schedule.take(3) == (A, None)
    assert schedule.take(4) == (B, None)


def test_how_long_a_share_takes_is_told_by_its_length(clock):
    schedule = Schedule([(0, 1000), (1000, 1010)], clock)
    schedule.take(0), schedule.take(1)
    clock.now = 1
    schedule.done(1, (1000, 1010), 1.0)
    clock.now = 199
    assert schedule.take(1) is None
    clock.now = 201
    assert schedule.take(1) == ((0, 1000), None)


def test_time_runs_from_when_a_share_is_begun(clock):
    schedule = Schedule([A, B, C, D], clock)
    for worker in (0, 1, 0, 1):
        schedule.take(worker)
    clock.now = 10
    schedule.done(0, A, 10.0)
    schedule.done(1, B, 10.0)
    schedule.done(1, D, 10.0)
    clock.now = 29
    assert schedule.take(1) is None
    clock.now = 31
    assert schedule.take(1) == (C, None)


def test_what_a_lost_worker_had_comes_first(clock):
    schedule = Schedule([A, B, C], clock)
    schedule.take(0), schedule.take(0)
    assert schedule.lose(0) == (A, 1)
    assert schedule.lose(0) is None
    assert [schedule.take(1)[0] for _ in range(2)] == [A, B]
    assert schedule.lose(1) == (A, 2)
    assert schedule.take(2)[0] == A


def test_what_another_has_is_not_lost(clock):
    schedule = Schedule([A, B], clock)
    schedule.take(0), schedule.take(0), schedule.take(1)  # B is with both
    assert schedule.lose(1) == (B, 1)
    assert schedule.lose(0) == (A, 1)
    assert [schedule.take(2)[0] for _ in range(2)] == [A, B]


def test_what_is_of_no_use_is_done_again(clock):
    schedule = Schedule([A], clock)
    schedule.take(0)
    schedule.done(0, A, 1.0)
    assert not schedule.awaits(A)
    schedule.again(A)
    assert schedule.awaits(A)
    assert not schedule.finished
    assert schedule.take(1) == (A, None)


@given(st.integers(1, 40), st.integers(1, 6), st.integers(0, 2**32))
def test_all_is_done_by_workers_that_are_slow_or_lost(length, workers, seed):
    """Play it with a clock: every share counts once, and nobody waits for nothing."""
    chance, clock = random.Random(seed), Clock()
    shares = [(10 * i, 10 * (i + 1)) for i in range(length)]
    schedule = Schedule(shares, clock)
    numbers = iter(range(10**6))
    at_work, counted = {next(numbers) for _ in range(workers)}, []
    order = count()
    events = []  # of each worker, what it is at now
    busy = set()

    def begin(worker):
        while schedule.take(worker) is not None:
            pass
        if worker not in busy and schedule.shares_with(worker):
            busy.add(worker)
            seconds = chance.choice([1, 1, 1, 1, 2, 1000])
            heapq.heappush(events, (clock.now + seconds, next(order), worker, schedule.shares_with(worker)[0], seconds))

    for _ in range(100_000):
        for worker in sorted(at_work, key=lambda one: len(schedule.shares_with(one))):
            begin(worker)
        if schedule.finished:
            break
        clock.now, _, worker, share, seconds = heapq.heappop(events)
        if worker not in at_work:
            continue
        busy.discard(worker)
        if chance.random() < 0.1:
            at_work.remove(worker)
            schedule.lose(worker)
            at_work.add(next(numbers))
        elif chance.random() < 0.1:
            schedule.give_back(worker, share)
        elif schedule.done(worker, share, seconds) is not None:
            counted.append(share)
    assert schedule.finished
    assert sorted(counted) == shares
