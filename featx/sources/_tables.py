"""Tables of rows: CSV, JSON lines and Parquet, and what the columns say of a sample."""

import csv
import io
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from featx.errors import MissingDependencyError, ParameterError
from featx.labels import Label, class_set, label_text, numbers
from featx.sources._base import one_line
from featx.sources._layout import canonical_split
from featx.sources._location import RangeFile

_BUFFER = 1 << 20

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "path": ("path", "file", "filename", "file_name", "filepath", "image", "url", "image_url"),
    "label": ("label", "class", "target"),
    "labels": ("labels",),
    "value": ("value", "values", "score"),
    "split": ("split", "subset"),
    "group": ("group", "group_id"),
    "size": ("size", "file_size", "size_bytes"),
}
"""Names, in any case, under which a manifest's columns are found; of several the first counts."""

_LABELS: Mapping[str, Callable[[object], Label | None]] = {
    "label": label_text,
    "labels": class_set,
    "value": numbers,
}
"""What stands in the columns that say what is to be learned; a row fills one of them."""

LABEL_NAMES = frozenset(name for column in _LABELS for name in COLUMNS[column])
"""Names of the columns that say what is to be learned."""

Facts = tuple[Label | None, str | None, str | None]
"""Label, split and group of a sample."""

Row = tuple[str, Mapping[str, Any]]
"""Where a row stands, for messages, and its fields by name in lower case."""


def field(row: Mapping[str, Any], column: str) -> Any:
    """Return what stands in a row for one of :data:`COLUMNS`, None if nothing does."""
    return next((row[name] for name in COLUMNS[column] if name in row), None)


def facts(row: Mapping[str, Any]) -> Facts:
    """Return the label, the split and the group that a row tells; raises ParameterError for what is none."""
    split, group = (label_text(field(row, column), f"a {column}") for column in ("split", "group"))
    label = _label(row)
    if isinstance(label, str):
        label = sys.intern(label)  # one text for all samples of the class
    return label, split and sys.intern(canonical_split(split) or split), group


def json_row(text: str | bytes) -> dict[str, Any]:
    """Return a JSON object with its names in lower case; raises ParameterError for anything else."""
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ParameterError(f"is no JSON: {one_line(error)}") from error
    if not isinstance(row, dict):
        raise ParameterError("must be a JSON object")
    return {name.lower(): value for name, value in row.items()}


def import_parquet(what: str) -> Any:
    """Return pyarrow's module for Parquet files; raises MissingDependencyError, which names what needs it."""
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise MissingDependencyError(
            f"{what} needs pyarrow, which is not installed: pip install featx[parquet]"
        ) from error
    return parquet


def _label(row: Mapping[str, Any]) -> Label | None:
    found = {column: label for column, read in _LABELS.items() if (label := read(field(row, column))) is not None}
    if len(found) > 1:
        raise ParameterError(f"a row must have one of {', '.join(_LABELS)}; got {' and '.join(found)}: empty one")
    return next(iter(found.values()), None)


def _text(file: RangeFile, newline: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(
        io.BufferedReader(file, _BUFFER), encoding="utf-8-sig", errors="surrogateescape", newline=newline
    )


def _read_csv(file: RangeFile, delimiter: str = ",") -> Iterator[Row]:
    with _text(file, "") as text:
        reader = csv.reader(text, delimiter=delimiter, strict=True)
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


def _read_tsv(file: RangeFile) -> Iterator[Row]:
    return _read_csv(file, "\t")


def _read_jsonl(file: RangeFile) -> Iterator[Row]:
    with _text(file, "\n") as text:
        for number, line in enumerate(text, 1):
            if not line.strip():
                continue
            try:
                row = json_row(line)
            except ParameterError as error:
                raise ValueError(f"line {number} {error}") from error
            yield f"line {number}", row


def _read_parquet(file: RangeFile) -> Iterator[Row]:
    from pyarrow import parquet

    known = {name for names in COLUMNS.values() for name in names}
    with parquet.ParquetFile(file) as table:
        names = table.schema_arrow.names
        wanted = [name for name in names if name.lower() in known]
        if not wanted:
            yield "the table", dict.fromkeys(names)
        number = 0
        for batch in table.iter_batches(columns=wanted):
            for row in batch.to_pylist():
                number += 1
                yield f"row {number}", {name.lower(): value for name, value in row.items()}


READERS: Mapping[str, Callable[[RangeFile], Iterator[Row]]] = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
    ".parquet": _read_parquet,
}
"""How the rows of a manifest are read, by its ending; raises ValueError or csv.Error where it is damaged."""
