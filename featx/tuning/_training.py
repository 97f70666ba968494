"""The training itself: what is shown, what learns, and what came of it."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from featx.backbones import Backbone, FeatureTap, Node, pool_features
from featx.extraction import Augmentation, Output
from featx.fitting import Rows, Table
from featx.heads.nets import (
    OPTIMIZERS,
    NetClassifier,
    NetRegressor,
    Plan,
    Samples,
    figures_of,
    optimizer_settings,
    parse_schedule,
    train,
)
from featx.heads.nets import Rows as FeatureRows
from featx.sources import Source
from featx.store import LazyArray
from featx.tuning._images import Images
from featx.tuning._parts import Part
from featx.tuning._upper import Upper

__all__ = ["Shown", "find_cut", "make_upper", "shown", "train_upper"]

_TRIED = 2
"""Images of noise that a cut is tried with."""

_CLOSE = 1e-3
"""How far features by way of a cut may be from the network's own, in units of the largest."""

Net = NetClassifier | NetRegressor


def make_upper(
    backbone: Backbone, output: Output, head: nn.Module, cut: Node | None, learning: Sequence[nn.Module], precision: str
) -> Upper:
    """Return the network from a cut, or from pixels, to the outputs of a head."""
    return Upper(
        backbone.network,
        output.node,
        output.spec.pool,
        head,
        image_size=backbone.preprocessing.crop_size,
        cut=cut,
        mean=backbone.preprocessing.mean,
        std=backbone.preprocessing.std,
        learning=learning,
        precision=precision,
    )


def find_cut(backbone: Backbone, output: Output, part: Part) -> Node | None:
    """Return the last node before the part that is trained at which the network can be cut; None if there is none.

    Each is tried on images of noise: what is computed from it must be what the whole network computes.
    """
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(_TRIED, 3, *backbone.preprocessing.crop_size, generator=generator)
    with torch.no_grad():
        (whole,) = FeatureTap(backbone.network, [output.node])(images)
        expected = pool_features(whole.float(), output.spec.pool, output.node.prefix_tokens)
        for cut in part.candidates:
            upper = make_upper(backbone, output, nn.Identity(), cut, (), "fp32")
            try:
                (activations,) = FeatureTap(backbone.network, [cut])(images)
                got = upper.features(activations.contiguous())
            except Exception:  # networks raise every kind of exception where tensors have no data
                continue
            if bool(((got - expected).abs().max() <= _CLOSE * expected.abs().max()).item()):
                return cut
    return None


@dataclass(frozen=True, eq=False)
class Shown:
    """What is trained on, the same without augmentation, and what judges each epoch."""

    train: Samples
    plain: Samples
    val: Samples | None


@contextmanager
def shown(
    table: Table,
    rows: Rows,
    net: Net,
    *,
    source: Source,
    backbone: Backbone,
    cut: Node | None,
    augmentation: Augmentation | None,
    augment_seed: int,
    device: torch.device,
    workers: int,
) -> Iterator[Shown]:
    """Give the activations at a cut as they are stored, or the images of a source."""
    validation = rows.held_out.get("val")
    if validation is not None and table.task == "classification":
        validation = validation[np.isin(table.targets[validation], net.classes_)]
    parts = [rows.train] if validation is None or not len(validation) else [rows.train, validation]
    targets = _encoded(net, table, np.concatenate(parts))
    with ThreadPoolExecutor(workers, thread_name_prefix="featx-images") as pool:
        if cut is None:
            place = {sample.key: number for number, sample in enumerate(source.samples)}
            samples, digests = [place[key] for key in table.keys], table.digests.tolist()

            def make(index: npt.NDArray[np.int64], augmentation: Augmentation | None) -> Samples:
                return Images(
                    source,
                    samples,
                    digests,
                    index,
                    targets,
                    preprocessing=backbone.preprocessing,
                    augmentation=augmentation,
                    seed=augment_seed,
                    pool=pool,
                )
        else:
            features = table.features[:] if isinstance(table.features, LazyArray) else table.features

            def make(index: npt.NDArray[np.int64], augmentation: Augmentation | None) -> Samples:
                return FeatureRows(features, index, targets, views=table.views, device=device)

        plain = make(rows.train, None)
        yield Shown(
            plain if augmentation is None else make(rows.train, augmentation),
            plain,
            make(parts[1], None) if len(parts) > 1 else None,
        )


def _encoded(net: Net, table: Table, rows: npt.NDArray[np.int64]) -> torch.Tensor:
    """Return what the loss takes, for all rows of a table; 0 for those that are not asked for."""
    y = table.targets[rows]
    some = net.coding_.encode(y.astype(np.int64) if table.task == "multilabel" else y)
    every = some.new_zeros((len(table), *some.shape[1:]))
    every[torch.from_numpy(rows)] = some
    return every


def train_upper(
    upper: Upper,
    net: Net,
    samples: Shown,
    *,
    device: torch.device,
    begun: bool,
    seed: int,
    report: Callable[[dict[str, Any]], None] | None,
) -> tuple[list[dict[str, Any]], int]:
    """Train in place, and return the entries of the epochs and the epoch that was kept.

    Parameters
    ----------
    upper : Upper
    net : NetClassifier or NetRegressor
        Whose module is the head; its parameters say how to train.
    samples : Shown
    device : torch.device
    begun : bool
        Whether the head is trained already: then what it answered before is the first entry if it had no epochs, and
        stays unless an epoch is better.
    seed : int
        Of the order of the rows, the views and dropout.
    report : callable or None
        Called with each entry as soon as it is there.
    """
    link, size, before = net.coding_.link, net.batch_size, net.n_iter_
    entries: list[dict[str, Any]] = []

    def add(entry: dict[str, Any]) -> None:
        entries.append(entry)
        if report is not None:
            report(entry)

    upper.to(device)
    upper.tap.to(memory_format=torch.channels_last)  # as the activations are stored
    at_start = None
    if begun:
        val = {} if samples.val is None else figures_of(upper, link, samples.val, size, device)
        at_start = val.get("loss")
        if not net.history_:
            own = figures_of(upper, link, samples.plain, size, device)
            add({"epoch": before, **own, **{f"val_{name}": value for name, value in val.items()}})
    plan = Plan(
        optimizer=OPTIMIZERS[net.optimizer],
        settings={
            "lr": net.learning_rate,
            **optimizer_settings(net.optimizer, momentum=net.momentum, weight_decay=net.weight_decay),
        },
        batch_size=size,
        epochs=net.max_epochs,
        schedule=parse_schedule(net.schedule, net.max_epochs, 0),
        patience=None,
        restore_best=True,
        seed=seed + before,
        device=device,
    )
    phase = {"phase": "fine-tune"} if begun else {}
    _, best, _ = train(
        upper,
        link,
        samples.train,
        samples.val,
        plan,
        at_start=at_start,
        report=lambda entry: add({**entry, "epoch": before + entry["epoch"], **phase}),
    )
    upper.cpu()
    return entries, before + best if best else net.best_epoch_
