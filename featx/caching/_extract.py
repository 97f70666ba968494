"""Extract what is missing, keep what is there: the way from a source to its stores."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import numpy as np

from featx.backbones import DEFAULT_BACKBONE, Backbone, load_backbone
from featx.caching._lock import locked
from featx.caching._targets import Target, existing_store, listing_digest, reusable_rows
from featx.caching._work import Progress, compute, put_together
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
from featx.spec import Preprocessing, digest_of
from featx.store import FeatureStore, Workspace, cache_folder, open_store, store_path, workspace_folder

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Extraction", "ExtractionOptions", "extract", "extract_layers"]


@dataclass(frozen=True, slots=True)
class Extraction:
    """A store and how it came about.

    Parameters
    ----------
    store : FeatureStore
    hit : bool
        Whether it was there already, for just these samples.
    computed, kept : int
        Number of samples that went through the network now, and whose rows are from the store as it was.
    seconds : float
        Wall time of the work; 0 for a hit.
    """

    store: FeatureStore
    hit: bool
    computed: int
    kept: int
    seconds: float


class ExtractionOptions(TypedDict, total=False):
    """What :func:`extract` and :func:`extract_layers` take by keyword; both say what it means."""

    weights: str | os.PathLike[str] | None
    pool: str | None
    preprocessing: Preprocessing | None
    image_size: int | None
    resize: str | None
    mean: Sequence[float] | None
    std: Sequence[float] | None
    dtype: str
    engine: str
    device: str
    precision: str
    batch_size: int | None
    workers: int | None
    limit: int | None
    strict: bool
    name: str | None
    cache: str | os.PathLike[str] | None
    out: str | os.PathLike[str] | None
    progress: Progress | None


def extract(
    source: Any,
    backbone: "str | nn.Module" = DEFAULT_BACKBONE,
    *,
    layer: str | None = None,
    **options: Unpack[ExtractionOptions],
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
    layers = () if layer is None else (layer,)
    return extract_layers(source, backbone, layers=layers, **options)[0].store


def extract_layers(
    source: Any,
    backbone: "str | nn.Module" = DEFAULT_BACKBONE,
    *,
    layers: Sequence[str] = (),
    **options: Unpack[ExtractionOptions],
) -> list[Extraction]:
    """Extract several layers of a source in one pass, each into a store of its own.

    Parameters
    ----------
    source, backbone, **options
        As :func:`extract` takes them.
    layers : sequence of str
        Names of nodes (``featx layers BACKBONE``); empty for the default layer.

    Returns
    -------
    list of Extraction
        One for each layer, in the order given.
    """
    _check(layers, options)
    opened = open_source(source, limit=options.get("limit"))
    network = load_backbone(
        backbone,
        weights=options.get("weights"),
        preprocessing=options.get("preprocessing"),
        image_size=options.get("image_size"),
        resize=options.get("resize"),
        mean=options.get("mean"),
        std=options.get("std"),
    )
    device = resolve_device(options.get("device", "auto"))
    outputs = plan_outputs(
        network,
        layers=layers,
        pool=options.get("pool"),
        precision=resolve_precision(options.get("precision", "auto"), device),
        dtype=options.get("dtype", "float32"),
    )
    found: dict[Output, FeatureStore] = {}
    targets = []
    listing = listing_digest(opened)
    for output in outputs:
        path = _path(output, opened, options)
        old = existing_store(path, output, opened.identity, named="out" if options.get("out") else None)
        if old is not None and old.source.get("listing") == listing:
            found[output] = old
        else:
            targets.append(Target(output, path, old, reusable_rows(opened, old)))
    facts = _write(opened, network, targets, listing, device, options) if targets else {}
    return [
        Extraction(found[output], hit=True, computed=0, kept=len(opened), seconds=0.0)
        if output in found
        else Extraction(open_store(_path(output, opened, options)), hit=False, **facts)
        for output in outputs
    ]


def _check(layers: Sequence[str], options: ExtractionOptions) -> None:
    if options.get("out") is not None and len(layers) > 1:
        raise ParameterError(f"out names one file, but {len(layers)} layers make as many stores: leave it out")
    for parameter in ("batch_size", "workers"):
        value = options.get(parameter)
        if value is not None and (not isinstance(value, int) or value < 1):
            raise ParameterError(f"{parameter} must be a whole number of at least 1; got {value!r}")
    engine = options.get("engine", "auto")
    if engine not in ("auto", *ENGINES):
        raise ParameterError(f"engine must be one of auto, {', '.join(ENGINES)}; got {engine!r}")


def _path(output: Output, source: Source, options: ExtractionOptions) -> Path:
    out = options.get("out")
    if out is not None:
        return Path(out)
    name = options.get("name") or source.name
    return store_path(cache_folder(options.get("cache")), name=name, identity=source.identity, spec=output.spec)


def _write(
    source: Source,
    backbone: Backbone,
    targets: Sequence[Target],
    listing: str,
    device: str,
    options: ExtractionOptions,
) -> dict[str, Any]:
    """Compute what no store has and write the targets; return the facts of an Extraction."""
    began = time.monotonic()
    order = np.flatnonzero(np.any([target.old_rows < 0 for target in targets], axis=0))
    outputs = [target.output for target in targets]
    batch_size = options.get("batch_size") or default_batch_size(device)
    workers = options.get("workers") or default_workers()
    name = options.get("engine", "auto")
    engine = ENGINES["torch" if name == "auto" else name](backbone, outputs, device=device)
    folder = workspace_folder(targets[0].path)
    manifest = {
        "identity": source.identity,
        "listing": listing,
        "specs": [output.spec.digest for output in outputs],
        "order": digest_of(order.tolist()),
        "batch_size": batch_size,
        "engine": engine.name,
    }
    with locked(folder.with_name(f"{folder.name}.lock")):
        workspace = Workspace.open(folder, manifest)
        computed = compute(
            source,
            order.tolist(),
            outputs,
            workspace,
            engine,
            batch_size=batch_size,
            workers=workers,
            strict=options.get("strict", False),
            progress=options.get("progress"),
        )
        seconds = time.monotonic() - began
        put_together(
            source,
            targets,
            order,
            workspace,
            facts={
                "source": {
                    "name": source.name,
                    "identity": source.identity,
                    "listing": listing,
                    "samples": len(source),
                },
                "backbone": {"name": backbone.name, "weights": backbone.origin},
                "creation": {
                    "featx": version("featx"),
                    "torch": version("torch"),
                    "engine": engine.name,
                    "device": engine.device,
                    "batch_size": batch_size,
                    "workers": workers,
                    "computed": computed,
                    "seconds": round(seconds, 3),
                    "time": datetime.now(UTC).isoformat(timespec="seconds"),
                },
            },
        )
        workspace.remove()
    return {"computed": computed, "kept": len(source) - len(order), "seconds": seconds}
