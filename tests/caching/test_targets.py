from dataclasses import replace

import numpy as np
import pytest

from featx.caching._targets import listing_digest, reusable_rows, sample_table
from featx.sources import Sample, Source
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
    "change", [{"key": "z.jpg"}, {"label": "dog"}, {"label": None}, {"split": "val"}, {"size": 11}, {"mtime_ns": 101}]
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


def test_rows_are_reused_where_key_size_and_time_are_the_same(tmp_path):
    table = make_table(7)
    store = save(tmp_path / "a.h5", make_features(7), samples=table)
    samples = [
        Sample(key, size=size, mtime_ns=time)
        for key, size, time in zip(table.keys, table.sizes.tolist(), table.mtimes_ns.tolist(), strict=True)
    ]
    samples[1] = replace(samples[1], size=1)
    samples[2] = replace(samples[2], mtime_ns=1)
    samples[3] = replace(samples[3], key="other")
    samples[4] = replace(samples[4], label="cat", split="train")
    samples[5] = replace(samples[5], size=-1)
    source = Listed(*samples)
    expected = {table.keys[row]: row for row in (0, 4, 6)}
    assert reusable_rows(source, store).tolist() == [expected.get(sample.key, -1) for sample in source.samples]
    assert reusable_rows(source, None).tolist() == [-1] * 7
    assert reusable_rows(source, store).dtype == np.int64


def test_what_the_listing_does_not_know_is_never_reused(tmp_path):
    table = replace(make_table(3), sizes=np.full(3, -1), mtimes_ns=np.zeros(3, dtype=np.int64))
    store = save(tmp_path / "a.h5", make_features(3), samples=table)
    assert reusable_rows(Listed(*(Sample(key) for key in table.keys)), store).tolist() == [-1] * 3
