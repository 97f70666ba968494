"""Features computed elsewhere become a store, so that heads work on them."""

import csv
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.errors import FeatxError, ParameterError, SourceError
from featx.labels import Label, class_names, class_order, class_set, label_column, label_table, label_text, numbers
from featx.spec import ExtractionSpec, Preprocessing, digest_of
from featx.store._digests import rows_per_block
from featx.store._export import require_new
from featx.store._folder import cache_folder, store_path
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
    "multilabels": ("multilabels",),
    "values": ("values", "value", "scores", "score"),
    "target_names": ("target_names",),
    "groups": ("groups", "group"),
}
"""Names, in any case, under which each part is found in a file."""

_LABEL_ROLES = ("labels", "multilabels", "values")
"""Those that say what is to be learned; a file has one of them."""

_CSV_ROLES = (*_LABEL_ROLES, "keys", "splits", "groups")
_IN_A_ROW: Mapping[str, Callable[[object], Label | None]] = {"multilabels": class_set, "values": numbers}


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
    shards: int | str | None = None,
    overwrite: bool = False,
) -> FeatureStore:
    """Make a store of features that were computed elsewhere.

    A head can be fitted and judged on it like on any other; images cannot be predicted with such a head, as featx
    does not have the network.

    Parameters
    ----------
    path : str or path
        An ``.npy`` file of features, or an ``.npz`` with an array named ``features``, ``X`` or ``embeddings``
        and, if wanted, ``labels`` or ``y``, ``keys``, ``classes``, ``splits`` and ``groups``. Features are vectors
        (n, d), sequences (n, length, d) or maps (n, height, width, d), floating point and finite; float64 becomes
        float32. An ``.npy`` is never held in memory.
    out : str or path, optional
        File of the store; by default one in the cache, where importing the same file again replaces it.
    labels : path or sequence, length n, optional
        Instead of those in the file: values, or a file of them: ``.npy``; ``.txt``, one in each line; ``.csv`` with
        a column ``label`` and, if wanted, ``key``, ``split`` and ``group``; ``.json``, a list, or an object with
        ``labels`` and, if wanted, ``keys``, ``splits``, ``groups`` and ``classes``. Text names a class; an integer is
        an index into `classes` (negative for none), or a name where there are no classes; empty text, null and NaN are
        none. A table of 0 and 1 of shape (n, k), -1 throughout a row that is not known, and a list of names for each
        row say which of the classes a row is of; floating point with a fraction somewhere is values to be predicted, of
        shape (n,) or (n, t), NaN throughout a row that is not known. An array or column ``multilabels`` instead of
        labels is the former in any case, ``value`` or ``values`` the latter (in a ``.csv`` with ``|`` between several),
        and so are labels beside ``target_names``.
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
    shards : int or str, optional
        In how many files its features lie, or how large these may be, as :func:`write_store` takes it.
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
    given = _label_columns(labels, found)
    if given:
        found = {role: value for role, value in found.items() if role not in (*_LABEL_ROLES, "target_names")} | given
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
        shards=shards,
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
        wanted = _named(path, {name: i for i, name in enumerate(header) if _role(name) in _CSV_ROLES})
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
    if not columns.keys() & set(_LABEL_ROLES):
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
    keys = _texts("keys", found["keys"], n) if "keys" in found else [f"{row:08d}" for row in range(n)]
    nameless = next((row for row, key in enumerate(keys) if key is None), None)
    if nameless is not None:
        raise ParameterError(f"keys must name every row; row {nameless} has none: name it, or leave keys out")
    labels, classes = _labels(found, n)
    return SampleTable.of(
        labels,
        classes=classes,
        target_names=_listed("target_names", found.get("target_names")) or (),
        keys=tuple(key or "" for key in keys),
        splits=tuple(split or "" for split in _texts("splits", found.get("splits"), n)),
        groups=tuple(group or "" for group in _texts("groups", found.get("groups"), n)),
        sizes=np.full(n, size, dtype=np.int64),
        mtimes_ns=np.zeros(n, dtype=np.int64),
    )


def _labels(found: Mapping[str, Any], n: int) -> tuple[list[Label | None], tuple[str, ...]]:
    """Return the label of each row, and the classes."""
    given = [role for role in _LABEL_ROLES if role in found]
    if len(given) > 1:
        raise ParameterError(f"labels must be one array of {' or '.join(given)}; got both: leave one out")
    role = given[0] if given else "labels"
    values, classes = found.get(role), _listed("classes", found.get("classes"))
    if role == "labels" and "target_names" in found:
        role = "values"
    labels: list[Label | None]
    if isinstance(values, list) and role in _IN_A_ROW:
        labels = [_IN_A_ROW[role](value) for value in label_column(role, _boxed(values), n, "rows of features")]
        return labels, classes or class_order(class_names(labels))
    table = label_table(values, n, "rows of features", classes=classes, role=role)
    if table is not None:
        labels, names = table
        return labels, classes or names or class_order(class_names(labels))
    column = label_column("labels", values, n, "rows of features")
    if classes is not None:
        index = {name: label for label, name in enumerate(classes)}
        places = [_class_index(value, index) for value in column]
        return [None if place < 0 else classes[place] for place in places], classes
    labels = [label_text(value, "labels") for value in column]
    return labels, class_order(class_names(labels))


def _boxed(values: Sequence[object]) -> Array:
    """Return a list as an array of its items, which may be lists."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _listed(parameter: str, names: Any) -> tuple[str, ...] | None:
    """Return a list of names, whatever holds it."""
    if names is None:
        return None
    return tuple(label_text(name, parameter) or "" for name in np.asarray(names, dtype=object).ravel().tolist())


def _class_index(value: object, index: Mapping[str, int]) -> int:
    """Return what a label means where the classes are known."""
    text = label_text(value, "labels")
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
    return [label_text(value, parameter) for value in label_column(parameter, values, n, "rows of features")]
