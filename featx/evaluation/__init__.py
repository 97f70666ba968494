"""Figures of a classifier's answers, and the splits they are measured on. Plain numpy; nothing else is loaded."""

from featx.evaluation._figures import ClassFigures, Evaluation, evaluate_predictions
from featx.evaluation._splits import stratified_folds, stratified_split

__all__ = [
    "ClassFigures",
    "Evaluation",
    "evaluate_predictions",
    "stratified_folds",
    "stratified_split",
]
