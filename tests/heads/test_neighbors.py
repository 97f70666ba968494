import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import featx.heads
from featx.errors import HeadError
from featx.heads import _blocks, _nearest
from featx.heads._neighbors import KNNClassifier, KNNRegressor, nearest_rows
from tests.heads.clouds import clouds, mapped

SHARES = {"check_classifiers_multilabel_output_format_predict_proba": "a share of the votes may be 0, or all of them"}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Make several blocks of so few rows."""
    monkeypatch.setattr(_nearest, "_QUERY_ROWS", 20)
    monkeypatch.setattr(_nearest, "_SEARCH_ROWS", 30)


def brute(X, queries, k, metric):
    """All distances, sorted with the smaller row first."""
    X, queries = X.astype(np.float64), queries.astype(np.float64)
    if metric == "cosine":
        X, queries = (a / np.maximum(np.linalg.norm(a, axis=1, keepdims=True), 1e-300) for a in (X, queries))
        distances = 0.5 * np.square(queries[:, None] - X).sum(axis=2)
        distances[~queries.any(axis=1)] = 1.0
        distances[:, ~X.any(axis=1)] = 1.0
    else:
        distances = np.sqrt(np.square(queries[:, None] - X).sum(axis=2))
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(distances, order, axis=1), order


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_nearest_rows_are_those_of_all_distances(dtype, metric, tmp_path):
    X, _ = clouds(150, 9, dtype=dtype)
    queries, _ = clouds(45, 9, seed=1, dtype=dtype)
    for k in (1, 5, 150):
        for rows_to_search in (X, mapped(X, tmp_path)):
            distances, rows = nearest_rows(rows_to_search, queries, k, metric)
            expected, expected_rows = brute(X, queries, k, metric)
            np.testing.assert_array_equal(rows, expected_rows)
            np.testing.assert_allclose(distances, expected, rtol=1e-7, atol=1e-14)
    theirs = np.sort(pairwise_distances(queries.astype(np.float64), X.astype(np.float64), metric=metric), axis=1)
    np.testing.assert_allclose(distances, theirs, atol=1e-7)


@settings(max_examples=60)
@given(
    st.integers(1, 70),
    st.integers(1, 3),
    st.sampled_from(["cosine", "euclidean"]),
    st.sampled_from([np.float64, np.float32]),
    st.data(),
)
def test_of_equal_distances_the_first_rows_are_taken(n, d, metric, dtype, data):
    # few values, so that many rows are equal, and some are 0
    seed = data.draw(st.integers(0, 1000))
    X = np.random.default_rng(seed).integers(-1, 2, (n, d)).astype(dtype)
    k = data.draw(st.integers(1, n))
    distances, rows = nearest_rows(X, X[::2], k, metric)
    np.testing.assert_allclose(distances, brute(X, X[::2], k, metric)[0], atol=1e-12)
    for found, at in zip(distances, rows, strict=True):
        assert len(set(at)) == k
        assert (np.diff(at)[np.diff(found) == 0] > 0).all()
        for row in at:
            twins = np.flatnonzero((X[:row] == X[row]).all(axis=1))
            assert set(twins) <= set(at)


def test_rows_far_from_0_are_told_apart_in_float32():
    generator = np.random.default_rng(0)
    X = (1e4 + generator.normal(size=(200, 16))).astype(np.float32)
    distances, rows = nearest_rows(X, X[:30], 5, "euclidean")
    expected, expected_rows = brute(X, X[:30], 5, "euclidean")
    np.testing.assert_array_equal(rows, expected_rows)
    np.testing.assert_allclose(distances, expected, rtol=1e-12)
    assert not distances[:, 0].any()


def test_own_rows_are_left_out():
    X, _ = clouds(100, 5)
    X[50] = X[3]  # a twin, at distance 0
    own = np.array([3, 50, 7, 99])
    distances, rows = nearest_rows(X, X[own], 99, "euclidean", own_rows=own)
    assert rows[0, 0] == 50
    assert rows[1, 0] == 3
    assert distances[:2, 0].tolist() == [0.0, 0.0]
    for own_row, found, far in zip(own, rows, distances, strict=True):
        assert sorted(found) == [row for row in range(100) if row != own_row]
        assert np.isfinite(far).all()


def test_rows_of_zeros_have_cosine_distance_1():
    X = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0], [-1.0, 0.0]])
    distances, rows = nearest_rows(X, X[:2], 4)
    np.testing.assert_allclose(distances, [[1, 1, 1, 1], [0, 1, 1, 2]])
    assert rows.tolist() == [[0, 1, 2, 3], [1, 0, 2, 3]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.ones((3, 2)), np.ones((1, 3)), 1), "as many columns"),
        ((np.ones((3, 2)), np.ones(2), 1), "must be float matrices"),
        ((np.ones((3, 2), int), np.ones((1, 2)), 1), "must be float matrices"),
        ((np.ones((3, 2)), np.ones((1, 2)), 4), "k must be from 1 to 3"),
        ((np.ones((3, 2)), np.ones((1, 2)), 0), "k must be from 1 to 3"),
        ((np.ones((3, 2)), np.ones((1, 2)), 1, "manhattan"), "metric must be cosine or euclidean"),
    ],
)
def test_wrong_searches_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        featx.heads.nearest_rows(*arguments)


def test_wrong_own_rows_are_refused():
    X = np.ones((3, 2))
    for own in ([0, 1], [3], [-1], [0.5]):
        with pytest.raises(ValueError, match="own_rows must be one row of X for each of the 1 queries"):
            nearest_rows(X, X[:1], 1, own_rows=own)
    with pytest.raises(ValueError, match="k must be from 1 to 2"):
        nearest_rows(X, X[:1], 3, own_rows=[0])


@pytest.mark.parametrize("head", [KNNClassifier(3), KNNRegressor(3), KNNRegressor(5, weights="distance")])
def test_contract(head):
    check_estimator(head, on_skip=None, expected_failed_checks=SHARES)


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("weights", ["uniform", "distance"])
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("shape", [(120, 7, 3), (120, 7, 2), (30, 60, 4)])
def test_answers_are_scikit_learns(shape, metric, weights, standardize):
    X, y = clouds(*shape)
    queries, _ = clouds(33, shape[1], seed=1)
    options = {"metric": metric, "weights": weights}
    generator = np.random.default_rng(0)

    def theirs(kind):
        estimator = kind(7, algorithm="brute", **options)
        return make_pipeline(StandardScaler(), estimator) if standardize else estimator

    head, other = KNNClassifier(7, standardize=standardize, **options), theirs(KNeighborsClassifier)
    np.testing.assert_allclose(head.fit(X, y).predict_proba(queries), other.fit(X, y).predict_proba(queries), atol=1e-9)
    np.testing.assert_array_equal(head.predict(queries), other.predict(queries))

    Y = generator.random((y.size, 3)) < 0.4
    expected = np.stack([shares[:, 1] for shares in other.fit(X, Y).predict_proba(queries)], axis=1)
    np.testing.assert_allclose(head.fit(X, Y).predict_proba(queries), expected, atol=1e-9)
    np.testing.assert_array_equal(head.predict(queries), other.predict(queries))
    assert head.multilabel_

    regressor, other = KNNRegressor(7, standardize=standardize, **options), theirs(KNeighborsRegressor)
    for values in (
        generator.normal(size=y.size),
        generator.normal(size=(y.size, 1)),
        generator.normal(size=(y.size, 2)),
    ):
        np.testing.assert_allclose(
            regressor.fit(X, values).predict(queries), other.fit(X, values).predict(queries), atol=1e-9
        )


def test_rows_equal_to_the_query_decide_alone():
    X = np.array([[0.0, 1.0], [0.0, 1.0], [1.0, 1.0], [1.1, 1.0]], dtype=np.float32)
    head = KNNClassifier(4, metric="euclidean", weights="distance").fit(X, [0, 1, 1, 1])
    np.testing.assert_allclose(head.predict_proba(X[:1]), [[0.5, 0.5]])


@pytest.mark.parametrize("weights", ["uniform", "distance"])
def test_weights_are_repeated_rows(weights):
    X, y = clouds()
    queries, _ = clouds(33, seed=1)
    repeats = np.random.default_rng(0).integers(0, 4, y.size)
    head = KNNClassifier(5, weights=weights).fit(X, y, repeats)
    theirs = KNeighborsClassifier(5, metric="cosine", weights=weights, algorithm="brute")
    theirs.fit(np.repeat(X, repeats, axis=0), np.repeat(y, repeats))
    np.testing.assert_allclose(head.predict_proba(queries), theirs.predict_proba(queries), atol=1e-9)
    # of three views of each sample, 15 are as near as 5 samples
    head = KNNClassifier(5, weights=weights).fit(np.repeat(X, 3, axis=0), np.repeat(y, 3), np.full(3 * y.size, 1 / 3))
    theirs = KNNClassifier(5, weights=weights).fit(X, y)
    np.testing.assert_allclose(head.predict_proba(queries), theirs.predict_proba(queries), atol=1e-9)


def test_features_of_other_types_and_mapped_ones(tmp_path, monkeypatch):
    monkeypatch.setattr(_blocks, "BLOCK_VALUES", 200)
    X, y = clouds(dtype=np.float16)
    for options in ({}, {"metric": "euclidean"}, {"standardize": True, "weights": "distance"}):
        expected = KNNClassifier(**options).fit(X.astype(np.float64), y).predict_proba(X.astype(np.float64))
        for features in (X, mapped(X, tmp_path), X.astype(np.float32)):
            head = KNNClassifier(**options).fit(features, y)
            np.testing.assert_allclose(head.predict_proba(features), expected, atol=1e-7)
            assert np.shares_memory(head._X, features)


def test_wrong_parameters_are_refused():
    X, y = clouds()
    for n_neighbors in (0, -1, 2.0, True, "3"):
        with pytest.raises(ValueError, match="n_neighbors must be an integer, 1 or more"):
            KNNClassifier(n_neighbors).fit(X, y)
    with pytest.raises(ValueError, match="metric must be cosine or euclidean"):
        KNNClassifier(metric="manhattan").fit(X, y)
    with pytest.raises(ValueError, match="weights must be uniform or distance"):
        KNNRegressor(weights=None).fit(X, y)
    with pytest.raises(ValueError, match=r"n_neighbors must be at most the number of rows.*got 121"):
        KNNClassifier(121).fit(X, y)
    with pytest.raises(ValueError, match="n_neighbors must be at most"):
        KNNClassifier(61).fit(X, y, np.full(120, 0.5))
    assert KNNClassifier(120).fit(X, y).predict(X).shape == (120,)


@pytest.mark.parametrize("options", [{}, {"metric": "euclidean", "weights": "distance", "standardize": True}])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_states_go_there_and_back(dtype, options):
    X, y = clouds(dtype=dtype)
    weights = 1.0 + np.arange(y.size) % 2
    indicator = np.eye(3, dtype=bool)[y]
    for head, target in (
        (KNNClassifier(4, **options), y),
        (KNNClassifier(4, **options), indicator),
        (KNNRegressor(4, **options), y / 3),
        (KNNRegressor(4, **options), np.stack([y, y / 3], axis=1)),
    ):
        for sample_weight in (None, weights):
            params, arrays = head.fit(X, target, sample_weight).head_state()
            again = type(head).from_head_state(json.loads(json.dumps(params)), arrays)
            np.testing.assert_array_equal(again.predict(X), head.predict(X))
            assert again.get_params() == head.get_params()
            assert (again.n_features_in_, again.n_samples_fit_) == (head.n_features_in_, head.n_samples_fit_)
            if isinstance(head, KNNClassifier):
                np.testing.assert_array_equal(again.predict_proba(X), head.predict_proba(X))
                assert again.multilabel_ == head.multilabel_


def test_forged_states_are_refused():
    X, y = clouds()
    head = KNNClassifier(4, standardize=True).fit(X, y, np.ones(y.size))
    params, arrays = head.head_state()
    nan = X.copy()
    nan[3, 1] = np.nan
    for wrong in (
        {"X": nan},
        {"X": X[:50]},
        {"X": X[:, :0]},
        {"X": X.astype(str)},
        {"y": np.where(np.arange(y.size) == 5, 3, y)},
        {"y": y - 1},
        {"y": y.astype(float)},
        {"y": y[:, None]},
        {"classes": np.array([0, 1])},
        {"classes": np.array([0, 1, 1])},
        {"scale": np.zeros(7)},
        {"mean": np.zeros(6)},
        {"row_weights": -np.ones(y.size)},
        {"row_weights": np.full(y.size, 1e-9)},
    ):
        with pytest.raises(HeadError, match="a stored KNNClassifier must have"):
            KNNClassifier.from_head_state(params, arrays | wrong)
    for wrong in (
        {"n_neighbors": 0},
        {"n_neighbors": 1000},
        {"n_neighbors": True},
        {"metric": "manhattan"},
        {"metric": ["cosine"]},
        {"weights": None},
        {"standardize": 1},
        {"multilabel": True},
        {"other": 1},
    ):
        with pytest.raises(HeadError, match="a stored KNNClassifier must have"):
            KNNClassifier.from_head_state(params | wrong, arrays)
    with pytest.raises(HeadError, match="a stored KNNRegressor must have the parameters"):
        KNNRegressor.from_head_state(params, arrays)
