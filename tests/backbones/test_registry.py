"""Names: which there are, what a bare one means, and what is said to a wrong one."""

import pytest

from featx.backbones import list_backbones, list_weights
from featx.backbones._registry import PROVIDERS, provider, resolve_name
from featx.errors import BackboneError, ParameterError, first_line


def test_the_list_is_sorted_qualified_and_without_doubles():
    names = list_backbones()
    assert names == sorted(set(names))
    assert {name.partition(":")[0] for name in names} == {"embedded", "featx", "timm", "torchvision"}
    assert len(names) > 1000


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("lite0", ["embedded:efficientnet_lite0", "timm:efficientnet_lite0", "timm:tf_efficientnet_lite0"]),
        (
            "resnet18",
            ["timm:legacy_seresnet18", "timm:resnet18", "timm:seresnet18", "timm:skresnet18", "torchvision:resnet18"],
        ),
        ("resnet18*", ["timm:resnet18", "timm:resnet18d", "torchvision:resnet18"]),
        ("torchvision:resnet1?", ["torchvision:resnet18"]),
        ("*:resnet18", ["timm:resnet18", "torchvision:resnet18"]),
        ("torchvision:resnet1", ["torchvision:resnet101", "torchvision:resnet152", "torchvision:resnet18"]),
        ("no such thing", []),
    ],
)
def test_patterns(pattern, expected):
    got = list_backbones(pattern)
    assert set(expected) <= set(got)
    assert [name for name in got if not name.startswith("timm:")] == [
        name for name in expected if not name.startswith("timm:")
    ]


@pytest.mark.parametrize(
    ("name", "prefix", "rest"),
    [
        ("resnet50", "torchvision", "resnet50"),
        ("timm:resnet50", "timm", "resnet50"),
        ("torchvision:resnet50", "torchvision", "resnet50"),
        ("efficientnet_lite0", "embedded", "efficientnet_lite0"),
        ("timm:efficientnet_lite0", "timm", "efficientnet_lite0"),
        ("vit_tiny_patch16_224", "timm", "vit_tiny_patch16_224"),
        ("small_cnn", "featx", "small_cnn"),
        ("resnet50.a1_in1k", "timm", "resnet50.a1_in1k"),
    ],
)
def test_what_a_name_means(name, prefix, rest):
    assert resolve_name(name) == (PROVIDERS[prefix], prefix, rest)


def test_everything_else_with_a_colon_is_a_function():
    assert resolve_name("package.module:function") == (None, "package.module", "function")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "resnet5",
            r"backbone 'resnet5' is unknown; did you mean 'resnet50'\? \(`featx backbones` lists all; your own",
        ),
        ("timm:resnt50", r"backbone 'resnt50' is unknown to timm; did you mean 'resnet50'\?"),
        ("torchvision:vit_tiny_patch16_224", r"is unknown to torchvision"),
        ("embedded:resnet50", r"backbone 'resnet50' is unknown to embedded \("),
        ("", r"backbone '' is unknown \("),
        ("timm:", r"backbone '' is unknown to timm"),
        ("@@@", r"backbone '@@@' is unknown \("),
    ],
)
def test_unknown_names(name, message):
    with pytest.raises(BackboneError, match=message):
        resolve_name(name)


def test_weights_of_a_name():
    assert list_weights("resnet50") == ["IMAGENET1K_V2", "IMAGENET1K_V1"]
    assert list_weights("module:function") == []


def test_a_second_provider_of_one_prefix_is_refused():
    with pytest.raises(ParameterError, match="'timm' is registered already"):
        provider("timm")(object)
    assert PROVIDERS["timm"].has("resnet18")


def test_first_lines():
    assert first_line(ValueError(" one\ntwo")) == "one"
    assert first_line(ValueError()) == "ValueError"
