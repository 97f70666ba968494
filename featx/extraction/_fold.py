"""Folding batch norms into the convolutions before them: one pass over memory less for each."""

import copy
import sys
from collections import Counter
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from featx.backbones import FeatureTap

__all__ = ["fold_batch_norms"]

_RELATIVE = 1e-4
"""Of the largest value: how far folding may move what comes out."""


def _kinds(name: str, own: str) -> tuple[type[nn.Module], ...]:
    """Return torch's class of that name, and the one of timm that does the same: timm is loaded where it is used."""
    timm = sys.modules.get("timm.layers")
    return (getattr(nn, name), *([getattr(timm, own)] if timm else []))


class _Folded(nn.Module):
    """What is left of a batch norm: the modules in it that act after it, under their names."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        for name, child in norm.named_children():
            self.add_module(name, child)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for child in self.children():
            x = child(x)
        return x


class _Reads(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts how often operations read the watched tensors."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.watched: dict[int, torch.Tensor] = {}
        self.counts: Counter[int] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counts.update(id(value) for value in tree_leaves((args, kwargs)) if id(value) in self.watched)
        return func(*args, **(kwargs or {}))


def _find_pairs(tap: FeatureTap, images: torch.Tensor) -> tuple[list[tuple[str, str]], tuple[torch.Tensor, ...]]:
    """Return the names of convolutions and of the batch norms that alone read their outputs, and what `tap` gives.

    Each of a pair is called once. A tapped output is not read by the norm alone, as the tap copies it.
    """
    convolutions, norms = _kinds("Conv2d", "Conv2dSame"), _kinds("BatchNorm2d", "BatchNormAct2d")
    calls: Counter[str] = Counter()
    makers: dict[int, str] = {}
    found: list[tuple[str, str, int]] = []
    reads = _Reads()

    def after(name: str, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        calls[name] += 1
        if type(module) in convolutions:
            reads.watched[id(output)] = output
            makers[id(output)] = name
        elif args and id(args[0]) in makers and module.running_mean is not None:
            found.append((makers[id(args[0])], name, id(args[0])))

    with ExitStack() as stack:
        for name, module in tap.network.named_modules():
            if type(module) in convolutions + norms:
                stack.callback(module.register_forward_hook(partial(after, name)).remove)
        stack.enter_context(torch.no_grad())
        stack.enter_context(reads)
        rows = tap(images)
    pairs = [
        (convolution, norm)
        for convolution, norm, output in found
        if calls[convolution] == calls[norm] == reads.counts[output] == 1
    ]
    return pairs, rows


def fold_batch_norms(tap: FeatureTap, image_size: tuple[int, int]) -> FeatureTap:
    """Return a copy of `tap` with batch norms folded into convolutions; itself where that is not possible.

    Parameters
    ----------
    tap : FeatureTap
        In eval mode, on a CPU.
    image_size : tuple of int
        Height and width of the images.
    """
    images = torch.randn(2, 3, *image_size, generator=torch.Generator().manual_seed(0))
    pairs, expected = _find_pairs(tap, images)
    if not pairs:
        return tap
    folded = copy.deepcopy(tap)
    for convolution_name, norm_name in pairs:
        convolution, norm = map(folded.network.get_submodule, (convolution_name, norm_name))
        assert isinstance(convolution, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        convolution.weight, convolution.bias = fuse_conv_bn_weights(
            convolution.weight,
            convolution.bias,
            norm.running_mean,  # type: ignore[arg-type]  # they are there, or there would be no pair
            norm.running_var,  # type: ignore[arg-type]
            norm.eps,
            norm.weight,
            norm.bias,
        )
        parent, _, name = norm_name.rpartition(".")
        setattr(folded.network.get_submodule(parent), name, _Folded(norm))
    with torch.no_grad():
        try:
            given = folded(images)
        except Exception:  # code that looks into its batch norms finds none
            return tap
    return folded if all(map(_near, given, expected)) else tap


def _near(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.shape == b.shape and bool((a - b).abs().max() <= _RELATIVE * b.abs().max())
