"""Some rows of a store embedded again, and held against what is stored."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featx.caching._reopen import reopen_source
from featx.errors import BackboneError, ParameterError, SampleError, SpecMismatchError
from featx.extraction import Batch, default_batch_size, default_workers, extract_batches
from featx.sources import Source, content_digest
from featx.spec import ExtractionSpec
from featx.store import IMPORTED, FeatureStore, find_store

if TYPE_CHECKING:
    from featx.extraction import Engine

__all__ = ["RecomputeReport", "RowDrift", "Tolerance", "recompute", "tolerance_for"]

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far a row that is computed again may be from the stored one.

    Parameters
    ----------
    relative : float
        Largest difference, as a fraction of the row's largest absolute value.
    cosine : float
        Smallest cosine of the angle between the two.
    """

    relative: float
    cosine: float


@dataclass(frozen=True, slots=True)
class RowDrift:
    """A row that is not what the network gives now.

    Parameters
    ----------
    row : int
    key : str
        Of the sample.
    absolute, relative, cosine : float or None
        As in :class:`RecomputeReport`; None where there are no two finite rows to compare.
    reason : str or None
        Why there are not.
    """

    row: int
    key: str
    absolute: float | None = None
    relative: float | None = None
    cosine: float | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class RecomputeReport:
    """What :func:`recompute` found.

    Parameters
    ----------
    path : Path
        The store.
    device : str
        Where the network ran.
    tolerance : Tolerance
        What was allowed.
    checked : int
        Rows that were held against what the network gives now.
    skipped : tuple of (str, str)
        Key and reason of each row that could not be: its image has changed or is gone since.
    drifted : tuple of RowDrift
        The rows out of tolerance, ascending.
    max_absolute : float or None
        Largest absolute difference between two numbers; None where no rows were compared.
    max_relative : float or None
        Largest difference of a row, as a fraction of the largest absolute value in it, stored or computed.
    min_cosine : float or None
        Smallest cosine of the angle between a stored and a computed row.
    """

    path: Path
    device: str
    tolerance: Tolerance
    checked: int = 0
    skipped: tuple[tuple[str, str], ...] = ()
    drifted: tuple[RowDrift, ...] = ()
    max_absolute: float | None = None
    max_relative: float | None = None
    min_cosine: float | None = None

    @property
    def ok(self) -> bool:
        """Whether no row is out of tolerance; rows that were skipped are not."""
        return not self.drifted


def tolerance_for(spec: ExtractionSpec) -> Tolerance:
    """Return how far rows may be apart that were computed in other batches, or on another machine."""
    if spec.precision != "fp32":
        return Tolerance(relative=2e-2, cosine=1 - 1e-3)
    return Tolerance(relative=2e-3 if spec.dtype == "float16" else 1e-3, cosine=1 - 1e-5)


def recompute(
    store: str | os.PathLike[str] | FeatureStore,
    n: int,
    *,
    seed: int = 0,
    device: str = "auto",
    workers: int | None = None,
) -> RecomputeReport:
    """Embed random rows of a store again, and compare.

    The source is opened again where the store says it was, and a row counts only if its image still has the
    bytes that it had. Memory does not grow with `n`.

    Parameters
    ----------
    store : path, str or FeatureStore
        As :func:`featx.find_store` takes it.
    n : int
        How many rows; all of them if there are no more.
    seed : int
        Of the choice: the same one takes the same rows.
    device : {"auto", "cpu", "cuda", "cuda:N"}
        Where the network runs.
    workers : int, optional
        Decoding threads; by default one for each processor.

    Returns
    -------
    RecomputeReport

    Raises
    ------
    SourceError
        If the source cannot be opened again.
    BackboneError
        If the network cannot be loaded again.
    SpecMismatchError
        If it is not the one that made the features, such as one with other weights.
    """
    for parameter, value, least in (("n", n, 1), ("seed", seed, 0), ("workers", workers, 1)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
            raise ParameterError(f"{parameter} must be a whole number of at least {least}; got {value!r}")
    store = find_store(store)
    _require_network(store)
    source = reopen_source(store)
    from featx.extraction import load_engine, reload_backbone, resolve_device

    device = resolve_device(device)
    backbone, output = reload_backbone(store.spec, store.backbone)
    if lines := store.spec.differences(output.spec):
        raise SpecMismatchError(
            f"backbone {backbone.name} as it is loaded here differs from what made {store.path} in"
            f" {'; '.join(lines)} (stored against here): bring back what made it, or extract again"
        )
    engine = load_engine("torch", backbone, [output], device=device)
    rows = np.sort(np.random.default_rng(seed).choice(len(store), min(n, len(store)), replace=False)).tolist()
    return _Comparison(store, source, engine).run(rows, workers=workers or default_workers())


def _require_network(store: FeatureStore) -> None:
    """Raise BackboneError for features whose network featx cannot load again."""
    if store.spec.backbone.startswith(f"{IMPORTED}:"):
        raise BackboneError(
            f"the features of {store.path} were imported as {store.spec.backbone.partition(':')[2]!r}, whose"
            " network featx does not have, so they cannot be computed again: compare with what made them"
        )
    if not store.backbone.get("reloadable", True):
        raise BackboneError(
            f"backbone {store.backbone.get('name')} of {store.path} was given as a network, which a store does not"
            " hold, so its features cannot be computed again: extract with the name of a factory, MODULE:FUNCTION"
        )
    if "name" not in store.backbone or "weights" not in store.backbone:
        raise BackboneError(
            f"{store.path} does not say how its backbone {store.spec.backbone} is loaded, so its features cannot be"
            " computed again: extract with this featx"
        )


class _Comparison:
    """Stored rows against computed ones, and what is known of them so far."""

    def __init__(self, store: FeatureStore, source: Source, engine: "Engine") -> None:
        self._store = store
        self._source = source
        self._engine = engine
        self._tolerance = tolerance_for(store.spec)
        self._checked = 0
        self._skipped: list[tuple[int, str]] = []
        self._drifted: list[RowDrift] = []
        self._figures = np.empty((0, 3))  # the worst so far: absolute, relative, cosine

    def run(self, rows: list[int], *, workers: int) -> RecomputeReport:
        """Compare some rows."""
        index = {sample.key: i for i, sample in enumerate(self._source.samples)}
        keys, digests = self._store.keys, self._store.digests
        there = [row for row in rows if keys[row] in index]
        self._skipped += [
            (row, "its source has no image of that name any more") for row in rows if keys[row] not in index
        ]
        order = [index[keys[row]] for row in there]
        batches = extract_batches(
            self._source,
            order,
            [(0, len(order))],
            self._engine,
            self._store.spec,
            batch_size=default_batch_size(self._engine.name, self._engine.device),
            workers=workers,
        )
        waiting = Counter(digests[row] for row in there)
        held: dict[str, Array] = {}
        """What came out of the network for contents that more rows are waiting for."""
        for batch in batches:
            again = []
            for position, digest, features in _with_features(batch, held):
                row = there[position]
                if digest == digests[row] and features is not None:
                    again.append((row, features))
                else:
                    self._skipped.append((row, "its image has changed since"))
            for position, reason in batch.failures:
                self._failed(there[position], order[position], reason)
            self._compare(again)
            waiting.subtract(digests[row] for row in there[batch.start : batch.stop])
            held = {digest: features for digest, features in held.items() if waiting[digest] > 0}
        absolute, relative, cosine = self._figures.tolist()[0] if len(self._figures) else (None, None, None)
        return RecomputeReport(
            self._store.path,
            self._engine.device,
            self._tolerance,
            self._checked,
            tuple((keys[row], reason) for row, reason in sorted(self._skipped)),
            tuple(sorted(self._drifted, key=lambda drift: drift.row)),
            absolute,
            relative,
            cosine,
        )

    def _failed(self, row: int, place: int, reason: str) -> None:
        """Take a sample that gives no features now: skipped if it has changed, else its row is out of tolerance."""
        try:
            digest = content_digest(self._source.read(place))
        except SampleError:
            digest = None
        if digest == self._store.digests[row]:
            self._checked += 1
            self._drifted.append(RowDrift(row, self._store.keys[row], reason=f"it has no features now: {reason}"))
        elif digest is None:
            self._skipped.append((row, f"its image cannot be read now: {reason}"))
        else:
            self._skipped.append((row, f"its image has changed since: {reason}"))

    def _compare(self, again: list[tuple[int, Array]]) -> None:
        """Hold computed rows against the stored ones."""
        if not again:
            return
        rows = np.array([row for row, _ in again], dtype=np.int64)
        stored = self._store.features[rows].reshape(len(rows), -1)
        computed = np.stack([features for _, features in again]).reshape(len(rows), -1)
        self._checked += len(rows)
        worst = list(self._figures)
        for row, a, b in zip(rows.tolist(), stored, computed, strict=True):
            key = self._store.keys[row]
            if not np.isfinite(a).all():
                self._drifted.append(RowDrift(row, key, reason="it holds numbers that are not finite"))
                continue
            figures = absolute, relative, cosine = _distance(a.astype(np.float64), b.astype(np.float64))
            worst.append(np.array(figures))
            if relative > self._tolerance.relative or cosine < self._tolerance.cosine:
                self._drifted.append(RowDrift(row, key, absolute, relative, cosine))
        if worst:
            all_ = np.stack(worst)
            self._figures = np.array([[*all_[:, :2].max(axis=0), all_[:, 2].min()]])


def _with_features(batch: Batch, held: dict[str, Array]) -> Iterator[tuple[int, str, Array | None]]:
    """Yield position, digest and features of each sample of a batch; the fresh ones are added to `held`.

    Of a content that no row was waiting for when it was computed, there are none.
    """
    starts = (batch.fresh.cumsum() - batch.fresh).tolist()
    samples = zip(batch.rows.tolist(), batch.digests, starts, batch.fresh.tolist(), strict=True)
    for position, digest, start, views in samples:
        if views:
            held[digest] = np.array(
                batch.features[0][start : start + views]
            )  # its own, so that it holds no whole batch
        yield position, digest, held.get(digest)


def _distance(a: Array, b: Array) -> tuple[float, float, float]:
    """Return the largest absolute difference, that relative to the largest value, and the cosine, of finite rows."""
    absolute = float(np.abs(a - b).max())
    largest = float(max(np.abs(a).max(), np.abs(b).max()))
    if largest == 0:
        return 0.0, 0.0, 1.0
    a, b = a / largest, b / largest  # so that no square is beyond float64, or lost
    lengths = float(np.sqrt(a @ a) * np.sqrt(b @ b))
    cosine = float(a @ b) / lengths if lengths > 0 and isfinite(lengths) else 0.0
    return absolute, absolute / largest, cosine
