"""The parts of many pretended workers, joined: in small what `scripts/bench/joining` measures."""

import importlib

import numpy as np
import pytest

from featx.caching import Changes
from featx.caching._targets import listing_digest
from featx.store import open_store, verify_store


@pytest.fixture
def joining(bench):
    return importlib.import_module("bench.joining")


@pytest.mark.parametrize("shards", [pytest.param(None, marks=pytest.mark.slow), 7])
def test_a_thousand_workers_parts_become_one_store(joining, tmp_path, shards):
    source = joining.Numbered(3000)
    told = []
    path = tmp_path / "numbered.h5"
    options = {"shards": shards, "progress": lambda *counts: told.append(counts)}
    changes, seconds = joining.extract(path, source, listing_digest(source), 4, 1000, **options)
    bad = sum(map(joining.is_bad, range(3000)))
    copies = sum(joining.is_copy(row) and not joining.is_bad(row) for row in range(3000))
    assert (bad, copies) == (1, 4)
    assert changes == Changes(new=3000, copied=copies, computed=3000, failed=bad)
    assert told[0] == (0, 3000)
    assert told[-1] == (3000, 3000)
    assert len(told) == 1001
    assert seconds > 0
    store = open_store(path)
    joining.check(store, 3000)
    assert len(store.shards) == (shards or 0)
    assert verify_store(path).ok
    assert store.keys == tuple(sample.key for sample in source.samples if not joining.is_bad(int(sample.key[:10])))
    again, _ = joining.extract(path, joining.Numbered(3030), "more", 4, 10, shards=shards)
    assert (again.kept, again.new, again.computed, again.failed) == (2999, 30, 31, 1)
    joining.check(open_store(path), 3030)


def test_a_store_of_other_numbers_is_noticed(joining, tmp_path):
    source = joining.Numbered(20)
    joining.extract(tmp_path / "a.h5", source, "listing", 2, 3)
    store = open_store(tmp_path / "a.h5")
    joining.check(store, 20)
    store.features = np.asarray(store.features)[::-1]
    with pytest.raises(AssertionError):
        joining.check(store, 20)


def test_the_report_has_a_line_for_each_number_of_rows_and_one_for_more(joining, tmp_path, capsys):
    joining.report(tmp_path, [50, 100], 3, 4)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("|")[1].strip() for line in lines[5:]] == ["50", "51, most known", "100", "101, most known"]
    assert list(tmp_path.iterdir()) == []
