"""What there is to show: the stores of a cache and the runs of a folder, each by an id that is no part of a path."""

import hashlib
import os
from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from featx.errors import FeatxError
from featx.fitting import Entry, leaderboard
from featx.store import list_stores, open_store

__all__ = ["Listing", "RunItem", "StoreItem", "version_of"]


@dataclass(frozen=True)
class StoreItem:
    """A file of the cache.

    Attributes
    ----------
    id, path, bytes, modified
    status : str
        ``ok``, or what is wrong with the file.
    summary : dict
        As :meth:`FeatureStore.summary` has it; empty of a file that cannot be opened.
    """

    id: str
    path: Path
    bytes: int
    modified: float
    status: str = "ok"
    summary: dict[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class RunItem:
    """A run or a sweep; only runs have an id."""

    id: str | None
    entry: Entry


class Listing:
    """The stores of a cache and the runs of a folder.

    What a request names is looked up among the ids that were given out: nothing that comes from outside becomes a path.

    Parameters
    ----------
    cache, runs : Path
        Folders; they need not be there yet.
    """

    def __init__(self, cache: Path, runs: Path) -> None:
        self.cache = cache.absolute()
        self.runs_folder = runs.absolute()
        self._opened: dict[Hashable, tuple[str, dict[str, Any]]] = {}
        self._run_paths: dict[str, Path] = {}

    def stores(self) -> list[StoreItem]:
        """Return the stores, by name, those that cannot be opened among them."""
        items = []
        for path in list_stores(self.cache):
            try:
                facts = path.stat()
            except OSError:  # gone, since it was listed
                continue
            status, summary = self._summary(path)
            size = summary.get("bytes", facts.st_size)  # that of all shards
            items.append(StoreItem(_id_of(path), path, size, facts.st_mtime, status, summary))
        return items

    def runs(self) -> list[RunItem]:
        """Return runs and sweeps, the best first, the damaged ones last."""
        entries = leaderboard(self.runs_folder)
        items = [RunItem(_id_of(entry.path) if entry.kind == "run" else None, entry) for entry in entries]
        self._run_paths = {item.id: item.entry.path for item in items if item.id is not None}
        return items

    def store(self, wanted: str) -> Path | None:
        """Return the file of a store, by its id; None if there is none."""
        return next((path for path in list_stores(self.cache) if _id_of(path) == wanted), None)

    def run(self, wanted: str) -> Path | None:
        """Return the folder of a run, by its id; None if there is none."""
        path = self._run_paths.get(wanted)
        if path is None or not path.is_dir():  # not listed yet, or gone since
            self.runs()
        return self._run_paths.get(wanted)

    def _summary(self, path: Path) -> tuple[str, dict[str, Any]]:
        """Return status and facts of a store, which are read once for as long as the file is the same."""
        version = version_of(path)
        if version not in self._opened:
            try:
                self._opened[version] = "ok", open_store(path).summary()
            except FeatxError as error:
                self._opened[version] = str(error), {}
        return self._opened[version]


def version_of(path: Path) -> Hashable:
    """Return what changes when a file or folder is replaced: stores and runs always are."""
    try:
        facts = path.stat()
    except OSError:
        return path, None
    return path, facts.st_ino, facts.st_size, facts.st_mtime_ns


def _id_of(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
