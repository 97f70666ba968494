"""Names and versions of what featx writes to disk, and nothing else. ``docs/format.md`` says what they mean.

To bump the format
------------------
Readers refuse names they do not know, so every change to a store that an older featx could not read, a new
element included, is a new version:

1. Raise :data:`FORMAT_VERSION` by one, and write the reason in ``CHANGES.md`` and ``docs/format.md``.
2. Run ``scripts/make_archives``, which freezes tiny stores of the new version under ``tests/data/archives/vN/``; those
   of older versions stay as they are.
3. Keep the old reader: `_audit` holds one table of elements per version, and a store of any version down to 1
   opens as the same :class:`~featx.store.FeatureStore`. A test opens every frozen store.
4. An older featx meets the new number and says "upgrade featx"; it reads nothing else of the file.

Parts are thrown away once they are joined, so :data:`PART_VERSION` needs no old readers: parts of another
version count as damaged, and are computed again.
"""

from collections.abc import Iterable, Sequence
from typing import Literal

FORMAT_NAME = "featx-store"
FORMAT_VERSION = 3
"""The newest that is read. Stores are written in the oldest that can say what they hold, see :func:`version_of`."""

# Attributes of the root group.
ATTRIBUTE_FORMAT = "format"
ATTRIBUTE_VERSION = "format_version"
ATTRIBUTE_CHECKSUM = "checksum"  # SHA-256 of the text of CHECKSUMS: the identity of the store's contents

# Attributes of datasets.
ATTRIBUTE_TYPE = "type"  # on each: its Kind
ATTRIBUTE_AXES = "axes"  # on FEATURES
ATTRIBUTE_DIGEST = "digest"  # on SPEC
ATTRIBUTE_ENCODING = "encoding"  # on each of kind "text"

TEXT_ENCODING = "utf-8 surrogateescape"

FEATURES = "features"
KEY = "key"
LABEL = "label"
CLASSES = "classes"
SPLIT = "split"
DIGEST = "digest"
SIZE = "size"
MTIME_NS = "mtime_ns"
INODE = "inode"
FAILED_KEY = "failed_key"
FAILED_REASON = "failed_reason"
SPEC = "spec"
SOURCE = "source"
BACKBONE = "backbone"
CREATION = "creation"
CHECKSUMS = "checksums"
GROUP = "group"
INDICATOR = "indicator"
TARGET = "target"
TARGET_NAME = "target_name"

Kind = Literal["features", "int64", "int8", "float64", "text", "json"]

ELEMENTS: dict[str, Kind] = {
    FEATURES: "features",
    KEY: "text",
    LABEL: "int64",
    SPLIT: "text",
    DIGEST: "text",
    SIZE: "int64",
    MTIME_NS: "int64",
    INODE: "int64",
    CLASSES: "text",
    FAILED_KEY: "text",
    FAILED_REASON: "text",
    SPEC: "json",
    SOURCE: "json",
    BACKBONE: "json",
    CREATION: "json",
    CHECKSUMS: "json",
}
"""Every dataset that a store must have, in the order they are written."""

OPTIONAL: dict[str, Kind] = {
    GROUP: "text",
    INDICATOR: "int8",
    TARGET: "float64",
    TARGET_NAME: "text",
}
"""Those that a store of version 2 or later may have besides, in the order they are written, before CHECKSUMS."""

KINDS: dict[str, Kind] = {**ELEMENTS, **OPTIONAL}
"""All of them."""

ROW_ELEMENTS = (FEATURES, KEY, LABEL, SPLIT, DIGEST, SIZE, MTIME_NS, INODE, GROUP, INDICATOR, TARGET)
"""Those with one entry for each row, in the same order."""


def known_names(version: int) -> dict[str, Kind]:
    """Return the datasets that a store of a version may have."""
    return ELEMENTS if version == 1 else KINDS


def version_of(names: Iterable[str], *, virtual: bool = False) -> int:
    """Return the oldest version whose stores may have datasets of these names, and perhaps virtual features."""
    if virtual:
        return VIRTUAL_VERSION
    return 1 if ELEMENTS.keys() >= set(names) else 2


def has_views(views: int, shape: Sequence[int], axes: str) -> bool:
    """Return whether features of a shape have an axis of so many views, or of one view none."""
    return (axes[1:2] == "V") == (views > 1) and (views == 1 or shape[1] == views)


PAGE = 4096
"""Bytes; `features` of at least this size begin at a multiple of it."""

VIRTUAL_VERSION = 3
"""The first whose features may lie in shards."""

MOST_SHARDS = 256
"""Files that the features of one store may lie in."""

SHARD_NAME = "{number:04d}-{checksum}.h5"
SHARD_PATTERN = r"\d{4}-[0-9a-f]{8}\.h5"

LONGEST_REASON = 1000
"""Characters of a failure's reason that are kept."""

PART_FORMAT = "featx-part"
PART_VERSION = 2
MANIFEST_NAME = "manifest.json"
PART_NAME = "part-{start:012d}-{stop:012d}.npz"
PART_PATTERN = r"part-(\d{12})-(\d{12})\.npz"
