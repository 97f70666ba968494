"""A worker by itself, in this process: what it is told, what it does, what it refuses."""

import pickle
import threading
from dataclasses import replace

import numpy as np
import pytest

from featx.caching._lock import lock_of, locked
from featx.distributed._parts import PartsFolder
from featx.distributed._worker import Worker
from featx.errors import EngineError, SampleError, SourceError, StoreError
from featx.store import Workspace
from tests.caching.helpers import extracted
from tests.distributed.helpers import make_task
from tests.tiny import write_folder


@pytest.fixture
def photos(tmp_path):
    folder = write_folder(tmp_path / "photos", per_class=4)
    (folder / "red" / "bad.png").write_bytes(b"bad")
    return folder


@pytest.fixture
def task(photos, tmp_path):
    return make_task(photos, tmp_path / "cache")


@pytest.fixture
def worker(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the worker goes into the folder of who asks
    return Worker(str(tmp_path))


def test_a_share_is_one_part(worker, task, photos, tmp_path):
    worker.begin(pickle.loads(pickle.dumps(task)))
    done = worker.compute((4, 13))
    assert done.images == 8
    assert done.seconds > 0
    assert done.stages["forward"] > 0
    assert task.job.workspace.ranges() == [(4, 13)]
    (part,) = task.job.workspace.parts()
    assert [position for position, _ in part.failures] == [12]
    ((one,), *_) = extracted(photos, tmp_path / "one", batch_size=2)
    np.testing.assert_array_equal(part.features[0], one.store.features[4:])
    assert tuple(part.digests) == one.store.digests[4:]
    assert worker.counts() == {}


def test_it_leaves_parts_elsewhere_if_it_is_told_to(worker, task, tmp_path):
    parts = PartsFolder(str(tmp_path / "parts"), "work")
    worker.begin(replace(task, parts=parts, holder="somebody on a machine whose cache is not seen here"))
    worker.compute((0, 4))
    assert task.job.workspace.ranges() == []
    assert parts.take_all(task.job.workspace) == 1
    assert task.job.workspace.ranges() == [(0, 4)]


def test_what_is_dropped_is_not_written(worker, task):
    worker.begin(task)
    worker.drop((0, 4))
    assert worker.compute((0, 4)) is None
    assert task.job.workspace.ranges() == []
    assert worker.compute((0, 4)).images == 4  # it was told once


def test_a_share_is_left_at_its_next_batch(worker, task, monkeypatch):
    worker.begin(task)
    begun, go_on = threading.Event(), threading.Event()
    start = worker._engine.start

    def slow(images, submit):
        begun.set()
        assert go_on.wait(30)
        return start(images, submit)

    monkeypatch.setattr(worker._engine, "start", slow)
    answers = []
    thread = threading.Thread(target=lambda: answers.append(worker.compute((0, 12))))
    thread.start()
    assert begun.wait(30)
    assert worker.counts() == {(0, 12): 0}
    worker.drop((0, 12))
    go_on.set()
    thread.join(30)
    assert answers == [None]
    assert task.job.workspace.ranges() == []


def test_two_shares_are_computed_one_after_the_other(worker, task, monkeypatch):
    """The second is begun when the first is computed, and before that is written."""
    worker.begin(task)
    begun, written = threading.Event(), threading.Event()
    write = Workspace.write

    def slow(self, part):
        if part.start == 0:
            begun.set()
            assert written.wait(30)
        write(self, part)

    monkeypatch.setattr(Workspace, "write", slow)
    first = threading.Thread(target=worker.compute, args=((0, 4),))
    first.start()
    assert begun.wait(30)
    assert worker.compute((4, 8)).images == 4
    assert task.job.workspace.ranges() == [(4, 8)]
    written.set()
    first.join(30)
    assert task.job.workspace.ranges() == [(0, 4), (4, 8)]


def test_a_bad_sample_is_an_error_if_that_is_asked_for(worker, task):
    worker.begin(replace(task, job=replace(task.job, strict=True)))
    with pytest.raises(SampleError, match=r"'red/bad\.png' cannot be used"):
        worker.compute((8, 13))
    assert task.job.workspace.ranges() == []
    assert worker.counts() == {}


def test_another_version_is_refused(worker, task):
    with pytest.raises(EngineError, match=r"of the cluster has featx \S+, and the one that asks 9\.9: install one"):
        worker.begin(replace(task, version="9.9"))


def test_a_cache_that_is_not_seen_is_told(worker, task, photos):
    with pytest.raises(StoreError, match=r"does not see the folder '.*photos': keep the cache .* parts \(--parts\)"):
        worker.begin(replace(task, holder="another"))
    lock = lock_of(task.job.workspace.folder)
    with locked(lock):
        held = make_task(photos, task.job.workspace.folder.parents[1])
        assert held.holder is not None
        worker.begin(held)
        with pytest.raises(StoreError, match="does not see the folder"):
            worker.begin(task)


def test_a_source_that_is_not_seen_is_told(worker, task, photos):
    with pytest.raises(SourceError, match=r"'blue/000\.png' as the one that asks does \(it has other content there\)"):
        worker.begin(replace(task, example=(0, "0" * 64)))
    (photos / "blue" / "000.png").unlink()
    with pytest.raises(SourceError, match=r"as the one that asks does \(cannot be read: no such file"):
        worker.begin(task)
    worker.begin(replace(task, example=None))


def test_a_network_keeps_nothing_where_the_cache_is_not(worker, task, tmp_path):
    told, network = [], task.network

    class Remembered:
        resolved = network.resolved

        def on(self, device, *, keeping):
            told.append((device, keeping))
            return network

    task = replace(task, network=Remembered(), parts=PartsFolder(str(tmp_path / "parts"), "work"))
    worker.begin(task)
    worker.begin(replace(task, holder="another"))
    assert told == [("cpu", True), ("cpu", False)]
