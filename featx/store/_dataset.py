"""Rows of a store as a data set for torch, which is not imported for it."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from featx.store._reader import FeatureStore

__all__ = ["FeatureDataset"]

Array = npt.NDArray[Any]


class FeatureDataset:
    """Rows of a store and their labels, as ``torch.utils.data.DataLoader`` takes them; made by `FeatureStore.dataset`.

    Each item is the features of a row (an ndarray of its own that may be written to, or what `transform` makes of
    it) and what is to be learned of it: by the store's task its label (an int; -1 for none), a bool ndarray of shape
    (k,) of the classes it is of, or a float64 ndarray of shape (t,). Rows of which it is not known are left out by
    ``store.dataset(rows=np.flatnonzero(store.labelled))``. Workers, forked or spawned, map the file themselves, and
    read on from the store that was opened when another file takes its place.

    Attributes
    ----------
    store : FeatureStore
        What is read.
    rows : ndarray of int64, shape (m,)
        Its rows, in the order of the data set.
    transform : callable or None
        What is done to the features of each row.
    """

    def __init__(
        self, store: "FeatureStore", rows: npt.NDArray[np.int64], transform: Callable[[Array], Any] | None
    ) -> None:
        self.store = store
        self.rows = rows
        self.transform = transform

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[Any, Any]]:
        """Return several items, whose features are fetched at once."""
        rows = self.rows[np.asarray(indices, dtype=np.int64)]
        order = np.argsort(rows, kind="stable")  # as they lie in the file
        features = np.empty((len(rows), *self.store.features.shape[1:]), self.store.features.dtype)
        features[order] = self.store.features[rows[order]]
        transformed = features if self.transform is None else map(self.transform, features)
        return list(zip(transformed, self._targets(rows), strict=True))

    def _targets(self, rows: npt.NDArray[np.int64]) -> Sequence[Any]:
        if self.store.targets is not None:
            return list(self.store.targets[rows])
        if self.store.multilabels is not None:
            return list(self.store.multilabels[rows])
        labels: list[int] = self.store.labels[rows].tolist()
        return labels
