"""Which way to go with a data set: what its size, its classes and the network's layers say."""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from featx.evaluation import Figure, FoldComparison, compare_folds
from featx.fitting._commands import command, network_words, option_words, source_words
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
    steps : tuple of (str, str)
        What to try next, and the command.
    left_out : tuple of str
        Stores of other layers that cannot be held against these, and why.
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
    steps: tuple[tuple[str, str], ...]
    left_out: tuple[str, ...]

    @property
    def situation(self) -> str:
        """Size and kinship in words."""
        to = "similar to" if self.kinship == "similar" else "different from"
        return f"{self.size} data, {to} what {self.backbone} was trained on"

    @property
    def way(self) -> str:
        """What is known to work in that situation."""
        return _WAYS[self.size, self.kinship]

    @property
    def reasons(self) -> tuple[str, ...]:
        """What speaks for it, with the numbers."""
        last, each = self.layers[-1], self.n / self.classes
        found = [
            f"{self.n:,} training images of {self.classes} classes, {each:,.0f} of each on average: {self.size} (large"
            f" is {LARGE:,} or more, and {LARGE_CLASS:,} of each)",
            f"kNN, which learns nothing, is right {_share(last.neighbors)} of the time on {last.layer}, where always"
            f" answering the most frequent class is {self.most_frequent:.3f}: {_share(self.skill)} of the way from that"
            f" to 1 (similar is {GROUPED:g} or more)",
        ]
        if self.early is not None and self.gain is not None:
            gain = self.gain
            found.append(
                f"from {self.early.layer} to {last.layer}, logistic regression goes from"
                f" {self.early.linear.value:.3f} to {last.linear.value:.3f}: {gain.value:+.3f} ({gain.low:+.3f} to"
                f" {gain.high:+.3f}), so that the {_better(gain)}"
            )
        return tuple(found)

    @property
    def doubts(self) -> tuple[str, ...]:
        """What is uncertain about it."""
        found = []
        if self.layers[-1].depth <= EARLIER:
            found.append(
                f"{self.layers[-1].layer} is no late layer: kNN on it says little of what the whole network knows"
            )
        if self.gain is None:
            found.append("there is no store of an earlier layer to hold against this one: kNN alone has spoken")
        elif self.gain.low <= 0 <= self.gain.high:
            found.append("the earlier layer and the last are equally good within the noise: kNN alone has spoken")
        if self.skill.low < GROUPED <= self.skill.high:
            found.append(f"kNN's share is within the noise of {GROUPED:g}: similar or different is nearly a toss-up")
        return (*found, *self.left_out)

    def to_dict(self) -> dict[str, Any]:
        """Return everything, as JSON can hold it."""
        return {
            **asdict(self),
            "layers": [{**asdict(one), "store": str(one.store), "values": list(one.values)} for one in self.layers],
            "early": None if self.early is None else self.early.layer,
            "situation": self.situation,
            "way": self.way,
            "reasons": list(self.reasons),
            "doubts": list(self.doubts),
            "steps": [{"what": what, "command": line} for what, line in self.steps],
            "left_out": list(self.left_out),
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
        steps=_steps(size, kinship, found[-1], last, early, option_words({"train": train, "val": val, "test": test})),
        left_out=tuple(left_out),
    )


def _skill(accuracy: Figure, most_frequent: float) -> Figure:
    return Figure(*((value - most_frequent) / (1 - most_frequent) for value in vars(accuracy).values()))


def _better(gain: FoldComparison) -> str:
    if gain.low > 0:
        return "last layer is the better one"
    return "earlier layer is the better one" if gain.high < 0 else "difference is within the noise"


def _share(figure: Figure) -> str:
    return f"{figure.value:.3f} ({figure.low:.3f}–{figure.high:.3f})"


def _steps(
    size: Size,
    kinship: Kinship,
    store: FeatureStore,
    last: LayerFigures,
    early: LayerFigures | None,
    rows: Sequence[str],
) -> tuple[tuple[str, str], ...]:
    """Return what to try next, with commands that name the same rows as this one did."""
    source, network = source_words(store), network_words(store)
    halfway = store.backbone.get("early") or "NODE"
    steps = []
    if last.depth <= EARLIER:
        steps.append(("keep the last layer, too", command("extract", *source, *network)))
    if early is None:
        which = "" if halfway != "NODE" else " (`featx layers` lists them)"
        steps.append((f"keep an earlier layer, too{which}", command("extract", *source, *network, "--layer", halfway)))
    if steps:
        steps.append(("ask again", command("advise", store.path, *rows)))
    if (size, kinship) == ("small", "similar"):
        heads = [word for head in ("logistic", "knn", "mlp") for word in ("--head", head)]
        steps.append(("choose among heads", command("sweep", last.store, *heads, *rows)))
    elif size == "small" and early is not None:
        joined = command("sweep", early.store, last.store, "--stores", "auto", *rows)
        steps.append(("let cross-validation choose one layer, or both", joined))
    elif size == "large":
        head = f"runs/{store.name}-head"
        whole = kinship == "different"  # images then go through it in every epoch, and no views are kept
        words = network_words(store, views=not whole)
        begin = ["--from", "input" if whole else halfway, "--init-head", head]
        steps.append(("train a head to begin with", command("fit-head", last.store, *rows, "--out", head)))
        steps.append(("fine-tune from there", command("fine-tune", *source, *words, *begin)))
        if whole:
            scratch = ["--backbone", "small_cnn", "--weights", "random:0", "--from", "input", "--fresh-head"]
            same = ["--train-split" if word == "--train" else word for word in rows]
            steps.append(("for comparison, from scratch", command("fine-tune", *source, *scratch, "--lr", 1e-3, *same)))
    return tuple(steps)
