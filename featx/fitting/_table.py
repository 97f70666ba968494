"""From stores to the arrays a head is fitted on: joined by key, with targets, splits and groups."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.errors import ParameterError
from featx.labels import Task
from featx.spec import ExtractionSpec
from featx.store import FeatureStore, LazyArray

__all__ = ["Table", "join_stores", "take"]

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Table:
    """The rows that all of some stores have.

    Parameters
    ----------
    features : ndarray of shape (n, ...)
        One store's as they are (memory-mapped), several stores' side by side.
    axes : str
        A letter for each axis, such as ``NC``; ``V`` is the axis of augmentation views.
    task : {"classification", "multilabel", "regression"}
    targets : ndarray
        What is to be learned: int64 (n,), -1 where a sample has no label; bool (n, k); or float64 (n, t).
    known : ndarray of shape (n,) and dtype bool
        Which samples have a label or a target.
    classes : tuple of str
        Names of the classes; for a regression of the targets.
    splits : ndarray of shape (n,) of str
        Empty where a sample belongs to no split.
    digests : ndarray of shape (n,) of str
        Equal for the same image, whatever it is called.
    groups : ndarray of shape (n,) of str
        Equal for what must not be torn apart: the same image, and the group that the source declares (a patient, a
        video), and all that these hold together.
    keys : tuple of str
    rows : ndarray of shape (n,) and dtype int64
        Where they are in the first store.
    specs : tuple of ExtractionSpec
        One for each store.
    left_out : int
        Samples that only some of the stores have.
    """

    features: npt.NDArray[Any] | LazyArray
    axes: str
    task: Task
    targets: npt.NDArray[Any]
    known: npt.NDArray[np.bool_]
    classes: tuple[str, ...]
    splits: npt.NDArray[np.str_]
    digests: npt.NDArray[np.str_]
    groups: npt.NDArray[np.str_]
    keys: tuple[str, ...]
    rows: Indices
    specs: tuple[ExtractionSpec, ...]
    left_out: int = 0

    @property
    def views(self) -> bool:
        """Whether the second axis holds augmentation views of each sample."""
        return self.axes[1:2] == "V"

    def __len__(self) -> int:
        return len(self.keys)


def take(features: npt.NDArray[Any] | LazyArray, rows: Indices) -> npt.NDArray[Any]:
    """Return some rows; a view of the memory map, not a copy, where they follow one another."""
    if len(rows) and rows[-1] - rows[0] == len(rows) - 1 and bool((np.diff(rows) == 1).all()):
        return features[int(rows[0]) : int(rows[-1]) + 1]
    return features[rows]


def join_stores(stores: Sequence[FeatureStore]) -> Table:
    """Join stores of the same samples by key, in the order of the first.

    Raises
    ------
    ParameterError
        If there is no store, two have the same spec, or they disagree about classes, or about a sample's label or
        target, split, group or content.
    """
    if not stores:
        raise ParameterError("stores must name at least one store; got none")
    first = stores[0]
    specs = tuple(store.spec for store in stores)
    if len({spec.digest for spec in specs}) < len(specs):
        raise ParameterError("stores that are joined must have different specs; two of these have the same")
    if len(stores) == 1:
        return _table(first, np.arange(len(first)), first.features, first.axes, specs)
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
    axes = _common_axes(stores)
    features = np.concatenate([store.features[mine] for store, mine in zip(stores, rows, strict=True)], axis=-1)
    left_out = len(set().union(*(store.keys for store in stores))) - len(keys)
    return _table(first, rows[0], features, axes, specs, left_out)


def _table(
    store: FeatureStore,
    rows: Indices,
    features: npt.NDArray[Any] | LazyArray,
    axes: str,
    specs: tuple[ExtractionSpec, ...],
    left_out: int = 0,
) -> Table:
    targets, known, classes = _targets(store)
    digests = np.array(store.digests, dtype=np.str_)[rows]
    return Table(
        features,
        axes,
        store.task,
        targets[rows],
        known[rows],
        classes,
        np.array(store.splits, dtype=np.str_)[rows],
        digests,
        _groups(digests, np.array(store.groups, dtype=np.str_)[rows]),
        tuple(store.keys[row] for row in rows.tolist()),
        rows,
        specs,
        left_out,
    )


def _targets(store: FeatureStore) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_], tuple[str, ...]]:
    """Return what is to be learned from a store, which rows have it, and the names of its columns or classes."""
    if store.targets is not None:
        return store.targets, store.labelled, store.target_names
    if store.multilabels is not None:
        return store.multilabels, store.labelled, store.classes
    return store.labels, store.labelled, store.classes


def _groups(digests: npt.NDArray[np.str_], declared: npt.NDArray[np.str_]) -> npt.NDArray[np.str_]:
    """Return one name for all rows that an image in common or a declared group holds together."""
    if not declared.size or not (declared != "").any():
        return digests
    n = len(digests)
    named = np.unique(declared, return_inverse=True)[1]
    memberships = [
        np.unique(digests, return_inverse=True)[1],
        np.where(declared == "", n + np.arange(n), named),  # a row without a group is one of its own
    ]
    root, before = np.arange(n), None
    while before is None or not np.array_equal(root, before):
        before = root
        for member in memberships:
            smallest = np.full(2 * n, n)
            np.minimum.at(smallest, member, root)
            root = smallest[member]
    return digests[root]


def _agreement(a: FeatureStore, rows_a: Indices, b: FeatureStore, rows_b: Indices) -> Iterator[tuple[str, bool]]:
    """Yield, of all that the rows of two stores must have in common, what it is and whether they do."""
    (targets_a, _, classes_a), (targets_b, _, classes_b) = _targets(a), _targets(b)
    yield "what is to be learned", a.task == b.task
    yield "classes", classes_a == classes_b
    yield "the samples' labels", np.array_equal(targets_a[rows_a], targets_b[rows_b], equal_nan=a.task == "regression")
    columns = ("splits", a.splits, b.splits), ("groups", a.groups, b.groups), ("content", a.digests, b.digests)
    for what, mine, theirs in columns:
        yield f"the samples' {what}", [mine[i] for i in rows_a] == [theirs[i] for i in rows_b]


def _common_axes(stores: Sequence[FeatureStore]) -> str:
    """Return the axes that all stores have, if they can be put side by side: vectors, or as many views of vectors."""
    first = stores[0]
    for store in stores:
        if store.axes not in ("NC", "NVC"):
            raise ParameterError(
                f"stores that are joined must hold vectors; {store.path.name} holds {store.axes} maps of shape"
                f" {store.features.shape[1:]}: extract it with a pooling"
            )
        mine, theirs = ((one.spec.views, one.spec.augment, one.spec.augment_seed) for one in (store, first))
        if mine != theirs:
            raise ParameterError(
                f"stores that are joined must have the same views; {store.path.name} and {first.path.name} do not:"
                " extract both with the same --views, --augment and --augment-seed"
            )
    return first.axes
