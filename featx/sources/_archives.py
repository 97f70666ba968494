"""Zip and tar archives, read in place: nothing is ever unpacked, so a member's name is only a name."""

import io
import os
import stat
import struct
import zipfile
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

from featx.errors import FeatxError, SampleError, SourceError
from featx.sources._base import ImageArray, Sample, Source, one_line
from featx.sources._files import Stamp, StrPath, check_size, no_images, reason
from featx.sources._layout import arrange, is_image_name
from featx.sources._location import RangeFile
from featx.sources._remote import locate
from featx.sources._tar import tar_members

COMPRESSED_SUFFIXES = (".gz", ".tgz", ".bz2", ".tbz2", ".xz", ".txz", ".zst", ".tzst")
"""Endings of compressed archives, which :class:`TarSource` refuses with the reason."""

_COMPRESSED = {b"\x1f\x8b": "gunzip", b"BZh": "bunzip2", b"\xfd7zXZ": "unxz", b"\x28\xb5\x2f\xfd": "unzstd"}
_LOCAL_HEADER = 30
_LONGEST_FIELD = 1 << 16


class _ArchiveSource(Source):
    """What zip and tar share: members under their names, read from one file that stays open."""

    _kind: str

    def __init__(self, path: StrPath, *, storage_options: Mapping[str, Any] | None = None) -> None:
        self._location = locate(path, storage_options)
        super().__init__(os.path.splitext(self._location.last)[0], f"{self._kind}:{self._location.text}")
        self._stamp: Stamp | None = None
        self._members: list[Any] = []

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_file"}

    @abstractmethod
    def _index(self) -> dict[str, tuple[int, Any]]:
        """Return size and member of each image by name; of two with one name the last."""

    @abstractmethod
    def _extract(self, member: Any) -> bytes:
        """Return the content of a member, raising whatever goes wrong."""

    @cached_property
    def _file(self) -> RangeFile:
        """The archive, made sure to be the one that was listed."""
        file = self._location.open()
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
        except FeatxError:
            raise
        except Exception as error:  # the parsers let nearly every exception out on damaged archives
            if isinstance(error, OSError) and error.errno is not None:
                raise SourceError(
                    f"{self._location.text!r} cannot be read ({reason(error)}): give a readable {self._kind} archive"
                ) from error
            self._refuse()
            raise SourceError(
                f"{self._location.text!r} is no {self._kind} archive, or is damaged ({one_line(error)}): give an intact"
                " one"
            ) from error
        places = arrange(index)
        if not places:
            raise no_images(self._location.text)
        _, mtime_ns, tag = self._file.stamp
        self._members = [index[place.key][1] for place in places]
        return [Sample(*place, index[place.key][0], mtime_ns, tag) for place in places]

    def _read(self, index: int) -> bytes | ImageArray:
        size = self.samples[index].size
        check_size(size)
        try:
            data = self._extract(self._members[index])
        except FeatxError:
            raise
        except Exception as error:  # zlib.error, LZMAError, BadZipFile, EOFError, NotImplementedError...
            if isinstance(error, OSError) and error.errno is not None:  # bz2 raises one without a number
                raise SampleError(f"its archive cannot be read: {reason(error)}") from error
            raise SampleError(f"damaged in the archive: {one_line(error)}") from error
        if len(data) != size:
            raise SampleError(f"damaged in the archive: {len(data):,} of {size:,} bytes")
        return data


class _ZipMember(NamedTuple):
    """A member by its bytes, from its header to what follows it, and by what the directory says they become."""

    start: int
    stop: int
    method: int
    packed: int
    size: int
    crc: int
    is_link: bool


class ZipSource(_ArchiveSource):
    """Images in a zip archive, laid out as in a folder (see :class:`FolderSource`).

    Parameters
    ----------
    path : str or path-like
        The archive, or its URL; it must not be encrypted.
    storage_options : dict, optional
        What fsspec is to be given for a URL, beside its own configuration.
    """

    _kind = "zip"

    def _index(self) -> dict[str, tuple[int, Any]]:
        with zipfile.ZipFile(self._file) as archive:
            infos = archive.infolist()
            end = archive.start_dir
        starts = sorted({*(info.header_offset for info in infos), end})
        stops = dict(pairwise(starts))
        index: dict[str, tuple[int, Any]] = {}
        for info in infos:
            name = clean_name(_zip_name(info))
            if info.is_dir() or not is_image_name(os.path.basename(name)):
                continue
            if info.flag_bits & 0x1:
                raise SourceError(
                    f"{self._location.text!r} is encrypted, which featx cannot read: make an archive without a password"
                )
            start = info.header_offset
            index[name] = (
                info.file_size,
                _ZipMember(
                    start,
                    stops.get(start, end),
                    info.compress_type,
                    info.compress_size,
                    info.file_size,
                    info.CRC,
                    stat.S_ISLNK(info.external_attr >> 16),
                ),
            )
        return index

    def _extract(self, member: Any) -> bytes:
        if member.is_link:
            raise SampleError("a link inside the archive, which is not followed")
        most = _LOCAL_HEADER + 2 * _LONGEST_FIELD + member.packed
        data = self._file.pread(min(member.stop - member.start, most), member.start)
        if not data.startswith(b"PK\3\4") or len(data) < _LOCAL_HEADER:
            raise zipfile.BadZipFile("there is no member where the directory says")
        name, extra = struct.unpack_from("<HH", data, _LOCAL_HEADER - 4)
        info = zipfile.ZipInfo("member")
        info.compress_type, info.compress_size = member.method, member.packed
        info.file_size, info.CRC = member.size, member.crc
        with zipfile.ZipExtFile(io.BytesIO(data[_LOCAL_HEADER + name + extra :]), "r", info) as file:
            return file.read()


class TarSource(_ArchiveSource):
    """Images in an uncompressed tar archive, laid out as in a folder (see :class:`FolderSource`).

    Parameters
    ----------
    path : str or path-like
        The archive, or its URL. A compressed one cannot be read in place and is refused.
    storage_options : dict, optional
        What fsspec is to be given for a URL, beside its own configuration.
    """

    _kind = "tar"
    _has_classes = False

    def is_shard(self) -> bool:
        """Tell whether files of classes lie among the images, as in a shard of WebDataset; this lists it."""
        return bool(self.samples) and self._has_classes

    def _index(self) -> dict[str, tuple[int, Any]]:
        index: dict[str, tuple[int, Any]] = {}
        for written, member in tar_members(self._file):
            name = clean_name(written)
            self._has_classes |= name.lower().endswith(".cls")
            if is_image_name(os.path.basename(name)):
                index[name] = (member.size, member)
        return index

    def _refuse(self) -> None:
        start = self._file.pread(8, 0)
        for magic, tool in _COMPRESSED.items():
            if start.startswith(magic):
                raise SourceError(
                    f"{self._location.text!r} is compressed and so cannot be read in place: decompress it first"
                    f" ({tool}), or make it a zip"
                )

    def _extract(self, member: Any) -> bytes:
        if not member.regular:
            raise SampleError("a link, device or sparse file inside the archive, which is not followed")
        return self._file.pread(member.size, member.offset)


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


def clean_name(name: str) -> str:
    """Return the name without empty and ``.`` parts: ``./a//b.jpg`` and ``/a/b.jpg`` are ``a/b.jpg``."""
    return "/".join(part for part in name.split("/") if part not in ("", "."))
