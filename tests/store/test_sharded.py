"""Stores whose features lie in several files, against the arrays they stand for."""

import multiprocessing
import os
import pickle
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from featx.errors import ParameterError, StoreError
from featx.store import CompressedFeatures, LazyArray, ShardedFeatures, open_store, verify_store
from featx.store import _format as names
from featx.store._export import checked_rows
from tests.store.helpers import TASKS, make_features, make_labelled, make_spec, make_table, save
from tests.store.test_compressed import indices
from tests.store.test_verify import flip

SHAPES = [(7, 5), (1, 1), (40, 3), (30, 2, 3), (12, 2, 3, 4)]
PAGES = (5, 1024)
"""Rows of a page each: shards of them are mapped side by side."""


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sharded")
    found = []
    for i, shape in enumerate([*SHAPES, PAGES]):
        array = make_features(*shape, seed=i)
        for count in {1, 2, 3, shape[0]}:
            for compress in (False, True):
                path = folder / f"{i}-{count}-{compress}.h5"
                axes = {2: "NC", 3: "NLC", 4: "NHWC"}[array.ndim]
                found.append((array, save(path, array, axes=axes, shards=count, compress=compress).features))
    return found


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_indexing_is_numpys(pairs, data):
    array, features = data.draw(st.sampled_from(pairs), label="store")
    index = data.draw(indices(array.shape))
    try:
        expected = array[index]
    except IndexError:
        with pytest.raises(IndexError):
            features[index]
        return
    found = features[index]
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert np.array_equal(found, expected)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_split_into_shards_is_the_same_store(tmp_path, data):
    rows, width = data.draw(st.integers(1, 30)), data.draw(st.integers(1, 3))
    dtype = data.draw(st.sampled_from(["float32", "float16"]))
    array = make_features(rows, width, dtype=dtype)
    cuts = sorted(data.draw(st.lists(st.integers(0, rows), max_size=5)))
    row_bytes = width * array.itemsize
    shards = data.draw(st.integers(1, 40) | st.integers(1, 40).map(lambda rows: f"{rows * row_bytes} B"))
    options = {"compress": data.draw(st.booleans()), "spec": make_spec(dtype)}
    plain = save(tmp_path / "plain.h5", array, **options)
    store = save(tmp_path / "a.h5", array, features=np.split(array, cuts), shards=shards, **options)
    each = -(-rows // shards) if isinstance(shards, int) else int(shards.split()[0]) // row_bytes
    count = -(-rows // each)
    assert len(store.shards) == (count if count > 1 else 0)
    assert np.asarray(store.features).tobytes() == array.tobytes()
    assert (store.samples, store.digests, store.failures) == (plain.samples, plain.digests, plain.failures)
    assert verify_store(store.path).ok
    start = 0
    for shard in map(open_store, store.shards):
        stop = start + len(shard)
        assert np.array_equal(shard.features, array[start:stop])
        assert shard.samples == store.samples.take(range(start, stop))
        assert shard.digests == store.digests[start:stop]
        start = stop
    assert {path.name for path in (tmp_path / "a.shards").glob("*")} == {path.name for path in store.shards}
    with h5py.File(store.path) as file:
        assert np.array_equal(file["features"][:], array)
        assert file.attrs["format_version"] == (3 if store.shards else 1)


def test_shards_of_whole_pages_are_one_array(tmp_path):
    array = make_features(*PAGES)
    store = save(tmp_path / "a.h5", array, shards=3)
    assert len(store.shards) == 3
    assert type(store.features) is np.ndarray
    assert store.features.flags.c_contiguous
    assert not store.features.flags.writeable
    assert np.array_equal(store.features, array)
    wide = save(tmp_path / "b.h5", make_features(5000, 3, dtype="float16"), shards=2)
    assert [len(open_store(shard)) for shard in wide.shards] == [4096, 904]  # multiples of 2,048
    assert isinstance(wide.features, np.ndarray)
    compressed = save(tmp_path / "c.h5", array, shards=3, compress=True)
    assert isinstance(compressed.features, ShardedFeatures)
    assert isinstance(open_store(compressed.shards[0]).features, CompressedFeatures)


def test_the_map_goes_when_nobody_needs_it(tmp_path):
    def mapped():
        return Path("/proc/self/maps").read_text(encoding="utf-8").count(str(tmp_path))

    features = save(tmp_path / "a.h5", make_features(*PAGES), shards=3).features
    row = features[4]
    del features
    assert mapped() == 3
    assert np.array_equal(row, make_features(*PAGES)[4])
    del row
    assert mapped() == 0


def test_it_looks_like_an_array(tmp_path):
    array = make_features(10, 4, 3, dtype="float16")
    store = save(tmp_path / "a.h5", array, shards=3, axes="NLC", spec=make_spec("float16"))
    features = store.features
    assert isinstance(features, ShardedFeatures)
    assert isinstance(features, LazyArray)
    assert (features.shape, features.dtype, features.ndim) == (array.shape, array.dtype, 3)
    assert (features.size, features.nbytes, len(features), len(store)) == (array.size, array.nbytes, 10, 10)
    assert np.asarray(features, dtype="float64").dtype == np.float64
    assert np.array_equal(np.stack(list(features)), array)
    assert np.array_equal(np.concatenate([features, features]), np.concatenate([array, array]))
    assert np.shares_memory(features[4:7], features[5:6])  # the second shard: no copy
    assert repr(features) == "<ShardedFeatures 10 x 4 x 3 float16>"
    summary = store.summary()
    assert (summary["shards"], summary["compressed"]) == (3, False)
    assert summary["bytes"] == sum(path.stat().st_size for path in (store.path, *store.shards))


@pytest.mark.parametrize("task", TASKS)
def test_labels_of_other_kinds_are_in_the_shards_too(tmp_path, task):
    samples = make_labelled(task)
    store = save(tmp_path / "a.h5", samples=samples, shards=2)
    assert store.samples == samples
    assert [open_store(shard).samples for shard in store.shards] == [samples.take(range(4)), samples.take(range(4, 7))]


def test_a_shard_says_what_it_is(tmp_path):
    source = {"name": "photos", "identity": "folder:/photos", "listing": "0" * 64, "samples": 8}
    store = save(tmp_path / "a.h5", source=source, shards=2)
    shard = open_store(store.shards[1])
    assert shard.source == {
        "name": "photos",
        "identity": "folder:/photos",
        "shard": {"number": 1, "of": 2, "start": 4},
    }
    assert (shard.failures, store.failures) == ((), (("bad.jpg", "cut short"),))
    assert shard.creation == store.creation


def test_views_in_shards(tmp_path):
    array = make_features(7, 3, 5)
    store = save(tmp_path / "a.h5", array, axes="NVC", spec=make_spec(views=3, augment="hflip"), shards=4)
    assert np.array_equal(np.asarray(store.features), array)
    assert len(store.shards) == 4


def test_the_same_arguments_give_the_same_bytes(tmp_path):
    for folder in ("a", "b"):
        save(tmp_path / folder / "a.h5", shards=3)
    files = [sorted((tmp_path / folder).rglob("*.h5")) for folder in ("a", "b")]
    assert [file.read_bytes() for file in files[0]] == [file.read_bytes() for file in files[1]]
    assert len(files[0]) == 4


def test_a_folder_may_be_moved_as_a_whole(tmp_path, monkeypatch):
    array = make_features(7)
    save(tmp_path / "old" / "a%b é.h5", array, shards=3)
    (tmp_path / "old").rename(tmp_path / "new")
    monkeypatch.chdir(tmp_path / "new")
    for name in ("a%b é.h5", tmp_path / "new" / "a%b é.h5"):
        assert np.array_equal(np.asarray(open_store(name).features), array)
        with h5py.File(name) as file:
            assert np.array_equal(file["features"][:], array)


def test_a_plain_library_finds_no_zeros_where_a_shard_is_missing(tmp_path):
    store = save(tmp_path / "a.h5", shards=3)
    store.shards[1].unlink()
    with h5py.File(store.path) as file:
        assert np.isnan(file["features"][3:6]).all()
        assert np.array_equal(file["features"][:3], make_features(7)[:3])


def lose(store):
    store.shards[1].unlink()


def swap(store):
    first, second, _ = store.shards
    first.rename(first.with_suffix(".x"))
    second.rename(first)
    first.with_suffix(".x").rename(second)


def exchange(store):
    """Put the shard of another store in the place of one."""
    other = save(store.path.with_name("b.h5"), make_features(7, seed=9), shards=3)
    shutil.copy(other.shards[1], store.shards[1])


def cut(store):
    os.truncate(store.shards[1], 1000)


def another_spec(store):
    other = save(store.path.with_name("b.h5"), spec=make_spec(pool="max"), shards=3)
    shutil.copy(other.shards[1], store.shards[1])


def nest(store):
    other = save(store.path.with_name("b.h5"), make_features(3), shards=3)
    shutil.copy(other.path, store.shards[1])
    shutil.copytree(other.path.with_suffix(".shards"), store.shards[1].with_name("b.shards"))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lose, "is incomplete (1 of its 3 shards are missing, such as"),
        (swap, "is another file than it was written with"),
        (exchange, "is another file than it was written with"),
        (another_spec, "is another file than it was written with"),
        (cut, "is damaged"),
        (nest, "has shards itself"),
    ],
)
def test_a_shard_that_is_not_the_right_one_is_named(tmp_path, damage, words):
    store = save(tmp_path / "a.h5", shards=3)
    damage(store)
    with pytest.raises(StoreError) as caught:
        open_store(store.path)
    assert words in str(caught.value)
    assert any(str(shard) in str(caught.value) for shard in store.shards)
    report = verify_store(store.path)
    assert report.problems == (str(caught.value),)


@pytest.mark.parametrize("compress", [False, True])
def test_damaged_features_are_named_with_their_shard(tmp_path, compress):
    array = make_features(1500, 700)
    store = save(tmp_path / "a.h5", array, shards=3, compress=compress)
    assert [len(open_store(shard)) for shard in store.shards] == [512, 512, 476]
    if compress:
        content = bytearray(store.shards[2].read_bytes())
        offset, size, _ = open_store(store.shards[2])._layout.chunks.places[6].tolist()
        content[offset : offset + size] = os.urandom(size)
        store.shards[2].write_bytes(content)
    else:
        flip(open_store(store.shards[2]), "features", 400 * 2800)
    again = open_store(store.path)
    report = verify_store(store.path)
    assert report.damaged_rows == ((1344, 1500),)
    assert report.damaged_keys == store.keys[1344:]
    assert len(report.problems) == 1
    assert str(store.shards[2]) in report.problems[0]
    assert (report.rows, report.ok) == (1500, False)
    with pytest.raises(StoreError, match=r"1344 to 1499 are not what was written|cannot be unpacked"):
        list(checked_rows(again, np.array([3, 1400])))
    assert np.array_equal(np.concatenate(list(checked_rows(again, np.array([3, 1030])))), array[[3, 1030]])


def test_a_damaged_column_of_a_shard_is_told(tmp_path):
    store = save(tmp_path / "a.h5", shards=3)
    flip(open_store(store.shards[2]), "label")
    report = verify_store(store.path)
    assert report.problems == (
        f"{store.shards[2]} is damaged ('label' is not what was written): delete it and extract again",
    )
    assert report.damaged_rows == ()


def test_memory_maps_stay_when_the_store_is_replaced(tmp_path):
    for shape in ((7, 5), PAGES):
        array = make_features(*shape)
        store = save(tmp_path / "a.h5", array, shards=3)
        pickled = pickle.dumps(store)
        assert np.array_equal(np.asarray(pickle.loads(pickled).features), array)
        save(tmp_path / "a.h5", make_features(*shape, seed=1), shards=3)
        assert np.array_equal(np.asarray(store.features), array)
        assert sorted(path.name for path in (tmp_path / "a.shards").iterdir()) == sorted(
            path.name for path in open_store(tmp_path / "a.h5").shards
        )
        with pytest.raises(StoreError, match="has been replaced"):
            pickle.loads(pickled)


def total(store) -> float:
    return float(store.features[1:5].sum())


@pytest.mark.parametrize(
    ("method", "shape"), [("fork", (7, 5)), ("fork", PAGES), ("spawn", PAGES), ("forkserver", (7, 5))]
)
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_several_processes_read_it(tmp_path, method, shape):
    store = save(tmp_path / "a.h5", make_features(*shape), shards=3)
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map(total, [store] * 4) == [total(store)] * 4


def send(store, connection):
    connection.send(total(store))


def test_a_spawned_process_reads_what_its_parent_opened(tmp_path):
    store = save(tmp_path / "a.h5", shards=3)
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=send, args=(store, there))
    process.start()
    save(tmp_path / "a.h5", make_features(7, seed=1), shards=3)
    assert here.recv() == total(store)
    process.join()


def test_several_threads_read_it(tmp_path):
    array = make_features(300, 6)
    features = save(tmp_path / "a.h5", array, shards=7, compress=True).features
    starts = np.random.default_rng(0).integers(0, 250, 100).tolist()
    with ThreadPoolExecutor(4) as pool:
        blocks = list(pool.map(lambda start: features[start : start + 40], starts))
    assert all(np.array_equal(block, array[i : i + 40]) for i, block in zip(starts, blocks, strict=True))


def test_from_shards_to_one_file_and_back_nothing_is_left(tmp_path):
    for shards in (3, None, 2, "10GB", 7):
        store = save(tmp_path / "a.h5", shards=shards)
        assert {path for path in tmp_path.rglob("*") if path.is_file()} == {store.path, *store.shards}
        assert (tmp_path / "a.shards").exists() == bool(store.shards)


def test_a_failure_leaves_the_old_store_and_its_shards(tmp_path):
    store = save(tmp_path / "a.h5", shards=3)
    before = {path: path.read_bytes() for path in (store.path, *store.shards)}

    def blocks():
        yield make_features(6)
        raise KeyboardInterrupt

    for features, error in (
        (blocks(), KeyboardInterrupt),
        ([make_features(6)], ParameterError),
        ([make_features(4), make_features(4)], ParameterError),
    ):
        with pytest.raises(error):
            save(tmp_path / "a.h5", features=features, shards=3)
        assert {path: path.read_bytes() for path in tmp_path.rglob("*.h5")} == before
        assert not list(tmp_path.rglob("*.tmp"))


def test_a_name_that_is_no_text_is_refused(tmp_path):
    with pytest.raises(ParameterError, match="shards need a name that is text"):
        save(tmp_path / "a\udcff.h5", shards=3)
    assert os.listdir(tmp_path) == []


KILLED = """
from itertools import count
from pathlib import Path
from tests.store.helpers import *
save(Path(sys.argv[1]), make_features(400, 512, seed=0), shards=3)
for i in count(1):
    print(i, flush=True)
    save(Path(sys.argv[1]), make_features(400, 512, seed=i % 2), shards=3 + i % 2)
"""


def test_a_kill_leaves_the_old_store_or_the_new_one(tmp_path):
    path = tmp_path / "a.h5"
    expected = [make_features(400, 512, seed=seed).tobytes() for seed in (0, 1)]
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r})\n{KILLED}"
    for delay in np.random.default_rng(0).uniform(0, 0.12, size=8):
        with subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            end = delay + time.monotonic()
            while time.monotonic() < end:  # meanwhile it is always a whole store
                assert np.asarray(open_store(path).features).tobytes() in expected
            process.kill()
        store = open_store(path)
        assert np.asarray(store.features).tobytes() in expected
        assert verify_store(path).ok
    store = save(path, shards=2)  # clears up after the last one killed
    assert {file for file in tmp_path.rglob("*") if file.is_file()} == {path, *store.shards}


def test_the_dataset_for_torch_reads_it(tmp_path):
    array = make_features(7)
    dataset = save(tmp_path / "a.h5", array, shards=3).dataset()
    items = dataset.__getitems__([6, 0, 3, 0])
    assert np.array_equal(np.stack([features for features, _ in items]), array[[6, 0, 3, 0]])
    assert [label for _, label in items] == make_table(7).labels[[6, 0, 3, 0]].tolist()


def test_the_version_asks_older_readers_for_an_upgrade(tmp_path, monkeypatch):
    store = save(tmp_path / "a.h5", shards=3)
    monkeypatch.setattr(names, "FORMAT_VERSION", 2)
    with pytest.raises(StoreError, match="has format version 3, and this featx reads up to 2: upgrade featx"):
        open_store(store.path)
    assert len(open_store(store.shards[0])) == 3
