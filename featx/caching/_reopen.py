"""From a store back to the source it was made of."""

import os
import re
from collections.abc import Callable

from featx.errors import SourceError
from featx.sources import (
    FileSource,
    FolderSource,
    IdxSource,
    ManifestSource,
    NpzSource,
    ParquetSource,
    Source,
    TarSource,
    TorchvisionSource,
    WebDatasetSource,
    ZipSource,
    is_url,
    open_source,
)
from featx.store import FeatureStore

__all__ = ["reopen_source"]

_BY_PATH: dict[str, Callable[[str], Source]] = {
    "folder": FolderSource,
    "file": FileSource,
    "zip": ZipSource,
    "tar": TarSource,
    "manifest": ManifestSource,
    "npz": NpzSource,
    "idx": IdxSource,
}
_SHARDED = {"webdataset": WebDatasetSource, "parquet": ParquetSource}
_LIMITS = re.compile(r"(#(first|per-class)=[0-9,]+)+\Z")


def reopen_source(store: FeatureStore) -> Source:
    """Open the source of a store again, all of it, as it lies now: samples are found by their keys.

    Parameters
    ----------
    store : FeatureStore

    Returns
    -------
    Source
        Labels and splits are the source's own, whatever they were arranged by.

    Raises
    ------
    SourceError
        If it was in memory, or is not where it was.
    """
    identity = str(store.source.get("identity", ""))
    kind, _, rest = identity.partition(":")
    whole = rest if os.path.lexists(_encoded(rest)) else _LIMITS.sub("", rest)  # a path may end like that by itself
    source: Source | None = None
    if kind in _BY_PATH and (is_url(whole) or os.path.exists(_encoded(whole))):
        source = _BY_PATH[kind](whole)
    elif kind in _SHARDED:
        path, _, image = whole.partition("#image=")
        source = _SHARDED[kind](path, image=image or None)
    elif kind == "torchvision":
        name, _, root = whole.partition(":")
        if os.path.isdir(_encoded(root)):  # else it is gone, or options follow that cannot be told from a path
            source = TorchvisionSource(name, root)
    elif kind == "hf" and whole:
        source = open_source(f"hf:{whole}")
    if source is None:
        raise SourceError(
            f"the source of {store.path} ({identity or 'not known'}) cannot be opened again: that takes images in"
            " files, or a data set by name, that are still where they were"
        )
    source.samples  # noqa: B018  # listed here, so that a source that is gone is told at once
    return source


def _encoded(path: str) -> bytes:
    return path.encode("utf-8", "surrogateescape")
