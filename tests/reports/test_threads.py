"""Threads of one's own: in order, not far ahead, and BLAS is what it was when they are done."""

from threading import Barrier, Thread

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from featx.reports._threads import in_threads, own_threads


def blas_threads():
    np.ones((2, 2)) @ np.ones((2, 2))
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


def test_results_come_in_order_and_not_far_ahead():
    begun = []

    def work(item):
        begun.append(item)
        return item**2

    found = in_threads(work, range(1000))
    assert [next(found) for _ in range(3)] == [0, 1, 4]
    assert len(begun) < 500
    assert list(found) == [item**2 for item in range(3, 1000)]
    assert list(in_threads(work, [])) == []


def test_blas_has_its_threads_back():
    before = blas_threads()
    with own_threads():
        assert set(blas_threads()) == {1}
        with own_threads():
            pass
        assert set(blas_threads()) == {1}
    assert blas_threads() == before
    with pytest.raises(ZeroDivisionError):
        list(in_threads(lambda item: 1 / item, [0]))
    assert blas_threads() == before


def test_blas_has_its_threads_back_whoever_ends_last():
    before, together = blas_threads(), Barrier(2)

    def work(first):
        with own_threads():
            together.wait()
            if not first:
                thread.join()

    thread = Thread(target=work, args=[True])
    other = Thread(target=work, args=[False])
    thread.start()
    other.start()
    other.join()
    assert blas_threads() == before
