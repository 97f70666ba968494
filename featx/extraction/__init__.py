"""Extraction: the one loop that runs a network over samples, and the engines it runs on.

The loop itself needs no torch; what does is imported when it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from featx.extraction._embed import embed
from featx.extraction._loop import (
    ENGINE_NAMES,
    Batch,
    Engine,
    default_batch_size,
    default_workers,
    extract_batches,
)
from featx.extraction._transform import preprocess

if TYPE_CHECKING:
    from featx.extraction._engine import ENGINES, TorchEngine, resolve_device, resolve_precision
    from featx.extraction._outputs import Output, plan_outputs
    from featx.extraction._reload import reload_backbone

__all__ = [
    "ENGINES",
    "ENGINE_NAMES",
    "Batch",
    "Engine",
    "Output",
    "TorchEngine",
    "default_batch_size",
    "default_workers",
    "embed",
    "extract_batches",
    "plan_outputs",
    "preprocess",
    "reload_backbone",
    "resolve_device",
    "resolve_precision",
]

_WITH_TORCH = {
    **dict.fromkeys(("ENGINES", "TorchEngine", "resolve_device", "resolve_precision"), "_engine"),
    **dict.fromkeys(("Output", "plan_outputs"), "_outputs"),
    "reload_backbone": "_reload",
}


def __getattr__(name: str) -> Any:
    if name not in _WITH_TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"featx.extraction.{_WITH_TORCH[name]}"), name)
