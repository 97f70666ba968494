"""The read side: a store opens at once, whatever its size, and reads what it is asked for."""

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.errors import ParameterError, StoreError, did_you_mean
from featx.spec import ExtractionSpec
from featx.store import _format as names
from featx.store._audit import Layout, read_layout
from featx.store._digests import array_digest
from featx.store._table import SampleTable, check_labels
from featx.store._text import decode

Array = npt.NDArray[Any]
Integers = npt.NDArray[np.int64]

_NAME = re.compile(r"(.+)\.[^.]+\.[0-9a-f]{12}\.h5", re.DOTALL)


def open_store(path: str | os.PathLike[str]) -> "FeatureStore":
    """Open a feature store.

    Header, version, completeness, types, shapes and sizes are checked before it returns, and each small array
    against its checksum when it is first asked for; the features are only mapped, not read.

    Parameters
    ----------
    path : str or path
        A file that :func:`write_store` wrote.

    Raises
    ------
    StoreError
        If the file is no store, is damaged or incomplete, or was written by a newer featx.
    """
    return FeatureStore(Path(path), read_layout(Path(path)))


def _reopen(path: Path, checksum: str) -> "FeatureStore":
    """Open what a pickled store was, and nothing else."""
    store = open_store(path)
    if store.checksum != checksum:
        raise StoreError(f"{path} has been replaced since the store was pickled: open it again and pickle that")
    return store


class FeatureStore:
    """The features of one source under one spec, with what each row is; made by :func:`open_store`.

    A store stays what it was when it was opened, also when another file takes its place. Pickling keeps the
    path and the checksum, so that workers map the file themselves.

    Attributes
    ----------
    path : Path
        The file.
    spec : ExtractionSpec
        What decided the features.
    features : ndarray of float32 or float16, shape (n, ...)
        Read-only memory map.
    axes : str
        A letter for each axis of `features`, such as ``NC``.
    keys : tuple of str, length n
        Names of the samples.
    labels : ndarray of int64, shape (n,)
        Indices into `classes`; -1 for none.
    classes : tuple of str
        Names of the classes.
    splits : tuple of str, length n
        Split of each sample; empty for none.
    digests : tuple of str, length n
        SHA-256 hex digest of each sample's bytes.
    sizes, mtimes_ns : ndarray of int64, shape (n,)
        Bytes of each sample's file, and when it was last changed (nanoseconds since 1970).
    failures : tuple of (str, str)
        Key and reason of each sample that has no row.
    source, backbone, creation : dict
        What was read, how to load the backbone again, how and when the store was made.
    """

    def __init__(self, path: Path, layout: Layout) -> None:
        self.path = path
        self.axes = layout.axes
        self._layout = layout
        self._raw: dict[str, Array] = {}
        self.checksums: dict[str, Any] = self._read_checksums()
        self.spec: ExtractionSpec = self._read_spec()
        self.source: dict[str, Any] = self._json(names.SOURCE)
        self.backbone: dict[str, Any] = self._json(names.BACKBONE)
        self.creation: dict[str, Any] = self._json(names.CREATION)
        self.classes: tuple[str, ...] = decode(self._array(names.CLASSES))
        self.features: Array = layout.array(names.FEATURES)

    @property
    def checksum(self) -> str:
        """SHA-256 hex digest that covers every array; equal for stores of equal contents."""
        return self._layout.checksum

    @property
    def name(self) -> str:
        """What the store is called: NAME of a file NAME.BACKBONE.KEY.h5, else the name without its end."""
        match = _NAME.fullmatch(self.path.name)
        return match[1] if match else self.path.stem

    def __len__(self) -> int:
        return len(self.features)

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.features.shape[1:]))
        return f"<FeatureStore {str(self.path)!r}: {len(self):,} rows of {shape} {self.features.dtype.name}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.path.absolute(), self.checksum)

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """Names of the samples."""
        return decode(self._array(names.KEY))

    @cached_property
    def labels(self) -> Integers:
        """Indices into `classes`, int64 of shape (n,); -1 for none."""
        labels = self._integers(names.LABEL)
        try:
            check_labels("labels", labels, len(self.classes))
        except ParameterError as error:
            raise self._damaged(names.LABEL) from error
        return labels

    @cached_property
    def splits(self) -> tuple[str, ...]:
        """Split of each sample; empty for none."""
        return decode(self._array(names.SPLIT))

    @cached_property
    def digests(self) -> tuple[str, ...]:
        """SHA-256 hex digest of each sample's bytes."""
        return decode(self._array(names.DIGEST))

    @cached_property
    def sizes(self) -> Integers:
        """Bytes of each sample's file, int64 of shape (n,)."""
        return self._integers(names.SIZE)

    @cached_property
    def mtimes_ns(self) -> Integers:
        """When each sample's file was last changed, int64 of shape (n,), nanoseconds since 1970."""
        return self._integers(names.MTIME_NS)

    @cached_property
    def failures(self) -> tuple[tuple[str, str], ...]:
        """Key and reason of each sample that has no row."""
        keys, reasons = decode(self._array(names.FAILED_KEY)), decode(self._array(names.FAILED_REASON))
        return tuple(zip(keys, reasons, strict=True))

    @cached_property
    def samples(self) -> SampleTable:
        """The columns as one table of length n."""
        try:
            return SampleTable(
                keys=self.keys,
                labels=self.labels,
                classes=self.classes,
                splits=self.splits,
                sizes=self.sizes,
                mtimes_ns=self.mtimes_ns,
            )
        except ParameterError as error:
            raise StoreError(f"{self.path} holds columns that do not fit each other ({error})") from error

    def select(self, split: str | None) -> Integers:
        """Return the rows of a split.

        Parameters
        ----------
        split : str or None
            Name of a split of this store; empty for rows of no split; None for all rows.

        Returns
        -------
        ndarray of int64, shape (m,)
            Ascending positions.

        Raises
        ------
        ParameterError
            If the store has no such split.
        """
        if split is None:
            return np.arange(len(self), dtype=np.int64)
        raw = self._array(names.SPLIT)
        wanted = split.encode("utf-8", "surrogateescape")
        # NumPy compares text without the NULs that pad it, so a name that ends in one must not get here.
        rows = np.flatnonzero(raw == wanted) if b"\0" not in wanted else np.empty(0, dtype=np.int64)
        if split and not len(rows):
            known = [name for name in self._split_counts() if name]
            raise ParameterError(
                f"split must be one of {', '.join(map(repr, known)) or 'none (the store has no splits)'};"
                f" got {split!r}{did_you_mean(split, known)}"
            )
        return rows.astype(np.int64, copy=False)

    def summary(self) -> dict[str, Any]:
        """Return facts for people, all of them JSON, none of them read from the features."""
        labels = np.bincount(self.labels + 1, minlength=len(self.classes) + 1).tolist()
        return {
            "name": self.name,
            "path": str(self.path),
            "rows": len(self),
            "shape": list(self.features.shape),
            "axes": self.axes,
            "dtype": self.features.dtype.name,
            "bytes": int(self._layout.data.size),
            "key": self.spec.digest,
            "checksum": self.checksum,
            "classes": dict(zip(self.classes, labels[1:], strict=True)),
            "unlabelled": labels[0],
            "splits": self._split_counts(),
            "failures": self._layout.elements[names.FAILED_KEY].shape[0],
            "spec": asdict(self.spec),
            "source": self.source,
            "backbone": self.backbone,
            "creation": self.creation,
        }

    def _split_counts(self) -> dict[str, int]:
        counts = Counter(self._array(names.SPLIT).tolist())
        return {raw.decode("utf-8", "surrogateescape"): counts[raw] for raw in sorted(counts)}

    def _integers(self, name: str) -> Integers:
        integers = self._array(name).astype(np.int64)
        integers.setflags(write=False)
        return integers

    def _array(self, name: str) -> Array:
        """Return a small array as it is stored, once it is known to be what was written."""
        if name not in self._raw:
            array = self._layout.array(name)
            if array_digest(array) != self.checksums["arrays"].get(name):
                raise self._damaged(name)
            self._raw[name] = array
        return self._raw[name]

    def _json(self, name: str) -> dict[str, Any]:
        return self._parse(name, self._array(name))

    def _parse(self, name: str, text: Array) -> dict[str, Any]:
        try:
            value = json.loads(text.item())
        except (ValueError, RecursionError) as error:
            raise self._damaged(name) from error
        if not isinstance(value, dict):
            raise self._damaged(name)
        return value

    def _read_checksums(self) -> dict[str, Any]:
        stored = self._layout.array(names.CHECKSUMS)
        if array_digest(stored) != self._layout.checksum:
            raise self._damaged(names.CHECKSUMS)
        checksums = self._parse(names.CHECKSUMS, stored)
        features, element = checksums.get("features"), self._layout.elements[names.FEATURES]
        if (
            checksums.get("algorithm") != "sha256"
            or not isinstance(checksums.get("arrays"), Mapping)
            or not isinstance(features, Mapping)
            or features.get("dtype") != element.dtype.str
            or features.get("shape") != list(element.shape)
            or type(features.get("rows_per_block")) is not int
            or features["rows_per_block"] < 1
            or not isinstance(features.get("blocks"), list)
            or len(features["blocks"]) != -(-element.shape[0] // features["rows_per_block"])
        ):
            raise self._damaged(names.CHECKSUMS)
        return checksums

    def _read_spec(self) -> ExtractionSpec:
        raw = self._array(names.SPEC).item()
        if hashlib.sha256(raw).hexdigest() != self._layout.spec_digest:
            raise self._damaged(names.SPEC)
        try:
            spec = ExtractionSpec.from_json(raw.decode())
        except (ParameterError, AttributeError, RecursionError, UnicodeDecodeError) as error:
            raise StoreError(f"{self.path} has a spec this featx cannot read ({error}): upgrade featx") from error
        if self._layout.elements[names.FEATURES].dtype != np.dtype(spec.dtype).newbyteorder("<"):
            raise self._damaged(names.FEATURES)
        return spec

    def _damaged(self, name: str) -> StoreError:
        return StoreError(f"{self.path} is damaged ({name!r} is not what was written): delete it and extract again")
