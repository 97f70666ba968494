"""Made-up features and targets, and heads that do not take long."""

import io
import zipfile

import numpy as np
import pytest

from featx.errors import HeadError
from featx.heads import fit_head, load_head, make_head

NETS = {"conv": {"max_epochs": 3, "layers": "conv(8,2) relu gap dense"}, "mlp": {"max_epochs": 3}}


def data(k, n=120, d=12, seed=0, dtype=np.float64, spread=1.5):
    generator = np.random.default_rng(seed)
    y = np.arange(n) % k
    centres = generator.normal(size=(k, d)) * spread
    X = np.abs(generator.normal(size=(n, d)) + centres[y]) * np.logspace(-1, 2, d)
    return X.astype(dtype), y


def several_labels(X, y):
    return np.stack([y == 0, X[:, 3] > np.median(X[:, 3]), y != 1], axis=1).astype(np.uint8)


def numbers(X):
    return np.stack([X[:, 3] - X[:, 0], np.sqrt(X[:, 5])], axis=1).astype(np.float64)


def as_input(name, X):
    """Return features as the head wants them: conv looks at maps."""
    return np.repeat(np.repeat(X[:, None, None, :], 2, axis=1), 3, axis=2) if name == "conv" else X


def named(name, params=None, **more):
    """Make a head that does not train for long."""
    return make_head(name, {**NETS.get(name, {}), **(params or {})}, **more)


def small(k=3, n=60, d=6, seed=0, dtype=np.float64):
    generator = np.random.default_rng(seed)
    y = np.arange(n) % k
    return (np.abs(generator.normal(size=(n, d)) + generator.normal(size=(k, d))[y])).astype(dtype), y


def fitted(name, params=None, *, task="classification", **shape):
    """Fit a head on small data."""
    X, y = small(**shape)
    targets = {"classification": y, "multilabel": several_labels(X, y), "regression": numbers(X)}[task]
    head = named(name, params, task=task)
    fit_head(head, as_input(name, X), targets)
    return head


def refused(folder, *words):
    with pytest.raises(HeadError) as caught:
        load_head(folder)
    message = str(caught.value)
    assert "\n" not in message
    assert str(folder) in message
    assert any(word in message for word in words), message


def archive(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as zipped:
        for name, content in files.items():
            zipped.writestr(name, content)
    return buffer.getvalue()
