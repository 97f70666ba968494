"""Which parameters are trained, in the words and numbers of those who did it before."""

import pytest
from torch import nn

from featx.backbones import load_backbone
from featx.errors import NodeError, ParameterError
from featx.extraction import plan_outputs
from featx.tuning._parts import choose_part
from featx.tuning._training import find_cut
from tests.tuning.nets import STAGED


def size(backbone, names):
    parameters = dict(backbone.network.named_parameters())
    return sum(parameters[name].numel() for name in names)


def test_keras_counts_from_layer_100_of_mobilenet_v2():
    backbone = load_backbone("mobilenet_v2", weights="random:0", image_size=96)
    (output,) = plan_outputs(backbone)
    part = choose_part(backbone, output.node, start="features.12.conv.1")
    assert size(backbone, part.parameters) == 1_862_721 - 1_281
    assert size(backbone, part.frozen) + part.statistics == 396_544
    index = [node.name for node in backbone.leaves].index("features.12.conv.1.0")
    assert choose_part(backbone, output.node, start=str(index)) == choose_part(backbone, output.node, start=index)
    assert choose_part(backbone, output.node, start=index).parameters == part.parameters
    cut = find_cut(backbone, output, part)
    assert cut.name == "features.11"  # block 12 has a connection past its first layers


def test_resnet34_by_the_names_of_its_blocks():
    backbone = load_backbone("resnet34", weights="random:0", image_size=64)
    network = backbone.network
    (output,) = plan_outputs(backbone)
    part = choose_part(backbone, output.node, blocks=["layer4", "layer3"])
    expected = [p.numel() for block in (network.layer3, network.layer4) for p in block.parameters()]
    assert size(backbone, part.parameters) == sum(expected)
    assert len(part.parameters) == len(expected)
    rest = (
        sum(p.numel() for p in network.parameters()) - sum(expected) - sum(p.numel() for p in network.fc.parameters())
    )
    assert size(backbone, part.frozen) == rest
    assert find_cut(backbone, output, part).name == "layer2"


def test_parameters_belong_to_when_they_are_used():
    backbone = load_backbone(STAGED)
    (output,) = plan_outputs(backbone, layers=["fc.input"])
    whole = choose_part(backbone, output.node, start="all")
    assert set(whole.parameters) == {name for name, _ in backbone.network.named_parameters() if "fc" not in name}
    assert (whole.frozen, find_cut(backbone, output, whole)) == ((), None)
    later = choose_part(backbone, output.node, start="stage2")
    assert set(later.parameters) == {"gain", "stage2.0.weight", "stage2.0.bias", "stage2.1.weight", "stage2.1.bias"}
    assert set(later.modules) == {"stage2", "stage2.0", "stage2.1", "drop"}  # act began before
    assert find_cut(backbone, output, later).name == "act_1"
    assert choose_part(backbone, output.node, start="act_1").parameters == later.parameters
    inner = choose_part(backbone, output.node, start="stage2.1")
    assert "stage2.0.weight" in inner.frozen
    assert find_cut(backbone, output, inner).name == "act_1"
    block = choose_part(backbone, output.node, blocks=["stage2"])
    assert set(later.parameters) - set(block.parameters) == {"gain"}
    assert block.modules == ("stage2", "stage2.0", "stage2.1")


def test_a_name_goes_before_an_index():
    network = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3))
    backbone = load_backbone(network, image_size=16)
    (output,) = plan_outputs(backbone)
    named, counted = (set(choose_part(backbone, output.node, start=start).parameters) for start in ("1", 1))
    assert named == {"1.weight", "1.bias", "2.weight", "2.bias"}
    assert counted == named
    assert set(choose_part(backbone, output.node, start="2").parameters) == {"2.weight", "2.bias"}
    assert (
        choose_part(backbone, output.node, start=2).parameters
        == choose_part(backbone, output.node, start="1").parameters
    )
    assert set(choose_part(backbone, output.node, start="3").parameters) == {"2.weight", "2.bias"}


@pytest.mark.parametrize(
    ("asked", "error", "match"),
    [
        ({}, ParameterError, "neither"),
        ({"start": "stage1", "blocks": ["stage2"]}, ParameterError, "both"),
        ({"start": "stage3"}, NodeError, "did you mean 'stage"),
        ({"start": "99"}, NodeError, "index 99 is none of the"),
        ({"start": "fc"}, NodeError, "not computed before 'fc.input'"),
        ({"start": "drop"}, ParameterError, "none: name an earlier layer"),
        ({"blocks": ["act"]}, ParameterError, "'act', which has none"),
        ({"blocks": ["stage1", "fc"]}, NodeError, "'fc' is not computed"),
    ],
)
def test_what_cannot_be_trained_is_refused(asked, error, match):
    backbone = load_backbone(STAGED)
    (output,) = plan_outputs(backbone, layers=["fc.input"])
    with pytest.raises(error, match=match):
        choose_part(backbone, output.node, **asked)
