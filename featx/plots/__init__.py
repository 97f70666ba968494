"""Plots: what arrays and figures look like, as pictures that need no display.

Drawing takes matplotlib, which is loaded when something is drawn.
"""

from featx.plots._classes import class_counts, score_by_class
from featx.plots._curves import learning_curves
from featx.plots._differences import score_differences
from featx.plots._files import PICTURE_SUFFIXES, save_figure, save_figures
from featx.plots._gallery import gallery
from featx.plots._map import AxesBox, axes_box, feature_map
from featx.plots._matrix import confusion_matrix
from featx.plots._ranking import Curve, precision_recall_curves, roc_curves
from featx.plots._reliability import calibration_curve
from featx.plots._svg import page_svg
from featx.plots._values import regularisation_path, residuals

__all__ = [
    "PICTURE_SUFFIXES",
    "AxesBox",
    "Curve",
    "axes_box",
    "calibration_curve",
    "class_counts",
    "confusion_matrix",
    "feature_map",
    "gallery",
    "learning_curves",
    "page_svg",
    "precision_recall_curves",
    "regularisation_path",
    "residuals",
    "roc_curves",
    "save_figure",
    "save_figures",
    "score_by_class",
    "score_differences",
]
