"""Small stores and parts for the tests of featx.store."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from featx.spec import ExtractionSpec, Preprocessing
from featx.store import FeatureStore, Part, SampleTable, open_store, write_store


def make_spec(dtype: str = "float32", **changes: Any) -> ExtractionSpec:
    values = {"backbone": "test:toy", "weights": "0" * 64, "layer": "flatten", "pool": "avg"} | changes
    return ExtractionSpec(preprocessing=Preprocessing(), dtype=dtype, **values)


def make_table(rows: int, classes: tuple[str, ...] = ("cat", "dog")) -> SampleTable:
    return SampleTable(
        keys=tuple(f"{classes[i % len(classes)] if classes else ''}/{i}.jpg" for i in range(rows)),
        labels=np.arange(rows) % len(classes) if classes else np.full(rows, -1),
        classes=classes,
        splits=tuple(("train", "val")[i % 3 == 0] for i in range(rows)),
        sizes=np.arange(rows) + 1000,
        mtimes_ns=np.arange(rows) + 1_700_000_000_000_000_000,
        inodes=np.arange(rows) + 77,
    )


TASKS = ("multilabel", "regression")


def make_labelled(task: str, rows: int = 7) -> SampleTable:
    """Return a table of groups and of labels that are more than one class; the last row is not known."""
    plain = make_table(rows, classes=())
    labels: list[Any] = {
        "multilabel": [tuple(name for bit, name in enumerate("abc") if row >> bit & 1) for row in range(rows - 1)],
        "regression": [(row / 3, -1e300 * row) for row in range(rows - 1)],
    }[task]
    return SampleTable.of(
        [*labels, None],
        classes=("a", "b", "c"),
        keys=plain.keys,
        splits=plain.splits,
        sizes=plain.sizes,
        mtimes_ns=plain.mtimes_ns,
        inodes=plain.inodes,
        groups=[("", "anna", "bo\udcff")[row % 3] for row in range(rows)],
    )


def make_digests(rows: int) -> list[str]:
    return [hashlib.sha256(str(i).encode()).hexdigest() for i in range(rows)]


def make_features(rows: int, *shape: int, dtype: str = "float32", seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, *(shape or (5,)))).astype(dtype)


def save(path: Path, array: np.ndarray | None = None, /, **changes: Any) -> FeatureStore:
    """Write a small store and open it; `changes` go to write_store."""
    array = make_features(7) if array is None else array
    arguments: dict[str, Any] = {
        "spec": make_spec(array.dtype.name),
        "samples": make_table(len(array)),
        "digests": make_digests(len(array)),
        "features": np.array_split(array, 2),
        "feature_shape": array.shape[1:],
        "axes": "NHWC"[: array.ndim] if array.ndim != 2 else "NC",
        "failures": [("bad.jpg", "cut short")],
        "source": {"name": "photos"},
        "backbone": {"name": "test:toy", "weights": "random:0"},
        "creation": {"featx": "0"},
    }
    write_store(path, **(arguments | changes))
    return open_store(path)


def make_part(start: int, stop: int, *, failed: tuple[int, ...] = (), width: int = 3, seed: int = 0) -> Part:
    rows = np.array([row for row in range(start, stop) if row not in failed], dtype=np.int64)
    whole = make_features(max(stop, 1), width, seed=seed)
    return Part(
        start=start,
        stop=stop,
        rows=rows,
        digests=np.array([make_digests(stop)[row] for row in rows], dtype="U64"),
        features=(whole[rows], whole[rows].astype("float16")[:, :1]),
        failures=tuple((row, f"reason {row} \udcff\0") for row in failed),
    )


def same_part(a: Part, b: Part) -> bool:
    return (
        (a.start, a.stop, a.failures) == (b.start, b.stop, b.failures)
        and np.array_equal(a.rows, b.rows)
        and np.array_equal(a.digests, b.digests)
        and len(a.features) == len(b.features)
        and all(
            x.dtype == y.dtype and x.tobytes() == y.tobytes() and x.shape == y.shape
            for x, y in zip(a.features, b.features, strict=True)
        )
    )
