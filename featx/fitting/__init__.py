"""Fitting: joins stores and heads into runs."""

from featx.fitting._fit import evaluate, fit_head
from featx.fitting._run import Run, runs_folder

__all__ = ["Run", "evaluate", "fit_head", "runs_folder"]
