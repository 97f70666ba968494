"""A tiny real network with seeded weights that counts its batches, and images to show it."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from featx.spec import Preprocessing

BACKBONE = "tests.tiny:tiny_net"
PREPROCESSING = Preprocessing(crop_size=(32, 32), resize_size=(36, 36), interpolation="bilinear")


class TinyNet(nn.Module):
    """Two convolutions with batch norm, an in-place ReLU that is called twice, pooling, a classifier of 5."""

    forwards = 0
    images = 0

    def __init__(self) -> None:
        super().__init__()
        self.preprocessing = PREPROCESSING
        self.conv1 = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(8, 16, 3, stride=2, padding=1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # Zeros are what the layers are listed by, and noise is what folded batch norms are checked with.
        if x.any() and x.abs().max() < 2.7:  # what no pixel exceeds
            TinyNet.forwards += 1
            TinyNet.images += len(x)
        x = self.relu(self.norm(self.conv1(x)))
        x = self.relu(self.conv2(x))
        return self.fc(self.dropout(self.pool(x).flatten(1)))


def tiny_net() -> TinyNet:
    """Return the network with the same weights every time, batch norm's statistics among them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = TinyNet()
        nn.init.uniform_(network.norm.running_mean, -0.5, 0.5)
        nn.init.uniform_(network.norm.running_var, 0.5, 2.0)
        nn.init.uniform_(network.norm.weight, 0.5, 1.5)
    return network


def picture(seed: int, colour: tuple[int, int, int] = (128, 128, 128), size: tuple[int, int] = (40, 32)) -> Image.Image:
    """Return a noisy picture about a colour; `size` is (width, height)."""
    noise = np.random.default_rng(seed).integers(-40, 41, (size[1], size[0], 3))
    return Image.fromarray(np.clip(noise + np.array(colour), 0, 255).astype(np.uint8))


COLOURS = {"blue": (40, 40, 200), "green": (40, 200, 40), "red": (200, 40, 40)}


def write_folder(root: Path, *, splits: tuple[str, ...] = ("",), per_class: int = 6, classes: int = 3) -> Path:
    """Write PNG files into class folders (below split folders), one colour for each class; return `root`."""
    seed = 0
    for split in splits:
        for name in list(COLOURS)[:classes]:
            folder = root / split / name
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(per_class):
                picture(seed, COLOURS[name]).save(folder / f"{number:03d}.png")
                seed += 1
    return root
