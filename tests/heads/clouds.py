"""Made-up features for the tests of the heads that are made from sums, and of the neighbours."""

import numpy as np


def clouds(n=120, d=7, k=3, *, seed=0, dtype=np.float64):
    """Return features of very different scales, far from 0, one of them constant, and labels 0 to k - 1, all there."""
    generator = np.random.default_rng(seed)
    y = generator.permutation(np.arange(n) % k)
    spread = 10.0 ** np.linspace(-1, 1, d)
    X = (generator.normal(size=(n, d)) @ (np.eye(d) + 0.3 * generator.normal(size=(d, d))) + 5.0) * spread
    X += generator.normal(size=(k, d))[y] * spread
    if d > 2:
        X[:, 2] = 3.75
    return X.astype(dtype), y


def folds(n, k=4, *, seed=1):
    """Return the training rows of k folds."""
    part = np.random.default_rng(seed).integers(0, k, n)
    return [np.flatnonzero(part != i) for i in range(k)]


def mapped(X, folder):
    """Return X as a read-only memory map."""
    np.save(folder / f"{X.dtype}.npy", X)
    return np.load(folder / f"{X.dtype}.npy", mmap_mode="r")


def quarters(n, *, seed=2):
    """Return n weights in quarters, whose sums are exact: scikit-learn's scaler stumbles over rounded ones."""
    return np.random.default_rng(seed).integers(1, 9, n) / 4
