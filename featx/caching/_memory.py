"""Small notes in the cache folder, that spare finding out again what was found out before."""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from featx.spec import canonical_json

__all__ = ["read_json", "version_of", "write_json"]


def read_json(path: Path) -> Any:
    """Return what a note holds; None if there is none, or it cannot be read."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a note, whole or not at all; where that cannot be done it is found out again the next time."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}")
        temporary.write_text(canonical_json(value), encoding="ascii")
        temporary.replace(path)


def version_of(package: str) -> str | None:
    """Return the installed version of a package, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
