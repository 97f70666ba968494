"""A store that is about to be written: all of it but the features, which stream by, into one file or into shards."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.errors import ParameterError
from featx.spec import canonical_json
from featx.store import _format as names
from featx.store._chunks import chunk_rows, chunked
from featx.store._digests import BlockDigests, array_digest, rows_per_block
from featx.store._files import disk_errors, remove_stale, require_space, settle, temporary_file
from featx.store._hdf5 import Hdf5Writer
from featx.store._mapped import end_of_file
from featx.store._shards import shard_folder
from featx.store._virtual import Elsewhere, Piece, virtual

__all__ = ["Draft", "json_array", "write_shards"]

Array = npt.NDArray[Any]

_MARGIN = 2**20  # HDF5's own structures and the alignment of some fifteen arrays: about 150 KB
_CHUNK_MARGIN = 1024  # what Blosc2 adds to a chunk that does not shrink, and HDF5's index


@dataclass(frozen=True, eq=False)
class Draft:
    """What a store's file will hold.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        All elements but the features and the checksums.
    shape : tuple of int
        Of the features.
    dtype : dtype
    axes, spec_digest : str
    compress : bool
    """

    arrays: Mapping[str, Array]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    axes: str
    spec_digest: str
    compress: bool

    @property
    def row_bytes(self) -> int:
        """Bytes of the features of a row."""
        return self.dtype.itemsize * prod(self.shape[1:])

    @cached_property
    def together(self) -> int:
        """Rows that are written at a time: those of a chunk."""
        if not self.compress:
            return 1
        try:
            return chunk_rows(self.shape, self.dtype.itemsize)
        except ValueError as error:
            raise ParameterError(f"compress is not for features of {self.shape} ({error}): leave it out") from error

    def needed(self, *, virtual: bool = False) -> int:
        """Return the bytes that the file may take, without the features if they lie elsewhere."""
        rows, margin = self.shape[0], _CHUNK_MARGIN if self.compress else 0
        return (
            (0 if virtual else -(-rows // self.together) * (self.together * self.row_bytes + margin))
            + sum(array.nbytes for array in self.arrays.values())
            + 70 * (rows // rows_per_block(self.row_bytes) + len(names.KINDS) + names.MOST_SHARDS)
            + _MARGIN
        )

    def part(self, start: int, stop: int, number: int, count: int) -> "Draft":
        """Return some of the rows as a store of its own, the shard of a number out of so many."""
        source = json.loads(self.arrays[names.SOURCE].item())
        kept = {name: source[name] for name in ("name", "identity") if name in source}
        arrays = dict(self.arrays)
        for name in arrays.keys() & set(names.ROW_ELEMENTS):
            arrays[name] = arrays[name][start:stop]
        none = np.empty(0, dtype="S1")
        arrays |= {
            names.SOURCE: json_array(names.SOURCE, {**kept, "shard": {"number": number, "of": count, "start": start}}),
            names.FAILED_KEY: none,
            names.FAILED_REASON: none,
        }
        return replace(self, arrays=arrays, shape=(stop - start, *self.shape[1:]))

    def write(self, temporary: Path, path: Path, features: Iterable[Array] | Elsewhere) -> tuple[Sequence[str], str]:
        """Write the file at `temporary`, which will be `path`; return the digests of its blocks, and its checksum.

        Features are streamed into it, or it names the files that they lie in.
        """
        elsewhere = isinstance(features, Elsewhere)
        aligned = self.shape[0] * self.row_bytes >= names.PAGE and not self.compress and not elsewhere
        properties = None
        if isinstance(features, Elsewhere):
            properties = virtual(features.pieces, self.shape, self.dtype)
        elif self.compress:
            properties = chunked((self.together, *self.shape[1:]))
        with disk_errors(path):
            file = Hdf5Writer(temporary, page_aligned=aligned, virtual=elsewhere)
        try:
            with disk_errors(path):
                file.create_features(self.shape, self.dtype, self.axes, properties)
                file.reserve(self.needed(virtual=elsewhere))
            blocks = features.blocks if isinstance(features, Elsewhere) else self._stream(file, features, path)
            checksums = self._checksums(blocks)
            with disk_errors(path):
                for name in names.KINDS:
                    if name in self.arrays:
                        file.write(name, self.arrays[name])
                version = names.version_of(self.arrays, virtual=elsewhere)
                checksum = file.finish(checksums, self.spec_digest, version)
        finally:
            file.close()
        with disk_errors(path), temporary.open("rb+") as opened:
            opened.truncate(end_of_file(opened.read(48)))  # what was reserved and not used
        return blocks, checksum

    def _stream(self, file: Hdf5Writer, features: Iterable[Array], path: Path) -> list[str]:
        """Write the features; return the digests of their blocks."""
        blocks = BlockDigests(rows_per_block(self.row_bytes))
        start = 0
        for rows in _together(features, self.together):
            blocks.update(rows)
            with disk_errors(path):
                file.write_features(start, rows)
            start += len(rows)
        return blocks.finish()

    def _checksums(self, blocks: Sequence[str]) -> Array:
        return json_array(
            names.CHECKSUMS,
            {
                "algorithm": "sha256",
                "features": {
                    "dtype": self.dtype.str,
                    "shape": list(self.shape),
                    "rows_per_block": rows_per_block(self.row_bytes),
                    "blocks": list(blocks),
                },
                "arrays": {name: array_digest(array) for name, array in self.arrays.items()},
            },
        )


def write_shards(draft: Draft, each: int, features: Iterator[Array], temporary: Path, path: Path) -> None:
    """Write the features into shards of so many rows, and the file that names them at `temporary`, to be `path`.

    The shards have their own names in the end: those of their number and checksum, so that they replace no others.
    """
    folder = shard_folder(path)
    if not _is_utf8(folder.name):
        raise ParameterError(f"shards need a name that is text, of a folder beside the file; got {path.name!r}: rename")
    starts = range(0, draft.shape[0], each)
    parts = [
        draft.part(start, min(start + each, draft.shape[0]), number, len(starts)) for number, start in enumerate(starts)
    ]
    require_space(path, draft.needed(virtual=True) + sum(part.needed() for part in parts))
    feed = _Feed(features)
    done: list[tuple[Path, Path]] = []
    pieces: list[Piece] = []
    blocks: list[str] = []
    with ExitStack() as stack:
        for number, part in enumerate(parts):
            unfinished = stack.enter_context(temporary_file(folder / "shard"))
            if number == 0:
                with disk_errors(folder):
                    remove_stale(folder)
            rows = feed.rows(part.shape[0]) if number < len(parts) - 1 else feed.rest()
            digests, checksum = part.write(unfinished, path, rows)
            blocks += digests
            name = names.SHARD_NAME.format(number=number, checksum=checksum[:8])
            pieces.append(Piece(f"{folder.name}/{name}", part.shape[0]))
            done.append((unfinished, folder / name))
        draft.write(temporary, path, Elsewhere(pieces, blocks))
        for unfinished, shard in done:
            settle(unfinished, shard)


def json_array(name: str, value: Mapping[str, Any]) -> Array:
    """Return a mapping as it is stored, canonical JSON."""
    try:
        return np.array(canonical_json(dict(value)).encode("ascii"))
    except (TypeError, ValueError, RecursionError) as error:
        raise ParameterError(f"{name} must be a mapping that JSON can hold; got {value!r} ({error})") from error


class _Feed:
    """Blocks of rows that are handed on in other portions."""

    def __init__(self, blocks: Iterator[Array]) -> None:
        self._blocks = blocks
        self._left: Array | None = None

    def rows(self, count: int) -> Iterator[Array]:
        """Yield the next rows, so many or as many as there are."""
        while count:
            block = next(self._blocks, None) if self._left is None else self._left
            if block is None:
                return
            taken, self._left = block[:count], block[count:] if len(block) > count else None
            count -= len(taken)
            yield taken

    def rest(self) -> Iterator[Array]:
        """Yield all the other rows."""
        if self._left is not None:
            yield self._left
        yield from self._blocks


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


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
