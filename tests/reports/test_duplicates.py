"""Equal images are found by their bytes, similar ones by their features; leaks and conflicts come first."""

import numpy as np
from sklearn.metrics.pairwise import cosine_distances

from featx.reports._duplicates import exact_groups, near_groups
from featx.reports._survey import survey_of
from tests.fitting.helpers import write
from tests.reports.test_closeness import with_copies
from tests.store.helpers import make_digests


def labels_of(store):
    return list(store.samples.named_labels())


def test_equal_bytes_are_groups_with_leaks_and_conflicts_first(tmp_path):
    digests = make_digests(12)
    digests[3] = digests[9] = digests[0]  # of one split, one label
    digests[5] = digests[2]  # of one split, two labels
    digests[8] = digests[7]  # of two splits
    digests[11] = digests[10]  # of a split and of none
    splits = ["train"] * 7 + ["test", "train", "train", "val", ""]
    store = write(tmp_path / "a.h5", np.ones((12, 3), "f4"), [0, 0, 1, 0, 0, 2, 0, 0, 0, 0, 0, -1], splits=splits,
                  digests=digests)  # fmt: skip
    found = exact_groups(store, labels_of(store))
    assert [group.rows for group in found] == [(7, 8), (2, 5), (0, 3, 9), (10, 11)]
    assert [group.leaks for group in found] == [(("train", "test"),), (), (), ()]
    assert [group.conflict for group in found] == [False, True, False, False]


def test_near_duplicates_are_groups_that_hang_together_by_pairs(tmp_path):
    digests = make_digests(9)
    digests[1] = digests[0]
    splits = ["train", "train", "train", "val", "val", "test", "", "train", "val"]
    store = write(tmp_path / "a.h5", np.ones((9, 3), "f4"), [0] * 9, splits=splits, digests=digests)
    pairs = np.array([[0, 1], [2, 4], [4, 5], [6, 7]])
    found = near_groups(store, labels_of(store), pairs, np.array([0.0, 0.1, 0.2, 0.05]))
    assert [group.rows for group in found] == [(2, 4, 5), (6, 7)]  # 0 and 1 are the same bytes
    assert found[0].leaks == (("train", "val"), ("val", "test"))
    assert found[1].leaks == ()
    assert [group.distance for group in found] == [0.2, 0.05]


def test_no_pairs_are_no_groups(tmp_path):
    store = write(tmp_path / "a.h5", np.ones((2, 3), "f4"), [0, 1])
    assert near_groups(store, labels_of(store), np.empty((0, 2), dtype=np.int64), np.empty(0)) == []


def test_the_groups_of_a_store_are_the_components_of_brute_force(tmp_path):
    X = with_copies()
    digests = make_digests(400)
    digests[101] = digests[100]
    X[101] = X[100]
    store = write(tmp_path / "a.h5", X, np.arange(400) % 3, splits=["train", "val"] * 200, digests=digests)
    survey = survey_of(store, labels_of(store))
    close = cosine_distances(X.astype(np.float64)) < survey.threshold
    reached = np.linalg.matrix_power(close.astype(float), 40) > 0
    wanted = {tuple(np.flatnonzero(row).tolist()) for row in reached if row.sum() > 1}
    assert {group.rows for group in survey.near} == wanted
    assert all(group.leaks == (("train", "val"),) for group in survey.near)
