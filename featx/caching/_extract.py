"""Extract what is missing, keep what is there: the way from a source to its stores."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from featx.caching._cluster import Cluster, ThisMachine
from featx.caching._compute import Progress
from featx.caching._join import Changes
from featx.caching._network import Network
from featx.caching._targets import Target, existing_store, listing_digest, path_of
from featx.caching._work import fill_stores
from featx.errors import ParameterError
from featx.extraction import ENGINE_NAMES
from featx.sources import open_source
from featx.spec import DEFAULT_BACKBONE, ExtractionSpec, Preprocessing
from featx.store import FeatureStore, cache_folder, check_shards, open_store

if TYPE_CHECKING:
    from torch import nn

    from featx.backbones import Backbone

__all__ = ["Extraction", "extract", "extract_layers"]


@dataclass(frozen=True, slots=True)
class Extraction:
    """A store and how it came about.

    Parameters
    ----------
    store : FeatureStore
    hit : bool
        Whether it was there already, for just these samples.
    changes : Changes
        What was found against the store as it was.
    seconds : float
        Wall time of the work; 0 for a hit.
    stages : dict of str to float
        Seconds of work in each stage (see :class:`featx.extraction.Timings`), of all layers together; empty for a hit.
    """

    store: FeatureStore
    hit: bool
    changes: Changes
    seconds: float
    stages: dict[str, float] = field(default_factory=dict)


def extract(
    source: Any,
    backbone: "str | nn.Module | Backbone" = DEFAULT_BACKBONE,
    *,
    layer: str | None = None,
    weights: str | os.PathLike[str] | None = None,
    pool: str | None = None,
    preprocessing: Preprocessing | None = None,
    image_size: int | None = None,
    resize: str | None = None,
    interpolation: str | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    decode: str | None = None,
    dtype: str = "float32",
    engine: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    views: int = 1,
    augment: str | None = None,
    augment_seed: int = 0,
    batch_size: int | None = None,
    workers: int | None = None,
    limit: int | None = None,
    strict: bool = False,
    rehash: bool = False,
    compress: bool = False,
    shards: int | str | None = None,
    name: str | None = None,
    cache: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    cluster: Cluster | None = None,
) -> FeatureStore:
    """Return the features of every sample of a source, from the cache if they are there.

    Parameters
    ----------
    source : path, str, Source, ndarray or (images, labels)
        A folder, manifest, archive, shards, ``.npz``, the URL of any of these, ``torchvision:NAME``, ``hf:NAME``, or
        arrays; see :func:`featx.open_source`.
    backbone : str, torch.nn.Module or Backbone
        See :func:`featx.load_backbone`; by default ``efficientnet_lite0``, whose weights need no download.
    layer : str, optional
        Name of the node that is kept; by default what the classifier is given.
    weights : str or path, optional
        Tag, file of a state dict, or ``random:SEED``.
    pool : {"avg", "max", "gem", "cls", "flatten", "none"}, optional
        How a map or a token sequence becomes a row. Given without a layer, it means the last map.
    preprocessing : Preprocessing, optional
        Instead of what the weights were trained with.
    image_size, resize, interpolation, mean, std, decode : optional
        Changes to the preprocessing, see :class:`featx.Preprocessing`.
    dtype : {"float32", "float16"}
        Type of the stored features.
    engine : {"auto", "torch", "compile", "onnxruntime"}
        What runs the network; ``auto`` is the fastest on a processor, as a short trial says where there is work
        enough, and torch on a GPU.
    device : {"auto", "cpu", "cuda", "cuda:N"}
        Where it runs.
    precision : {"auto", "fp32", "bf16", "fp16"}
        Its arithmetic; ``auto`` is bf16 on a GPU that has it, fp32 elsewhere.
    views : int
        How many views of each image are kept, the plain image first; beyond one, `features` have an axis of them:
        (n, views, ...).
    augment : str, optional
        What the further views are drawn with: names of torchvision's transforms, such as
        ``affine(shear=10,scale=0.8:1.2) hflip``, or a set for tests, ``flip``, ``fivecrop`` or ``tencrop``.
    augment_seed : int
        A view depends on this, the image's bytes and its number alone, so that more views later are only added.
    batch_size : int, optional
        Images at a time; by default few on a processor, and on a GPU as many as make it no faster.
    workers : int, optional
        Threads that decode, and with ``onnxruntime`` compute; by default one for each processor.
    limit : int, optional
        Only that many samples, the first of the order.
    strict : bool
        Whether a bad image is an error rather than recorded and left out.
    rehash : bool
        Whether every image is read to see if it has changed, instead of believing size, time and inode.
    compress : bool
        Whether a store that is written is compressed, which costs the memory map (needs ``featx[compress]``).
    shards : int or str, optional
        In how many files the features of a store that is written lie, at most, or the most bytes of them in each, such
        as ``"10GB"``; see :func:`featx.store.write_store`.
    name : str, optional
        Of the store in the cache; by default the source's.
    cache : path, optional
        Folder of the stores; by default the environment's ``FEATX_CACHE``, else ``cache``.
    out : path, optional
        File of this store, instead of one in the cache.
    progress : callable, optional
        Called with the number of samples done and their total, after each batch.
    cluster : RayCluster, optional
        Where the network runs, if not on this machine alone.

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
        interpolation=interpolation,
        mean=mean,
        std=std,
        decode=decode,
        dtype=dtype,
        engine=engine,
        device=device,
        precision=precision,
        views=views,
        augment=augment,
        augment_seed=augment_seed,
        batch_size=batch_size,
        workers=workers,
        limit=limit,
        strict=strict,
        rehash=rehash,
        compress=compress,
        shards=shards,
        name=name,
        cache=cache,
        out=out,
        progress=progress,
        cluster=cluster,
    )
    return extraction.store


def extract_layers(
    source: Any,
    backbone: "str | nn.Module | Backbone" = DEFAULT_BACKBONE,
    *,
    layers: Sequence[str] = (),
    weights: str | os.PathLike[str] | None = None,
    pool: str | None = None,
    preprocessing: Preprocessing | None = None,
    image_size: int | None = None,
    resize: str | None = None,
    interpolation: str | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    decode: str | None = None,
    dtype: str = "float32",
    engine: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    views: int = 1,
    augment: str | None = None,
    augment_seed: int = 0,
    batch_size: int | None = None,
    workers: int | None = None,
    limit: int | None = None,
    strict: bool = False,
    rehash: bool = False,
    compress: bool = False,
    shards: int | str | None = None,
    name: str | None = None,
    cache: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    cluster: Cluster | None = None,
) -> list[Extraction]:
    """Extract several layers of a source in one pass, each into a store of its own.

    Parameters
    ----------
    source : path, str, Source, ndarray or (images, labels)
        As :func:`extract` takes it.
    backbone : str, torch.nn.Module or Backbone
        As :func:`extract` takes it.
    layers : sequence of str
        Names of nodes (``featx layers BACKBONE``); empty for the default layer.
    weights, pool, preprocessing, image_size, resize, interpolation, mean, std, decode, dtype, engine, \
    device, precision, views, augment, augment_seed, batch_size, workers, limit, strict, rehash, compress, shards, \
    name, cache, out, progress, cluster
        As :func:`extract` takes them; `out` only with a single layer.

    Returns
    -------
    list of Extraction
        One for each layer, in the order given.
    """
    _check(engine, batch_size=batch_size, workers=workers)
    if shards is not None:
        check_shards(shards)
    if out is not None and len(layers) > 1:
        raise ParameterError(f"out names one file, but {len(layers)} layers make as many stores: leave it out")
    opened = open_source(source, limit=limit)
    with cluster or ThisMachine() as where:
        network = Network(
            cache_folder(cache),
            backbone,
            weights=weights,
            preprocessing=preprocessing,
            layers=layers,
            pool=pool,
            image_size=image_size,
            resize=resize,
            interpolation=interpolation,
            mean=mean,
            std=std,
            decode=decode,
            dtype=dtype,
            device=device,
            precision=precision,
            views=views,
            augment=augment,
            augment_seed=augment_seed,
            cluster=where,
        )
        found: dict[ExtractionSpec, FeatureStore] = {}
        targets = []
        listing = listing_digest(opened)
        for wanted in network.resolved.wanted:
            path = path_of(wanted.spec, opened, name=name, cache=cache, out=out)
            old = existing_store(path, wanted.spec, opened.identity, named=None if out is None else "out")
            if old is not None and old.source.get("listing") == listing and not rehash:
                found[wanted.spec] = old
            else:
                targets.append(Target.of(wanted, path, old, cache))
        made: dict[ExtractionSpec, Extraction] = {}
        if targets:
            began = time.monotonic()
            changes, stages = fill_stores(
                opened,
                targets,
                network,
                cluster=where,
                listing=listing,
                engine=None if engine == "auto" else engine,
                batch_size=batch_size,
                workers=workers,
                strict=strict,
                rehash=rehash,
                compress=compress,
                shards=shards,
                progress=progress,
            )
            seconds = time.monotonic() - began
            for target, change in zip(targets, changes, strict=True):
                made[target.wanted.spec] = Extraction(open_store(target.path), False, change, seconds, stages)
    return [
        made[wanted.spec]
        if wanted.spec in made
        else Extraction(found[wanted.spec], True, Changes(kept=len(opened)), 0.0)
        for wanted in network.resolved.wanted
    ]


def _check(engine: str, **counts: int | None) -> None:
    for parameter, value in counts.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise ParameterError(f"{parameter} must be a whole number of at least 1; got {value!r}")
    if engine not in ("auto", *ENGINE_NAMES):
        raise ParameterError(f"engine must be one of auto, {', '.join(ENGINE_NAMES)}; got {engine!r}")
