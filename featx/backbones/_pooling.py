"""From a node's output to a row: the poolings."""

from typing import get_args

import torch

from featx.backbones._nodes import Node
from featx.errors import NodeError, ParameterError
from featx.spec import Pool

__all__ = ["GEM_EPS", "GEM_P", "pool_features", "pooled_shape", "resolve_pool"]

POOLS = get_args(Pool)
GEM_P = 3.0
GEM_EPS = 1e-6


def resolve_pool(node: Node, pool: str | None) -> str:
    """Return the pooling that really takes place, so that equal numbers have equal specs.

    Parameters
    ----------
    node : Node
        What is pooled.
    pool : str or None
        What was asked for; None for the default: the class token where there is one, else the average.

    Raises
    ------
    NodeError
        If the node's output has nothing that this pooling could act on.
    ParameterError
        If there is no such pooling.
    """
    if pool is not None and pool not in POOLS:
        raise ParameterError(f"pool must be one of {', '.join(POOLS)}; got {pool!r}")
    if node.axes == "NC":
        if pool in ("gem", "cls"):
            raise NodeError(
                f"pool {pool!r} needs a feature map or tokens, but layer {node.name!r} gives a vector of"
                f" {node.shape[0]}: leave pool out, or choose an earlier layer"
            )
        return "none"
    if pool is None:
        return "cls" if node.prefix_tokens else "avg"
    if pool == "cls" and not node.prefix_tokens:
        raise NodeError(f"pool 'cls' needs a class token, but layer {node.name!r} has none: use avg, max or gem")
    return pool


def pooled_shape(node: Node, pool: str) -> tuple[tuple[int, ...], str]:
    """Return the shape of one row and the axes of a batch of them, for a pooling from `resolve_pool`."""
    if pool == "none":
        return node.shape, node.axes
    if pool == "flatten":
        size = 1
        for length in node.shape:
            size *= length
        return (size,), "NC"
    return (node.shape[-1],), "NC"


def pool_features(features: torch.Tensor, pool: str, prefix_tokens: int) -> torch.Tensor:
    """Pool a batch of one node's outputs.

    Parameters
    ----------
    features : torch.Tensor of shape (n, c), (n, h, w, c) or (n, l, c)
        Channels last.
    pool : {"avg", "max", "gem", "cls", "flatten", "none"}
        ``gem`` is the generalised mean with p = 3 of Radenović, Tolias and Chum, "Fine-tuning CNN image
        retrieval with no human annotation", TPAMI 2018.
    prefix_tokens : int
        Tokens at the start of a sequence that stand for no place in the image; the averages leave them out.

    Returns
    -------
    torch.Tensor of shape (n, c), (n, h * w * c), or as `features` for ``none``
    """
    if pool == "none":
        return features
    if pool == "flatten":
        return features.flatten(1)
    if pool == "cls":
        return features[:, 0]
    places = features[:, prefix_tokens:] if features.ndim == 3 else features.flatten(1, 2)
    if pool == "avg":
        return places.mean(1)
    if pool == "max":
        return places.amax(1)
    return places.clamp(min=GEM_EPS).pow(GEM_P).mean(1).pow(1 / GEM_P)
