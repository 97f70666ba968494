"""Files on disk: how they are listed, and how one is read."""

import errno
import os
import stat
from collections.abc import Callable, Iterator

from featx.errors import SampleError, SourceError
from featx.sources._base import MAX_SAMPLE_BYTES
from featx.sources._layout import IMAGE_SUFFIXES, is_ignored

StrPath = str | os.PathLike[str]
Stamp = tuple[int, int, int]
"""Size, time of the last change and inode, the last fields of a Sample: equal while a file is unchanged."""

NO_STAMP: Stamp = (-1, 0, 0)


def encode_path(path: str) -> bytes:
    """Return the bytes that a key or path stands for, whatever the locale."""
    return path.encode("utf-8", "surrogateescape")


def decode_path(path: bytes) -> str:
    """Return bytes of a file name as text that :func:`encode_path` takes back, whatever the locale."""
    return path.decode("utf-8", "surrogateescape")


def real_path(path: StrPath) -> str:
    """Return the absolute path without symbolic links."""
    return decode_path(os.path.realpath(encode_path(os.fspath(path))))


def reason(error: OSError) -> str:
    """Return why the operating system refused, in its own words and without the path."""
    return (error.strerror or type(error).__name__).lower()


def stat_file(path: bytes) -> Stamp:
    """Return the stamp of a file, or :data:`NO_STAMP` for what is not there to be asked."""
    try:
        return _stamp(os.stat(path))
    except (OSError, ValueError):
        return NO_STAMP


def _stamp(status: os.stat_result) -> Stamp:
    inode = (status.st_ino + 2**63) % 2**64 - 2**63  # file systems use all 64 bits, stores have signed ones
    return status.st_size, status.st_mtime_ns, inode


def read_file(path: bytes) -> bytes:
    """Return the bytes of a regular file; raises SampleError with the reason for anything else.

    A FIFO or device is recognised without waiting for it.
    """
    try:
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise SampleError("not a regular file") from error
        raise SampleError(f"cannot be read: {reason(error)}") from error
    except ValueError as error:
        raise SampleError("cannot be read: its name has a null byte") from error
    with os.fdopen(fd, "rb", buffering=0) as file:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise SampleError("not a regular file")
        check_size(status.st_size)
        try:
            return file.read()
        except OSError as error:
            raise SampleError(f"cannot be read: {reason(error)}") from error


def check_size(size: int) -> None:
    """Raise SampleError if a file or member is too large to be read into memory."""
    if size > MAX_SAMPLE_BYTES:
        raise SampleError(f"too large: {size:,} bytes, above the limit of {MAX_SAMPLE_BYTES:,}")


def no_images(what: str) -> SourceError:
    """Return the error for a folder or archive without a single image."""
    return SourceError(
        f"{what!r} holds no images: they must be in it or its folders, not be hidden, and end in one of"
        f" {', '.join(sorted(IMAGE_SUFFIXES))}"
    )


def walk(root: bytes, is_wanted: Callable[[str], bool]) -> Iterator[tuple[str, Stamp]]:
    """Yield path below `root` and stamp of each file whose name is wanted; no file is opened."""
    pending: list[tuple[str, frozenset[tuple[int, int]]]] = [("", frozenset())]
    while pending:
        prefix, above = pending.pop()
        folder = os.path.join(root, encode_path(prefix))
        try:
            status = os.stat(folder)
            here = (status.st_dev, status.st_ino)
            if here in above:
                continue
            with os.scandir(folder) as entries:
                for entry in entries:
                    name = decode_path(entry.name)
                    if is_ignored(name):
                        continue
                    if _is_folder(entry):
                        pending.append((f"{prefix}{name}/", above | {here}))
                    elif is_wanted(name):
                        yield prefix + name, _stat_entry(entry)
        except OSError as error:
            raise SourceError(
                f"folder {decode_path(folder)!r} cannot be listed ({reason(error)}): make it readable,"
                " or move it out of the source"
            ) from error


def _is_folder(entry: os.DirEntry[bytes]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, or to where nobody may look
        return False


def _stat_entry(entry: os.DirEntry[bytes]) -> Stamp:
    try:
        return _stamp(entry.stat())
    except OSError:  # a broken link, or gone since: listed, and read() says why it cannot be read
        return NO_STAMP
