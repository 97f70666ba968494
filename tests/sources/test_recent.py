import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from featx.sources._recent import Recent


def test_what_is_there_is_not_loaded_again_and_the_oldest_go():
    loaded = []

    def load(key):
        return lambda: loaded.append(key) or bytes(10)

    recent = Recent(30, len)
    for key in "abcab":
        assert recent.get(key, load(key)) == bytes(10)
    assert loaded == ["a", "b", "c"]
    recent.get("d", load("d"))
    assert [key in recent for key in "abcd"] == [True, True, False, True]


def test_two_things_stay_whatever_their_size():
    recent = Recent(1, len)
    for key in "abc":
        recent.get(key, lambda: bytes(100))
    assert [key in recent for key in "abc"] == [False, True, True]


def test_many_threads_one_load():
    started, loads = threading.Barrier(8), []

    def load():
        loads.append(1)
        return b"x" * 5

    recent = Recent(100, len)

    def ask(_):
        started.wait()
        return recent.get("key", load)

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, range(8))) == {b"xxxxx"}
    assert len(loads) == 1


def test_a_failure_is_for_all_that_wait_and_is_not_kept():
    recent = Recent(100, len)

    def fail():
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        recent.get("key", fail)
    assert recent.get("key", lambda: b"back") == b"back"


def test_a_forked_process_does_not_wait_for_threads_that_it_has_not():
    recent = Recent(100, len)
    loading, go_on = threading.Event(), threading.Event()

    def slow():
        loading.set()
        go_on.wait()
        return b"parent"

    thread = threading.Thread(target=recent.get, args=("key", slow))
    thread.start()
    loading.wait()
    child = os.fork()
    if not child:
        os._exit(0 if recent.get("key", lambda: b"child") == b"child" else 1)
    assert os.waitpid(child, 0)[1] == 0
    go_on.set()
    thread.join()
    assert recent.get("key", lambda: b"") == b"parent"
