"""The cache folder: what its files are called, and which store a word on the command line means."""

import os
import re
from pathlib import Path

from featx.errors import ParameterError, StoreError, did_you_mean
from featx.spec import ExtractionSpec, digest_of
from featx.store._reader import FeatureStore, open_store

__all__ = ["cache_folder", "find_store", "list_stores", "store_path", "workspace_folder"]

_WORK = ".work"


def cache_folder(cache: str | os.PathLike[str] | None = None) -> Path:
    """Return the cache folder: `cache`, else the environment's FEATX_CACHE, else ``cache`` under the current one."""
    return Path(cache or os.environ.get("FEATX_CACHE") or "cache")


def _slug(name: str) -> str:
    """Return `name` as a file name that needs no quoting: letters and digits of any script, ``-`` and ``_``."""
    return re.sub(r"[^\w\-]+", "_", name).strip("-_")[:60] or "source"


def store_path(folder: Path, *, name: str, identity: str, spec: ExtractionSpec) -> Path:
    """Return the file in the cache for one source under one spec: ``NAME.BACKBONE.KEY.h5``.

    NAME may be chosen; BACKBONE is for the eye; KEY are 12 hex digits of the digest of source and spec.
    """
    key = digest_of([identity, spec.digest])[:12]
    existing = sorted(folder.glob(f"*.{key}.h5"))
    backbone = _slug(spec.backbone.partition(":")[2])
    wanted = folder / f"{_slug(name)}.{backbone}.{key}.h5"
    return wanted if wanted in existing or not existing else existing[0]


def workspace_folder(path: Path) -> Path:
    """Return the folder for the work in progress on a store."""
    return path.parent / _WORK / path.stem


def list_stores(cache: str | os.PathLike[str] | None = None) -> list[Path]:
    """Return the store files in the cache folder, sorted by name; none if there is no such folder."""
    return sorted(cache_folder(cache).glob("*.h5"))


def find_store(
    store: str | os.PathLike[str] | FeatureStore, cache: str | os.PathLike[str] | None = None
) -> FeatureStore:
    """Open the store that a path or a short name means.

    Parameters
    ----------
    store : str, path or FeatureStore
        A file; or, in the cache, a file name, its part before the first dot, or the first digits of its key.
        A FeatureStore is returned as it is.
    cache : path, optional
        See :func:`cache_folder`.

    Raises
    ------
    StoreError
        If there is none, or the file is no store.
    ParameterError
        If several stores go by that name.
    """
    if isinstance(store, FeatureStore):
        return store
    text = os.fspath(store)
    if Path(text).exists():
        return open_store(Path(text))
    files = list_stores(cache)
    names = {file: file.name.split(".") for file in files}
    found = [
        file
        for file, parts in names.items()
        if text in (file.name, file.stem, ".".join(parts[:-3]), ".".join(parts[:-2]))
        or (len(text) >= 4 and len(parts) > 2 and parts[-2].startswith(text))
    ]
    if len(found) == 1:
        return open_store(found[0])
    if found:
        raise ParameterError(
            f"store {text!r} is the name of {len(found)} stores ({', '.join(file.name for file in found)}):"
            " give a whole file name, or the digits before .h5"
        )
    hint = did_you_mean(text, {".".join(parts[:-3]) or file.stem for file, parts in names.items()})
    raise StoreError(
        f"store {text!r} is neither a file nor a store in {cache_folder(cache)}{hint}; `featx list` shows what is there"
    )
