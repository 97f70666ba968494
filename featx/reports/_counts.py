"""How many samples of which kind a store has in which split."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from featx import plots
from featx._words import counted
from featx.labels import Task
from featx.reports._drawings import Drawing, number
from featx.store import FeatureStore

__all__ = ["Counts", "counts_of", "split_order", "target_rows"]

_NAMED = 5
"""Names of a list that a sentence has at most."""

_USUAL = ("train", "val", "test")

_UNLIKELY = 1e-3
"""How rarely splits that were drawn by lot may differ as much before it is said that they do."""


@dataclass(frozen=True, eq=False)
class Counts:
    """Samples of each class in each split.

    Attributes
    ----------
    task : {"classification", "multilabel", "regression"}
    classes, splits : tuple of str
        Samples of no split are of the split ''.
    samples : ndarray of shape (s,), int64
        In each split.
    table : ndarray of shape (k, s), int64
    unlabelled : ndarray of shape (s,), int64
        Samples nothing is known of.
    """

    task: Task
    classes: tuple[str, ...]
    splits: tuple[str, ...]
    samples: npt.NDArray[np.int64]
    table: npt.NDArray[np.int64]
    unlabelled: npt.NDArray[np.int64]

    @property
    def totals(self) -> npt.NDArray[np.int64]:
        """Samples of each class."""
        totals: npt.NDArray[np.int64] = self.table.sum(axis=1)
        return totals

    def by_split(self, numbers: npt.NDArray[np.int64]) -> str:
        """Return a number for each split in words, zeros left out."""
        pairs = zip(self.splits, numbers.tolist(), strict=True)
        return ", ".join(f"{n:,} {f'in {split}' if split else 'in no split'}" for split, n in pairs if n)

    def drawing(self) -> Drawing:
        """Return the counts as bars."""
        order = np.argsort(-self.totals, kind="stable")[:_NAMED].tolist()
        words = "; ".join(
            f"{self.classes[i]} {self.totals[i]:,}"
            + (f" ({self.by_split(self.table[i])})" if self.splits != ("",) else "")
            for i in order
        )
        most = "" if len(order) == len(self.classes) else f"; the {len(order)} largest"
        alt = f"Samples of each of {len(self.classes):,} classes{most}: {words}."
        return Drawing("class-counts", "Classes", plots.class_counts(self.table, self.classes, self.splits), alt)

    def rows(self) -> tuple[list[str], list[list[Any]]]:
        """Return the counts as a table: its head, and a row for each class, with its share of the labelled samples."""
        head = ["class", "samples", "share", *(split or "no split" for split in self.splits if self.splits != ("",))]
        whole = max(1, int((self.samples - self.unlabelled).sum()))
        rows = [
            [
                name,
                {"text": f"{total:,}", "value": total},
                {"text": f"{total / whole:.1%}", "value": total / whole},
                *([{"text": f"{n:,}", "value": n} for n in each] if self.splits != ("",) else []),
            ]
            for name, total, each in zip(self.classes, self.totals.tolist(), self.table.tolist(), strict=True)
        ]
        return head, rows

    def notes(self) -> list[str]:
        """Return what is odd about the counts, in words."""
        found = []
        totals = self.totals
        empty = [self.classes[i] for i in np.flatnonzero(totals == 0).tolist()]
        if empty:
            found.append(f"No sample is of {_names(empty)}.")
        for j, split in enumerate(self.splits):
            missing = [self.classes[i] for i in np.flatnonzero((self.table[:, j] == 0) & (totals > 0)).tolist()]
            if split and missing and self.table[:, j].any():
                found.append(f"No sample of {_names(missing)} is in {split}.")
        if self.task == "classification":
            found += self._shares()
        unlabelled = int(self.unlabelled.sum())
        if unlabelled and totals.any():
            where = f" ({self.by_split(self.unlabelled)})" if self.splits != ("",) else ""
            found.append(f"{counted(unlabelled, 'sample has', 'samples have')} no label{where}.")
        return found

    def _shares(self) -> list[str]:
        """Say if the classes' shares differ among the splits by more than chance (a chi-squared test)."""
        from scipy.stats import chi2_contingency

        named = [j for j, split in enumerate(self.splits) if split and self.table[:, j].any()]
        table = self.table[self.totals > 0][:, named]
        table = table[table.any(axis=1)]
        if min(table.shape) < 2 or chi2_contingency(table).pvalue >= _UNLIKELY:
            return []
        shares = self.table[:, named] / self.table[:, named].sum(axis=0)
        i = int(np.ptp(shares, axis=1).argmax())
        words = " and ".join(
            f"{shares[i, j]:.1%} of {self.splits[named[j]]}" for j in (shares[i].argmax(), shares[i].argmin())
        )
        return [f"The splits differ in their classes by more than chance, most in {self.classes[i]}: {words}."]


def counts_of(store: FeatureStore) -> Counts:
    """Count the samples of each class in each split."""
    splits = split_order(store.splits)
    place = {name: j for j, name in enumerate(splits)}
    split = np.array([place[name] for name in store.splits], dtype=np.int64)
    table = np.zeros((len(store.classes), len(splits)), dtype=np.int64)
    if store.multilabels is not None:
        rows, classes = np.nonzero(store.multilabels)
        np.add.at(table, (classes, split[rows]), 1)
    else:
        rows = np.flatnonzero(store.labels >= 0)
        np.add.at(table, (store.labels[rows], split[rows]), 1)
    unlabelled = np.bincount(split[~store.labelled], minlength=len(splits))
    samples = np.bincount(split, minlength=len(splits))
    return Counts(store.task, store.classes, tuple(splits), samples, table, unlabelled)


def split_order(names: Iterable[str]) -> list[str]:
    """Return distinct names of splits in the order people have them in: train, val, test, then the others."""
    return sorted(set(names), key=lambda name: (_USUAL.index(name) if name in _USUAL else len(_USUAL), name))


def target_rows(store: FeatureStore) -> tuple[list[str], list[list[Any]]]:
    """Return what numbers to be predicted a store has, as a table: its head, and a row for each target and split."""
    assert store.targets is not None
    rows: list[list[Any]] = []
    splits = np.array(store.splits, dtype=object)
    for name, column in zip(store.target_names, store.targets.T, strict=True):
        for split in split_order(store.splits):
            known = column[(splits == split) & store.labelled]
            if len(known):
                figures = np.quantile(known, (0, 0.25, 0.5, 0.75, 1)).tolist()
                cells = [{"text": number(value), "value": value} for value in figures]
                rows.append([name, split or "no split", len(known), *cells])
    return ["target", "split", "samples", "least", "lower quartile", "median", "upper quartile", "greatest"], rows


def _names(names: list[str]) -> str:
    shown = ", ".join(names[:_NAMED])
    return shown if len(names) <= _NAMED else f"{len(names):,} classes ({shown}, …)"
