"""One HDF5 file being written: every byte of it decided by what it is given."""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from h5py import h5a, h5d, h5f, h5g, h5p, h5s, h5t

from featx.store import _format as names
from featx.store._digests import array_digest
from featx.store._files import reserve

__all__ = ["Hdf5Writer"]

Array = npt.NDArray[Any]

_NUMBERS: Mapping[names.Kind, Any] = {"int64": h5t.STD_I64LE, "int8": h5t.STD_I8LE, "float64": h5t.IEEE_F64LE}


class Hdf5Writer:
    """A store's file being written.

    Parameters
    ----------
    path : Path
        Where there is no file yet.
    page_aligned : bool
        Whether what has a page or more begins at a page's start.
    virtual : bool
        Whether its features lie in other files, which HDF5 1.8 does not know.
    """

    def __init__(self, path: Path, *, page_aligned: bool, virtual: bool) -> None:
        access = h5p.create(h5p.FILE_ACCESS)
        version = h5f.LIBVER_V110 if virtual else h5f.LIBVER_V18
        access.set_libver_bounds(version, version)  # checksums on HDF5's own structures
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

    def finish(self, checksums: Array, spec_digest: str, number: int) -> str:
        """Write what makes the file complete, and have all of it on the disk; return the store's checksum."""
        self.write(names.CHECKSUMS, checksums)
        _set_text(h5d.open(self._file, names.SPEC.encode()), names.ATTRIBUTE_DIGEST, spec_digest)
        root = h5g.open(self._file, b"/")
        checksum = array_digest(checksums)
        _set_text(root, names.ATTRIBUTE_CHECKSUM, checksum)
        version = h5a.create(root, names.ATTRIBUTE_VERSION.encode(), h5t.STD_I64LE, h5s.create(h5s.SCALAR))
        version.write(np.array(number, dtype="<i8"))
        _set_text(root, names.ATTRIBUTE_FORMAT, names.FORMAT_NAME)
        h5f.flush(self._file)
        os.fsync(self._file.get_vfd_handle())
        return checksum

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
