"""The feature store: the only code that knows HDF5.

:func:`write_store` makes a file, :func:`open_store` reads it, :func:`verify_store` checks it, and a
:class:`Workspace` keeps what an extraction has done so far. ``docs/format.md`` describes what is on the disk.
"""

from featx.store._compressed import CompressedFeatures
from featx.store._dataset import FeatureDataset
from featx.store._export import EXPORT_SUFFIXES, ExportFormat, checked_rows, export_store
from featx.store._files import free_space, require_space
from featx.store._folder import GRAPHS, cache_folder, find_file, find_store, list_stores, store_path, workspace_folder
from featx.store._format import FORMAT_NAME, FORMAT_VERSION
from featx.store._import import IMPORTED, import_features
from featx.store._lazy import LazyArray
from featx.store._merge import merge_stores
from featx.store._parts import Part, Workspace
from featx.store._prune import PruneItem, plan_prune, prune
from featx.store._reader import FeatureStore, open_store
from featx.store._sharded import ShardedFeatures
from featx.store._shards import check_shards, rows_per_shard
from featx.store._table import SampleTable
from featx.store._verify import VerifyReport, verify_store
from featx.store._writer import write_store

__all__ = [
    "EXPORT_SUFFIXES",
    "FORMAT_NAME",
    "FORMAT_VERSION",
    "GRAPHS",
    "IMPORTED",
    "CompressedFeatures",
    "ExportFormat",
    "FeatureDataset",
    "FeatureStore",
    "LazyArray",
    "Part",
    "PruneItem",
    "SampleTable",
    "ShardedFeatures",
    "VerifyReport",
    "Workspace",
    "cache_folder",
    "check_shards",
    "checked_rows",
    "export_store",
    "find_file",
    "find_store",
    "free_space",
    "import_features",
    "list_stores",
    "merge_stores",
    "open_store",
    "plan_prune",
    "prune",
    "require_space",
    "rows_per_shard",
    "store_path",
    "verify_store",
    "workspace_folder",
    "write_store",
]
