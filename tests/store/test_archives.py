"""Stores that earlier versions of featx wrote, and what was in them."""

import json
from pathlib import Path

import numpy as np
import pytest

from featx.store import FORMAT_VERSION, open_store, verify_store, write_store

ARCHIVES = Path(__file__).parents[1] / "data" / "archives"
STORES = sorted(ARCHIVES.glob("v*/*.h5"))


def test_every_version_has_its_archives():
    assert {path.parent.name for path in STORES} == {f"v{version}" for version in range(1, FORMAT_VERSION + 1)}


@pytest.mark.parametrize("path", STORES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_frozen_store_opens_and_holds_what_was_written(path):
    expected = json.loads(path.with_suffix(".json").read_text(encoding="ascii"))
    assert verify_store(path).problems == ()
    store = open_store(path)
    features = np.asarray(store.features)
    assert features.dtype.name == expected.pop("dtype")
    assert list(features.shape) == expected.pop("shape")
    assert features.tobytes().hex() == expected.pop("features")
    assert json.loads(store.spec.to_json()) == expected.pop("spec")
    assert [list(failure) for failure in store.failures] == expected.pop("failures")
    targets = expected.pop("targets", None)
    assert (store.targets is None) == (targets is None)
    assert targets is None or np.array_equal(store.targets, np.array(targets, dtype=np.float64), equal_nan=True)
    for name, values in expected.items():
        found = getattr(store, name)
        assert (found.tolist() if isinstance(found, np.ndarray) else found) == (
            tuple(values) if isinstance(values, list) and isinstance(found, tuple) else values
        )
    assert store.samples.keys == store.keys


@pytest.mark.parametrize("path", STORES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_the_same_contents_still_give_the_same_bytes(tmp_path, path):
    store = open_store(path)
    compressed, count = store.summary()["compressed"], len(store.shards)
    write_store(
        tmp_path / path.name,
        spec=store.spec,
        samples=store.samples,
        digests=store.digests,
        features=[np.asarray(store.features)],
        feature_shape=store.features.shape[1:],
        axes=store.axes,
        failures=store.failures,
        source=store.source,
        backbone=store.backbone,
        creation=store.creation,
        compress=compressed,
        shards=count or None,
    )
    again = open_store(tmp_path / path.name)
    assert again.checksum == store.checksum
    if not compressed:  # whose bytes are those of a version of hdf5plugin
        files = zip((again.path, *again.shards), (path, *store.shards), strict=True)
        assert all(mine.read_bytes() == frozen.read_bytes() for mine, frozen in files)
