"""Loading: where weights come from, that it is frozen, and that nothing else is touched."""

import pytest
import torch
import torchvision
from torch import nn

from featx.backbones import describe_layers, list_nodes, load_backbone
from featx.errors import BackboneError, NodeError, WeightsError, WeightsUnavailableError
from featx.spec import Preprocessing
from tests.backbones.plain import assert_close, default_features
from tests.tiny import BACKBONE, picture, tiny_net

IMAGES = [picture(1), picture(2), picture(3), picture(4)]


def test_random_weights_are_those_of_the_seed_and_leave_the_generators_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one = load_backbone("squeezenet1_1", weights="random:1")
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    again, other = (load_backbone("squeezenet1_1", weights=f"random:{seed}") for seed in (1, 2))
    assert one.weights == again.weights != other.weights
    with torch.random.fork_rng():
        torch.manual_seed(1)
        reference = torchvision.models.squeezenet1_1()
    for key, value in reference.state_dict().items():
        assert torch.equal(one.network.state_dict()[key], value)


def test_random_weights_do_not_seed_other_devices(monkeypatch):
    def seed_all(seed):
        raise AssertionError("the GPU's generators belong to the caller")

    monkeypatch.setattr(torch.cuda, "manual_seed_all", seed_all)
    load_backbone("squeezenet1_1", weights="random:1")


def test_own_fine_tuned_weights_with_other_classes(tmp_path):
    network = torchvision.models.resnet18(num_classes=7)
    torch.save({"state_dict": network.state_dict()}, tmp_path / "own.pth")
    backbone = load_backbone("resnet18", weights=str(tmp_path / "own.pth"))
    assert backbone.origin == str(tmp_path / "own.pth")
    for key, value in network.state_dict().items():
        assert torch.equal(backbone.network.state_dict()[key], value)
    assert backbone.preprocessing == load_backbone("resnet18", weights="random:0").preprocessing
    images = [picture(1, size=(230, 240))]
    transform = torchvision.models.ResNet18_Weights.DEFAULT.transforms()
    with torch.no_grad():
        expected = network.eval()(transform(images[0])[None])
    assert_close(default_features(backbone, images, layers=["fc"]), expected)


def test_a_relative_path_is_kept_as_an_absolute_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(tiny_net().state_dict(), "w.pt")
    assert load_backbone(BACKBONE, weights="w.pt").origin == str(tmp_path / "w.pt")


def test_weights_of_another_network(tmp_path):
    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"do not fit torchvision:squeezenet1_1: 52 missing \(.*122 unexpected"):
        load_backbone("squeezenet1_1", weights=tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"do not fit torchvision:resnet34: 96 missing"):
        load_backbone("resnet34", weights=tmp_path / "w.pth")


def test_weights_that_are_not_there():
    with pytest.raises(WeightsUnavailableError, match=r"nowhere.pth': there is no such file"):
        load_backbone("resnet18", weights="nowhere.pth")
    with pytest.raises(WeightsError, match=r"must be random:SEED"):
        load_backbone("resnet18", weights="random:x")


def test_frozen_in_eval_mode_and_independent_of_the_rest_of_the_batch():
    backbone = load_backbone(BACKBONE)
    assert not any(module.training for module in backbone.network.modules())
    assert not any(parameter.requires_grad for parameter in backbone.network.parameters())
    together = default_features(backbone, IMAGES)
    alone = torch.cat([default_features(backbone, [image]) for image in IMAGES])
    assert_close(together, alone)
    training = backbone.network.train()
    with torch.no_grad():
        norm = training.norm(training.conv1(torch.randn(2, 3, 32, 32)))
    assert norm.mean((0, 2, 3)).sub(training.norm.bias).abs().max() < 1e-4  # what it would be otherwise


def test_the_statistics_of_batch_norm_stay_as_they_are():
    backbone = load_backbone(BACKBONE)
    before = backbone.network.norm.running_mean.clone()
    default_features(backbone, IMAGES)
    assert torch.equal(backbone.network.norm.running_mean, before)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"image_size": 64}, Preprocessing(crop_size=(64, 64), resize_size=(73, 73))),
        ({"resize": "pad"}, Preprocessing(resize="pad", resize_size=(224, 224))),
        ({"mean": [0, 0, 0], "std": [1, 1, 1]}, Preprocessing(mean=(0, 0, 0), std=(1, 1, 1))),
        ({"preprocessing": Preprocessing(crop_size=(96, 96))}, Preprocessing(crop_size=(96, 96))),
    ],
)
def test_changes_to_the_preprocessing(changes, expected):
    assert load_backbone("resnet18", weights="random:0", **changes).preprocessing == expected


@pytest.mark.parametrize(
    ("name", "default", "default_map"),
    [
        ("torchvision:resnet18", "fc.input", "layer4"),
        ("torchvision:squeezenet1_1", "classifier.1.input", "classifier.1.input"),
        ("torchvision:vit_b_16", "heads.head.input", "encoder"),
        ("torchvision:mobilenet_v2", "classifier.1.input", "features"),
        (BACKBONE, "output", "relu_1"),
    ],
)
def test_default_layers(name, default, default_map):
    nodes, got, got_map = describe_layers(name)
    assert (got, got_map) == (default, default_map)
    assert {default, default_map} <= {node.name for node in nodes}
    loaded = load_backbone(name, weights="random:0")
    assert nodes == list_nodes(loaded.network, loaded.preprocessing.crop_size, prefix_tokens=loaded.prefix_tokens)
    assert loaded.node(None, "avg").name == default_map


@pytest.mark.parametrize(
    ("name", "early"),
    [
        ("efficientnet_lite0", "blocks.2"),
        ("resnet18", "layer2"),
        ("mobilenet_v2", "features.6"),
        ("squeezenet1_1", "features.7"),
        ("vit_b_32", "encoder.layers.encoder_layer_5"),
        ("small_cnn", "pool1"),
        (BACKBONE, "conv2"),
    ],
)
def test_an_early_layer_ends_a_block_halfway_at_most(name, early):
    backbone = load_backbone(name, weights="random:0")
    assert backbone.early_map == early
    before = [node.name for node in backbone.nodes].index(early)
    assert backbone.depth(early) == (before + 1) / len(backbone.nodes) <= 0.5
    assert 0.9 < backbone.depth(backbone.default_layer) <= 1
    assert backbone.depth("output") == 1


def test_an_early_layer_is_a_map_or_there_is_none():
    assert load_backbone(nn.Sequential(nn.Flatten(), nn.Linear(3 * 224 * 224, 2), nn.ReLU())).early_map is None


def test_the_default_map_does_not_change_with_the_size_of_the_images():
    """At 32 pixels ResNet's last map is one pixel, and still the last map."""
    backbone = load_backbone("resnet18", weights="random:0", image_size=32)
    assert backbone.default_map == "layer4"
    assert backbone.node("layer4").shape == (1, 1, 512)


def test_layers_at_another_size():
    shapes = {node.name: node.shape for node in describe_layers("resnet18", image_size=96)[0]}
    assert (shapes["conv1"], shapes["layer4"]) == ((48, 48, 64), (3, 3, 512))


def test_no_map_to_pool():
    backbone = load_backbone(nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 4)), image_size=8)
    with pytest.raises(NodeError, match="has no feature map or tokens to pool: leave pool out, or name a layer"):
        backbone.node(None, "max")


def test_no_such_layer():
    with pytest.raises(NodeError, match=r"layer 'layer5' is no node of torchvision:resnet18; did you mean 'layer"):
        load_backbone("resnet18", weights="random:0").node("layer5")


def test_a_network_that_takes_no_images():
    with pytest.raises(BackboneError, match=r"torch.nn.modules.linear:Linear does not take images of 224x224 pixels"):
        _ = load_backbone(nn.Linear(3, 4)).nodes
