"""What is close and what is far equals what brute force finds, though not all is compared with all."""

import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_distances
from sklearn.neighbors import NearestNeighbors

from featx.reports import _closeness
from featx.reports._closeness import closeness_of
from featx.reports._sketch import sketch_of
from tests.reports.test_sketch import features


def close(X, rows=None):
    return closeness_of(X, sketch_of(X), rows)


def brute(X, threshold):
    """Return the pairs of rows below a distance, and how far they are."""
    distances = cosine_distances(X.astype(np.float64))
    pairs = np.argwhere(np.triu(distances < threshold, 1))
    return pairs, distances[tuple(pairs.T)]


def with_copies(n=400, d=150, *, seed=0):
    """Return features of which some are nearly others', a crowd of 40 among them."""
    X = features(n, d, seed=seed)
    generator = np.random.default_rng(seed)
    for row in range(0, 60, 2):
        X[row] = X[row + 1] * (1 + row / 300 * generator.standard_normal(d))
    X[100:140] = X[100] * (1 + 0.05 * generator.standard_normal((40, d)))
    return X


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_near_duplicates_equal_brute_force(dtype):
    X = with_copies().astype(dtype)
    pairs, distances, threshold = close(X).near_duplicates()
    wanted, exact = brute(X, threshold)
    assert len(wanted) > 40 * 39 / 2
    np.testing.assert_array_equal(pairs, wanted)
    np.testing.assert_allclose(distances, exact, atol=1e-5)


def test_the_threshold_is_a_quarter_of_what_is_typical():
    X = with_copies()
    nearest = NearestNeighbors(n_neighbors=10, metric="cosine").fit(X).kneighbors()[0]
    assert close(X).near_duplicates()[2] == pytest.approx(0.25 * np.median(nearest[:, 9]), rel=1e-4)


def test_the_threshold_of_many_is_of_some_that_are_spread_over_them(monkeypatch):
    X = with_copies()
    monkeypatch.setattr(_closeness, "_TYPICAL", 50)
    nearest = NearestNeighbors(n_neighbors=10, metric="cosine").fit(X).kneighbors(X[::8], 11)[0][:, 1:]
    assert close(X).typical_distance() == pytest.approx(np.median(nearest[:, 9]), rel=1e-4)


@pytest.mark.parametrize("rows", [None, np.arange(0, 400, 3), np.arange(7), np.arange(1)])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_farthest_equal_scikit_learns(rows, seed, monkeypatch):
    monkeypatch.setattr(_closeness, "_FIRST", 3)
    X = with_copies(seed=seed)
    found, distances = close(X, rows).farthest(9)
    some = X if rows is None else X[rows]
    k = min(10, len(some) - 1)
    if not k:
        assert not len(found)
        return
    mean = NearestNeighbors(n_neighbors=k, metric="cosine").fit(some).kneighbors()[0].mean(axis=1)
    order = np.argsort(-mean, kind="stable")[:9]
    np.testing.assert_array_equal(found, order)
    np.testing.assert_allclose(distances, mean[order], atol=1e-5)


def test_not_all_samples_are_compared_with_all_to_find_the_farthest(monkeypatch):
    X = with_copies()
    X[200] = np.random.default_rng(5).standard_normal(150) * 3
    asked = []
    exact = _closeness.Closeness._nearest_distances

    def counting(self, samples):
        asked.extend(samples.tolist())
        return exact(self, samples)

    monkeypatch.setattr(_closeness.Closeness, "_nearest_distances", counting)
    assert close(X).farthest(1)[0].tolist() == [200]
    assert len(asked) == _closeness._FIRST


def test_features_that_are_all_zero_are_far_from_all_and_near_none():
    X = with_copies()
    X[300:320] = 0
    near = close(X)
    pairs, _, _ = near.near_duplicates()
    assert not np.isin(pairs, np.arange(300, 320)).any()
    found, distances = near.farthest(20)
    assert sorted(found.tolist()) == list(range(300, 320))
    np.testing.assert_allclose(distances, 1.0)
