"""Extraction: the one loop that runs a network over samples, and the engines it runs on.

The loop itself needs no torch; what does is imported when it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from featx.extraction._augment import Augmentation, augmentation_for
from featx.extraction._embed import embed
from featx.extraction._loop import (
    ENGINE_NAMES,
    Batch,
    Engine,
    Features,
    Image,
    Submit,
    default_batch_size,
    default_workers,
    extract_batches,
)
from featx.extraction._onnx import OnnxEngine, graph_key
from featx.extraction._sample import Loaded, load_sample
from featx.extraction._timings import STAGES, Timings
from featx.extraction._transform import enough_for, load_pixels, preprocess

if TYPE_CHECKING:
    from featx.extraction._cuda import CudaEngine
    from featx.extraction._engine import CompiledEngine, TorchEngine, load_engine, resolve_device, resolve_precision
    from featx.extraction._export import export_graph
    from featx.extraction._model import export_model
    from featx.extraction._outputs import Output, plan_outputs
    from featx.extraction._reload import output_of, reload_backbone

__all__ = [
    "ENGINE_NAMES",
    "STAGES",
    "Augmentation",
    "Batch",
    "CompiledEngine",
    "CudaEngine",
    "Engine",
    "Features",
    "Image",
    "Loaded",
    "OnnxEngine",
    "Output",
    "Submit",
    "Timings",
    "TorchEngine",
    "augmentation_for",
    "default_batch_size",
    "default_workers",
    "embed",
    "enough_for",
    "export_graph",
    "export_model",
    "extract_batches",
    "graph_key",
    "load_engine",
    "load_pixels",
    "load_sample",
    "output_of",
    "plan_outputs",
    "preprocess",
    "reload_backbone",
    "resolve_device",
    "resolve_precision",
]

_WITH_TORCH = {
    **dict.fromkeys(("CompiledEngine", "TorchEngine", "load_engine", "resolve_device", "resolve_precision"), "_engine"),
    "CudaEngine": "_cuda",
    "export_graph": "_export",
    "export_model": "_model",
    **dict.fromkeys(("Output", "plan_outputs"), "_outputs"),
    **dict.fromkeys(("output_of", "reload_backbone"), "_reload"),
}


def __getattr__(name: str) -> Any:
    if name not in _WITH_TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"featx.extraction.{_WITH_TORCH[name]}"), name)
