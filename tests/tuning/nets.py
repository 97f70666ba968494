"""A small network in stages, with a connection past one of them, and images it can tell apart."""

import torch
from torch import nn

from featx.spec import Preprocessing

STAGED = "tests.tuning.nets:staged"
PREPROCESSING = Preprocessing(crop_size=(16, 16), resize_size=(18, 18), interpolation="bilinear")


class Staged(nn.Module):
    """A stem and two stages, the second with a connection past it; an activation that is called three times."""

    def __init__(self):
        super().__init__()
        self.preprocessing = PREPROCESSING
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.BatchNorm2d(6))
        self.act = nn.ReLU(inplace=True)
        self.stage1 = nn.Sequential(nn.Conv2d(6, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8))
        self.stage2 = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8))
        self.gain = nn.Parameter(torch.ones(8, 1, 1))
        self.drop = nn.Dropout(0.0)
        self.fc = nn.Linear(8, 5)

    def forward(self, x):
        x = self.act(self.stem(x))
        x = self.act(self.stage1(x))
        x = self.act(x + self.gain * self.stage2(x))
        return self.fc(self.drop(x.mean(dim=(2, 3))))


def staged():
    """Return the network with the same weights every time, batch norms' statistics among them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        network = Staged()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.running_mean, -0.5, 0.5)
                nn.init.uniform_(module.running_var, 0.5, 2.0)
                nn.init.uniform_(module.weight, 0.5, 1.5)
    return network
