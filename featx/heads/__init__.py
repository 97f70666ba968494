"""Heads: classifiers on features. Arrays in, arrays out, scikit-learn's estimator contract.

A head is made by name (:func:`make_head`), fitted (:func:`fit_head`), asked (:func:`head_scores`) and kept
(:func:`save_head`, :func:`load_head`). scikit-learn is loaded when the first is made, not when this is imported; a
linear head that was stored answers without it.
"""

from typing import TYPE_CHECKING, Any

from featx.heads._fitting import FitReport, fit_head, head_scores
from featx.heads._linear import LinearClassifier
from featx.heads._params import parse_params
from featx.heads._registry import HeadInfo, list_heads, make_head
from featx.heads._storage import load_head, save_head

if TYPE_CHECKING:
    from featx.heads._centroid import CentroidClassifier

__all__ = [
    "CentroidClassifier",
    "FitReport",
    "HeadInfo",
    "LinearClassifier",
    "fit_head",
    "head_scores",
    "list_heads",
    "load_head",
    "make_head",
    "parse_params",
    "save_head",
]


def __getattr__(name: str) -> Any:
    if name == "CentroidClassifier":  # it needs scikit-learn
        from featx.heads._centroid import CentroidClassifier

        return CentroidClassifier
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
