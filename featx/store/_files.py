"""Files that appear whole or not at all: temporary name, fsync, rename, fsync of the folder."""

import errno
import hashlib
import os
import re
import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from featx.errors import StoreError

_TEMPORARY = re.compile(r"\.featx-([0-9a-f]{8})-([0-9a-f]{8})-(\d+)-[0-9a-f]{8}\.tmp")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_UNSUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EBADF)


def _short(text: str) -> str:
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:8]


def temporary_path(path: Path) -> Path:
    """Return a new name beside `path` that says what it is for and which process of which host writes it."""
    host = _short(socket.gethostname())
    return path.with_name(f".featx-{_short(path.name)}-{host}-{os.getpid()}-{secrets.token_hex(4)}.tmp")


def remove_stale(folder: Path, target: str | None = None) -> None:
    """Remove temporary files (of the file called `target`, or all) that dead processes of this host left."""
    host = _short(socket.gethostname())
    for entry in list(folder.iterdir()) if folder.is_dir() else []:
        match = _TEMPORARY.fullmatch(entry.name)
        if match is None or match[2] != host or (target is not None and match[1] != _short(target)):
            continue
        if not _is_alive(int(match[3])):
            entry.unlink(missing_ok=True)


def remove_temporaries(folder: Path) -> None:
    """Remove all temporary files in a folder, whoever writes them: nothing is to come of them any more."""
    for entry in list(folder.iterdir()) if folder.is_dir() else []:
        if _TEMPORARY.fullmatch(entry.name):
            entry.unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    if os.name != "posix":  # there, signal 0 is no harmless question
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def make_folder(folder: Path) -> None:
    """Make `folder` and those above it, durably, where they are missing."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for each in missing:
        fsync_folder(each.parent)


def fsync_folder(folder: Path) -> None:
    """Make renames in `folder` durable, where the file system can."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:  # Windows opens no folders; its renames need no such call
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
    finally:
        os.close(descriptor)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn an OSError of writing `path` into one sentence."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL or f"errno = {errno.ENOSPC}" in str(error):
            raise StoreError(
                f"{path} cannot be written because the disk (or the quota) is full: free some space and run again"
            ) from error
        reason = error.strerror or str(error).splitlines()[0]
        raise StoreError(f"{path} cannot be written ({reason}): check the folder and its permissions") from error


@contextmanager
def temporary_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, whose folder is made; what is still there at the end is removed."""
    temporary = temporary_path(path)
    try:
        with disk_errors(path):
            make_folder(path.parent)
        yield temporary
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def settle(temporary: Path, path: Path) -> None:
    """Have a complete file on the disk, and give it its name."""
    with disk_errors(path):
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        fsync_folder(path.parent)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path whose file, complete at the end of the block, takes the place of `path`.

    Whatever is raised in the block, the temporary file is gone and `path` as it was.
    """
    with temporary_file(path) as temporary:
        yield temporary
        settle(temporary, path)


def free_space(folder: Path) -> int:
    """Return the bytes that are free where a folder is, or will be."""
    place = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.is_dir())
    with disk_errors(folder):
        return shutil.disk_usage(place).free


def require_space(path: Path, needed: int) -> None:
    """Raise StoreError unless the folder of `path` has room for `needed` more bytes."""
    free = free_space(path.parent)
    if free < needed:
        raise StoreError(
            f"{path} cannot be written because the disk is full: {needed:,} bytes are needed"
            f" and {free:,} are free; free some space, or write to another folder"
        )


def reserve(descriptor: int, size: int) -> None:
    """Have the file system set `size` bytes aside now, so that it cannot run out of them later.

    HDF5 does not survive a full disk (the process segfaults at its exit), so it must never meet one.
    """
    allocate = getattr(os, "posix_fallocate", None)
    if allocate is None:
        return
    try:
        allocate(descriptor, 0, size)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
