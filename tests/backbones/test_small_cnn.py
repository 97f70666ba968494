"""The network that is trained from scratch for comparison."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from featx.backbones import describe_layers, list_backbones, list_weights, load_backbone
from featx.errors import WeightsError, WeightsUnavailableError
from featx.extraction import preprocess
from tests.backbones.plain import IMAGES, assert_close, default_features


@pytest.fixture(scope="module")
def backbone():
    return load_backbone("small_cnn", weights="random:3")


def test_parameters_are_as_many_as_keras_counts():
    """Keras counts batch norm's running mean and variance, too: four numbers a channel."""
    network = nn.Sequential(load_backbone("small_cnn", weights="random:0").network, nn.Linear(128, 1))
    counted = [tensor for name, tensor in network.state_dict().items() if not name.endswith("num_batches_tracked")]
    assert sum(tensor.numel() for tensor in counted) == 4_649_345


def test_features_equal_plain_torch(backbone):
    state = backbone.network.state_dict()

    def convolution(x, block, number):
        x = F.conv2d(x, state[f"{block}.{number}.weight"], state[f"{block}.{number}.bias"], padding="same")
        norm = [state[f"{block}.{number + 1}.{name}"] for name in ("running_mean", "running_var", "weight", "bias")]
        return F.batch_norm(x, *norm).relu()

    squashed = [np.asarray(image.resize((160, 160), 2), np.float32) / 255 for image in IMAGES]
    x = torch.from_numpy(np.stack(squashed)).permute(0, 3, 1, 2)
    for block, size in (("block1", 80), ("block2", 40), ("block3", None)):
        x = convolution(convolution(x, block, 0), block, 3)
        x = x.mean((2, 3)) if size is None else F.max_pool2d(x, 2)
    features = F.linear(x, state["dense.weight"], state["dense.bias"]).relu()
    assert_close(default_features(backbone), features)
    assert features.shape == (2, 128)


def test_the_whole_image_is_seen_from_0_to_1(backbone):
    assert (preprocess(IMAGES[0], backbone.preprocessing) == np.asarray(IMAGES[0].resize((160, 160), 2))).all()
    assert (backbone.preprocessing.mean, backbone.preprocessing.std) == ((0.0,) * 3, (1.0,) * 3)


def test_names_and_layers():
    assert list_backbones("featx:*") == ["featx:small_cnn"]
    assert list_weights("small_cnn") == []
    nodes, default, default_map = describe_layers("small_cnn")
    shapes = {node.name: node.shape for node in nodes}
    assert [shapes[f"block{i}"] for i in (1, 2, 3)] == [(160, 160, 128), (80, 80, 256), (40, 40, 512)]
    assert (default, shapes[default], default_map) == ("output", (128,), "block3")


def test_weights_are_random_only_where_they_are_asked_for(tmp_path):
    with pytest.raises(
        WeightsUnavailableError, match=r"no pretrained weights: give .*by name with weights=random:SEED"
    ):
        load_backbone("featx:small_cnn")
    with pytest.raises(WeightsError, match="weights 'imagenet' are unknown for featx:small_cnn; known: a file, random"):
        load_backbone("small_cnn", weights="imagenet")
    first, again, other = (load_backbone("small_cnn", weights=f"random:{seed}") for seed in (5, 5, 6))
    assert first.weights == again.weights != other.weights
    torch.save(other.network.state_dict(), tmp_path / "own.pt")
    assert load_backbone("small_cnn", weights=tmp_path / "own.pt").weights == other.weights
