"""Chunks of compressed features: how they lie in a file, and how one of them is unpacked.

A chunk's bytes come from the memory map of the file, like all others. gzip and shuffle are undone here; Blosc2 is
undone by HDF5's own filter, in a file in memory that featx makes. Neither is let to give more bytes, or fewer, than
the chunk has: HDF5 itself would return what lies in memory behind the missing ones.
"""

import threading
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from h5py import h5d, h5f, h5p, h5s, h5t, h5z

from featx.errors import MissingDependencyError
from featx.store._digests import ROWS_TOGETHER, rows_per_block

Array = npt.NDArray[Any]
Integers = npt.NDArray[np.int64]

BLOSC2 = 32026
_READABLE = ((BLOSC2,), (h5z.FILTER_SHUFFLE, h5z.FILTER_DEFLATE), (h5z.FILTER_DEFLATE,))
_OPTIONS = (0, 0, 0, 0, 1, 1, 5)  # four for the filter's own use; level 1, bytes shuffled, zstd
_LARGEST_ROW = 2**26
_MOST_AXES = 8
_FRAME, _ARRAY = (slice(2, 10), b"b2frame\0"), (slice(91, 99), b"\xde\x00\x01\xa4b2nd")


@dataclass(frozen=True, eq=False)
class Chunks:
    """Where the chunks of the features lie, row by row.

    Parameters
    ----------
    shape : tuple of int
        Of the whole array.
    dtype : dtype
        Its type.
    rows : int
        Rows in each chunk; the last chunk is filled up.
    filters : tuple of int
        HDF5's numbers of the filters, in the order in which they were applied.
    places : ndarray of int64, shape (chunks, 3)
        Offset in the file, stored bytes, and a bit for each filter that was left out.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    rows: int
    filters: tuple[int, ...]
    places: Integers

    def load(self, data: npt.NDArray[np.uint8], number: int) -> Array:
        """Return the rows of a chunk, or raise ValueError if they cannot be unpacked.

        Parameters
        ----------
        data : ndarray of uint8
            The whole file.
        number : int
            Which chunk.
        """
        offset, size, left_out = self.places[number].tolist()
        raw = data[offset : offset + size].tobytes()
        shape = (self.rows, *self.shape[1:])
        nbytes = self.dtype.itemsize * int(np.prod(shape))
        try:
            for place, code in reversed(list(enumerate(self.filters))):
                if left_out >> place & 1:
                    continue
                if code == BLOSC2:
                    raw = _unpack_blosc2(raw, shape, self.dtype)
                elif code == h5z.FILTER_DEFLATE:
                    raw = zlib.decompressobj().decompress(raw, nbytes + 1)
                else:
                    raw = np.frombuffer(raw, np.uint8).reshape(self.dtype.itemsize, -1).T.tobytes()
        except (OSError, RuntimeError, zlib.error) as error:
            raise ValueError(str(error)) from error
        if len(raw) != nbytes:
            raise ValueError("it has another length than the chunk")
        return np.frombuffer(raw, self.dtype).reshape(shape)[: self.shape[0] - number * self.rows]


def chunk_rows(shape: Sequence[int], itemsize: int) -> int:
    """Return how many rows of an array share a chunk: 64, or fewer of more than a mebibyte.

    Blocks of rows that share a digest are whole chunks.

    Raises
    ------
    ValueError
        If rows are too large, or have too many axes, for compression.
    """
    row_bytes = itemsize
    for length in shape[1:]:
        row_bytes *= length
    if row_bytes > _LARGEST_ROW or len(shape) > _MOST_AXES:
        raise ValueError(f"rows must have at most {_LARGEST_ROW:,} bytes and {_MOST_AXES - 1} axes")
    return min(shape[0], ROWS_TOGETHER, rows_per_block(row_bytes))


def chunked(shape: tuple[int, ...]) -> Any:
    """Return HDF5's properties of a data set in Blosc2 chunks of that shape."""
    try:
        import hdf5plugin  # noqa: F401  # gives HDF5 the filter
    except ImportError as error:
        raise MissingDependencyError(
            "compressed features need hdf5plugin, which is not installed: pip install featx[compress]"
        ) from error
    properties = h5p.create(h5p.DATASET_CREATE)
    properties.set_chunk(shape)
    properties.set_obj_track_times(False)
    properties.set_fill_time(h5d.FILL_TIME_ALLOC)  # zeros behind the last row
    properties.set_filter(BLOSC2, h5z.FLAG_MANDATORY, _OPTIONS)
    return properties


def read_chunks(dataset: Any, shape: tuple[int, ...], dtype: np.dtype[Any], file_size: int) -> Chunks:
    """Return where the chunks of a data set lie, or raise ValueError saying why it is not one that featx reads."""
    properties = dataset.get_create_plist()
    filters = tuple(properties.get_filter(place)[0] for place in range(properties.get_nfilters()))
    if filters not in _READABLE:
        raise ValueError("it is neither laid out contiguously nor compressed by Blosc2 or gzip alone")
    rows, *lengths = properties.get_chunk()
    if tuple(lengths) != shape[1:] or rows > chunk_rows(shape, dtype.itemsize):
        raise ValueError("its chunks are not a few whole rows each")
    count = -(-shape[0] // rows)
    if dataset.get_num_chunks() != count:
        raise ValueError(f"{count:,} chunks are declared and {dataset.get_num_chunks():,} are there")
    places = np.full((count, 3), -1, dtype=np.int64)

    def note(found: Any) -> str | None:
        number, rest = divmod(found.chunk_offset[0], rows)
        if rest or any(found.chunk_offset[1:]) or number >= count or places[number, 0] >= 0:
            return "a chunk lies where none can be"
        if found.byte_offset is None or found.byte_offset + found.size > file_size:
            return "a chunk lies outside the file"
        places[number] = found.byte_offset, found.size, found.filter_mask
        return None

    wrong = dataset.chunk_iter(note)
    if wrong is not None:
        raise ValueError(wrong)
    if places[:, 1].sum() > file_size:
        raise ValueError("its chunks share bytes of the file")
    return Chunks(shape, dtype, rows, filters, places)


def _unpack_blosc2(raw: bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes:
    """Return what HDF5's filter makes of a chunk.

    The filter holds the shapes of multidimensional frames against the chunk's, and writes any others at whatever
    length they claim; only the former are given to it.
    """
    if any(raw[place] != wanted for place, wanted in (_FRAME, _ARRAY)):
        raise ValueError("it is no multidimensional Blosc2 frame")
    access = h5p.create(h5p.FILE_ACCESS)
    access.set_fapl_core(2**16, False)  # in memory only
    access.set_fclose_degree(h5f.CLOSE_STRONG)
    name = f"featx-chunk-{threading.get_ident()}".encode("ascii")  # HDF5 opens no name twice
    file = h5f.create(name, h5f.ACC_TRUNC, fapl=access)
    try:
        space = h5s.create_simple(shape)
        dataset = h5d.create(file, b"chunk", h5t.py_create(dtype), space, chunked(shape))
        dataset.write_direct_chunk((0,) * len(shape), raw)
        rows = np.empty(shape, dtype)
        dataset.read(h5s.ALL, h5s.ALL, rows)
    finally:
        file.close()
    return rows.tobytes()
