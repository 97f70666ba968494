"""An extraction that ends early goes on from there, and ends as if nothing had happened."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from featx.caching import _compute
from featx.errors import SampleError, StoreError
from featx.store import Workspace
from tests.caching.helpers import assert_same, extracted
from tests.tiny import TinyNet, write_folder

ROOT = Path(__file__).parents[2]
SCRIPT = """
import os, signal, sys
from featx.caching import _compute, extract
from tests.tiny import BACKBONE
_compute._PART_SECONDS = 0
def progress(done, total):
    if done >= int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
extract(sys.argv[1], BACKBONE, cache=sys.argv[2], batch_size=4, progress=progress)
"""


@pytest.fixture
def photos(tmp_path):
    folder = write_folder(tmp_path / "photos", splits=("train", "val"), per_class=5)  # 30 images
    (folder / "train" / "green" / "001.png").write_bytes(b"")
    (folder / "val" / "blue" / "004.png").write_bytes(b"text")
    return folder


@pytest.fixture
def undisturbed(photos, tmp_path):
    ((extraction,), *_) = extracted(photos, tmp_path / "undisturbed", batch_size=4)
    return extraction.store


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(_compute, "_PART_SECONDS", 0)


def goes_on(photos, cache, undisturbed, *, done, in_hand=0, **options):
    """Finish the work; hold what was run and the store against the undisturbed run."""
    ((extraction,), _, images) = extracted(photos, cache, batch_size=4, **options)
    if extraction.changes.resumed == done - in_hand:
        done -= in_hand
    assert (extraction.changes.computed, extraction.changes.resumed) == (28 - done, done)
    assert images == 28 - done
    assert_same(extraction.store, undisturbed)
    assert not (cache / ".work").exists()


def test_killed_and_run_again(photos, tmp_path, undisturbed):
    cache = tmp_path / "cache"
    command = [sys.executable, "-c", SCRIPT, str(photos), str(cache), "16"]
    killed = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=120)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert not list(cache.glob("*.h5"))
    seen = []
    goes_on(photos, cache, undisturbed, done=16, in_hand=4, progress=lambda *counts: seen.append(counts))
    assert seen[0] in ((17, 30), (12, 30), (13, 30))  # one of them is bad
    assert seen[-1] == (30, 30)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, SystemExit, MemoryError])
def test_whatever_ends_it_early_what_is_done_is_kept(photos, tmp_path, undisturbed, error):
    def stop(done, total):
        if done >= 12:
            raise error("enough")

    with pytest.raises(error, match="enough"):
        extracted(photos, tmp_path / "cache", batch_size=4, progress=stop)
    goes_on(photos, tmp_path / "cache", undisturbed, done=12)


def test_an_error_of_the_network_loses_the_batch_in_hand_alone(photos, tmp_path, undisturbed, monkeypatch):
    forward = TinyNet.forward

    def fail(self, x):
        if x.any() and TinyNet.forwards >= begun + 3:
            raise RuntimeError("CUDA out of memory")
        return forward(self, x)

    begun = TinyNet.forwards
    monkeypatch.setattr(TinyNet, "forward", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        extracted(photos, tmp_path / "cache", batch_size=4)
    monkeypatch.undo()
    goes_on(photos, tmp_path / "cache", undisturbed, done=12)


def test_other_batches_begin_anew(photos, tmp_path):
    def stop(done, total):
        if done >= 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extracted(photos, tmp_path / "cache", batch_size=4, progress=stop)
    ((extraction,), _, images) = extracted(photos, tmp_path / "cache", batch_size=7)
    ((fresh,), *_) = extracted(photos, tmp_path / "fresh", batch_size=7)
    assert images == 28
    assert_same(extraction.store, fresh.store)


def test_a_source_that_changed_meanwhile_begins_anew(photos, tmp_path):
    def stop(done, total):
        if done >= 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extracted(photos, tmp_path / "cache", batch_size=4, progress=stop)
    (photos / "train" / "blue" / "000.png").unlink()
    ((extraction,), *_) = extracted(photos, tmp_path / "cache", batch_size=4)
    ((fresh,), *_) = extracted(photos, tmp_path / "fresh", batch_size=4)
    assert_same(extraction.store, fresh.store)


def test_a_lost_part_is_computed_again(photos, tmp_path, undisturbed, small_parts, monkeypatch):
    def stop(done, total):
        if done >= 16:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extracted(photos, tmp_path / "cache", batch_size=4, progress=stop)
    parts = sorted((tmp_path / "cache" / ".work").rglob("part-*.npz"))
    assert len(parts) == 4
    parts[1].unlink()
    parts[2].write_bytes(parts[2].read_bytes()[:-100])
    goes_on(photos, tmp_path / "cache", undisturbed, done=8)


def test_a_full_disk_is_told_and_overcome(photos, tmp_path, undisturbed, small_parts, monkeypatch):
    write, count = Workspace.write, 0

    def full(self, part):
        nonlocal count
        count += 1
        if count > 2:
            raise StoreError(f"the disk is full: {os.strerror(errno.ENOSPC)}")
        write(self, part)

    monkeypatch.setattr(Workspace, "write", full)
    with pytest.raises(StoreError, match="disk is full"):
        extracted(photos, tmp_path / "cache", batch_size=4)
    monkeypatch.setattr(Workspace, "write", write)
    goes_on(photos, tmp_path / "cache", undisturbed, done=8)


def test_strict_names_the_image_and_keeps_what_came_before(photos, tmp_path, undisturbed):
    with pytest.raises(SampleError, match=r"'train/green/001\.png' cannot be used \(.+\): mend or remove it"):
        extracted(photos, tmp_path / "cache", batch_size=4, strict=True)
    assert not list((tmp_path / "cache").glob("*.h5"))
    goes_on(photos, tmp_path / "cache", undisturbed, done=4)


def test_strict_is_content_with_good_images(tmp_path):
    folder = write_folder(tmp_path / "photos", per_class=2)
    ((extraction,), *_) = extracted(folder, tmp_path / "cache", strict=True)
    assert len(extraction.store) == 6
