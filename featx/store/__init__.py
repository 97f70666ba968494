"""The feature store: the only code that knows HDF5.

:func:`write_store` makes a file, :func:`open_store` reads it, and a :class:`Workspace` keeps what an
extraction has done so far. ``docs/format.md`` describes what is on the disk.
"""

from featx.store._folder import cache_folder, find_store, list_stores, store_path, workspace_folder
from featx.store._format import FORMAT_NAME, FORMAT_VERSION
from featx.store._parts import Part, Workspace
from featx.store._reader import FeatureStore, open_store
from featx.store._table import SampleTable
from featx.store._writer import write_store

__all__ = [
    "FORMAT_NAME",
    "FORMAT_VERSION",
    "FeatureStore",
    "Part",
    "SampleTable",
    "Workspace",
    "cache_folder",
    "find_store",
    "list_stores",
    "open_store",
    "store_path",
    "workspace_folder",
    "write_store",
]
