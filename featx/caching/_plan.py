"""What an extraction would cost, from a short try."""

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from featx.caching._known import Known
from featx.caching._network import Network, NetworkSettings
from featx.caching._targets import Target, existing_store, known_digests, path_of
from featx.errors import ParameterError, SampleError
from featx.extraction import default_batch_size, default_workers, preprocess
from featx.sources import content_digest, decode_image, open_source
from featx.spec import DEFAULT_BACKBONE
from featx.store import cache_folder, free_space

if TYPE_CHECKING:
    from torch import nn

__all__ = ["ExtractionPlan", "plan"]

_SECONDS = 8.0
"""A try of the network ends after so long, however few images it had."""


@dataclass(frozen=True, slots=True)
class ExtractionPlan:
    """What an extraction would cost.

    Parameters
    ----------
    rows : int
        Samples of the source.
    unchanged : int
        Those that the older stores have seen as they are.
    to_read : int
        The others; those of them whose content is known need no more than reading.
    bytes : int
        Size of the finished features, of all layers.
    free_bytes, needed_bytes : int
        Room on the disk, and what the work takes of it at its height (parts and finished stores).
    tried : int
        Images of the short try.
    stages : dict of str to float
        Seconds of work for one image: ``read``, ``decode``, ``forward``, ``write``.
    seconds : float
        Estimated wall time; reading and decoding share the processors with a network that runs on them, and go on
        beside one that runs on a GPU.
    workers, batch_size : int
        Proposed.
    """

    rows: int
    unchanged: int
    to_read: int
    bytes: int
    free_bytes: int
    needed_bytes: int
    tried: int
    stages: dict[str, float]
    seconds: float
    workers: int
    batch_size: int


@contextmanager
def _clock(stages: dict[str, float], stage: str) -> Iterator[None]:
    """Add the seconds of a ``with`` block to a stage."""
    began = time.perf_counter()
    yield
    stages[stage] = stages.get(stage, 0.0) + time.perf_counter() - began


def plan(
    source: Any,
    backbone: "str | nn.Module" = DEFAULT_BACKBONE,
    *,
    layers: Sequence[str] = (),
    limit: int | None = None,
    cache: "str | os.PathLike[str] | None" = None,
    probe: int = 64,
    **settings: Unpack[NetworkSettings],
) -> ExtractionPlan:
    """Say what an extraction would cost, without doing it.

    Up to `probe` images, evenly spread over those that are not known, are read and decoded one by one, and sent
    through the network in batches of several sizes; nothing is kept.

    Parameters
    ----------
    source, backbone, limit, cache
        As :func:`extract` takes them.
    layers : sequence of str
        Names of nodes; empty for the default layer.
    probe : int
        How many images to try it with.
    **settings
        Those of :func:`extract` that decide the numbers: `weights`, `preprocessing`, `pool`, `image_size`, `resize`,
        `mean`, `std`, `dtype`, `device`, `precision`.

    Returns
    -------
    ExtractionPlan

    Raises
    ------
    SampleError
        If none of the images of the try can be used.
    """
    if probe < 1:
        raise ParameterError(f"probe must be at least 1; got {probe}")
    opened = open_source(source, limit=limit)
    folder = cache_folder(cache)
    network = Network(folder, backbone, layers=layers, **settings)
    wanted = network.resolved.wanted
    targets = []
    for one in wanted:
        path = path_of(one.spec, opened, name=None, cache=cache, out=None)
        old = existing_store(path, one.spec, opened.identity, named=None)
        targets.append(Target(one, path, old, Known([] if old is None else [old])))
    digests = known_digests(opened, targets)
    unknown = [i for i, digest in enumerate(digests) if any(digest not in target.known for target in targets)]
    row_bytes = sum(one.row_bytes for one in wanted)

    stages = {"read": 0.0, "decode": 0.0, "forward": 0.0, "write": 0.0}
    pixels, reason = [], ""
    chosen = sorted({unknown[i * len(unknown) // probe] for i in range(probe)}) if unknown else []
    for index in chosen:
        try:
            with _clock(stages, "read"):
                data = opened.read(index)
            with _clock(stages, "decode"):
                content_digest(data)
                pixels.append(preprocess(decode_image(data), wanted[0].spec.preprocessing))
        except SampleError as error:
            reason = str(error)
    if chosen and not pixels:
        raise SampleError(f"none of {len(chosen)} images could be used to try it ({reason}): look at the source")
    stages = {stage: seconds / max(1, len(pixels)) for stage, seconds in stages.items()}
    device = network.resolved.device
    workers, batch_size = default_workers(), default_batch_size(device)
    if pixels:
        batch_size, stages["forward"] = _try_network(network.engine("torch", wanted), np.stack(pixels), batch_size)
        stages["write"] = (
            2 * _try_disk(folder, row_bytes * len(pixels)) / len(pixels)
        )  # as a part, and in the finished store
    loading = stages["read"] + stages["decode"]
    if device == "cpu":
        each = stages["forward"] + loading / workers + stages["write"]
    else:
        each = max(stages["forward"], loading / workers) + stages["write"]
    return ExtractionPlan(
        rows=len(opened),
        unchanged=len(opened) - len(unknown),
        to_read=len(unknown),
        bytes=row_bytes * len(opened),
        free_bytes=free_space(folder),
        needed_bytes=row_bytes * (len(opened) + len(unknown)),
        tried=len(pixels),
        stages=stages,
        seconds=each * len(unknown),
        workers=workers,
        batch_size=batch_size,
    )


def _try_network(engine: Callable[[Any], Any], pixels: Any, default: int) -> tuple[int, float]:
    """Return the batch size with the least time for an image, and that time; the default one is tried first."""
    engine(pixels[: min(len(pixels), default)])  # the first batch of all loads the network
    best = default, float("inf")
    began = time.perf_counter()
    for size in (default, default // 2, default * 2, default // 4):
        batch = pixels[:size]
        if len(batch) < size and best[1] < float("inf"):
            continue  # too few images to fill it
        stages: dict[str, float] = {}
        with _clock(stages, "forward"):
            engine(batch)
        each = stages["forward"] / len(batch)
        if each < 0.97 * best[1]:
            best = size, each
        if time.perf_counter() - began > _SECONDS:
            break
    return best


def _try_disk(folder: Path, count: int) -> float:
    """Return the seconds it takes to write so many bytes where the store will be, for good."""
    place = next(parent for parent in (folder, *folder.absolute().parents) if parent.is_dir())
    stages: dict[str, float] = {}
    with tempfile.TemporaryFile(dir=place) as file, _clock(stages, "write"):
        file.write(bytes(count))
        file.flush()
        os.fsync(file.fileno())
    return stages["write"]
