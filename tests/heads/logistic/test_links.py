"""Losses, residuals and curvatures against their definitions, and where a float32 has few digits left."""

import numpy as np
import pytest
import torch
from scipy.special import expit, log_softmax, softmax

from featx.heads.logistic._links import sigmoid_residuals, softmax_residuals


def random(seed, shape, spread=3.0):
    return np.random.default_rng(seed).normal(size=shape) * spread


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_softmax(library):
    p, k, b = 3, 5, 40
    scores = random(0, (p, k, b))
    y = np.random.default_rng(1).integers(0, k, b)
    weights = np.random.default_rng(2).integers(0, 2, (p, b)) * np.array([[1.0], [2.0], [0.0]])
    log = log_softmax(scores, axis=1)
    P = softmax(scores, axis=1)
    Y = (y[:, None] == np.arange(k)).T
    losses = -(weights * log[:, y, np.arange(b)]).sum(1)
    curvatures = (weights[:, None] * P * (1 - P)).sum((1, 2))
    residuals = weights[:, None] * (P - Y)
    where = y * b + np.arange(b)
    if library == "numpy":
        found = softmax_residuals(np, scores, where, weights, np.float64)
    else:
        scores = torch.tensor(scores)
        found = softmax_residuals(torch, scores, torch.tensor(where), torch.tensor(weights), torch.float64)
    np.testing.assert_allclose(found[0], losses, rtol=1e-12)
    np.testing.assert_allclose(found[1], curvatures, rtol=1e-9)
    np.testing.assert_allclose(scores, residuals, atol=1e-14)


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_sigmoid(library):
    scores, weights = random(0, (3, 50)), np.random.default_rng(2).uniform(0, 2, (3, 50))
    y = np.random.default_rng(1).integers(0, 2, (3, 50))
    signs = 2.0 * y - 1
    P = expit(scores)
    losses = -(weights * np.log(np.where(y == 1, P, 1 - P))).sum(1)
    residuals = weights * (P - y)
    if library == "numpy":
        found = sigmoid_residuals(np, scores, signs, weights, np.float64)
    else:
        scores = torch.tensor(scores)
        found = sigmoid_residuals(torch, scores, torch.tensor(signs), torch.tensor(weights), torch.float64)
    np.testing.assert_allclose(found[0], losses, rtol=1e-12)
    np.testing.assert_allclose(found[1], (weights * P * (1 - P)).sum(1), rtol=1e-12)
    np.testing.assert_allclose(scores, residuals, atol=1e-14)


@pytest.mark.parametrize("margin", [20.0, 60.0, 0.0, -60.0, -1000.0])
def test_float32_keeps_its_digits_where_a_row_is_certain(margin):
    exact = np.array([[[margin], [0.0], [-1.0]]])
    expected = -log_softmax(exact, axis=1)[0, 0, 0] if margin < 5 else np.log1p(np.exp(-margin) * (1 + np.exp(-1)))
    scores = exact.astype(np.float32)
    losses, _ = softmax_residuals(np, scores, np.array([0]), np.ones((1, 1), np.float32), np.float64)
    assert losses[0] == pytest.approx(expected, rel=1e-6)
    assert scores[0, 0, 0] == pytest.approx(np.expm1(-expected), rel=1e-6)
    assert scores.sum() == pytest.approx(0, abs=1e-6)
    two = np.array([[margin]], dtype=np.float32)
    losses, _ = sigmoid_residuals(np, two, np.ones((1, 1), np.float32), np.ones((1, 1), np.float32), np.float64)
    assert losses[0] == pytest.approx(np.logaddexp(0, -margin), rel=1e-6)
    assert two[0, 0] == pytest.approx(-expit(-margin), rel=1e-6)
