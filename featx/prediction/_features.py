"""Features to answer for: what they are of, and what there are none of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.errors import ParameterError
from featx.fitting import Run
from featx.spec import require_same_spec
from featx.store import FeatureStore

__all__ = ["Found", "found_in_array", "found_in_stores"]


@dataclass(frozen=True, eq=False)
class Found:
    """Features of some samples, and why there are none of the others.

    Parameters
    ----------
    keys : tuple of str
        Of all samples.
    features : ndarray of shape (m, ...)
    rows : ndarray of shape (m,) and dtype int64
        Which samples they are of, ascending.
    failures : mapping of int to str
        For each other sample, the reason.
    views : bool
        Whether the second axis of the features holds views of each sample.
    """

    keys: tuple[str, ...]
    features: npt.NDArray[Any]
    rows: npt.NDArray[np.int64]
    failures: Mapping[int, str]
    views: bool = False


def found_in_array(run: Run, features: npt.NDArray[Any]) -> Found:
    """Return rows of features with made-up keys."""
    if not features.ndim:
        raise ParameterError(f"features must be an array with a row for each image; got {features!r}")
    keys = tuple(f"features[{row}]" for row in range(len(features)))
    return Found(keys, features, np.arange(len(features)), {}, views=run.specs[0].views > 1)


def found_in_stores(run: Run, stores: Sequence[FeatureStore]) -> Found:
    """Return the features of the first store's samples; of several stores joined by key.

    Raises
    ------
    ParameterError
        If the head was fitted on another number of stores.
    SpecMismatchError
        If the features are not of the spec that the head was trained on, naming each field that differs.
    """
    if len(stores) != len(run.specs):
        raise ParameterError(
            f"stores must be as many as the head was fitted on, {len(run.specs)}; got {len(stores)}: give one for each"
            " spec, in their order"
        )
    for spec, store in zip(run.specs, stores, strict=True):
        require_same_spec(spec, store.spec, what=f"store {store.path.name}")
    first, *others = stores
    views = run.specs[0].views > 1
    if not others:
        return Found(first.keys, first.features[:], np.arange(len(first)), {}, views)
    failures: dict[int, str] = {}
    places = []
    for store in others:
        place_of = dict(zip(store.keys, range(len(store)), strict=True))
        place = np.array([place_of.get(key, -1) for key in first.keys], dtype=np.int64)
        for row in np.flatnonzero(place < 0).tolist():
            failures[row] = f"store {store.path.name} does not hold it"
        for row in np.flatnonzero(place >= 0).tolist():
            if store.digests[place[row]] != first.digests[row]:
                failures[row] = f"store {store.path.name} holds another image of that name"
        places.append(place)
    rows = np.array([row for row in range(len(first)) if row not in failures], dtype=np.int64)
    columns = [store.features[place[rows]] for store, place in zip(others, places, strict=True)]
    return Found(first.keys, np.concatenate([first.features[rows], *columns], axis=-1), rows, failures, views)
