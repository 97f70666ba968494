"""Several devices: one process each, and the store is what one process makes."""

import multiprocessing
import os
import signal

import numpy as np
import pytest

from featx.caching import _devices, extract
from featx.caching._devices import devices_of, shares_of
from featx.errors import EngineError, SampleError
from tests.caching.helpers import extracted
from tests.tiny import PREPROCESSING, TinyNet, tiny_net, write_folder


@pytest.fixture
def photos(tmp_path):
    folder = write_folder(tmp_path / "photos", per_class=6)
    (folder / "red" / "bad.png").write_bytes(b"bad")
    return folder


@pytest.fixture
def two(monkeypatch):
    """Two "devices", both of them the processor; a process takes two batches at a time."""
    monkeypatch.setattr("featx.caching._cluster.devices_of", lambda device: ("cpu", "cpu"))
    monkeypatch.setattr(_devices, "_SHARE", 2)


def test_shares_begin_at_multiples_whatever_is_left():
    assert shares_of([(0, 10)], 4) == [(0, 4), (4, 8), (8, 10)]
    assert shares_of([(3, 5), (6, 7)], 4) == [(3, 4), (4, 5), (6, 7)]
    assert shares_of([(4, 8)], 4) == [(4, 8)]
    assert shares_of([], 4) == []


def test_only_cuda_is_several(monkeypatch):
    assert devices_of("cpu") == ("cpu",)
    assert devices_of("cuda:1") == ("cuda:1",)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    assert devices_of("cuda") == ("cuda:0", "cuda:1", "cuda:2")


def test_the_store_is_what_one_process_makes(photos, tmp_path, two, monkeypatch):
    seen = []
    ((both,), _, here) = extracted(
        photos, tmp_path / "both", engine="torch", batch_size=2, workers=2, progress=lambda *counts: seen.append(counts)
    )
    monkeypatch.undo()
    ((one,), *_) = extracted(photos, tmp_path / "one", batch_size=2)
    assert here == 0  # the processes computed
    assert (both.changes, both.store.failures) == (one.changes, one.store.failures)
    assert (both.store.keys, both.store.digests) == (one.store.keys, one.store.digests)
    np.testing.assert_allclose(both.store.features, one.store.features, rtol=1e-5, atol=1e-6)
    assert seen[0] == (0, 19)
    assert seen[-1] == (19, 19)
    assert both.stages["forward"] > 0


@pytest.mark.slow
def test_an_error_in_one_process_ends_all(photos, tmp_path, two):
    with pytest.raises(SampleError, match=r"'red/bad\.png' cannot be used"):
        extracted(photos, tmp_path / "cache", batch_size=2, strict=True)


def dying_net():
    """Return the tiny network; its process is killed after two batches, unless it is the tests' own."""
    network = tiny_net()

    def die(*_):
        if TinyNet.forwards > 2 and multiprocessing.parent_process() is not None:
            os.kill(os.getpid(), signal.SIGKILL)

    network.register_forward_pre_hook(die)
    return network


@pytest.mark.slow
def test_a_process_that_dies_is_told_and_the_work_goes_on(photos, tmp_path, two, monkeypatch):
    backbone, cache = "tests.caching.test_devices:dying_net", tmp_path / "cache"
    with pytest.raises(EngineError, match="was ended from outside, perhaps for want of memory"):
        extract(photos, backbone, cache=cache, batch_size=2, preprocessing=PREPROCESSING)
    monkeypatch.undo()
    store = extract(photos, backbone, cache=cache, batch_size=2, preprocessing=PREPROCESSING)
    ((plain,), *_) = extracted(photos, tmp_path / "plain", batch_size=2)
    np.testing.assert_allclose(store.features, plain.store.features, rtol=1e-5, atol=1e-6)
