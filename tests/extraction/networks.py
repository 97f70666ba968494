"""Small networks that can be captured, with seeded weights and no counting; and what engines must give for them."""

import numpy as np
import torch
from torch import nn

from featx.spec import Preprocessing

PREPROCESSING = Preprocessing(crop_size=(32, 32), resize_size=(36, 36), interpolation="bilinear")


class Small(nn.Module):
    """Two convolutions with batch norm, an in-place ReLU that is called twice, pooling, a classifier of 5."""

    def __init__(self, seed=0):
        super().__init__()
        self.preprocessing = PREPROCESSING
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.conv1 = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False)
            self.norm1 = nn.BatchNorm2d(8)
            self.relu = nn.ReLU(inplace=True)
            self.conv2 = nn.Conv2d(8, 16, 3, stride=2, padding=1)
            self.norm2 = nn.BatchNorm2d(16)
            self.pool = nn.AdaptiveAvgPool2d(1)
            self.fc = nn.Linear(16, 5)
            stir(self)

    def forward(self, x):
        x = self.relu(self.norm1(self.conv1(x)))
        x = self.relu(self.norm2(self.conv2(x)))
        return self.fc(self.pool(x).flatten(1))


class OneByOne(Small):
    """The same, one image after the other, as a graph for any number of images cannot do."""

    def forward(self, x):
        return torch.cat([super(OneByOne, self).forward(x[i : i + 1]) for i in range(len(x))])


class Peeks(Small):
    """The same where the image is not black: control flow that depends on the values cannot be captured."""

    def forward(self, x):
        return super().forward(x) if x.any() else x.flatten(1)[:, :5]


def stir(network):
    """Give batch norms other statistics than those of a fresh one."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low, high in ((module.running_mean, -0.5, 0.5), (module.running_var, 0.5, 2.0)):
                if tensor is not None:
                    nn.init.uniform_(tensor, low, high)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)


def pixels(n, size=(32, 32), seed=0):
    """Return `n` images of noise."""
    return np.random.default_rng(seed).integers(0, 256, (n, *size, 3), dtype=np.uint8)


def images(array, preprocessing):
    """Return what a network is shown for uint8 pixels."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (preprocessing.mean, preprocessing.std))
    return (torch.from_numpy(array).permute(0, 3, 1, 2) / 255 - mean) / std


def plainly(network, array):
    """Return maps and vectors of a `Small` by the names of their nodes, channels last, as plain torch computes them."""
    network = network.eval()
    with torch.no_grad():
        conv1 = network.conv1(images(array, network.preprocessing))
        relu = network.norm1(conv1).relu()
        conv2 = network.conv2(relu)
        relu_1 = network.norm2(conv2).relu()
        vector = relu_1.mean((2, 3))
        given = {"conv1": conv1, "relu": relu, "conv2": conv2, "relu_1": relu_1}
        maps = {name: value.permute(0, 2, 3, 1).numpy() for name, value in given.items()}
        return {**maps, "fc.input": vector.numpy(), "fc": network.fc(vector).numpy()}


def assert_same(got, expected, *, message=""):
    """Assert that features are the same to 1e-3 of the largest value, and in cosine to 1e-5."""
    assert (got.shape, got.dtype) == (expected.shape, expected.dtype), message
    a, b = (array.reshape(len(array), -1).astype(np.float64) for array in (got, expected))
    assert np.abs(b).max() > 0, message
    assert np.abs(a - b).max() <= 1e-3 * np.abs(b).max(), message
    assert ((a * b).sum(1) >= (1 - 1e-5) * np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)).all(), message
