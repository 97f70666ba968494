"""What a source asks for, and what of it a store has already."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from featx.errors import StoreError
from featx.extraction import Output
from featx.sources import Source
from featx.spec import canonical_json
from featx.store import FeatureStore, SampleTable, open_store

__all__ = ["Target", "existing_store", "listing_digest", "reusable_rows", "sample_table"]


@dataclass(frozen=True, slots=True)
class Target:
    """A store that is to be written: of what, where, and the rows that an older one has already."""

    output: Output
    path: Path
    old: FeatureStore | None
    old_rows: npt.NDArray[np.int64]
    """For each sample of the source its row in `old`, or -1."""


def listing_digest(source: Source) -> str:
    """Return a digest of all that is known of the samples without opening them."""
    digest = hashlib.sha256(canonical_json(source.classes).encode("ascii"))
    for sample in source.samples:
        fields = (sample.key, sample.label, sample.split, sample.size, sample.mtime_ns)
        digest.update(canonical_json(fields).encode("ascii"))
    return digest.hexdigest()


def sample_table(source: Source) -> SampleTable:
    index = {name: i for i, name in enumerate(source.classes)}
    samples = source.samples
    return SampleTable(
        keys=tuple(sample.key for sample in samples),
        labels=np.array([-1 if s.label is None else index[s.label] for s in samples], dtype=np.int64),
        classes=source.classes,
        splits=tuple(sample.split or "" for sample in samples),
        sizes=np.array([sample.size for sample in samples], dtype=np.int64),
        mtimes_ns=np.array([sample.mtime_ns for sample in samples], dtype=np.int64),
        inodes=np.array([sample.inode for sample in samples], dtype=np.int64),
    )


def reusable_rows(source: Source, old: FeatureStore | None) -> npt.NDArray[np.int64]:
    """Return for each sample its row in `old`, if file and time of change are the same there; else -1."""
    rows = np.full(len(source), -1, dtype=np.int64)
    if old is None:
        return rows
    stats = zip(old.keys, old.sizes.tolist(), old.mtimes_ns.tolist(), strict=True)
    known = {stat: row for row, stat in enumerate(stats)}
    for i, sample in enumerate(source.samples):
        if sample.size >= 0:  # else its listing says nothing of its content
            rows[i] = known.get((sample.key, sample.size, sample.mtime_ns), -1)
    return rows


def existing_store(path: Path, output: Output, identity: str, *, named: str | None) -> FeatureStore | None:
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
    if store.spec == output.spec and store.source.get("identity") == identity:
        return store
    if named is None:
        return None
    raise StoreError(
        f"{named} {str(path)!r} is there and holds other features (of {store.source.get('identity')}, by"
        f" {store.spec.backbone}, layer {store.spec.layer}): choose another name, or delete it"
    )
