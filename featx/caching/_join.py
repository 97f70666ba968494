"""Putting stores together from parts and older stores: columns that say where each row's features are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.caching._index import DIGEST, DigestIndex, Digests, Integers, repeated
from featx.caching._known import gather, image_rows
from featx.caching._targets import Target, rows_of, sample_table
from featx.errors import StoreError
from featx.sources import Source
from featx.store import FeatureStore, Workspace, write_store

__all__ = ["Changes", "put_together"]


@dataclass(frozen=True, slots=True)
class Changes:
    """What an extraction found, sample by sample, against the store of the same source as it was.

    Parameters
    ----------
    kept : int
        Samples of the same name and content, whose features are those of the older store.
    new, changed, removed : int
        Samples that were not there, have another content, and are there no more.
    copied : int
        Of the new and changed ones, those whose features were there under another name or in another store.
    computed : int
        Images that went through the network now; each view of a sample is one.
    resumed : int
        Images that an interrupted run had sent through it.
    failed : int
        Samples that cannot be used.
    """

    kept: int = 0
    new: int = 0
    changed: int = 0
    removed: int = 0
    copied: int = 0
    computed: int = 0
    resumed: int = 0
    failed: int = 0


def put_together(
    source: Source,
    targets: Sequence[Target],
    order: Integers,
    digests: Digests,
    workspace: Workspace,
    computed: int,
    facts: Mapping[str, Any],
    *,
    compress: bool,
    shards: int | str | None,
) -> list[Changes]:
    """Put the stores together, in the order of the source, from the parts and what was known before.

    `digests` has the content of the samples that were not worked on.
    """
    table = sample_table(source)
    rows = _Rows.of(order, digests, workspace)
    failures = [(table.keys[row], reason) for row, reason in rows.failures]
    if failures:
        here = np.flatnonzero(rows.digests != b"")
        table, rows = table.take(here), rows.take(here)
    for index, target in enumerate(targets):
        arrays = [features[index] for features in rows.parts] + list(map(image_rows, target.known.stores))
        write_store(
            target.path,
            spec=target.wanted.spec,
            samples=table,
            digests=rows.digests,
            features=gather(arrays, rows.places(target), target.wanted.image_shape, target.wanted.spec.dtype),
            feature_shape=target.wanted.shape,
            axes=target.wanted.axes,
            failures=failures,
            compress=compress,
            shards=shards,
            **facts,
        )
    return [_changes(target.old, table.keys, rows, failures, computed) for target in targets]


@dataclass(frozen=True, eq=False)
class _Rows:
    """Where the features of each row are: in a part, or, but for the last views, in a store.

    Parameters
    ----------
    digests : ndarray of S64, shape (n,)
        Of the contents; empty for a sample that cannot be used.
    numbers, firsts, counts : ndarray of shape (n,)
        The part, the row of the first of the images there, and how many there are: 0 for a content that is in stores.
    sent : int
        Images in the parts, those of one content once.
    parts : list of tuple of array-like
        Features of each part.
    failures : list of (int, str)
        Row and reason of each sample that cannot be used.
    """

    digests: Digests
    numbers: npt.NDArray[np.int32]
    firsts: npt.NDArray[np.int32]
    counts: npt.NDArray[np.int32]
    sent: int
    parts: list[tuple[Any, ...]]
    failures: list[tuple[int, str]]

    @classmethod
    def of(cls, order: Integers, digests: Digests, workspace: Workspace) -> "_Rows":
        """Read the parts of a work."""
        numbers, firsts, counts = np.zeros((3, len(digests)), dtype=np.int32)
        parts, failures = [], []
        covered = 0
        for number, part in enumerate(workspace.parts()):
            rows = order[part.rows]
            digests[rows] = part.digests.astype(DIGEST)
            numbers[rows] = number
            firsts[rows] = part.fresh.cumsum() - part.fresh
            counts[rows] = part.fresh
            parts.append(tuple(map(_mapped_when_read, part.features)))
            failures += [(int(order[position]), reason) for position, reason in part.failures]
            covered += part.stop - part.start
        if covered != len(order):
            raise StoreError(
                f"{workspace.folder} has parts for {covered} of {len(order)} samples, though all were computed: see"
                " that nothing else works in that folder, and run the same command to compute the others again"
            )
        # A content that was met before has no features with its row, one that two processes met has them twice.
        several = np.flatnonzero((repeated(digests) | (counts == 0)) & (digests != b""))
        owners = several[counts[several] > 0]
        sent = int(counts.sum())
        if len(owners):
            index = DigestIndex(digests[owners])
            found = index.rows(digests[several])
            shared = found >= 0
            sent -= int(counts[owners].sum()) - int(counts[owners][np.unique(found[shared])].sum())
            for column in (numbers, firsts, counts):
                column[several[shared]] = column[owners[found[shared]]]
        return cls(digests, numbers, firsts, counts, sent, parts, failures)

    def take(self, rows: Integers) -> "_Rows":
        """Return some of the rows."""
        columns = {name: getattr(self, name)[rows] for name in ("digests", "numbers", "firsts", "counts")}
        return replace(self, **columns, failures=[])

    def places(self, target: Target) -> Integers:
        """Return where the features of each row are, (n, 2), or of each of its views, (n, views, 2).

        The last views are those that were computed; what comes before them is in stores, behind the parts.
        """
        views = target.wanted.spec.views
        places = np.empty((len(self.digests), views, 2), dtype=np.int64)
        view, first = np.arange(views), views - self.counts[:, None]
        places[..., 0] = self.numbers[:, None]
        places[..., 1] = self.firsts[:, None] + view - first
        known = np.flatnonzero(self.counts < views)
        if len(known):
            numbers, rows = target.known.places(self.digests[known])
            if (numbers < 0).any():
                raise StoreError(
                    f"{target.path} cannot be put together because features that were known are gone: see that nothing"
                    " removes stores or parts meanwhile, and run the same command again"
                )
            earlier = view < first[known]
            places[known, :, 0] = np.where(earlier, len(self.parts) + numbers[:, None], places[known, :, 0])
            places[known, :, 1] = np.where(earlier, rows[:, None] + view, places[known, :, 1])
        return places if views > 1 else places[:, 0]


class _MappedWhenRead:
    """Features of a part's file, mapped while rows are read: parts are many, and each map is an open file."""

    def __init__(self, array: "np.memmap[Any, Any]") -> None:
        self._file, self._offset = array.filename, array.offset
        self._dtype, self._shape = array.dtype, array.shape

    def __getitem__(self, rows: Integers) -> npt.NDArray[Any]:
        assert self._file is not None
        found: npt.NDArray[Any] = np.memmap(self._file, self._dtype, "r", self._offset, self._shape)[rows]
        return found


def _mapped_when_read(array: npt.NDArray[Any]) -> Any:
    return _MappedWhenRead(array) if isinstance(array, np.memmap) else array


def _changes(
    old: FeatureStore | None,
    keys: Sequence[str],
    rows: _Rows,
    failures: Sequence[tuple[str, str]],
    computed: int,
) -> Changes:
    """Compare the rows of an older store with those of now."""
    failed = {key for key, _ in failures}
    before, same = np.full(len(keys), -1, dtype=np.int64), np.zeros(len(keys), dtype=bool)
    old_rows, old_failed, failed_now, mended = 0, set[str](), 0, 0
    if old is not None:
        before = rows_of(keys, old)
        there = np.flatnonzero(before >= 0)
        same[there] = old.digest_column[before[there]] == rows.digests[there]
        old_rows, old_failed = len(old), {key for key, _ in old.failures}
        failed_now = sum(key in failed for key in old.iter_keys()) if failed else 0
        mended = sum(key in old_failed for key in keys) if old_failed else 0
    found, kept = int((before >= 0).sum()), int(same.sum())
    others = ~same
    return Changes(
        kept=kept,
        new=len(keys) - found - mended + len(failed - old_failed) - failed_now,
        changed=found - kept + mended + failed_now,
        removed=old_rows - found - failed_now + len(old_failed - failed) - mended,
        copied=len(keys) - kept - _different(rows.digests[others & (rows.counts > 0)]),
        computed=computed,
        resumed=max(0, rows.sent - computed),  # several processes may meet one content at the same time
        failed=len(failed),
    )


def _different(digests: Digests) -> int:
    """Return how many different digests there are."""
    several = repeated(digests)
    return int((~several).sum()) + len(set(digests[several].tolist()))
