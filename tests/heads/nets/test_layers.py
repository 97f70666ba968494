import pytest
import torch
from torch import nn

from featx.errors import ParameterError
from featx.heads.nets._layers import Conv, LayerSpec, Standardize, build_layers, parse_layers

CONV = "conv(100,2) dropout(0.4) gap dropout(0.3) dense"


def build(text, shape, outputs=3, **options):
    torch.manual_seed(0)
    return build_layers(parse_layers(text), shape, outputs, **options).eval()


def test_text_becomes_layers_and_text_again():
    specs = parse_layers("  conv( 100 , kernel=2, stride=3 ,padding=same) dropout(.5)\tdense(7) relu dense ")
    assert specs[0] == LayerSpec("conv", {"filters": 100, "kernel": 2, "stride": 3, "padding": "same"})
    assert " ".join(map(str, specs)) == "conv(100,2,stride=3,padding=same) dropout(0.5) dense(7) relu dense"
    assert parse_layers(" ".join(map(str, specs))) == specs


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "layers must be text"),
        ("", "must end with 'dense'"),
        ("dense(10)", "must end with 'dense'"),
        ("dense dense", "'dense' before the end needs its units"),
        ("desne(5) dense", "no layer 'desne'; did you mean 'dense'?"),
        ("conv(100 dense", "names with arguments in brackets"),
        ("relu, dense", "names with arguments in brackets"),
        ("dense(5)relu dense", "names with arguments in brackets"),
        ("conv(100) dense", r"must be written conv\(filters,kernel\[,stride=...\]\[,padding=...\]\); got conv\(100\)"),
        ("conv dense", "must be written conv"),
        ("conv(1,2,3,same,4) dense", "must be written conv"),
        ("conv(1,2,filters=3) dense", "must be written conv"),
        ("conv(1,2,dilation=3) dense", "must be written conv"),
        ("relu(3) dense", "layer 'relu' takes no arguments"),
        ("conv(0,2) dense", "filters of layer 'conv' must be a whole number of at least 1; got '0'"),
        ("conv(1,2.5) dense", "kernel of layer 'conv' must be a whole number"),
        ("conv(1,9999999999999) dense", "kernel of layer 'conv' must be a whole number"),
        ("conv(1,2,padding=full) dense", "padding of layer 'conv' must be valid or same; got 'full'"),
        ("dropout(1) dense", "rate of layer 'dropout' must be a number from 0 to less than 1; got '1'"),
        ("dropout(nan) dense", "rate of layer 'dropout'"),
        ("dropout(much) dense", "rate of layer 'dropout'"),
    ],
)
def test_text_that_says_nothing_is_refused(text, message):
    with pytest.raises(ParameterError, match=message):
        parse_layers(text)


@pytest.mark.parametrize(
    ("text", "shape", "message"),
    [
        ("conv(3,2) gap dense", (8,), r"layer conv\(3,2\) takes maps .* given vectors of shape \(8,\)"),
        ("conv(3,4) gap dense", (3, 3, 5), "at least 4 × 4, and is given 3 × 3"),
        ("conv(3,2,stride=2,padding=same) gap dense", (4, 4, 5), "cannot keep height and width at a stride above 1"),
        ("maxpool(4) gap dense", (3, 3, 5), "at least 4 × 4"),
        ("gap dense", (8,), "layer gap takes maps or tokens"),
        ("gmp dense", (8,), "layer gmp takes maps or tokens"),
        ("conv(3,2) dense", (3, 3, 5), r"given a vector, and is given maps of shape \(2, 2, 3\): put gap or flatten"),
        ("relu dense", (4, 5), r"is given tokens of shape \(4, 5\)"),
        ("batchnorm flatten dense", (2, 2, 2, 2), "takes vectors, tokens or maps"),
    ],
)
def test_layers_that_do_not_fit_are_refused(text, shape, message):
    with pytest.raises(ParameterError, match=message):
        build(text, shape)


def test_parameter_counts_are_those_of_keras():
    count = sum(p.numel() for p in build(CONV, (3, 3, 2048), 10).parameters())
    assert count == 820_310
    assert sum(p.numel() for p in build("dense", (1280,), 1).parameters()) == 1_281


@pytest.mark.filterwarnings("ignore:Using padding='same'")  # torch's, of its own
@pytest.mark.parametrize("shape", [(5, 6, 7), (20, 21, 40)], ids=["small", "large"])  # the two ways to compute it
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [(2, 1, "valid"), (3, 2, "valid"), (2, 1, "same"), (3, 1, "same")]
)
def test_a_convolution_is_torchs(shape, kernel, stride, padding):
    torch.manual_seed(0)
    ours, theirs = Conv(shape[-1], 4, kernel, stride, padding), nn.Conv2d(shape[-1], 4, kernel, stride, padding)
    with torch.no_grad():
        theirs.weight.copy_(ours.weight.movedim(-1, 1))
        theirs.bias.copy_(ours.bias)
    x = torch.randn(3, *shape)
    inputs = [x.clone().requires_grad_(), x.clone().requires_grad_()]
    mine, plain = ours(inputs[0]), theirs(inputs[1].movedim(-1, 1)).movedim(1, -1)
    torch.testing.assert_close(mine, plain, rtol=1e-4, atol=1e-5)
    for output in (mine, plain):
        output.square().sum().backward()
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad.movedim(1, -1), rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(ours.bias.grad, theirs.bias.grad, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad, rtol=1e-4, atol=1e-4)


def test_a_convolution_starts_as_torchs_does():
    torch.manual_seed(0)
    weights = Conv(64, 50, 3, 1, "valid").weight, nn.Conv2d(64, 50, 3).weight
    assert weights[0].abs().max().item() == pytest.approx((64 * 9) ** -0.5, rel=1e-3)
    assert weights[0].std().item() == pytest.approx(weights[1].std().item(), rel=0.02)


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("gap", lambda x: x.mean((1, 2))),
        ("gmp", lambda x: x.amax((1, 2))),
        ("flatten", lambda x: x.flatten(1)),
        ("maxpool(2) gap", lambda x: nn.functional.max_pool2d(x.permute(0, 3, 1, 2), 2).mean((2, 3))),
        ("avgpool(2) gmp", lambda x: nn.functional.avg_pool2d(x.permute(0, 3, 1, 2), 2).amax((2, 3))),
        ("layernorm gap", lambda x: nn.functional.layer_norm(x, x.shape[-1:]).mean((1, 2))),
        ("relu gap", lambda x: x.relu().mean((1, 2))),
        ("gelu gap", lambda x: nn.functional.gelu(x).mean((1, 2))),
        ("elu gap", lambda x: nn.functional.elu(x).mean((1, 2))),
        ("tanh gap", lambda x: x.tanh().mean((1, 2))),
        ("sigmoid gap", lambda x: x.sigmoid().mean((1, 2))),
        ("dropout(0.5) gap", lambda x: x.mean((1, 2))),
    ],
)
def test_layers_compute_what_they_are_named_after(text, reference):
    x = torch.randn(4, 5, 6, 7)
    net = build(f"{text} dense", x.shape[1:])
    torch.testing.assert_close(net(x), net[-1](reference(x)))


def test_tokens_are_averaged_and_dense_works_on_each():
    x = torch.randn(4, 5, 6)
    net = build("dense(8) relu gap dense", (5, 6))
    torch.testing.assert_close(net(x), net[-1](net[0](x).relu().mean(1)))


@pytest.mark.parametrize("shape", [(6,), (5, 6), (4, 5, 6)])
def test_batch_normalisation_is_of_the_last_axis(shape):
    x = 3 + 2 * torch.randn(10, *shape)
    layer = build("batchnorm flatten dense", shape)[0].train()
    axes = tuple(range(len(shape)))
    expected = (x - x.mean(axes)) / (x.var(axes, unbiased=False) + 1e-5).sqrt()
    torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-5)


def test_dropout_leaves_out_a_share_and_keeps_the_mean():
    x = torch.rand(200, 500) + 1
    layer = build("dropout(0.3) dense", (500,))[0].train().requires_grad_(False)
    given = x.clone().requires_grad_()
    kept = layer(given)
    assert (kept == 0).float().mean().item() == pytest.approx(0.3, abs=0.01)
    torch.testing.assert_close(kept[kept > 0], x[kept > 0] / 0.7)
    kept.sum().backward()
    torch.testing.assert_close(given.grad, (kept > 0) / 0.7)
    assert not torch.equal(layer(x), kept)


def test_standardising_comes_first_and_is_not_trained():
    mean, scale = torch.arange(6.0), torch.arange(1.0, 7.0)
    net = build("dense", (6,), scaling=(mean, scale))
    x = torch.randn(3, 6)
    kept = x.clone()
    torch.testing.assert_close(net(x), net[-1]((x - mean) / scale))
    torch.testing.assert_close(x, kept, rtol=0, atol=0)
    assert [name for name, _ in net.named_parameters()] == ["dense_1.weight", "dense_1.bias"]
    assert isinstance(net[0], Standardize)


def test_modules_are_named_and_counted():
    names = [name for name, _ in build("dense(4) relu dense(5) relu dense", (6,)).named_children()]
    assert names == ["dense_1", "relu_1", "dense_2", "relu_2", "dense_3"]
