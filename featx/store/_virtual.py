"""Virtual features: which files their rows lie in, one file after the other, as HDF5 keeps it.

Of HDF5 only the list of files is asked for; it opens none of them. What they hold is read like any other store.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np
from h5py import h5p, h5s

from featx.store import _format as names

__all__ = ["Elsewhere", "Piece", "read_virtual", "virtual"]


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows of a store that lie in another.

    Parameters
    ----------
    name : str
        The other file, from the folder of this one downwards, with ``/`` between the names.
    rows : int
        How many: all that the other has.
    """

    name: str
    rows: int


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Features that are written already: all rows of several stores, one after the other.

    Parameters
    ----------
    pieces : sequence of Piece
    blocks : sequence of str
        Digests of their blocks of rows.
    """

    pieces: Sequence[Piece]
    blocks: Sequence[str]


def virtual(pieces: Sequence[Piece], shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    """Return HDF5's properties of a data set whose rows lie in other stores.

    A reader that knows of no digests finds NaN where a file is missing, not zeros.
    """
    properties = h5p.create(h5p.DATASET_CREATE)
    properties.set_obj_track_times(False)
    properties.set_fill_value(np.array(np.nan, dtype))
    start = 0
    for piece in pieces:
        block = (piece.rows, *shape[1:])
        here, there = h5s.create_simple(shape), h5s.create_simple(block)
        zeros, ones = (0,) * len(shape), (1,) * len(shape)
        here.select_hyperslab((start, *zeros[1:]), ones, block=block)
        there.select_hyperslab(zeros, ones, block=block)
        properties.set_virtual(here, piece.name.replace("%", "%%").encode(), names.FEATURES.encode("ascii"), there)
        start += piece.rows
    return properties


def read_virtual(properties: Any) -> tuple[Piece, ...]:
    """Return the files that the rows of a virtual data set lie in, or raise ValueError if it is laid out otherwise."""
    count = properties.get_virtual_count()
    if not 1 <= count <= names.MOST_SHARDS:
        raise ValueError(f"its rows lie in {count:,} files, and at most {names.MOST_SHARDS} are opened")
    pieces: list[Piece] = []
    start = 0
    for number in range(count):
        here = properties.get_virtual_vspace(number)
        shape = here.shape
        rows = _box(here, start, shape[1:])
        if rows == 0 or properties.get_virtual_dsetname(number) != names.FEATURES:
            raise ValueError("its rows are not the features of other files, one after the other")
        there = properties.get_virtual_srcspace(number)
        if there.get_select_type() != h5s.SEL_ALL and _box(there, 0, shape[1:]) != rows:
            raise ValueError("it takes other rows of a file than all of them")
        pieces.append(Piece(_plain_name(properties.get_virtual_filename(number)), rows))
        start += rows
    if start != shape[0]:
        raise ValueError(f"{shape[0]:,} rows are declared and files are named for {start:,}")
    return tuple(pieces)


def _box(space: Any, start: int, row: tuple[int, ...]) -> int:
    """Return how many whole rows are chosen from row `start` on; 0 if it is something else that is chosen."""
    if space.get_select_type() != h5s.SEL_HYPERSLABS or not space.is_regular_hyperslab():
        return 0
    begin, stride, count, block = space.get_regular_hyperslab()
    lengths = [
        many * one if step == one or many == 1 else 0 for step, many, one in zip(stride, count, block, strict=True)
    ]
    whole = begin == (start,) + (0,) * len(row) and lengths[1:] == list(row)
    return int(lengths[0]) if whole and h5s.UNLIMITED not in (*count, *block) else 0


def _plain_name(raw: str) -> str:
    """Return the name of a file below the store's own folder, or raise ValueError if it is another."""
    name = raw.replace("%%", "\0")
    parts = tuple(name.split("/"))
    if "%" in name or ".." in parts or PurePath(name).parts != parts:
        raise ValueError(f"it names {raw!r}, which is no file below its own folder")
    return name.replace("\0", "%")
