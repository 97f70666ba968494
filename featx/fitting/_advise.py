"""Which way to go with a data set: what its size, its classes and the network's layers say."""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from featx.evaluation import Figure, FoldComparison, compare_folds
from featx.fitting._commands import command, network_words, source_words
from featx.fitting._ground import Ground, RowChoice, forget_grounds
from featx.fitting._layers import (
    LayerFigures,
    depth_of,
    judge_layer,
    require_one_family,
    require_vectors,
    stores_beside,
)
from featx.fitting._stores import StoreLike, open_stores
from featx.store import FeatureStore

__all__ = ["Advice", "advise"]

Size = Literal["small", "large"]
Kinship = Literal["similar", "different"]

LARGE = 10_000
LARGE_CLASS = 1_000
"""Training images, in all and of a class on average, from which on a data set is large.

Fine-tuning changes millions of weights, which so many images hold in place. What people call small and large lies on
both sides: flowers (3,670 images of 5 classes) and the filtered cats and dogs (2,000) are small, CIFAR-10 (50,000),
EMNIST balanced (112,800 of 47) and all cats and dogs (23,262) are large.
"""

GROUPED = 0.5
"""From which skill of kNN on the last layer (0: always the most frequent class, 1: no error) images are similar.

kNN learns nothing: it is as good as the network has put images of one class side by side already. Where that does half
of the work or more, the network knows the like of them.
"""

EARLIER = 2 / 3
"""Layers up to this depth are earlier ones: those after it have mostly seen what the last has."""

_WAYS: dict[tuple[Size, Kinship], str] = {
    ("small", "similar"): "train a head on the last layer's features, and leave the network as it is",
    ("small", "different"): "train a head on an earlier layer's features, or on several layers' together",
    ("large", "similar"): "train a head, then fine-tune the upper part of the network from there",
    ("large", "different"): "fine-tune the whole network, and see whether one trained from scratch does as well",
}
"""The four cases of Stanford's CS231n notes on transfer learning, and what they advise in each."""


@dataclass(frozen=True)
class Advice:
    """What :func:`advise` found.

    Attributes
    ----------
    source, backbone : str
    n : int
        Training rows.
    classes : int
    most_frequent : float
        Share of the largest class: the accuracy of always answering it.
    folds : int
    layers : tuple of LayerFigures
        By depth; the last is what the others are held against.
    skill : Figure
        kNN's accuracy on the last layer, as a share of the way from `most_frequent` to 1.
    early : LayerFigures or None
        The best of the earlier layers.
    gain : FoldComparison or None
        Logistic regression's accuracy on the last layer less that on `early`.
    size : {"small", "large"}
    kinship : {"similar", "different"}
        To what the network was trained on.
    way : str
        What is known to work then.
    reasons, doubts : tuple of str
        What speaks for it, and what is uncertain, with the numbers.
    steps : tuple of (str, str)
        What to try next, and the command.
    """

    source: str
    backbone: str
    n: int
    classes: int
    most_frequent: float
    folds: int
    layers: tuple[LayerFigures, ...]
    skill: Figure
    early: LayerFigures | None
    gain: FoldComparison | None
    size: Size
    kinship: Kinship
    way: str
    reasons: tuple[str, ...]
    doubts: tuple[str, ...]
    steps: tuple[tuple[str, str], ...]

    @property
    def situation(self) -> str:
        """Size and kinship in words."""
        to = "similar to" if self.kinship == "similar" else "different from"
        return f"{self.size} data, {to} what {self.backbone} was trained on"

    def to_dict(self) -> dict[str, Any]:
        """Return everything, as JSON can hold it."""
        layers = [{**asdict(one), "store": str(one.store), "values": list(one.values)} for one in self.layers]
        return {
            **asdict(self),
            "layers": layers,
            "early": None if self.early is None else self.early.layer,
            "situation": self.situation,
            "reasons": list(self.reasons),
            "doubts": list(self.doubts),
            "steps": [{"what": what, "command": line} for what, line in self.steps],
        }


def advise(
    stores: StoreLike | Sequence[StoreLike],
    *,
    cv: int = 5,
    seed: int = 0,
    train: str | None = None,
    val: str | None = None,
    test: str | None = None,
    cache: str | os.PathLike[str] | None = None,
) -> Advice:
    """Say whether to train a head, to take earlier features, to fine-tune, or to train from scratch.

    Parameters
    ----------
    stores : str, path, FeatureStore or a sequence of them
        Files, or names of stores in the cache. Of a single one, those of other layers of the same network and the same
        samples are looked for beside it.
    cv : int
        Number of folds.
    seed : int
        Of the folds.
    train, val, test : str, optional
        As in :func:`~featx.fitting.fit_head`; rows for validation and test take no part.
    cache : path, optional
        Where stores are looked for by name.

    Returns
    -------
    Advice

    Raises
    ------
    ParameterError
        The samples have no classes, the features are no vectors, or the stores are not of one network and source.
    HeadError
        No head can be fitted.

    Notes
    -----
    A data set is large from :data:`LARGE` training images on, and :data:`LARGE_CLASS` of each class. It is different
    from what the network was trained on if an earlier layer does better than the last beyond the noise (the corrected
    resampled t-test over the same folds), or if kNN's skill on the last is below :data:`GROUPED`; else it is similar.
    """
    opened = open_stores(stores, cache)
    require_vectors(opened)
    found, left_out = (opened, []) if len(opened) > 1 else stores_beside(opened[0])
    require_one_family(found)
    found.sort(key=lambda store: (depth_of(store), store.spec.pool))
    choice = RowChoice(train, val, test)
    try:
        figures = [judge_layer(store, choice, cv, seed) for store in found]
        table, rows = Ground((found[-1],), choice).table, Ground((found[-1],), choice).rows
    finally:
        forget_grounds()
    counts = np.bincount(table.targets[rows.train])
    n, classes, most_frequent = len(rows.train), int((counts > 0).sum()), float(counts.max() / counts.sum())
    last = figures[-1]
    early = max((one for one in figures[:-1] if one.depth <= EARLIER), key=lambda one: one.linear.value, default=None)
    gain = None if early is None else compare_folds(early.values, last.values)
    skill = _skill(last.neighbors, most_frequent)
    size: Size = "large" if n >= LARGE and n / classes >= LARGE_CLASS else "small"
    is_similar = skill.value >= GROUPED and (gain is None or gain.high >= 0)
    kinship: Kinship = "similar" if is_similar else "different"
    return Advice(
        source=str(found[-1].source.get("name", found[-1].name)),
        backbone=found[-1].spec.backbone,
        n=n,
        classes=classes,
        most_frequent=most_frequent,
        folds=cv,
        layers=tuple(figures),
        skill=skill,
        early=early,
        gain=gain,
        size=size,
        kinship=kinship,
        way=_WAYS[size, kinship],
        reasons=_reasons(n, classes, size, last, most_frequent, skill, early, gain),
        doubts=(*_doubts(last, skill, early, gain), *left_out),
        steps=_steps(size, kinship, found[-1], last, early),
    )


def _skill(accuracy: Figure, most_frequent: float) -> Figure:
    return Figure(*((value - most_frequent) / (1 - most_frequent) for value in vars(accuracy).values()))


def _reasons(
    n: int,
    classes: int,
    size: Size,
    last: LayerFigures,
    most_frequent: float,
    skill: Figure,
    early: LayerFigures | None,
    gain: FoldComparison | None,
) -> tuple[str, ...]:
    found = [
        f"{n:,} training images of {classes} classes, {n / classes:,.0f} of each on average: {size} (large is"
        f" {LARGE:,} or more, and {LARGE_CLASS:,} of each)",
        f"kNN, which learns nothing, is right {_share(last.neighbors)} of the time on {last.layer}, where always"
        f" answering the most frequent class is {most_frequent:.3f}: {_share(skill)} of the way from that to 1 (similar"
        f" is {GROUPED:g} or more)",
    ]
    if early is not None and gain is not None:
        found.append(
            f"from {early.layer} to {last.layer}, logistic regression goes from {early.linear.value:.3f} to"
            f" {last.linear.value:.3f}: {gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f}), so that the"
            f" {_better(gain)}"
        )
    return tuple(found)


def _better(gain: FoldComparison) -> str:
    if gain.low > 0:
        return "last layer is the better one"
    return "earlier layer is the better one" if gain.high < 0 else "difference is within the noise"


def _doubts(
    last: LayerFigures, skill: Figure, early: LayerFigures | None, gain: FoldComparison | None
) -> tuple[str, ...]:
    found = []
    if last.depth <= EARLIER:
        found.append(f"{last.layer} is no late layer, and kNN on it says little of what the whole network knows")
    if early is None:
        found.append("there is no store of an earlier layer to hold against this one: kNN alone has spoken")
    elif gain is not None and gain.low <= 0 <= gain.high:
        found.append("the earlier layer and the last are equally good within the noise: kNN alone has spoken")
    if skill.low < GROUPED <= skill.high:
        found.append(f"kNN's share is within the noise of {GROUPED:g}: similar or different is nearly a toss-up")
    return tuple(found)


def _share(figure: Figure) -> str:
    return f"{figure.value:.3f} ({figure.low:.3f}–{figure.high:.3f})"


def _steps(
    size: Size, kinship: Kinship, store: FeatureStore, last: LayerFigures, early: LayerFigures | None
) -> tuple[tuple[str, str], ...]:
    source, network = source_words(store), network_words(store)
    from_node = store.backbone.get("early") or "NODE"
    steps = []
    if last.depth <= EARLIER:
        steps.append(("keep the last layer, too", command("extract", *source, *network)))
    if early is None:
        what = "keep an earlier layer, too" + ("" if from_node != "NODE" else " (`featx layers` lists them)")
        steps.append((what, command("extract", *source, *network, "--layer", from_node)))
    if steps:
        steps.append(("ask again", command("advise", store.path)))
    if size == "small":
        if kinship == "similar":
            heads = [word for head in ("logistic", "knn", "mlp") for word in ("--head", head)]
            steps.append(("choose among heads", command("sweep", last.store, *heads)))
        elif early is not None:
            joined = command("sweep", early.store, last.store, "--stores", "auto")
            steps.append(("let cross-validation choose one layer, or both", joined))
        return tuple(steps)
    head = f"runs/{store.name}-head"
    steps.append(("train a head to begin with", command("fit-head", last.store, "--out", head)))
    begin = "input" if kinship == "different" else from_node
    upper = ["--from", begin, "--init-head", head]
    steps.append(("fine-tune from there", command("fine-tune", *source, *network, *upper)))
    if kinship == "different":
        scratch = ["--backbone", "small_cnn", "--weights", "random:0", "--from", "input", "--fresh-head"]
        steps.append(("for comparison, from scratch", command("fine-tune", *source, *scratch)))
    return tuple(steps)
