"""Backbones and what comes after them as one ONNX file."""

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from featx.backbones import load_backbone
from featx.errors import EngineError, ParameterError
from featx.extraction import export_model, plan_outputs
from tests.extraction.networks import PREPROCESSING, OneByOne, Peeks, Small, pixels, plainly


class Head(nn.Module):
    """Scores and the largest of them."""

    def __init__(self, width, k=4):
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.register_buffer("coef", torch.randn(width, k, generator=generator))

    def forward(self, features):
        scores = features @ self.coef
        return scores, scores.argmax(dim=1)


def export(parts, path, head=None, check=lambda answers: None):
    width = sum(output.shape[-1] for _, output in parts)
    options = {"outputs": ["scores", "label"], "metadata": {"colour": "blau"}, "description": "what it is"}
    export_model(parts, head or Head(width), path, check=check, **options)


def run(path, batch):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"images": batch}), strict=True))


def parts_of(network, layers, **options):
    backbone = load_backbone(network)
    return [(backbone, output) for output in plan_outputs(backbone, layers=layers, **options)]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "small.onnx"
    export(parts_of(Small(), ["fc"]), path)
    return path


@pytest.mark.parametrize("n", [1, 2, 9])
def test_the_file_computes_backbone_and_head_for_any_number_of_images(exported, n):
    answers = run(exported, pixels(n, seed=n))
    features = plainly(Small(), pixels(n, seed=n))["fc"]
    expected = features.astype(np.float64) @ Head(5).coef.numpy()
    assert list(answers) == ["features", "scores", "label"]
    np.testing.assert_allclose(answers["features"], features, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(answers["scores"], expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(answers["label"], expected.argmax(axis=1))
    assert answers["label"].dtype == np.int64


def test_the_file_says_what_it_is(exported):
    model = onnx.load(exported)
    onnx.checker.check_model(model)
    assert model.producer_name == "featx"
    assert model.doc_string == "what it is"
    assert {entry.key: entry.value for entry in model.metadata_props} == {"colour": "blau"}
    (given,) = model.graph.input
    assert given.name == "images"
    assert given.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert [length.dim_value for length in given.type.tensor_type.shape.dim][1:] == [32, 32, 3]
    assert not given.type.tensor_type.shape.dim[0].HasField("dim_value")


def test_layers_of_one_network_are_one_pass_and_several_networks_join_in_order(tmp_path):
    first, second = Small(), Small(seed=1)
    mine, theirs = parts_of(first, ["conv2", "fc"]), parts_of(second, ["fc"])
    export([mine[1], *theirs, mine[0]], tmp_path / "both.onnx")
    expected = [plainly(first, pixels(3))["fc"], plainly(second, pixels(3))["fc"]]
    expected.append(plainly(first, pixels(3))["conv2"].mean((1, 2)))
    answers = run(tmp_path / "both.onnx", pixels(3))
    np.testing.assert_allclose(answers["features"], np.hstack(expected), rtol=1e-4, atol=1e-5)
    graph = onnx.load(tmp_path / "both.onnx").graph
    assert [node.op_type for node in graph.node].count("Conv") == 4


def test_networks_that_differ_in_mean_and_std_alone_see_the_same_pixels(tmp_path):
    other = Small(seed=1)
    other.preprocessing = replace(PREPROCESSING, mean=(0.1, 0.2, 0.3), std=(1, 1, 1))
    parts = parts_of(Small(), ["fc"]) + parts_of(other, ["fc"])
    export(parts, tmp_path / "both.onnx")
    expected = np.hstack([plainly(network, pixels(2))["fc"] for network in (Small(), other)])
    np.testing.assert_allclose(run(tmp_path / "both.onnx", pixels(2))["features"], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "changes",
    [{"crop_size": (24, 24)}, {"resize_size": (40, 40)}, {"interpolation": "bicubic"}, {"resize": "squash"}],
    ids=lambda changes: next(iter(changes)),
)
def test_networks_of_other_pixels_are_refused(tmp_path, changes):
    other = Small(seed=1)
    other.preprocessing = replace(PREPROCESSING, **changes)
    with pytest.raises(ParameterError, match=r"one ONNX file takes one size of images; .*Small and .*Small are shown"):
        export(parts_of(Small(), ["fc"]) + parts_of(other, ["fc"]), tmp_path / "both.onnx")
    assert list(tmp_path.iterdir()) == []


def test_the_colour_around_images_is_part_of_the_pixels(tmp_path):
    one, other = Small(), Small(seed=1)
    one.preprocessing = replace(PREPROCESSING, resize="pad")
    other.preprocessing = replace(one.preprocessing, mean=(0.1, 0.2, 0.3))
    with pytest.raises(ParameterError, match="one ONNX file takes one size of images"):
        export(parts_of(one, ["fc"]) + parts_of(other, ["fc"]), tmp_path / "both.onnx")


def test_features_are_rounded_as_they_were_stored(tmp_path):
    export(parts_of(Small(), ["fc"], dtype="float16"), tmp_path / "half.onnx")
    features = run(tmp_path / "half.onnx", pixels(5))["features"]
    np.testing.assert_array_equal(features, features.astype(np.float16))
    np.testing.assert_allclose(features, plainly(Small(), pixels(5))["fc"], rtol=2e-3, atol=1e-3)


def test_maps_go_to_the_head_as_they_are(tmp_path):
    class Corner(nn.Module):
        def forward(self, maps):
            scores = maps[:, 0, 0]
            return scores, scores.argmax(dim=1)

    export(parts_of(Small(), ["conv2"], pool="none"), tmp_path / "maps.onnx", Corner())
    maps = plainly(Small(), pixels(3))["conv2"]
    answers = run(tmp_path / "maps.onnx", pixels(3))
    np.testing.assert_allclose(answers["features"], maps, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(answers["scores"], maps[:, 0, 0], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_network_of_a_fixed_number_of_images_says_so_in_its_input(tmp_path):
    path = tmp_path / "four.onnx"
    export(parts_of(OneByOne(), ["output"]), path)
    assert onnx.load(path).graph.input[0].type.tensor_type.shape.dim[0].dim_value == 4
    np.testing.assert_allclose(
        run(path, pixels(4))["features"], plainly(OneByOne(), pixels(4))["fc"], rtol=1e-4, atol=1e-5
    )


@pytest.mark.slow
def test_what_fails_the_check_leaves_no_file(tmp_path):
    seen = []

    def check(answers):
        seen.append(len(answers["label"]))
        raise EngineError("no")

    with pytest.raises(EngineError, match=r"^no$"):
        export(parts_of(Small(), ["fc"]), tmp_path / "small.onnx", check=check)
    assert seen == [3, 4]
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_captured_or_written_says_so(tmp_path):
    with pytest.raises(EngineError, match=r"^torch\.export cannot capture the network"):
        export(parts_of(Peeks(), ["output"]), tmp_path / "peeks.onnx")
    with pytest.raises(EngineError, match=r"the graph .* cannot be written \(No such file or directory\)"):
        export(parts_of(Small(), ["fc"]), tmp_path / "nowhere" / "small.onnx")
    assert list(tmp_path.iterdir()) == []
