"""What in the cache could go, and its removal: a plan first, then, if it is wanted, the deed."""

import json
import os
import re
import socket
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from featx.errors import ParameterError, StoreError
from featx.store import _format as names
from featx.store._files import _TEMPORARY, _is_alive, _short, fsync_folder, remove_stale
from featx.store._folder import _NAME, GRAPHS, cache_folder, workspace_folder
from featx.store._parts import Workspace
from featx.store._reader import open_store
from featx.store._shards import SHARDS, orphaned_shards, remove_orphans, shard_files

__all__ = ["PruneItem", "plan_prune", "prune"]

_PART = re.compile(names.PART_PATTERN)
_GRAPH = re.compile(r"[0-9a-f]{64}\.onnx")
_ON_DISK = ("file", "folder", "idx", "manifest", "npz", "tar", "zip")
"""Kinds of sources whose identity ends in a path."""

_BEYOND_REPAIR = ("delete it and extract again", "it is no HDF5 file")
"""What the reader says of files that only a new extraction helps; not of newer ones, or of those it may not read."""


@dataclass(frozen=True, slots=True)
class PruneItem:
    """A file or folder that featx wrote and that could go.

    Parameters
    ----------
    path : Path
        A store, the folder of unfinished work or of shards, an exported network, or a leftover file.
    bytes : int
        What its removal frees.
    reason : str
        Why it could go.
    """

    path: Path
    bytes: int
    reason: str
    stamp: tuple[int, int] = field(default=(0, 0), repr=False, compare=False)
    """Inode and time of change when it was planned: what has changed since then stays."""
    lock: Path | None = field(default=None, repr=False, compare=False)
    """Held during the removal: what another process holds stays."""


@dataclass(frozen=True, slots=True)
class _Found:
    """Something in the cache."""

    path: Path
    bytes: int
    written: float
    stamp: tuple[int, int]
    lock: Path | None
    kind: Literal["store", "work", "graph"]

    def item(self, reason: str) -> PruneItem:
        return PruneItem(self.path, self.bytes, reason, self.stamp, self.lock)


def plan_prune(
    cache: str | os.PathLike[str] | None = None,
    *,
    older_than: float | None = None,
    max_bytes: int | None = None,
    broken: bool = False,
    orphaned: bool = False,
) -> list[PruneItem]:
    """Return what in the cache could go, and why; nothing is removed or changed.

    Only what featx wrote is ever named: stores, what is in ``.work``, and exported networks. What a running process
    holds is left alone, and so are symbolic links.

    Parameters
    ----------
    cache : path, optional
        See :func:`featx.store.cache_folder`.
    older_than : float, optional
        Seconds: stores, and unfinished work, that were last written longer ago (reading does not count: times of
        access are off on many file systems, and every ``featx list`` would renew them), and networks last used then.
    max_bytes : int, optional
        All of these, the oldest first, until the rest has at most so many bytes.
    broken : bool
        Stores that cannot be read, and what dead processes left: unfinished work, temporary files and locks.
    orphaned : bool
        Stores, and unfinished work, of files and folders that no longer exist. A disk that is not mounted looks
        like that, too. Stores that were imported, merged or made of arrays or a named data set never are.

    Returns
    -------
    list of PruneItem
        For :func:`prune`.

    Raises
    ------
    ParameterError
        If a number is negative.
    """
    for parameter, value in (("older_than", older_than), ("max_bytes", max_bytes)):
        if value is not None and not value >= 0:
            raise ParameterError(f"{parameter} must be at least 0; got {value}")
    folder = cache_folder(cache)
    items: list[PruneItem] = []
    kept: list[_Found] = []
    total = 0
    now = time.time()
    for found in [*_stores(folder), *_work(folder), *_graphs(folder)]:
        total += found.bytes
        if found.lock is not None and _is_held(found.lock):
            continue
        reason = None
        if broken:
            reason = _fault(found)
        if reason is None and orphaned:
            reason = _orphan(found)
        if reason is None and older_than is not None and now - found.written > older_than:
            reason = "older than asked for"
        if reason is None:
            kept.append(found)
        else:
            items.append(found.item(reason))
    if max_bytes is not None:
        total -= sum(item.bytes for item in items)
        for found in sorted(kept, key=lambda found: found.written):
            if total <= max_bytes:
                break
            items.append(found.item("oldest in a cache that is too large"))
            total -= found.bytes
    if broken:
        items += _leftovers(folder)
    return items


def prune(items: Sequence[PruneItem]) -> list[PruneItem]:
    """Remove what :func:`plan_prune` named.

    What has been changed or taken up by a process since then stays; links are never followed, and of a folder
    only the files go that featx wrote.

    Parameters
    ----------
    items : sequence of PruneItem

    Returns
    -------
    list of PruneItem
        Those that are gone.

    Raises
    ------
    StoreError
        If one cannot be removed.
    """
    return [item for item in items if _remove(item)]


def _remove(item: PruneItem) -> bool:
    path, lock = item.path, item.lock
    try:
        if lock is None:
            return _unlink(item)
        lock.parent.mkdir(exist_ok=True)
        with _held(lock) as mine:
            if path in (lock, _note(lock)):  # which are gone with the hold
                return mine
            return mine and _unlink(item)
    except FileNotFoundError:  # somebody else was faster
        return False
    except OSError as error:
        raise StoreError(
            f"{path} cannot be removed ({error.strerror or error}): check the permissions of its folder"
        ) from error


def _unlink(item: PruneItem) -> bool:
    """Remove a file (a store with its shards), or what featx wrote into a folder, unless it has changed."""
    status = item.path.lstat()
    if _stamp(status) != item.stamp:
        return False
    if item.path.suffix == SHARDS and stat.S_ISDIR(status.st_mode):
        remove_stale(item.path)
        remove_orphans(_store_of(item.path))
    elif stat.S_ISDIR(status.st_mode):
        Workspace(item.path, "").remove()
    else:
        item.path.unlink()
        fsync_folder(item.path.parent)
        remove_orphans(item.path)
    return True


@contextmanager
def _held(lock: Path) -> Iterator[bool]:
    """Hold a lock for the length of the block and remove its file and note; False where another process has it."""
    file = FileLock(lock)
    try:
        file.acquire(blocking=False)
    except (Timeout, OSError):
        yield False
        return
    try:
        yield True
    finally:
        with suppress(OSError):
            # While it is held: whoever waits for this very file sees that it is gone, and makes another.
            _note(lock).unlink(missing_ok=True)
            lock.unlink()
            lock.parent.rmdir()
        file.release()


def _note(lock: Path) -> Path:
    """Return the file that says who holds a lock."""
    return lock.with_suffix(".holder.json")


def _is_held(lock: Path) -> bool:
    """Whether another process holds a lock; one that cannot be asked for counts as held."""
    if not os.path.lexists(lock):
        return False
    file = FileLock(lock)
    try:
        file.acquire(blocking=False)
    except (Timeout, OSError):
        return True
    file.release()
    return False


def _stamp(status: os.stat_result) -> tuple[int, int]:
    return status.st_ino, status.st_mtime_ns


def _work_folder(cache: Path) -> Path:
    return workspace_folder(cache / "any").parent


def _entries(folder: Path, *, follow: bool = False) -> list[os.DirEntry[str]]:
    """Return what is in a folder, by name; nothing if it is none, or a link to one that is not to be followed."""
    try:
        if folder.is_symlink() and not follow:
            return []
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return []


def _stores(cache: Path) -> Iterator[_Found]:
    """Yield the stores: files of the name that featx gives them, broken or not, and others that are whole."""
    for entry in _entries(cache, follow=True):
        path = Path(entry.path)
        if not entry.name.endswith(".h5") or not entry.is_file(follow_symlinks=False):
            continue
        if _NAME.fullmatch(entry.name) is None:
            try:
                open_store(path)
            except StoreError:
                continue
        status = path.lstat()
        size = status.st_size + sum(file.lstat().st_size for file in shard_files(path))
        yield _Found(path, size, status.st_mtime, _stamp(status), _lock_of(path), "store")


def _lock_of(path: Path) -> Path:
    """Return the lock that is held while a store, or the folder of its shards, is written."""
    return workspace_folder(path).with_name(f"{path.stem}.lock")


def _work(cache: Path) -> Iterator[_Found]:
    """Yield the folders of unfinished work."""
    for entry in _entries(_work_folder(cache)):
        if not entry.is_dir(follow_symlinks=False):
            continue
        path = Path(entry.path)
        files = [file.stat(follow_symlinks=False) for file in _entries(path) if _is_of_work(file)]
        if files:
            size, written = sum(status.st_size for status in files), max(status.st_mtime for status in files)
            lock = path.with_name(f"{path.name}.lock")
            yield _Found(path, size, written, _stamp(path.lstat()), lock, "work")


def _graphs(cache: Path) -> Iterator[_Found]:
    """Yield the exported networks, which cost seconds to make again; their time is that of their last use."""
    for entry in _entries(cache / GRAPHS):
        if _GRAPH.fullmatch(entry.name) is not None and entry.is_file(follow_symlinks=False):
            status = entry.stat(follow_symlinks=False)
            yield _Found(Path(entry.path), status.st_size, status.st_mtime, _stamp(status), None, "graph")


def _is_of_work(file: os.DirEntry[str]) -> bool:
    name = file.name
    ours = name == names.MANIFEST_NAME or _PART.fullmatch(name) is not None or _is_stale(name)
    return ours and file.is_file(follow_symlinks=False)


def _is_stale(name: str) -> bool:
    """Whether a file is a temporary one that a dead process of this host left."""
    match = _TEMPORARY.fullmatch(name)
    return match is not None and match[2] == _short(socket.gethostname()) and not _is_alive(int(match[3]))


def _leftovers(cache: Path) -> Iterator[PruneItem]:
    """Yield temporary files of dead processes, locks and notes that no unfinished work goes with, and lost shards."""
    work = _work_folder(cache)
    for entry in [*_entries(cache, follow=True), *_entries(work)]:
        if not entry.is_file(follow_symlinks=False):
            continue
        path, status = Path(entry.path), entry.stat(follow_symlinks=False)
        stem = entry.name.removesuffix(".holder.json").removesuffix(".lock")
        lock = work / f"{stem}.lock"
        if _is_stale(entry.name):
            yield PruneItem(path, status.st_size, "temporary file of a process that is gone", _stamp(status))
        elif path.parent != work or stem == entry.name or (work / stem).is_dir() or _is_held(lock):
            continue
        elif path == lock or not lock.exists():  # a note goes with its lock
            yield PruneItem(path, status.st_size, "lock of a process that is gone", _stamp(status), lock)
    for entry in _entries(cache, follow=True):
        folder = Path(entry.path)
        if folder.suffix != SHARDS or not entry.is_dir(follow_symlinks=False) or _is_held(_lock_of(folder)):
            continue
        files = [file.stat(follow_symlinks=False).st_size for file in _entries(folder) if _is_stale(file.name)]
        files += [file.lstat().st_size for file in orphaned_shards(_store_of(folder))]
        if files:
            stamp = _stamp(entry.stat(follow_symlinks=False))
            yield PruneItem(folder, sum(files), "shards of a store that is gone", stamp, _lock_of(folder))


def _store_of(folder: Path) -> Path:
    """Return the store whose shards lie in a folder."""
    return folder.with_suffix(".h5")


def _fault(found: _Found) -> str | None:
    """Return what is wrong with a store as far as it is read without its features, or that it is unfinished work."""
    if found.kind == "graph":
        return None
    if found.kind == "work":
        return "unfinished work of a process that is gone; the same command would go on from it"
    try:
        store = open_store(found.path)
        _ = store.samples, store.digests, store.failures
    except StoreError as error:
        return str(error) if any(words in str(error) for words in _BEYOND_REPAIR) else None
    return None


def _orphan(found: _Found) -> str | None:
    """Return that a source is gone, if it is one on this disk and is gone."""
    try:
        if found.kind == "store":
            identity = open_store(found.path).source.get("identity")
        else:
            manifest = json.loads((found.path / names.MANIFEST_NAME).read_bytes())
            identity = manifest["manifest"]["identity"]
    except (StoreError, OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    kind, _, path = str(identity).partition(":")
    if kind not in _ON_DISK or not os.path.isabs(path):
        return None
    spellings = {path, re.sub(r"(#(first|per-class)=[0-9,]+)+\Z", "", path)}  # a path may end like that by itself
    return f"its source {kind} {path} is gone" if all(map(_is_gone, spellings)) else None


def _is_gone(path: str) -> bool:
    try:
        os.stat(path.encode("utf-8", "surrogateescape"))
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        return False
    return False
