"""What a store's file holds, each small array held against its digest when it is first asked for."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.errors import ParameterError, StoreError
from featx.spec import ExtractionSpec
from featx.store import _format as names
from featx.store._audit import Layout, other_shard
from featx.store._digests import array_digest
from featx.store._text import decode

Array = npt.NDArray[Any]
Integers = npt.NDArray[np.int64]

_TEXTS_AT_ONCE = 2**14


class Contents:
    """The arrays of one file, all but the features.

    Attributes
    ----------
    layout : Layout
        Where they lie.
    checksums : dict
        The digests of all arrays, as ``docs/format.md`` describes them.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._known: dict[str, Array] = {}
        self.checksums: dict[str, Any] = self._read_checksums()
        self._check_shards()

    def array(self, name: str) -> Array:
        """Return an array as it is stored, a view of the file, once it is known to be what was written."""
        if name not in self._known:
            array = self.layout.array(name)
            if array_digest(array) != self.checksums["arrays"].get(name):
                raise self.damaged(name)
            self._known[name] = array
        return self._known[name]

    def texts(self, name: str) -> tuple[str, ...]:
        """Return an array of names."""
        return decode(self.array(name))

    def iter_texts(self, name: str) -> Iterator[str]:
        """Yield an array of names, decoded a few at a time."""
        array = self.array(name)
        for start in range(0, len(array), _TEXTS_AT_ONCE):
            yield from decode(array[start : start + _TEXTS_AT_ONCE])

    def __contains__(self, name: object) -> bool:
        """Whether the file has an array of a name."""
        return name in self.layout.elements

    def integers(self, name: str) -> Integers:
        """Return an array of integers that nobody can change."""
        return read_only(self.array(name).astype(np.int64))

    def json(self, name: str) -> dict[str, Any]:
        """Return a JSON object."""
        return self._parse(name, self.array(name))

    def spec(self) -> ExtractionSpec:
        """Return the spec, which the features' type and axes must fit."""
        raw = self.array(names.SPEC).item()
        if hashlib.sha256(raw).hexdigest() != self.layout.spec_digest:
            raise self.damaged(names.SPEC)
        try:
            spec = ExtractionSpec.from_json(raw.decode())
        except (ParameterError, AttributeError, RecursionError, UnicodeDecodeError) as error:
            raise StoreError(
                f"{self.layout.path} has a spec this featx cannot read ({error}): upgrade featx"
            ) from error
        element = self.layout.elements[names.FEATURES]
        if element.dtype != np.dtype(spec.dtype).newbyteorder("<") or not names.has_views(
            spec.views, element.shape, self.layout.axes
        ):
            raise self.damaged(names.FEATURES)
        return spec

    def damaged(self, name: str) -> StoreError:
        """Return the error for an array that is not what was written."""
        return StoreError(
            f"{self.layout.path} is damaged ({name!r} is not what was written): delete it and extract again"
        )

    def _parse(self, name: str, text: Array) -> dict[str, Any]:
        try:
            value = json.loads(text.item())
        except (ValueError, RecursionError) as error:
            raise self.damaged(name) from error
        if not isinstance(value, dict):
            raise self.damaged(name)
        return value

    def _read_checksums(self) -> dict[str, Any]:
        stored = self.layout.array(names.CHECKSUMS)
        if array_digest(stored) != self.layout.checksum:
            raise self.damaged(names.CHECKSUMS)
        checksums = self._parse(names.CHECKSUMS, stored)
        features, element = checksums.get("features"), self.layout.elements[names.FEATURES]
        if (
            checksums.get("algorithm") != "sha256"
            or not isinstance(checksums.get("arrays"), Mapping)
            or checksums["arrays"].keys() != self.layout.elements.keys() - {names.FEATURES, names.CHECKSUMS}
            or not isinstance(features, Mapping)
            or features.get("dtype") != element.dtype.str
            or features.get("shape") != list(element.shape)
            or type(features.get("rows_per_block")) is not int
            or features["rows_per_block"] < 1
            or not isinstance(features.get("blocks"), list)
            or len(features["blocks"]) != sum(-(-n // features["rows_per_block"]) for n in self.layout.row_counts)
        ):
            raise self.damaged(names.CHECKSUMS)
        return checksums

    def _check_shards(self) -> None:
        """Raise StoreError unless the shards' own digests of their features are those of this file, too."""
        stored = self.checksums["features"]
        start = 0
        for shard in self.layout.shards:
            found = Contents(shard).checksums["features"]
            stop = start + len(found["blocks"])
            if (found["rows_per_block"], found["blocks"]) != (stored["rows_per_block"], stored["blocks"][start:stop]):
                raise other_shard(self.layout, shard)
            start = stop


def read_only(array: Array) -> Array:
    """Return an array that from now on nobody can change."""
    array.setflags(write=False)
    return array
