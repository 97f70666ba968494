"""torchvision's networks: the same features as torchvision itself gives, and errors for what cannot be had."""

import copy
import gc
import time

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from featx.backbones import list_backbones, list_weights, load_backbone
from featx.errors import BackboneError, WeightsError, WeightsUnavailableError
from featx.extraction import plan_outputs
from tests.backbones.plain import assert_close, default_features, input_of

NAMES = torchvision.models.list_models(module=torchvision.models)
WIDTHS = {
    "resnet18": 512,
    "resnet34": 512,
    "resnet50": 2048,
    "inception_v3": 2048,
    "googlenet": 1024,
    "mobilenet_v2": 1280,
    "vgg16": 4096,
    "alexnet": 4096,
    "squeezenet1_1": 512,
    "densenet121": 1024,
    "vit_b_16": 768,
    "swin_t": 768,
    "convnext_tiny": 768,
    "efficientnet_b0": 1280,
    "regnet_y_400mf": 440,
    "shufflenet_v2_x1_0": 1024,
    "mnasnet1_0": 1280,
    "maxvit_t": 512,
}


def classifier_of(network: nn.Module) -> nn.Module:
    """Return the layer that gives the classes, from the attribute that each of torchvision's families has."""
    if isinstance(network, torchvision.models.VisionTransformer):
        return network.heads[-1]
    for attribute in ("fc", "head"):
        if hasattr(network, attribute):
            return getattr(network, attribute)
    if isinstance(network, torchvision.models.SqueezeNet):
        return network.classifier[1]
    return network.classifier if isinstance(network.classifier, nn.Linear) else network.classifier[-1]


def reference(name, state):
    """Return the features that torchvision's own network and transform give with these weights."""
    transform = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    options = {}
    if name in ("inception_v3", "googlenet"):
        options = {"transform_input": True, "aux_logits": False, "init_weights": False}
    if name.startswith("vit_"):
        options = {"image_size": transform.crop_size[0]}
    network = torchvision.models.get_model(name, weights=None, **options)
    network.load_state_dict(state)
    features = input_of(classifier_of(network), network, transform)
    return features.mean((2, 3)) if features.ndim == 4 else features


def check(name):
    backbone = load_backbone(f"torchvision:{name}", weights="random:0")
    got = default_features(backbone)
    state = copy.deepcopy(backbone.network.state_dict())  # with its metadata
    del backbone
    assert_close(got, reference(name, state))
    assert got.shape[1] == WIDTHS.get(name, got.shape[1])
    gc.collect()


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "squeezenet1_1"])
def test_features_equal_those_of_torchvision(name):
    check(name)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", NAMES)
def test_features_of_every_network_equal_those_of_torchvision(name):
    check(name)


def test_there_are_eighty_and_all_are_listed():
    assert len(NAMES) >= 80
    assert set(WIDTHS) <= set(NAMES)
    assert list_backbones("torchvision:*") == [f"torchvision:{name}" for name in sorted(NAMES)]


@pytest.mark.parametrize("name", NAMES)
def test_preprocessing_is_that_of_every_one_of_its_weights(name):
    weights = torchvision.models.get_model_weights(name)
    assert set(list_weights(f"torchvision:{name}")) == {each.name for each in weights}
    assert list_weights(f"torchvision:{name}")[0] == weights.DEFAULT.name
    from featx.backbones._registry import PROVIDERS

    for each in weights:
        preset = each.transforms()
        got = PROVIDERS["torchvision"].architecture(name, each.name, None).preprocessing
        assert (list(got.mean), list(got.std)) == (preset.mean, preset.std)
        assert (got.crop_size, got.resize_size) == (tuple(preset.crop_size * 2), tuple(preset.resize_size * 2))
        assert (got.interpolation, got.resize) == (preset.interpolation.value, "crop")


def test_weights_that_cannot_be_downloaded(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nobody listens there
    start = time.monotonic()
    with pytest.raises(WeightsUnavailableError) as caught:
        load_backbone("torchvision:resnet18", weights="IMAGENET1K_V1")
    assert time.monotonic() - start < 20
    message = str(caught.value)
    assert "the weights IMAGENET1K_V1 of torchvision:resnet18 cannot be had" in message
    assert "https://download.pytorch.org/models/resnet18-f37072fd.pth" in message
    assert str(tmp_path) in message
    assert "--weights FILE" in message
    assert "efficientnet_lite0" in message
    assert "\n" not in message
    assert capfd.readouterr() == ("", "")


def test_weights_that_are_there_are_used(tmp_path, monkeypatch):
    (tmp_path / "hub/checkpoints").mkdir(parents=True)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    network = torchvision.models.squeezenet1_1()
    file = tmp_path / "hub/checkpoints/squeezenet1_1-b8a52dc0.pth"
    torch.save(network.state_dict(), file)
    monkeypatch.setattr("torch.hub.load_state_dict_from_url", lambda url, **options: torch.load(file))
    backbone = load_backbone("squeezenet1_1")
    assert backbone.origin == "IMAGENET1K_V1"
    assert torch.equal(backbone.network.features[0].weight, network.features[0].weight)


def test_unknown_weights():
    with pytest.raises(WeightsError, match=r"'IMAGENET1K_V3' are unknown for .*; did you mean 'IMAGENET1K_V"):
        load_backbone("torchvision:resnet50", weights="IMAGENET1K_V3")


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_files_with_auxiliary_heads(name, tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = torchvision.models.get_model(name, num_classes=7, init_weights=False)
    torch.save(network.state_dict(), tmp_path / "own.pth")
    backbone = load_backbone(name, weights=tmp_path / "own.pth")
    assert not {"aux1", "aux2", "AuxLogits"} & {key.split(".")[0] for key in backbone.network.state_dict()}
    assert torch.equal(backbone.network.fc.weight, network.fc.weight)
    assert backbone.network.transform_input


def test_files_without_metadata(tmp_path):
    """MNASNet's own loading refuses them."""
    network = torchvision.models.mnasnet0_5()
    save_file(network.state_dict(), tmp_path / "own.safetensors")
    backbone = load_backbone("mnasnet0_5", weights=tmp_path / "own.safetensors")
    for key, value in network.state_dict().items():
        assert torch.equal(backbone.network.state_dict()[key], value)


def test_a_fixed_size_network_says_which_size_it_takes():
    backbone = load_backbone("vit_b_16", weights="random:0", image_size=256)
    with pytest.raises(BackboneError, match=r"torchvision:vit_b_16 does not take images of 256x256 .*224"):
        plan_outputs(backbone)


def test_an_image_too_small_is_a_named_error():
    with pytest.raises(BackboneError, match=r"torchvision:alexnet does not take images of 16x16 pixels"):
        plan_outputs(load_backbone("alexnet", weights="random:0", image_size=16))
