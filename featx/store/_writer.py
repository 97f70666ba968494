"""Writing a store: streamed into a temporary file, digested on the way, audited, renamed into place."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.errors import ParameterError, StoreError
from featx.spec import ExtractionSpec
from featx.store import _format as names
from featx.store._audit import read_layout
from featx.store._draft import Draft, json_array, write_shards
from featx.store._files import disk_errors, remove_stale, replacing, require_space
from featx.store._shards import remove_orphans, rows_per_shard
from featx.store._table import SampleTable
from featx.store._text import check_names, clean_reason, digest_column, encode
from featx.store._virtual import Elsewhere

Array = npt.NDArray[Any]


def write_store(
    path: Path,
    *,
    spec: ExtractionSpec,
    samples: SampleTable,
    digests: Sequence[str] | npt.NDArray[np.bytes_],
    features: Iterable[np.ndarray] | Elsewhere,
    feature_shape: tuple[int, ...],
    axes: str,
    failures: Sequence[tuple[str, str]] = (),
    source: Mapping[str, Any],
    backbone: Mapping[str, Any],
    creation: Mapping[str, Any],
    compress: bool = False,
    shards: int | str | None = None,
) -> None:
    """Write a feature store; a file of that name is replaced at the very end, whole.

    The same arguments give the same bytes.

    Parameters
    ----------
    path : Path
        The file; its folder is made if it is missing.
    spec : ExtractionSpec
        What decided the features; its ``dtype`` is theirs.
    samples : SampleTable of length n
        What each row is; at least one row.
    digests : sequence of str, length n, or ndarray of S64, shape (n,)
        SHA-256 hex digest of each sample's bytes.
    features : iterable of ndarray of shape (any, *feature_shape), dtype ``spec.dtype``
        Blocks of rows whose lengths add up to n; one of them is held at a time. Or the stores that they lie in.
    feature_shape : tuple of int
        Shape of one row's features, each length at least 1.
    axes : str
        A letter for each axis of the whole array, ``N`` first, such as ``NC`` or ``NHWC``.
    failures : sequence of (str, str)
        Key and reason of each sample that was left out; reasons are cut at 1,000 characters.
    source, backbone, creation : mapping
        JSON: what was read, how to load the backbone again, and how and when the store was made.
    compress : bool
        Whether the features are compressed (Blosc2), so that they cannot be mapped into memory. Their digests,
        and so the checksum, are the same.
    shards : int or str, optional
        In how many files the features lie, at most, or the most bytes of them in each, such as ``"10GB"``: then these
        are stores of their own, in a folder beside `path`, which keeps everything but the features. What one such file
        would hold is written into `path` as it is without.

    Raises
    ------
    ParameterError
        If the arguments do not fit each other.
    MissingDependencyError
        If `compress` is asked for and hdf5plugin is not installed.
    StoreError
        If there are no rows, or the file cannot be written; then `path` is as it was.
    """
    path = Path(path)
    if len(samples) == 0:
        reason = f"; the first of {len(failures)} failures: {clean_reason(failures[0][1])}" if failures else ""
        raise StoreError(f"{path} would have no rows because no sample could be extracted{reason}")
    shape = _full_shape(len(samples), feature_shape, axes)
    if not names.has_views(spec.views, shape, axes):
        raise ParameterError(
            f"axes must begin with NV, for as many views, just where the spec has several; got {axes!r} and"
            f" {shape} for a spec with views {spec.views}"
        )
    arrays = _row_arrays(samples, digests) | _failure_arrays(samples, failures)
    for name, value in (("source", source), ("backbone", backbone), ("creation", creation)):
        arrays[name] = json_array(name, value)
    arrays[names.SPEC] = np.array(spec.to_json().encode("ascii"))
    draft = Draft(arrays, shape, np.dtype(spec.dtype).newbyteorder("<"), axes, spec.digest, compress)
    _ = draft.together  # features that cannot be compressed are refused at once
    each = shape[0] if shards is None else rows_per_shard(shards, shape[0], draft.row_bytes)
    streamed = features if isinstance(features, Elsewhere) else _checked(features, shape, draft.dtype)
    with disk_errors(path):
        remove_stale(path.parent, path.name)
    try:
        with replacing(path) as temporary:
            if each < shape[0] and not isinstance(streamed, Elsewhere):
                write_shards(draft, each, streamed, temporary, path)
            else:
                require_space(path, draft.needed(virtual=isinstance(streamed, Elsewhere)))
                draft.write(temporary, path, streamed)
            read_layout(temporary)
    finally:
        remove_orphans(path)


def _full_shape(rows: int, feature_shape: tuple[int, ...], axes: str) -> tuple[int, ...]:
    shape = (rows, *(int(length) for length in feature_shape))
    if len(shape) < 2 or min(shape) < 1:
        raise ParameterError(f"feature_shape must hold lengths of at least 1; got {feature_shape}")
    if len(axes) != len(shape) or not re.fullmatch(r"N[A-Z]+", axes) or len(set(axes)) != len(axes):
        raise ParameterError(
            f"axes must be {len(shape)} different capital letters, N first, for features of {shape}; got {axes!r}"
        )
    return shape


def _row_arrays(samples: SampleTable, digests: Sequence[str] | npt.NDArray[np.bytes_]) -> dict[str, Array]:
    if len(digests) != len(samples):
        raise ParameterError(f"digests must have one entry for each of {len(samples)} rows; got {len(digests)}")
    return {
        names.KEY: encode(samples.keys),
        names.LABEL: samples.labels.astype("<i8", copy=False),
        names.SPLIT: encode(samples.splits),
        names.DIGEST: digest_column(digests),
        names.SIZE: samples.sizes.astype("<i8", copy=False),
        names.MTIME_NS: samples.mtimes_ns.astype("<i8", copy=False),
        names.INODE: samples.inodes.astype("<i8", copy=False),
        names.CLASSES: encode(samples.classes),
        **_optional_arrays(samples),
    }


def _optional_arrays(samples: SampleTable) -> dict[str, Array]:
    arrays: dict[str, Array] = {}
    if any(samples.groups):
        arrays[names.GROUP] = encode(samples.groups)
    if samples.indicator is not None:
        arrays[names.INDICATOR] = samples.indicator
    if samples.targets is not None:
        arrays[names.TARGET] = samples.targets.astype("<f8", copy=False)
        arrays[names.TARGET_NAME] = encode(samples.target_names)
    return arrays


def _failure_arrays(samples: SampleTable, failures: Sequence[tuple[str, str]]) -> dict[str, Array]:
    keys = [key for key, _ in failures]
    check_names("keys of failures", keys, unique=True)
    both = set(keys).intersection(samples.keys)
    if both:
        raise ParameterError(f"failures must name samples that have no row; got {min(both)!r}, which has one")
    return {
        names.FAILED_KEY: encode(keys),
        names.FAILED_REASON: encode([clean_reason(reason) for _, reason in failures]),
    }


def _checked(features: Iterable[Array], shape: tuple[int, ...], dtype: np.dtype[Any]) -> Iterator[Array]:
    start = 0
    for block in features:
        if block.dtype != dtype or block.shape[1:] != shape[1:] or start + len(block) > shape[0]:
            raise ParameterError(
                f"features must come in blocks of {dtype.name} that make up {shape};"
                f" got {block.dtype} {block.shape} at row {start}"
            )
        start += len(block)
        yield np.ascontiguousarray(block, dtype=dtype)
    if start != shape[0]:
        raise ParameterError(f"features must have {shape[0]} rows, one for each sample; got {start}")
