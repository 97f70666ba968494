"""Backbones: frozen networks with their weights and preprocessing, and the nodes that can be kept.

What needs torch is imported when it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from featx.backbones._tuned import NETWORK_FILE, TunedNetwork, find_network, network_bytes

if TYPE_CHECKING:
    from featx.backbones._backbone import DEFAULT_BACKBONE, Backbone, describe_layers, load_backbone
    from featx.backbones._nodes import FeatureTap, Node, list_nodes
    from featx.backbones._pooling import pool_features, pooled_shape, resolve_pool
    from featx.backbones._registry import list_backbones, list_weights

__all__ = [
    "DEFAULT_BACKBONE",
    "NETWORK_FILE",
    "Backbone",
    "FeatureTap",
    "Node",
    "TunedNetwork",
    "describe_layers",
    "find_network",
    "list_backbones",
    "list_nodes",
    "list_weights",
    "load_backbone",
    "network_bytes",
    "pool_features",
    "pooled_shape",
    "resolve_pool",
]

_PROVIDERS = ("_embedded", "_small_cnn", "_torchvision", "_timm")
"""They register themselves."""

_WITH_TORCH = {
    **dict.fromkeys(("DEFAULT_BACKBONE", "Backbone", "describe_layers", "load_backbone"), "_backbone"),
    **dict.fromkeys(("FeatureTap", "Node", "list_nodes"), "_nodes"),
    **dict.fromkeys(("pool_features", "pooled_shape", "resolve_pool"), "_pooling"),
    **dict.fromkeys(("list_backbones", "list_weights"), "_registry"),
}


def __getattr__(name: str) -> Any:
    if name not in _WITH_TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    for module in _PROVIDERS:
        import_module(f"featx.backbones.{module}")
    return getattr(import_module(f"featx.backbones.{_WITH_TORCH[name]}"), name)
