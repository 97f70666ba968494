"""The one who asks, in a process and with a cluster of its own: what it prints, and what is left when it dies."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

import featx
from tests.caching.helpers import assert_same, extracted
from tests.cli.helpers import ROOT
from tests.distributed.helpers import HERE
from tests.tiny import PREPROCESSING, write_folder

pytest.importorskip("ray")

KILLED = f"""
import os, signal, sys
import featx
from tests.tiny import PREPROCESSING
def progress(done, total):
    if done >= 40:
        os.kill(os.getpid(), signal.SIGKILL)
featx.extract(sys.argv[1], "{HERE}:slow_net", cache=sys.argv[2], preprocessing=PREPROCESSING, batch_size=4,
              engine="torch", progress=progress, cluster=featx.RayCluster(num_workers=2))
"""


def run(*words, cwd):
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    return subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=cwd,
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )


def is_alive(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def photos(tmp_path):
    return write_folder(tmp_path / "photos", per_class=30)  # 90 images


def test_killed_and_run_again(photos, tmp_path, here):
    cache = tmp_path / "cache"
    killed = run("-c", KILLED, photos, cache, cwd=here)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not list(cache.glob("*.h5"))
    workers = [int(file.name.partition("-")[2]) for file in here.glob("process-*")]
    assert len(workers) == 2
    while any(map(is_alive, workers)):  # they end with the one who asked
        time.sleep(0.1)
    parts = [file.name for file in cache.rglob("part-*.npz")]
    covered = sum(int(stop) - int(start) for _, start, stop in (name.removesuffix(".npz").split("-") for name in parts))
    assert covered > 0
    (extraction,) = featx.extract_layers(
        photos, f"{HERE}:slow_net", cache=cache, preprocessing=PREPROCESSING, batch_size=4, engine="torch"
    )
    assert (extraction.changes.resumed, extraction.changes.computed) == (covered, 90 - covered)
    ((one,), *_) = extracted(photos, tmp_path / "one", batch_size=4, engine="torch")
    assert extraction.store.features.tobytes() == one.store.features.tobytes()
    assert (extraction.store.keys, extraction.store.digests) == (one.store.keys, one.store.digests)


def test_the_command_prints_and_makes_what_it_does_alone(photos, tmp_path):
    words = ["-m", "featx", "extract", photos, "--backbone", "tests.tiny:tiny_net", "--batch-size", 4]
    words += ["--engine", "torch", "--json"]
    ((alone,), *_) = extracted(photos, tmp_path / "one", batch_size=4, engine="torch")
    both = run(*words, "--cache", tmp_path / "two", "--distributed", "ray", "--num-workers", 2, cwd=tmp_path)
    assert (both.returncode, both.stderr) == (0, "")
    store = featx.open_store(json.loads(both.stdout)[0]["path"])
    assert_same(alone.store, store)
    assert store.creation["num_workers"] == 2
