"""R5's own network, as ``--backbone r5_networks:digits`` finds it."""

import torch
from torch import nn

from featx import Preprocessing

__all__ = ["digits"]


class Digits(nn.Module):
    """28 x 28 pixels in grey, flattened, then dense layers of 8 and 4: what comes before the last layer of R5's net."""

    preprocessing = Preprocessing(
        crop_size=(28, 28), resize_size=(28, 28), resize="squash", mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)
    )

    def __init__(self) -> None:
        super().__init__()
        self.dense_1 = nn.Linear(28 * 28, 8)
        self.dense_2 = nn.Linear(8, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return (n, 4) for images (n, 3, 28, 28), whose three channels are the same."""
        grey = images.mean(dim=1).flatten(1)
        return self.dense_2(self.dense_1(grey).relu()).relu()


def digits() -> nn.Module:
    """Return the network, untrained."""
    return Digits()
