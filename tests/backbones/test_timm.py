"""timm's networks: the same features as timm itself gives with ``num_classes=0``."""

import gc
import time
from collections import defaultdict

import pytest
import timm
import torch
from timm.data import create_transform, resolve_data_config

from featx.backbones import describe_layers, list_backbones, list_weights, load_backbone
from featx.errors import BackboneError, MissingDependencyError, WeightsError, WeightsUnavailableError
from featx.extraction import plan_outputs
from tests.backbones.plain import IMAGES, assert_close, default_features

FAST = ["test_vit", "test_resnet", "test_convnext", "test_efficientnet", "resnet18"]
FAMILIES = [
    *("convnext_tiny", "convnext_atto", "vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "tf_efficientnet_b0"),
    *("mobilenetv3_small_100", "regnety_002", "densenet121", "legacy_xception", "inception_resnet_v2"),
    *("pnasnet5large", "beit_base_patch16_224", "eva02_tiny_patch14_224", "mobilevit_xxs", "resnet18"),
    *("deit_tiny_distilled_patch16_224", "resnetv2_50x1_bit", "vit_small_patch14_reg4_dinov2", "resnet50_clip"),
    *("crossvit_tiny_240", "efficientvim_m1", "levit_128s", "pit_ti_distilled_224", "efficientformer_l1"),
    *("vit_base_patch16_siglip_224", "cait_xxs24_224", "coat_tiny", "xcit_nano_12_p8_224", "volo_d1_224"),
    *("sequencer2d_s", "mixer_s16_224", "hiera_tiny_224", "maxvit_pico_rw_256", "repvit_m1_0", "inception_v4"),
    *("swinv2_tiny_window8_256", "fastvit_t8", "efficientvit_b0", "dla46x_c", "ghostnet_050", "mvitv2_tiny"),
]


def check(name):
    backbone = load_backbone(f"timm:{name}", weights="random:0")
    got = default_features(backbone)
    network = timm.create_model(name, num_classes=0)
    network.load_state_dict(backbone.network.state_dict(), strict=False)
    shared = network.state_dict().keys() & backbone.network.state_dict().keys()
    assert len(shared) >= len(network.state_dict()) - 2
    transform = create_transform(**resolve_data_config({}, model=network))
    del backbone
    with torch.no_grad():
        images = torch.stack([transform(image) for image in IMAGES])
        network.eval()
        expected = network(images)
        assert_close(got, expected)
        assert_close(network.forward_head(network.forward_features(images), pre_logits=True), expected)
    gc.collect()


@pytest.mark.parametrize("name", FAST)
def test_features_equal_those_of_timm(name):
    check(name)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", FAMILIES)
def test_features_of_every_family_equal_those_of_timm(name):
    check(name)


@pytest.mark.parametrize(
    ("name", "default", "default_map", "shape"),
    [
        ("test_vit", "head.input", "norm", (101, 64)),
        ("test_resnet", "fc.input", "layer4", (5, 5, 96)),
        ("deit_tiny_distilled_patch16_224", "output", "norm", (198, 192)),
        ("efficientvit_b0", "head.classifier.4.input", "head.in_conv", (7, 7, 1024)),
        ("resnet50_clip", "output", "final_conv", (7, 7, 2048)),
    ],
)
def test_default_layers(name, default, default_map, shape):
    nodes, got, got_map = describe_layers(f"timm:{name}")
    assert (got, got_map) == (default, default_map)
    assert {node.name: node.shape for node in nodes}[got_map] == shape


@pytest.mark.parametrize(
    "name",
    [
        "test_vit",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("deit_tiny_distilled_patch16_224", "vit_tiny_patch16_224")
        ),
    ],
)
def test_the_average_leaves_the_prefix_out_and_cls_is_the_class_token(name):
    backbone = load_backbone(f"timm:{name}", weights="random:0")
    network = timm.create_model(name)
    network.load_state_dict(backbone.network.state_dict(), strict=False)
    prefix = network.num_prefix_tokens
    transform = create_transform(**resolve_data_config({}, model=network))
    with torch.no_grad():
        tokens = network.eval().forward_features(torch.stack([transform(image) for image in IMAGES]))
    assert_close(default_features(backbone, pool="avg"), tokens[:, prefix:].mean(1))
    assert_close(default_features(backbone, pool="max"), tokens[:, prefix:].amax(1))
    assert_close(default_features(backbone, pool="cls"), tokens[:, 0])
    assert_close(default_features(backbone, layers=["norm"]), tokens[:, 0])
    with torch.no_grad():
        patches = network.patch_embed(torch.stack([transform(image) for image in IMAGES]))
    assert_close(default_features(backbone, layers=["patch_embed"], pool="avg"), patches.flatten(1, -2).mean(1))


def by_preprocessing():
    """Return one pretrained network for each kind of preprocessing that timm's configurations have."""
    found = defaultdict(list)
    for name in timm.list_pretrained():
        data = resolve_data_config({}, pretrained_cfg=timm.get_pretrained_cfg(name).to_dict())
        found[tuple(map(str, data.values()))].append((name, data))
    return [names[0] for names in found.values()]


def test_preprocessing_is_that_of_timm_for_all_its_configurations():
    from featx.backbones._registry import PROVIDERS

    kinds = by_preprocessing()
    assert len(kinds) > 50
    seen = set()
    for name, data in kinds:
        got = PROVIDERS["timm"].architecture(name, None, None).preprocessing
        assert got.crop_size == tuple(data["input_size"][1:]), name
        assert (got.mean, got.std) == (tuple(data["mean"]), tuple(data["std"])), name
        steps = create_transform(**data).transforms
        resize = type(steps[0]).__name__
        size = steps[0].size
        assert got.resize_size == (tuple(size) if isinstance(size, (tuple, list)) else (size, size)), name
        expected = {"center": "crop", "squash": "squash", "border": "pad"}[data["crop_mode"]]
        assert (got.resize, got.interpolation) == (expected, data["interpolation"]), name
        seen.add((resize, expected))
    assert {mode for _, mode in seen} >= {"crop", "squash"}


def test_names_and_tags():
    assert f"timm:{FAST[0]}" in list_backbones("timm:test_*")
    tags = list_weights("timm:resnet18")
    assert tags[0] == timm.get_pretrained_cfg("resnet18").tag
    assert set(tags) == {name.partition(".")[2] for name in timm.list_pretrained("resnet18.*")}
    named = load_backbone("timm:resnet18.fb_swsl_ig1b_ft_in1k", weights="random:0")
    assert (named.name, named.origin) == ("timm:resnet18", "random:0")
    with pytest.raises(WeightsError, match=r"'a1_in1' are unknown for timm:resnet18; did you mean 'a1_in1k'\?"):
        load_backbone("timm:resnet18", weights="a1_in1")
    with pytest.raises(WeightsError, match=r"'nope' are unknown for timm:resnet18"):
        load_backbone("resnet18.nope")


@pytest.mark.parametrize("name", ["timm:resnet18", "timm:vit_tiny_patch16_224.augreg_in21k"])
def test_weights_that_cannot_be_downloaded(name, capfd):
    start = time.monotonic()
    with pytest.raises(WeightsUnavailableError) as caught:
        load_backbone(name)
    assert time.monotonic() - start < 20
    message = str(caught.value)
    for part in (name.partition(".")[0], "model.safetensors", "huggingface.co/timm/", "--weights FILE", "lite0"):
        assert part in message
    assert "\n" not in message
    assert capfd.readouterr() == ("", "")


def test_a_network_without_pretrained_weights():
    name = next(name for name in timm.list_models() if not timm.list_pretrained(f"{name}.*") and "resnet" in name)
    with pytest.raises(WeightsUnavailableError, match="has no pretrained weights: give a state dict"):
        load_backbone(f"timm:{name}")


def test_a_fixed_size_network_is_built_for_another_size():
    backbone = load_backbone("timm:test_vit", weights="random:0", image_size=96)
    network = timm.create_model("test_vit", img_size=96, num_classes=0)
    network.load_state_dict(backbone.network.state_dict(), strict=False)
    data = resolve_data_config({"input_size": (3, 96, 96), "crop_pct": 96 / 100}, model=network)
    assert (backbone.preprocessing.crop_size, backbone.preprocessing.resize_size) == ((96, 96), (100, 100))
    transform = create_transform(**data)
    with torch.no_grad():
        expected = network.eval()(torch.stack([transform(image) for image in IMAGES]))
    assert_close(default_features(backbone), expected)
    assert backbone.default_map == "norm"


def test_a_size_that_does_not_fit_is_a_named_error():
    with pytest.raises(BackboneError, match="timm:efficientformer_l1 does not take images of 288x288 pixels"):
        plan_outputs(load_backbone("timm:efficientformer_l1", weights="random:0", image_size=288))


@pytest.mark.slow
def test_own_weights_of_several_classifiers(tmp_path):
    network = timm.create_model("crossvit_tiny_240", num_classes=3)
    torch.save(network.state_dict(), tmp_path / "own.pth")
    backbone = load_backbone("timm:crossvit_tiny_240", weights=tmp_path / "own.pth")
    transform = create_transform(**resolve_data_config({}, model=network))
    with torch.no_grad():
        features = network.eval().forward_features(torch.stack([transform(image) for image in IMAGES]))
        assert_close(default_features(backbone), network.forward_head(features, pre_logits=True))


def test_without_timm_the_others_are_there(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    assert "torchvision:resnet18" in list_backbones()
    assert list_backbones("timm:*") == []
    assert load_backbone("resnet18", weights="random:0").name == "torchvision:resnet18"
    with pytest.raises(BackboneError, match="backbone 'vit_tiny_patch16_224' is unknown"):
        load_backbone("vit_tiny_patch16_224")
    for name in ("timm:resnet18", "efficientnet_lite0"):
        with pytest.raises(MissingDependencyError, match="run `pip install timm`"):
            load_backbone(name)
