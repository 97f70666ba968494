"""Shares: every position once, cut where batches end, alike in bytes, and the same when work is taken up again."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from featx.distributed._shares import shares_of

SIZES = st.lists(st.integers(-1, 10_000), min_size=1, max_size=300)
NUMBERS = st.fixed_dictionaries(
    {"batch_size": st.integers(1, 20), "at_least": st.integers(1, 20), "longest": st.integers(1, 100)}
)


def positions(shares):
    return [position for start, stop in shares for position in range(start, stop)]


@given(SIZES, NUMBERS, st.data())
def test_every_missing_position_is_in_one_share(sizes, numbers, data):
    edges = sorted(data.draw(st.sets(st.integers(0, len(sizes)), max_size=8)))
    ranges = list(zip(edges[::2], edges[1::2], strict=False))
    whole = shares_of([(0, len(sizes))], np.array(sizes), **numbers)
    shares = shares_of(ranges, np.array(sizes), **numbers)
    assert positions(whole) == list(range(len(sizes)))
    assert positions(shares) == positions(ranges)
    assert all(start < stop for start, stop in shares)
    assert {start for start, _ in whole[1:]} <= set(range(0, len(sizes), numbers["batch_size"]))
    most = max(numbers["longest"], numbers["batch_size"])
    assert all(stop - start <= most for start, stop in whole)
    starts = {start for start, _ in whole} | {start for start, _ in ranges}
    assert {start for start, _ in shares} <= starts


@given(SIZES, st.integers(1, 20), st.integers(1, 20))
def test_shares_are_alike_in_bytes(sizes, batch_size, at_least):
    known = [size for size in sizes if size >= 0]
    mean = sum(known) / len(known) if known else 1
    weights = np.array([max(1, mean if size < 0 else size) for size in sizes])
    shares = shares_of([(0, len(sizes))], np.array(sizes), batch_size=batch_size, at_least=at_least, longest=10**6)
    fair = weights.sum() / at_least
    for start, stop in shares:
        assert weights[start + batch_size : stop - batch_size].sum() <= fair  # to half a batch at each end


def test_cuts_are_where_bytes_are_and_in_the_middle_of_what_is_not_known():
    sizes = np.array([100] * 10 + [1] * 90 + [-1] * 4)
    assert shares_of([(0, 104)], sizes, batch_size=1, at_least=2, longest=1000) == [(0, 5), (5, 104)]
    assert shares_of([(0, 8)], np.full(8, -1), batch_size=2, at_least=3, longest=8) == [(0, 2), (2, 4), (4, 6), (6, 8)]
    assert shares_of([(0, 8)], np.zeros(8, int), batch_size=2, at_least=1, longest=5) == [(0, 4), (4, 8)]


def test_the_cuts_for_few_are_among_those_for_many():
    sizes = np.random.default_rng(0).integers(1, 10**6, 1000)
    starts = [
        {start for start, _ in shares_of([(0, 1000)], sizes, batch_size=4, at_least=count, longest=1000)}
        for count in (4, 8, 32)
    ]
    assert starts[0] < starts[1] < starts[2]
    assert starts[1] == {s for s, _ in shares_of([(0, 1000)], sizes, batch_size=4, at_least=5, longest=1000)}


def test_work_without_anything_missing_has_no_shares():
    assert shares_of([], np.array([1, 2]), batch_size=1, at_least=1, longest=1) == []
