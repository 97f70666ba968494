import pickle
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featx.caching import _known
from featx.caching._index import as_digests
from featx.caching._known import Known, KnownViews, gather, image_rows, stores_of
from tests.store.helpers import make_features, make_spec, make_table, save


@settings(max_examples=100)
@given(st.data())
def test_rows_come_from_where_they_are(data):
    shape = data.draw(st.sampled_from([(3,), (2, 2, 3)]))
    sizes = data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=4))
    arrays = [np.random.default_rng(i).standard_normal((n, *shape)).astype(np.float32) for i, n in enumerate(sizes)]
    places = data.draw(
        st.lists(st.integers(0, len(sizes) - 1).flatmap(lambda a: st.tuples(st.just(a), st.integers(0, sizes[a] - 1))))
    )
    block = data.draw(st.integers(1, 400))
    before = _known._BLOCK_BYTES
    _known._BLOCK_BYTES = block
    try:
        blocks = list(gather(arrays, np.array(places, dtype=np.int64).reshape(-1, 2), shape, "float32"))
    finally:
        _known._BLOCK_BYTES = before
    expected = [arrays[a][row] for a, row in places]
    np.testing.assert_array_equal(
        np.concatenate([np.empty((0, *shape)), *blocks]), np.array(expected).reshape(-1, *shape)
    )
    assert all(len(one) <= max(1, block // arrays[0][0].nbytes) for one in blocks)


def named(digests):
    """Return a column of digests that are told apart by a letter, or a number."""
    return as_digests([f"{digest:0>64}" for digest in digests])


def stand_in(path, spec, digests):
    return SimpleNamespace(path=path, spec=spec, digest_column=named(digests))


def places_of(known, digests):
    return list(zip(*(column.tolist() for column in known.places(named(digests))), strict=True))


def test_the_first_store_that_has_a_content_counts():
    spec = make_spec()
    stores = [stand_in(number, spec, digests) for number, digests in enumerate(["aba", "cb"])]
    known = Known(spec, stores)
    assert places_of(known, "abcd") == [(0, 0), (0, 1), (1, 0), (-1, -1)]
    assert known.views(named("abcd")).tolist() == [1, 1, 1, 0]


def test_the_store_with_the_most_views_counts():
    def spec(**values):
        return make_spec(augment="hflip", **values)

    specs = [make_spec(), spec(views=3), spec(views=9), spec(views=3, augment_seed=1), make_spec(layer="other")]
    rows = ["abc", "ba", "cx", "d", ""]
    stores = [stand_in(number, *one) for number, one in enumerate(zip(specs, rows, strict=True))]
    known = Known(spec(views=4), stores)
    assert [store.path for store in known.stores] == [2, 1, 0, 3, 4]
    assert known.views(named("abcdxy")).tolist() == [3, 3, 4, 1, 4, 0]
    assert places_of(known, "abcdx") == [(1, 3), (1, 0), (0, 0), (3, 0), (0, 9)]
    plain = Known(make_spec(), stores)
    assert plain.stores[0].path == 0  # the very spec
    assert plain.views(named("abcdx")).tolist() == [1] * 5


@pytest.mark.parametrize("compress", [False, True])
def test_rows_of_views(tmp_path, compress):
    features = make_features(5, 3, 4)
    spec = make_spec(views=3, augment="hflip")
    store = save(tmp_path / "a.h5", features, spec=spec, axes="NVC", compress=compress)
    places = np.array([[0, 14], [1, 0], [0, 3], [0, 3]])
    plain = make_features(2, 4, seed=1)
    expected = np.stack([features[4, 2], plain[0], features[1, 0], features[1, 0]])
    (block,) = gather([image_rows(store), plain], places, (4,), "float32")
    np.testing.assert_array_equal(block, expected)
    (block,) = gather([image_rows(store), plain], places.reshape(2, 2, 2), (4,), "float32")
    np.testing.assert_array_equal(block, expected.reshape(2, 2, 4))


def test_only_whole_stores_of_the_spec_serve(tmp_path):
    good = save(tmp_path / "a.h5", make_features(3), samples=make_table(3))
    save(tmp_path / "b.h5", make_features(3), samples=make_table(3), spec=make_spec(layer="another"))
    (tmp_path / "c.h5").write_bytes(b"no store")
    paths = [tmp_path / name for name in ("c.h5", "b.h5", "a.h5", "gone.h5")]
    assert [store.path for store in stores_of(good.spec, paths)] == [good.path]


def test_views_that_all_know_are_the_same_to_another_process():
    def known(*contents):
        return Known(make_spec(), [stand_in(0, make_spec(), [f"{content:x}" for content in contents])])

    views = KnownViews([known(16, 1, 256, 5), known(256, 1, 7)])
    for one in (
        views,
        pickle.loads(pickle.dumps(views)),
        pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(views)))),
    ):
        assert [one(f"{content:064x}") for content in (0, 1, 5, 7, 16, 256, 257)] == [0, 1, 0, 0, 0, 1, 0]
    assert pickle.loads(pickle.dumps(KnownViews([known(), known(1)])))(f"{1:064x}") == 0
