"""Commands that go on from a store, written out so that they can be pasted."""

import re
import shlex
from collections.abc import Mapping
from typing import Any

from featx.store import FeatureStore, cache_folder

__all__ = ["command", "network_words", "option_words", "source_words"]

_ON_DISK = ("file", "folder", "idx", "manifest", "npz", "tar", "zip")
_BY_NAME = ("hf", "parquet", "torchvision", "webdataset")
_PART = re.compile(r"(?:#(?:first|per-class)=[0-9,]+)+\Z")
_FIRST = re.compile(r"#first=([0-9]+)")


def command(name: str, *words: object) -> str:
    """Return a command with its words, quoted for a shell."""
    return shlex.join(["featx", name, *map(str, words)])


def source_words(store: FeatureStore) -> list[str]:
    """Return what names the source of a store, and arranges it, on the command line; SOURCE for one in memory.

    The cache that the store is in is named, too, where it is another than the usual one.
    """
    identity = str(store.source.get("identity", ""))
    kind, _, rest = identity.partition(":")
    part = _PART.search(rest)
    whole = rest[: part.start()] if part else rest
    is_named = kind in _BY_NAME and "#image=" not in whole  # for which there is no word
    words = [whole if kind in _ON_DISK else f"{kind}:{whole}" if is_named else "SOURCE"]
    words += option_words(store.source.get("arranged", {}))
    limits = _FIRST.findall(part[0]) if part else []
    words += ["--limit", min(limits, key=int)] if limits else []
    cache = store.path.parent
    return words + (["--cache", str(cache)] if cache.resolve() != cache_folder().resolve() else [])


def network_words(store: FeatureStore, *, views: bool = True) -> list[str]:
    """Return what makes the same network, with the same preprocessing, on the command line; BACKBONE for an object.

    Without `views` it is shown plain images alone.
    """
    spec = store.spec
    changes = {
        name: ",".join(map(str, value)) if isinstance(value, list) else value
        for name, value in store.backbone.get("changes", {}).items()
    }
    settings = {
        "backbone": store.backbone.get("name") if store.backbone.get("reloadable") else "BACKBONE",
        "weights": store.backbone.get("weights"),
        **changes,
        "dtype": spec.dtype if spec.dtype != "float32" else None,
        "precision": spec.precision if spec.precision != "fp32" else None,
    }
    if views and spec.views > 1:
        settings |= {"views": spec.views, "augment": spec.augment, "augment_seed": spec.augment_seed or None}
    return option_words(settings)


def option_words(settings: Mapping[str, Any]) -> list[str]:
    """Return settings as options; those that are None are left out, lists of pairs are repeated."""
    words = []
    for name, value in settings.items():
        option = f"--{name.replace('_', '-')}"
        if isinstance(value, list):
            words += [word for left, right in value for word in (option, f"{left}={right}")]
        elif value is True:
            words.append(option)
        elif value is not None:
            words += [option, str(value)]
    return words
