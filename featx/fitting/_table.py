"""From stores to the arrays a head is fitted on: joined by key, with labels, splits and content digests."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.errors import ParameterError
from featx.spec import ExtractionSpec
from featx.store import CompressedFeatures, FeatureStore

__all__ = ["Table", "join_stores"]


@dataclass(frozen=True, eq=False)
class Table:
    """The rows that all of some stores have.

    Parameters
    ----------
    features : ndarray of shape (n, ...)
        One store's as they are (memory-mapped), several stores' side by side.
    labels : ndarray of shape (n,) and dtype int64
        Indices into `classes`; -1 where a sample has no label.
    classes : tuple of str
    splits : ndarray of shape (n,) of str
        Empty where a sample belongs to no split.
    groups : ndarray of shape (n,) of str
        Content digests: equal for the same image, whatever it is called.
    keys : tuple of str
    specs : tuple of ExtractionSpec
        One for each store.
    left_out : int
        Samples that only some of the stores have.
    """

    features: npt.NDArray[Any] | CompressedFeatures
    labels: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    splits: npt.NDArray[np.str_]
    groups: npt.NDArray[np.str_]
    keys: tuple[str, ...]
    specs: tuple[ExtractionSpec, ...]
    left_out: int = 0


def join_stores(stores: Sequence[FeatureStore]) -> Table:
    """Join stores of the same samples by key, in the order of the first.

    Raises
    ------
    ParameterError
        If there is no store, two have the same spec, or they disagree about classes, or about a sample's label,
        split or content.
    """
    if not stores:
        raise ParameterError("stores must name at least one store; got none")
    first = stores[0]
    specs = tuple(store.spec for store in stores)
    if len({spec.digest for spec in specs}) < len(specs):
        raise ParameterError("stores that are joined must have different specs; two of these have the same")
    if len(stores) == 1:
        return Table(
            first.features,
            first.labels,
            first.classes,
            np.array(first.splits, dtype=np.str_),
            np.array(first.digests, dtype=np.str_),
            first.keys,
            specs,
        )
    row_of = [{key: row for row, key in enumerate(store.keys)} for store in stores]
    keys = [key for key in first.keys if all(key in rows for rows in row_of)]
    if not keys:
        raise ParameterError(
            f"stores that are joined must hold the same samples; {stores[0].path.name} and"
            f" {stores[1].path.name} have no key in common"
        )
    rows = [np.array([rows[key] for key in keys], dtype=np.int64) for rows in row_of]
    for store, mine in zip(stores[1:], rows[1:], strict=True):
        for what, equal in _agreement(first, rows[0], store, mine):
            if not equal:
                raise ParameterError(
                    f"stores that are joined must agree about {what}; {store.path.name} and {first.path.name} do not:"
                    " extract both from the source as it is now"
                )
    return Table(
        np.hstack([_vectors(store)[mine] for store, mine in zip(stores, rows, strict=True)]),
        first.labels[rows[0]],
        first.classes,
        np.array(first.splits, dtype=np.str_)[rows[0]],
        np.array(first.digests, dtype=np.str_)[rows[0]],
        tuple(keys),
        specs,
        left_out=len(set().union(*(store.keys for store in stores))) - len(keys),
    )


def _agreement(
    a: FeatureStore, rows_a: npt.NDArray[np.int64], b: FeatureStore, rows_b: npt.NDArray[np.int64]
) -> Iterator[tuple[str, bool]]:
    """Yield, of all that the rows of two stores must have in common, what it is and whether they do."""
    yield "classes", a.classes == b.classes
    yield "the samples' labels", np.array_equal(a.labels[rows_a], b.labels[rows_b])
    for what, mine, theirs in (("splits", a.splits, b.splits), ("content", a.digests, b.digests)):
        yield f"the samples' {what}", [mine[i] for i in rows_a] == [theirs[i] for i in rows_b]


def _vectors(store: FeatureStore) -> npt.NDArray[Any] | CompressedFeatures:
    if store.features.ndim != 2:
        raise ParameterError(
            f"stores that are joined must hold vectors; {store.path.name} holds {store.axes} maps of shape"
            f" {store.features.shape[1:]}: extract it with a pooling"
        )
    return store.features
