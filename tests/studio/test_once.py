"""Values are made once, kept for a while, and made anew after a failure."""

import threading
import time

import pytest

from featx.studio._once import Once


@pytest.fixture
def once():
    made = Once(2)
    yield made
    made.close()


def test_many_that_ask_at_a_time_have_it_made_once(once):
    release, calls, answers = threading.Event(), [], []

    def make():
        calls.append(threading.current_thread().name)
        release.wait(10)
        return object()

    threads = [threading.Thread(target=lambda: answers.append(once.get("a", make))) for _ in range(5)]
    for thread in threads:
        thread.start()
    assert once.get("a", make, patience=0.01) is None
    assert not once.idle
    release.set()
    for thread in threads:
        thread.join(10)
    assert len(calls) == 1
    assert len(answers) == 5
    assert len(set(map(id, answers))) == 1
    assert once.idle


def test_the_latest_are_kept(once):
    made = []
    for key in "abacab":
        once.get(key, lambda key=key: made.append(key))
    assert made == ["a", "b", "c", "b"]


def test_what_failed_is_made_anew(once):
    def fails():
        raise ValueError("no")

    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            once.get("a", fails)
    assert once.get("a", lambda: 7) == 7


def test_what_waits_is_not_begun_after_the_end(once):
    release = threading.Event()
    once.get("a", lambda: release.wait(10), patience=0.01)
    begun = []
    once.get("b", lambda: begun.append(1), patience=0.01)
    once.close(wait=False)
    release.set()
    while not once.idle:
        time.sleep(0.01)
    assert begun == []
