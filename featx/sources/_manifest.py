"""Manifests: tables that list images by path or URL."""

import csv
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

from featx.errors import ParameterError, SourceError
from featx.labels import label_text
from featx.sources._base import ImageArray, Sample, Source, one_line
from featx.sources._files import NO_STAMP, Stamp, StrPath, decode_path, reason
from featx.sources._location import Location
from featx.sources._remote import UrlLocation, is_url, locate
from featx.sources._tables import COLUMNS, READERS, facts, field, import_parquet

MANIFEST_SUFFIXES = tuple(READERS)
"""Endings of the manifests that are read."""


class ManifestSource(Source):
    """Images listed in a table with a path and, if wanted, what is known of each.

    The columns are found by the names in :data:`COLUMNS`; others are left alone. A CSV needs a header.
    Paths are relative to the folder of the manifest, or URLs, and are the keys, exactly as written. What is to be
    learned is a class (``label``), any number of classes (``labels``: a list, or text with ``|`` between the names; a
    JSON list in the text where a name holds a ``|``; an empty list means none of the classes), or one or several
    numbers (``value``, written in the same ways): all rows use the same one of them. Empty fields mean that nothing is
    known. The usual spellings of splits become ``train``, ``val`` and ``test``. Samples of a ``group`` (a patient, a
    video) are not torn apart by splits. What lies behind a URL is not asked for its size: a column ``size`` (in bytes)
    is believed.

    Parameters
    ----------
    path : str or path-like
        A file, or its URL, that ends in ``.csv``, ``.tsv`` (tabs), ``.jsonl``, ``.ndjson`` or ``.parquet``.
    storage_options : dict, optional
        What fsspec is to be given for URLs, beside its own configuration.
    """

    def __init__(self, path: StrPath, *, storage_options: Mapping[str, Any] | None = None) -> None:
        self._location = locate(path, storage_options)
        self._folder = self._location.folder
        self._options = storage_options
        super().__init__(os.path.splitext(self._location.last)[0], f"manifest:{self._location.text}")

    def _list(self) -> Iterable[Sample]:
        suffix = os.path.splitext(self._location.last)[1].lower()
        reader = READERS.get(suffix)
        if reader is None:
            raise self._error(f"must end in one of {', '.join(MANIFEST_SUFFIXES)}")
        if suffix == ".parquet":
            import_parquet(f"manifest {self._location.text!r}")
        samples: dict[str, Sample] = {}
        protocols: set[str] = set()
        try:
            with self._location.open() as file:
                for where, row in reader(file):
                    sample = self._sample(where, row, protocols)
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

    def _sample(self, where: str, row: Mapping[str, Any], protocols: set[str]) -> Sample:
        if not any(name in row for name in COLUMNS["path"]):
            raise self._error(
                f"must have a column named {' or '.join(COLUMNS['path'])}; {where} has"
                f" {', '.join(map(repr, row)) or 'none'}"
            )
        path = field(row, "path")
        path = decode_path(path) if isinstance(path, bytes) else path
        if not isinstance(path, str) or not path:
            raise self._error(f"must give a path as text in every row; {where} has {path!r}")
        try:
            label, split, group = facts(row)
            stamp = self._stamp(path, row, protocols)
        except ParameterError as error:
            raise self._error(f"is wrong in {where}: {error}") from error
        return Sample(path, label, split, *stamp, group=group)

    def _stamp(self, path: str, row: Mapping[str, Any], protocols: set[str]) -> Stamp:
        """Return what is known of the file that a row names, without going far for it."""
        location = self._locate(path)
        if not isinstance(location, UrlLocation):
            return location.stamp()
        if location.protocol not in protocols:
            location.check()
            protocols.add(location.protocol)
        return _size(field(row, "size")), *NO_STAMP[1:]

    def _locate(self, path: str) -> Location:
        if is_url(path):
            return locate(path, self._options)
        if path.startswith("/") and isinstance(self._folder, UrlLocation):
            raise ParameterError(f"a path must be relative, or a URL, as the manifest is one itself; got {path!r}")
        return self._folder.join(path)

    def _read(self, index: int) -> bytes | ImageArray:
        return self._locate(self.samples[index].key).read()

    def _error(self, text: str) -> SourceError:
        return SourceError(f"manifest {self._location.text!r} {text}")


def _size(value: object) -> int:
    """Return the size that a field tells, -1 if it tells none."""
    text = label_text(value) if isinstance(value, (int, float, str)) else None
    return int(text) if text is not None and re.fullmatch("[0-9]{1,18}", text) else -1
