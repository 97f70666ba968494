"""What a run was fitted on, as it is now: its stores, and the images behind them."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from featx.errors import FeatxError
from featx.fitting import Run
from featx.reports._album import Album
from featx.reports._samples import Sample
from featx.store import FeatureStore, find_store

__all__ = ["Origin", "Pictures", "origins_of"]


@dataclass(frozen=True)
class Origin:
    """A store that a run was fitted on.

    Attributes
    ----------
    name : str
    store : FeatureStore or None
        None if it is not there, or is another than it was.
    problem : str
        Why there is none; else empty.
    """

    name: str
    store: FeatureStore | None
    problem: str = ""


def origins_of(run: Run, cache: str | os.PathLike[str] | None = None) -> list[Origin]:
    """Find the stores of a run: where they were, else by the same file name, else by the same name, in the cache."""
    return [_origin(facts, cache) for facts in run.settings["stores"]]


def _origin(facts: dict[str, Any], cache: str | os.PathLike[str] | None) -> Origin:
    name, path = str(facts["name"]), str(facts["path"])
    problem = ""
    for place in (path, os.path.basename(path), name):
        try:
            store = find_store(place, cache)
        except (FeatxError, OSError):
            continue
        if store.checksum == facts["checksum"]:
            return Origin(name, store)
        problem = f"store {name} has changed since the head was fitted on it ({store.path})"
    return Origin(name, None, problem or f"store {name} is not there any more ({path})")


class Pictures:
    """The images of a run's samples, as far as they are at hand.

    Parameters
    ----------
    origins : sequence of Origin
        Of one run, or of several.
    images : bool
        Whether there are to be any.

    Attributes
    ----------
    problem : str
        Why there are none; else empty.
    """

    def __init__(self, origins: Sequence[Origin], *, images: bool = True) -> None:
        self._album: Album | None = None
        self._rows: dict[str, int] = {}
        self.problem = "Images were left out on request." if not images else ""
        stores = [origin.store for origin in origins if origin.store is not None]
        if images and not stores:
            self.problem = f"No images are shown: {origins[0].problem}."
        elif images:
            album = Album(stores[0])
            self._rows = {key: row for row, key in enumerate(stores[0].keys)}
            self._album = album if album.problem is None else None
            self.problem = "" if album.problem is None else f"No images are shown: {album.problem}."

    def of(self, samples: Sequence[Sample]) -> list[dict[str, Any]]:
        """Return samples as a page shows them: ``src`` (None without an image), ``alt``, ``lines``."""
        rows = {sample.key: self._rows[sample.key] for sample in samples if sample.key in self._rows}
        found = {} if self._album is None else self._album.thumbnails(rows.values(), side=128)
        return [
            {
                "src": found.get(rows.get(sample.key, -1)),
                "alt": f"{sample.key} ({'; '.join(sample.lines)})",
                "lines": [*sample.lines, sample.key],
            }
            for sample in samples
        ]
