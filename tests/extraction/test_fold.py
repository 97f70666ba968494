"""Folding: which batch norms, and the same numbers."""

import numpy as np
import pytest
import torch
from timm.layers import BatchNormAct2d, Conv2dSame
from torch import nn

from featx.backbones import FeatureTap, list_nodes, load_backbone
from featx.extraction import TorchEngine, plan_outputs
from featx.extraction._fold import _Folded, fold_batch_norms
from tests.extraction.networks import Small, pixels, plainly, stir

SIZE = (16, 16)
IMAGES = torch.randn(3, 3, *SIZE, generator=torch.Generator().manual_seed(7))


def folded_norms(network):
    return {name for name, module in network.named_modules() if isinstance(module, _Folded)}


def fold(network, *layers, expected):
    """Fold for the given layers, and return the names of the folded norms after a look at the numbers."""
    torch.manual_seed(0)
    stir(network.eval().requires_grad_(False))
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    nodes = {node.name: node for node in list_nodes(network, SIZE)}
    tap = FeatureTap(network, [nodes[layer] for layer in layers or ["output"]])
    before = tap(IMAGES)
    folded = fold_batch_norms(tap, SIZE)
    for got, true in zip(folded(IMAGES), before, strict=True):
        assert true.abs().max() > 0.01
        torch.testing.assert_close(got, true, rtol=1e-4, atol=1e-5)
    assert folded_norms(folded.network) == expected
    assert (folded is tap) == (not expected)
    assert not folded_norms(network)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, state[name]), name


class Chain(nn.Sequential):
    """Modules one after the other, under the given names."""

    def __init__(self, **modules):
        super().__init__()
        for name, module in modules.items():
            self.add_module(name, module)


def conv(n_in=3, n_out=6, **options):
    return nn.Conv2d(n_in, n_out, 3, padding=1, **options)


def test_with_and_without_bias_groups_and_affine():
    chain = Chain(
        a=conv(bias=False),
        an=nn.BatchNorm2d(6),
        b=conv(6, 6, groups=3),
        bn=nn.BatchNorm2d(6),
        act=nn.ReLU(inplace=True),
    )
    fold(chain, expected={"an", "bn"})
    plain = Chain(a=conv(), an=nn.BatchNorm2d(6, affine=False))
    plain.an.running_mean.uniform_(-1, 1)
    plain.eval()
    nodes = list_nodes(plain, SIZE)
    tap = FeatureTap(plain, nodes[-1:])
    folded = fold_batch_norms(tap, SIZE)
    assert folded_norms(folded) == {"network.an"}
    torch.testing.assert_close(folded(IMAGES)[0], tap(IMAGES)[0], rtol=1e-4, atol=1e-5)


def test_norms_of_timm_with_what_they_do_besides():
    chain = Chain(a=Conv2dSame(3, 6, 3, stride=2), an=BatchNormAct2d(6), b=conv(6, 4))
    fold(chain, "an.act", "an", "b", expected={"an"})
    fold(chain, "an.drop", "b", expected={"an"})


def test_what_is_kept_keeps_its_value():
    def chain():
        return Chain(
            block=Chain(a=conv()), an=nn.BatchNorm2d(6), relu=nn.ReLU(inplace=True), b=conv(6, 5), bn=nn.BatchNorm2d(5)
        )

    fold(chain(), "block.a", "bn", expected={"bn"})
    fold(chain(), "block", "bn", expected={"bn"})
    fold(chain(), "an.input", "bn", expected={"bn"})
    fold(chain(), "an", "b", expected={"an"})
    fold(chain(), "relu.input", "bn", expected={"an", "bn"})


def test_what_comes_after_the_last_node_stays():
    fold(Chain(a=conv(), an=nn.BatchNorm2d(6), b=conv(6, 5), bn=nn.BatchNorm2d(5)), "an", expected={"an"})


def test_what_lies_between():
    fold(Chain(a=conv(), relu=nn.ReLU(), an=nn.BatchNorm2d(6)), expected=set())
    in_place = Chain(a=conv(), relu=nn.ReLU(inplace=True), an=nn.BatchNorm2d(6), b=conv(6, 5), bn=nn.BatchNorm2d(5))
    fold(in_place, expected={"bn"})


@pytest.mark.parametrize("twice", ["a", "an"])
def test_what_is_called_twice(twice):
    class Twice(Chain):
        def forward(self, x):
            x = self.an(self.a(x))
            x = self.a(x) if twice == "a" else self.an(x)
            return self.bn(self.b(x))

    fold(Twice(a=conv(3, 3), an=nn.BatchNorm2d(3), b=conv(), bn=nn.BatchNorm2d(6)), expected={"bn"})


def test_what_is_used_otherwise_too():
    class Around(Chain):
        def forward(self, x):
            x = self.a(x)
            return self.bn(self.b(x + self.an(x)))

    fold(Around(a=conv(), an=nn.BatchNorm2d(6), b=conv(6, 5), bn=nn.BatchNorm2d(5)), expected={"bn"})


def test_what_looks_into_its_norm():
    class Looks(Chain):
        def forward(self, x):
            return self.an(self.a(x)) * self.an.running_mean.sum()

    fold(Looks(a=conv(), an=nn.BatchNorm2d(6)), expected=set())


def test_what_is_given_back_besides():
    """What returns it reads it without an operation: only the numbers say so."""

    class Before(Chain):
        def forward(self, x):
            x = self.a(x)
            self.an(x)
            return x

    fold(Before(a=conv(), an=nn.BatchNorm2d(6)), expected=set())


def test_what_only_looks_like_them():
    class Standardised(nn.Conv2d):
        def forward(self, x):
            return self._conv_forward(x, self.weight - self.weight.mean(), self.bias)

    fold(Chain(a=Standardised(3, 6, 3), an=nn.BatchNorm2d(6)), expected=set())
    fold(Chain(a=conv(), an=nn.BatchNorm2d(6, track_running_stats=False)), expected=set())


def test_the_engine_folds_and_gives_the_same():
    backbone = load_backbone(Small())
    digest = backbone.weights
    outputs = plan_outputs(backbone, layers=["relu", "conv2", "fc"], pool="flatten")
    engine = TorchEngine(backbone, outputs)
    assert folded_norms(engine._module) == {"tap.network.norm1"}  # conv2 is kept, so the norm after it stays
    expected = plainly(Small(), pixels(5))
    for name, got in zip(["relu", "conv2", "fc"], engine(pixels(5)), strict=True):
        np.testing.assert_allclose(got, expected[name].reshape(5, -1), rtol=1e-4, atol=1e-5, err_msg=name)
    assert not folded_norms(backbone.network)
    assert load_backbone(backbone.network).weights == digest


def test_half_precision_is_not_folded():
    backbone = load_backbone(Small())
    engine = TorchEngine(backbone, plan_outputs(backbone, precision="bf16"))
    assert not folded_norms(engine._module)
