from types import SimpleNamespace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from featx.caching import _known
from featx.caching._known import Known, gather, stores_of
from tests.store.helpers import make_features, make_spec, make_table, save


@settings(max_examples=100, deadline=None)
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


def test_the_first_store_that_has_a_content_counts():
    stores = [SimpleNamespace(digests=("a", "b", "a")), SimpleNamespace(digests=("c", "b"))]
    known = Known(stores)
    assert [known.place(digest) for digest in "abc"] == [(0, 0), (0, 1), (1, 0)]
    assert "c" in known
    assert "d" not in known


def test_only_whole_stores_of_the_spec_serve(tmp_path):
    good = save(tmp_path / "a.h5", make_features(3), samples=make_table(3))
    save(tmp_path / "b.h5", make_features(3), samples=make_table(3), spec=make_spec(layer="another"))
    (tmp_path / "c.h5").write_bytes(b"no store")
    paths = [tmp_path / name for name in ("c.h5", "b.h5", "a.h5", "gone.h5")]
    assert [store.path for store in stores_of(good.spec, paths)] == [good.path]
