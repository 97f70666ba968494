"""The upper part of a network: from the activations at a cut to what a head is given, and on to its outputs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from typing import Any, Self

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_any, tree_map_only

from featx.backbones import FeatureTap, Node, pool_features
from featx.errors import NodeError

__all__ = ["Unreal", "Upper"]


class Unreal(TorchFunctionMode):
    """While it is on, what meets a tensor without data (on torch's ``meta`` device) has no data either.

    A network that is shown an image without data so computes nothing but shapes, whatever its control flow, with its
    parameters where they are.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call `func`."""
        kwargs = kwargs or {}
        if tree_any(_is_unreal, (args, kwargs)):
            args, kwargs = tree_map_only(
                torch.Tensor, lambda tensor: torch.empty_like(tensor, device="meta"), (args, kwargs)
            )
        return func(*args, **kwargs)


class _UnrealBelow(Unreal):
    """Refuses tensors without data once the pass has come to the cut."""

    def __init__(self, cut: Node) -> None:
        super().__init__()
        self.cut, self.passed = cut, False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = super().__torch_function__(func, types, args, kwargs)
        if self.passed and tree_any(_is_unreal, result):
            raise NodeError(
                f"layer {self.cut.name!r} is no place to cut the network, since what is computed after it needs more"
                " than its output: cut at an earlier or a later layer"
            )
        return result


def _is_unreal(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.is_meta


class Upper(nn.Module):
    """From pixels, or from the activations at a cut, through the rest of a network to the outputs of a head.

    Below the cut the network runs on images without data (see :class:`Unreal`), which costs no arithmetic, and is not
    repeated for as many images; the output of the cut's module is replaced by the activations given; from there on
    everything is real, until the head's layer is reached.

    Parameters
    ----------
    network : torch.nn.Module
        The whole network, of which nothing is copied.
    node : Node
        The layer whose output the head is given.
    pool : str
        How that becomes a row, see :func:`featx.backbones.resolve_pool`.
    head : torch.nn.Module
        From rows to outputs.
    image_size : tuple of int
        Height and width of the network's input.
    cut : Node or None
        Where the activations are taken; None for pixels.
    mean, std : tuple of float
        Per channel, for pixels scaled to 0..1.
    learning : sequence of torch.nn.Module
        The modules that are in training mode while the whole is; all others stay in evaluation mode.
    precision : {"fp32", "bf16"}
        Arithmetic, by autocast.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(
        self,
        network: nn.Module,
        node: Node,
        pool: str,
        head: nn.Module,
        *,
        image_size: tuple[int, int],
        cut: Node | None,
        mean: tuple[float, ...] = (0.0, 0.0, 0.0),
        std: tuple[float, ...] = (1.0, 1.0, 1.0),
        learning: Sequence[nn.Module] = (),
        precision: str = "fp32",
    ) -> None:
        super().__init__()
        self.tap, self.head = FeatureTap(network, [node]), head
        self.cut, self.precision = cut, precision
        self._node, self._pool, self._image_size = node, pool, image_size
        self._learning = tuple(learning)
        self._noted: dict[int, dict[str, list[Any]]] = {}
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)
        self.eval()

    def train(self, mode: bool = True) -> Self:
        """Set the mode of the head and of the modules that learn."""
        super().train(False)
        self.training = mode
        self.head.train(mode)
        for module in self._learning:
            module.training = mode
        return self

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        """Return outputs, float32 (n, k).

        Parameters
        ----------
        batch : Tensor of shape (n, *cut.shape), float; or (n, height, width, 3), uint8
            Activations as a store keeps them, or pixels where there is no cut.

        Raises
        ------
        NodeError
            If something from below the cut is needed beside its output.
        """
        with torch.autocast(batch.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            outputs: torch.Tensor = self.head(self.features(batch))
        return outputs.float()

    def features(self, batch: torch.Tensor) -> torch.Tensor:
        """Return what the head is given, (n, ...) float32."""
        if self.cut is None:
            images = batch.permute(0, 3, 1, 2).float().div(255).sub(self.mean).div(self.std)
            (features,) = self.tap(images)
        else:
            (features,) = self._from_cut(self.cut, batch)
        return pool_features(features.float(), self._pool, self._node.prefix_tokens)

    def _from_cut(self, cut: Node, batch: torch.Tensor) -> tuple[torch.Tensor, ...]:
        network, images = self.tap.network, torch.empty(len(batch), 3, *self._image_size, device="meta")
        noted = self._noted.get(len(batch))
        with ExitStack() as stack:
            below = stack.enter_context(_UnrealBelow(cut))
            if noted is None:
                noted = {}
                stack.enter_context(_noting(network, below, noted))
            else:
                stack.enter_context(_standing_in(network, noted))
            stack.enter_context(_replacing(network, cut, batch, below))
            taken: tuple[torch.Tensor, ...] = self.tap(images)
        self._noted[len(batch)] = noted
        return taken


@contextmanager
def _replacing(network: nn.Module, cut: Node, batch: torch.Tensor, below: _UnrealBelow) -> Iterator[None]:
    """Have the module of the cut give `batch` instead of what it computes."""
    real = batch.permute(0, 3, 1, 2) if cut.channels_first and batch.ndim == 4 else batch
    calls = count()

    def after(module: nn.Module, args: Any, output: Any) -> Any:
        if next(calls) != cut.call:
            return output
        below.passed = True
        return (real, *output[1:]) if isinstance(output, (tuple, list)) else real

    handle = network.get_submodule(cut.module).register_forward_hook(after)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _noting(network: nn.Module, below: _UnrealBelow, noted: dict[str, list[Any]]) -> Iterator[None]:
    """Note what each module gives, call by call, until the pass comes to the cut."""

    def note(name: str) -> Any:
        def after(module: nn.Module, args: Any, output: Any) -> None:
            if not below.passed:
                noted.setdefault(name, []).append(output)

        return after

    with ExitStack() as stack:
        for name, module in network.named_modules():
            stack.callback(module.register_forward_hook(note(name)).remove)
        yield
    for name in [name for name in noted if any(name.startswith(f"{other}.") for other in noted)]:
        del noted[name]  # what is within another is not called any more


@contextmanager
def _standing_in(network: nn.Module, noted: Mapping[str, Sequence[Any]]) -> Iterator[None]:
    """Have modules give what they gave before, without computing it; a call that was not noted is computed."""

    def instead(forward: Callable[..., Any], outputs: Iterator[Any]) -> Callable[..., Any]:
        def give(*args: Any, **kwargs: Any) -> Any:
            for output in outputs:
                return output
            return forward(*args, **kwargs)

        return give

    with ExitStack() as stack:
        for name, outputs in noted.items():
            module = network.get_submodule(name)
            module.forward = instead(module.forward, iter(outputs))
            stack.callback(delattr, module, "forward")
        yield
