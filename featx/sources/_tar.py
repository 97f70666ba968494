"""Headers of a tar archive, one after the other: whatever lies between them is passed over."""

import tarfile
from collections.abc import Iterator
from typing import NamedTuple

from featx.sources._location import RangeFile

_BLOCK = 512
_REGULAR = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
_WITHOUT_DATA = (tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE)
_LONG_NAME = tarfile.GNUTYPE_LONGNAME
_ABOUT_THE_NEXT = (_LONG_NAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
_EMPTY = bytes(_BLOCK)
_LONGEST = 1 << 20


class TarMember(NamedTuple):
    """Where a file lies in a tar archive; links, devices and files with holes are not regular."""

    offset: int
    size: int
    regular: bool


class DamagedTar(ValueError):
    """There is no header where one must be."""


def tar_members(file: RangeFile) -> Iterator[tuple[str, TarMember]]:
    """Yield name, as it is written, and place of all but the folders in an uncompressed tar archive, as they follow.

    Raises
    ------
    DamagedTar
        If the archive is none, or does not end where it says it does.
    OSError
    """
    position = 0
    name: str | None = None
    records: dict[str, str] = {}
    while (header := file.pread(_BLOCK, position)) and header != _EMPTY:
        kind, size = _checked(header, position)
        offset = position + _BLOCK
        if kind in _ABOUT_THE_NEXT:
            if size > _LONGEST:
                raise DamagedTar(f"damaged at byte {position:,}")
            text = file.pread(size, offset)
            if kind == _LONG_NAME:
                name = _text(text)
            elif kind != tarfile.GNUTYPE_LONGLINK:
                records = _records(text, position)
        elif kind != tarfile.XGLTYPE:
            size = _decimal(records["size"], position) if "size" in records else size
            if kind == tarfile.GNUTYPE_SPARSE:
                offset += _sparse_headers(file, header, offset)
            is_sparse = any(key.startswith("GNU.sparse.") for key in records)
            found = records.get("GNU.sparse.name") or records.get("path") or name or _name(header)
            if kind in _WITHOUT_DATA:
                size = 0
            if offset + size > file.stamp[0]:
                raise DamagedTar(f"ends within {found!r}")
            if kind != tarfile.DIRTYPE and not (kind == tarfile.AREGTYPE and found.endswith("/")):
                yield found, TarMember(offset, size, kind in _REGULAR and not is_sparse)
            name, records = None, {}
        position = offset + -(-size // _BLOCK) * _BLOCK
    if name is not None or records or (not header and not 0 < position <= file.stamp[0]):
        raise DamagedTar(f"ends at byte {file.stamp[0]:,}")


def _checked(header: bytes, position: int) -> tuple[bytes, int]:
    """Return type and size that a header tells, if its checksum is right."""
    try:
        if len(header) == _BLOCK and _number(header[148:156]) == sum(header) - sum(header[148:156]) + 8 * 32:
            size = _number(header[124:136])
            if size >= 0:
                return header[156:157], size
    except ValueError:
        pass
    raise DamagedTar(f"damaged at byte {position:,}")


def _number(field: bytes) -> int:
    if field[0] == 0x80:  # too large for octal digits
        return int.from_bytes(field[1:])
    return int(field.partition(b"\0")[0].strip() or b"0", 8)


def _decimal(text: str, position: int) -> int:
    if not (text.isascii() and text.isdigit()):
        raise DamagedTar(f"damaged at byte {position:,}")
    return int(text)


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _name(header: bytes) -> str:
    name = _text(header[:100])
    prefix = _text(header[345:500]) if header[257:263] == b"ustar\0" else ""
    return f"{prefix}/{name}" if prefix else name


def _sparse_headers(file: RangeFile, header: bytes, offset: int) -> int:
    """Return how many bytes of further headers follow that of a file with holes."""
    start, more = offset, header[482]
    while more:
        block = file.pread(_BLOCK, offset)
        if len(block) < _BLOCK:
            raise DamagedTar(f"damaged at byte {offset:,}")
        more, offset = block[504], offset + _BLOCK
    return offset - start


def _records(text: bytes, position: int) -> dict[str, str]:
    """Return what a header in POSIX's extended form says of the next one: lines that begin with their lengths."""
    records = {}
    while text.strip(b"\0"):
        length, _, rest = text.partition(b" ")
        if not length.isdigit() or not len(length) + 1 < int(length) <= len(text):
            raise DamagedTar(f"damaged at byte {position:,}")
        key, _, value = rest[: int(length) - len(length) - 2].partition(b"=")
        records[key.decode("utf-8", "surrogateescape")] = value.decode("utf-8", "surrogateescape")
        text = text[int(length) :]
    return records
