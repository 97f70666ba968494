"""The folder of a store's shards: how many rows each gets, where it lies, and what no store names any more."""

import math
import re
from contextlib import suppress
from pathlib import Path

from featx.errors import ParameterError, StoreError
from featx.store import _format as names
from featx.store._audit import named_shards
from featx.store._files import fsync_folder

__all__ = [
    "SHARDS",
    "check_shards",
    "orphaned_shards",
    "remove_orphans",
    "rows_per_shard",
    "shard_files",
    "shard_folder",
]

SHARDS = ".shards"
"""What the name of a folder of shards ends in."""

_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([KMGT]?)B", re.IGNORECASE)
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def check_shards(shards: int | str) -> int | None:
    """Return the bytes that a shard may have, or None if `shards` is a number of shards.

    Raises
    ------
    ParameterError
        If it is neither.
    """
    text = str(shards).strip()
    match = _SIZE.fullmatch(text)
    if match is not None and float(match[1]) > 0:
        return int(float(match[1]) * _UNITS[match[2].upper()])
    if isinstance(shards, bool) or not text.isdecimal() or int(text) < 1:
        raise ParameterError(
            f"shards must be a number of files, at least 1, or the most bytes of each, such as 10GB; got {shards!r}"
        )
    return None


def rows_per_shard(shards: int | str, rows: int, row_bytes: int) -> int:
    """Return how many rows each shard but the last gets: all of them where one file is enough.

    Shards of many rows end where a page of memory does, so that they can be mapped one behind the other.

    Parameters
    ----------
    shards : int or str
        Their number, at most, or the most bytes of features in each.
    rows, row_bytes : int
        Of the whole store.

    Raises
    ------
    ParameterError
        If it would be too many files.
    """
    most = check_shards(shards)
    each = -(-rows // int(shards)) if most is None else max(1, most // row_bytes)
    unit = names.PAGE // math.gcd(names.PAGE, row_bytes)
    if each >= unit:
        each += -each % unit if most is None else -(each % unit)
    count = -(-rows // each)
    if count > names.MOST_SHARDS:
        raise ParameterError(
            f"shards must come to at most {names.MOST_SHARDS} files; {shards!r} makes {count:,} of {rows:,} rows: make"
            " them larger"
        )
    return each


def shard_folder(path: Path) -> Path:
    """Return the folder that the shards of a store lie in, beside it."""
    return path.with_name(f"{path.stem}{SHARDS}")


def shard_files(path: Path) -> list[Path]:
    """Return the shards in that folder, whether the store names them or not."""
    folder = shard_folder(path)
    if folder.is_symlink() or not folder.is_dir():
        return []
    return [
        file
        for file in sorted(folder.iterdir())
        if re.fullmatch(names.SHARD_PATTERN, file.name) and file.is_file() and not file.is_symlink()
    ]


def orphaned_shards(path: Path) -> list[Path]:
    """Return the files in the folder of a store's shards that no store beside it names.

    None where the store itself cannot be read: nobody knows then which are its own.
    """
    files = shard_files(path)
    used: set[Path] = set()
    if files and path.exists():
        try:
            used.update(named_shards(path))
        except StoreError:
            return []
    if set(files) - used:
        for store in filter(Path.is_file, path.parent.iterdir()):
            with suppress(StoreError):
                used.update(named_shards(store))
    return [file for file in files if file not in used]


def remove_orphans(path: Path) -> None:
    """Remove the shards that no store names any more, and their folder if nothing is left in it."""
    folder = shard_folder(path)
    with suppress(OSError):
        for file in orphaned_shards(path):
            file.unlink(missing_ok=True)
        if folder.is_dir():
            fsync_folder(folder)
            folder.rmdir()
