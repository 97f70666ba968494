"""Engines: what runs a backbone on a batch of pixels."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from featx.backbones import Backbone, FeatureTap, pool_features
from featx.errors import ParameterError
from featx.extraction._loop import ENGINE_NAMES
from featx.extraction._outputs import Output

__all__ = ["ENGINES", "TorchEngine", "resolve_device", "resolve_precision"]

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def resolve_device(device: str) -> str:
    """Return ``cpu``, ``cuda`` or ``cuda:N`` for what was asked; ``auto`` takes a GPU where there is one."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, index = device.partition(":")
    if kind not in ("cpu", "cuda") or (index and not index.isdecimal()):
        raise ParameterError(f"device must be auto, cpu, cuda or cuda:N; got {device!r}")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise ParameterError(
            f"device {device!r} is not there: torch {torch.__version__} sees {torch.cuda.device_count()} GPUs;"
            " use device auto or cpu"
        )
    return device


def resolve_precision(precision: str, device: str) -> str:
    """Return the precision that ``auto`` means: bf16 on a GPU that has it, fp32 elsewhere."""
    if precision != "auto":
        return precision
    return "bf16" if device.startswith("cuda") and torch.cuda.is_bf16_supported() else "fp32"


def _memory_format(network: nn.Module, device: str) -> torch.memory_format:
    """Return channels-last, the faster one, but where it costs digits.

    Torch's group norm on a CPU sums squares in one pass over channels-last memory: of values far from zero
    there is no fifth digit left.
    """
    grouped = any(isinstance(module, nn.GroupNorm) for module in network.modules())
    return torch.contiguous_format if grouped and torch.device(device).type == "cpu" else torch.channels_last


class TorchEngine:
    """The network as torch runs it, eagerly, in channels-last memory.

    Parameters
    ----------
    backbone : Backbone
        Its network is moved to `device`.
    outputs : sequence of Output
        All of one precision and one stored dtype.
    device : str
        From :func:`resolve_device`.
    """

    name = "torch"

    def __init__(self, backbone: Backbone, outputs: Sequence[Output], *, device: str) -> None:
        self.device = device
        self._outputs = tuple(outputs)
        tap = FeatureTap(backbone.network, [output.node for output in outputs]).eval()
        self._memory = _memory_format(backbone.network, device)
        self._tap = tap.to(device=device, memory_format=self._memory)  # type: ignore[call-overload]
        self._precision = _DTYPES[outputs[0].spec.precision]
        self._mean = torch.tensor(backbone.preprocessing.mean, device=device).view(3, 1, 1)
        self._std = torch.tensor(backbone.preprocessing.std, device=device).view(3, 1, 1)

    def __call__(self, pixels: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[Any], ...]:
        """Return one array (n, ...) per output for pixels of shape (n, height, width, 3)."""
        with (
            torch.inference_mode(),
            torch.autocast(
                torch.device(self.device).type,
                dtype=self._precision,
                enabled=self._precision is not torch.float32,
            ),
        ):
            images = torch.from_numpy(pixels).to(self.device).permute(0, 3, 1, 2).contiguous(memory_format=self._memory)
            # The arithmetic of torchvision's ToTensor and Normalize, in their order.
            images = images.float().div(255).sub(self._mean).div(self._std)
            rows = []
            for output, features in zip(self._outputs, self._tap(images), strict=True):
                pooled = pool_features(features.float(), output.spec.pool, output.node.prefix_tokens)
                stored = pooled.half() if output.spec.dtype == "float16" else pooled
                rows.append(np.ascontiguousarray(stored.cpu().numpy()))
            return tuple(rows)


ENGINES = {"torch": TorchEngine}
assert tuple(ENGINES) == ENGINE_NAMES
