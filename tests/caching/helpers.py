"""What the tests of featx.caching compare with: plain torch, and stores side by side."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torchvision import transforms

from featx.caching import Extraction, extract_layers
from featx.store import FeatureStore
from tests.tiny import BACKBONE, PREPROCESSING, TinyNet, tiny_net


def plain_features(files: Sequence[Path]) -> dict[str, np.ndarray]:
    """Return what a dozen lines of plain torch give, one image at a time, for three layers of the tiny network."""
    transform = transforms.Compose(
        [
            transforms.Resize(PREPROCESSING.resize_size[0]),
            transforms.CenterCrop(PREPROCESSING.crop_size),
            transforms.ToTensor(),
            transforms.Normalize(PREPROCESSING.mean, PREPROCESSING.std),
        ]
    )
    network = tiny_net().eval()
    rows: dict[str, list[np.ndarray]] = {"output": [], "conv2": [], "relu_1": []}
    network.conv2.register_forward_hook(lambda _, __, maps: rows["conv2"].append(maps.detach().clone().numpy()[0]))
    with torch.no_grad():
        for file in files:
            image = Image.open(file).convert("RGB")
            rows["output"].append(network(transform(image)[None]).numpy()[0])
    rows["relu_1"] = [maps.clip(0) for maps in rows["conv2"]]
    return {layer: np.stack(found) for layer, found in rows.items()}


def extracted(
    source: Any, cache: Path, layers: Sequence[str] = (), **options: Any
) -> tuple[list[Extraction], int, int]:
    """Extract with the tiny network; return what came of it, and how many batches and images the network saw."""
    forwards, images = TinyNet.forwards, TinyNet.images
    found = extract_layers(source, BACKBONE, layers=layers, cache=cache, **options)
    ran = TinyNet.forwards - forwards
    shown = TinyNet.images - images
    return found, ran, shown


def assert_same(a: FeatureStore, b: FeatureStore) -> None:
    """Hold two stores against each other: every row, bit for bit, and all that is known of it."""
    assert a.keys == b.keys
    assert a.classes == b.classes
    assert a.labels.tolist() == b.labels.tolist()
    assert a.splits == b.splits
    assert a.digests == b.digests
    assert a.sizes.tolist() == b.sizes.tolist()
    assert a.mtimes_ns.tolist() == b.mtimes_ns.tolist()
    assert a.failures == b.failures
    assert a.features.dtype == b.features.dtype
    assert a.features.shape == b.features.shape
    assert a.features.tobytes() == b.features.tobytes()
