"""The upper part of a network gives what the whole network gives."""

import pytest
import torch
from torch import nn

from featx.backbones import FeatureTap, load_backbone, pool_features
from featx.errors import NodeError
from featx.extraction import plan_outputs
from featx.tuning._training import make_upper
from tests.tuning.nets import STAGED

NETWORKS = {
    "torchvision:resnet18": (64, ["layer1.0", "layer2", "layer4.0"]),
    "torchvision:mobilenet_v2": (64, ["features.2", "features.12"]),
    "torchvision:densenet121": (32, ["features.denseblock1", "features.transition2"]),
    "torchvision:inception_v3": (96, ["Conv2d_2a_3x3", "Mixed_6a"]),
    "embedded:efficientnet_lite0": (64, ["blocks.1", "blocks.5"]),
    "timm:vit_tiny_patch16_224": (64, ["patch_embed", "blocks.5"]),
    "timm:test_vit": (None, ["patch_embed", "blocks.2"]),
    STAGED: (None, ["stem.0", "act", "stage1", "act_1", "act_2"]),
}
SLOW = {"torchvision:densenet121", "torchvision:inception_v3", "timm:vit_tiny_patch16_224"}
CASES = [
    pytest.param(name, size, cut, id=f"{name}-{cut}", marks=[pytest.mark.slow] if name in SLOW else [])
    for name, (size, cuts) in NETWORKS.items()
    for cut in cuts
]


@pytest.fixture(scope="module")
def loaded():
    known = {}

    def load(name, size):
        if name not in known:
            known.clear()
            known[name] = load_backbone(name, weights=None if name == STAGED else "random:0", image_size=size)
        return known[name]

    return load


@pytest.mark.parametrize(("name", "size", "cut"), CASES)
def test_it_equals_the_whole_network(name, size, cut, loaded):
    backbone = loaded(name, size)
    (output,) = plan_outputs(backbone, layers=["fc.input"] if name == STAGED else [])
    height, width = backbone.preprocessing.crop_size
    pixels = torch.randint(256, (3, height, width, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    mean, std = (
        torch.tensor(values).view(3, 1, 1) for values in (backbone.preprocessing.mean, backbone.preprocessing.std)
    )
    images = (pixels.permute(0, 3, 1, 2) / 255 - mean) / std
    with torch.no_grad():
        (given,) = FeatureTap(backbone.network, [output.node])(images)
        expected = pool_features(given, output.spec.pool, output.node.prefix_tokens)
        (activations,) = FeatureTap(backbone.network, [backbone.node(cut)])(images)
        whole = make_upper(backbone, output, nn.Identity(), None, (), "fp32")(pixels)
        upper = make_upper(backbone, output, nn.Identity(), backbone.node(cut), (), "fp32")
        activations = activations.contiguous()
        for count in (3, 3, 2):  # the second walks past what lies below the cut
            assert_close(upper(activations[:count].flip(0)), expected[:count].flip(0))
        assert_close(whole, expected)


def assert_close(got, expected):
    assert (got - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert (expected[0] - expected[1]).abs().max() > 1e-3 * expected.abs().max()


def test_gradients_are_those_of_the_whole_network():
    backbone = load_backbone(STAGED)
    (output,) = plan_outputs(backbone, layers=["fc.input"])
    images = torch.randn(4, 3, 16, 16)
    weight = backbone.network.stage2[0].weight.requires_grad_(True)
    (whole,) = FeatureTap(backbone.network, [output.node])(images)
    (expected,) = torch.autograd.grad(whole.square().sum(), weight)
    with torch.no_grad():
        (activations,) = FeatureTap(backbone.network, [backbone.node("act_1")])(images)
    upper = make_upper(backbone, output, nn.Identity(), backbone.node("act_1"), (), "fp32")
    (got,) = torch.autograd.grad(upper(activations.contiguous()).square().sum(), weight)
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("cut", ["stage2.0", "stage2"])
def test_a_connection_past_the_cut_is_refused(cut):
    backbone = load_backbone(STAGED)
    (output,) = plan_outputs(backbone, layers=["fc.input"])
    node = backbone.node(cut)
    upper = make_upper(backbone, output, nn.Identity(), node, (), "fp32")
    with pytest.raises(NodeError, match=rf"layer '{cut}' is no place to cut .* cut at an earlier or a later layer"):
        upper(torch.zeros(2, *node.shape))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in backbone.network.modules())


def test_half_precision_is_autocast():
    backbone = load_backbone(STAGED)
    (output,) = plan_outputs(backbone, layers=["fc.input"])
    activations = torch.rand(4, 4, 4, 8)
    exact, half = (
        make_upper(backbone, output, nn.Linear(8, 2), backbone.node("act_1"), (), precision)
        for precision in ("fp32", "bf16")
    )
    half.head = exact.head
    got, expected = half(activations), exact(activations)
    assert got.dtype == torch.float32
    assert not torch.equal(got, expected)
    torch.testing.assert_close(got, expected, rtol=3e-2, atol=3e-2)


def test_only_what_learns_is_in_training_mode():
    backbone = load_backbone(STAGED)
    (output,) = plan_outputs(backbone, layers=["fc.input"])
    network = backbone.network
    upper = make_upper(
        backbone, output, nn.Dropout(), backbone.node("act_1"), [network.stage2[1], network.drop], "fp32"
    )
    assert not any(module.training for module in upper.modules())
    upper.train()
    assert {name for name, module in network.named_modules() if module.training} == {"stage2.1", "drop"}
    assert upper.head.training
    upper.eval()
    assert not any(module.training for module in upper.modules())
