"""Nodes: the places in a network whose output can be kept.

A node is the output of a module, named as ``named_modules()`` names it. A module that is called more than
once gives ``name``, ``name_1``, ``name_2`` ... in the order of the calls; ``name.input`` is what a module is
given, and ``output`` is what the whole network returns. Nodes are found by running the network once, so
networks with control flow in their ``forward`` have them too.
"""

import contextlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from featx.errors import BackboneError, NodeError, did_you_mean

__all__ = ["OUTPUT", "FeatureTap", "Node", "find_node", "last_map", "list_nodes"]

OUTPUT = "output"


@dataclass(frozen=True, slots=True)
class Node:
    """One place in a network whose output can be kept.

    Parameters
    ----------
    name : str
        What ``--layer`` takes.
    shape : tuple of int
        Shape of one sample's output, channels last: ``(c,)``, ``(h, w, c)`` or ``(l, c)`` for tokens.
    axes : str
        ``"NC"``, ``"NHWC"`` or ``"NLC"``: the meaning of the axes of a stored batch.
    channels_first : bool
        Whether the network itself gives NCHW.
    module : str
        The module that gives it, as ``named_modules()`` names it.
    call : int
        Which call of that module, from 0; -1 for what the module is given.
    kind : str
        Class name of the module.
    """

    name: str
    shape: tuple[int, ...]
    axes: str
    channels_first: bool
    module: str
    call: int
    kind: str


def _first_tensor(value: Any) -> torch.Tensor | None:
    """Return `value`, or its first element where it is a tuple or list, if that is a tensor."""
    if isinstance(value, (tuple, list)) and value:
        value = value[0]
    return value if isinstance(value, torch.Tensor) else None


def _describe(shape: Sequence[int]) -> tuple[tuple[int, ...], str, bool] | None:
    """Return (channels-last shape, axes, channels_first) of one sample's output, None if it has no such form.

    Networks say nowhere which axis holds the channels. On square images the two spatial axes are equal, and
    that tells; where all three are equal, channels first is what torch networks do.
    """
    match tuple(shape):
        case (c,):
            return (c,), "NC", False
        case (length, c):
            return (length, c), "NLC", False
        case (h, w, c) if h == w != c:
            return (h, w, c), "NHWC", False
        case (c, h, w):
            return (h, w, c), "NHWC", True
    return None


def list_nodes(network: nn.Module, image_size: tuple[int, int], *, name: str = "the network") -> list[Node]:
    """Return the nodes of `network` in the order in which they are computed.

    Parameters
    ----------
    network : torch.nn.Module
        In eval mode, taking float tensors of shape (n, 3, height, width).
    image_size : tuple of int
        Height and width of the images to try it with.
    name : str
        What to call the network in an error.

    Raises
    ------
    BackboneError
        If the network does not take images of that size.
    """
    taken = {module_name for module_name, _ in network.named_modules()} | {OUTPUT}
    calls: Counter[str] = Counter()
    nodes: dict[str, Node] = {}
    batch = 2

    def record(node_name: str, module: nn.Module, module_name: str, call: int, value: Any) -> None:
        tensor = _first_tensor(value)
        if tensor is None or tensor.ndim < 2 or tensor.shape[0] != batch or not tensor.is_floating_point():
            return
        described = _describe(tensor.shape[1:])
        if described is not None:
            shape, axes, channels_first = described
            kind = type(module).__name__
            nodes[node_name] = Node(node_name, shape, axes, channels_first, module_name, call, kind)

    def on_input(module_name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Any, ...]) -> None:
            if calls[module_name] == 0:
                record(f"{module_name}.input", module, module_name, -1, args)

        return hook

    def on_output(module_name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            call = calls[module_name]
            calls[module_name] += 1
            node_name = module_name or OUTPUT
            if call:
                suffix = call
                while f"{module_name}_{suffix}" in taken:
                    suffix += 1
                node_name = f"{module_name}_{suffix}"
                taken.add(node_name)
            record(node_name, module, module_name, call, output)

        return hook

    handles = []
    for module_name, module in network.named_modules():
        if module_name:
            handles.append(module.register_forward_pre_hook(on_input(module_name)))
        handles.append(module.register_forward_hook(on_output(module_name)))
    weight = next(network.parameters(), torch.empty(0))
    try:
        with torch.inference_mode():
            network(torch.zeros(batch, 3, *image_size, device=weight.device, dtype=weight.dtype))
    except (RuntimeError, ValueError, AssertionError, TypeError, IndexError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise BackboneError(
            f"{name} does not take images of {image_size[1]}x{image_size[0]} pixels ({reason}):"
            " give another image_size, or leave it out for the size its weights were trained with"
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    return list(nodes.values())


def find_node(nodes: Sequence[Node], layer: str, *, name: str) -> Node:
    """Return the node called `layer`; raise NodeError, with the nearest name, if there is none."""
    for node in nodes:
        if node.name == layer:
            return node
    hint = did_you_mean(layer, [node.name for node in nodes])
    raise NodeError(f"layer {layer!r} is no node of {name}{hint} (`featx layers {name}` lists them)")


def last_map(nodes: Sequence[Node], before: str) -> Node | None:
    """Return the last node before another that has places to pool over: a feature map or a token sequence."""
    names = [node.name for node in nodes]
    nodes = nodes[: names.index(before)] if before in names else nodes
    maps = [node for node in nodes if len(node.shape) > 1 and max(node.shape[:-1]) > 1 and node.call >= 0]
    return maps[-1] if maps else None


class _AllTaken(Exception):
    """Raised inside the network once the last wanted node is there, so that nothing more is computed."""


class FeatureTap(nn.Module):
    """A network that returns the outputs of chosen nodes, and computes nothing after the last of them.

    Parameters
    ----------
    network : torch.nn.Module
        The whole network; it is not changed, beyond the hooks that listen on it.
    nodes : sequence of Node
        In the order in which the outputs are wanted.
    """

    def __init__(self, network: nn.Module, nodes: Sequence[Node]) -> None:
        super().__init__()
        self.network = network
        self.nodes = tuple(nodes)
        self._calls: Counter[str] = Counter()
        self._taken: dict[tuple[str, int], torch.Tensor] = {}
        self._wanted = {(node.module, node.call) for node in nodes}
        modules = dict(network.named_modules())
        for name in {node.module for node in nodes}:
            modules[name].register_forward_pre_hook(self._hook_input(name))
            modules[name].register_forward_hook(self._hook_output(name))

    def _take(self, name: str, call: int, value: Any) -> None:
        if (name, call) in self._wanted and (name, call) not in self._taken:
            tensor = _first_tensor(value)
            assert tensor is not None  # list_nodes saw a tensor here
            complete = len(self._taken) + 1 == len(self._wanted)
            # What is computed after this node could change its output in place (an in-place ReLU, say).
            self._taken[name, call] = tensor if complete else tensor.clone()
            if complete:
                raise _AllTaken

    def _hook_input(self, name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Any, ...]) -> None:
            if self._calls[name] == 0:
                self._take(name, -1, args)

        return hook

    def _hook_output(self, name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            call = self._calls[name]
            self._calls[name] += 1
            self._take(name, call, output)

        return hook

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return one tensor per node, channels last, for float images of shape (n, 3, h, w)."""
        self._calls.clear()
        self._taken.clear()
        with contextlib.suppress(_AllTaken):
            self.network(images)
        outputs = []
        for node in self.nodes:
            tensor = self._taken[node.module, node.call]
            outputs.append(tensor.permute(0, 2, 3, 1) if node.channels_first else tensor)
        self._taken.clear()
        return tuple(outputs)
