"""Prediction: backbone and head together, from images to answers."""

from typing import TYPE_CHECKING, Any

from featx.prediction._neighbors import Neighborhood, NeighborSearch, neighbors
from featx.prediction._predictor import Prediction, Predictor, load

if TYPE_CHECKING:
    from featx.prediction._extractor import FeatureExtractor

__all__ = ["FeatureExtractor", "NeighborSearch", "Neighborhood", "Prediction", "Predictor", "load", "neighbors"]


def __getattr__(name: str) -> Any:
    if name == "FeatureExtractor":  # it needs scikit-learn and torch
        from featx.prediction._extractor import FeatureExtractor

        return FeatureExtractor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
