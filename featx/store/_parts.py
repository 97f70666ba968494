"""Work in progress: a folder of parts under a manifest that fixes the order of the rows.

Parts appear whole or not at all, and say which manifest they belong to, so that a kill at any moment loses at
most the part in hand, and several processes may write different ranges into one folder. ``docs/format.md``
describes the files.
"""

import errno
import json
import math
import os
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.errors import ParameterError, StoreError
from featx.spec import canonical_json, digest_of
from featx.store import _format as names
from featx.store._files import disk_errors, make_folder, remove_stale, remove_temporaries, replacing
from featx.store._table import Integers, as_integers
from featx.store._text import digest_column

Array = npt.NDArray[Any]

_END_OF_ZIP = b"PK\x05\x06"
_PATTERN = re.compile(names.PART_PATTERN)


@dataclass(frozen=True, eq=False)
class Part:
    """What one stretch of work produced: each of its positions either succeeded or failed.

    Parameters
    ----------
    start, stop : int
        Positions in the work's order that this part covers, 0 <= start < stop.
    rows : ndarray of int64, shape (m,)
        Positions that succeeded, ascending, start <= row < stop.
    digests : ndarray of str, shape (m,)
        SHA-256 hex digest of each one's bytes.
    features : tuple of ndarray of float32 or float16, each of shape (k, ...)
        One array for each spec of the work, with a row for each image that `fresh` counts.
    failures : tuple of (int, str)
        Position and reason of each one that failed.
    fresh : ndarray of int64, shape (m,), optional
        Of how many images of each of `rows`, the last of its views, the features are here; the others are known by
        the digest, from an earlier position or from another store. By default one of each.

    Raises
    ------
    ParameterError
        If these do not fit each other.
    """

    start: int
    stop: int
    rows: Integers
    digests: npt.NDArray[np.str_]
    features: tuple[Array, ...]
    failures: tuple[tuple[int, str], ...]
    fresh: Any = None

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.stop < 10**12:
            raise ParameterError(f"start and stop must be 0 <= start < stop < 10^12; got {self.start}, {self.stop}")
        object.__setattr__(self, "rows", as_integers("rows", self.rows))
        object.__setattr__(self, "digests", np.asarray(self.digests, dtype=np.str_))
        object.__setattr__(self, "features", tuple(self.features))
        object.__setattr__(self, "failures", tuple((int(row), str(reason)) for row, reason in self.failures))
        if np.any(np.diff(self.rows) <= 0):
            raise ParameterError(f"rows must ascend, each once; got {self.rows[:10].tolist()}")
        covered = np.sort(np.concatenate([self.rows, np.array([row for row, _ in self.failures], dtype=np.int64)]))
        if not np.array_equal(covered, np.arange(self.start, self.stop)):
            raise ParameterError(
                f"rows and failures must name each position from {self.start} to {self.stop - 1} once;"
                f" got {len(self.rows)} rows and {len(self.failures)} failures"
            )
        if self.digests.shape != self.rows.shape:
            raise ParameterError(f"digests must have shape {self.rows.shape}, as rows; got {self.digests.shape}")
        digest_column(self.digests.tolist())
        object.__setattr__(self, "digests", self.digests.astype("U64"))
        fresh = as_integers("fresh", np.ones(len(self.rows), dtype=np.int64) if self.fresh is None else self.fresh)
        if fresh.shape != self.rows.shape or fresh.min(initial=0) < 0:
            raise ParameterError(f"fresh must be {len(self.rows)} numbers from 0, one for each row; got {fresh[:10]}")
        object.__setattr__(self, "fresh", fresh)
        count = int(fresh.sum())
        for array in self.features:
            if array.dtype not in (np.float32, np.float16) or array.shape[:1] != (count,):
                raise ParameterError(
                    f"features must be float32 or float16 with {count} rows; got {array.dtype} {array.shape}"
                )


class Workspace:
    """A folder of parts, made by :meth:`open`, that survives a kill at any moment.

    Attributes
    ----------
    folder : Path
        The folder.
    digest : str
        SHA-256 hex digest of the manifest's canonical JSON.
    """

    def __init__(self, folder: Path, digest: str) -> None:
        self.folder = folder
        self.digest = digest
        self._checked: dict[str, tuple[int, int]] = {}

    @staticmethod
    def manifest_in(folder: Path) -> dict[str, Any] | None:
        """Return the manifest of the work that was begun in a folder; None if there is none, or it cannot be read."""
        try:
            manifest = json.loads((folder / names.MANIFEST_NAME).read_bytes())["manifest"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return manifest if isinstance(manifest, dict) else None

    @classmethod
    def open(cls, folder: Path, manifest: Mapping[str, Any]) -> "Workspace":
        """Return the workspace of a manifest, with the parts it has; parts of another manifest are discarded.

        Parameters
        ----------
        folder : Path
            Made if it is missing.
        manifest : mapping
            JSON that decides what each position of the work is and what is computed of it.
        """
        folder = Path(folder)
        try:
            workspace = cls(folder, digest_of(dict(manifest)))
            head = {"format": names.PART_FORMAT, "version": names.PART_VERSION, "digest": workspace.digest}
            text = canonical_json({**head, "manifest": dict(manifest)})
        except (TypeError, ValueError, RecursionError) as error:
            raise ParameterError(
                f"manifest must be a mapping that JSON can hold; got one that it cannot ({error})"
            ) from error
        path = folder / names.MANIFEST_NAME
        with disk_errors(folder):
            make_folder(folder)
            remove_stale(folder)
            same = path.is_file() and path.read_bytes() == text.encode("ascii")
        if not same:
            # Parts say themselves whose they are: a damaged manifest costs none, a kill in here loses none.
            workspace._discard_others()
            with replacing(path) as temporary, disk_errors(path):
                temporary.write_text(text, encoding="ascii")
        return workspace

    def ranges(self) -> list[tuple[int, int]]:
        """Return start and stop of each whole part, ascending; damaged or overlapping ones are deleted."""
        found: list[tuple[int, int]] = []
        for path, start, stop in self._files():
            if found and start < found[-1][1]:
                self._delete(path)
            elif self._is_whole(path):
                found.append((start, stop))
        return found

    def file_of(self, start: int, stop: int) -> Path:
        """Return the file that a part of this range has, once there is one."""
        return self.folder / names.PART_NAME.format(start=start, stop=stop)

    def write(self, part: Part) -> None:
        """Add a part; once this returns it survives a power cut. A part of the same range is replaced."""
        path = self.file_of(part.start, part.stop)
        facts = {
            "format": names.PART_FORMAT,
            "version": names.PART_VERSION,
            "manifest": self.digest,
            "start": part.start,
            "stop": part.stop,
            "features": len(part.features),
            "failures": [list(failure) for failure in part.failures],
        }
        arrays = {f"features_{index}": np.asarray(array) for index, array in enumerate(part.features)}
        arrays["facts"] = np.frombuffer(canonical_json(facts).encode("ascii"), dtype=np.uint8)
        arrays["rows"] = part.rows
        arrays["fresh"] = part.fresh
        arrays["digests"] = part.digests.astype("S64")
        with replacing(path) as temporary, disk_errors(path), temporary.open("xb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]  # its allow_pickle is new in NumPy 2.1

    @staticmethod
    def is_part(name: str) -> bool:
        """Say whether a file of this name is a part."""
        return _PATTERN.fullmatch(name) is not None

    def receive(self, name: str, copy: Callable[[Path], None]) -> bool:
        """Add a part that was written into another folder; return whether it is whole and of this work.

        Parameters
        ----------
        name : str
            What its file is called.
        copy : callable
            Is given a path, and puts the file there.
        """
        if not self.is_part(name):
            raise ParameterError(f"name must be that of a part's file; got {name!r}")
        path = self.folder / name
        with replacing(path) as temporary:
            copy(temporary)
        return self._is_whole(path)

    def discard(self, part: Part) -> None:
        """Delete a part; its range is to be worked on again."""
        self._delete(self.file_of(part.start, part.stop))

    def parts(self) -> Iterator[Part]:
        """Yield the parts by ascending start, each checked when its turn comes; its features are memory-mapped.

        A file that was checked before and has not changed since is not read through once more.

        Raises
        ------
        StoreError
            If one is damaged; it is deleted, so that the next run computes it again.
        """
        reached = 0
        for path, start, stop in self._files():
            if start < reached:
                continue
            reached = stop
            stamp = _stamp(path)
            try:
                part = self._load(path, checked=self._checked.get(path.name) == stamp)
            except _DamagedError as error:
                self._delete(path)
                raise StoreError(
                    f"{path} was damaged ({error}) and has been removed: run the same command to compute it again"
                ) from error
            self._checked[path.name] = stamp
            yield part

    def remove(self) -> None:
        """Delete the parts, the manifest and the folder; what featx did not put there stays."""
        with disk_errors(self.folder):
            for path, _, _ in self._files():
                self._delete(path)
            remove_temporaries(self.folder)
            (self.folder / names.MANIFEST_NAME).unlink(missing_ok=True)
            try:
                self.folder.rmdir()
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT):
                    raise

    def _files(self) -> list[tuple[Path, int, int]]:
        """Return the parts' files by ascending start, of those with one start the longest first."""
        with disk_errors(self.folder):
            entries = list(self.folder.iterdir()) if self.folder.is_dir() else []
        matches = [(path, _PATTERN.fullmatch(path.name)) for path in entries]
        files = [(path, int(match[1]), int(match[2])) for path, match in matches if match]
        return sorted(files, key=lambda file: (file[1], -file[2]))

    def _discard_others(self) -> None:
        for path, _, _ in self._files():
            try:
                with _opened(path) as archive:
                    _facts(archive, path, self.digest)
            except _DamagedError:
                self._delete(path)

    def _is_whole(self, path: Path) -> bool:
        try:
            stamp = _stamp(path)
            if self._checked.get(path.name) != stamp:
                self._load(path)
                self._checked[path.name] = stamp
        except FileNotFoundError:  # another process removed it
            return False
        except _DamagedError:
            self._delete(path)
            return False
        return True

    def _load(self, path: Path, *, checked: bool = False) -> Part:
        """Return a part; of one that was checked before, the features' checksum is not compared again."""
        with _opened(path) as archive:
            facts = _facts(archive, path, self.digest)
            count = facts["features"]
            expected = {"facts", "rows", "fresh", "digests", *(f"features_{index}" for index in range(count))}
            if {info.filename for info in archive.infolist()} != {f"{name}.npy" for name in expected}:
                raise _DamagedError("its members are not those of a part")
            # First, because an array's size is believed before its checksum is reached.
            broken = None if checked else archive.testzip()
            if broken is not None:
                raise _DamagedError(f"the checksum of {broken} is wrong")
            return Part(
                start=facts["start"],
                stop=facts["stop"],
                rows=_member(archive, "rows"),
                digests=_member(archive, "digests").astype("U64"),
                features=tuple(_mapped(path, archive, f"features_{index}") for index in range(count)),
                failures=tuple((row, reason) for row, reason in facts["failures"]),
                fresh=_member(archive, "fresh"),
            )

    def _delete(self, path: Path) -> None:
        with disk_errors(path):
            path.unlink(missing_ok=True)


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


class _DamagedError(Exception):
    """A file is not a whole part of this work; the message says why."""


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a part's file; whatever is wrong with its contents, here or in the block, is a _DamagedError."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 22))
            if file.read(4) != _END_OF_ZIP:
                raise _DamagedError("it does not end where it should")
            with zipfile.ZipFile(file) as archive:
                members = archive.infolist()
                if any(info.compress_type != zipfile.ZIP_STORED for info in members):
                    raise _DamagedError("a member is compressed")
                if sum(info.file_size for info in members) > size:
                    raise _DamagedError("it declares more bytes than it has")
                yield archive
    except (_DamagedError, FileNotFoundError, MemoryError):
        raise
    except OSError as error:
        if error.errno in (None, errno.EINVAL):  # a seek to where a damaged directory points
            raise _DamagedError(str(error)) from error
        raise StoreError(f"{path} cannot be read ({error}): check the disk and the file's permissions") from error
    except Exception as error:
        raise _DamagedError(str(error)) from error


def _member(archive: zipfile.ZipFile, name: str) -> Array:
    with archive.open(f"{name}.npy") as member:
        array: Array = np.lib.format.read_array(member, allow_pickle=False)
        if member.read(1):  # also makes zipfile compare the checksum
            raise _DamagedError(f"{name} is longer than it says")
    return array


def _mapped(path: Path, archive: zipfile.ZipFile, name: str) -> Array:
    """Return a member as a memory map of the part's file; its checksum has been compared by then."""
    info = archive.getinfo(f"{name}.npy")
    with path.open("rb") as file:
        file.seek(info.header_offset)
        header = file.read(30)  # its last two numbers are the lengths of what stands between it and the data
        file.seek(int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little"), os.SEEK_CUR)
        start = file.tell()
        if np.lib.format.read_magic(file) != (1, 0):
            raise _DamagedError(f"{name} has another header than featx writes")
        shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
        if fortran_order or file.tell() - start + dtype.itemsize * math.prod(shape) != info.file_size:
            raise _DamagedError(f"{name} is not of the size that it says")
        if math.prod(shape) == 0:
            return np.empty(shape, dtype)
        return np.memmap(file, dtype, "r", file.tell(), shape)


def _facts(archive: zipfile.ZipFile, path: Path, digest: str) -> dict[str, Any]:
    """Return what a part says of itself, once it is known to belong to the manifest and under its name."""
    facts = json.loads(_member(archive, "facts").tobytes())
    if (facts["format"], facts["version"]) != (names.PART_FORMAT, names.PART_VERSION):
        raise _DamagedError("it is no part of this version")
    if facts["manifest"] != digest:
        raise _DamagedError("it belongs to other work")
    if path.name != names.PART_NAME.format(start=facts["start"], stop=facts["stop"]):
        raise _DamagedError("its name is another part's")
    return dict(facts)
