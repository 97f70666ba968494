"""Features of images at hand, in memory: for prediction, and for scikit-learn's pipelines."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featx.extraction._loop import Engine, default_batch_size, default_workers, extract_batches
from featx.sources import Source

if TYPE_CHECKING:
    from featx.extraction._outputs import Output

__all__ = ["embed"]


def embed(
    source: Source,
    engine: Engine,
    outputs: "Sequence[Output]",
    *,
    rows: Sequence[int] | npt.NDArray[np.int64] | None = None,
    batch_size: int | None = None,
    workers: int | None = None,
) -> tuple[tuple[npt.NDArray[Any], ...], npt.NDArray[np.int64], tuple[tuple[int, str], ...]]:
    """Return the features of samples of a source, without a store.

    Where the spec asks for several views, the second axis of the features has them.

    Parameters
    ----------
    source : Source
    engine : Engine
        Made for `outputs`.
    outputs : sequence of Output
    rows : sequence of int, optional
        Indices of the samples, ascending; by default all.
    batch_size, workers : int, optional
        By default what suits the device and the machine.

    Returns
    -------
    features : tuple of ndarray of shape (m, ...)
        One for each output.
    rows : ndarray of shape (m,) and dtype int64
        Indices of the samples that gave features, ascending.
    failures : tuple of (int, str)
        Index and reason of each of the others.
    """
    order = np.arange(len(source)) if rows is None else np.asarray(rows, dtype=np.int64)
    batch_size = batch_size or default_batch_size(engine.name, engine.device)
    batches = list(
        extract_batches(
            source,
            order.tolist(),
            [(0, len(order))],
            engine,
            outputs[0].spec,
            batch_size=batch_size,
            workers=workers or default_workers(),
        )
    )
    digests = [digest for batch in batches for digest in batch.digests]
    fresh = np.concatenate([np.empty(0, dtype=np.int64), *(batch.fresh for batch in batches)])
    place = {digests[row]: number for number, row in enumerate(np.flatnonzero(fresh).tolist())}
    places = np.array([place[digest] for digest in digests], dtype=np.int64)
    views = outputs[0].spec.views
    features = tuple(
        np.concatenate(
            [
                np.empty((0, *output.shape), output.spec.dtype),
                *(batch.features[i] for batch in batches if batch.features),
            ]
        ).reshape(len(place), *([views] if views > 1 else []), *output.shape)[places]
        for i, output in enumerate(outputs)
    )
    found = np.concatenate([np.empty(0, dtype=np.int64), *(batch.rows for batch in batches)])
    failures = ((int(order[position]), reason) for batch in batches for position, reason in batch.failures)
    return features, order[found], tuple(failures)
