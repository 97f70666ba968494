"""Backbones: frozen networks with their weights and preprocessing, and the nodes that can be kept."""

from featx.backbones import _embedded, _small_cnn, _timm, _torchvision  # noqa: F401  # they register themselves
from featx.backbones._backbone import DEFAULT_BACKBONE, Backbone, describe_layers, load_backbone
from featx.backbones._nodes import FeatureTap, Node, list_nodes
from featx.backbones._pooling import pool_features, pooled_shape, resolve_pool
from featx.backbones._registry import list_backbones, list_weights

__all__ = [
    "DEFAULT_BACKBONE",
    "Backbone",
    "FeatureTap",
    "Node",
    "describe_layers",
    "list_backbones",
    "list_nodes",
    "list_weights",
    "load_backbone",
    "pool_features",
    "pooled_shape",
    "resolve_pool",
]
