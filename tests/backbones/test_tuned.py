"""Networks that were trained further: a file that says what it is of is a backbone."""

import json

import pytest
import torch
from safetensors.torch import save_file

from featx.backbones import NETWORK_FILE, find_network, load_backbone, network_bytes
from featx.caching import extract
from featx.errors import WeightsError
from featx.spec import Preprocessing
from tests.tiny import write_folder

SMALL = "tests.extraction.networks:Small"


@pytest.fixture
def run(tmp_path):
    """Return the folder of a run that holds a network of 4 classes, for images of another size."""
    backbone = load_backbone("squeezenet1_1", weights="random:1", image_size=40, resize="squash")
    for parameter in backbone.network.parameters():
        parameter.add_(0.01)
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "run.json").write_text("{}")
    (folder / NETWORK_FILE).write_bytes(network_bytes(backbone))
    return folder, backbone


@pytest.mark.parametrize("part", ["", NETWORK_FILE])
def test_it_is_the_network_that_was_written(run, part):
    folder, written = run
    found = load_backbone(str(folder / part))
    assert (found.name, found.weights, found.preprocessing) == (written.name, written.weights, written.preprocessing)
    assert (found.origin, found.reloadable) == (str(folder / NETWORK_FILE), True)
    assert load_backbone(str(folder), image_size=48).preprocessing.crop_size == (48, 48)
    plain = load_backbone("squeezenet1_1", weights=folder / NETWORK_FILE)
    assert plain.weights == written.weights
    assert plain.preprocessing.crop_size == (224, 224)


def test_a_network_without_its_classifier_comes_back(tmp_path):
    written = load_backbone("timm:deit_tiny_distilled_patch16_224", weights="random:0", image_size=32)
    (tmp_path / "net.safetensors").write_bytes(network_bytes(written))
    assert load_backbone(str(tmp_path / "net.safetensors")).weights == written.weights


def test_weights_beside_it_are_refused(run):
    with pytest.raises(WeightsError, match="are in a tuned network already; got 'random:1' beside it"):
        load_backbone(str(run[0]), weights="random:1")
    with pytest.raises(WeightsError, match="are in a backbone that is loaded already"):
        load_backbone(load_backbone(SMALL), weights="random:1")


def test_a_backbone_that_is_loaded_is_taken_as_it_is():
    backbone = load_backbone(SMALL)
    other = load_backbone(backbone, image_size=24)
    assert other.network is backbone.network
    assert (other.preprocessing, backbone.preprocessing) == (
        backbone.preprocessing.changed(image_size=24),
        backbone.network.preprocessing,
    )


def test_what_is_none_is_told(tmp_path, run):
    folder, _ = run
    assert find_network("resnet18") is None
    assert find_network(str(tmp_path)) is None
    (folder / NETWORK_FILE).unlink()
    with pytest.raises(WeightsError, match="is a run that holds no network: only `featx fine-tune` trains one"):
        find_network(str(folder))
    path = tmp_path / "other.safetensors"
    for facts, reason in (
        ({}, "its metadata do not say which"),
        ({"format": "featx-network", "version": 9}, "format version 9: upgrade featx"),
        ({"format": "featx-network", "version": 1, "backbone": "resnet18"}, "preprocessing"),
        ({"format": "featx-network", "version": 1, "backbone": "x", "preprocessing": {"std": [0]}}, "std"),
    ):
        save_file({"a": torch.zeros(1)}, path, {"featx": json.dumps(facts)})
        with pytest.raises(WeightsError, match=rf"is no network that featx has trained \(.*{reason}.*weights FILE\)"):
            load_backbone(str(path))
    path.write_bytes(b"no such thing")
    with pytest.raises(WeightsError, match="is no network that featx has trained"):
        load_backbone(str(path))


def test_another_network_in_the_same_place_is_seen(tmp_path, run):
    folder, backbone = run
    photos = write_folder(tmp_path / "photos", per_class=1)
    first = extract(photos, str(folder), cache=tmp_path)
    assert first.spec.weights == backbone.weights
    assert isinstance(first.spec.preprocessing, Preprocessing)
    for parameter in backbone.network.parameters():
        parameter.add_(0.01)
    (folder / NETWORK_FILE).write_bytes(network_bytes(backbone))
    second = extract(photos, str(folder), cache=tmp_path)
    assert second.spec.weights == load_backbone(str(folder)).weights != first.spec.weights
