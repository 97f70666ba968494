"""Principal components equal scikit-learn's, and distances in a sketch are never too long."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA

from featx.reports._sketch import sketch_of


def features(n, d, *, dtype=np.float32, seed=0):
    """Return features that are like a network's: of falling variance, not negative, far from the origin."""
    generator = np.random.default_rng(seed)
    mixing = generator.standard_normal((d, d)) / np.sqrt(np.arange(1, d + 1))[:, None]
    return np.maximum(generator.standard_normal((n, d)) @ mixing + 1, 0).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize(("n", "d"), [(300, 200), (60, 200), (300, 12), (2, 5), (40, 1)])
def test_components_equal_scikit_learns(n, d, dtype):
    X = features(n, d, dtype=dtype)
    found = sketch_of(X)
    k = min(n - 1, d, 5)
    first = slice(min(k, 2))
    wanted = PCA(k, svd_solver="full").fit(X.astype(np.float64))
    np.testing.assert_allclose(found.variances[:k], wanted.explained_variance_, rtol=2e-3)
    np.testing.assert_allclose(
        found.variances[first] / found.variance, wanted.explained_variance_ratio_[first], rtol=1e-4
    )
    np.testing.assert_allclose(found.mean, wanted.mean_, rtol=1e-5)
    scores = wanted.transform(X.astype(np.float64))[:, first]
    signs = np.sign((scores * found.scores[:, first]).sum(axis=0))
    np.testing.assert_allclose(found.scores[:, first], scores * signs, atol=1e-3 * np.abs(scores).max())
    np.testing.assert_allclose(found.axes.T @ found.axes, np.eye(found.axes.shape[1]), atol=1e-5)


def test_equal_features_give_equal_components_whatever_the_blocks(monkeypatch):
    X = features(100, 150)
    whole = sketch_of(X)
    monkeypatch.setattr("featx.reports._vectors._BLOCK_BYTES", 4 * 150 * 7)
    parts = sketch_of(X)
    np.testing.assert_allclose(parts.scores[:, :5], whole.scores[:, :5], atol=1e-3)


@pytest.mark.parametrize(("n", "d"), [(90, 200), (90, 30)])
def test_directions_are_never_farther_apart_than_the_features_are(n, d):
    X = features(n, d)
    X[5], X[6], X[7] = 0, X[8], 3 * X[9]
    points = sketch_of(X).directions()
    units = X / np.maximum(np.linalg.norm(X, axis=1, keepdims=True), 1e-30)
    wanted, found = cdist(units, units), cdist(points, points)
    assert (found <= wanted + 1e-3).all()
    if d <= 80:  # all coordinates are kept
        np.testing.assert_allclose(found, wanted, atol=2e-3)


def test_features_that_do_not_vary_have_no_components():
    found = sketch_of(np.ones((4, 6), dtype=np.float32))
    assert found.variance == 0
    assert not found.variances.any()
    assert not found.scores.any()
    assert not sketch_of(np.zeros((4, 6), dtype=np.float32)).directions().any()
