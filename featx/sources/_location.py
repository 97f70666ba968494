"""A file or folder, on disk or elsewhere: one way to list it, to read it, and to read parts of it."""

import io
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

from featx.sources._files import Stamp, encode_path, read_file, stat_file, walk


class RangeFile(io.RawIOBase):
    """A file that any number of threads may read parts of; as a stream its position is its own.

    Attributes
    ----------
    stamp : Stamp
        Of the whole file, as it was when it was opened; no inode, which is another one where the file is copied to.
    """

    stamp: Stamp
    _position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.stamp[0]}[whence]
        if start + offset < 0:
            raise OSError("seek to before the start of the file")
        self._position = start + offset
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0:
            size = max(0, self.stamp[0] - self._position)
        data = self.pread(size, self._position)
        self._position += len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    @abstractmethod
    def pread(self, size: int, offset: int) -> bytes:
        """Return `size` bytes at `offset`, fewer at the end of the file; raises OSError."""

    def view(self) -> "RangeFile":
        """Return the same file as a stream with a position of its own; closing that closes nothing."""
        return _View(self)


class _View(RangeFile):
    def __init__(self, file: RangeFile) -> None:
        self._file = file
        self.stamp = file.stamp

    def pread(self, size: int, offset: int) -> bytes:
        return self._file.pread(size, offset)


class Location(ABC):
    """Where a file or folder lies.

    Parameters
    ----------
    text : str
        Its absolute path or URL, which says where it is whatever the working folder, and holds no password.
    """

    def __init__(self, text: str) -> None:
        self.text = text

    @property
    def last(self) -> str:
        """The last part of the path."""
        return self.text.rstrip("/").rpartition("/")[2]

    @property
    @abstractmethod
    def folder(self) -> "Location":
        """The folder that this file is in."""

    @abstractmethod
    def join(self, name: str) -> "Location":
        """Return where a file below this folder lies."""

    @abstractmethod
    def stamp(self) -> Stamp:
        """Return what is known of the file at once: :data:`NO_STAMP` for what is not there, or far away."""

    @abstractmethod
    def walk(self, is_wanted: Callable[[str], bool]) -> Iterator[tuple[str, Stamp]]:
        """Yield path below this folder and stamp of each file whose name is wanted; raises SourceError."""

    @abstractmethod
    def read(self) -> bytes:
        """Return the whole file; raises SampleError with the reason."""

    @abstractmethod
    def open(self) -> RangeFile:
        """Return the file opened; raises OSError."""


class DiskLocation(Location):
    """A file or folder on disk, by its absolute path."""

    @property
    def folder(self) -> Location:
        return DiskLocation(os.path.dirname(self.text))

    def join(self, name: str) -> Location:
        return DiskLocation(os.path.join(self.text, name))

    def stamp(self) -> Stamp:
        return stat_file(encode_path(self.text))

    def walk(self, is_wanted: Callable[[str], bool]) -> Iterator[tuple[str, Stamp]]:
        return walk(encode_path(self.text), is_wanted)

    def read(self) -> bytes:
        return read_file(encode_path(self.text))

    def open(self) -> RangeFile:
        return _DiskFile(self.text)


class _DiskFile(RangeFile):
    """A file on disk; forked processes may share the descriptor."""

    _fd = -1  # until it is open, and where it could not be opened

    def __init__(self, path: str) -> None:
        self._fd = os.open(encode_path(path), os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        status = os.fstat(self._fd)
        self.stamp = (status.st_size, status.st_mtime_ns, 0)

    def pread(self, size: int, offset: int) -> bytes:
        pieces = []
        while size > 0 and (piece := os.pread(self._fd, size, offset)):
            pieces.append(piece)
            offset += len(piece)
            size -= len(piece)
        return b"".join(pieces)

    def close(self) -> None:
        if not self.closed and self._fd >= 0:
            os.close(self._fd)
        super().close()
