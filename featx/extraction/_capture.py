"""Capturing: a backbone and what is taken from it as one graph, from pixels to rows."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from featx._quiet import quiet
from featx.backbones import Backbone, FeatureTap, pool_features
from featx.errors import EngineError, first_line
from featx.extraction._loop import Features
from featx.extraction._outputs import Output

__all__ = ["PixelsToRows", "capture", "eager_rows", "noise", "silence"]


class PixelsToRows(nn.Module):
    """Everything an engine computes, as one network.

    Parameters
    ----------
    backbone : Backbone
    outputs : sequence of Output
    memory : torch.memory_format
        In which the network gets its images.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(
        self, backbone: Backbone, outputs: Sequence[Output], memory: torch.memory_format = torch.contiguous_format
    ) -> None:
        super().__init__()
        self.tap = FeatureTap(backbone.network, [output.node for output in outputs])
        self.memory = memory
        self._pools = [(output.spec.pool, output.node.prefix_tokens) for output in outputs]
        self.register_buffer("mean", torch.tensor(backbone.preprocessing.mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(backbone.preprocessing.std).view(3, 1, 1))
        self.eval()

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return one float32 tensor (n, ...) per output for uint8 pixels of shape (n, height, width, 3)."""
        images = pixels.permute(0, 3, 1, 2).contiguous(memory_format=self.memory)
        # The arithmetic of torchvision's ToTensor and Normalize, in their order.
        images = images.float().div(255).sub(self.mean).div(self.std)
        return tuple(
            pool_features(features.float(), pool, prefix_tokens)
            for features, (pool, prefix_tokens) in zip(self.tap(images), self._pools, strict=True)
        )


@contextmanager
def silence() -> Iterator[None]:
    """Keep in what capturing and compiling print, log and warn of; not for use while other threads run."""
    with quiet("torch", "torch.export", "torch.onnx", "onnxscript", "onnx_ir"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def noise(backbone: Backbone, n: int) -> npt.NDArray[np.uint8]:
    """Return `n` images of noise, the same every time, to compare engines by."""
    return np.random.default_rng(0).integers(0, 256, (n, *backbone.preprocessing.crop_size, 3), dtype=np.uint8)


def eager_rows(module: Callable[..., tuple[torch.Tensor, ...]], pixels: npt.NDArray[np.uint8]) -> Features:
    """Return what torch computes eagerly on a CPU."""
    with torch.inference_mode():
        return tuple(rows.numpy() for rows in module(torch.from_numpy(pixels)))


def capture(module: nn.Module, pixels: npt.NDArray[np.uint8], *, dynamic: bool) -> torch.export.ExportedProgram:
    """Return the graph of `module`, without what its outputs do not need.

    Parameters
    ----------
    module : torch.nn.Module
        Takes pixels alone.
    pixels : ndarray of shape (n, height, width, 3) and dtype uint8
        To run it on.
    dynamic : bool
        Whether the graph is to take any number of images, which it then does if the network lets it; else it
        takes as many as there are in `pixels`.

    Raises
    ------
    EngineError
        If the network cannot be captured.
    """
    shapes = ({0: torch.export.Dim.AUTO},) if dynamic else None
    try:
        with silence(), torch.no_grad():
            return torch.export.export(module, (torch.from_numpy(pixels),), dynamic_shapes=shapes, strict=False)
    except Exception as error:  # networks and the capturing raise every kind of exception here
        raise EngineError(f"torch.export cannot capture the network ({first_line(error)}): use engine torch") from error
