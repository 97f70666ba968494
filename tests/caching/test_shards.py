"""Extraction into shards: the same store in several files, added to, taken up and read from like any other."""

import os

import numpy as np
import pytest

from featx.caching import _compute
from featx.errors import ParameterError
from featx.store import ShardedFeatures, open_store, verify_store
from tests.caching.helpers import extracted
from tests.tiny import TinyNet, picture, write_folder


@pytest.fixture
def photos(tmp_path):
    return write_folder(tmp_path / "photos", per_class=4)  # 12 images


def columns(store):
    return (
        store.samples,
        store.digests,
        store.failures,
        np.asarray(store.features).tobytes(),
        store.features.shape,
        store.spec,
    )


@pytest.mark.parametrize("options", [{}, {"compress": True}, {"views": 2, "augment": "hflip"}, {"layers": ["conv2"]}])
def test_it_is_the_store_of_one_file(photos, tmp_path, options):
    (photos / "red" / "bad.png").write_bytes(b"")
    ((plain,), *_) = extracted(photos, tmp_path / "plain", **options)
    ((extraction,), _, images) = extracted(photos, tmp_path / "cache", shards=5, **options)
    store = extraction.store
    assert len(store.shards) == 4  # of three rows each
    assert store.shards[0].parent == store.path.with_suffix(".shards")
    assert columns(store) == columns(plain.store)
    assert verify_store(store.path).ok
    assert [key for shard in store.shards for key in open_store(shard).keys] == list(store.keys)
    ((again,), _, images) = extracted(photos, tmp_path / "cache", **options)  # with shards or without, it is there
    assert (again.hit, images) == (True, 0)


def test_rows_are_taken_from_shards(photos, tmp_path):
    """By an extraction of the source as it is now, and by one of another source with the same images."""
    ((first,), *_) = extracted(photos, tmp_path / "cache", shards=3)
    assert isinstance(first.store.features, ShardedFeatures)
    picture(99).save(photos / "red" / "new.png")
    (photos / "blue" / "000.png").unlink()
    ((second,), _, images) = extracted(photos, tmp_path / "cache", shards=4)
    assert (images, second.changes.kept, second.changes.new, second.changes.removed) == (1, 11, 1, 1)
    ((fresh,), *_) = extracted(photos, tmp_path / "fresh")
    assert columns(second.store)[:3] == columns(fresh.store)[:3]
    np.testing.assert_allclose(np.asarray(second.store.features), fresh.store.features, rtol=1e-4, atol=1e-5)
    assert len(list((tmp_path / "cache").rglob("*-*.h5"))) == 4  # those of the first are gone
    photos.rename(tmp_path / "others")
    ((third,), _, images) = extracted(tmp_path / "others", tmp_path / "cache")
    assert (images, third.changes.copied) == (0, 12)
    assert np.array_equal(np.asarray(second.store.features), np.asarray(third.store.features))


def test_more_views_are_added_to_shards(photos, tmp_path):
    options = {"augment": "hflip", "shards": 3}
    extracted(photos, tmp_path / "cache", views=2, **options)
    ((more,), _, images) = extracted(photos, tmp_path / "cache", views=3, **options)
    assert images == 12
    assert more.store.features.shape[:2] == (12, 3)
    ((fresh,), *_) = extracted(photos, tmp_path / "fresh", views=3, augment="hflip")
    np.testing.assert_allclose(np.asarray(more.store.features), fresh.store.features, rtol=1e-4, atol=1e-5)


def test_unfinished_work_ends_in_shards(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(_compute, "_PART_SECONDS", 0)

    def stop(done, total):
        if done >= 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extracted(photos, tmp_path / "cache", batch_size=4, progress=stop)
    ((extraction,), _, images) = extracted(photos, tmp_path / "cache", batch_size=4, shards=2)
    assert (images, extraction.changes.resumed) == (4, 8)
    assert len(extraction.store.shards) == 2


def test_a_file_that_is_named(photos, tmp_path):
    ((extraction,), *_) = extracted(photos, tmp_path / "cache", out=tmp_path / "out" / "a.h5", shards="100 B")
    assert extraction.store.path == tmp_path / "out" / "a.h5"
    assert sorted(os.listdir(tmp_path / "out")) == ["a.h5", "a.shards"]
    assert all(open_store(shard).features.nbytes <= 100 for shard in extraction.store.shards)


@pytest.mark.parametrize(("shards", "words"), [("many", "got 'many'"), (0, "got 0"), ("1 B", None)])
def test_what_cannot_be_is_said_before_a_network_runs(photos, tmp_path, shards, words):
    for number in range(300 if words is None else 0):
        (photos / "red" / f"copy{number}.png").write_bytes((photos / "red" / "000.png").read_bytes())
    images = TinyNet.images
    with pytest.raises(ParameterError, match=words or r"makes 312 of 312 rows: make them larger"):
        extracted(photos, tmp_path / "cache", shards=shards)
    assert TinyNet.images == images
