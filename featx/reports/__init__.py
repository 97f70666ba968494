"""Reports: what arrays and figures look like, as pictures that need no display.

Drawing takes matplotlib, which is loaded when something is drawn.
"""

from featx.reports._curves import learning_curves
from featx.reports._files import PICTURE_SUFFIXES, save_figure, save_figures
from featx.reports._gallery import gallery

__all__ = ["PICTURE_SUFFIXES", "gallery", "learning_curves", "save_figure", "save_figures"]
