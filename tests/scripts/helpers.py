"""The modules of the bench of the heads, and a small case for them."""

import importlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from sklearn.linear_model import LogisticRegression

ROWS, WIDTH = 160, 12


def head_modules() -> SimpleNamespace:
    """Return `bench.heads` with the contestants and the reports; the fixture `bench` must have made them importable."""
    names = ("heads", "head_contestants", "head_reports")
    found = SimpleNamespace(**{name: importlib.import_module(f"bench.{name}") for name in names})
    return SimpleNamespace(**vars(found.heads), contestants=found.head_contestants, reports=found.head_reports)


def small_case(heads: SimpleNamespace, folder: Path, classes: int) -> Any:
    """Return a case that is fitted in milliseconds."""
    return heads.make_case(folder, ROWS, WIDTH, classes, m=40, seed=1)


def fitted(case: Any, C: float = 1.0) -> LogisticRegression:
    """Return scikit-learn's fit of a case."""
    train = slice(case.n)
    return LogisticRegression(C=C, max_iter=10_000).fit(case.standardised[train], case.labels[train])
