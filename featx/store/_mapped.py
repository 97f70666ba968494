"""A file as it was when it was opened: everything of a store is read from one memory map, HDF5's structures too.

Another file may take the name at any time. HDF5 is never given that name, nor a descriptor, whose position processes
that inherited it would share; it reads through the map.
"""

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import get_spawning_popen
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import Any
from weakref import finalize

import numpy as np
import numpy.typing as npt
from h5py import h5f, h5fd, h5p

from featx.errors import StoreError

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_SUPERBLOCK = 48


class MappedFile:
    """A file that begins as HDF5 files do. A pickle keeps the path; a process being spawned is given the file itself.

    Parameters
    ----------
    path : Path
        What it is called.
    handle : optional
        What multiprocessing makes of the descriptor of a file that is open already.

    Attributes
    ----------
    path : Path
        What it is called.
    data : ndarray of uint8
        The whole file, a read-only memory map.
    """

    def __init__(self, path: Path, handle: Any = None) -> None:
        self.path = path
        place = path if handle is None else handle.detach()
        try:
            if not stat.S_ISREG(os.stat(place).st_mode):  # before it is opened: that may wait for ever
                raise StoreError(
                    f"{path} must be a file that holds a feature store; it is none: give the .h5 file itself"
                )
            with open(place, "rb", buffering=0) as file:
                size = os.fstat(file.fileno()).st_size
                if size == 0:
                    raise StoreError(f"{path} is empty, so it is no feature store: delete it and extract again")
                self.data: npt.NDArray[np.uint8] = np.memmap(file, np.uint8, mode="r", shape=(size,))
                self._descriptor = os.dup(file.fileno())
        except FileNotFoundError:
            raise StoreError(f"{path} does not exist: `featx list` shows the stores there are") from None
        except (OSError, ValueError) as error:
            raise StoreError(f"{path} cannot be read ({error}): check the path and its permissions") from error
        finalize(self, os.close, self._descriptor)
        if self.data[: len(_SIGNATURE)].tobytes() != _SIGNATURE:
            raise StoreError(f"{path} must be an HDF5 file written by featx; it is no HDF5 file")

    def __reduce__(self) -> tuple[Any, ...]:
        return MappedFile, (self.path.absolute(), DupFd(self._descriptor) if spawning() else None)

    def fileno(self) -> int:
        """Return the descriptor of the file."""
        return self._descriptor

    @property
    def end(self) -> int:
        """Where the file should end; see :func:`end_of_file`."""
        return end_of_file(self.data[:_SUPERBLOCK].tobytes())

    @contextmanager
    def hdf5(self) -> Iterator[Any]:
        """Open it as HDF5, for the time of the block; StoreError if HDF5 cannot."""
        access = h5p.create(h5p.FILE_ACCESS)
        access.set_fileobj_driver(h5fd.fileobj_driver, _Reader(self.data))
        access.set_fclose_degree(h5f.CLOSE_STRONG)
        try:
            file = h5f.open(os.fsencode(self.path), h5f.ACC_RDONLY, access)
        except OSError as error:
            raise StoreError(f"{self.path} is damaged or cut short: delete it and extract again") from error
        try:
            yield file
        finally:
            file.close()


def spawning() -> bool:
    """Return whether what is being pickled goes to a process that is being spawned, and open files can go with it."""
    return os.name == "posix" and get_spawning_popen() is not None


def end_of_file(head: bytes) -> int:
    """Return where an HDF5 file should end, as the superblock in its first 48 bytes says.

    Raises ValueError for superblocks that no store begins with.
    """
    version = head[8] if len(head) >= _SUPERBLOCK else None
    if version == 0 and head[13:15] == b"\x08\x08":
        base, end = head[24:32], head[40:48]
    elif version in (2, 3) and head[9:11] == b"\x08\x08":
        base, end = head[12:20], head[28:36]
    else:
        raise ValueError("unknown superblock")
    if any(base):
        raise ValueError("a user block before the data")
    return int.from_bytes(end, "little")


class _Reader(io.RawIOBase):
    """A position in bytes that are in memory, for HDF5 to read them."""

    def __init__(self, data: npt.NDArray[np.uint8]) -> None:
        self._data = data
        self._place = 0

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        self._place = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: len(self._data)}[whence] + offset
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer: Any, /) -> int:
        found = self._data[self._place : self._place + len(buffer)]
        if len(found) < len(buffer):
            raise OSError("bytes behind the end of the file are asked for")
        np.frombuffer(buffer, np.uint8)[:] = found
        self._place += len(found)
        return len(found)
