"""A backbone: a frozen network, the weights it has, and their preprocessing, as one object."""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from featx._quiet import quiet
from featx.backbones._nodes import OUTPUT, Node, early_map, find_node, last_map, list_nodes
from featx.backbones._own import own_factory, own_network
from featx.backbones._registry import AS_BUILT, Architecture, resolve_name
from featx.backbones._tuned import find_network
from featx.backbones._weights import (
    classes_in,
    digest_weights,
    is_weights_file,
    load_into,
    parse_seed,
    read_state_dict,
)
from featx.errors import BackboneError, FeatxError, NodeError, WeightsError, WeightsUnavailableError, first_line
from featx.spec import DEFAULT_BACKBONE, Preprocessing

__all__ = ["DEFAULT_BACKBONE", "Backbone", "describe_layers", "load_backbone"]


@dataclass(frozen=True, eq=False)
class Backbone:
    """A frozen network with the weights it has and the preprocessing those were trained with.

    Made by :func:`load_backbone`.

    Parameters
    ----------
    name : str
        Qualified name, such as ``torchvision:resnet50`` or ``mymodule:mynet``.
    network : torch.nn.Module
        In eval mode, without gradients.
    preprocessing : Preprocessing
        What turns a decoded image into the network's input.
    origin : str or None
        Where the weights came from, in the form that `load_backbone` takes: a tag, the path of a file,
        ``random:SEED``; None where the network came with its weights.
    classifier : str or None
        Name of the module whose input is the default layer; None if the network's output is.
    prefix_tokens : int
        Tokens before those of the patches in a transformer's sequences.
    native_size : tuple of int
        Height and width of the images that the weights were trained with.
    reloadable : bool
        Whether `name` and `origin` are enough to load it again; they are not for a network that was given as such.
    """

    name: str
    network: nn.Module
    preprocessing: Preprocessing
    origin: str | None
    classifier: str | None
    prefix_tokens: int
    native_size: tuple[int, int] = field(repr=False)
    reloadable: bool = field(default=True, repr=False)

    @cached_property
    def weights(self) -> str:
        """SHA-256 hex digest of the tensors in the network."""
        return digest_weights(self.network)

    @cached_property
    def nodes(self) -> list[Node]:
        """All nodes, in the order of computation, with their shapes for this preprocessing's images."""
        return self._list_nodes(self.preprocessing.crop_size)

    def _list_nodes(self, image_size: tuple[int, int]) -> list[Node]:
        return list_nodes(self.network, image_size, name=self.name, prefix_tokens=self.prefix_tokens)

    @property
    def leaves(self) -> list[Node]:
        """The first outputs of the modules without children, in the order of computation: what an index counts."""
        return [node for node in self.nodes if node.call == 0 and node.is_leaf]

    @property
    def default_layer(self) -> str:
        """Name of the node that is kept when none is asked for: what the classifier is given."""
        return f"{self.classifier}.input" if self.classifier else OUTPUT

    @cached_property
    def default_map(self) -> str:
        """Name of the node that is pooled when only a pooling is asked for.

        The default layer if it has places to pool over, else the last node before it that has, at the size
        that the weights were trained with.
        """
        node = last_map(*self._native_nodes(), self.default_layer)
        if node is None:
            raise NodeError(f"{self.name} has no feature map or tokens to pool: leave pool out, or name a layer")
        return node.name

    def _native_nodes(self) -> tuple[tuple[int, int], list[Node]]:
        """Return the size that the weights were trained with, or the one the network was built for, and its nodes."""
        if self.preprocessing.crop_size != self.native_size:
            with suppress(BackboneError):
                return self.native_size, self._list_nodes(self.native_size)
        return self.preprocessing.crop_size, self.nodes

    @cached_property
    def early_map(self) -> str | None:
        """Name of a layer whose features may serve images unlike those of the weights; None if there is none such."""
        node = early_map(self.preprocessing.crop_size, self.nodes)
        return None if node is None else node.name

    def depth(self, layer: str) -> float:
        """Return how much of the network is computed by the time that `layer` is: the share of the nodes up to it."""
        return (1 + self.nodes.index(self.node(layer))) / len(self.nodes)

    def node(self, layer: str | None = None, pool: str | None = None) -> Node:
        """Return the node `layer`; without a layer, the default one for that pooling.

        Raises
        ------
        NodeError
            If there is no such node.
        """
        if layer is None:
            layer = self.default_layer if pool is None else self.default_map
        return find_node(self.nodes, layer, name=self.name)


def _pretrained(architecture: Architecture) -> nn.Module:
    """Build with the pretrained weights; where they cannot be had, say which file, where, and the ways on."""
    file = "give a state dict with weights=FILE (--weights FILE)"
    default = f"use the default backbone {DEFAULT_BACKBONE}, which needs no download"
    if architecture.tag is None:
        raise WeightsUnavailableError(
            f"{architecture.name} has no pretrained weights: {file}, ask for untrained ones by name with"
            f" weights=random:SEED, or {default}"
        )
    try:
        with quiet("timm", "huggingface_hub"):
            return architecture.build(True, None)
    except FeatxError:
        raise
    except Exception as error:  # every hub and its HTTP client raise other types here
        raise WeightsUnavailableError(
            f"the weights {architecture.tag} of {architecture.name} cannot be had ({architecture.location}:"
            f" {first_line(error)}): {file}, or {default}"
        ) from error


def _from_file(architecture: Architecture, path: str) -> nn.Module:
    """Build for the weights in a file, with as many classes as those have."""
    state = read_state_dict(path)
    state = {key: value for key, value in state.items() if key.split(".")[0] not in architecture.training_only}
    network = architecture.build(False, None)
    num_classes = classes_in(state, network)
    if num_classes is not None:
        network = architecture.build(False, num_classes)
    if network.state_dict().keys() != state.keys():
        architecture.trim(network)  # as a network was that featx has trained further
    load_into(network, state, path=path, name=architecture.name)
    return network


def _seeded(seed: int, build: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed those of the GPUs, too
        return build()


def _find_architecture(backbone: str | nn.Module, tag: str | None, image_size: int | None) -> Architecture:
    provider, prefix, name = (None, "", "") if isinstance(backbone, nn.Module) else resolve_name(backbone)
    if provider is None and tag is not None:
        raise WeightsError(
            f"weights of a network of your own must be a file that is there, or random:SEED; got {tag!r}"
        )
    if isinstance(backbone, nn.Module):
        return own_network(backbone)
    if provider is None:
        return own_factory(prefix, name)
    return provider.architecture(name, tag, image_size)


def load_backbone(
    backbone: "str | nn.Module | Backbone" = DEFAULT_BACKBONE,
    *,
    weights: str | os.PathLike[str] | None = None,
    preprocessing: Preprocessing | None = None,
    image_size: int | None = None,
    resize: str | None = None,
    interpolation: str | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    decode: str | None = None,
) -> Backbone:
    """Load a frozen network with its weights and their preprocessing.

    Parameters
    ----------
    backbone : str, torch.nn.Module or Backbone
        A name from :func:`list_backbones`, with or without its prefix; ``MODULE:FUNCTION`` for a factory of
        your own that returns a network; or a network, of which a frozen copy is used. A network of your own
        may say how it wants its images in an attribute ``preprocessing`` (a :class:`Preprocessing`). The folder of
        a run of :func:`featx.fine_tune` stands for the network that was trained in it. A backbone that is loaded
        already is taken as it is, but for changes to its preprocessing.
    weights : str, path or None
        Tag of pretrained weights, file of a state dict (loaded strictly), or ``random:SEED``. None for the
        default pretrained ones, or for those that your own network has.
    preprocessing : Preprocessing, optional
        Instead of what the weights were trained with.
    image_size, resize, interpolation, mean, std, decode
        Changes to the preprocessing, see :meth:`Preprocessing.changed`.

    Returns
    -------
    Backbone

    Raises
    ------
    BackboneError
        If the backbone is unknown.
    WeightsError
        If the weights do not fit, naming the keys.
    WeightsUnavailableError
        If they cannot be found or downloaded.
    """
    changes: dict[str, Any] = {
        "image_size": image_size,
        "resize": resize,
        "interpolation": interpolation,
        "mean": mean,
        "std": std,
        "decode": decode,
    }
    if isinstance(backbone, Backbone):
        _refuse_weights(weights, "a backbone that is loaded")
        return replace(backbone, preprocessing=(preprocessing or backbone.preprocessing).changed(**changes))
    tuned = find_network(backbone)
    if tuned is not None:
        _refuse_weights(weights, "a tuned network")
        backbone, weights = tuned.backbone, tuned.weights
        preprocessing = preprocessing or tuned.preprocessing
        image_size = changes["image_size"] = image_size or preprocessing.side
    origin = None if weights is None else os.fspath(weights)
    seed = None if origin is None else parse_seed(origin)
    file = str(Path(origin).resolve()) if origin and seed is None and is_weights_file(origin) else None
    tag = origin if seed is None and file is None else None

    architecture = _find_architecture(backbone, tag, image_size)
    if seed is not None:
        network = _seeded(seed, lambda: architecture.build(False, None))
    elif file is not None:
        network = _from_file(architecture, file)
    else:
        network = _pretrained(architecture)

    architecture.trim(network)
    trained_with = preprocessing or getattr(network, "preprocessing", architecture.preprocessing)
    if not isinstance(trained_with, Preprocessing):
        raise BackboneError(
            f"the attribute preprocessing of {architecture.name} must be a featx.Preprocessing;"
            f" got {type(trained_with).__name__}"
        )
    return Backbone(
        name=architecture.name,
        network=network.float().eval().requires_grad_(False),  # the precision is the engine's to choose
        preprocessing=trained_with.changed(**changes),
        origin=file or (origin if seed is not None else None if architecture.tag == AS_BUILT else architecture.tag),
        classifier=architecture.classifier(network),
        prefix_tokens=architecture.prefix_tokens(network),
        native_size=trained_with.crop_size,
        reloadable=isinstance(backbone, str),
    )


def _refuse_weights(weights: object, what: str) -> None:
    if weights is not None:
        raise WeightsError(f"weights are in {what} already; got {str(weights)!r} beside it: leave them out")


def describe_layers(backbone: str, *, image_size: int | None = None) -> tuple[list[Node], str, str | None]:
    """Return the nodes of a backbone, without its weights: they do not depend on them.

    Parameters
    ----------
    backbone : str
        As :func:`load_backbone` takes it.
    image_size : int, optional
        By default that of the backbone's weights.

    Returns
    -------
    nodes : list of Node
        In the order of computation.
    default : str
        Name of the one that is kept when none is asked for.
    default_map : str or None
        Name of the one that is pooled when only a pooling is asked for; None if there is no map.
    """
    tuned = find_network(backbone)
    if tuned is None:
        loaded = load_backbone(backbone, weights="random:0", image_size=image_size)
    else:
        loaded = load_backbone(backbone, image_size=image_size)
    try:
        default_map = loaded.default_map
    except NodeError:
        default_map = None
    return loaded.nodes, loaded.default_layer, default_map
