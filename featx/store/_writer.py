"""Writing a store: streamed into a temporary file, digested on the way, audited, renamed into place."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import filterfalse
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from h5py import h5a, h5d, h5f, h5g, h5p, h5s, h5t

from featx.errors import ParameterError, StoreError
from featx.spec import ExtractionSpec, canonical_json
from featx.store import _format as names
from featx.store._audit import read_layout
from featx.store._chunks import chunk_rows, chunked
from featx.store._digests import BlockDigests, array_digest, rows_per_block
from featx.store._files import disk_errors, remove_stale, replacing, require_space, reserve
from featx.store._mapped import end_of_file
from featx.store._table import SampleTable
from featx.store._text import check_names, clean_reason, encode

Array = npt.NDArray[Any]

_DIGEST = re.compile(r"[0-9a-f]{64}")
_NUMBERS: Mapping[names.Kind, Any] = {"int64": h5t.STD_I64LE, "int8": h5t.STD_I8LE, "float64": h5t.IEEE_F64LE}
_MARGIN = 2**20  # HDF5's own structures and the alignment of some fifteen arrays: about 150 KB
_CHUNK_MARGIN = 1024  # what Blosc2 adds to a chunk that does not shrink, and HDF5's index


def write_store(
    path: Path,
    *,
    spec: ExtractionSpec,
    samples: SampleTable,
    digests: Sequence[str],
    features: Iterable[np.ndarray],
    feature_shape: tuple[int, ...],
    axes: str,
    failures: Sequence[tuple[str, str]] = (),
    source: Mapping[str, Any],
    backbone: Mapping[str, Any],
    creation: Mapping[str, Any],
    compress: bool = False,
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
    digests : sequence of str, length n
        SHA-256 hex digest of each sample's bytes.
    features : iterable of ndarray of shape (any, *feature_shape), dtype ``spec.dtype``
        Blocks of rows whose lengths add up to n; one of them is held at a time.
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
        arrays[name] = _json_array(name, value)
    arrays[names.SPEC] = np.array(spec.to_json().encode("ascii"))
    dtype = np.dtype(spec.dtype).newbyteorder("<")
    row_bytes = dtype.itemsize * int(np.prod(feature_shape, dtype=np.int64))
    blocks = BlockDigests(rows_per_block(row_bytes))
    together, margin = (_chunk_rows(shape, dtype), _CHUNK_MARGIN) if compress else (1, 0)
    properties = chunked((together, *shape[1:])) if compress else None
    needed = (
        -(-len(samples) // together) * (together * row_bytes + margin)
        + sum(array.nbytes for array in arrays.values())
        + 70 * (len(samples) // blocks.rows + len(names.KINDS) + 10)
        + _MARGIN
    )
    with replacing(path) as temporary:
        with disk_errors(path):
            remove_stale(path.parent, path.name)
        require_space(path, needed)
        with disk_errors(path):
            file = _Writer(temporary, page_aligned=len(samples) * row_bytes >= names.PAGE and not compress)
        try:
            with disk_errors(path):
                file.create_features(shape, dtype, axes, properties)
                file.reserve(needed)
            start = 0
            for rows in _together(_checked(features, shape, dtype), together):
                blocks.update(rows)
                with disk_errors(path):
                    file.write_features(start, rows)
                start += len(rows)
            if start != len(samples):
                raise ParameterError(f"features must have {len(samples)} rows, one for each sample; got {start}")
            checksums = _checksums(arrays, blocks, shape, dtype)
            with disk_errors(path):
                for name in names.KINDS:
                    if name in arrays:
                        file.write(name, arrays[name])
                file.finish(checksums, spec.digest, names.version_of(arrays))
        finally:
            file.close()
        with disk_errors(path), temporary.open("rb+") as opened:
            opened.truncate(end_of_file(opened.read(48)))  # what was reserved and not used
        read_layout(temporary)


def _full_shape(rows: int, feature_shape: tuple[int, ...], axes: str) -> tuple[int, ...]:
    shape = (rows, *(int(length) for length in feature_shape))
    if len(shape) < 2 or min(shape) < 1:
        raise ParameterError(f"feature_shape must hold lengths of at least 1; got {feature_shape}")
    if len(axes) != len(shape) or not re.fullmatch(r"N[A-Z]+", axes) or len(set(axes)) != len(axes):
        raise ParameterError(
            f"axes must be {len(shape)} different capital letters, N first, for features of {shape}; got {axes!r}"
        )
    return shape


def _row_arrays(samples: SampleTable, digests: Sequence[str]) -> dict[str, Array]:
    if len(digests) != len(samples):
        raise ParameterError(f"digests must have one entry for each of {len(samples)} rows; got {len(digests)}")
    wrong = next(filterfalse(_DIGEST.fullmatch, digests), None)
    if wrong is not None:
        raise ParameterError(f"digests must be SHA-256 in 64 lower-case hex digits; got {wrong!r}")
    return {
        names.KEY: encode(samples.keys),
        names.LABEL: samples.labels.astype("<i8"),
        names.SPLIT: encode(samples.splits),
        names.DIGEST: encode(digests),
        names.SIZE: samples.sizes.astype("<i8"),
        names.MTIME_NS: samples.mtimes_ns.astype("<i8"),
        names.INODE: samples.inodes.astype("<i8"),
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
        arrays[names.TARGET] = samples.targets.astype("<f8")
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


def _json_array(name: str, value: Mapping[str, Any]) -> Array:
    try:
        return np.array(canonical_json(dict(value)).encode("ascii"))
    except (TypeError, ValueError, RecursionError) as error:
        raise ParameterError(f"{name} must be a mapping that JSON can hold; got {value!r} ({error})") from error


def _chunk_rows(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    try:
        return chunk_rows(shape, dtype.itemsize)
    except ValueError as error:
        raise ParameterError(f"compress is not for features of {shape} ({error}): leave it out") from error


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


def _together(blocks: Iterable[Array], rows: int) -> Iterator[Array]:
    """Yield the same rows in blocks of whole multiples of `rows`, but for the last."""
    rest: Array | None = None
    for block in blocks:
        joined = block if rest is None else np.concatenate([rest, block])
        whole = len(joined) - len(joined) % rows
        yield joined[:whole]
        rest = joined[whole:].copy() if whole < len(joined) else None
    if rest is not None:
        yield rest


def _checksums(
    arrays: Mapping[str, Array], blocks: BlockDigests, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Array:
    return _json_array(
        names.CHECKSUMS,
        {
            "algorithm": "sha256",
            "features": {
                "dtype": dtype.str,
                "shape": list(shape),
                "rows_per_block": blocks.rows,
                "blocks": blocks.finish(),
            },
            "arrays": {name: array_digest(array) for name, array in arrays.items()},
        },
    )


class _Writer:
    """One HDF5 file being written; every byte decided by the arguments."""

    def __init__(self, path: Path, *, page_aligned: bool) -> None:
        access = h5p.create(h5p.FILE_ACCESS)
        access.set_libver_bounds(h5f.LIBVER_V18, h5f.LIBVER_V18)  # checksums on HDF5's own structures
        access.set_file_locking(False, True)  # nobody else knows the temporary name
        access.set_fclose_degree(h5f.CLOSE_STRONG)
        # Beyond the small objects, everything of a page or more begins at a page's start.
        access.set_alignment(*((names.PAGE, names.PAGE) if page_aligned else (8, 64)))
        times = h5p.create(h5p.FILE_CREATE)
        times.set_obj_track_times(False)
        self._file = h5f.create(os.fsencode(path), h5f.ACC_EXCL, times, access)
        self._contiguous = h5p.create(h5p.DATASET_CREATE)
        self._contiguous.set_layout(h5d.CONTIGUOUS)
        self._contiguous.set_alloc_time(h5d.ALLOC_TIME_EARLY)
        self._contiguous.set_fill_time(h5d.FILL_TIME_NEVER)
        self._contiguous.set_obj_track_times(False)
        self._features: Any = None

    def create_features(self, shape: tuple[int, ...], dtype: np.dtype[Any], axes: str, properties: Any = None) -> None:
        """Make the dataset of the features, contiguous unless `properties` say otherwise."""
        self._features = self._create(names.FEATURES, shape, h5t.py_create(dtype), properties)
        _set_text(self._features, names.ATTRIBUTE_AXES, axes)

    def reserve(self, size: int) -> None:
        """Set `size` bytes of disk aside."""
        reserve(self._file.get_vfd_handle(), size)

    def write_features(self, start: int, rows: Array) -> None:
        """Write a block of rows at row `start`: of chunks, whole ones only."""
        if len(rows):
            target = self._features.get_space()
            target.select_hyperslab((start,) + (0,) * (rows.ndim - 1), rows.shape)
            self._features.write(h5s.create_simple(rows.shape), target, rows)

    def write(self, name: str, array: Array) -> None:
        """Write a small array whole."""
        kind = names.KINDS[name]
        datatype = _NUMBERS[kind] if kind in _NUMBERS else _text_type(array.dtype.itemsize)
        dataset = self._create(name, array.shape, datatype)
        if kind == "text":
            _set_text(dataset, names.ATTRIBUTE_ENCODING, names.TEXT_ENCODING)
        if array.size:
            dataset.write(h5s.ALL, h5s.ALL, array, mtype=datatype)

    def finish(self, checksums: Array, spec_digest: str, number: int) -> None:
        """Write what makes the file complete, and have all of it on the disk."""
        self.write(names.CHECKSUMS, checksums)
        _set_text(h5d.open(self._file, names.SPEC.encode()), names.ATTRIBUTE_DIGEST, spec_digest)
        root = h5g.open(self._file, b"/")
        _set_text(root, names.ATTRIBUTE_CHECKSUM, array_digest(checksums))
        version = h5a.create(root, names.ATTRIBUTE_VERSION.encode(), h5t.STD_I64LE, h5s.create(h5s.SCALAR))
        version.write(np.array(number, dtype="<i8"))
        _set_text(root, names.ATTRIBUTE_FORMAT, names.FORMAT_NAME)
        h5f.flush(self._file)
        os.fsync(self._file.get_vfd_handle())

    def close(self) -> None:
        """Close the file, finished or not."""
        with suppress(OSError, RuntimeError):  # of a file that failed already; a good one is audited next
            self._file.close()

    def _create(self, name: str, shape: tuple[int, ...], datatype: Any, properties: Any = None) -> Any:
        space = h5s.create_simple(shape) if shape else h5s.create(h5s.SCALAR)
        properties = self._contiguous if properties is None else properties
        dataset = h5d.create(self._file, name.encode(), datatype, space, properties)
        _set_text(dataset, names.ATTRIBUTE_TYPE, names.KINDS[name])
        return dataset


def _text_type(width: int) -> Any:
    """Return HDF5's fixed-width UTF-8, padded with NULs, so that spaces at the end survive."""
    datatype = h5t.C_S1.copy()
    datatype.set_size(width)
    datatype.set_strpad(h5t.STR_NULLPAD)
    datatype.set_cset(h5t.CSET_UTF8)
    return datatype


def _set_text(owner: Any, name: str, text: str) -> None:
    value = np.array(text.encode())
    datatype = _text_type(value.dtype.itemsize)
    h5a.create(owner, name.encode(), datatype, h5s.create(h5s.SCALAR)).write(value, mtype=datatype)
