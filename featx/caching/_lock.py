"""One writer at a time, and a word on who it is."""

import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from featx.errors import StoreError, StoreLockedError

__all__ = ["holder_of", "lock_of", "locked"]


def lock_of(folder: Path) -> Path:
    """Return the lock file of a workspace."""
    return folder.with_name(f"{folder.name}.lock")


def holder_of(folder: Path) -> str | None:
    """Return the note on who works in a workspace, as it is written; None if it cannot be read.

    No two works have the same.
    """
    try:
        return _note(lock_of(folder)).read_text()
    except OSError:
        return None


def _note(path: Path) -> Path:
    return path.with_suffix(".holder.json")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path` for the length of a ``with`` block.

    The operating system gives the lock back when its holder dies, so none is ever left behind. Beside it lies
    a note of who holds it. Both are gone at the end, and the folder too if nothing else is in it.

    Raises
    ------
    StoreLockedError
        If another process holds it; the message says which.
    StoreError
        If the file cannot be made.
    """
    note = _note(path)
    lock = _acquired(path, note)
    try:
        note.write_text(
            json.dumps(
                {
                    "pid": os.getpid(),
                    "host": platform.node(),
                    "since": datetime.now(UTC).isoformat(timespec="seconds"),
                }
            )
        )
        yield
    finally:
        note.unlink(missing_ok=True)
        with suppress(OSError):
            # While it is held: whoever waits for this very file sees that it is gone, and makes another.
            path.unlink()
            path.parent.rmdir()
        lock.release()


def _acquired(path: Path, note: Path) -> FileLock:
    lock = FileLock(path)
    for attempts_left in reversed(range(10)):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
            break
        except Timeout as error:
            raise _locked_error(path, note) from error
        except OSError as error:  # perhaps because the last holder was removing the folder just then
            if not attempts_left:
                reason = error.strerror or str(error)
                raise StoreError(
                    f"{path.parent} cannot be written ({reason}): check the folder and its permissions"
                ) from error
    return lock


def _locked_error(path: Path, note: Path) -> StoreLockedError:
    holder = {}
    with suppress(OSError, ValueError):
        holder = json.loads(note.read_text())
    return StoreLockedError(
        f"store {path.stem!r} is being written by process {holder.get('pid', 'unknown')} on"
        f" {holder.get('host', 'an unknown host')} since {holder.get('since', 'some time')}:"
        " wait until it is done, then run the same command again"
    )
