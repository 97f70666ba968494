"""Whatever a store holds, a page has one vector of each sample, and no second copy where there is one already."""

import numpy as np
import pytest

from featx.reports._vectors import spread, vectors_of
from tests.reports.test_sketch import features
from tests.store.helpers import make_features, save


def test_vectors_are_the_memory_map_itself(tmp_path):
    store = save(tmp_path / "a.h5")
    found = vectors_of(store, 100)
    assert np.shares_memory(found.values, store.features)
    np.testing.assert_array_equal(found.rows, np.arange(7))


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize(
    ("shape", "axes"), [((5,), "NC"), ((3, 3, 5), "NHWC"), ((4, 5), "NLC"), ((2, 5), "NVC"), ((2, 3, 3, 5), "NVHWC")]
)
@pytest.mark.parametrize("most", [4, 100])
def test_maps_are_averaged_and_of_views_the_plain_image_is_taken(shape, axes, most, compress, tmp_path, monkeypatch):
    monkeypatch.setattr("featx.reports._vectors._BLOCK_BYTES", 200)
    views = {"views": 2, "augment": "hflip"} if "V" in axes else {}
    from tests.store.helpers import make_spec

    array = make_features(9, *shape)
    store = save(tmp_path / "a.h5", array, axes=axes, spec=make_spec(**views), compress=compress)
    plain = array[:, 0] if "V" in axes else array
    wanted = plain.reshape(9, -1, 5).mean(axis=1, dtype=np.float64)
    found = vectors_of(store, most)
    rows = np.arange(9) if most > 9 else [0, 2, 4, 6]
    np.testing.assert_array_equal(found.rows, rows)
    np.testing.assert_allclose(found.values, wanted[rows], rtol=1e-6, atol=1e-6)


def test_features_that_are_no_numbers_are_left_out_and_named(tmp_path):
    X = features(9, 5)
    X[2, 1], X[4, 0], X[6, 3] = np.nan, np.inf, 1e13
    found = vectors_of(save(tmp_path / "a.h5", X), 100)
    np.testing.assert_array_equal(found.odd, [2, 4, 6])
    np.testing.assert_array_equal(found.rows, [0, 1, 3, 5, 7, 8])
    np.testing.assert_array_equal(found.values, X[found.rows])


def test_what_is_spread_is_spread_evenly():
    assert spread(5, 9).tolist() == [0, 1, 2, 3, 4]
    assert spread(10, 3).tolist() == [0, 3, 6]
    assert spread(0, 3).tolist() == []
    assert set(np.diff(spread(1000, 300)).tolist()) == {3, 4}
