"""Poolings against plain numpy, and which are allowed where."""

import numpy as np
import pytest
import torch

from featx.backbones import Node, pool_features, pooled_shape, resolve_pool
from featx.errors import NodeError

RNG = np.random.default_rng(0)
MAP = RNG.normal(size=(3, 4, 5, 6)).astype(np.float32)
SEQUENCE = RNG.normal(size=(3, 7, 6)).astype(np.float32)


def node(shape, axes, prefix_tokens=0):
    return Node("layer", shape, axes, False, "layer", 0, "Module", prefix_tokens)


MAP_NODE, SEQUENCE_NODE = node((4, 5, 6), "NHWC"), node((7, 6), "NLC")
CLASS_NODE, VECTOR_NODE = node((7, 6), "NLC", 2), node((6,), "NC")


def gem(places):
    return (np.maximum(places.astype(np.float64), 1e-6) ** 3).mean(1) ** (1 / 3)


@pytest.mark.parametrize(
    ("features", "prefix", "places"),
    [(MAP, 0, MAP.reshape(3, 20, 6)), (SEQUENCE, 0, SEQUENCE), (SEQUENCE, 2, SEQUENCE[:, 2:])],
    ids=["map", "sequence", "sequence with prefix"],
)
@pytest.mark.parametrize(
    ("pool", "formula"),
    [("avg", lambda places: places.mean(1)), ("max", lambda places: places.max(1)), ("gem", gem)],
)
def test_pools_over_places(features, prefix, places, pool, formula):
    got = pool_features(torch.from_numpy(features), pool, prefix).numpy()
    np.testing.assert_allclose(got, formula(places), rtol=1e-5, atol=1e-6)


def test_cls_flatten_and_none():
    tokens, maps = torch.from_numpy(SEQUENCE), torch.from_numpy(MAP)
    np.testing.assert_array_equal(pool_features(tokens, "cls", 2), SEQUENCE[:, 0])
    np.testing.assert_array_equal(pool_features(maps, "flatten", 0), MAP.reshape(3, -1))
    np.testing.assert_array_equal(pool_features(tokens, "flatten", 2), SEQUENCE.reshape(3, -1))
    np.testing.assert_array_equal(pool_features(maps, "none", 0), MAP)
    np.testing.assert_array_equal(pool_features(maps[:, 0, 0], "none", 0), MAP[:, 0, 0])


@pytest.mark.parametrize(
    ("where", "features", "pools"),
    [
        (MAP_NODE, MAP, ["avg", "max", "gem", "flatten", "none"]),
        (CLASS_NODE, SEQUENCE, ["avg", "max", "gem", "cls", "flatten", "none"]),
        (VECTOR_NODE, MAP[:, 0, 0], ["avg", "max", "flatten", "none"]),
    ],
    ids=["map", "sequence", "vector"],
)
def test_the_shape_foretold_is_the_shape_that_comes(where, features, pools):
    for pool in pools:
        resolved = resolve_pool(where, pool)
        shape, axes = pooled_shape(where, resolved)
        got = pool_features(torch.from_numpy(features), resolved, where.prefix_tokens)
        assert got.shape == (3, *shape)
        assert len(axes) == got.ndim


def test_defaults():
    assert resolve_pool(MAP_NODE, None) == "avg"
    assert resolve_pool(SEQUENCE_NODE, None) == "avg"
    assert resolve_pool(CLASS_NODE, None) == "cls"
    assert resolve_pool(VECTOR_NODE, None) == "none"


@pytest.mark.parametrize("pool", ["avg", "max", "flatten", "none"])
def test_on_a_vector_all_that_change_nothing_are_one(pool):
    assert resolve_pool(VECTOR_NODE, pool) == "none"


@pytest.mark.parametrize(
    ("where", "pool", "reason"),
    [
        (VECTOR_NODE, "gem", "pool 'gem' needs a feature map or tokens, but layer 'layer' gives a vector of 6"),
        (VECTOR_NODE, "cls", "pool 'cls' needs a feature map or tokens"),
        (MAP_NODE, "cls", "pool 'cls' needs a class token, but layer 'layer' has none"),
        (SEQUENCE_NODE, "cls", "pool 'cls' needs a class token, but layer 'layer' has none"),
    ],
)
def test_what_cannot_be_pooled_so(where, pool, reason):
    with pytest.raises(NodeError, match=reason):
        resolve_pool(where, pool)
