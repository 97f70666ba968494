"""Which part of a network is trained, and where it is cut: told by one pass."""

import math
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from featx.backbones import Backbone, FeatureTap, Node
from featx.errors import NodeError, ParameterError, did_you_mean

__all__ = ["WHOLE", "Part", "choose_part", "count_statistics"]

WHOLE = ("all", "input")
"""Words that mean the whole network."""


@dataclass(frozen=True, slots=True)
class Part:
    """The part of a network that is trained.

    Attributes
    ----------
    parameters : tuple of str
        Names of those that are trained.
    modules : tuple of str
        Names of the modules that may be in training mode.
    frozen : tuple of str
        Names of the other parameters that what the head is given depends on.
    statistics : int
        Values that are kept beside the parameters, such as the means and variances of batch norms.
    candidates : tuple of Node
        Nodes that are complete before any of it begins, the last first.
    """

    parameters: tuple[str, ...]
    modules: tuple[str, ...]
    frozen: tuple[str, ...]
    statistics: int
    candidates: tuple[Node, ...]


def count_statistics(module: nn.Module) -> int:
    """Return how many numbers a module itself keeps beside its parameters; counters are none."""
    return sum(values.numel() for values in module.buffers(recurse=False) if values.ndim and values.is_floating_point())


class _Passing(TorchFunctionMode):
    """Notes when modules begin and end, and when each parameter is first used; time counts the modules begun."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.time = 0
        self.begun: dict[tuple[str, int], int] = {}
        self.ended: dict[tuple[str, int], int] = {}
        self.used: dict[str, int] = {}
        self._names = {id(parameter): name for name, parameter in network.named_parameters()}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for leaf in tree_leaves((args, kwargs)):
            if id(leaf) in self._names:
                self.used.setdefault(self._names[id(leaf)], self.time)
        return func(*args, **(kwargs or {}))

    def listen(self, network: nn.Module, stack: ExitStack) -> None:
        """Listen to all modules until `stack` is closed."""
        calls: Counter[str] = Counter()

        def listen_to(name: str, module: nn.Module) -> None:
            def begins(module: nn.Module, args: Any) -> None:
                self.time += 1
                self.begun[name, calls[name]] = self.time
                calls[name] += 1

            def ends(module: nn.Module, args: Any, output: Any) -> None:
                self.ended[name, calls[name] - 1] = self.time

            stack.callback(module.register_forward_pre_hook(begins).remove)
            stack.callback(module.register_forward_hook(ends).remove)

        for name, module in network.named_modules():
            listen_to(name, module)


def _pass(backbone: Backbone, node: Node) -> _Passing:
    """Run the network as far as `node`, as its nodes were found."""
    passing = _Passing(backbone.network)
    with ExitStack() as stack, torch.no_grad(), passing:
        passing.listen(backbone.network, stack)
        FeatureTap(backbone.network, [node])(torch.zeros(2, 3, *backbone.preprocessing.crop_size))
    if node.call < 0:
        del passing.begun[node.module, 0]  # it was only about to
    return passing


def choose_part(backbone: Backbone, node: Node, *, start: str | int | None = None, blocks: Sequence[str] = ()) -> Part:
    """Return the part that is trained.

    Parameters
    ----------
    backbone : Backbone
    node : Node
        The layer that the head is given.
    start : str or int, optional
        Name of a node or module, or the index of a module (see ``Backbone.leaves``): that and all that is computed
        after it. ``all`` or ``input`` for the whole network.
    blocks : sequence of str
        Instead, names of modules.

    Raises
    ------
    ParameterError
        Both or none are given, or nothing is left to be trained.
    NodeError
        There is no such node or module, or it is not reached before the head's layer.
    """
    if (start is None) == (not blocks):
        raise ParameterError(
            "what is trained must be said by the layer it starts from or by its blocks; got"
            f" {'neither' if start is None else 'both'}: give start (--from) or blocks (--train)"
        )
    passing = _pass(backbone, node)
    if start is None:
        inside = tuple(f"{block}." for block in blocks)
        trained = {name for name in passing.used if name.startswith(inside)}
        modules = [name for name, _ in backbone.network.named_modules() if f"{name}.".startswith(inside)]
        times = [_beginning(backbone, passing, block, node) for block in blocks]
        begin = min([*times, *(passing.used[name] for name in trained)])
    else:
        begin = 0 if start in WHOLE else _beginning(backbone, passing, start, node)
        trained = {name for name, time in passing.used.items() if time >= begin}
        modules = [name for (name, call), time in passing.begun.items() if call == 0 and time >= begin]
    if not trained:
        what = ", ".join(blocks) if start is None else start
        raise ParameterError(
            f"what is trained must have parameters that {node.name!r}, which the head is given, depends on; got"
            f" {what!r}, which has none: name an earlier layer"
        )
    names = [name for name, _ in backbone.network.named_parameters()]
    return Part(
        tuple(name for name in names if name in trained),
        tuple(modules),
        tuple(name for name in names if name in passing.used.keys() - trained),
        sum(count_statistics(backbone.network.get_submodule(name)) for name in {name for name, _ in passing.begun}),
        tuple(
            each
            for each in reversed(backbone.nodes)
            if each.call >= 0 and passing.ended.get((each.module, each.call), math.inf) < begin
        ),
    )


def _beginning(backbone: Backbone, passing: _Passing, name: str | int, node: Node) -> int:
    """Return when a node's module begins."""
    modules = {module for module, _ in backbone.network.named_modules() if module}
    if isinstance(name, int) or (name.isdecimal() and name not in modules):
        leaves = backbone.leaves
        if not 0 <= int(name) < len(leaves):
            raise NodeError(
                f"index {name} is none of the {len(leaves)} modules of {backbone.name}, which count from 0"
                f" (`featx layers {backbone.name}` lists them)"
            )
        name = leaves[int(name)].name
    by_name = {each.name: (each.module, max(each.call, 0)) for each in backbone.nodes}
    if name not in by_name and name not in modules:
        raise NodeError(
            f"layer {name!r} is no node of {backbone.name}{did_you_mean(name, by_name)}"
            f" (`featx layers {backbone.name}` lists them)"
        )
    found = passing.begun.get(by_name.get(name, (name, 0)))
    if found is None:
        raise NodeError(
            f"layer {name!r} is not computed before {node.name!r}, which the head is given: name an earlier one"
        )
    return found
