"""Figures of a head's answers with 95 % intervals, comparisons, and the splits they are measured on.

Plain numpy: what a stored linear head answers is judged without scikit-learn.
"""

from featx.evaluation._calibration import ConfidenceBin, Rejection, calibration_error, reject_threshold, reliability
from featx.evaluation._classification import evaluate_predictions
from featx.evaluation._compare import (
    Comparison,
    Difference,
    FoldComparison,
    compare_folds,
    compare_predictions,
    mcnemar_test,
)
from featx.evaluation._figures import LOWER_IS_BETTER, ClassFigures, Evaluation
from featx.evaluation._headline import headline_value
from featx.evaluation._intervals import Figure
from featx.evaluation._label_errors import LabelErrors, find_label_errors
from featx.evaluation._multilabel import evaluate_multilabel
from featx.evaluation._ranking import precision_recall_curve, roc_curve
from featx.evaluation._regression import evaluate_regression
from featx.evaluation._splits import stratified_folds, stratified_split
from featx.evaluation._stratify import folds_for, split_for

__all__ = [
    "LOWER_IS_BETTER",
    "ClassFigures",
    "Comparison",
    "ConfidenceBin",
    "Difference",
    "Evaluation",
    "Figure",
    "FoldComparison",
    "LabelErrors",
    "Rejection",
    "calibration_error",
    "compare_folds",
    "compare_predictions",
    "evaluate_multilabel",
    "evaluate_predictions",
    "evaluate_regression",
    "find_label_errors",
    "folds_for",
    "headline_value",
    "mcnemar_test",
    "precision_recall_curve",
    "reject_threshold",
    "reliability",
    "roc_curve",
    "split_for",
    "stratified_folds",
    "stratified_split",
]
