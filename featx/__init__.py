"""featx: run a frozen network over every image once, keep the vectors, and never pay for them again.

>>> import featx
>>> store = featx.extract("photos/", backbone="resnet50")
>>> run = featx.fit_head(store, "logistic")
>>> predictor = featx.load(run.save())
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from featx.backbones import Backbone, list_backbones, load_backbone
    from featx.caching import Extraction, extract, extract_layers
    from featx.distributed import RayCluster
    from featx.errors import FeatxError
    from featx.evaluation import Evaluation, Figure
    from featx.fitting import (
        Run,
        Sweep,
        advise,
        compare,
        continue_fit,
        evaluate,
        few_shot,
        fit_head,
        label_errors,
        leaderboard,
        sweep,
    )
    from featx.heads import list_heads
    from featx.prediction import FeatureExtractor, Prediction, Predictor, load, neighbors
    from featx.sources import Sample, Source, open_source
    from featx.spec import ExtractionSpec, Preprocessing
    from featx.store import FeatureStore, find_store, open_store
    from featx.tuning import fine_tune

__all__ = [
    "Backbone",
    "Evaluation",
    "Extraction",
    "ExtractionSpec",
    "FeatureExtractor",
    "FeatureStore",
    "FeatxError",
    "Figure",
    "Prediction",
    "Predictor",
    "Preprocessing",
    "RayCluster",
    "Run",
    "Sample",
    "Source",
    "Sweep",
    "advise",
    "compare",
    "continue_fit",
    "evaluate",
    "extract",
    "extract_layers",
    "few_shot",
    "find_store",
    "fine_tune",
    "fit_head",
    "label_errors",
    "leaderboard",
    "list_backbones",
    "list_heads",
    "load",
    "load_backbone",
    "neighbors",
    "open_source",
    "open_store",
    "sweep",
]

_MODULES = {
    "backbones": ("Backbone", "list_backbones", "load_backbone"),
    "caching": ("Extraction", "extract", "extract_layers"),
    "distributed": ("RayCluster",),
    "errors": ("FeatxError",),
    "evaluation": ("Evaluation", "Figure"),
    "fitting": (
        *("Run", "Sweep", "advise", "compare", "continue_fit", "evaluate", "few_shot", "fit_head"),
        *("label_errors", "leaderboard", "sweep"),
    ),
    "heads": ("list_heads",),
    "prediction": ("FeatureExtractor", "Prediction", "Predictor", "load", "neighbors"),
    "sources": ("Sample", "Source", "open_source"),
    "spec": ("ExtractionSpec", "Preprocessing"),
    "store": ("FeatureStore", "find_store", "open_store"),
    "tuning": ("fine_tune",),
}
_WHERE = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: ``import featx`` alone loads no torch."""
    if name not in _WHERE:
        raise AttributeError(f"module 'featx' has no attribute {name!r}")
    value = getattr(import_module(f"featx.{_WHERE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
