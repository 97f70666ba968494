"""One writer at a time, and a word on who it is."""

import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from featx.errors import StoreLockedError

__all__ = ["locked"]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path` for the length of a ``with`` block.

    The operating system gives the lock back when its holder dies, so none is ever left behind. Beside it lies
    a note of who holds it.

    Raises
    ------
    StoreLockedError
        If another process holds it; the message says which.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    note = path.with_suffix(".holder.json")
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        holder = {}
        with suppress(OSError, ValueError):
            holder = json.loads(note.read_text())
        raise StoreLockedError(
            f"{path.stem} is being written by process {holder.get('pid', 'unknown')} on"
            f" {holder.get('host', 'an unknown host')} since {holder.get('since', 'some time')}:"
            " wait until it is done, then run the same command again"
        ) from error
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
        lock.release()
        path.unlink(missing_ok=True)
