"""The cache folder: what its files are called, and which store a word on the command line means."""

import os
import re
from pathlib import Path

from featx.errors import ParameterError, StoreError, did_you_mean
from featx.spec import ExtractionSpec, digest_of
from featx.store._reader import FeatureStore, open_store

__all__ = ["GRAPHS", "cache_folder", "find_file", "find_store", "list_stores", "store_path", "workspace_folder"]

GRAPHS = ".graphs"
_WORK = ".work"
_NAME = re.compile(r"(?P<name>.+)\.(?P<backbone>[^.]+)\.(?P<key>[0-9a-f]{12})\.h5", re.DOTALL)
_MAX_BYTES = 80


def cache_folder(cache: str | os.PathLike[str] | None = None) -> Path:
    """Return the cache folder: `cache`, else the environment's FEATX_CACHE, else ``cache`` under the current one."""
    return Path(cache or os.environ.get("FEATX_CACHE") or "cache")


def _slug(name: str) -> str:
    """Return `name` as a file name that needs no quoting: letters and digits of any script, ``-`` and ``_``."""
    short = re.sub(r"[^\w\-]+", "_", name).strip("-_").encode()[:_MAX_BYTES].decode(errors="ignore")
    return short or "source"


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


def find_file(store: str | os.PathLike[str], cache: str | os.PathLike[str] | None = None) -> Path:
    """Return the file that a path or a short name means, whether or not it can be opened.

    Parameters
    ----------
    store : str or path
        A file; or, in the cache, a file name, its part before the first dot, or the first digits of its key.
    cache : path, optional
        See :func:`cache_folder`.

    Raises
    ------
    StoreError
        If there is none.
    ParameterError
        If several stores go by that name.
    """
    text = os.fspath(store)
    if os.path.isfile(text):  # a folder is no store: it may well be the source, after which the store is called
        return Path(text)
    files = list_stores(cache)
    found = [file for file in files if text in _names(file) or _starts_key(text, file)]
    if len(found) == 1:
        return found[0]
    if found:
        raise ParameterError(
            f"store {text!r} is the name of {len(found)} stores ({', '.join(file.name for file in found)}):"
            " give a whole file name, or the digits before .h5"
        )
    hint = did_you_mean(text, sorted(set().union(*map(_names, files))))
    raise StoreError(
        f"store {text!r} is neither a file nor a store in {cache_folder(cache)}{hint}; `featx list` shows what is there"
    )


def find_store(
    store: str | os.PathLike[str] | FeatureStore, cache: str | os.PathLike[str] | None = None
) -> FeatureStore:
    """Open the store that a path or a short name means.

    Parameters
    ----------
    store : str, path or FeatureStore
        As :func:`find_file` takes it. A FeatureStore is returned as it is.
    cache : path, optional
        See :func:`cache_folder`.

    Raises
    ------
    StoreError
        If there is none, or the file is no store.
    ParameterError
        If several stores go by that name.
    """
    return store if isinstance(store, FeatureStore) else open_store(find_file(store, cache))


def _names(file: Path) -> set[str]:
    """Return what a store in the cache may be called."""
    match = _NAME.fullmatch(file.name)
    return {file.name, file.stem} | ({match["name"], f"{match['name']}.{match['backbone']}"} if match else set())


def _starts_key(text: str, file: Path) -> bool:
    match = _NAME.fullmatch(file.name)
    return match is not None and len(text) >= 4 and match["key"].startswith(text)
