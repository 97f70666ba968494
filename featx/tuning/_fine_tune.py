"""Fine-tuning: a head and the upper part of its network, trained together."""

import math
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import nn

from featx.backbones import Backbone
from featx.caching import Extraction, extract_layers
from featx.errors import HeadError, ParameterError
from featx.extraction import (
    Augmentation,
    default_workers,
    plan_outputs,
    resolve_device,
    resolve_precision,
)
from featx.fitting import Rows, Run, Table, choose_rows, join_stores, require_free, rows_by_key
from featx.heads.nets import NetClassifier, NetRegressor, as_net, check_settings, finish_net, new_net
from featx.sources import open_source
from featx.spec import ExtractionSpec
from featx.tuning._beginning import begin_anew, begin_with
from featx.tuning._parts import choose_part, count_statistics
from featx.tuning._result import FineTuned, TuningPlan, conclude
from featx.tuning._training import find_cut, make_upper, shown, train_upper

__all__ = ["fine_tune"]

BatchNorm = Literal["auto", "eval", "train"]
Net = NetClassifier | NetRegressor


def fine_tune(
    source: Any,
    backbone: str | None = None,
    *,
    start: str | int | None = None,
    blocks: Sequence[str] = (),
    init_head: Run | str | os.PathLike[str] | None = None,
    fresh_head: bool = False,
    head_layers: str = "dense",
    loss: str = "auto",
    weights: str | os.PathLike[str] | None = None,
    layer: str | None = None,
    pool: str | None = None,
    image_size: int | None = None,
    resize: str | None = None,
    interpolation: str | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    decode: str | None = None,
    learning_rate: float = 1e-5,
    epochs: int = 5,
    optimizer: str = "adam",
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    schedule: str | None = None,
    batch_size: int = 32,
    batch_norm: BatchNorm = "auto",
    views: int = 1,
    augment: str | None = None,
    augment_seed: int = 0,
    train: str | None = None,
    val: str | float | None = None,
    test: str | None = None,
    dtype: str = "float32",
    precision: str = "auto",
    device: str = "auto",
    workers: int | None = None,
    limit: int | None = None,
    seed: int = 0,
    name: str | None = None,
    cache: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
    planned: Callable[[TuningPlan], None] | None = None,
    report: Callable[[dict[str, Any]], None] | None = None,
) -> FineTuned:
    """Train the upper part of a network together with a head, and keep both as a run.

    What lies below the part that is trained does not change: its activations are extracted into the cache once, and
    only the rest runs in each epoch. Where the whole network is trained, or augmentation is asked for without a number
    of views, images are decoded (and drawn anew) in each epoch instead.

    Parameters
    ----------
    source : path, str, Source, ndarray or (images, labels)
        As :func:`featx.extract` takes it.
    backbone : str, optional
        See :func:`featx.load_backbone`; by default what the head was fitted on.
    start : str or int, optional
        What is trained: this node or module, and all that is computed after it; an index counts the modules without
        children from 0, as ``featx layers`` shows it. ``"all"`` for the whole network.
    blocks : sequence of str
        What is trained, instead: these modules, such as ``("layer3", "layer4")``.
    init_head : Run, str or path, optional
        Or the folder or name of one: its head, a net or a linear one, was fitted on features of this very backbone.
        Its samples are trained on and judged by again.
    fresh_head : bool
        Begin with a head that is not trained, of `head_layers`.
    head_layers : str
        See :class:`~featx.heads.NetClassifier`.
    loss : {"auto", "binary", "categorical", "sparse"}
        Likewise; of a fresh head.
    weights, layer, pool, image_size, resize, interpolation, mean, std, decode : optional
        As :func:`featx.extract` takes them; by default as they are in `init_head`.
    learning_rate : float
        Step size at the start.
    epochs : int
    optimizer : {"adam", "adamw", "rmsprop", "sgd"}
        torch's.
    momentum : float
        Of ``sgd``.
    weight_decay : float
        L2 penalty in the gradient; with ``adamw`` apart from it.
    schedule : str, optional
        ``step(EPOCHS,FACTOR)`` or ``cosine``.
    batch_size : int
    batch_norm : {"auto", "eval", "train"}
        Whether the batch norms of the part that is trained use and update the statistics of the batch. ``auto`` is
        ``train`` for random weights, and else ``eval``: they keep the statistics that they have. Those of the frozen
        part always do.
    views, augment, augment_seed : optional
        As :func:`featx.extract` takes them: so many views are cached at the cut; each epoch sees one of them, and
        answers average them. `augment` alone draws another view of every image in each epoch.
    train, val, test : optional
        Splits, as :func:`featx.fit_head` takes them; by default those of `init_head`.
    dtype : {"float32", "float16"}
        Of the cached activations.
    precision : {"auto", "fp32", "bf16"}
        Arithmetic, of the training by autocast; ``auto`` is bf16 on a GPU that has it.
    device : {"auto", "cpu", "cuda", "cuda:N"}
    workers : int, optional
        Threads that decode.
    limit : int, optional
        Only that many samples, the first of the order.
    seed : int
        Of all that is random.
    name : str, optional
        Of the stores in the cache.
    cache : path, optional
        Folder of the stores.
    out : path, optional
        The run's folder; by default ``runs/NAME``.
    progress : callable, optional
        Called with the number of samples done and their total, while features are extracted.
    planned : callable, optional
        Called with the plan before the training.
    report : callable, optional
        Called with the entry of each epoch when it is over.

    Returns
    -------
    FineTuned

    Raises
    ------
    FeatxError
        In one sentence: what, by which rule, and what to do.

    Notes
    -----
    The parameters of the epoch with the least loss of the validation rows are kept; what the head began with is among
    them. The run's figures come from features of the network as it is then, extracted in the ordinary way: other heads
    find them in the cache.
    """
    settings: dict[str, Any] = {
        "optimizer": optimizer,
        "learning_rate": learning_rate,
        "momentum": momentum,
        "weight_decay": weight_decay,
        "batch_size": batch_size,
        "max_epochs": epochs,
        "schedule": schedule,
    }
    check_settings(NetClassifier(head_layers, loss=loss, **settings))  # type: ignore[arg-type]
    if batch_norm not in get_args(BatchNorm):
        raise ParameterError(f"batch_norm must be one of {', '.join(get_args(BatchNorm))}; got {batch_norm!r}")
    if out is not None:
        require_free(Path(out))
    run = _head_run(init_head, fresh_head)
    device = resolve_device(device)
    precision = resolve_precision(precision, device)
    if precision not in ("fp32", "bf16"):
        raise ParameterError(f"precision must be auto, fp32 or bf16 to train in; got {precision!r}")
    asked: dict[str, Any] = {"weights": weights, "layer": layer, "pool": pool}
    asked["changes"] = {
        "image_size": image_size,
        "resize": resize,
        "interpolation": interpolation,
        "mean": mean,
        "std": std,
        "decode": decode,
    }
    network, output = begin_anew(backbone, **asked) if run is None else begin_with(run, backbone, **asked)
    part = choose_part(network, output.node, start=start, blocks=blocks)
    augmentation = _drawn(augment, views, network)
    cut = find_cut(network, output, part) if augmentation is None else None
    if cut is None and views > 1:
        raise ParameterError(
            f"views must be 1 where images go through the whole network in every epoch; got {views}: leave it out, and"
            " each epoch draws its own"
        )
    below = output.spec
    if cut is not None:
        (kept,) = plan_outputs(network, layers=[cut.name], pool="none", precision=precision, dtype=dtype)
        below = kept.spec
    opened = open_source(source, limit=limit)
    viewed: dict[str, Any] = {"views": views, "augment": augment, "augment_seed": augment_seed} if views > 1 else {}

    def extract(backbone: Backbone, spec: ExtractionSpec, *, named: bool) -> Extraction:
        images = spec.preprocessing
        again: dict[str, Any] = {"weights": backbone.origin, "preprocessing": images, "image_size": images.side}
        (extraction,) = extract_layers(
            opened,
            backbone.name if named else backbone,
            layers=[spec.layer],
            pool=spec.pool,
            dtype=spec.dtype,
            precision=spec.precision,
            device=device,
            workers=workers,
            name=name,
            cache=cache,
            progress=progress,
            **viewed,
            **(again if named else {}),
        )
        return extraction

    base = extract(network, below, named=network.origin is not None)  # what has a name is remembered by it
    table = join_stores([base.store])
    rows = _rows(table, run, train=train, val=val, test=test, seed=seed)
    net = _net(run, table, rows, output.shape, head_layers, loss, seed).set_params(**settings)
    head = net.module_
    weights_of = dict(network.network.named_parameters())
    learning = [weights_of[name] for name in part.parameters]
    for parameter in (*learning, *head.parameters()):
        parameter.requires_grad_(True)
    plan = TuningPlan(
        trainable=_count([*learning, *head.parameters()]),
        frozen=_count(weights_of[name] for name in part.frozen),
        statistics=part.statistics + sum(map(count_statistics, head.modules())),
        cut=None if cut is None else cut.name,
        shape=(*network.preprocessing.crop_size, 3) if cut is None else cut.shape,
        path=str(base.store.path),
        bytes=math.prod(base.store.features.shape) * base.store.features.dtype.itemsize,
        hit=base.hit,
        train=len(rows.train),
        val=len(rows.held_out.get("val", ())),
    )
    if planned is not None:
        planned(plan)
    norms = batch_norm == "train" or (batch_norm == "auto" and str(network.origin).startswith("random:"))
    modules = [network.network.get_submodule(name) for name in part.modules]
    upper = make_upper(
        network,
        output,
        head,
        cut,
        [module for module in modules if norms or not isinstance(module, nn.modules.batchnorm._BatchNorm)],
        precision,
    )
    where = torch.device(device)
    with shown(
        table,
        rows,
        net,
        source=opened,
        backbone=network,
        cut=cut,
        augmentation=augmentation,
        augment_seed=augment_seed,
        device=where,
        workers=workers or default_workers(),
    ) as samples:
        entries, best = train_upper(upper, net, samples, device=where, begun=run is not None, seed=seed, report=report)
    finish_net(net, entries, best)
    what = {"start": start} if start is not None else {"blocks": ",".join(blocks)}
    said = {
        **what,
        **{name: settings[name] for name in ("optimizer", "learning_rate", "batch_size", "weight_decay", "schedule")},
        "epochs": epochs,
        "momentum": momentum if optimizer == "sgd" else None,
        "views": views if views > 1 else None,
        "augment": augment,
    }
    tuned, folder = conclude(
        net,
        network,
        output,
        {
            "head": "net" if run is None else run.settings["head"],
            "params": {name: value for name, value in said.items() if value not in (None, 0.0)},
            "seed": seed,
            "tuning": {
                **{name: value for name, value in asdict(plan).items() if name not in ("path", "bytes", "hit")},
                "backbone": {"name": network.name, "weights": network.origin, "digest": output.spec.weights},
                "init_head": None if run is None else run.name,
                "batch_norm": "train" if norms else "eval",
                "augment_seed": augment_seed,
            },
        },
        store=base.store.name,
        table=table,
        rows=rows,
        out=out,
        extract=partial(extract, named=False),
    )
    seconds = [entry["seconds"] for entry in entries if "seconds" in entry]
    return FineTuned(tuned, folder, plan, entries, best, sum(seconds) / len(seconds))


def _head_run(init_head: Run | str | os.PathLike[str] | None, fresh_head: bool) -> Run | None:
    """Return the run whose head is gone on from; None for a fresh head."""
    if init_head is None and not fresh_head:
        raise ParameterError(
            "init_head must name a run whose head is trained, since an untrained one would spoil what the network"
            " knows; got none: train a head first (featx fit-head STORE), or say fresh_head (--fresh-head)"
        )
    if init_head is not None and fresh_head:
        raise ParameterError("init_head and fresh_head must not both be given: leave out one of them")
    return None if init_head is None else Run.load(init_head)


def _drawn(augment: str | None, views: int, backbone: Backbone) -> Augmentation | None:
    """Return what draws another view of each image in every epoch; None where views are cached, or there are none."""
    if augment is None or views > 1:
        return None
    augmentation = Augmentation.parse(augment)
    if augmentation.most is not None:
        raise ParameterError(
            f"augment {augment!r} is a set of {augmentation.most} views, and cannot be drawn anew in each epoch: add"
            f" views {augmentation.most}, or name other transforms"
        )
    augmentation.require_fit(backbone.preprocessing)
    return augmentation


def _rows(
    table: Table, run: Run | None, *, train: str | None, val: str | float | None, test: str | None, seed: int
) -> Rows:
    """Return the rows of the head's own samples, or, where splits are named, those."""
    if run is None or (train, val, test) != (None, None, None):
        return choose_rows(table, train=train, val=val, test=test, seed=seed, need_val=True)
    if (table.task, table.classes) != (run.task, run.classes):
        raise ParameterError(
            f"source must have what the head was trained on, {run.task} of {', '.join(run.classes[:8])}; it has"
            f" {table.task} of {', '.join(table.classes[:8])}: fit a head on it first"
        )
    return rows_by_key(table, run.keys, run.settings["rows"])


def _net(run: Run | None, table: Table, rows: Rows, shape: tuple[int, ...], layers: str, loss: str, seed: int) -> Net:
    """Return the head as a net: that of a run, or a new one for features of a shape."""
    y = table.targets[rows.train]
    y = y.astype(np.int64) if table.task == "multilabel" else y
    if run is not None:
        net = as_net(run.head, y)
        if table.task == "classification" and (table.classes != run.classes or not np.isin(y, net.classes_).all()):
            raise HeadError(
                f"init_head must know the classes it is to be trained on, and {run.name} does not: fit a head on them"
            )
        return net
    if table.task == "regression":
        if loss != "auto":
            raise ParameterError(f"loss is of classes and labels; got {loss!r} for values: leave it out")
        new: Net = NetRegressor(layers, standardize=False)
    else:
        new = NetClassifier(layers, loss=loss, standardize=False)  # type: ignore[arg-type]  # it is checked
    return new_net(new, y, shape, seed=seed)


def _count(parameters: Iterable[nn.Parameter]) -> int:
    return sum(parameter.numel() for parameter in parameters)
