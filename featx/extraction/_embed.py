"""Features of images at hand, in memory: for prediction, and for scikit-learn's pipelines."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.extraction._engine import Engine
from featx.extraction._loop import default_batch_size, default_workers, extract_batches
from featx.extraction._outputs import Output
from featx.sources import Source

__all__ = ["embed"]


def embed(
    source: Source,
    engine: Engine,
    outputs: Sequence[Output],
    *,
    batch_size: int | None = None,
    workers: int | None = None,
) -> tuple[tuple[npt.NDArray[Any], ...], npt.NDArray[np.int64], tuple[tuple[int, str], ...]]:
    """Return the features of all samples of a source, without a store.

    Parameters
    ----------
    source : Source
    engine : Engine
        Made for `outputs`.
    outputs : sequence of Output
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
    batch_size = batch_size or default_batch_size(engine.device)
    batches = list(
        extract_batches(
            source,
            range(len(source)),
            range(0, len(source), batch_size),
            engine,
            outputs[0].spec.preprocessing,
            batch_size=batch_size,
            workers=workers or default_workers(),
        )
    )
    features = tuple(
        np.concatenate(
            [
                np.empty((0, *output.shape), output.spec.dtype),
                *(batch.features[i] for batch in batches if batch.features),
            ]
        )
        for i, output in enumerate(outputs)
    )
    rows = np.concatenate([np.empty(0, dtype=np.int64), *(batch.rows for batch in batches)])
    return features, rows, tuple(failure for batch in batches for failure in batch.failures)
