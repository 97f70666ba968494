"""Extract what is missing, keep what is there: the way from a source to its stores."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featx.backbones import DEFAULT_BACKBONE, load_backbone
from featx.caching._targets import Target, existing_store, listing_digest, reusable_rows
from featx.caching._work import Progress, fill_stores
from featx.errors import ParameterError
from featx.extraction import (
    ENGINES,
    Output,
    default_batch_size,
    default_workers,
    plan_outputs,
    resolve_device,
    resolve_precision,
)
from featx.sources import Source, open_source
from featx.spec import Preprocessing
from featx.store import FeatureStore, cache_folder, open_store, store_path

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Extraction", "extract", "extract_layers"]


@dataclass(frozen=True, slots=True)
class Extraction:
    """A store and how it came about.

    Parameters
    ----------
    store : FeatureStore
    hit : bool
        Whether it was there already, for just these samples.
    computed, kept : int
        Number of samples that went through the network now, and of those that an earlier run had done: in
        the store as it was, or in what is left of a run that was interrupted.
    seconds : float
        Wall time of the work; 0 for a hit.
    """

    store: FeatureStore
    hit: bool
    computed: int
    kept: int
    seconds: float


def extract(
    source: Any,
    backbone: "str | nn.Module" = DEFAULT_BACKBONE,
    *,
    layer: str | None = None,
    weights: str | os.PathLike[str] | None = None,
    pool: str | None = None,
    preprocessing: Preprocessing | None = None,
    image_size: int | None = None,
    resize: str | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    dtype: str = "float32",
    engine: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    batch_size: int | None = None,
    workers: int | None = None,
    limit: int | None = None,
    strict: bool = False,
    name: str | None = None,
    cache: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> FeatureStore:
    """Return the features of every sample of a source, from the cache if they are there.

    Parameters
    ----------
    source : path, str, Source, ndarray or (images, labels)
        A folder, manifest, archive, ``.npz``, ``torchvision:NAME``, ``hf:NAME``, or arrays; see
        :func:`featx.open_source`.
    backbone : str or torch.nn.Module
        See :func:`featx.load_backbone`; by default ``efficientnet_lite0``, whose weights need no download.
    layer : str, optional
        Name of the node that is kept; by default what the classifier is given.
    weights : str or path, optional
        Tag, file of a state dict, or ``random:SEED``.
    pool : {"avg", "max", "gem", "cls", "flatten", "none"}, optional
        How a map or a token sequence becomes a row. Given without a layer, it means the last map.
    preprocessing : Preprocessing, optional
        Instead of what the weights were trained with.
    image_size, resize, mean, std : optional
        Changes to the preprocessing.
    dtype : {"float32", "float16"}
        Type of the stored features.
    engine : {"auto", "torch"}
        What runs the network.
    device : {"auto", "cpu", "cuda", "cuda:N"}
        Where it runs.
    precision : {"auto", "fp32", "bf16", "fp16"}
        Its arithmetic; ``auto`` is bf16 on a GPU that has it, fp32 elsewhere.
    batch_size : int, optional
        Images at a time; by default 32 on a CPU and 128 on a GPU.
    workers : int, optional
        Decoding threads; by default one for each processor.
    limit : int, optional
        Only that many samples, the first of the order.
    strict : bool
        Whether a bad image is an error rather than recorded and left out.
    name : str, optional
        Of the store in the cache; by default the source's.
    cache : path, optional
        Folder of the stores; by default the environment's ``FEATX_CACHE``, else ``cache``.
    out : path, optional
        File of this store, instead of one in the cache.
    progress : callable, optional
        Called with the number of samples done and their total, after each batch.

    Returns
    -------
    FeatureStore

    Raises
    ------
    FeatxError
        In one sentence: what, by which rule, and what to do.
    """
    (extraction,) = extract_layers(
        source,
        backbone,
        layers=() if layer is None else (layer,),
        weights=weights,
        pool=pool,
        preprocessing=preprocessing,
        image_size=image_size,
        resize=resize,
        mean=mean,
        std=std,
        dtype=dtype,
        engine=engine,
        device=device,
        precision=precision,
        batch_size=batch_size,
        workers=workers,
        limit=limit,
        strict=strict,
        name=name,
        cache=cache,
        out=out,
        progress=progress,
    )
    return extraction.store


def extract_layers(
    source: Any,
    backbone: "str | nn.Module" = DEFAULT_BACKBONE,
    *,
    layers: Sequence[str] = (),
    weights: str | os.PathLike[str] | None = None,
    pool: str | None = None,
    preprocessing: Preprocessing | None = None,
    image_size: int | None = None,
    resize: str | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    dtype: str = "float32",
    engine: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    batch_size: int | None = None,
    workers: int | None = None,
    limit: int | None = None,
    strict: bool = False,
    name: str | None = None,
    cache: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> list[Extraction]:
    """Extract several layers of a source in one pass, each into a store of its own.

    Parameters
    ----------
    source : path, str, Source, ndarray or (images, labels)
        As :func:`extract` takes it.
    backbone : str or torch.nn.Module
        As :func:`extract` takes it.
    layers : sequence of str
        Names of nodes (``featx layers BACKBONE``); empty for the default layer.
    weights, pool, preprocessing, image_size, resize, mean, std, dtype, engine, \
    device, precision, batch_size, workers, limit, strict, name, cache, out, progress
        As :func:`extract` takes them; `out` only with a single layer.

    Returns
    -------
    list of Extraction
        One for each layer, in the order given.
    """
    _check(engine, batch_size=batch_size, workers=workers)
    if out is not None and len(layers) > 1:
        raise ParameterError(f"out names one file, but {len(layers)} layers make as many stores: leave it out")
    opened = open_source(source, limit=limit)
    network = load_backbone(
        backbone,
        weights=weights,
        preprocessing=preprocessing,
        image_size=image_size,
        resize=resize,
        mean=mean,
        std=std,
    )
    device = resolve_device(device)
    outputs = plan_outputs(
        network, layers=layers, pool=pool, precision=resolve_precision(precision, device), dtype=dtype
    )
    found: dict[Output, FeatureStore] = {}
    targets = []
    listing = listing_digest(opened)
    for output in outputs:
        path = _path(output, opened, name=name, cache=cache, out=out)
        old = existing_store(path, output, opened.identity, named=None if out is None else "out")
        if old is not None and old.source.get("listing") == listing:
            found[output] = old
        else:
            targets.append(Target(output, path, old, reusable_rows(opened, old)))
    computed, seconds = 0, 0.0
    if targets:
        began = time.monotonic()
        computed = fill_stores(
            opened,
            targets,
            ENGINES["torch" if engine == "auto" else engine](
                network, [target.output for target in targets], device=device
            ),
            backbone={
                "name": network.name,
                "weights": network.origin,
                "reloadable": isinstance(backbone, str),
            },
            listing=listing,
            batch_size=batch_size or default_batch_size(device),
            workers=workers or default_workers(),
            strict=strict,
            progress=progress,
        )
        seconds = time.monotonic() - began
    made = {target.output: target.path for target in targets}
    return [
        Extraction(found[output], hit=True, computed=0, kept=len(opened), seconds=0.0)
        if output in found
        else Extraction(
            open_store(made[output]), hit=False, computed=computed, kept=len(opened) - computed, seconds=seconds
        )
        for output in outputs
    ]


def _check(engine: str, **counts: int | None) -> None:
    for parameter, value in counts.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise ParameterError(f"{parameter} must be a whole number of at least 1; got {value!r}")
    if engine not in ("auto", *ENGINES):
        raise ParameterError(f"engine must be one of auto, {', '.join(ENGINES)}; got {engine!r}")


def _path(
    output: Output,
    source: Source,
    *,
    name: str | None,
    cache: str | os.PathLike[str] | None,
    out: str | os.PathLike[str] | None,
) -> Path:
    if out is not None:
        return Path(out)
    return store_path(
        cache_folder(cache), name=source.name if name is None else name, identity=source.identity, spec=output.spec
    )
