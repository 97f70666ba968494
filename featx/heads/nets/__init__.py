"""Small nets: layers from a line of text, trained by skorch on batches gathered from the features as they lie."""

from featx.heads.nets._estimators import NetClassifier, NetRegressor

__all__ = ["NetClassifier", "NetRegressor"]
