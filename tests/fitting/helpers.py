"""Stores of made-up features, for heads that are fitted in milliseconds."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from featx.store import FeatureStore, SampleTable
from tests.store.helpers import make_digests, make_spec, save

CLASSES = ("cat", "dog", "eel")


def clouds(rows: int, width: int = 6, *, classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return overlapping clouds of points and their classes, in turn."""
    generator = np.random.default_rng(seed)
    labels = np.arange(rows) % classes
    centres = np.random.default_rng(99).standard_normal((classes, width)) * 1.2
    return (centres[labels] + generator.standard_normal((rows, width))).astype(np.float32), labels


def write(
    path: Path,
    features: np.ndarray,
    labels: Sequence[int] | np.ndarray,
    *,
    classes: Sequence[str] = CLASSES,
    splits: Sequence[str] | None = None,
    keys: Sequence[str] | None = None,
    digests: Sequence[str] | None = None,
    spec: dict[str, Any] | None = None,
    table: dict[str, Any] | None = None,
    **changes: Any,
) -> FeatureStore:
    n = len(features)
    samples = SampleTable(
        keys=tuple(keys or (f"{i:04d}.jpg" for i in range(n))),
        labels=np.asarray(labels, dtype=np.int64),
        classes=tuple(classes),
        splits=tuple(splits or [""] * n),
        sizes=np.full(n, 7),
        mtimes_ns=np.full(n, 7),
        **(table or {}),
    )
    arguments = {"spec": make_spec(**(spec or {})), "samples": samples, "digests": digests or make_digests(n)}
    return save(path, features, **{"failures": [], **arguments, **changes})
