"""From a store to files that need no HDF5: streamed, held against the digests on the way, whole or not at all."""

import json
import os
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import IO, Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from featx.errors import MissingDependencyError, ParameterError, StoreError, did_you_mean
from featx.labels import Label
from featx.spec import canonical_json
from featx.store._digests import block_digests
from featx.store._files import disk_errors, replacing
from featx.store._reader import FeatureStore
from featx.store._table import Integers

__all__ = ["EXPORT_SUFFIXES", "ExportFormat", "checked_rows", "export_store", "require_new"]

Array = npt.NDArray[Any]
ExportFormat = Literal["npz", "parquet", "csv", "memmap"]

EXPORT_SUFFIXES: dict[ExportFormat, str] = {"npz": ".npz", "parquet": ".parquet", "csv": ".csv", "memmap": ".npy"}
"""What the files of each format usually end in."""

_TEXTS_AT_ONCE = 2**14
_ROW_GROUP_BYTES = 16 * 2**20
_DIGITS = {"float32": "%.9g", "float16": "%.5g"}
"""Digits that name one number only, also when they are read as float64 first: unlike the shortest ones, they lie
far from the middle between two neighbours."""


def export_store(
    store: FeatureStore,
    path: str | os.PathLike[str],
    *,
    to: ExportFormat,
    split: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write the rows of a store in a format that needs no HDF5; memory does not grow with their number.

    Names come back exactly, those of files that are not UTF-8 too (see Notes). Features are held against their
    digests as they are read, so damage is never passed on.

    Parameters
    ----------
    store : FeatureStore
        What is exported.
    path : str or path
        The file; it appears whole or not at all.
    to : {"npz", "parquet", "csv", "memmap"}
        ``npz``: arrays named as the store's attributes, and ``spec`` as JSON. ``parquet``: the columns ``key``,
        ``label``, ``split``, ``digest`` and ``features``, lists of one length; the rest is JSON under ``featx`` in
        the schema's metadata. ``csv``: ``key,label,split,digest,f0,f1,...``. ``memmap``: the features alone, for
        ``numpy.load(path, mmap_mode="r")``, and all else beside them in ``PATH.json``. Groups, if there are any,
        are one more column (``group``) or array (``groups``).
    split : str, optional
        Only the rows of that split.
    overwrite : bool
        Whether a file of that name may be replaced.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ParameterError
        If the file is there, or the store has no such split.
    StoreError
        If the store is damaged, or the file cannot be written; then it is as it was.
    MissingDependencyError
        If ``parquet`` is asked for and pyarrow is not installed.

    Notes
    -----
    Bytes of a name that are no UTF-8 are lone surrogates in ``npz`` and JSON, as :func:`os.fsdecode` leaves them
    (:func:`os.fsencode` gives the bytes); in ``csv`` they are those bytes; a column of ``parquet`` that has such
    names is binary rather than string. No label and no split are null in ``parquet``, an empty field without
    quotes in ``csv``, and -1 and an empty text in the others.

    In place of labels, stores of other tasks have: ``multilabels`` (``npz``: int8 of shape (n, k), 1 and 0, -1
    throughout a row that is not known; ``memmap``: the names of each row's classes) or ``labels`` (``parquet``: lists
    of names; ``csv``: JSON lists of them); or ``targets`` and ``target_names`` (``npz`` and ``memmap``) or ``value``
    (``parquet`` and ``csv``: a number, or a list of several). A row that is not known is null, in ``csv`` an empty
    field, in ``npz`` NaN.
    """
    if to not in _WRITERS:
        raise ParameterError(f"to must be one of {', '.join(_WRITERS)}; got {to!r}{did_you_mean(str(to), _WRITERS)}")
    path = Path(path)
    rows = store.select(split)
    if not len(rows):
        raise ParameterError(f"split must have rows; {store.path} has none of split {split!r}")
    sidecar = path.with_name(f"{path.name}.json") if to == "memmap" else None
    for file in filter(None, (path, sidecar)):
        require_new(file, overwrite=overwrite, besides=[store])
    with ExitStack() as stack:
        temporary = stack.enter_context(replacing(path))
        if sidecar is not None:  # in place before the features are
            facts = stack.enter_context(replacing(sidecar))
            with disk_errors(sidecar), facts.open("x", encoding="ascii") as text:
                json.dump(_facts(store, rows), text)
        with disk_errors(path), temporary.open("xb") as opened:
            _WRITERS[to](store, rows, opened)
    return path


def require_new(path: Path, *, overwrite: bool, besides: Sequence[FeatureStore] = ()) -> None:
    """Raise ParameterError if `path` is there and must stay; the files of the stores `besides` must in any case."""
    if not os.path.lexists(path):
        return
    if not overwrite:
        raise ParameterError(f"{path} is there already: give another file, or allow its loss with overwrite")
    if any(path.exists() and store.path.exists() and path.samefile(store.path) for store in besides):
        raise ParameterError(f"{path} is the store that is to be read: give another file")


def checked_rows(store: FeatureStore, rows: Integers) -> Iterator[Array]:
    """Yield rows of a store's features, ascending, about a mebibyte at a time.

    Parameters
    ----------
    store : FeatureStore
    rows : ndarray of int64, shape (m,)
        Ascending positions.

    Raises
    ------
    StoreError
        If a block of rows is not what was written.
    """
    starts, digests = store.block_starts, store.checksums["features"]["blocks"]
    for number in np.unique(np.searchsorted(starts, rows, side="right") - 1).tolist():
        start, stop = starts[number : number + 2].tolist()
        block = np.asarray(store.features[start:stop])
        if block_digests(block, len(block)) != [digests[number]]:
            raise StoreError(
                f"{store.path} is damaged (the features of rows {start} to {stop - 1} are not what was written):"
                " delete it and extract again"
            )
        low, high = np.searchsorted(rows, (start, stop))
        yield block[rows[low:high] - start]


def _facts(store: FeatureStore, rows: Integers) -> dict[str, Any]:
    """Return all that is known of some rows but their features, as JSON."""
    return {
        "shape": [len(rows), *store.features.shape[1:]],
        "dtype": store.features.dtype.name,
        "axes": store.axes,
        "spec": json.loads(store.spec.to_json()),
        "source": store.source,
        "checksum": store.checksum,
        "classes": store.classes,
        **_label_facts(store, rows),
        **{name: [column[row] for row in rows] for name, column in _texts(store)},
    }


def _label_facts(store: FeatureStore, rows: Integers) -> dict[str, Any]:
    """Return what is to be learned from some rows, as JSON."""
    if store.task == "classification":
        return {"labels": store.labels[rows].tolist()}
    labels = list(store.samples.take(rows).named_labels())
    if store.task == "multilabel":
        return {"multilabels": labels}
    return {"targets": labels, "target_names": store.target_names}


def _texts(store: FeatureStore) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield the columns that are text."""
    yield "keys", store.keys
    yield "splits", store.splits
    yield "digests", store.digests
    if any(store.groups):
        yield "groups", store.groups


def _write_npz(store: FeatureStore, rows: Integers, file: IO[bytes]) -> None:
    def add(name: str, dtype: np.dtype[Any], shape: tuple[int, ...], blocks: Iterable[Array]) -> None:
        member = zipfile.ZipInfo(f"{name}.npy")  # without the time, so that a store always gives the same bytes
        with archive.open(member, "w", force_zip64=True) as opened:
            _write_npy(opened, dtype, shape, blocks)

    def add_array(name: str, array: Array) -> None:
        add(name, array.dtype, array.shape, [array])

    def add_texts(name: str, texts: Sequence[str]) -> None:
        dtype = np.dtype(f"<U{max(1, max(map(len, texts), default=1))}")
        starts = range(0, len(texts), _TEXTS_AT_ONCE)
        add(name, dtype, (len(texts),), (np.array(texts[i : i + _TEXTS_AT_ONCE], dtype) for i in starts))

    with zipfile.ZipFile(file, "w") as archive:
        add("features", store.features.dtype, (len(rows), *store.features.shape[1:]), checked_rows(store, rows))
        if store.samples.indicator is not None:
            add_array("multilabels", store.samples.indicator[rows])
        elif store.targets is not None:
            add_array("targets", store.targets[rows].astype("<f8"))
            add_texts("target_names", store.target_names)
        else:
            add_array("labels", store.labels[rows].astype("<i8"))
        add_texts("classes", store.classes)
        for name, column in _texts(store):
            add_texts(name, [column[row] for row in rows])
        add_array("axes", np.array(store.axes))
        add_array("spec", np.array(store.spec.to_json()))


def _write_memmap(store: FeatureStore, rows: Integers, file: IO[bytes]) -> None:
    shape = (len(rows), *store.features.shape[1:])
    _write_npy(file, store.features.dtype, shape, checked_rows(store, rows))


def _write_npy(file: IO[bytes], dtype: np.dtype[Any], shape: tuple[int, ...], blocks: Iterable[Array]) -> None:
    """Write a ``.npy`` file whose rows come block by block."""
    descr = np.lib.format.dtype_to_descr(dtype)
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
    for block in blocks:
        file.write(block.tobytes())


def _write_csv(store: FeatureStore, rows: Integers, file: IO[bytes]) -> None:
    """Write CSV by hand: an empty class name is quoted and no label is not, which Python's writer cannot do yet."""

    def write(line: str) -> None:
        file.write(f"{line}\r\n".encode("utf-8", "surrogateescape"))

    def quoted(text: str) -> str:
        return '"' + text.replace('"', '""') + '"'

    width = _width(store)
    numbers = ",".join([_DIGITS[store.features.dtype.name]] * width)

    def label_field(label: Label | None) -> str:
        if label is None or isinstance(label, str):
            return "" if label is None else quoted(label)
        alone = store.task == "regression" and len(label) == 1
        return repr(label[0]) if alone else quoted(json.dumps(label))

    group = ["group"] if any(store.groups) else []
    write(",".join(["key", _label_name(store), "split", *group, "digest", *(f"f{i}" for i in range(width))]))
    vectors = chain.from_iterable(block.reshape(len(block), width) for block in checked_rows(store, rows))
    labels = store.samples.take(rows).named_labels()
    for row, label, vector in zip(rows.tolist(), labels, vectors, strict=True):
        names = [store.splits[row], *(store.groups[row] for _ in group)]
        head = [quoted(store.keys[row]), label_field(label), *(name and quoted(name) for name in names)]
        write(f"{','.join(head)},{store.digests[row]},{numbers % tuple(vector.tolist())}")


def _label_name(store: FeatureStore) -> str:
    """Return what the column is called that says what is to be learned; manifests have the same names."""
    return {"classification": "label", "multilabel": "labels", "regression": "value"}[store.task]


def _write_parquet(store: FeatureStore, rows: Integers, file: IO[bytes]) -> None:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise MissingDependencyError(
            "to='parquet' needs pyarrow, which is not installed: pip install featx[parquet]"
        ) from error

    def text(names: Iterable[str]) -> Any:
        return pa.string() if _is_utf8(names) else pa.binary()

    def label_type() -> Any:
        if store.task == "classification":
            return text(store.classes)
        if store.task == "multilabel":
            return pa.list_(text(store.classes))
        return pa.float64() if len(store.target_names) == 1 else pa.list_(pa.float64())

    def column(values: Iterable[Label | None], datatype: Any) -> Any:
        if datatype == pa.float64():
            return pa.array([value and value[0] for value in values], datatype)
        return pa.array([_as_bytes(value) for value in values], datatype)

    width = _width(store)
    element = pa.field("element", pa.from_numpy_dtype(store.features.dtype), nullable=False)
    schema = pa.schema(
        [
            pa.field("key", text(store.keys), nullable=False),
            pa.field(_label_name(store), label_type()),
            pa.field("split", text(set(store.splits))),
            *([pa.field("group", text(set(store.groups)))] if any(store.groups) else []),
            pa.field("digest", pa.string(), nullable=False),
            pa.field("features", pa.list_(element, width), nullable=False),
        ],
        metadata={
            "featx": canonical_json(
                {
                    "shape": store.features.shape[1:],
                    "axes": store.axes,
                    "classes": store.classes,
                    **({"target_names": store.target_names} if store.target_names else {}),
                    "spec": json.loads(store.spec.to_json()),
                    "source": store.source,
                    "checksum": store.checksum,
                }
            )
        },
    )
    labels = list(store.samples.named_labels())
    with parquet.ParquetWriter(file, schema, use_dictionary=["label", "split", "group"]) as writer:
        start = 0
        for blocks in _grouped(checked_rows(store, rows)):
            stop = start + sum(map(len, blocks))
            here = rows[start:stop].tolist()
            start = stop
            columns: dict[str, list[Label | None]] = {
                "key": [store.keys[row] for row in here],
                _label_name(store): [labels[row] for row in here],
                "split": [store.splits[row] or None for row in here],
                "group": [store.groups[row] or None for row in here],
                "digest": [store.digests[row] for row in here],
            }
            arrays = [column(columns[field.name], field.type) for field in schema if field.name in columns]
            lists = schema.field("features").type
            vectors = [pa.FixedSizeListArray.from_arrays(pa.array(block.reshape(-1)), type=lists) for block in blocks]
            table = pa.Table.from_arrays([*arrays, pa.chunked_array(vectors, lists)], schema=schema)
            writer.write_table(table, row_group_size=len(here))


def _as_bytes(label: Label | None) -> Any:
    """Return a label with the bytes of each name in it, which are not always UTF-8."""
    if isinstance(label, tuple):
        return [_as_bytes(each) if isinstance(each, str) else each for each in label]
    return label if label is None else label.encode("utf-8", "surrogateescape")


def _grouped(blocks: Iterable[Array]) -> Iterator[list[Array]]:
    """Yield blocks together until they are worth a row group."""
    group: list[Array] = []
    for block in blocks:
        group.append(block)
        if sum(each.nbytes for each in group) >= _ROW_GROUP_BYTES:
            yield group
            group = []
    if group:
        yield group


def _width(store: FeatureStore) -> int:
    """Return how many numbers a row has."""
    return int(np.prod(store.features.shape[1:], dtype=np.int64))


def _is_utf8(names: Iterable[str]) -> bool:
    try:
        "".join(names).encode()
    except UnicodeEncodeError:
        return False
    return True


_WRITERS: dict[ExportFormat, Callable[[FeatureStore, Integers, IO[bytes]], None]] = {
    "npz": _write_npz,
    "parquet": _write_parquet,
    "csv": _write_csv,
    "memmap": _write_memmap,
}
assert set(_WRITERS) == set(EXPORT_SUFFIXES) == set(get_args(ExportFormat))
