"""Extraction: the one loop that runs a network over samples, and the engines it runs on."""

from featx.extraction._embed import embed
from featx.extraction._engine import ENGINES, Engine, TorchEngine, resolve_device, resolve_precision
from featx.extraction._loop import Batch, default_batch_size, default_workers, extract_batches
from featx.extraction._outputs import Output, plan_outputs
from featx.extraction._transform import preprocess

__all__ = [
    "ENGINES",
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
    "resolve_device",
    "resolve_precision",
]
