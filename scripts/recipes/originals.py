"""The way the originals go: the frozen network is run again for every image in every epoch. For comparison only."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

__all__ = ["frozen_loop", "unpacked"]


def unpacked(source: str, folder: Path) -> Path:
    """Return the folder of a source; a zip's contents are written below `folder` first."""
    if not source.endswith(".zip"):
        return Path(source)
    with ZipFile(source) as archive:
        archive.extractall(folder)
    inside = list(folder.iterdir())
    return inside[0] if len(inside) == 1 else folder


def _without_classifier(backbone: Any) -> tuple[nn.Module, int]:
    """Return a backbone's network up to what its classifier is given, and the length of that."""
    network: Any = backbone.network
    name = backbone.classifier
    classifier = network.get_submodule(name)
    parent, _, last = name.rpartition(".")
    setattr(network.get_submodule(parent), last, nn.Identity())
    return network, classifier.in_features


def frozen_loop(
    backbone: Any,
    train: Path,
    validation: Path,
    *,
    size: int,
    head: Callable[[int, int], nn.Module],
    augment: Callable[[], list[Any]],
    optimizer: Callable[[Any], torch.optim.Optimizer],
    epochs: int,
    batch_size: int,
) -> list[dict[str, float]]:
    """Train a head behind a frozen network, images and network in the loop, as everybody writes it.

    Parameters
    ----------
    backbone : featx.Backbone
    train, validation : Path
        Folders of class folders.
    size : int
        Side of the images, which are squashed.
    head : callable
        From the number of features and of classes to the module.
    augment : callable
        Returns transforms for training images.
    optimizer : callable
        From parameters to the optimizer.
    epochs, batch_size : int

    Returns
    -------
    list of dict
        For each epoch ``seconds`` (of both phases) and ``val_accuracy``.
    """
    torch.manual_seed(0)
    pre = backbone.preprocessing
    resize = [v2.Resize((size, size), antialias=True)]
    ending = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(pre.mean, pre.std)]
    sets = [
        ImageFolder(train, v2.Compose([*resize, *augment(), *ending])),
        ImageFolder(validation, v2.Compose([*resize, *ending])),
    ]
    loaders = [DataLoader(data, batch_size, shuffle=data is sets[0], num_workers=2) for data in sets]
    network, features = _without_classifier(backbone)
    top = head(features, len(sets[0].classes))
    steps, loss = optimizer(top.parameters()), nn.CrossEntropyLoss()
    found = []
    for epoch in range(epochs):
        began, right = time.perf_counter(), 0
        top.train()
        for images, labels in loaders[0]:
            with torch.no_grad():
                outputs = network(images)
            steps.zero_grad()
            loss(top(outputs), labels).backward()
            steps.step()
        top.eval()
        with torch.no_grad():
            for images, labels in loaders[1]:
                right += int((top(network(images)).argmax(1) == labels).sum())
        found.append({"seconds": time.perf_counter() - began, "val_accuracy": right / len(sets[1])})
        print(f"original, epoch {epoch + 1}: {found[-1]['seconds']:.1f} s, accuracy {found[-1]['val_accuracy']:.3f}")
    return found
