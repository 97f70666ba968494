"""Plots: what arrays and figures look like, as pictures that need no display.

Drawing takes matplotlib, which is loaded when something is drawn.
"""

from featx.plots._curves import learning_curves
from featx.plots._files import PICTURE_SUFFIXES, save_figure, save_figures
from featx.plots._gallery import gallery

__all__ = ["PICTURE_SUFFIXES", "gallery", "learning_curves", "save_figure", "save_figures"]
