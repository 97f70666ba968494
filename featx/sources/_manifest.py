"""Tables that list images: CSV, JSON lines and Parquet."""

import csv
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from featx.errors import MissingDependencyError, ParameterError, SourceError
from featx.labels import Label, class_set, label_text, numbers
from featx.sources._base import ImageArray, Sample, Source, one_line
from featx.sources._files import StrPath, decode_path, encode_path, read_file, real_path, reason, stat_file
from featx.sources._layout import canonical_split

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "path": ("path", "file", "filename", "file_name", "filepath", "image"),
    "label": ("label", "class", "target"),
    "labels": ("labels",),
    "value": ("value", "values", "score"),
    "split": ("split", "subset"),
    "group": ("group", "group_id"),
}
"""Names, in any case, under which a manifest's columns are found; of several the first counts."""

_LABELS: Mapping[str, Callable[[object], Label | None]] = {
    "label": label_text,
    "labels": class_set,
    "value": numbers,
}
"""What stands in the columns that say what is to be learned; a row fills one of them."""

Row = tuple[str, Mapping[str, Any]]
"""Where a row stands, for messages, and its fields by name in lower case."""


class ManifestSource(Source):
    """Images listed in a table with a path and, if wanted, what is known of each.

    The columns are found by the names in :data:`COLUMNS`; others are left alone. A CSV needs a header.
    Paths are relative to the folder of the manifest, and are the keys, exactly as written. What is to be learned
    is a class (``label``), any number of classes (``labels``: a list, or text with ``|`` between the names; a JSON
    list in the text where a name holds a ``|``; an empty list means none of the classes), or one or several numbers
    (``value``, written in the same ways): all rows use the same one of them. Empty fields mean that nothing is
    known. The usual spellings of splits become ``train``, ``val`` and ``test``. Samples of a ``group`` (a patient, a
    video) are not torn apart by splits.

    Parameters
    ----------
    path : str or path-like
        A file that ends in ``.csv``, ``.tsv`` (tabs), ``.jsonl``, ``.ndjson`` or ``.parquet``.
    """

    def __init__(self, path: StrPath) -> None:
        self._path = real_path(path)
        super().__init__(os.path.splitext(os.path.basename(self._path))[0], f"manifest:{self._path}")

    def _list(self) -> Iterable[Sample]:
        reader = _READERS.get(os.path.splitext(self._path)[1].lower())
        if reader is None:
            raise self._error(f"must end in one of {', '.join(MANIFEST_SUFFIXES)}")
        samples: dict[str, Sample] = {}
        try:
            for where, row in reader(self._path):
                sample = self._sample(where, row)
                if sample.key in samples:
                    raise self._error(f"must give each path once; {where} has {sample.key!r} again: remove it")
                samples[sample.key] = sample
        except OSError as error:
            raise self._error(f"cannot be read ({reason(error)}): make it readable") from error
        except (csv.Error, ValueError) as error:  # pyarrow's errors of content are ValueErrors too
            raise self._error(f"cannot be read ({one_line(error)}): give an intact manifest") from error
        if not samples:
            raise self._error("lists no images: give it at least one row")
        return samples.values()

    def _sample(self, where: str, row: Mapping[str, Any]) -> Sample:
        if not any(name in row for name in COLUMNS["path"]):
            raise self._error(
                f"must have a column named {' or '.join(COLUMNS['path'])}; {where} has"
                f" {', '.join(map(repr, row)) or 'none'}"
            )
        path = _field(row, "path")
        path = decode_path(path) if isinstance(path, bytes) else path
        if not isinstance(path, str) or not path:
            raise self._error(f"must give a path as text in every row; {where} has {path!r}")
        try:
            label = _label(row)
            split, group = (label_text(_field(row, column), f"a {column}") for column in ("split", "group"))
        except ParameterError as error:
            raise self._error(f"is wrong in {where}: {error}") from error
        split = split and (canonical_split(split) or split)
        return Sample(path, label, split, *stat_file(self._locate(path)), group=group)

    def _locate(self, key: str) -> bytes:
        return encode_path(os.path.join(os.path.dirname(self._path), key))

    def _read(self, index: int) -> bytes | ImageArray:
        return read_file(self._locate(self.samples[index].key))

    def _error(self, text: str) -> SourceError:
        return SourceError(f"manifest {self._path!r} {text}")


def _field(row: Mapping[str, Any], column: str) -> Any:
    return next((row[name] for name in COLUMNS[column] if name in row), None)


def _label(row: Mapping[str, Any]) -> Label | None:
    found = {column: label for column, read in _LABELS.items() if (label := read(_field(row, column))) is not None}
    if len(found) > 1:
        raise ParameterError(f"a row must have one of {', '.join(_LABELS)}; got {' and '.join(found)}: empty one")
    return next(iter(found.values()), None)


def _read_csv(path: str, delimiter: str = ",") -> Iterator[Row]:
    with open(encode_path(path), encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        header = [name.strip().lower() for name in next(reader, [])]
        if len(set(header)) != len(header):
            raise ValueError(f"the header names a column twice: {', '.join(header)}")
        for fields in reader:
            if not fields:
                continue
            where = f"line {reader.line_num}"
            if len(fields) != len(header):
                raise ValueError(f"{where} has {len(fields)} fields, the header {len(header)}")
            yield where, dict(zip(header, fields, strict=True))


def _read_tsv(path: str) -> Iterator[Row]:
    return _read_csv(path, "\t")


def _read_jsonl(path: str) -> Iterator[Row]:
    with open(encode_path(path), encoding="utf-8-sig", errors="surrogateescape", newline="\n") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise ValueError(f"line {number} is no JSON: {one_line(error)}") from error
            if not isinstance(row, dict):
                raise ValueError(f"line {number} must be a JSON object")
            yield f"line {number}", {name.lower(): value for name, value in row.items()}


def _read_parquet(path: str) -> Iterator[Row]:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise MissingDependencyError(
            f"manifest {path!r} needs pyarrow, which is not installed: pip install featx[parquet]"
        ) from error
    known = {name for names in COLUMNS.values() for name in names}
    with open(encode_path(path), "rb") as file, parquet.ParquetFile(file) as table:
        names = table.schema_arrow.names
        wanted = [name for name in names if name.lower() in known]
        if not wanted:
            yield "the table", dict.fromkeys(names)
        number = 0
        for batch in table.iter_batches(columns=wanted):
            for row in batch.to_pylist():
                number += 1
                yield f"row {number}", {name.lower(): value for name, value in row.items()}


_READERS: Mapping[str, Callable[[str], Iterator[Row]]] = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
    ".parquet": _read_parquet,
}
MANIFEST_SUFFIXES = tuple(_READERS)
"""Endings of the manifests that are read."""
