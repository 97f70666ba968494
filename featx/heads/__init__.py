"""Heads: classifiers and regressors on features. Arrays in, arrays out, scikit-learn's estimator contract.

A head is made by name (:func:`make_head`), fitted (:func:`fit_head`, or many at once by :func:`fit_many`), asked
(:func:`head_scores`, :func:`head_values`) and kept (:func:`save_head`, :func:`load_head`). scikit-learn and torch are
loaded when a head that needs them is made, not when this is imported; a linear head that was stored answers without.
"""

import importlib
from typing import TYPE_CHECKING, Any

from featx.heads._asking import head_scores, head_values
from featx.heads._calibration import (
    CalibratedHead,
    Isotonic,
    Temperature,
    calibrate_head,
    fit_calibration,
    with_calibration,
)
from featx.heads._fitting import FitReport, fit_head
from featx.heads._linear import LinearClassifier, LinearRegressor
from featx.heads._many import fit_many
from featx.heads._params import parse_grid, parse_params
from featx.heads._registry import HeadInfo, list_heads, make_head
from featx.heads._storage import load_head, save_head

if TYPE_CHECKING:
    from featx.heads._centroid import CentroidClassifier
    from featx.heads._gaussian import GaussianNBClassifier, LDAClassifier
    from featx.heads._neighbors import KNNClassifier, KNNRegressor, nearest_rows
    from featx.heads._ridge import RidgeClassifier, RidgeRegressor
    from featx.heads.logistic import LogisticClassifier
    from featx.heads.nets import NetClassifier, NetRegressor

__all__ = [
    "CalibratedHead",
    "CentroidClassifier",
    "FitReport",
    "GaussianNBClassifier",
    "HeadInfo",
    "Isotonic",
    "KNNClassifier",
    "KNNRegressor",
    "LDAClassifier",
    "LinearClassifier",
    "LinearRegressor",
    "LogisticClassifier",
    "NetClassifier",
    "NetRegressor",
    "RidgeClassifier",
    "RidgeRegressor",
    "Temperature",
    "calibrate_head",
    "fit_calibration",
    "fit_head",
    "fit_many",
    "head_scores",
    "head_values",
    "list_heads",
    "load_head",
    "make_head",
    "nearest_rows",
    "parse_grid",
    "parse_params",
    "save_head",
    "with_calibration",
]

_LAZY = {
    "CentroidClassifier": "_centroid",
    "GaussianNBClassifier": "_gaussian",
    "KNNClassifier": "_neighbors",
    "KNNRegressor": "_neighbors",
    "LDAClassifier": "_gaussian",
    "LogisticClassifier": "logistic",
    "NetClassifier": "nets",
    "NetRegressor": "nets",
    "RidgeClassifier": "_ridge",
    "RidgeRegressor": "_ridge",
    "nearest_rows": "_neighbors",
}
"""Which file holds what needs scikit-learn or torch, and is loaded when it is asked for."""


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"featx.heads.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
