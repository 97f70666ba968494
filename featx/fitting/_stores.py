"""The stores that a head is fitted on: one, or several of the same samples."""

import os
from collections.abc import Sequence
from typing import Any

from featx.heads import list_heads
from featx.store import FeatureStore, find_store

__all__ = ["StoreLike", "joined_defaults", "open_stores"]

StoreLike = str | os.PathLike[str] | FeatureStore


def open_stores(
    stores: StoreLike | Sequence[StoreLike], cache: str | os.PathLike[str] | None = None
) -> list[FeatureStore]:
    """Open one store or several, given as files or by their names in the cache."""
    if isinstance(stores, (str, os.PathLike, FeatureStore)):
        stores = [stores]
    return [find_store(store, cache) for store in stores]


def joined_defaults(head: str, stores: Sequence[FeatureStore]) -> dict[str, Any]:
    """Return what the parameters of a head on several stores begin with: features of any scale are standardised."""
    own = {info.name: info.defaults for info in list_heads()}.get(head.replace("-", "_"))
    return {"standardize": True} if len(stores) > 1 and (own is None or "standardize" in own) else {}
