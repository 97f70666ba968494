import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler

from featx.heads import _blocks, _least_squares, _moments, _nearest
from featx.heads._blocks import Labels, row_blocks, row_numbers
from featx.heads._gaussian import GaussianNBClassifier, LDAClassifier
from featx.heads._moments import Scaling, checked_weights, moments_of
from featx.heads._neighbors import KNNClassifier
from featx.heads._ridge import RidgeClassifier
from tests.heads.clouds import clouds, folds, mapped


def reference(X, rows, weights, T):
    """The moments, in the plainest way: about 0, in float64."""
    X, T = X[rows].astype(np.float64), T[rows].astype(np.float64)
    w = np.ones(len(rows)) if weights is None else weights[rows]
    return (
        w.sum(),
        (w @ X),
        (w @ X**2),
        w @ T,
        (w[:, None] * T).T @ X,
        (w[:, None] * T).T @ X**2,
        (w[:, None] * X).T @ X,
    )


def about_zero(m):
    """What `reference` computes, from moments about a shift."""
    s = m.shift
    sums = m.sums + m.weight * s
    squares = m.squares + 2 * s * m.sums + m.weight * s**2
    target_sums = m.target_sums + np.outer(m.target_weights, s)
    known = (m.weight, sums, squares, m.target_weights, target_sums)
    if not m.target_squares.size:
        return known
    return (*known, m.target_squares + 2 * s * m.target_sums + np.outer(m.target_weights, s**2))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_moments_are_the_weighted_sums(dtype, weighted, monkeypatch):
    monkeypatch.setattr(_blocks, "BLOCK_VALUES", 100)  # many blocks
    X, y = clouds(dtype=dtype)
    labels = Labels(y)
    weights = np.random.default_rng(2).uniform(0, 3, y.size) if weighted else None
    sets = [None, *folds(y.size), np.array([3, 3, 5, 9, 3])]
    found = moments_of(X, sets, weights=weights, targets=labels.indicator, squares=True)
    grams = moments_of(X, sets, weights=weights, targets=labels.indicator, gram=True)
    for rows, m, g in zip(sets, found, grams, strict=True):
        rows = np.arange(y.size) if rows is None else rows
        *plain, gram = reference(X, rows, weights, labels.indicator(np.arange(y.size)))
        for ours, theirs in zip(about_zero(m), plain, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-12)
        for ours, theirs in zip(about_zero(g), plain[:5], strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-12)
        np.testing.assert_allclose(g.scatter(np.zeros(X.shape[1])), gram, rtol=1e-12)
        assert m.n == g.n == len(rows)


def test_products_in_float32_are_added_up_in_float64(monkeypatch):
    monkeypatch.setattr(_moments, "_EXACT_PRODUCTS", 0)
    monkeypatch.setattr(_moments, "_GRAM_ROWS", 50)
    X, y = clouds(5000, 6, dtype=np.float32)
    X[:, 1] += 3e4  # far from 0 for its deviation: sums of squares about 0 would have no digit left
    (found,) = moments_of(X, [None], targets=Labels(y).indicator, gram=True)
    assert _moments.product_dtype(X) == np.float32
    mean = X.mean(axis=0, dtype=np.float64)
    centred = X - mean
    scale = centred.std(axis=0) + (np.arange(6) == 2)
    np.testing.assert_allclose(found.mean / scale, mean / scale, rtol=1e-6)
    error = (found.scatter(found.mean) - centred.T @ centred) / np.outer(scale, scale) / 5000
    assert np.abs(error).max() < 1e-6
    assert _moments.product_dtype(X.astype(np.float64)) == np.float64


def test_folds_are_sums_of_parts_and_each_row_is_read_once(monkeypatch):
    read = []

    def counted(X, rows, dtype, **options):
        for index, block in row_blocks(X, rows, dtype, **options):
            read.append(block.shape[0])
            yield index, block

    monkeypatch.setattr(_moments, "row_blocks", counted)
    X, _ = clouds(200)
    sets = folds(200, 5)
    assert len(list(moments_of(X, sets, gram=True))) == 5
    assert sum(read) == 200
    read.clear()
    generator = np.random.default_rng(0)
    random_sets = [generator.choice(200, 50, replace=False) for _ in range(6)]  # almost every row is a part of its own
    assert len(list(moments_of(X, random_sets, gram=True))) == 6
    assert sum(read) == 300


@settings(max_examples=60)
@given(
    st.integers(1, 40),
    st.sampled_from([np.float64, np.float32]),
    st.sampled_from([0.0, 1.0, 1e3, -1e6]),
    st.booleans(),
    st.integers(0, 1000),
)
def test_scaling_is_that_of_standard_scaler(n, dtype, centre, constant, seed):
    generator = np.random.default_rng(seed)
    X = (generator.normal(size=(n, 3)) + centre).astype(dtype)
    if constant:
        X[:, 1] = X[0, 1]
    weights = generator.integers(1, 4, n).astype(np.float64)
    for w in (None, weights):
        scaling = Scaling.of(next(moments_of(X, [None], weights=w)))
        theirs = StandardScaler().fit(X.astype(np.float64), sample_weight=w)
        np.testing.assert_allclose(scaling.mean, theirs.mean_, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(scaling.scale, theirs.scale_, rtol=1e-8 if centre == -1e6 else 1e-10)


def test_a_constant_feature_has_scale_1_whatever_its_size():
    for value in (0.1, 1e9 / 3, 1e-9 / 3):
        for dtype in (np.float64, np.float32):
            X = np.full((1001, 2), value, dtype=dtype)
            X[:, 1] = np.random.default_rng(0).normal(size=1001)
            scale = Scaling.of(next(moments_of(X, [None]))).scale
            assert scale[0] == 1.0
            assert scale[1] != 1.0


@pytest.mark.parametrize("kind", [RidgeClassifier, LDAClassifier, GaussianNBClassifier, KNNClassifier])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_no_copy_of_all_features_is_made(dtype, kind, tmp_path, monkeypatch):
    for module in (_blocks, _least_squares, _nearest):
        monkeypatch.setattr(module, "BLOCK_VALUES", 1 << 14)
    n, d = 30_000, 128
    y = np.arange(n) % 2
    X = mapped(np.random.default_rng(0).normal(size=(n, d)).astype(dtype), tmp_path)
    kind().fit(X[:100], y[:100]).predict(X[:100])  # what is imported on the way
    tracemalloc.start()
    try:
        head = kind().fit(X, y)
        head.predict(X[:50] if kind is KNNClassifier else X)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < X.nbytes / 2


def test_float16_that_is_not_finite_is_refused():
    X, y = clouds(dtype=np.float16)
    for bad in (np.nan, np.inf):
        X[7, 1] = bad
        with pytest.raises(ValueError, match=r"NaN|infinity"):
            RidgeClassifier().fit(X, y)
    X[7, 1] = 1.0
    head = RidgeClassifier().fit(X, y)
    X[7, 1] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        head.predict(X)


def test_weights_and_rows_are_checked():
    X, _ = clouds(5)
    assert checked_weights(None, X) is None
    for weights in (-np.ones(5), np.zeros(5)):
        with pytest.raises(ValueError, match=r"no weight may be negative|at least one non-zero"):
            checked_weights(weights, X)
    np.testing.assert_array_equal(row_numbers([2, 0]), [2, 0])
    for rows in ([], [[1]], [0.5], [-1]):
        with pytest.raises(ValueError, match="rows must be one or more integers"):
            row_numbers(rows)


def test_labels_of_every_kind():
    labels = Labels(np.array(["b", "a", "b", "c"]))
    assert labels.classes.tolist() == ["a", "b", "c"]
    assert labels.indicator(slice(0, 2)).tolist() == [[False, True, False], [True, False, False]]
    assert labels.present(np.array([0, 3])).tolist() == [1, 2]
    assert labels.of_class(1, np.array([2, 1])).tolist() == [2]
    assert labels.total_weights(None, np.array([1.0, 2.0, 3.0, 4.0])).tolist() == [2.0, 4.0, 4.0]
    with pytest.raises(ValueError, match="got 1 class"):
        labels.present(np.array([0, 2]))
    indicator = Labels(np.array([[1], [0]], dtype=np.uint8))
    assert indicator.multilabel
    assert not Labels(np.array([0, 1])).multilabel
    assert indicator.indicator(np.array([1, 0])).tolist() == [[False], [True]]
    for wrong in (np.array([0.5, 1.5]), np.array([[0, 2], [1, 0]])):
        with pytest.raises(ValueError, match="Unknown label type"):
            Labels(wrong)
