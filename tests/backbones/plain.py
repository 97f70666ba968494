"""Features as a dozen lines of plain torch compute them: what the backbones are held against."""

import numpy as np
import torch
from torch import nn

from featx.extraction import TorchEngine, plan_outputs, preprocess
from tests.tiny import picture

IMAGES = [picture(1, (200, 90, 40), (300, 260)), picture(2, (30, 90, 160), (180, 333))]


def default_features(backbone, images=IMAGES, **options):
    """Return what featx stores for the images."""
    outputs = plan_outputs(backbone, **options)
    pixels = np.stack([preprocess(image, backbone.preprocessing) for image in images])
    (features,) = TorchEngine(backbone, outputs)(pixels)
    return torch.from_numpy(features)


def input_of(module: nn.Module, network: nn.Module, transform, images=IMAGES) -> torch.Tensor:
    """Return what `module` is given when the network sees the images."""
    seen = []
    with torch.no_grad(), module.register_forward_pre_hook(lambda _, args: seen.append(args[0])):
        network.eval()(torch.stack([transform(image) for image in images]))
    return seen[0]


def assert_close(got: torch.Tensor, expected: torch.Tensor) -> None:
    """Require 1e-5 of the largest number, and that the images can be told apart at that."""
    assert got.shape == expected.shape
    scale = float(expected.abs().max())
    assert scale > 0
    assert float((got - expected).abs().max()) < 1e-5 * scale


__all__ = ["IMAGES", "assert_close", "default_features", "input_of"]
