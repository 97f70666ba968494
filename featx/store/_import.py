"""Features computed elsewhere become a store, so that heads work on them."""

import csv
import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.errors import FeatxError, ParameterError, SourceError
from featx.spec import ExtractionSpec, Preprocessing, digest_of
from featx.store._digests import rows_per_block
from featx.store._export import require_new
from featx.store._folder import cache_folder, store_path
from featx.store._merge import class_order
from featx.store._reader import FeatureStore, open_store
from featx.store._table import SampleTable
from featx.store._writer import write_store

__all__ = ["IMPORTED", "import_features"]

Array = npt.NDArray[Any]
Columns = dict[str, Any]
StrPath = str | os.PathLike[str]

IMPORTED = "imported"
"""Prefix of the backbones of such stores: no provider has it, so there is no network to run on an image."""

_AXES = {2: "NC", 3: "NLC", 4: "NHWC"}
_NAMES: Mapping[str, tuple[str, ...]] = {
    "features": ("features", "x", "embeddings"),
    "labels": ("labels", "label", "y", "targets", "target", "class"),
    "keys": ("keys", "key"),
    "splits": ("splits", "split"),
    "classes": ("classes", "class_names"),
}
"""Names, in any case, under which each part is found in a file."""


def import_features(
    path: StrPath,
    out: StrPath | None = None,
    *,
    labels: StrPath | Sequence[object] | Array | None = None,
    name: str | None = None,
    classes: Sequence[str] | None = None,
    splits: Sequence[str | None] | None = None,
    cache: StrPath | None = None,
    compress: bool = False,
    overwrite: bool = False,
) -> FeatureStore:
    """Make a store of features that were computed elsewhere.

    A head can be fitted and judged on it like on any other; images cannot be predicted with such a head, as featx
    does not have the network.

    Parameters
    ----------
    path : str or path
        An ``.npy`` file of features, or an ``.npz`` with an array named ``features``, ``X`` or ``embeddings``
        and, if wanted, ``labels`` or ``y``, ``keys``, ``classes`` and ``splits``. Features are vectors (n, d),
        sequences (n, length, d) or maps (n, height, width, d), floating point and finite; float64 becomes
        float32. An ``.npy`` is never held in memory.
    out : str or path, optional
        File of the store; by default one in the cache, where importing the same file again replaces it.
    labels : path or sequence, length n, optional
        Instead of those in the file: values, or a file of them: ``.npy``; ``.txt``, one in each line; ``.csv`` with
        a column ``label`` and, if wanted, ``key`` and ``split``; ``.json``, a list, or an object with ``labels`` and,
        if wanted, ``keys``, ``splits`` and ``classes``. Text names a class; an integer is an index into `classes`
        (negative for none), or a name where there are no classes; empty text, null and NaN are none.
    name : str, optional
        What the extractor is called. Stores have the same spec, so that a head of one takes features of the
        other, if they were imported under the same name (or, without one, if they hold the same features).
    classes : sequence of str, optional
        Instead of those in the file; by default the labels that occur, sorted.
    splits : sequence of str, length n, optional
        Instead of those in the file.
    cache : path, optional
        See :func:`featx.store.cache_folder`.
    compress : bool
        Whether the store is compressed, as :func:`write_store` does it.
    overwrite : bool
        Whether `out` may be replaced.

    Returns
    -------
    FeatureStore

    Raises
    ------
    SourceError
        If a file cannot be read, or holds no features.
    ParameterError
        If what it holds does not fit together.
    """
    path = Path(path)
    if name is not None and not name.strip():
        raise ParameterError("name must say what the extractor is called; got an empty text: leave it out, or name it")
    found = _read(path, _FEATURES)
    if "features" not in found:
        raise SourceError(f"{path} must hold an array named {', '.join(_NAMES['features'])}: rename the one it has")
    found |= _label_columns(labels, found)
    found |= {key: value for key, value in {"classes": classes, "splits": splits}.items() if value is not None}
    features = found.pop("features")
    _check_features(features)
    samples = _samples(found, len(features), _dtype(features).itemsize * features[0].size)
    digests, content = _digests(features)
    extractor = path.stem if name is None else name
    spec = ExtractionSpec(
        backbone=f"{IMPORTED}:{extractor}",
        weights=content if name is None else digest_of([IMPORTED, name]),
        layer="features",
        pool="none",
        preprocessing=Preprocessing(),
        dtype="float16" if features.dtype.itemsize == 2 else "float32",
    )
    identity = f"import:{os.path.realpath(path)}"
    if out is None:
        target = store_path(cache_folder(cache), name=path.stem, identity=identity, spec=spec)
    else:
        target = Path(out)
        require_new(target, overwrite=overwrite)
    write_store(
        target,
        spec=spec,
        samples=samples,
        digests=digests,
        features=(block for _, block in _blocks(features)),
        feature_shape=features.shape[1:],
        axes=_AXES[features.ndim],
        source={"name": path.stem, "identity": identity, "samples": len(features)},
        backbone={"name": spec.backbone, "weights": None, "reloadable": False},
        creation={
            "featx": version("featx"),
            "imported": path.name,
            "imported_dtype": features.dtype.name,
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
        },
        compress=compress,
    )
    return open_store(target)


def _read(path: Path, readers: Mapping[str, Callable[[Path], Columns]]) -> Columns:
    """Return what a file holds, by the names of :data:`_NAMES`."""
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise SourceError(f"{path} must end in one of {', '.join(readers)}: save it as one of these")
    try:
        return reader(path)
    except FeatxError:
        raise
    except OSError as error:
        raise SourceError(f"{path} cannot be read ({error.strerror or error}): check path and permissions") from error
    except Exception as error:  # NumPy and zipfile let nearly every exception out on damaged files
        raise SourceError(
            f"{path} cannot be read ({' '.join(str(error).split())[:200]}): give an intact {path.suffix} file without"
            " Python objects (text saved as numpy.array(labels, dtype=str))"
        ) from error


def _read_npz(path: Path) -> Columns:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        if not isinstance(arrays, np.lib.npyio.NpzFile):
            raise ValueError("it is a single array")
        return _named(path, {name: arrays[name] for name in arrays.files if _role(name)})


def _read_array(role: str) -> Callable[[Path], Columns]:
    def read(path: Path) -> Columns:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(array, np.ndarray):
            raise ValueError("it is no single array")
        return {role: array}

    return read


def _read_json(path: Path) -> Columns:
    found = json.loads(path.read_text(encoding="utf-8-sig", errors="surrogateescape"))
    columns = _named(path, found) if isinstance(found, dict) else {"labels": found}
    if not all(isinstance(column, list) for column in columns.values()):
        raise SourceError(f"{path} must be a list of labels, or an object with lists: write labels=[...]")
    columns.pop("features", None)
    return columns


def _read_txt(path: Path) -> Columns:
    lines = path.read_text(encoding="utf-8-sig", errors="surrogateescape").split("\n")
    return {"labels": lines if lines[-1] else lines[:-1]}


def _read_csv(path: Path) -> Columns:
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.reader(file, strict=True)
        header = next(reader, [])
        wanted = _named(path, {name: i for i, name in enumerate(header) if _role(name) in ("labels", "keys", "splits")})
        columns: Columns = {name: [] for name in wanted}
        for fields in filter(None, reader):
            if len(fields) != len(header):
                raise ValueError(f"line {reader.line_num} has {len(fields)} fields, the header {len(header)}")
            for name, i in wanted.items():
                columns[name].append(fields[i])
    return columns


_FEATURES: Mapping[str, Callable[[Path], Columns]] = {".npz": _read_npz, ".npy": _read_array("features")}
_LABELS: Mapping[str, Callable[[Path], Columns]] = {
    ".npy": _read_array("labels"),
    ".csv": _read_csv,
    ".txt": _read_txt,
    ".json": _read_json,
}


def _role(name: str) -> str | None:
    return next((role for role, names in _NAMES.items() if name.strip().lower() in names), None)


def _named(path: Path, values: Mapping[str, Any]) -> Columns:
    """Return values by what their names mean; others are left alone."""
    found: dict[str, str] = {}
    for name in values:
        role = _role(name)
        if role in found:
            raise SourceError(f"{path} must have one array of {role}; {found[role]!r} and {name!r} are both: keep one")
        if role:
            found[role] = name
    return {role: values[name] for role, name in found.items()}


def _label_columns(labels: Any, found: Columns) -> Columns:
    """Return labels, and what a file of them says beside."""
    if labels is None:
        return {}
    if not isinstance(labels, (str, os.PathLike)):
        return {"labels": labels}
    path = Path(labels)
    columns = _read(path, _LABELS)
    if "labels" not in columns:
        raise SourceError(f"{path} must have labels under one of {', '.join(_NAMES['labels'])}: name them so")
    if "keys" in columns and "keys" in found:
        length = len(found["features"])
        ours, theirs = (_texts("keys", keys, length) for keys in (found["keys"], columns["keys"]))
        if ours != theirs:
            row = next(row for row in range(length) if ours[row] != theirs[row])
            raise ParameterError(
                f"labels must be in the order of the features; row {row} is {ours[row]!r} there and {theirs[row]!r} in"
                f" {path}: sort one of them"
            )
    return columns


def _check_features(features: Array) -> None:
    if features.ndim not in _AXES or not features.size:
        raise ParameterError(
            "features must have the shape (n, d), (n, length, d) or (n, height, width, d), without empty axes;"
            f" got {features.shape}: {'give a single row as x[None]' if features.ndim == 1 else 'reshape them'}"
        )
    if features.dtype.kind != "f":
        raise ParameterError(f"features must be floating point; got {features.dtype}: use features.astype('float32')")


def _dtype(features: Array) -> np.dtype[Any]:
    return np.dtype("<f2" if features.dtype.itemsize == 2 else "<f4")


def _blocks(features: Array) -> Iterator[tuple[int, Array]]:
    """Yield features as they are stored, about a mebibyte at a time, each with the number of its first row."""
    dtype = _dtype(features)
    size = rows_per_block(dtype.itemsize * features[0].size)
    for start in range(0, len(features), size):
        with np.errstate(over="ignore"):
            yield start, np.ascontiguousarray(features[start : start + size], dtype=dtype)


def _digests(features: Array) -> tuple[list[str], str]:
    """Return the SHA-256 hex digest of each row's bytes as stored, and of dtype, shape of a row and all bytes."""
    rows: list[str] = []
    whole = hashlib.sha256(f"{_dtype(features).str}{features.shape[1:]}".encode("ascii"))
    for start, block in _blocks(features):
        finite = np.isfinite(block.reshape(len(block), -1)).all(axis=1)
        if not finite.all():
            raise ParameterError(
                f"features must be finite in {block.dtype.name}; row {start + int(np.argmin(finite))} is not: leave"
                " such rows out"
            )
        whole.update(block.tobytes())
        rows += [hashlib.sha256(row.tobytes()).hexdigest() for row in block]
    return rows, whole.hexdigest()


def _samples(found: Mapping[str, Any], n: int, size: int) -> SampleTable:
    labels, classes = _labels(_column("labels", found.get("labels"), n), found.get("classes"))
    keys = _texts("keys", found["keys"], n) if "keys" in found else [f"{row:08d}" for row in range(n)]
    nameless = next((row for row, key in enumerate(keys) if key is None), None)
    if nameless is not None:
        raise ParameterError(f"keys must name every row; row {nameless} has none: name it, or leave keys out")
    return SampleTable(
        keys=tuple(key or "" for key in keys),
        labels=labels,
        classes=classes,
        splits=tuple(split or "" for split in _texts("splits", found.get("splits"), n)),
        sizes=np.full(n, size, dtype=np.int64),
        mtimes_ns=np.zeros(n, dtype=np.int64),
    )


def _labels(values: Sequence[object], classes: Any) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    """Return labels as indices into classes, and the classes."""
    if classes is None:
        texts = [_text("labels", value) for value in values]
        names = class_order(text for text in texts if text is not None)
        index = {name: label for label, name in enumerate(names)}
        return np.array([-1 if text is None else index[text] for text in texts], dtype=np.int64), names
    names = tuple(_text("classes", name) or "" for name in np.asarray(classes, dtype=object).ravel().tolist())
    index = {name: label for label, name in enumerate(names)}
    return np.array([_class_index(value, index) for value in values], dtype=np.int64), names


def _class_index(value: object, index: Mapping[str, int]) -> int:
    """Return what a label means where the classes are known."""
    text = _text("labels", value)
    if text is None:
        return -1
    if isinstance(value, (int, float)):
        if value < len(index) and float(value).is_integer():
            return max(int(value), -1)
    elif text in index:
        return index[text]
    raise ParameterError(
        f"labels must be among the {len(index)} classes, by name or index; got {value!r}: correct it, or name all"
        " classes"
    )


def _texts(parameter: str, values: Any, n: int) -> list[str | None]:
    return [_text(parameter, value) for value in _column(parameter, values, n)]


def _column(parameter: str, values: Any, n: int) -> Sequence[object]:
    """Return one value for each row, or Nones if there are none."""
    if values is None:
        return [None] * n
    array = values if isinstance(values, np.ndarray) else np.asarray(values, dtype=object)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise ParameterError(
            f"{parameter} must be one value for each row; got shape {array.shape}"
            " (one-hot rows become labels with labels.argmax(axis=1))"
        )
    if len(array) != n:
        raise ParameterError(f"{parameter} must be as many as the rows of features, {n}; got {len(array)}: match them")
    column: list[object] = array.tolist()
    return column


def _text(parameter: str, value: object) -> str | None:
    """Return a value as text: whole numbers without a point, nothing for None, NaN and empty text."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    if isinstance(value, float):
        if math.isnan(value):
            return None
        value = int(value) if value.is_integer() else value
    if value is None or value == "":
        return None
    if isinstance(value, (str, int, float)):
        return str(value)
    raise ParameterError(f"{parameter} must be text or numbers; got {type(value).__name__} ({str(value)[:60]!r})")
