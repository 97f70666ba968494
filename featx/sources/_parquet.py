"""Parquet tables with a column of encoded images, as Hugging Face keeps its data sets."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

from featx.errors import FeatxError, MissingDependencyError, ParameterError, SampleError, SourceError
from featx.labels import label_text
from featx.sources._base import ImageArray, Sample, label_names, named_label, one_line
from featx.sources._files import StrPath, check_size, reason
from featx.sources._location import Location, RangeFile
from featx.sources._recent import Recent
from featx.sources._shards import Listed, ShardedSource, Shards
from featx.sources._tables import COLUMNS, LABEL_NAMES, Facts, facts, import_parquet

_NAMES = ("image", "img", "images", "picture", "photo", "bytes", "image_bytes", "jpg", "jpeg", "png", "webp", "content")
_KEYS = ("key", "__key__")
_WANTED = {*_KEYS, *LABEL_NAMES, *COLUMNS["split"], *COLUMNS["group"]}
_LABEL_COLUMNS = ("label", "labels", "class", "target", "fine_label")
_LARGEST = 1 << 31

_GROUPS: Recent[Any] = Recent(256 << 20, lambda column: int(column.nbytes))


class ParquetSource(ShardedSource):
    """Images in Parquet files: a column of bytes, or of the structs of bytes and path that Hugging Face writes.

    The key is the path of the file, without ``.parquet``, and what stands in a column ``key``, else the number of the
    row. Label, split and group come from columns called as a manifest's (see :class:`ManifestSource`), or from the
    column that Hugging Face's metadata declares to be of classes; without a column, files are of a split if all
    of them, or the folders they are in, are named after one. A row group is read as a whole, and kept for the rows that
    follow: rows are best in the order of their keys. What a row takes of its group is given as its size.

    Parameters
    ----------
    path : str or path-like
        A file, a folder of them, or a path with braces such as ``train-{00..09}.parquet``; or the URL of these.
    image : str, optional
        Column of the images, if several could be.
    storage_options : dict, optional
        What fsspec is to be given for a URL, beside its own configuration.
    """

    def __init__(
        self, path: StrPath, *, image: str | None = None, storage_options: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(Shards(path, ".parquet", storage_options), "parquet", image)
        self._classes: set[str] = set()

    @cached_property
    def _token(self) -> object:
        """This source's part of the keys under which row groups are kept."""
        return object()

    def _list(self) -> Iterable[Sample]:
        import_parquet(repr(self.identity))
        return super()._list()

    def _list_file(self, name: str, location: Location) -> Listed:
        from pyarrow import parquet

        try:
            with location.open() as file:
                table = parquet.ParquetFile(file.view())
                column = self._column_in(table.schema_arrow)
                places = _places(table.metadata, column)
                rows, classes = _rows(table, without=column)
        except MissingDependencyError:
            raise
        except FeatxError as error:
            raise SourceError(f"{location.text!r} {error}") from error
        except (OSError, ValueError) as error:  # pyarrow raises both on damaged files
            if isinstance(error, OSError) and error.errno is not None:
                raise SourceError(f"{location.text!r} cannot be read ({reason(error)}): make it readable") from error
            raise SourceError(
                f"{location.text!r} is no Parquet file, or is damaged ({one_line(error)}): give an intact one"
            ) from error
        self._classes.update(classes)
        return Listed(
            file.stamp, [(key, known, size, place) for (key, known), (size, place) in zip(rows, places, strict=True)]
        )

    def _column_in(self, schema: Any) -> str:
        columns = image_columns(schema)
        if self._image is not None:
            columns = [column for column in columns_of_bytes(schema) if column in (self._image, f"{self._image}.bytes")]
        if len(columns) == 1:
            return columns[0]
        raise ParameterError(
            f"must have one column of encoded images; got {', '.join(map(repr, columns or schema.names)) or 'none'}:"
            " choose one with featx.sources.ParquetSource(..., image=...)"
        )

    def _read(self, index: int) -> bytes | ImageArray:
        number, group, row = self._places[index].tolist()
        column = _GROUPS.get((self._token, number, group), lambda: self._column(number, group))
        data = column[row].as_py()
        if data is None:
            raise SampleError("there is no image in this row")
        check_size(len(data))
        return bytes(data)

    def _column(self, number: int, group: int) -> Any:
        """Return the images of a row group."""
        from pyarrow import parquet

        try:
            file, metadata = self._opened(number)
            column = self._column_in(metadata.schema.to_arrow_schema())
            table = parquet.ParquetFile(file.view(), metadata=metadata)
            return table.read_row_group(group, columns=[column], use_threads=False).flatten().column(0)
        except FeatxError:
            raise
        except Exception as error:  # whatever pyarrow raises on damaged files
            why = reason(error) if isinstance(error, OSError) and error.errno is not None else one_line(error)
            raise SampleError(f"its row group cannot be read: {why}") from error

    def _open(self, number: int) -> tuple[RangeFile, Any]:
        from pyarrow import parquet

        file = super()._open(number)
        return file, parquet.read_metadata(file.view())

    def _declared_classes(self) -> Iterable[str]:
        return self._classes


def image_columns(schema: Any) -> list[str]:
    """Return the columns of a table that seem to hold encoded images; only one where its name says so.

    Parameters
    ----------
    schema : pyarrow.Schema

    Returns
    -------
    list of str
        Of structs, as Hugging Face writes them, the path of the bytes in them.
    """
    columns = columns_of_bytes(schema)
    structs = [column for column in columns if column not in schema.names]
    named = sorted(
        (column for column in structs or columns if _name(column) in _NAMES),
        key=lambda column: _NAMES.index(_name(column)),
    )
    if named or structs:
        return named[:1] or structs
    return [] if any(name.lower() in COLUMNS["path"] for name in schema.names) else columns


def columns_of_bytes(schema: Any) -> list[str]:
    """Return the columns of bytes, and those of structs of bytes and path, of which only the bytes are read."""
    kinds = {name: schema.field(name).type for name in schema.names}
    structs = [f"{name}.bytes" for name, kind in kinds.items() if _is_image_struct(kind)]
    return structs + [name for name, kind in kinds.items() if _is_binary(kind)]


def _name(column: str) -> str:
    return column.removesuffix(".bytes").lower()


def holds_images(location: Location) -> bool:
    """Tell whether a Parquet file has a column of encoded images; what cannot be read has none."""
    parquet = import_parquet(repr(location.text))
    try:
        with location.open() as file:
            return bool(image_columns(parquet.ParquetFile(file.view()).schema_arrow))
    except (OSError, ValueError):
        return False


def _is_binary(kind: Any) -> bool:
    from pyarrow import types

    if types.is_dictionary(kind):
        kind = kind.value_type
    return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind))


def _is_image_struct(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_struct(kind)) and kind.get_field_index("bytes") >= 0 and _is_binary(kind.field("bytes").type)


def _rows(table: Any, *, without: str) -> tuple[list[tuple[str, Facts]], tuple[str, ...]]:
    """Return key and facts of each row, and the classes that are declared; the column of images is not read."""
    classes = _declared(table.schema_arrow)
    label = next((name for name in _LABEL_COLUMNS if name in classes), next(iter(classes), None))
    names = [name for name in table.schema_arrow.names if without not in (name, f"{name}.bytes")]
    wanted = [name for name in names if name == label or name.lower() in _WANTED]
    rows: list[tuple[str, Facts]] = []
    for batch in table.iter_batches(columns=wanted):
        for row in batch.to_pylist() if wanted else [{}] * batch.num_rows:
            fields = {name.lower(): value for name, value in row.items()}
            try:
                key = _key(fields, len(rows))
                if label is not None:
                    fields = {name: value for name, value in fields.items() if name not in LABEL_NAMES}
                    fields |= _class_fields(row[label], classes[label])
                rows.append((key, facts(fields)))
            except ParameterError as error:
                raise ParameterError(f"is wrong in row {len(rows) + 1}: {error}") from error
    twice = next((key for key, count in Counter(key for key, _ in rows).items() if count > 1), None)
    if twice is not None:
        raise ParameterError(f"must give each key once; {twice!r} stands there again: rename the column")
    return rows, classes[label] if label else ()


def _places(metadata: Any, column: str) -> list[tuple[int, tuple[int, int]]]:
    """Return for each row what an image takes in its row group on average, and the group and the row in it."""
    index = next(i for i in range(metadata.num_columns) if metadata.schema.column(i).path == column)
    places = []
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        images = group.column(index)
        if images.total_uncompressed_size > _LARGEST:
            raise ParameterError(
                f"must have row groups of at most {_LARGEST:,} bytes, which are read as a whole; group {number} has"
                f" {images.total_uncompressed_size:,}: write it again with a smaller row_group_size"
            )
        size = images.total_compressed_size // max(1, group.num_rows)
        places += [(size, (number, row)) for row in range(group.num_rows)]
    return places


def _key(fields: Mapping[str, Any], number: int) -> str:
    name = next((name for name in _KEYS if name in fields), None)
    if name is None:
        return f"{number:08d}"
    key = label_text(fields[name], "a key")
    if key is None:
        raise ParameterError("a key must stand in every row, or in none; got an empty one: rename the column")
    return key


def _declared(schema: Any) -> dict[str, tuple[str, ...]]:
    """Return the columns that Hugging Face's metadata says are of classes, with the names of these."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        found = {name: _class_names(feature) for name, feature in features.items() if name in schema.names}
    except (KeyError, TypeError, ValueError, AttributeError):  # there is none, or it says something else
        return {}
    return {name: names for name, names in found.items() if names}


def _class_names(feature: Any) -> tuple[str, ...]:
    inside = feature[0] if isinstance(feature, list) and feature else feature
    inside = inside.get("feature", inside)
    return label_names(inside["names"]) if inside.get("_type") == "ClassLabel" else ()


def _class_fields(value: Any, names: tuple[str, ...]) -> dict[str, Any]:
    """Return the field for a class, or a list of them, given by number."""
    if isinstance(value, list):
        return {"labels": [named_label(each, names) for each in value]}
    return {"label": named_label(value, names)}
