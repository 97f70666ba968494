"""Blocks of rows, and their moments against scikit-learn's scaler."""

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from featx.heads.logistic._devices import NumpyDevice
from featx.heads.logistic._rows import Rows, moments


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("chosen", [None, np.arange(1, 3000, 3)])
def test_blocks_are_the_rows_each_once(dtype, chosen):
    X = np.random.default_rng(0).normal(size=(3000, 7)).astype(dtype)
    rows = Rows(X, chosen, device := NumpyDevice(np.float32))
    device.workers = 3
    for shift in (None, np.arange(7, dtype=np.float32)):
        rows.shift = shift
        parts = rows.parts(1)
        assert 1 < len(parts) <= 3
        found = np.concatenate([rows.block(where) for part in parts for where in part])
        expected = X[slice(None) if chosen is None else chosen].astype(np.float32)
        np.testing.assert_array_equal(found, expected if shift is None else expected - shift)
        assert found.dtype == np.float32


def test_a_sample_is_spread_over_all_rows():
    X = np.arange(10_000, dtype=np.float32)[:, None]
    sample = np.concatenate(list(Rows(X, None, NumpyDevice(np.float32)).sample(5_000)))[:, 0]
    assert len(sample) == len(np.unique(sample)) == 5_000
    assert np.diff(sample).max() <= 3
    assert (sample[0], sample[-1]) == (0, 9_999)


@pytest.mark.parametrize(("dtype", "close"), [(np.float32, 1e-5), (np.float64, 1e-12)])
def test_moments_are_the_scalers(dtype, close):
    generator = np.random.default_rng(0)
    X = generator.normal(size=(1500, 6)) * np.logspace(-4, 4, 6)
    X[:, 1] += 1e3 * X[:, 1].std()
    X[:, 2] = 5.25
    X[:, 3] = np.arange(1500) < 500  # constant in the second weighting
    X[:, 4] = 0
    X[0, 5] = 1e7  # the first row is far from the others
    X = X.astype(dtype)
    weights = np.stack([np.ones(1500), np.arange(1500) >= 500, generator.integers(0, 3, 1500)]).astype(dtype)
    means, scales = moments(X, None, weights)
    for i in range(3):
        reference = StandardScaler().fit(X.astype(np.float64), sample_weight=weights[i])
        np.testing.assert_allclose((means[i] - reference.mean_) / reference.scale_, 0, atol=close)
        np.testing.assert_allclose(scales[i], reference.scale_, rtol=close)
    assert scales[0, 2] == scales[1, 2] == scales[1, 3] == scales[2, 4] == 1


def test_moments_of_some_rows():
    X = np.random.default_rng(0).normal(size=(900, 3))
    chosen = np.flatnonzero(X[:, 0] > 0)
    means, scales = moments(X, chosen, np.ones((1, len(chosen))))
    np.testing.assert_allclose(means[0], X[chosen].mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(scales[0], X[chosen].std(axis=0), rtol=1e-12)
