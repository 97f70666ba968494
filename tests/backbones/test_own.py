"""Networks of the user's own: factories found from the current folder, and modules that are left as they are."""

import sys

import pytest
import torch
from torch import nn

from featx.backbones import load_backbone
from featx.errors import BackboneError, WeightsError
from featx.spec import Preprocessing
from tests.backbones.nets import Tokens
from tests.backbones.plain import assert_close, default_features
from tests.tiny import PREPROCESSING, picture, tiny_net

IMAGES = [picture(1), picture(2), picture(3)]


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a module into the current folder; return the name that is importable there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    known = set(sys.modules)

    def write(text, name="mynet"):
        (tmp_path / f"{name}.py").write_text(text)
        return name

    yield write
    for name in set(sys.modules) - known:
        del sys.modules[name]


NET = """
import torch
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3)
    def forward(self, x):
        return self.conv(x).mean((2, 3))
number = 3
def nothing(): return None
def raises(): raise RuntimeError("the disk is gone\\nsecond line")
def needs(argument): return Net()
"""


def test_a_factory_in_the_current_folder(write):
    write(NET)
    backbone = load_backbone("mynet:Net", weights="random:7", image_size=20)
    with torch.random.fork_rng():
        torch.manual_seed(7)
        expected = nn.Conv2d(3, 4, 3)
    assert torch.equal(backbone.network.conv.weight, expected.weight)
    assert (backbone.name, backbone.origin, backbone.default_layer) == ("mynet:Net", "random:7", "output")
    assert backbone.preprocessing == Preprocessing(crop_size=(20, 20), resize_size=(22, 22))
    assert load_backbone("mynet:Net").origin is None


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("nothing", r"'mynet:nothing' must return a torch.nn.Module; got NoneType"),
        ("raises", r"called without arguments; it raised RuntimeError \(the disk is gone\)$"),
        ("needs", r"called without arguments; it raised TypeError \(needs\(\) missing 1 required"),
        ("number", r"called without arguments; it raised TypeError \('int' object is not callable\)"),
        ("missing", r"'mynet:missing' must be MODULE:FUNCTION, importable from here \(module 'mynet' has no"),
        ("", r"'mynet:' must be MODULE:FUNCTION"),
    ],
)
@pytest.mark.parametrize("weights", [None, "random:0"])
def test_a_factory_that_does_not_work(write, function, message, weights):
    write(NET)
    with pytest.raises(BackboneError, match=message):
        load_backbone(f"mynet:{function}", weights=weights)


@pytest.mark.parametrize("text", ["def broken(:", "undefined_name", "raise KeyError('x')", "import nowhere_at_all"])
def test_a_module_that_does_not_work(write, text):
    write(text, "broken_net")
    with pytest.raises(BackboneError, match="'broken_net:make' must be MODULE:FUNCTION, importable from here"):
        load_backbone("broken_net:make")


@pytest.mark.parametrize("name", ["nowhere:f", ":f", ".x:f", "..:f", "a b:c"])
def test_no_such_module(name):
    with pytest.raises(BackboneError, match="must be MODULE:FUNCTION, importable from here"):
        load_backbone(name)


def test_a_misspelt_prefix():
    with pytest.raises(BackboneError, match="did you mean 'torchvision'"):
        load_backbone("torchvison:resnet18")


def test_weights_by_tag_are_refused():
    for backbone in ("tests.tiny:tiny_net", tiny_net()):
        with pytest.raises(WeightsError, match=r"must be a file that is there, or random:SEED; got 'IMAGENET'"):
            load_backbone(backbone, weights="IMAGENET")
    with pytest.raises(BackboneError, match=r"beside a network that has its own \(tests.tiny:TinyNet\)"):
        load_backbone(tiny_net(), weights="random:0")


def test_a_module_is_left_as_it_is():
    network = tiny_net().train()
    network.conv1.register_forward_hook(lambda *args: None)
    network(torch.randn(2, 3, 32, 32)).sum().backward()
    state = {key: value.clone() for key, value in network.state_dict().items()}
    grads = {name: parameter.grad.clone() for name, parameter in network.named_parameters()}
    backbone = load_backbone(network)
    default_features(backbone, IMAGES)
    assert not backbone.network.training
    assert not any(parameter.requires_grad for parameter in backbone.network.parameters())
    assert all(module.training for module in network.modules())
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())
    assert all(torch.equal(parameter.grad, grads[name]) for name, parameter in network.named_parameters())
    assert all(value.is_contiguous() for value in network.state_dict().values())
    assert [len(module._forward_hooks) for module in network.modules()].count(0) == len(list(network.modules())) - 1
    assert not any(module._forward_pre_hooks for module in network.modules())


def test_changing_the_module_afterwards_changes_nothing():
    network = tiny_net()
    backbone = load_backbone(network)
    before = default_features(backbone, IMAGES)
    nn.init.zeros_(network.fc.weight)
    assert torch.equal(default_features(backbone, IMAGES), before)
    assert load_backbone(network).weights != backbone.weights


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_networks_of_another_precision_are_computed_in_the_specs(dtype):
    network = tiny_net().to(dtype)
    expected = default_features(load_backbone(network.float()), IMAGES)
    got = default_features(load_backbone(tiny_net().to(dtype)), IMAGES)
    assert got.dtype == torch.float32
    assert_close(got, expected)


def test_its_preprocessing():
    assert load_backbone(tiny_net()).preprocessing == PREPROCESSING
    given = Preprocessing(crop_size=(64, 64), resize_size=(64, 64))
    assert load_backbone(tiny_net(), preprocessing=given).preprocessing == given
    assert load_backbone(tiny_net(), image_size=64).preprocessing == PREPROCESSING.changed(image_size=64)
    network = tiny_net()
    network.preprocessing = {"crop_size": 32}
    with pytest.raises(BackboneError, match=r"attribute preprocessing of tests.tiny:TinyNet must .* dict"):
        load_backbone(network)


def test_prefix_tokens_and_default_map():
    backbone = load_backbone(Tokens(), image_size=32)
    assert (backbone.prefix_tokens, backbone.default_layer, backbone.default_map) == (2, "output", "norm")
    assert backbone.node(pool="avg").name == "norm"
    assert backbone.node().name == "output"
