import numpy as np
import pytest

from featx.errors import ParameterError
from featx.fitting._table import join_stores, take
from tests.fitting.helpers import clouds, write
from tests.store.helpers import make_digests

OTHER = {"backbone": "test:other"}


@pytest.fixture
def features():
    return clouds(12)


def test_one_store_is_taken_as_it_is(tmp_path, features):
    X, y = features
    store = write(tmp_path / "a.h5", X, y, splits=["train", "test", ""] * 4)
    table = join_stores([store])
    assert table.features is store.features
    assert table.targets.tolist() == y.tolist()
    assert table.splits.tolist() == ["train", "test", ""] * 4
    assert table.groups.tolist() == make_digests(12)
    assert table.specs == (store.spec,)
    assert table.left_out == 0
    assert (table.task, table.axes, table.views) == ("classification", "NC", False)
    assert table.known.all()


def test_several_are_joined_by_key_whatever_their_order(tmp_path, features):
    X, y = features
    other = np.random.default_rng(5).standard_normal((12, 3)).astype(np.float32)
    shuffled = np.random.default_rng(6).permutation(12)
    keys, digests, splits = [f"k{i}" for i in range(12)], make_digests(12), ["train", "val"] * 6
    a = write(tmp_path / "a.h5", X, y, keys=keys, splits=splits)
    b = write(
        tmp_path / "b.h5",
        other[shuffled],
        y[shuffled],
        keys=[keys[i] for i in shuffled],
        digests=[digests[i] for i in shuffled],
        splits=[splits[i] for i in shuffled],
        spec=OTHER,
    )
    table = join_stores([a, b])
    assert table.keys == tuple(keys)
    assert np.array_equal(table.features, np.hstack([X, other]))
    assert table.targets.tolist() == y.tolist()
    assert table.splits.tolist() == splits
    assert table.groups.tolist() == digests
    assert table.specs == (a.spec, b.spec)


def test_what_only_one_has_is_left_out_and_counted(tmp_path, features):
    X, y = features
    keys, digests = [f"k{i}" for i in range(12)], make_digests(12)
    a = write(tmp_path / "a.h5", X[:9], y[:9], keys=keys[:9], digests=digests[:9])
    b = write(tmp_path / "b.h5", X[2:], y[2:], keys=keys[2:], digests=digests[2:], spec=OTHER)
    table = join_stores([a, b])
    assert table.keys == tuple(keys[2:9])
    assert np.array_equal(table.features, np.hstack([X[2:9], X[2:9]]))
    assert table.left_out == 5


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("classes", {"classes": ("cat", "dog", "fox")}),
        ("the samples' labels", {"labels": [1, 0, 2] * 4}),
        ("the samples' splits", {"splits": ["train"] * 12}),
        ("the samples' content", {"digests": make_digests(13)[1:]}),
    ],
)
def test_stores_that_disagree_are_refused(tmp_path, features, what, change):
    X, y = features
    a = write(tmp_path / "a.h5", X, y)
    b = write(tmp_path / "b.h5", X, **{"labels": y, **change}, spec=OTHER)
    with pytest.raises(ParameterError, match=rf"must agree about {what}; b\.h5 and a\.h5 do not"):
        join_stores([a, b])


def test_stores_that_cannot_be_joined_are_refused(tmp_path, features):
    X, y = features
    a = write(tmp_path / "a.h5", X, y)
    with pytest.raises(ParameterError, match="got none"):
        join_stores([])
    with pytest.raises(ParameterError, match="two of these have the same"):
        join_stores([a, write(tmp_path / "b.h5", X, y)])
    c = write(tmp_path / "c.h5", X, y, keys=[f"x{i}" for i in range(12)], spec=OTHER)
    with pytest.raises(ParameterError, match="no key in common"):
        join_stores([a, c])
    maps = np.zeros((12, 2, 2, 3), np.float32)
    d = write(tmp_path / "d.h5", maps, y, spec={**OTHER, "pool": "none"})
    with pytest.raises(ParameterError, match=r"must hold vectors; d\.h5 holds NHWC maps of shape \(2, 2, 3\)"):
        join_stores([a, d])


def test_rows_that_follow_one_another_are_not_copied(tmp_path, features):
    features = write(tmp_path / "a.h5", *features).features
    assert np.shares_memory(take(features, np.arange(3, 9)), features)
    for rows in ([3, 4, 6], [4, 3, 5], [5, 4, 3], [3, 3, 4, 6], [7], []):
        rows = np.array(rows, dtype=np.int64)
        assert np.array_equal(take(features, rows), features[rows])


def test_groups_hold_together_what_images_and_declared_groups_do(tmp_path, features):
    X, y = features
    digests = make_digests(12)
    digests[5] = digests[0]
    declared = ["p", "", "q", "", "", "q", "", "", "", "r", "r", ""]
    table = join_stores([write(tmp_path / "a.h5", X, y, digests=digests, table={"groups": declared})])
    together = [{0, 5, 2}, {9, 10}]
    for a in range(12):
        for b in range(12):
            same = a == b or any({a, b} <= rows for rows in together)
            assert (table.groups[a] == table.groups[b]) == same, (a, b)
    assert table.digests.tolist() == digests


def test_numbers_to_be_learned(tmp_path, features):
    X, _ = features
    values = np.random.default_rng(0).standard_normal((12, 2))
    values[3] = np.nan
    table = join_stores(
        [write(tmp_path / "a.h5", X, [-1] * 12, classes=(), table={"targets": values, "target_names": ("x", "y")})]
    )
    assert (table.task, table.classes) == ("regression", ("x", "y"))
    assert np.array_equal(table.targets, values, equal_nan=True)
    assert np.flatnonzero(~table.known).tolist() == [3]


def test_several_labels_a_sample(tmp_path, features):
    X, _ = features
    labels = np.random.default_rng(0).random((12, 3)) < 0.5
    known = np.arange(12) != 4
    indicator = np.where(known[:, None], labels, -1).astype(np.int8)
    table = join_stores([write(tmp_path / "a.h5", X, [-1] * 12, table={"indicator": indicator})])
    assert (table.task, table.classes) == ("multilabel", ("cat", "dog", "eel"))
    assert np.array_equal(table.targets, labels & known[:, None])
    assert np.array_equal(table.known, known)


def test_views_are_joined_side_by_side(tmp_path):
    X = np.random.default_rng(0).standard_normal((6, 4, 3)).astype(np.float32)
    views = {"views": 4, "augment": "hflip"}
    a = write(tmp_path / "a.h5", X, [0, 1] * 3, axes="NVC", spec=views)
    b = write(tmp_path / "b.h5", X[..., :2], [0, 1] * 3, axes="NVC", spec=OTHER | views)
    table = join_stores([a, b])
    assert (table.views, table.features.shape) == (True, (6, 4, 5))
    with pytest.raises(ParameterError, match="must have the same views"):
        join_stores([a, write(tmp_path / "c.h5", X[:, :3], [0, 1] * 3, axes="NVC", spec=OTHER | views | {"views": 3})])
    for number, other in enumerate(({"augment": "vflip"}, {"augment_seed": 1})):
        store = write(tmp_path / f"{number}.h5", X, [0, 1] * 3, axes="NVC", spec=OTHER | views | other)
        with pytest.raises(ParameterError, match="must have the same views"):
            join_stores([a, store])
