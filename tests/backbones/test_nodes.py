"""Nodes: which there are, what they are called, and that a tap gives exactly what plain hooks see."""

import pytest
import torch
from torch import nn

from featx.backbones import FeatureTap, list_nodes
from featx.backbones._nodes import find_node, last_map
from featx.errors import BackboneError, NodeError
from tests.backbones.nets import Chain, Layout, Many, Swallows, Tokens
from tests.tiny import TinyNet, tiny_net

SIZE = (32, 32)


@pytest.fixture
def images():
    noise = torch.randn(3, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    return noise.clamp(-2, 2)  # as far as pixels go


def by_name(network, size=SIZE, **options):
    return {node.name: node for node in list_nodes(network.eval(), size, **options)}


def tap(network, *names, size=SIZE):
    nodes = by_name(network, size)
    return FeatureTap(network, [nodes[name] for name in names])


def test_names_shapes_and_order_of_a_network():
    nodes = list_nodes(tiny_net().eval(), SIZE)
    assert [(node.name, node.shape, node.axes) for node in nodes if node.call >= 0] == [
        ("conv1", (16, 16, 8), "NHWC"),
        ("norm", (16, 16, 8), "NHWC"),
        ("relu", (16, 16, 8), "NHWC"),
        ("conv2", (8, 8, 16), "NHWC"),
        ("relu_1", (8, 8, 16), "NHWC"),
        ("pool", (1, 1, 16), "NHWC"),
        ("dropout", (16,), "NC"),
        ("fc", (5,), "NC"),
        ("output", (5,), "NC"),
    ]
    assert [node.name for node in nodes if node.call < 0] == [
        f"{name}.input" for name in ("conv1", "norm", "relu", "conv2", "pool", "dropout", "fc")
    ]
    assert {node.name: node.kind for node in nodes}["relu_1"] == "ReLU"


def test_every_node_equals_what_the_formulas_give(images):
    network = tiny_net().eval()
    names = ["output", "relu_1", "norm", "fc.input", "relu", "conv1", "pool", "conv2", "relu.input"]
    with torch.inference_mode():
        got = dict(zip(names, tap(network, *names)(images), strict=True))
        conv1 = network.conv1(images)
        norm = network.norm(conv1)
        relu = norm.relu()
        conv2 = network.conv2(relu)
        pooled = conv2.relu().mean((2, 3), keepdim=True)
        expected = {
            "conv1": conv1,
            "norm": norm,
            "relu.input": norm,
            "relu": relu,
            "conv2": conv2,
            "relu_1": conv2.relu(),
            "pool": pooled,
        }
        for name, value in expected.items():
            torch.testing.assert_close(got[name], value.permute(0, 2, 3, 1), msg=name)
        torch.testing.assert_close(got["fc.input"], pooled.flatten(1))
        torch.testing.assert_close(got["output"], network.fc(pooled.flatten(1)))


@pytest.mark.parametrize("name", ["norm", "conv2", "relu.input"])
def test_an_inplace_operation_after_a_node_does_not_reach_it(images, name):
    network = tiny_net().eval()
    alone = tap(network, name)(images)[0]
    with_later = tap(network, name, "output")(images)[0]
    assert (alone < 0).any()
    torch.testing.assert_close(with_later, alone, rtol=0, atol=0)


def test_several_layers_cost_one_pass(images):
    tapped = tap(tiny_net(), "fc.input", "conv1", "relu_1")
    before = TinyNet.forwards, TinyNet.images
    tapped(images)
    assert (TinyNet.forwards, TinyNet.images) == (before[0] + 1, before[1] + 3)


@pytest.mark.parametrize("names", [["relu"], ["conv", "relu"], ["pool"], ["fc.input"], ["fc.input", "conv"]])
@pytest.mark.parametrize("kind", [Chain, Swallows])
def test_nothing_is_computed_after_the_last_wanted_node(images, names, kind):
    network = kind()
    tapped = tap(network, *names)
    network.end.armed = True
    network.middle.armed = names[-1] == "relu"
    got = tapped(images)
    conv = network.conv(images)
    expected = {"conv": conv, "relu": conv.relu(), "pool": conv.relu().mean((2, 3), keepdim=True)}
    expected = {name: value.permute(0, 2, 3, 1) for name, value in expected.items()}
    expected["fc.input"] = conv.relu().mean((2, 3))
    for name, value in zip(names, got, strict=True):
        torch.testing.assert_close(value, expected[name])


def test_the_bombs_would_go_off(images):
    network = Chain()
    tapped = tap(network, "output")
    network.end.armed = True
    with pytest.raises(RuntimeError, match="computed too much"):
        tapped(images)


def test_two_taps_and_a_listing_on_one_network_do_not_disturb_each_other(images):
    network = tiny_net().eval()
    plain = network(images)
    early, late = tap(network, "relu"), tap(network, "fc.input", "output")
    first = early(images)[0]
    torch.testing.assert_close(late(images)[1], plain, rtol=0, atol=0)
    torch.testing.assert_close(early(images)[0], first, rtol=0, atol=0)
    torch.testing.assert_close(network(images), plain, rtol=0, atol=0)
    assert len(list_nodes(network, SIZE)) == 16
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_hooks_are_gone_after_an_error(images):
    network = Chain()
    tapped = tap(network, "output")
    network.end.armed = True
    with pytest.raises(RuntimeError):
        tapped(images)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_what_is_offered_and_what_is_not(images):
    network = Many()
    nodes = by_name(network)
    assert not {"sum", "count", "bright"} & nodes.keys()
    assert set(nodes) == {
        *("pair.input", "pair", "sum.input", "count.input", "twice.input", "twice"),
        *("twice_2", "twice_1.input", "twice_1", "output"),
    }
    pair, once, again, last, output = tap(network, "pair", "twice", "twice_2", "twice_1", "output")(images)
    first = (images + 1).permute(0, 2, 3, 1)
    torch.testing.assert_close(pair, first)
    torch.testing.assert_close(once, first.tanh())
    torch.testing.assert_close(again, (2 * first.tanh()).tanh())
    torch.testing.assert_close(last, again)
    torch.testing.assert_close(output, again.mean((1, 2)))


def test_a_node_that_is_not_reached_is_a_named_error(images):
    network = Many()
    tapped = tap(network, "output")
    tapped(images + 15)  # another way through the network, but the same nodes
    with pytest.raises(NodeError, match=r"layer 'output' gives nothing for 3 images"):
        tapped(images + 25)


def test_a_node_whose_first_axis_only_looks_like_the_batch_is_a_named_error(images):
    class Two(nn.Module):
        def forward(self, x):
            return torch.ones(2, 7)

    with pytest.raises(NodeError, match=r"layer 'output' gives a tensor of shape \(2, 7\) for 3 images"):
        tap(Two(), "output")(images)


@pytest.mark.parametrize(
    ("given", "size", "shape", "channels_first"),
    [
        ((16, 8, 8), (32, 32), (8, 8, 16), True),
        ((8, 8, 16), (32, 32), (8, 8, 16), False),
        ((1, 8, 8), (32, 32), (8, 8, 1), True),
        ((8, 8, 1), (32, 32), (8, 8, 1), False),
        ((16, 1, 1), (32, 32), (1, 1, 16), True),
        ((1, 1, 16), (32, 32), (1, 1, 16), False),
        ((1, 1, 1), (32, 32), (1, 1, 1), True),
        ((8, 8, 8), (32, 32), (8, 8, 8), True),  # could be either: what torch networks do
        ((16, 8, 4), (64, 32), (8, 4, 16), True),
        ((8, 4, 16), (64, 32), (8, 4, 16), False),
        ((8, 8, 4), (64, 32), (8, 4, 8), True),  # as many channels as rows
        ((4, 8, 8), (32, 64), (4, 8, 8), False),  # as many channels as columns
        ((7, 7, 5), (224, 160), (7, 5, 7), True),
        ((16, 1, 1), (64, 32), (1, 1, 16), True),
        ((1, 1, 16), (64, 32), (1, 1, 16), False),
    ],
)
def test_which_axis_holds_the_channels(given, size, shape, channels_first):
    network = Layout(*given)
    node = by_name(network, size)["map"]
    assert (node.shape, node.axes, node.channels_first) == (shape, "NHWC", channels_first)
    value = network.map(torch.zeros(2, 3, *size))
    expected = value.permute(0, 2, 3, 1) if channels_first else value
    assert torch.equal(tap(network, "map", size=size)(torch.zeros(2, 3, *size))[0], expected)


def test_prefix_tokens_are_of_the_sequences_that_have_them():
    nodes = by_name(Tokens(), prefix_tokens=2)
    assert {name: (node.shape, node.prefix_tokens) for name, node in nodes.items() if node.axes == "NLC"} == {
        "flat": ((6, 16), 0),
        "embed.input": ((16, 6), 0),
        "embed": ((16, 6), 0),
        "norm.input": ((18, 6), 2),
        "norm": ((18, 6), 2),
        "pool.input": ((18, 6), 2),
        "pool.key.input": ((18, 6), 2),
        "pool.key": ((18, 6), 2),
    }


def test_the_last_map():
    def last(network, default="output"):
        node = last_map(SIZE, list_nodes(network.eval(), SIZE), default)
        return node and node.name

    wrapped = nn.Sequential(nn.Identity(), tiny_net())
    assert last(tiny_net()) == "relu_1"
    assert last(tiny_net(), "fc.input") == "relu_1"
    assert last(tiny_net(), "norm") == "norm"
    assert last(wrapped) == "1.relu_1"
    assert last(Tokens()) == "norm"  # and not the key inside the pooling
    assert last(nn.Sequential(nn.Flatten(), nn.Linear(3072, 2))) is None


def test_a_name_that_is_no_node_says_which_is_meant():
    nodes = list_nodes(tiny_net().eval(), SIZE)
    assert find_node(nodes, "relu_1", name="tiny").call == 1
    with pytest.raises(NodeError, match=r"layer 'relu_2' is no node of tiny; did you mean 'relu_1'\?"):
        find_node(nodes, "relu_2", name="tiny")


def test_images_of_the_wrong_size_are_a_named_error():
    network = nn.Sequential(nn.Conv2d(3, 4, 9), nn.Conv2d(4, 4, 9))
    with pytest.raises(BackboneError, match=r"it does not take images of 10x12 pixels \(.*[Kk]ernel size"):
        list_nodes(network.eval(), (12, 10), name="it")
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
