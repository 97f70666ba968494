"""Two workers on a Ray cluster of this machine: the store is what one process makes, whatever happens to them."""

import hashlib
import importlib
import os
import signal
import tarfile

import numpy as np
import pytest

from featx._ray import connect, disconnect
from featx.distributed import RayCluster, _cluster, _crew
from featx.errors import EngineError, SampleError, StoreError
from tests.caching.helpers import extracted
from tests.distributed.helpers import HERE
from tests.sources.server import serve
from tests.tiny import PREPROCESSING, picture, write_folder

ray = pytest.importorskip("ray")


@pytest.fixture(scope="module", autouse=True)
def connected():
    """A cluster of two processors; this process is connected to it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        assert connect(None, 2)
        assert not connect(None, 2)
        yield
        disconnect()


@pytest.fixture
def photos(tmp_path):
    folder = write_folder(tmp_path / "photos", splits=("train", "val"), per_class=8)  # 48 images
    (folder / "train" / "red" / "bad.png").write_bytes(b"bad")
    (folder / "val" / "blue" / "again.png").write_bytes((folder / "val" / "blue" / "003.png").read_bytes())
    return folder


@pytest.fixture
def one(photos, tmp_path):
    """What one process makes of them."""
    ((extraction,), *_) = extracted(photos, tmp_path / "one", batch_size=4, engine="torch")
    return extraction


def on_ray(photos, cache, network=None, **options):
    """Extract with two workers; return what came of it, and how many images this process sent through the network."""
    import featx

    backbone = "tests.tiny:tiny_net" if network is None else f"{HERE}:{network}"
    cluster = options.pop("cluster", None) or RayCluster(num_workers=2)
    options = {"batch_size": 4, "engine": "torch", "preprocessing": PREPROCESSING} | options
    (extraction,) = featx.extract_layers(photos, backbone, cache=cache, cluster=cluster, **options)
    return extraction


def assert_alike(extraction, one):
    """Hold a store against what one process made: all but the last bits, which depend on what is in a batch."""
    a, b = extraction.store, one.store
    assert (a.keys, a.digests, a.failures) == (b.keys, b.digests, b.failures)
    assert (a.labels.tolist(), a.splits, a.classes) == (b.labels.tolist(), b.splits, b.classes)
    assert (a.sizes.tolist(), a.mtimes_ns.tolist()) == (b.sizes.tolist(), b.mtimes_ns.tolist())
    np.testing.assert_allclose(a.features, b.features, rtol=1e-5, atol=1e-6)


def test_the_store_is_what_one_process_makes(photos, tmp_path, one, capfd):
    seen = []
    cache = tmp_path / "two"
    two = on_ray(photos, cache, progress=lambda *counts: seen.append(counts))
    assert_alike(two, one)
    assert two.store.spec == one.store.spec
    assert two.changes.failed == one.changes.failed == 1
    assert two.changes.computed in (48, 49)  # two workers may meet the same content
    assert two.store.creation["num_workers"] == 2
    assert two.store.creation["workers"] == 1
    assert two.stages["forward"] > 0
    assert seen[0] == (0, 50)
    assert seen[-1] == (50, 50)
    assert seen == sorted(seen)
    assert not (cache / ".work").exists()
    assert capfd.readouterr() == ("", "")
    picture(1000).save(photos / "val" / "red" / "new.png")
    more = on_ray(photos, cache)
    assert (more.changes.kept, more.changes.new, more.changes.computed) == (49, 1, 1)


@pytest.mark.slow
def test_several_layers_and_views_too(photos, tmp_path):
    import featx

    options = {"layers": ["conv2", "relu_1"], "views": 3, "augment": "hflip", "batch_size": 4, "engine": "torch"}
    stores = [
        [one.store for one in featx.extract_layers(photos, "tests.tiny:tiny_net", cache=cache, **options, **where)]
        for cache, where in ((tmp_path / "a", {}), (tmp_path / "b", {"cluster": RayCluster(num_workers=2)}))
    ]
    for a, b in zip(*stores, strict=True):
        assert (a.features.shape, a.axes, a.keys, a.digests) == (b.features.shape, b.axes, b.keys, b.digests)
        np.testing.assert_allclose(a.features, b.features, rtol=1e-5, atol=1e-6)


def test_a_worker_that_is_killed_is_replaced(photos, tmp_path, one, here, capfd, monkeypatch):
    monkeypatch.setattr(_crew, "_ASK_EVERY", 0)
    killed, seen = [], set()

    def progress(done, total):
        seen.add(done)
        processes = list(here.glob("process-*"))
        if done >= 8 and processes and not killed:
            killed.append(int(processes[0].name.partition("-")[2]))
            os.kill(killed[0], signal.SIGKILL)

    extraction = on_ray(photos, tmp_path / "two", "slow_net", progress=progress, batch_size=2)
    assert killed
    assert len(seen) > 10  # of 25 batches, in 8 shares
    assert_alike(extraction, one)
    assert not (tmp_path / "two" / ".work").exists()
    assert len(list(here.glob("process-*"))) >= 2
    assert capfd.readouterr().out == ""


@pytest.mark.slow
def test_what_kills_every_worker_is_told_and_the_work_goes_on(photos, tmp_path, one, here, monkeypatch):
    monkeypatch.setattr(_crew, "_CHANCES", 2)
    (here / "die").touch()
    with pytest.raises(EngineError, match=r"2 workers were ended from outside at the samples from '\w+/.*' to '\w+/"):
        on_ray(photos, tmp_path / "two", "dying_net")
    (here / "die").unlink()
    extraction = on_ray(photos, tmp_path / "two", "dying_net")
    assert_alike(extraction, one)


def test_a_worker_that_is_stuck_holds_nothing_up(photos, tmp_path, one, here, monkeypatch):
    monkeypatch.setattr(_crew, "_END_SECONDS", 0.1)
    (here / "stick").touch()
    extraction = on_ray(photos, tmp_path / "two", "stuck_net")
    assert not (here / "stick").exists()
    assert_alike(extraction, one)
    assert not (tmp_path / "two" / ".work").exists()


@pytest.mark.slow
def test_work_that_was_begun_alone_goes_on_with_workers(photos, tmp_path, one):
    def stop(done, total):
        if done >= 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extracted(photos, tmp_path / "two", batch_size=4, engine="torch", progress=stop)
    two = on_ray(photos, tmp_path / "two")
    assert_alike(two, one)
    assert two.changes.resumed >= 20 - 1
    assert two.changes.computed <= 48 - two.changes.resumed + 1


@pytest.mark.slow
def test_work_that_was_interrupted_goes_on_alone(photos, tmp_path, one, here):
    def stop(done, total):
        if done >= 16:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        on_ray(photos, tmp_path / "two", "slow_net", progress=stop)
    parts = list((tmp_path / "two").rglob("part-*.npz"))
    assert parts
    import featx

    (extraction,) = featx.extract_layers(
        photos, f"{HERE}:slow_net", cache=tmp_path / "two", batch_size=4, engine="torch", preprocessing=PREPROCESSING
    )
    assert extraction.changes.resumed > 0
    assert extraction.changes.resumed + extraction.changes.computed in (48, 49)
    assert_alike(extraction, one)


@pytest.mark.slow
def test_an_error_is_what_it_is_without_ray(photos, tmp_path):
    alone = RayCluster(num_workers=1)
    with pytest.raises(SampleError, match=r"^'train/red/bad\.png' cannot be used \(.+\): mend or remove it"):
        on_ray(photos, tmp_path / "cache", strict=True, cluster=alone)
    with pytest.raises(RuntimeError, match="the network is broken"):
        on_ray(photos, tmp_path / "cache", "failing_net", cluster=alone)
    assert not list((tmp_path / "cache").glob("*.h5"))


def test_what_workers_cannot_import_is_told(photos, tmp_path, monkeypatch):
    (tmp_path / "mine_alone.py").write_text("from featx.sources import FolderSource\nclass Mine(FolderSource): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    source = importlib.import_module("mine_alone").Mine(photos)
    with pytest.raises(
        EngineError, match=r"a worker .* lacks what the work needs \(No module named 'mine_alone'\): inst"
    ):
        on_ray(source, tmp_path / "cache")


def tar_shards(photos, folder):
    """Write the images into two shards of WebDataset."""
    for number, split in enumerate(("train", "val")):
        with tarfile.open(folder / f"{split}-{number:04d}.tar", "w") as shard:
            for file in sorted((photos / split).rglob("0*.png")):
                shard.add(file, f"{file.parent.name}-{file.name}")
    return folder


def table_of_bytes(photos, folder):
    """Write the images into the column of a table."""
    pyarrow = pytest.importorskip("pyarrow")
    images = [{"bytes": file.read_bytes(), "path": file.name} for file in sorted(photos.rglob("0*.png"))]
    table = pyarrow.table({"image": images, "label": [i % 3 for i in range(len(images))]})
    importlib.import_module("pyarrow.parquet").write_table(table, folder / "all.parquet", row_group_size=7)
    return folder / "all.parquet"


def list_of_urls(photos, folder):
    """Write the addresses of the images into a manifest."""
    lines = [f"{file.as_uri()},{file.parent.name}\n" for file in sorted(photos.rglob("0*.png"))]
    (folder / "all.csv").write_text("path,label\n" + "".join(lines))
    return folder / "all.csv"


@pytest.mark.parametrize(
    "kind", [tar_shards, *(pytest.param(kind, marks=pytest.mark.slow) for kind in (table_of_bytes, list_of_urls))]
)
def test_sources_that_are_streamed_become_features_in_shards(photos, tmp_path, kind):
    (tmp_path / "set").mkdir()
    source = kind(photos, tmp_path / "set")
    two = on_ray(source, tmp_path / "two", shards=2)
    ((alone,), *_) = extracted(source, tmp_path / "three", batch_size=4, engine="torch")
    assert len(list((tmp_path / "two").rglob("*.h5"))) == 3
    assert len(two.store) == 48
    assert_alike(two, alone)


@pytest.mark.slow
def test_images_on_the_web_are_read_by_the_workers(photos, tmp_path):
    pytest.importorskip("aiohttp")
    files = {file.name: file.read_bytes() for file in sorted((photos / "train").rglob("0*.png"))}
    with serve(files) as web:
        (tmp_path / "all.csv").write_text("path\n" + "".join(f"{web.url}/{name}\n" for name in files))
        two = on_ray(tmp_path / "all.csv", tmp_path / "two")
        assert {name for _, name, _ in web.requests} == set(files)
    assert len(two.store) == len(files)
    assert set(two.store.digests) == {hashlib.sha256(data).hexdigest() for data in files.values()}


def test_parts_may_come_through_another_folder(photos, tmp_path, one, monkeypatch):
    cluster = RayCluster(num_workers=2, parts=f"file://{tmp_path}/parts")
    monkeypatch.setattr(_cluster, "holder_of", lambda folder: "somebody whose cache is not seen by the workers")
    two = on_ray(photos, tmp_path / "two", cluster=cluster)
    assert_alike(two, one)
    assert list((tmp_path / "parts").rglob("*")) == []
    assert not (tmp_path / "two" / ".work").exists()
    with pytest.raises(StoreError, match=r"does not see the folder .*\.work.* name in parts \(--parts\)"):
        on_ray(photos, tmp_path / "three")


@pytest.mark.slow
def test_parts_that_were_left_there_are_not_computed_again(photos, tmp_path, one, here):
    def stop(done, total):
        if done >= 30:
            raise KeyboardInterrupt

    cluster = RayCluster(num_workers=2, parts=tmp_path / "parts")
    with pytest.raises(KeyboardInterrupt):
        on_ray(photos, tmp_path / "two", "slow_net", cluster=cluster, progress=stop)
    taken = list((tmp_path / "two").rglob("part-*.npz"))
    for part in taken:  # as if the one who asks had been killed before it took them
        part.rename(tmp_path / "parts" / part.parent.name / part.name)
    assert taken
    seen = []
    extraction = on_ray(
        photos, tmp_path / "two", "slow_net", cluster=cluster, progress=lambda *counts: seen.append(counts)
    )
    assert_alike(extraction, one)
    assert extraction.changes.resumed > 0
    assert (seen[0], seen[-1]) == ((0, 50), (50, 50))
    assert seen[1][0] >= 4  # the parts that were there


def test_no_room_is_told_and_not_waited_for_without_end(photos, tmp_path, monkeypatch):
    cluster = RayCluster(num_workers=1, timeout=1)
    monkeypatch.setattr(cluster, "_hire", lambda: _crew.worker_class(99, 0).remote(os.getcwd()))
    with pytest.raises(
        EngineError, match=r"had no room for a worker with 2 CPUs and 0 GPUs within 1 s \(it has 2 and 0"
    ):
        on_ray(photos, tmp_path / "cache", cluster=cluster)
