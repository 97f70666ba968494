"""Several stores of one spec as one."""

import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from featx.errors import ParameterError, SpecMismatchError
from featx.labels import Label, class_order
from featx.spec import digest_of
from featx.store._digests import rows_per_block
from featx.store._export import checked_rows, require_new
from featx.store._format import MOST_SHARDS
from featx.store._reader import FeatureStore, open_store
from featx.store._table import SampleTable
from featx.store._virtual import Elsewhere, Piece
from featx.store._writer import write_store

__all__ = ["merge_stores"]

_AGREEMENT = 0.01
"""Relative difference up to which two rows of the same bytes are the same features: they depend on the batch's shape
in the last bits, which in bf16 are the third decimal."""

T = TypeVar("T")


def merge_stores(
    stores: Sequence[FeatureStore],
    path: str | os.PathLike[str],
    *,
    name: str | None = None,
    prefix: bool = False,
    compress: bool = False,
    shards: int | str | None = None,
    virtual: bool = False,
    overwrite: bool = False,
) -> FeatureStore:
    """Write the rows of several stores of one spec into one; memory does not grow with the features.

    Rows come in the order of the stores. A sample that several stores have (same key, same content) is there
    once; if only one of them knows its label, split or group, it has that. Classes are united by name. A sample that
    failed in one store and has a row in another is no failure. Features are held against their digests as they
    are read, so damage is never passed on.

    Parameters
    ----------
    stores : sequence of FeatureStore
        At least two.
    path : str or path
        The file of the new store; it appears whole or not at all.
    name : str, optional
        What its source is called; by default the file's name.
    prefix : bool
        Whether keys become ``NAME/key``, so that equal keys of different stores stay different samples. NAME is
        that of the store, or the name of its file where stores share a name.
    compress : bool
        Whether the new store is compressed, as :func:`write_store` does it.
    shards : int or str, optional
        In how many files its features lie, or how large these may be, as :func:`write_store` takes it.
    virtual : bool
        Whether the new store has no features of its own but names the stores as its shards: nothing is copied, and
        they must stay as they are and where they are, in its folder or below. No sample may be in several of them.
    overwrite : bool
        Whether a file of that name may be replaced.

    Returns
    -------
    FeatureStore
        The new store.

    Raises
    ------
    SpecMismatchError
        If the stores are not of one spec, naming each field that differs.
    ParameterError
        If they disagree about a sample, naming it and both files.
    StoreError
        If one is damaged, or the file cannot be written; then it is as it was.
    """
    stores, path = list(stores), Path(path)
    _require_alike(stores)
    require_new(path, overwrite=overwrite, besides=stores)
    if virtual and (compress or shards is not None):
        raise ParameterError("virtual must be without compress and shards: the features stay where they are")
    prefixes = [f"{each}/" for each in _names(stores)] if prefix else [""] * len(stores)
    classes = class_order(name for store in stores for name in store.classes)
    rows, labels, splits, groups = _choose(stores, prefixes)
    taken = list(zip(stores, prefixes, rows, strict=True))
    keys = [before + store.keys[row] for store, before, mine in taken for row in mine]
    failures: dict[str, str] = {}
    for store, before in zip(stores, prefixes, strict=True):
        for key, reason in store.failures:
            failures.setdefault(before + key, reason)
    identity = digest_of([[before, store.checksum] for store, before in zip(stores, prefixes, strict=True)])
    write_store(
        path,
        spec=stores[0].spec,
        samples=SampleTable.of(
            labels,
            classes=classes,
            target_names=next((store.target_names for store in stores if store.labelled.any()), ()),
            keys=tuple(keys),
            splits=splits,
            groups=groups,
            **_other_columns(stores, rows),
        ),
        digests=[store.digests[row] for store, _, mine in taken for row in mine],
        features=_elsewhere(stores, rows, path) if virtual else _features(stores, rows),
        feature_shape=stores[0].features.shape[1:],
        axes=stores[0].axes,
        failures=[(key, failures[key]) for key in sorted(failures.keys() - set(keys))],
        source={
            "name": name or path.stem,
            "identity": f"merged:{identity}",
            "merged": [{**store.source, "checksum": store.checksum} for store in stores],
        },
        backbone=stores[0].backbone,
        creation={
            "featx": version("featx"),
            "merged": [store.path.name for store in stores],
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
        },
        compress=compress,
        shards=shards,
    )
    return open_store(path)


def _require_alike(stores: Sequence[FeatureStore]) -> None:
    if len(stores) < 2:
        raise ParameterError(f"stores must be at least two; got {len(stores)}: name those to merge")
    first = stores[0]
    for store in stores[1:]:
        lines = first.spec.differences(store.spec)
        if lines:
            raise SpecMismatchError(
                f"stores that are merged must have one spec; {first.path} and {store.path} differ in"
                f" {'; '.join(lines)}: extract both with the same settings"
            )
        if (first.axes, first.features.shape[1:]) != (store.axes, store.features.shape[1:]):
            raise ParameterError(
                f"stores that are merged must have rows of one shape; {first.path} has {first.axes}"
                f" {first.features.shape[1:]} and {store.path} {store.axes} {store.features.shape[1:]}:"
                " they cannot be of one network, so import them under different names"
            )
    labelled = [store for store in stores if store.labelled.any()]
    for store in labelled[1:]:
        before = labelled[0]
        if (before.task, before.target_names) != (store.task, store.target_names):
            raise ParameterError(
                f"stores that are merged must be labelled alike; {before.path} is for {_purpose(before)} and"
                f" {store.path} for {_purpose(store)}: extract both from sources that say the same"
            )


def _purpose(store: FeatureStore) -> str:
    return f"{store.task} of {', '.join(store.target_names)}" if store.target_names else store.task


def _names(stores: Sequence[FeatureStore]) -> list[str]:
    """Return a name of its own for each store."""
    for names in ([store.name for store in stores], [store.path.stem for store in stores]):
        if len(set(names)) == len(names):
            return names
    raise ParameterError(
        f"stores must have different file names for prefix; got {', '.join(str(store.path) for store in stores)}:"
        " rename one"
    )


def _choose(
    stores: Sequence[FeatureStore], prefixes: Sequence[str]
) -> tuple[list[list[int]], list[Label | None], list[str], list[str]]:
    """Return the rows to take of each store, and the label, split and group of each, in the order of the new store."""
    rows: list[list[int]] = [[] for _ in stores]
    origins: list[tuple[int, int]] = []
    labels: list[Label | None] = []
    splits: list[str] = []
    groups: list[str] = []
    place: dict[str, int] = {}
    for number, (store, before) in enumerate(zip(stores, prefixes, strict=True)):
        samples = zip(store.keys, store.samples.named_labels(), store.splits, store.groups, strict=True)
        for row, (key, label, split, group) in enumerate(samples):
            known = place.setdefault(before + key, len(origins))
            if known == len(origins):
                rows[number].append(row)
                origins.append((number, row))
                labels.append(label)
                splits.append(split)
                groups.append(group)
                continue
            first, first_row = origins[known]
            if stores[first].digests[first_row] != store.digests[row]:
                raise _disagreement(stores[first], store, key, "content")
            if not _is_close(stores[first].features[first_row], store.features[row]):
                raise _disagreement(stores[first], store, key, "features, from the same content,")
            labels[known] = _agreed(labels[known], label, None, _disagreement(stores[first], store, key, "label"))
            splits[known] = _agreed(splits[known], split, "", _disagreement(stores[first], store, key, "split"))
            groups[known] = _agreed(groups[known], group, "", _disagreement(stores[first], store, key, "group"))
    return rows, labels, splits, groups


def _agreed(mine: T, theirs: T, nothing: T, disagreement: ParameterError) -> T:
    if mine == nothing:
        return theirs
    if theirs in (nothing, mine):
        return mine
    raise disagreement


def _disagreement(first: FeatureStore, second: FeatureStore, key: str, what: str) -> ParameterError:
    return ParameterError(
        f"stores that are merged must agree about each sample; the {what} of {key!r} differs between {first.path} and"
        f" {second.path}: extract again what is out of date, or keep both with prefix"
    )


def _is_close(mine: npt.NDArray[Any], theirs: npt.NDArray[Any]) -> bool:
    if mine.tobytes() == theirs.tobytes():
        return True
    a, b = mine.astype(np.float64).ravel(), theirs.astype(np.float64).ravel()
    return bool(np.linalg.norm(a - b) <= _AGREEMENT * max(np.linalg.norm(a), np.linalg.norm(b)))


def _other_columns(stores: Sequence[FeatureStore], rows: Sequence[Sequence[int]]) -> dict[str, Any]:
    """Return what the table holds of each sample's file."""
    return {
        name: np.concatenate([getattr(store, name)[mine] for store, mine in _taken(stores, rows)])
        for name in ("sizes", "mtimes_ns", "inodes")
    }


def _features(stores: Sequence[FeatureStore], rows: Sequence[Sequence[int]]) -> Iterator[npt.NDArray[Any]]:
    for store, mine in _taken(stores, rows):
        yield from checked_rows(store, mine)


def _elsewhere(stores: Sequence[FeatureStore], rows: Sequence[Sequence[int]], path: Path) -> Elsewhere:
    """Return the files that the stores' features lie in, as the new store names them."""
    pieces: list[Piece] = []
    blocks: list[str] = []
    for store, mine in zip(stores, rows, strict=True):
        if len(mine) < len(store):
            taken = set(mine)
            twice = next(key for row, key in enumerate(store.iter_keys()) if row not in taken)
            raise ParameterError(
                f"stores that are merged without a copy must have no sample in common; {twice!r} of {store.path} is in"
                " another, too: use prefix, or leave virtual out"
            )
        stored = store.checksums["features"]
        if stored["rows_per_block"] != rows_per_block(store.features.nbytes // len(store)):
            raise ParameterError(
                "stores that are merged without a copy must have digests of blocks as featx takes them;"
                f" {store.path} has others: leave virtual out"
            )
        blocks += stored["blocks"]
        files = store.shards or (store.path,)
        pieces += [Piece(_below(path.parent, file), count) for file, count in zip(files, store.row_counts, strict=True)]
    if len(pieces) > MOST_SHARDS:
        raise ParameterError(
            f"stores that are merged without a copy must lie in at most {MOST_SHARDS} files; got {len(pieces)}: merge"
            " some with a copy first"
        )
    return Elsewhere(pieces, blocks)


def _below(folder: Path, file: Path) -> str:
    """Return the name of a file from a folder downwards."""
    try:
        name = Path(os.path.abspath(file)).relative_to(os.path.abspath(folder)).as_posix()
        name.encode()
    except ValueError as error:  # UnicodeEncodeError is one
        raise ParameterError(
            f"stores that are merged without a copy must lie in the folder of the new one, or below, under a name that"
            f" is text; got {str(file)!r} for a store in {str(folder)!r}: move one of them"
        ) from error
    return name


def _taken(
    stores: Sequence[FeatureStore], rows: Sequence[Sequence[int]]
) -> Iterator[tuple[FeatureStore, npt.NDArray[np.int64]]]:
    for store, mine in zip(stores, rows, strict=True):
        yield store, np.array(mine, dtype=np.int64)
