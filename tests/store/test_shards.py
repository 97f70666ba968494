"""How many rows a shard gets, and which shards nobody needs any more."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featx.errors import ParameterError
from featx.store import open_store, plan_prune, prune
from featx.store._shards import check_shards, orphaned_shards, remove_orphans, rows_per_shard, shard_folder
from tests.store.helpers import make_features, save

NAME = "photos.toy.0123456789ab.h5"


@pytest.mark.parametrize(
    ("shards", "size"),
    [(1, None), ("8", None), ("10GB", 10**10), ("1.5 gb", 1_500_000_000), ("300B", 300), ("2TB", 2 * 10**12)],
)
def test_a_number_or_a_size(shards, size):
    assert check_shards(shards) == size


@pytest.mark.parametrize("shards", [0, -1, True, 1.5, "", "0", "0GB", "-1GB", "GB", "10XB", "1e3", "²", None])
def test_what_is_neither(shards):
    with pytest.raises(ParameterError, match="shards must be a number of files, at least 1, or the most bytes of each"):
        check_shards(shards)


@given(st.integers(1, 10**7), st.integers(1, 10**5), st.integers(1, 256))
def test_a_number_of_shards_is_the_most_there_are(rows, row_bytes, count):
    each = rows_per_shard(count, rows, row_bytes)
    assert 1 <= -(-rows // each) <= count
    assert each == -(-rows // count) or each * row_bytes % 4096 == 0


@given(st.integers(1, 10**5), st.integers(1, 10**5), st.integers(1, 10**9))
def test_no_shard_has_more_bytes_than_asked_for(rows, row_bytes, size):
    if -(-rows // max(1, size // row_bytes)) > 256:
        with pytest.raises(ParameterError, match="at most 256 files"):
            rows_per_shard(f"{size} B", rows, row_bytes)
        return
    try:
        each = rows_per_shard(f"{size} B", rows, row_bytes)
    except ParameterError:
        assert rows > 128 * (size // row_bytes)  # which ending at a page makes up to twice as many
        return
    assert each * row_bytes <= max(size, row_bytes)
    assert each == max(1, size // row_bytes) or each * row_bytes % 4096 == 0


def test_orphans_are_what_no_store_beside_names(tmp_path):
    store = save(tmp_path / NAME, shards=3)
    assert orphaned_shards(store.path) == []
    stray = shard_folder(store.path) / "0007-0123abcd.h5"
    note = shard_folder(store.path) / "notes.txt"
    for file in (stray, note):
        file.write_text("x")
    assert orphaned_shards(store.path) == [stray]
    renamed = store.path.rename(tmp_path / "renamed.h5")
    assert orphaned_shards(store.path) == [stray]  # the renamed store names the others
    assert len(open_store(renamed)) == 7
    save(store.path, make_features(7, seed=1))  # a store in one file takes the name
    assert not stray.exists()
    assert note.exists()
    assert len(open_store(renamed)) == 7
    renamed.unlink()
    remove_orphans(store.path)
    assert os.listdir(shard_folder(store.path)) == ["notes.txt"]
    note.unlink()
    remove_orphans(store.path)
    assert not shard_folder(store.path).exists()


def test_of_a_store_that_cannot_be_read_nothing_is_removed(tmp_path):
    store = save(tmp_path / NAME, shards=3)
    store.path.write_bytes(b"damaged")
    assert orphaned_shards(store.path) == []


def test_links_are_left_alone(tmp_path):
    store = save(tmp_path / "elsewhere" / NAME, shards=3)
    (tmp_path / NAME).with_suffix(".shards").symlink_to(shard_folder(store.path))
    assert orphaned_shards(tmp_path / NAME) == []


def test_a_store_is_pruned_with_its_shards(tmp_path):
    store = save(tmp_path / NAME, shards=3)
    other = save(tmp_path / "other.toy.0123456789ac.h5", shards=2)
    os.utime(store.path, (0, 0))
    (item,) = plan_prune(tmp_path, older_than=3600)
    assert item.path == store.path
    assert item.bytes == store.summary()["bytes"]
    assert prune([item]) == [item]
    assert set(tmp_path.rglob("*.h5")) == {other.path, *other.shards}
    assert not shard_folder(store.path).exists()


def test_a_store_without_one_of_its_shards_is_broken(tmp_path):
    store = save(tmp_path / NAME, shards=3)
    store.shards[1].unlink()
    (item,) = plan_prune(tmp_path, broken=True)
    assert item.path == store.path
    assert str(store.shards[1]) in item.reason
    assert prune([item]) == [item]
    assert os.listdir(tmp_path) == []


def test_shards_of_a_store_that_is_gone_are_leftovers(tmp_path):
    store = save(tmp_path / NAME, shards=3)
    assert plan_prune(tmp_path, broken=True, orphaned=True) == []
    store.path.unlink()
    assert plan_prune(tmp_path, orphaned=True) == []
    (item,) = plan_prune(tmp_path, broken=True)
    assert item.path == shard_folder(store.path)
    assert item.bytes == sum(shard.stat().st_size for shard in store.shards)
    assert item.reason == "shards of a store that is gone"
    assert prune([item]) == [item]
    assert os.listdir(tmp_path) == []


def test_the_size_of_a_cache_counts_shards(tmp_path):
    array = make_features(50, 1024)
    for number, shards in enumerate((2, None)):
        save(tmp_path / f"s{number}.toy.0123456789a{number}.h5", array, shards=shards)
        os.utime(tmp_path / f"s{number}.toy.0123456789a{number}.h5", (number, number))
    items = plan_prune(tmp_path, max_bytes=300_000)
    assert [item.path.name[:2] for item in items] == ["s0"]
