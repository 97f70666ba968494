"""What `scripts/bench_nets` compares: Keras's and torch's loops as people write them, and featx's, by the epoch."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from featx.heads import NetClassifier

__all__ = ["TASKS", "Featx", "Keras", "PlainLoop", "Task", "features_of"]


@dataclass(frozen=True)
class Task:
    """A head and the features it is trained on.

    Parameters
    ----------
    shape : tuple of int
        Of a row of features, channels last.
    layers : str
        The head, in featx's words.
    plain : callable
        The head, in torch's.
    keras : callable
        The head's layers, in Keras's (its ``layers`` module is given).
    optimizer : str
        ``rmsprop`` or ``adam``.
    batch_size : int
    """

    shape: tuple[int, ...]
    layers: str
    plain: Callable[[], nn.Module]
    keras: Callable[[Any], list[Any]]
    optimizer: str
    batch_size: int


def _conv_head() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2048, 100, 2),
        nn.Dropout(0.4),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(100, 10),
    )


def _mlp_head() -> nn.Module:
    return nn.Sequential(nn.Linear(1280, 128), nn.ReLU(), nn.Linear(128, 10))


def _keras_conv_head(layers: Any) -> list[Any]:
    return [
        layers.Conv2D(100, 2),
        layers.Dropout(0.4),
        layers.GlobalAveragePooling2D(),
        layers.Dropout(0.3),
        layers.Dense(10, activation="softmax"),
    ]


def _keras_mlp_head(layers: Any) -> list[Any]:
    return [layers.Dense(128, activation="relu"), layers.Dense(10, activation="softmax")]


TASKS = {
    "conv": Task(
        (3, 3, 2048),
        "conv(100,2) dropout(0.4) gap dropout(0.3) dense",
        _conv_head,
        _keras_conv_head,
        "rmsprop",
        50,
    ),
    "mlp": Task((1280,), "dense(128) relu dense", _mlp_head, _keras_mlp_head, "adam", 100),
}
_RATE = 1e-4


def features_of(task: Task, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return features of 10 classes, (count, ...) float32, a little apart, and their labels."""
    rng = np.random.default_rng(0)
    centres = rng.random((10, task.shape[-1]), dtype=np.float32)
    labels = rng.integers(10, size=count)
    features = rng.random((count, *task.shape), dtype=np.float32)
    for start in range(0, count, 1000):
        near = centres[labels[start : start + 1000]]
        features[start : start + 1000] += 0.2 * near.reshape(len(near), *[1] * (len(task.shape) - 1), -1)
    return features, labels


class Keras:
    """What R4 does: ``fit`` on arrays and one-hot labels, maps with the channels last, on Keras's torch backend.

    Raises
    ------
    ImportError
        If Keras is not installed.
    """

    def __init__(self, task: Task, features: np.ndarray, labels: np.ndarray) -> None:
        os.environ["KERAS_BACKEND"] = "torch"
        import keras

        keras.utils.set_random_seed(0)
        self.features, self.labels, self.batch_size = features, keras.utils.to_categorical(labels, 10), task.batch_size
        self.model = keras.Sequential([keras.layers.Input(task.shape), *task.keras(keras.layers)])
        optimizer = keras.optimizers.get({"class_name": task.optimizer, "config": {"learning_rate": _RATE}})
        self.model.compile(optimizer=optimizer, loss="categorical_crossentropy", metrics=["accuracy"])

    def epoch(self) -> tuple[float, float]:
        """Train for an epoch; return its seconds and its loss."""
        start = time.perf_counter()
        history = self.model.fit(self.features, self.labels, batch_size=self.batch_size, epochs=1, verbose=0).history
        return time.perf_counter() - start, history["loss"][-1]


class PlainLoop:
    """TensorDataset, a shuffling DataLoader, a module of torch's layers, its optimizer; maps are channels first."""

    def __init__(self, task: Task, features: np.ndarray, labels: np.ndarray) -> None:
        torch.manual_seed(0)
        tensor = torch.from_numpy(features)
        if tensor.ndim == 4:
            tensor = tensor.permute(0, 3, 1, 2).contiguous()
        dataset = TensorDataset(tensor, torch.from_numpy(labels))
        self.loader = DataLoader(dataset, batch_size=task.batch_size, shuffle=True)
        self.model = task.plain()
        optimizers = {"rmsprop": torch.optim.RMSprop, "adam": torch.optim.Adam}
        self.optimizer = optimizers[task.optimizer](self.model.parameters(), lr=_RATE)
        self.loss = nn.CrossEntropyLoss()

    def epoch(self) -> tuple[float, float]:
        """Train for an epoch; return its seconds and its loss."""
        start, total = time.perf_counter(), 0.0
        self.model.train()
        for batch, target in self.loader:
            self.optimizer.zero_grad()
            loss = self.loss(self.model(batch), target)
            loss.backward()
            self.optimizer.step()
            total += loss.item()
        return time.perf_counter() - start, total / len(self.loader)


class Featx:
    """featx's head on the features as they are stored; nothing is standardised, as in the plain loop."""

    def __init__(self, task: Task, features: np.ndarray, labels: np.ndarray) -> None:
        self.features, self.labels = features, labels
        self.head = NetClassifier(
            task.layers,
            optimizer=task.optimizer,
            learning_rate=_RATE,
            batch_size=task.batch_size,
            max_epochs=1,
            standardize=False,
            warm_start=True,
            device="cpu",
            random_state=0,
        )

    def epoch(self) -> tuple[float, float]:
        """Train for an epoch; return its seconds and its loss."""
        self.head.fit(self.features, self.labels)
        last = self.head.history_[-1]
        return last["seconds"], last["loss"]
