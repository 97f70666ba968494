"""The samples of a store as a page shows them: in words, and with their images."""

from collections.abc import Iterable, Sequence
from typing import Any

from featx.labels import label_words
from featx.reports._album import Album
from featx.sources import Source
from featx.store import FeatureStore

__all__ = ["Roll"]

_SIDE = 128


class Roll:
    """The samples of a store.

    Parameters
    ----------
    store : FeatureStore
    images : bool
        Whether images are shown.
    source : Source, optional
        Where they are, if not where they were.

    Attributes
    ----------
    labels : list of Label or None
        Of the samples.
    problem : str
        Why there are no images; else empty.
    """

    def __init__(self, store: FeatureStore, *, images: bool = True, source: Source | None = None) -> None:
        self._store = store
        self._album = Album(store, source) if images else None
        self._found: dict[int, str | None] = {}
        self.labels = list(store.samples.named_labels())
        self.problem = "Images were left out on request."
        if self._album is not None:
            self.problem = "" if self._album.problem is None else f"No images are shown: {self._album.problem}."

    def lines(self, row: int) -> list[str]:
        """Return label and split of a sample, as far as it has them, and its key."""
        label = self.labels[row]
        words = [] if label is None else [label_words(label)]
        return [*words, *filter(None, [self._store.splits[row]]), self._store.keys[row]]

    def items(self, samples: Iterable[tuple[int, Sequence[str]]]) -> list[dict[str, Any]]:
        """Return samples, given by row and lines of text, as ``parts.samples`` takes them."""
        listed = list(samples)
        missing = [row for row, _ in listed if row not in self._found]
        found = {} if self.problem or self._album is None else self._album.thumbnails(missing, side=_SIDE)
        self._found |= {row: found.get(row) for row in missing}
        return [{"src": self._found[row], "alt": self._store.keys[row], "lines": lines} for row, lines in listed]

    def small(self, rows: Sequence[int], side: int) -> list[str | None]:
        """Return addresses of small images, None where there is none."""
        found = {} if self.problem or self._album is None else self._album.thumbnails(rows, side=side)
        return [found.get(row) for row in rows]
