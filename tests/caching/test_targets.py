from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from featx.caching._known import Known
from featx.caching._targets import Target, known_digests, listing_digest, rows_of, sample_table
from featx.sources import Sample, Source
from featx.store import SampleTable
from tests.store.helpers import make_features, make_table, save


class Listed(Source):
    """A source of nothing but samples."""

    def __init__(self, *samples):
        super().__init__("listed", "test:listed")
        self._given = samples

    def _list(self):
        return self._given

    def _read(self, index):
        raise NotImplementedError


SAMPLES = (
    Sample("a.jpg", "cat", "train", 10, 100),
    Sample("b.jpg", "dog", None, 20, 200),
    Sample("c\udcff.jpg", None, "test", 30, 300),
)


@pytest.mark.parametrize(
    "change",
    [
        {"key": "z.jpg"},
        {"label": "dog"},
        {"label": None},
        {"split": "val"},
        {"size": 11},
        {"mtime_ns": 101},
        {"inode": 5},
    ],
)
def test_every_fact_of_the_listing_counts(change):
    changed = Listed(replace(SAMPLES[0], **change), *SAMPLES[1:])
    assert listing_digest(changed) != listing_digest(Listed(*SAMPLES))
    assert listing_digest(Listed(*reversed(SAMPLES))) == listing_digest(Listed(*SAMPLES))


def test_the_table_has_what_the_samples_have():
    table = sample_table(Listed(*SAMPLES))
    assert table.keys == ("a.jpg", "b.jpg", "c\udcff.jpg")
    assert table.classes == ("cat", "dog")
    assert table.labels.tolist() == [0, 1, -1]
    assert table.splits == ("train", "", "test")
    assert table.sizes.tolist() == [10, 20, 30]
    assert table.mtimes_ns.tolist() == [100, 200, 300]


LISTED = {"name": "listed", "identity": "test:listed"}


def targets_of(*stores):
    return [Target(None, store.path, store, Known(store.spec, [store])) for store in stores]


def digests_of(source, targets):
    return known_digests(source, targets).astype(str).tolist()


def test_contents_are_known_where_key_size_time_and_inode_are_the_same(tmp_path):
    table = replace(make_table(8), inodes=np.arange(100, 108))
    store = save(tmp_path / "a.h5", make_features(8), samples=table, source=LISTED)
    columns = (table.keys, table.sizes.tolist(), table.mtimes_ns.tolist(), table.inodes.tolist())
    samples = [
        Sample(key, size=size, mtime_ns=time, inode=inode) for key, size, time, inode in zip(*columns, strict=True)
    ]
    samples[1] = replace(samples[1], size=1)
    samples[2] = replace(samples[2], mtime_ns=1)
    samples[3] = replace(samples[3], key="other")
    samples[4] = replace(samples[4], label="cat", split="train")
    samples[5] = replace(samples[5], size=-1)
    samples[7] = replace(samples[7], inode=1)
    source = Listed(*samples)
    expected = {table.keys[row]: store.digests[row] for row in (0, 4, 6)}
    assert digests_of(source, targets_of(store)) == [expected.get(sample.key, "") for sample in source.samples]
    assert digests_of(source, [Target(None, tmp_path / "new.h5", None, Known(store.spec, []))]) == [""] * 8
    other = save(tmp_path / "b.h5", make_features(8), samples=table, source={"identity": "test:other"})
    assert digests_of(source, targets_of(other)) == [""] * 8


def test_one_of_several_older_stores_is_enough(tmp_path):
    table = make_table(4)
    first = save(tmp_path / "a.h5", make_features(2), samples=table.take([0, 1]), source=LISTED)
    second = save(tmp_path / "b.h5", make_features(2), samples=table.take([2, 3]), source=LISTED)
    columns = (table.keys, table.sizes.tolist(), table.mtimes_ns.tolist(), table.inodes.tolist())
    source = Listed(
        *(Sample(key, size=size, mtime_ns=time, inode=node) for key, size, time, node in zip(*columns, strict=True))
    )
    digests = digests_of(source, targets_of(first, second))
    expected = dict(zip(first.keys + second.keys, first.digests + second.digests, strict=True))
    assert dict(zip((sample.key for sample in source.samples), digests, strict=True)) == expected


def test_what_the_listing_does_not_know_is_read(tmp_path):
    table = replace(make_table(3), sizes=np.full(3, -1), mtimes_ns=np.zeros(3, dtype=np.int64))
    store = save(tmp_path / "a.h5", make_features(3), samples=table, source=LISTED)
    assert digests_of(Listed(*(Sample(key) for key in table.keys)), targets_of(store)) == [""] * 3


@pytest.mark.parametrize("label", [("cat",), ("cat", "dog"), (), (1.0,), (1.5, 2.0)])
def test_the_listing_tells_labels_of_other_kinds_apart(label):
    given = replace(SAMPLES[0], label=label)
    digests = {listing_digest(Listed(sample)) for sample in (SAMPLES[0], given, replace(given, label=None))}
    assert len(digests) == 3


def test_groups_count_and_listings_without_them_are_what_they_were():
    assert listing_digest(Listed(*SAMPLES)) != listing_digest(Listed(replace(SAMPLES[0], group="p"), *SAMPLES[1:]))
    known = "0e29d750103ebc0efcc0665a445cc6f04cf6c039d788a6aeaa49f8ece84d2b19"
    assert listing_digest(Listed(*SAMPLES)) == known


def test_the_table_has_groups_and_labels_of_other_kinds():
    table = sample_table(Listed(Sample("a", ("x", "y"), group="p"), Sample("b", ()), Sample("c")))
    assert table.classes == ("x", "y")
    assert table.indicator.tolist() == [[1, 1], [0, 0], [-1, -1]]
    assert table.groups == ("p", "", "")
    table = sample_table(Listed(Sample("a", (1.0, 2.0)), Sample("b")))
    assert np.array_equal(table.targets, [[1, 2], [np.nan, np.nan]], equal_nan=True)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_rows_are_found_by_key_in_any_order(tmp_path, data):
    names = st.text("ab\u00e9\udcff\U0001f600", min_size=1, max_size=3)
    stored, keys = data.draw(st.lists(names, unique=True, min_size=1)), data.draw(st.lists(names))
    if data.draw(st.booleans()):
        stored, keys = sorted(stored), sorted(set(keys))
    n = len(stored)
    table = SampleTable(stored, np.full(n, -1), (), [""] * n, np.zeros(n, int), np.zeros(n, int))
    store = save(tmp_path / "a.h5", make_features(n), samples=table)
    assert rows_of(keys, store).tolist() == [stored.index(key) if key in stored else -1 for key in keys]
