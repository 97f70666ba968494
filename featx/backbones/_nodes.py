"""Nodes: the places in a network whose output can be kept.

A node is the output of a module, named as ``named_modules()`` names it. A module that is called more than
once gives ``name``, ``name_1``, ``name_2`` ... in the order of the calls; ``name.input`` is what a module is
given, and ``output`` is what the whole network returns. Nodes are found by running the network once, so
networks with control flow in their ``forward`` have them too.
"""

import contextlib
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from featx.errors import BackboneError, NodeError, did_you_mean, first_line

__all__ = ["OUTPUT", "FeatureTap", "Node", "early_map", "find_node", "last_map", "list_nodes"]

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
    prefix_tokens : int
        Tokens at the start of the sequence that stand for no place in the image (class token, registers).
    is_leaf : bool
        Whether the module has no modules in it.
    """

    name: str
    shape: tuple[int, ...]
    axes: str
    channels_first: bool
    module: str
    call: int
    kind: str
    prefix_tokens: int = 0
    is_leaf: bool = False


def _first_tensor(value: Any) -> torch.Tensor | None:
    """Return `value`, or its first element where it is a tuple or list, if that is a tensor."""
    if isinstance(value, (tuple, list)) and value:
        value = value[0]
    return value if isinstance(value, torch.Tensor) else None


def _describe(shape: Sequence[int], image_size: tuple[int, int]) -> tuple[tuple[int, ...], str, bool] | None:
    """Return (channels-last shape, axes, channels_first) of one sample's output, None if it has no such form.

    Networks say nowhere which axis holds the channels. A map has the proportions of the image, and that
    tells; where both readings have them, channels first is what torch networks do.
    """
    match tuple(shape):
        case (c,):
            return (c,), "NC", False
        case (length, c):
            return (length, c), "NLC", False
        case (x, y, z):
            height, width = image_size
            if abs(x * width - y * height) < abs(y * width - z * height):
                return (x, y, z), "NHWC", False
            return (y, z, x), "NHWC", True
    return None


@contextlib.contextmanager
def _listening(modules: Mapping[str, nn.Module], heard: Callable[[str, nn.Module, int, Any], None]) -> Iterator[None]:
    """Have ``heard(name, module, call, value)`` called for what the modules give, and first are given (call -1)."""
    calls: Counter[str] = Counter()

    def before(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Any, ...]) -> None:
            if calls[name] == 0:
                heard(name, module, -1, args)

        return hook

    def after(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            calls[name] += 1
            heard(name, module, calls[name] - 1, output)

        return hook

    with contextlib.ExitStack() as stack:
        for name, module in modules.items():
            stack.callback(module.register_forward_pre_hook(before(name)).remove)
            stack.callback(module.register_forward_hook(after(name)).remove)
        yield


def list_nodes(
    network: nn.Module, image_size: tuple[int, int], *, name: str = "the network", prefix_tokens: int = 0
) -> list[Node]:
    """Return the nodes of `network` in the order in which they are computed.

    Parameters
    ----------
    network : torch.nn.Module
        In eval mode, taking float tensors of shape (n, 3, height, width).
    image_size : tuple of int
        Height and width of the images to try it with.
    name : str
        What to call the network in an error.
    prefix_tokens : int
        Tokens that the network puts before those of the patches; a sequence has them if it is that much
        longer than what was computed before has places.

    Raises
    ------
    BackboneError
        If the network does not take images of that size.
    """
    modules = dict(network.named_modules())
    taken = {*modules, OUTPUT}
    nodes: dict[str, Node] = {}
    places: set[int] = set()
    batch = 2

    def name_of(module_name: str, call: int) -> str:
        if call < 0:
            return f"{module_name}.input"
        if call == 0:
            return module_name or OUTPUT
        suffix = call
        while f"{module_name}_{suffix}" in taken:
            suffix += 1
        taken.add(f"{module_name}_{suffix}")
        return f"{module_name}_{suffix}"

    def heard(module_name: str, module: nn.Module, call: int, value: Any) -> None:
        if not module_name and call < 0:
            return
        node_name = name_of(module_name, call)
        tensor = _first_tensor(value)
        if tensor is None or tensor.ndim < 2 or tensor.shape[0] != batch or not tensor.is_floating_point():
            return
        described = _describe(tensor.shape[1:], image_size)
        if described is not None:
            shape, axes, channels_first = described
            count = math.prod(shape[:-1])
            prefix = prefix_tokens if axes == "NLC" and count - prefix_tokens in places else 0
            places.add(count - prefix)
            kind = type(module).__name__
            is_leaf = not any(True for _ in module.children())
            nodes[node_name] = Node(node_name, shape, axes, channels_first, module_name, call, kind, prefix, is_leaf)

    device = next((parameter.device for parameter in network.parameters()), None)
    try:
        with torch.inference_mode(), _listening(modules, heard):
            network(torch.zeros(batch, 3, *image_size, device=device))
    except Exception as error:  # networks raise every kind of exception here
        raise BackboneError(
            f"{name} does not take images of {image_size[1]}x{image_size[0]} pixels ({first_line(error)}):"
            " give another image_size, or leave it out for the size its weights were trained with"
        ) from error
    return list(nodes.values())


def find_node(nodes: Sequence[Node], layer: str, *, name: str) -> Node:
    """Return the node called `layer`; raise NodeError, with the nearest name, if there is none."""
    for node in nodes:
        if node.name == layer:
            return node
    hint = did_you_mean(layer, [node.name for node in nodes])
    raise NodeError(f"layer {layer!r} is no node of {name}{hint} (`featx layers {name}` lists them)")


def _has_places(node: Node) -> bool:
    return math.prod(node.shape[:-1]) > 1


def _poolers(nodes: Sequence[Node], image_size: tuple[int, int], default: Node | None) -> set[str]:
    """Return the modules that turn a map into a vector, which the whole network and what wraps it are not."""
    maps = {node.module for node in nodes if node.call < 0 and _has_places(node) and node.shape != (*image_size, 3)}
    return {
        node.module
        for node in nodes
        if node.module in maps and node.call == 0 and not _has_places(node)
        if default is None or not f"{default.module}.".startswith(f"{node.module}.")
    }


def last_map(image_size: tuple[int, int], nodes: Sequence[Node], default: str) -> Node | None:
    """Return the node `default` or the last before it that has places to pool over; None if none has.

    What a pooling module (attention pooling, say) computes within is passed over.
    """
    names = [node.name for node in nodes]
    end = names.index(default) if default in names else len(nodes)
    if end < len(nodes) and _has_places(nodes[end]):
        return nodes[end]
    inside = tuple(f"{module}." for module in _poolers(nodes, image_size, nodes[end] if end < len(nodes) else None))
    for node in reversed(nodes[:end]):
        if node.call >= 0 and _has_places(node) and not node.module.startswith(inside):
            return node
    return None


def early_map(image_size: tuple[int, int], nodes: Sequence[Node]) -> Node | None:
    """Return where the network has seen details but not yet objects; None if there is no such map.

    That is the last map in the first half of the network that has a tenth of the image's height or more (an eighth, as
    networks go), or tokens. What is computed inside a block is passed over: of the modules around a node each must
    hold more than half of the network.
    """
    inside = Counter(part for node in nodes for part in _around(node.module))
    for node in reversed(nodes[: len(nodes) // 2]):
        fine = node.axes == "NLC" or (node.axes == "NHWC" and 10 * node.shape[0] >= image_size[0])
        in_trunk = all(2 * inside[part] > len(nodes) for part in _around(node.module))
        if node.call >= 0 and fine and in_trunk:
            return node
    return None


def _around(module: str) -> list[str]:
    """Return the names of the modules that one is in."""
    parts = module.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]


class _AllTaken(BaseException):
    """Raised inside the network once the last wanted node is there, so that nothing more is computed.

    No Exception: a network that handles those must not handle this.
    """


class FeatureTap(nn.Module):
    """A network that returns the outputs of chosen nodes, and computes nothing after the last of them.

    While ``torch.export`` captures it, the whole network runs: what is not needed falls out of the graph later.

    Parameters
    ----------
    network : torch.nn.Module
        The whole network. Hooks listen on it during a pass, and are gone afterwards.
    nodes : sequence of Node
        In the order in which the outputs are wanted.
    """

    def __init__(self, network: nn.Module, nodes: Sequence[Node]) -> None:
        super().__init__()
        self.network = network
        self.nodes = tuple(nodes)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return one tensor per node, channels last, for float images of shape (n, 3, h, w).

        Raises
        ------
        NodeError
            If a node is not reached, or its shape is not the one it was listed with.
        """
        capturing = torch.compiler.is_exporting()
        wanted = {(node.module, node.call) for node in self.nodes}
        taken: dict[tuple[str, int], torch.Tensor | None] = {}

        def heard(name: str, module: nn.Module, call: int, value: Any) -> None:
            if (name, call) in wanted:
                tensor = _first_tensor(value)
                complete = not capturing and len(taken) + 1 == len(wanted)
                # What is computed after this node could change its output in place (an in-place ReLU, say).
                taken[name, call] = tensor if complete or tensor is None else tensor.clone()
                if complete:
                    raise _AllTaken

        tapped = {node.module: self.network.get_submodule(node.module) for node in self.nodes}
        with contextlib.suppress(_AllTaken), _listening(tapped, heard):
            self.network(images)
        # Asking for the number of images in a capture would make a constant of it.
        n = None if capturing else len(images)
        return tuple(_channels_last(node, taken.get((node.module, node.call)), n) for node in self.nodes)


def _channels_last(node: Node, tensor: torch.Tensor | None, n: int | None) -> torch.Tensor:
    """Return the output of `node` with its channels last; raise NodeError if it is not that, or not of `n` images."""
    if tensor is not None and node.channels_first and tensor.ndim == 4:
        tensor = tensor.permute(0, 2, 3, 1)
    if tensor is None or tensor.shape[1:] != node.shape or n not in (None, tensor.shape[0]):
        given = "nothing" if tensor is None else f"a tensor of shape {tuple(tensor.shape)}"
        count = "all" if n is None else n
        raise NodeError(
            f"layer {node.name!r} gives {given} for {count} images and not {node.shape} for each, as it did when it was"
            " listed: choose a layer that is computed alike for all images"
        )
    return tensor
