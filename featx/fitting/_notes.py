"""What a reader of a run's figures should know before trusting them."""

import numpy as np

from featx.fitting._split import Rows
from featx.fitting._table import Table
from featx.heads import FitReport

__all__ = ["notes_on"]

_FEW = 5
"""Training rows below which a class is called tiny."""


def notes_on(table: Table, rows: Rows, report: FitReport) -> list[str]:
    """Return a sentence for each thing that makes the figures of a fit less than they seem."""
    notes = list(report.warnings)
    if table.left_out:
        notes.append(f"{table.left_out} samples are in some of the stores only and were left out")
    notes += _leaks(table, rows)
    if table.task == "classification":
        notes += _small_classes(table, rows)
    if report.history and any("val_loss" in epoch for epoch in report.history):
        notes.append("val chose the best epoch, so its figures are optimistic: judge the run on a test split")
    return notes


def _leaks(table: Table, rows: Rows) -> list[str]:
    """Return a note for each part that holds images or groups of the training rows, as splits made elsewhere may."""
    notes = []
    for part, held_out in rows.held_out.items():
        same = np.isin(table.digests[held_out], table.digests[rows.train])
        if same.any():
            notes.append(f"{same.sum()} of the {len(held_out)} images of {part} are, byte for byte, in train too")
        torn = np.isin(table.groups[held_out], table.groups[rows.train]) & ~same
        if torn.any():
            notes.append(f"{torn.sum()} of the {len(held_out)} samples of {part} are of groups that are in train too")
    return notes


def _small_classes(table: Table, rows: Rows) -> list[str]:
    counts = np.bincount(table.targets[rows.train], minlength=len(table.classes))
    notes = []
    missing = [name for name, count in zip(table.classes, counts, strict=True) if count == 0]
    if missing:
        notes.append(f"{len(missing)} classes have no training rows and are never predicted: {_names(missing)}")
    tiny = [name for name, count in zip(table.classes, counts, strict=True) if 0 < count < _FEW]
    if tiny:
        notes.append(f"{len(tiny)} classes have fewer than {_FEW} training rows: {_names(tiny)}")
    return notes


def _names(names: list[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
