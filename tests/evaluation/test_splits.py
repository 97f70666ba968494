"""What a split or a set of folds must keep, for any labels and groups."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from featx.errors import ParameterError
from featx.evaluation import stratified_folds, stratified_split


@st.composite
def pure_groups(draw, smallest=1):
    """Labels and groups, where each group is of one class, as copies of an image are; rows in any order."""
    labels, groups = [], []
    for c in sorted(draw(st.sets(st.integers(0, 9), min_size=1, max_size=5))):
        for size in draw(st.lists(st.integers(1, 5), min_size=smallest, max_size=12)):
            labels += [c] * size
            groups += [f"g{len(groups)}"] * size
    order = draw(st.permutations(range(len(labels))))
    return np.array(labels)[order], np.array(groups)[order]


def groups_by_class(labels, groups):
    return {c: set(groups[labels == c]) for c in np.unique(labels)}


@given(cells=pure_groups(), fraction=st.floats(0.01, 0.99), seed=st.integers(0, 2**32))
def test_split_keeps_its_promises(cells, fraction, seed):
    labels, groups = cells
    by_class = groups_by_class(labels, groups)
    if all(len(own) < 2 for own in by_class.values()):
        with pytest.raises(ParameterError, match=r"no class of the .* has two groups or more"):
            stratified_split(labels, fraction, groups=groups, seed=seed)
        return
    train, held = stratified_split(labels, fraction, groups=groups, seed=seed)
    assert train.dtype == held.dtype == np.int64
    np.testing.assert_array_equal(np.sort(np.concatenate([train, held])), np.arange(len(labels)))
    assert (np.diff(train) > 0).all()
    assert (np.diff(held) > 0).all()
    assert not set(groups[train]) & set(groups[held])
    for c, own in by_class.items():
        assert (labels[train] == c).any()
        assert (labels[held] == c).any() == (len(own) >= 2)
        if len(own) >= 2:
            wanted, got = fraction * (labels == c).sum(), (labels[held] == c).sum()
            sizes = [int(np.sum(groups == group)) for group in own]
            assert abs(got - wanted) <= max(sizes)
    again = stratified_split(labels, fraction, groups=groups, seed=seed)
    np.testing.assert_array_equal(again[1], held)


@given(counts=st.lists(st.integers(2, 200), min_size=1, max_size=8), fraction=st.floats(0.01, 0.99))
def test_split_of_single_rows_is_as_near_as_can_be(counts, fraction):
    labels = np.repeat(np.arange(len(counts)), counts)
    _, held = stratified_split(labels, fraction, seed=0)
    for c, count in enumerate(counts):
        wanted = min(max(round(fraction * count), 1), count - 1)
        assert (labels[held] == c).sum() == wanted


def test_split_depends_on_the_seed_and_nothing_else():
    labels = np.arange(100) % 4
    draws = [tuple(stratified_split(labels, 0.2, seed=seed)[1]) for seed in range(5)]
    assert len(set(draws)) == 5
    named = stratified_split(labels, 0.2, groups=np.array([f"{i:03}" for i in range(100)]), seed=0)[1]
    assert tuple(named) == draws[0]
    # each row is held out about as often as another
    often = np.bincount(np.concatenate([stratified_split(labels, 0.2, seed=s)[1] for s in range(400)]), minlength=100)
    assert often.min() > 40
    assert often.max() < 130


def test_one_image_under_two_labels_is_on_one_side():
    labels = np.array([0, 1, 0, 0, 1, 1, 0, 1])
    groups = np.array(["x", "x", "a", "b", "c", "d", "e", "f"])
    for seed in range(50):
        train, held = stratified_split(labels, 0.4, groups=groups, seed=seed)
        assert not set(groups[train]) & set(groups[held])
        assert set(labels[train]) == set(labels[held]) == {0, 1}


def test_groups_that_leave_one_way_only():
    labels, groups = np.array([0, 1, 0, 1]), np.array([7, 7, 8, 8])
    train, held = stratified_split(labels, 0.1, groups=groups, seed=0)
    assert len(train) == len(held) == 2


def test_groups_that_leave_no_way():
    # three classes, each two of three groups share: one side always lacks one
    labels, groups = np.array([0, 0, 1, 1, 2, 2]), np.array([1, 2, 2, 3, 3, 1])
    with pytest.raises(ParameterError, match="cannot be on both sides"):
        stratified_split(labels, 0.5, groups=groups, seed=0)
    with pytest.raises(ParameterError, match="2 folds cannot each have every class to train on"):
        stratified_folds(labels, 2, groups=groups, seed=0)


@pytest.mark.parametrize("fraction", [0, 1, 0.0, 1.0, -0.1, 1.5, float("nan"), float("inf"), True, "0.2", None])
def test_bad_fraction(fraction):
    with pytest.raises(ParameterError, match="fraction must be a number between 0 and 1"):
        stratified_split([0, 0, 1, 1], fraction, seed=0)


@pytest.mark.parametrize(
    "draw", [lambda y, **more: stratified_split(y, 0.5, **more), lambda y, **more: stratified_folds(y, 2, **more)]
)
@pytest.mark.parametrize(
    ("labels", "more", "words"),
    [
        ([0, 0, -1, 1], {"seed": 0}, "labels must be 0 or more; got -1: leave rows without a label out"),
        ([0.0, 1.0], {"seed": 0}, "labels must be a vector of integers; got float64"),
        ([[0, 1]], {"seed": 0}, "labels must be a vector"),
        ([0, 0, 1, 1], {"groups": [1, 2], "seed": 0}, "groups must be one for each of the 4 labels"),
        ([0, 0, 1, 1], {"seed": -1}, "seed must be an integer of 0 or more; got -1"),
        ([0, 0, 1, 1], {"seed": 1.5}, "seed must be"),
    ],
)
def test_bad_arrays(draw, labels, more, words):
    with pytest.raises(ParameterError, match=words):
        draw(labels, **more)


def test_nothing_to_split():
    with pytest.raises(ParameterError, match="no class of the 0 rows"):
        stratified_split([], 0.5, seed=0)
    with pytest.raises(ParameterError, match="no class of the 2 rows has two rows"):
        stratified_split([0, 1], 0.5, seed=0)
    with pytest.raises(ParameterError, match="got no rows"):
        stratified_folds([], 2, seed=0)


@given(cells=pure_groups(smallest=2), k=st.integers(2, 6), seed=st.integers(0, 2**32))
def test_folds_keep_their_promises(cells, k, seed):
    labels, groups = cells
    smallest = min(len(own) for own in groups_by_class(labels, groups).values())
    if k > smallest:
        with pytest.raises(ParameterError, match=f"must be at most {smallest}, the number of groups of the smallest"):
            stratified_folds(labels, k, groups=groups, seed=seed)
        return
    folds = stratified_folds(labels, k, groups=groups, seed=seed)
    assert len(folds) == k
    np.testing.assert_array_equal(np.sort(np.concatenate([test for _, test in folds])), np.arange(len(labels)))
    for train, test in folds:
        np.testing.assert_array_equal(np.sort(np.concatenate([train, test])), np.arange(len(labels)))
        assert not set(groups[train]) & set(groups[test])
        assert set(labels[train]) == set(labels[test]) == set(labels)
    for (_, a), (_, b) in zip(folds, stratified_folds(labels, k, groups=groups, seed=seed), strict=True):
        np.testing.assert_array_equal(a, b)


def unevenness(labels, folds):
    counts = np.array([np.bincount(labels[test], minlength=labels.max() + 1) for _, test in folds])
    return np.std(counts / np.bincount(labels), axis=0).mean()


@given(counts=st.lists(st.integers(5, 60), min_size=1, max_size=6), seed=st.integers(0, 100))
def test_folds_of_single_rows_are_as_even_as_scikit_learns(counts, seed):
    labels = np.repeat(np.arange(len(counts)), counts)
    folds = stratified_folds(labels, 5, seed=seed)
    table = np.array([np.bincount(labels[test], minlength=len(counts)) for _, test in folds])
    assert (np.ptp(table, axis=0) <= 1).all()
    assert np.ptp(table.sum(axis=1)) <= 1
    reference = list(StratifiedKFold(5, shuffle=True, random_state=seed).split(labels, labels))
    assert unevenness(labels, folds) <= unevenness(labels, reference) + 1e-12


@settings(max_examples=25)
@given(seed=st.integers(0, 1000))
def test_folds_of_groups_are_about_as_even_as_scikit_learns(seed):
    generator = np.random.default_rng(seed)
    sizes = generator.geometric(0.4, size=120)
    groups, labels = np.repeat(np.arange(120), sizes), np.repeat(generator.integers(0, 4, 120), sizes)
    ours = stratified_folds(labels, 5, groups=groups, seed=seed)
    theirs = list(StratifiedGroupKFold(5, shuffle=True, random_state=seed).split(labels, labels, groups))
    assert unevenness(labels, ours) <= unevenness(labels, theirs) + 0.01


def test_folds_differ_by_seed():
    labels = np.arange(40) % 2
    assert len({tuple(stratified_folds(labels, 4, seed=seed)[0][1]) for seed in range(6)}) == 6


@pytest.mark.parametrize("k", [1, 0, -3, 2.0, True, "5", None])
def test_bad_number_of_folds(k):
    with pytest.raises(ParameterError, match="number of folds must be an integer of 2 or more"):
        stratified_folds([0, 0, 1, 1], k, seed=0)


def test_more_folds_than_rows_of_a_class():
    with pytest.raises(ParameterError, match=r"at most 2, the number of rows of the smallest class \(label 1\); got 3"):
        stratified_folds([0, 0, 0, 0, 1, 1], 3, seed=0)
