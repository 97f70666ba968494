"""What a source asks for, and what of it is there already."""

import hashlib
import math
import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from featx.caching._index import DIGEST, Digests, Integers
from featx.caching._known import Known, KnownViews, stores_of
from featx.errors import StoreError
from featx.sources import Source
from featx.spec import ExtractionSpec, canonical_json
from featx.store import FeatureStore, SampleTable, cache_folder, list_stores, open_store, store_path

if TYPE_CHECKING:
    from featx.extraction import Output

__all__ = [
    "Target",
    "Wanted",
    "existing_store",
    "known_digests",
    "listing_digest",
    "path_of",
    "rows_of",
    "sample_table",
    "views_left",
    "wanted_of",
]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Features that are asked for.

    Parameters
    ----------
    spec : ExtractionSpec
        What decides their numbers.
    shape : tuple of int
        Of a row; where there are several views of each image, they come first.
    axes : str
        Meaning of the axes of a batch of rows, such as ``"NC"`` or, with views, ``"NVC"``.
    """

    spec: ExtractionSpec
    shape: tuple[int, ...]
    axes: str

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Shape of the features of one view."""
        return self.shape if self.spec.views == 1 else self.shape[1:]

    @property
    def row_bytes(self) -> int:
        """Bytes of a row."""
        return math.prod(self.shape) * np.dtype(self.spec.dtype).itemsize


def wanted_of(output: "Output") -> Wanted:
    """Return what is stored of an output: one row for each image, of all its views."""
    if output.spec.views == 1:
        return Wanted(output.spec, output.shape, output.axes)
    return Wanted(output.spec, (output.spec.views, *output.shape), f"NV{output.axes[1:]}")


@dataclass(frozen=True, slots=True)
class Target:
    """A store that is to be written.

    Parameters
    ----------
    wanted : Wanted
    path : Path
    old : FeatureStore or None
        The store of this source and spec as it was.
    known : Known
        Features of that spec, or of some of its views, in `old` and elsewhere in the cache.
    """

    wanted: Wanted
    path: Path
    old: FeatureStore | None
    known: Known

    @classmethod
    def of(cls, wanted: Wanted, path: Path, old: FeatureStore | None, cache: str | os.PathLike[str] | None) -> "Target":
        """Look in a cache folder for what is known."""
        others = stores_of(wanted.spec, (other for other in list_stores(cache) if other != path))
        return cls(wanted, path, old, Known(wanted.spec, [*([] if old is None else [old]), *others]))


def listing_digest(source: Source) -> str:
    """Return a digest of all that is known of the samples without opening them."""
    digest = hashlib.sha256(canonical_json(source.classes).encode("ascii"))
    for sample in source.samples:
        fields: tuple[Any, ...] = (sample.key, sample.label, sample.split, sample.size, sample.mtime_ns, sample.inode)
        if sample.group is not None:  # which samples did not always have
            fields = (*fields, sample.group)
        digest.update(canonical_json(fields).encode("ascii"))
    return digest.hexdigest()


def sample_table(source: Source) -> SampleTable:
    """Return what is known of the samples without opening them, as the columns of a store."""
    samples = source.samples
    return SampleTable.of(
        [sample.label for sample in samples],
        classes=source.classes,
        keys=tuple(sample.key for sample in samples),
        splits=tuple(sample.split or "" for sample in samples),
        groups=tuple(sample.group or "" for sample in samples),
        sizes=_column(source, "size"),
        mtimes_ns=_column(source, "mtime_ns"),
        inodes=_column(source, "inode"),
    )


def known_digests(source: Source, targets: Sequence[Target]) -> Digests:
    """Return the content digest of each sample that an older store has seen as it is, S64; empty for the others.

    A sample is the same if key, size, time of change and inode are: then its bytes need not be read.
    """
    digests = np.zeros(len(source), dtype=DIGEST)
    stores = {store.path: store for target in targets for store in target.known.stores}
    alike = [store for store in stores.values() if store.source.get("identity") == source.identity]
    if not alike:
        return digests
    keys = [sample.key for sample in source.samples]
    sizes, mtimes_ns, inodes = (_column(source, name) for name in ("size", "mtime_ns", "inode"))
    for old in alike:
        rows = rows_of(keys, old)
        places = np.flatnonzero((rows >= 0) & (digests == b"") & (sizes >= 0))
        for now, then in ((sizes, old.sizes), (mtimes_ns, old.mtimes_ns), (inodes, old.inodes)):
            places = places[now[places] == then[rows[places]]]
        digests[places] = old.digest_column[rows[places]]
    return digests


def rows_of(keys: Sequence[str], store: FeatureStore) -> Integers:
    """Return the row that each key has in a store, int64; -1 for those that it does not have.

    Sources and their stores are sorted by key, so that the two are walked through side by side; others are looked up.
    """
    if _ascends(keys) and _ascends(store.iter_keys()):
        return np.array(_walk(keys, store.iter_keys()), dtype=np.int64)
    place = {key: row for row, key in enumerate(store.iter_keys())}
    return np.fromiter((place.get(key, -1) for key in keys), np.int64, len(keys))


def _ascends(keys: Iterable[str]) -> bool:
    return all(first < second for first, second in pairwise(keys))


def _walk(keys: Iterable[str], stored: Iterable[str]) -> "array[int]":
    rows = array("q")
    numbered: Iterator[tuple[int, str | None]] = iter(enumerate(stored))
    row, there = next(numbered)
    for key in keys:
        while there is not None and there < key:
            row, there = next(numbered, (-1, None))
        rows.append(row if there == key else -1)
    return rows


def _column(source: Source, name: str) -> Integers:
    return np.fromiter(map(attrgetter(name), source.samples), np.int64, len(source))


def views_left(digests: Digests, targets: Sequence[Target]) -> Integers:
    """Return how many views of each sample are not known for all targets: every one where its digest is not known."""
    left = np.full(len(digests), targets[0].wanted.spec.views, dtype=np.int64)
    known = np.flatnonzero(digests != b"")
    left[known] -= KnownViews([target.known for target in targets]).of(digests[known])
    return left


def existing_store(path: Path, spec: ExtractionSpec, identity: str, *, named: str | None) -> FeatureStore | None:
    """Open the store of a source and a spec at `path`, if it is there.

    Parameters
    ----------
    named : str or None
        The parameter in which the user named the file; then a store of something else is not to be replaced.

    Raises
    ------
    StoreError
        If the file is no store, or is one of something else that the user named.
    """
    if not path.exists():
        return None
    store = open_store(path)
    if store.spec == spec and store.source.get("identity") == identity:
        return store
    if named is None:
        return None
    raise StoreError(
        f"{named} {str(path)!r} is there and holds other features (of {store.source.get('identity')}, by"
        f" {store.spec.backbone}, layer {store.spec.layer}): choose another name, or delete it"
    )


def path_of(
    spec: ExtractionSpec,
    source: Source,
    *,
    name: str | None,
    cache: str | os.PathLike[str] | None,
    out: str | os.PathLike[str] | None,
) -> Path:
    """Return the file for the features of a source: the one that is named, else its place in the cache."""
    if out is not None:
        return Path(out)
    return store_path(
        cache_folder(cache), name=source.name if name is None else name, identity=source.identity, spec=spec
    )
