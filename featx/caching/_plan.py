"""What an extraction would cost, from a short try."""

import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from featx.caching._choice import Choice, Trial, remembered_choice
from featx.caching._network import Network, NetworkSettings
from featx.caching._targets import Target, existing_store, known_digests, path_of, views_left
from featx.errors import ParameterError, SampleError
from featx.extraction import Loaded, Timings, augmentation_for, default_batch_size, default_workers, load_sample
from featx.sources import open_source
from featx.spec import DEFAULT_BACKBONE
from featx.store import cache_folder, free_space

if TYPE_CHECKING:
    from torch import nn

__all__ = ["ExtractionPlan", "plan"]


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
        Seconds of work for one image, with all of its views that are missing: ``read``, ``decode``, ``forward``,
        ``write``.
    seconds : float
        Estimated wall time; reading and decoding share the processors with a network that runs on them, and go on
        beside one that runs on a GPU.
    engine : str
        What would run the network, as far as is known without exporting it: an engine that ``auto`` finds to be faster
        makes the estimate too long.
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
    engine: str
    workers: int
    batch_size: int


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

    Up to `probe` images, evenly spread over those that are not known, are read and decoded one by one, and the network
    is run on made-up images of their size; nothing is kept.

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
        `interpolation`, `mean`, `std`, `decode`, `dtype`, `device`, `precision`, `views`, `augment`, `augment_seed`.

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
        targets.append(Target.of(one, path, old, cache))
    spec = wanted[0].spec
    views = spec.views
    left = views_left(known_digests(opened, targets), targets).tolist()
    unknown = [i for i, count in enumerate(left) if count]
    images = sum(left) / max(1, len(unknown))
    row_bytes = sum(one.row_bytes for one in wanted)

    timings = Timings()
    tried, reason = 0, ""
    chosen = sorted({unknown[i * len(unknown) // probe] for i in range(probe)}) if unknown else []
    augmentation = augmentation_for(views, spec.augment, spec.augment_seed)

    def load(index: int) -> Loaded:
        known = views - left[index]
        return load_sample(opened, spec, augmentation, lambda digest: known, timings, index, resize=True)

    for loaded in map(load, chosen):
        if isinstance(loaded, SampleError):
            reason = str(loaded)
        else:
            tried += 1
    if chosen and not tried:
        raise SampleError(f"none of {len(chosen)} images could be used to try it ({reason}): look at the source")
    spent = timings.seconds
    stages = {
        "read": spent["read"] / max(1, tried),
        "decode": (spent["decode"] + spent["transform"]) / max(1, tried),
        "forward": 0.0,
        "write": 0.0,
    }
    device = network.resolved.device
    workers = default_workers()
    choice = remembered_choice(network, wanted, engine=None, batch_size=None, workers=workers)
    if choice is None:
        choice = Choice("torch", default_batch_size("torch", device))
    if tried:
        with Trial(network, wanted, workers) as trial:
            stages["forward"] = images / trial.rate(choice)
        stages["write"] = 2 * _try_disk(folder, row_bytes * tried) / tried  # as a part, and in the finished store
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
        tried=tried,
        stages=stages,
        seconds=each * len(unknown),
        engine=choice.engine,
        workers=workers,
        batch_size=choice.batch_size,
    )


def _try_disk(folder: Path, count: int) -> float:
    """Return the seconds it takes to write so many bytes where the store will be, for good."""
    place = next(parent for parent in (folder, *folder.absolute().parents) if parent.is_dir())
    with tempfile.TemporaryFile(dir=place) as file:
        began = time.perf_counter()
        file.write(bytes(count))
        file.flush()
        os.fsync(file.fileno())
        return time.perf_counter() - began
