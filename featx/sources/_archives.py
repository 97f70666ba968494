"""Zip and tar archives, read in place: nothing is ever unpacked, so a member's name is only a name."""

import io
import os
import stat
import tarfile
import zipfile
from abc import abstractmethod
from collections.abc import Iterable
from functools import cached_property
from typing import Any, NamedTuple

from featx.errors import SampleError, SourceError
from featx.sources._base import ImageArray, Sample, Source, one_line
from featx.sources._files import StrPath, check_size, encode_path, no_images, real_path, reason
from featx.sources._layout import arrange, is_image_name

COMPRESSED_SUFFIXES = (".gz", ".tgz", ".bz2", ".tbz2", ".xz", ".txz", ".zst", ".tzst")
"""Endings of compressed archives, which :class:`TarSource` refuses with the reason."""

_COMPRESSED = {b"\x1f\x8b": "gunzip", b"BZh": "bunzip2", b"\xfd7zXZ": "unxz", b"\x28\xb5\x2f\xfd": "unzstd"}
_BLOCK = 512


class _Positioned(io.RawIOBase):
    """A file whose position is its own: threads and forked processes may share the descriptor."""

    _fd = -1  # until it is open, and where it could not be opened

    def __init__(self, path: str) -> None:
        self._fd = os.open(encode_path(path), os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        self._position = 0
        status = os.fstat(self._fd)
        self.stamp = (status.st_size, status.st_mtime_ns)

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fd

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.stamp[0]}[whence]
        if start + offset < 0:
            raise OSError("seek to before the start of the file")
        self._position = start + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        data = os.pread(self._fd, len(view), self._position)
        view[: len(data)] = data
        self._position += len(data)
        return len(data)

    def pread(self, size: int, offset: int) -> bytes:
        """Return `size` bytes at `offset`, fewer at the end of the file."""
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


class _ArchiveSource(Source):
    """What zip and tar share: members under their names, read from one file that stays open."""

    _kind: str

    def __init__(self, path: StrPath) -> None:
        self._path = real_path(path)
        super().__init__(os.path.splitext(os.path.basename(self._path))[0], f"{self._kind}:{self._path}")
        self._stamp: tuple[int, int] | None = None
        self._members: list[Any] = []

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_archive"}

    @abstractmethod
    def _index(self) -> dict[str, tuple[int, Any]]:
        """Return size and member of each image by name; of two with one name the last."""

    @abstractmethod
    def _extract(self, member: Any) -> bytes:
        """Return the content of a member, raising whatever goes wrong."""

    def _open(self) -> _Positioned:
        """Return the archive's file, made sure to be the one that was listed."""
        file = _Positioned(self._path)
        if self._stamp is None:
            self._stamp = file.stamp
        if file.stamp != self._stamp:
            file.close()
            raise SampleError("its archive has changed since it was listed")
        return file

    def _refuse(self) -> None:
        """Raise a better SourceError than "damaged" if the archive is of a kind that is known."""

    def _list(self) -> Iterable[Sample]:
        try:
            index = self._index()
        except SourceError:
            raise
        except Exception as error:  # the parsers let nearly every exception out on damaged archives
            if isinstance(error, OSError) and error.errno is not None:
                raise SourceError(
                    f"{self._path!r} cannot be read ({reason(error)}): give a readable {self._kind} archive"
                ) from error
            self._refuse()
            raise SourceError(
                f"{self._path!r} is no {self._kind} archive, or is damaged ({one_line(error)}): give an intact one"
            ) from error
        places = arrange(index)
        if not places:
            raise no_images(self._path)
        assert self._stamp is not None  # the archive has been opened
        self._members = [index[place.key][1] for place in places]
        return [Sample(*place, index[place.key][0], self._stamp[1]) for place in places]

    def _read(self, index: int) -> bytes | ImageArray:
        size = self.samples[index].size
        check_size(size)
        try:
            data = self._extract(self._members[index])
        except SampleError:
            raise
        except Exception as error:  # zlib.error, LZMAError, BadZipFile, EOFError, NotImplementedError...
            if isinstance(error, OSError) and error.errno is not None:  # bz2 raises one without a number
                raise SampleError(f"its archive cannot be read: {reason(error)}") from error
            raise SampleError(f"damaged in the archive: {one_line(error)}") from error
        if len(data) != size:
            raise SampleError(f"damaged in the archive: {len(data):,} of {size:,} bytes")
        return data


class ZipSource(_ArchiveSource):
    """Images in a zip archive, laid out as in a folder (see :class:`FolderSource`).

    Parameters
    ----------
    path : str or path-like
        The archive; it must not be encrypted.
    """

    _kind = "zip"

    @cached_property
    def _archive(self) -> zipfile.ZipFile:
        return zipfile.ZipFile(self._open())

    def _index(self) -> dict[str, tuple[int, Any]]:
        index: dict[str, tuple[int, Any]] = {}
        for info in self._archive.infolist():
            name = _clean(_zip_name(info))
            if info.is_dir() or not is_image_name(os.path.basename(name)):
                continue
            if info.flag_bits & 0x1:
                raise SourceError(
                    f"{self._path!r} is encrypted, which featx cannot read: make an archive without a password"
                )
            index[name] = (info.file_size, info)
        return index

    def _extract(self, member: Any) -> bytes:
        if stat.S_ISLNK(member.external_attr >> 16):
            raise SampleError("a link inside the archive, which is not followed")
        with self._archive.open(member) as file:
            return file.read()


class _TarMember(NamedTuple):
    offset: int
    size: int
    regular: bool


class TarSource(_ArchiveSource):
    """Images in an uncompressed tar archive, laid out as in a folder (see :class:`FolderSource`).

    Parameters
    ----------
    path : str or path-like
        The archive. A compressed one cannot be read in place and is refused.
    """

    _kind = "tar"

    @cached_property
    def _archive(self) -> _Positioned:
        return self._open()

    def _index(self) -> dict[str, tuple[int, Any]]:
        index: dict[str, tuple[int, Any]] = {}
        os.lseek(self._archive.fileno(), 0, os.SEEK_SET)  # an attempt before may have left it elsewhere
        with (
            open(self._archive.fileno(), "rb", closefd=False) as file,
            tarfile.open(fileobj=file, mode="r:", encoding="utf-8", errors="surrogateescape") as tar,
        ):
            while (info := tar.next()) is not None:
                name = _clean(info.name)
                if not info.isdir() and is_image_name(os.path.basename(name)):
                    regular = info.isreg() and not info.issparse()
                    index[name] = (info.size, _TarMember(info.offset_data, info.size, regular))
                tar.members.clear()  # type: ignore[attr-defined]  # tarfile would keep them all
            end = tar.offset
        if self._archive.pread(_BLOCK, end).strip(b"\0"):  # tarfile takes a damaged header for the end
            raise SourceError(f"{self._path!r} is damaged at byte {end:,}: give an intact tar archive")
        return index

    def _refuse(self) -> None:
        start = self._archive.pread(8, 0)
        for magic, tool in _COMPRESSED.items():
            if start.startswith(magic):
                raise SourceError(
                    f"{self._path!r} is compressed and so cannot be read in place: decompress it first"
                    f" ({tool}), or make it a zip"
                )

    def _extract(self, member: Any) -> bytes:
        if not member.regular:
            raise SampleError("a link, device or sparse file inside the archive, which is not followed")
        return self._archive.pread(member.size, member.offset)


def _zip_name(info: zipfile.ZipInfo) -> str:
    """Return a member's name; without the UTF-8 flag its bytes are UTF-8, or what its system makes of them."""
    name = info.orig_filename
    if info.flag_bits & 0x800:
        return name
    raw = name.encode("cp437")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        unix = info.create_system == 3
        return raw.decode("utf-8", "surrogateescape") if unix else name


def _clean(name: str) -> str:
    """Return the name without empty and ``.`` parts: ``./a//b.jpg`` and ``/a/b.jpg`` are ``a/b.jpg``."""
    return "/".join(part for part in name.split("/") if part not in ("", "."))
