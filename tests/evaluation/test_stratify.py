"""Splits and folds for every task: what they must keep, and how even they are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import KFold

from featx.errors import ParameterError
from featx.evaluation import folds_for, split_for, stratified_folds, stratified_split


@st.composite
def tables(draw):
    """Several labels and two values a row, and groups of rows."""
    n = draw(st.integers(12, 80))
    generator = np.random.default_rng(draw(st.integers(0, 10**6)))
    groups = generator.integers(0, draw(st.integers(10, 60)), n)
    groups[:10] = np.arange(10)
    labels = generator.random((n, draw(st.integers(1, 5)))) < generator.random()
    return labels, generator.normal(size=(n, 2)), groups


def promises(folds, n, groups):
    np.testing.assert_array_equal(np.sort(np.concatenate([test for _, test in folds])), np.arange(n))
    for train, test in folds:
        assert train.size
        assert test.size
        assert train.dtype == test.dtype == np.int64
        np.testing.assert_array_equal(np.sort(np.concatenate([train, test])), np.arange(n))
        assert (np.diff(train) > 0).all()
        assert (np.diff(test) > 0).all()
        assert not set(groups[train]) & set(groups[test])


@settings(max_examples=60)
@given(table=tables(), k=st.integers(2, 5), seed=st.integers(0, 1000))
def test_folds_keep_their_promises(table, k, seed):
    labels, values, groups = table
    for task, y in (("multilabel", labels), ("regression", values), ("regression", values[:, 0])):
        folds = folds_for(task, y, k, groups=groups, seed=seed)
        assert len(folds) == k
        promises(folds, len(groups), groups)
        for (_, a), (_, b) in zip(folds, folds_for(task, y, k, groups=groups, seed=seed), strict=True):
            np.testing.assert_array_equal(a, b)


@settings(max_examples=60)
@given(table=tables(), fraction=st.floats(0.05, 0.95), seed=st.integers(0, 1000))
def test_splits_keep_their_promises(table, fraction, seed):
    labels, values, groups = table
    for task, y in (("multilabel", labels), ("regression", values)):
        train, held = split_for(task, y, fraction, groups=groups, seed=seed)
        assert train.size
        assert held.size
        np.testing.assert_array_equal(np.sort(np.concatenate([train, held])), np.arange(len(groups)))
        assert not set(groups[train]) & set(groups[held])
        np.testing.assert_array_equal(split_for(task, y, fraction, groups=groups, seed=seed)[1], held)


def test_classification_is_stratified_as_ever():
    labels, groups = np.arange(30) % 3, np.arange(30) // 2
    train, held = split_for("classification", labels, 0.3, groups=groups, seed=5)
    np.testing.assert_array_equal(held, stratified_split(labels, 0.3, groups=groups, seed=5)[1])
    np.testing.assert_array_equal(train, stratified_split(labels, 0.3, groups=groups, seed=5)[0])
    for mine, theirs in zip(
        folds_for("classification", labels, 3, seed=5), stratified_folds(labels, 3, seed=5), strict=True
    ):
        np.testing.assert_array_equal(mine[1], theirs[1])


def test_folds_of_a_regression_are_alike_in_values():
    values = np.random.default_rng(0).exponential(size=200)
    ours = [values[test].mean() for _, test in folds_for("regression", values, 5, seed=0)]
    plain = [values[test].mean() for _, test in KFold(5, shuffle=True, random_state=0).split(values)]
    assert np.std(ours) < 0.5 * np.std(plain)
    sizes = [test.size for _, test in folds_for("regression", values, 5, seed=0)]
    assert max(sizes) - min(sizes) <= 1


def test_split_of_a_regression_has_high_and_low_values_on_both_sides():
    values = np.arange(100.0)
    for seed in range(10):
        train, held = split_for("regression", values, 0.2, seed=seed)
        assert held.size == 20
        for rows in (train, held):
            assert (np.histogram(values[rows], bins=10, range=(0, 100))[0] >= rows.size // 10 - 1).all()


def test_several_targets_are_divided_by_what_they_share():
    common = np.random.default_rng(1).normal(size=300)
    values = np.stack([common, -100 * common + 5], axis=1) + np.random.default_rng(2).normal(size=(300, 2)) * 0.01
    means = [common[test].mean() for _, test in folds_for("regression", values, 5, seed=0)]
    assert np.std(means) < 0.03


def test_folds_of_labels_are_alike_in_each_label():
    """Each of 30 rows of the rarest label, and of all others their share, within a row or two."""
    generator = np.random.default_rng(3)
    labels = generator.random((600, 6)) < [0.02, 0.05, 0.1, 0.2, 0.4, 0.7]
    counts = np.array([labels[test].sum(axis=0) for _, test in folds_for("multilabel", labels, 5, seed=0)])
    assert np.ptp(counts, axis=0).max() <= 3
    assert np.ptp(counts[:, :3], axis=0).max() <= 1
    sizes = [test.size for _, test in folds_for("multilabel", labels, 5, seed=0)]
    assert max(sizes) - min(sizes) <= 6
    plain = np.array([labels[test].sum(axis=0) for _, test in KFold(5, shuffle=True, random_state=0).split(labels)])
    assert counts.std(axis=0).mean() < 0.3 * plain.std(axis=0).mean()


def test_split_of_labels_holds_out_the_share_of_each():
    labels = np.random.default_rng(4).random((500, 4)) < [0.05, 0.1, 0.3, 0.5]
    held = split_for("multilabel", labels, 0.2, seed=1)[1]
    np.testing.assert_allclose(labels[held].sum(axis=0), 0.2 * labels.sum(axis=0), atol=2)
    assert abs(held.size - 100) <= 5
    lone = np.zeros((50, 2), bool)
    lone[7, 0], lone[:, 1] = True, True
    for seed in range(10):
        assert 7 in split_for("multilabel", lone, 0.2, seed=seed)[0]


def test_seeds_draw_differently():
    labels, values = np.random.default_rng(5).random((60, 3)) < 0.3, np.random.default_rng(6).normal(size=60)
    for task, y in (("multilabel", labels), ("regression", values)):
        assert len({tuple(split_for(task, y, 0.3, seed=seed)[1]) for seed in range(5)}) == 5


@pytest.mark.parametrize("task", ["multilabel", "regression"])
def test_refused(task):
    y = np.eye(4, dtype=bool) if task == "multilabel" else np.arange(4.0)
    for fraction in (0, 1, True, "0.5", float("nan")):
        with pytest.raises(ParameterError, match="fraction must be a number between 0 and 1"):
            split_for(task, y, fraction, seed=0)
    for k in (1, 0, True, 2.0, "5"):
        with pytest.raises(ParameterError, match="number of folds must be an integer of 2 or more"):
            folds_for(task, y, k, seed=0)
    with pytest.raises(ParameterError, match="seed must be an integer of 0 or more"):
        split_for(task, y, 0.5, seed=-1)
    with pytest.raises(ParameterError, match="groups must be one for each of the 4 rows"):
        folds_for(task, y, 2, groups=[1, 2], seed=0)
    with pytest.raises(ParameterError, match=r"5 rows or groups|at most 4"):
        folds_for(task, y, 5, seed=0)
    with pytest.raises(ParameterError, match=r"2 rows or groups or more to be divided; got 1|has two groups or more"):
        split_for(task, y, 0.5, groups=[1, 1, 1, 1], seed=0)


def test_bad_targets():
    with pytest.raises(ParameterError, match="task must be"):
        split_for("guessing", [0, 1], 0.5, seed=0)
    with pytest.raises(ParameterError, match="y must be a matrix of 0 and 1"):
        folds_for("multilabel", [0, 1], 2, seed=0)
    with pytest.raises(ParameterError, match="targets must be finite values"):
        folds_for("regression", [0.0, np.nan], 2, seed=0)
