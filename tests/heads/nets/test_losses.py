import numpy as np
import pytest
import torch
from scipy.special import expit, softmax
from sklearn.metrics import log_loss, mean_squared_error

from featx.heads.nets._losses import Loss, accuracy_of, averaged

RNG = np.random.default_rng(0)
OUTPUT = RNG.normal(size=(12, 4)).astype(np.float32)
WEIGHT = RNG.random(12).astype(np.float32)


def loss(link, output, target, weight=WEIGHT):
    return float(Loss(link)(torch.from_numpy(output), (torch.from_numpy(target), torch.from_numpy(weight))))


def test_losses_are_those_of_scikit_learn():
    index = RNG.integers(4, size=12)
    expected = log_loss(index, softmax(OUTPUT, axis=1), sample_weight=WEIGHT) * WEIGHT.mean()
    assert loss("softmax", OUTPUT, index) == pytest.approx(expected, rel=1e-5)
    many = RNG.integers(2, size=(12, 4)).astype(np.float32)
    each = [log_loss(many[:, j], expit(OUTPUT[:, j]), sample_weight=WEIGHT) * WEIGHT.mean() for j in range(4)]
    assert loss("sigmoid", OUTPUT, many) == pytest.approx(np.mean(each), rel=1e-5)
    values = RNG.normal(size=(12, 4)).astype(np.float32)
    expected = mean_squared_error(values, OUTPUT, sample_weight=WEIGHT) * WEIGHT.mean()
    assert loss("none", OUTPUT, values) == pytest.approx(expected, rel=1e-5)


def test_two_classes_have_the_same_loss_with_one_output_and_with_two():
    index = RNG.integers(2, size=12)
    single = loss("sigmoid", OUTPUT[:, 1:2] - OUTPUT[:, :1], index[:, None].astype(np.float32))
    assert single == pytest.approx(loss("softmax", OUTPUT[:, :2].copy(), index), rel=1e-5)


@pytest.mark.parametrize(
    ("link", "probability"), [("softmax", lambda x: softmax(x, axis=-1)), ("sigmoid", expit), ("none", lambda x: x)]
)
def test_views_are_averaged_as_probabilities(link, probability):
    found = probability(averaged(torch.from_numpy(OUTPUT), 4, link).numpy())
    np.testing.assert_allclose(found, probability(OUTPUT.reshape(4, 3, 4)).mean(axis=1), rtol=1e-5, atol=1e-6)


def test_accuracies():
    index = OUTPUT.argmax(axis=1)
    index[:3] = (index[:3] + 1) % 4
    assert accuracy_of(torch.from_numpy(OUTPUT), torch.from_numpy(index), "softmax") == 9 / 12
    many = (OUTPUT > 0).astype(np.float32)
    many[0] = 1 - many[0]
    assert accuracy_of(torch.from_numpy(OUTPUT), torch.from_numpy(many), "sigmoid") == pytest.approx(44 / 48)
