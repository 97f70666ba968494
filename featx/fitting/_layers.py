"""Stores that are layers of one network over the same samples, and how heads on each of them do."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from featx.errors import HeadError, ParameterError, StoreError
from featx.evaluation import Figure
from featx.fitting._contest import Contest
from featx.fitting._ground import Ground, RowChoice
from featx.fitting._sweep import TRIALS, sweep_folder
from featx.fitting._trials import Setting, TrialFile
from featx.store import FeatureStore, list_stores, open_store

__all__ = ["LayerFigures", "depth_of", "judge_layer", "require_one_family", "require_vectors", "stores_beside"]


@dataclass(frozen=True)
class LayerFigures:
    """How heads on a layer's features do, by cross-validation on the training rows.

    Attributes
    ----------
    store : Path
    layer : str
    pool : str
    depth : float
        Share of the network that is computed by then.
    width : int
        Numbers for each image.
    linear, neighbors : Figure
        Accuracy of logistic regression and of the nearest neighbours, with their 95 % intervals.
    values : tuple of float
        Logistic regression's accuracy on each fold; the folds are the same for all layers.
    """

    store: Path
    layer: str
    pool: str
    depth: float
    width: int
    linear: Figure
    neighbors: Figure
    values: tuple[float, ...]


def require_vectors(stores: Sequence[FeatureStore]) -> None:
    """Raise ParameterError unless stores hold vectors, and classes."""
    for store in stores:
        if store.task != "classification":
            raise ParameterError(
                f"advice is on classes, and {store.path.name} has {store.task} targets: fit and compare heads instead"
            )
        if not _is_vectors(store):
            raise ParameterError(
                f"advice is on vectors, and {store.path.name} has maps ({store.axes}): extract with --pool avg"
            )


def _is_vectors(store: FeatureStore) -> bool:
    return store.axes in ("NC", "NVC")


def stores_beside(store: FeatureStore) -> tuple[list[FeatureStore], list[str]]:
    """Return a store with those of other layers that lie beside it, and why some of these cannot be compared."""
    found, left_out = [store], []
    identity = store.source.get("identity")
    for path in list_stores(store.path.parent):
        try:
            other = open_store(path)
        except StoreError:
            continue
        is_no_sibling = other.spec.digest == store.spec.digest or other.source.get("identity") != identity
        if identity is None or is_no_sibling or _difference(store, other) or not _is_vectors(other):
            continue
        if _samples(other) == _samples(store):
            found.append(other)
        else:
            left_out.append(f"{path} is left out: it has other samples, labels or splits; extract it again as this one")
    return found, left_out


def require_one_family(stores: Sequence[FeatureStore]) -> None:
    """Raise ParameterError unless stores are different layers of one network over the same samples."""
    first, seen = stores[0], {stores[0].spec.digest}
    for store in stores[1:]:
        if different := _difference(first, store):
            raise ParameterError(
                f"stores to advise on must be of one network; {store.path.name} and {first.path.name} differ in"
                f" {different}: give those of its layers"
            )
        if store.spec.digest in seen or _samples(store) != _samples(first):
            raise ParameterError(
                f"stores to advise on must be different layers of the same samples; {store.path.name} and"
                f" {first.path.name} are not: extract both from the source as it is now"
            )
        seen.add(store.spec.digest)


def _difference(a: FeatureStore, b: FeatureStore) -> str:
    """Return in what the networks of two stores differ, but for the layer and how it is kept."""
    other = replace(b.spec, layer=a.spec.layer, pool=a.spec.pool, dtype=a.spec.dtype)
    return "; ".join(a.spec.differences(other))


def _samples(store: FeatureStore) -> tuple[Any, ...]:
    return store.keys, store.classes, store.labels.tolist(), store.splits, store.groups, store.digests


def depth_of(store: FeatureStore) -> float:
    """Return how much of the network is computed for the features of a store.

    Where it does not say (it may have been imported): all for what the classifier is given, half for others.
    """
    layer = store.spec.layer
    depth = store.backbone.get("depth", {}).get(layer, 1.0 if layer == "output" or layer.endswith(".input") else 0.5)
    return float(depth)


def judge_layer(store: FeatureStore, choice: RowChoice, folds: int, seed: int) -> LayerFigures:
    """Cross-validate two heads on the training rows of a store; the trials are kept as a sweep's are."""
    ground = Ground((store,), choice)
    contest = Contest(folds, (seed,), TrialFile(sweep_folder((store,), choice) / TRIALS))
    linear, neighbors = contest.judge(ground, [Setting("logistic", {}), Setting("knn", {})])
    if linear is None or neighbors is None:
        raise HeadError(f"{store.path.name}: {next(iter(contest.failures.values()))}")
    return LayerFigures(
        store=store.path,
        layer=store.spec.layer,
        pool=store.spec.pool,
        depth=depth_of(store),
        width=store.features.shape[-1],
        linear=linear.score,
        neighbors=neighbors.score,
        values=linear.values,
    )
