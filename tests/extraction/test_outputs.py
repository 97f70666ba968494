"""What is planned is what comes, and its spec says all of it."""

import numpy as np
import pytest

from featx.backbones import load_backbone
from featx.errors import NodeError, ParameterError
from featx.extraction import TorchEngine, plan_outputs
from featx.spec import ExtractionSpec
from tests.tiny import BACKBONE, PREPROCESSING, tiny_net


@pytest.fixture(scope="module")
def backbone():
    return load_backbone(BACKBONE)


def test_the_default(backbone):
    (output,) = plan_outputs(backbone)
    assert output.spec == ExtractionSpec(
        backbone=BACKBONE, weights=backbone.weights, layer="output", pool="none", preprocessing=PREPROCESSING
    )
    assert (output.shape, output.axes) == ((5,), "NC")


def test_the_spec_holds_every_choice(backbone):
    first, second = plan_outputs(backbone, layers=["relu_1", "conv1"], pool="gem", precision="bf16", dtype="float16")
    assert (first.spec.layer, second.spec.layer) == ("relu_1", "conv1")
    for output in (first, second):
        assert (output.spec.pool, output.spec.precision, output.spec.dtype) == ("gem", "bf16", "float16")
    changed = plan_outputs(load_backbone(BACKBONE, image_size=64, mean=[0, 0, 0]))[0]
    assert changed.spec.preprocessing == PREPROCESSING.changed(image_size=64, mean=[0, 0, 0])
    other = tiny_net()
    other.fc.bias.data[0] += 1
    assert plan_outputs(load_backbone(other))[0].spec.weights != first.spec.weights


@pytest.mark.parametrize(
    ("layer", "pool", "resolved", "shape", "axes"),
    [
        (None, None, "none", (5,), "NC"),
        (None, "avg", "avg", (16,), "NC"),
        ("relu", None, "avg", (8,), "NC"),
        ("relu", "flatten", "flatten", (16 * 16 * 8,), "NC"),
        ("relu", "none", "none", (16, 16, 8), "NHWC"),
        ("fc", "max", "none", (5,), "NC"),
        ("pool", "max", "max", (16,), "NC"),
    ],
)
def test_shapes_are_those_that_come(backbone, layer, pool, resolved, shape, axes):
    outputs = plan_outputs(backbone, layers=[layer] if layer else [], pool=pool)
    assert (outputs[0].spec.pool, outputs[0].shape, outputs[0].axes) == (resolved, shape, axes)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    assert TorchEngine(backbone, outputs)(pixels)[0].shape == (2, *shape)


def test_errors(backbone):
    with pytest.raises(ParameterError, match="layers must all be different; got relu, relu"):
        plan_outputs(backbone, layers=["relu", "relu"])
    with pytest.raises(NodeError, match="layer 'rely' is no node"):
        plan_outputs(backbone, layers=["rely"])
    with pytest.raises(NodeError, match="pool 'cls' needs a class token"):
        plan_outputs(backbone, layers=["relu"], pool="cls")
    with pytest.raises(ParameterError, match=r"pool must be one of avg, max, .*; got 'median'"):
        plan_outputs(backbone, layers=["relu"], pool="median")
    with pytest.raises(ParameterError, match=r"pool must be one of avg, max, .*; got 'median'"):
        plan_outputs(backbone, layers=["fc"], pool="median")
    with pytest.raises(ParameterError, match="precision must be one of fp32, bf16, fp16; got 'fp64'"):
        plan_outputs(backbone, precision="fp64")
    with pytest.raises(ParameterError, match="dtype must be one of float32, float16; got 'int8'"):
        plan_outputs(backbone, dtype="int8")
