"""Small nets: layers from a line of text, trained by skorch on batches gathered from the features as they lie."""

from featx.heads.nets._adopt import as_net, finish_net, new_net
from featx.heads.nets._batches import Rows, Samples
from featx.heads.nets._estimators import NetClassifier, NetRegressor
from featx.heads.nets._optimizers import OPTIMIZERS, optimizer_settings, parse_schedule
from featx.heads.nets._settings import check_settings
from featx.heads.nets._training import Plan, figures_of, train

__all__ = [
    "OPTIMIZERS",
    "NetClassifier",
    "NetRegressor",
    "Plan",
    "Rows",
    "Samples",
    "as_net",
    "check_settings",
    "figures_of",
    "finish_net",
    "new_net",
    "optimizer_settings",
    "parse_schedule",
    "train",
]
