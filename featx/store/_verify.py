"""Verification: every digest of a store, held against what the file holds now."""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path

from featx.errors import StoreError
from featx.store import _format as names
from featx.store._audit import Layout, read_layout
from featx.store._contents import Contents
from featx.store._digests import block_digests
from featx.store._reader import FeatureStore
from featx.store._text import decode

__all__ = ["VerifyReport", "verify_store"]


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What :func:`verify_store` found.

    Parameters
    ----------
    path : Path
        The file.
    problems : tuple of str
        One sentence for each; none of a sound store.
    damaged_rows : tuple of (int, int)
        Start and stop of each stretch of rows whose features are not what was written: whole blocks of rows that
        share a digest.
    damaged_keys : tuple of str
        The samples in them, as far as the names themselves are sound.
    rows : int
        Rows whose features were checked.
    bytes : int
        Bytes of arrays that were checked, unpacked.
    """

    path: Path
    problems: tuple[str, ...] = ()
    damaged_rows: tuple[tuple[int, int], ...] = ()
    damaged_keys: tuple[str, ...] = ()
    rows: int = 0
    bytes: int = 0

    @property
    def ok(self) -> bool:
        """Whether everything is what was written."""
        return not self.problems


def verify_store(path: str | os.PathLike[str]) -> VerifyReport:
    """Check every array of a store, and of its shards, against its digest; memory does not grow with the store.

    Parameters
    ----------
    path : str or path
        The file. One that is no store at all, or is cut short, is a report too, not an exception.

    Returns
    -------
    VerifyReport
    """
    path = Path(path)
    try:
        layout = read_layout(path)
        store, contents = FeatureStore(path, layout), Contents(layout)
    except StoreError as error:
        return VerifyReport(path, (str(error),))
    problems = []
    checked = 0
    for name in layout.elements:
        if name not in (names.FEATURES, names.CHECKSUMS):  # the latter have been read
            checked += layout.elements[name].nbytes
            try:
                contents.array(name)
            except StoreError as error:
                problems.append(str(error))
    found = _verify_shards(layout) if layout.shards else _verify_features(store, contents)
    return replace(found, path=path, problems=(*problems, *found.problems), bytes=checked + found.bytes)


def _verify_features(store: FeatureStore, contents: Contents) -> VerifyReport:
    path, damaged = store.path, tuple(_damaged_rows(store))
    keys: tuple[str, ...] = ()
    problems = []
    for start, stop in damaged:
        rows = f"row {start}" if stop == start + 1 else f"rows {start} to {stop - 1}"
        with suppress(StoreError):  # of damaged names, which have their own sentence
            here = decode(contents.array(names.KEY)[start:stop])
            keys += here
            rows += f", {here[0]!r}" if len(here) == 1 else f", {here[0]!r} to {here[-1]!r}"
        problems.append(f"{path} is damaged (the features of {rows}, are not what was written): extract these again")
    size = contents.layout.elements[names.FEATURES].nbytes
    return VerifyReport(path, tuple(problems), damaged, keys, rows=len(store), bytes=size)


def _verify_shards(layout: Layout) -> VerifyReport:
    """Verify each shard as the store that it is; rows are counted through."""
    reports = [verify_store(shard.path) for shard in layout.shards]
    damaged = []
    for before, report in zip(accumulate(layout.row_counts, initial=0), reports, strict=False):
        damaged += [(before + start, before + stop) for start, stop in report.damaged_rows]
    return VerifyReport(
        layout.path,
        tuple(problem for report in reports for problem in report.problems),
        tuple(damaged),
        tuple(key for report in reports for key in report.damaged_keys),
        rows=sum(layout.row_counts),
        bytes=sum(report.bytes for report in reports),
    )


def _damaged_rows(store: FeatureStore) -> Iterator[tuple[int, int]]:
    """Yield start and stop of each stretch of blocks whose features are not what was written."""
    stored = store.checksums["features"]
    size: int = stored["rows_per_block"]
    begun = None
    for number, digest in enumerate([*stored["blocks"], None]):
        start = number * size
        if digest is None or _is_sound(store, start, start + size, digest):
            if begun is not None:
                yield begun, min(start, len(store))
            begun = None
        elif begun is None:
            begun = start


def _is_sound(store: FeatureStore, start: int, stop: int, digest: str) -> bool:
    try:
        return block_digests(store.features[start:stop], stop - start) == [digest]
    except StoreError:  # it cannot be unpacked
        return False
