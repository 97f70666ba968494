"""Heads on stores whose features lie in several files, side by side in memory or fetched."""

import numpy as np
import pytest

import featx
from featx.store import CompressedFeatures, LazyArray
from tests.fitting.helpers import clouds, write


def stores(folder, rows, width):
    features, labels = clouds(rows, width)
    splits = [("train", "val", "test")[i % 7 % 3] for i in range(rows)]
    return [
        write(folder / f"{name}.h5", features, labels, splits=splits, **options)
        for name, options in {"plain": {}, "shards": {"shards": 4}, "both": {"shards": 4, "compress": True}}.items()
    ]


@pytest.fixture
def small(tmp_path):
    plain, shards, both = stores(tmp_path, 90, 6)
    assert isinstance(shards.features, LazyArray)
    return plain, shards, both


@pytest.mark.parametrize("head", ["logistic", "ridge", "knn", "sklearn.tree.DecisionTreeClassifier", "mlp"])
def test_a_head_is_fitted_as_on_one_file(small, head):
    runs = [featx.fit_head(store, head) for store in small]
    for run in runs[1:]:
        assert run.metrics["val"].to_dict() == runs[0].metrics["val"].to_dict()
        assert np.array_equal(run.answers["val"].scores, runs[0].answers["val"].scores)


def test_shards_of_pages_are_read_where_they_lie(tmp_path):
    plain, shards, both = stores(tmp_path, 60, 1024)
    assert isinstance(shards.features, np.ndarray)
    assert not isinstance(shards.features, LazyArray)
    assert isinstance(featx.open_store(both.shards[0]).features, CompressedFeatures)
    runs = [featx.fit_head(store, "logistic", cv=3) for store in (plain, shards, both)]
    for run in runs[1:]:
        assert np.array_equal(run.head.coef_, runs[0].head.coef_)
        assert np.array_equal(run.answers["cv"].scores, runs[0].answers["cv"].scores)


def test_a_sweep_and_what_follows(small, tmp_path, monkeypatch):
    monkeypatch.setenv("FEATX_RUNS", str(tmp_path / "runs"))
    found = [featx.sweep(store, ["logistic", "lda"], {"C": [0.1, 1.0]}, cv=3) for store in small]
    values = [[result.values for result in each.results] for each in found]
    assert values[0] == values[1] == values[2]
    run = found[1].run
    evaluations = [featx.evaluate(run, store) for store in small]
    assert evaluations[0].to_dict() == evaluations[1].to_dict() == evaluations[2].to_dict()
    suspects = [featx.label_errors(store) for store in small]
    assert suspects[0].to_dict() == suspects[1].to_dict()


def test_stores_in_shards_are_joined(small, tmp_path):
    plain, shards, _ = small
    second = write(
        tmp_path / "second.h5", *clouds(90, 4, seed=1), splits=plain.splits, spec={"layer": "other"}, shards=3
    )
    one, other = featx.fit_head([plain, second]), featx.fit_head([shards, second])
    assert np.array_equal(one.head.coef_, other.head.coef_)
