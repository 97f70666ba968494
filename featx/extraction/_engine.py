"""Engines that need torch: the network as it is, and compiled."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch._inductor.config
import torch._inductor.exc
from torch import nn

from featx.backbones import Backbone
from featx.errors import EngineError, ParameterError, first_line
from featx.extraction._capture import PixelsToRows, capture, eager_rows, noise, silence
from featx.extraction._fold import fold_batch_norms
from featx.extraction._loop import Engine, Features, Image, Submit
from featx.extraction._outputs import Output
from featx.extraction._rows import as_stored, require_fp32, require_same_rows, run_in_batches

__all__ = ["CompiledEngine", "TorchEngine", "load_engine", "resolve_device", "resolve_precision"]

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def resolve_device(device: str) -> str:
    """Return ``cpu``, ``cuda`` or ``cuda:N`` for what was asked; ``auto`` takes a GPU where there is one."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, index = device.partition(":")
    if kind not in ("cpu", "cuda") or (index and not index.isdecimal()):
        raise ParameterError(f"device must be auto, cpu, cuda or cuda:N; got {device!r}")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise ParameterError(
            f"device {device!r} is not there: torch {torch.__version__} sees {torch.cuda.device_count()} GPUs;"
            " use device auto or cpu"
        )
    return device


def resolve_precision(precision: str, device: str) -> str:
    """Return the precision that ``auto`` means: bf16 on a GPU that has it, fp32 elsewhere."""
    if precision != "auto":
        return precision
    return "bf16" if device.startswith("cuda") and torch.cuda.is_bf16_supported() else "fp32"


def _memory_format(network: nn.Module) -> torch.memory_format:
    """Return channels-last, the faster one, but where it costs digits.

    Torch's group norm on a CPU sums squares in one pass over channels-last memory: of values far from zero
    there is no fifth digit left.
    """
    grouped = any(isinstance(module, nn.GroupNorm) for module in network.modules())
    return torch.contiguous_format if grouped else torch.channels_last


class TorchEngine:
    """The network as torch runs it on a processor, eagerly, in channels-last memory.

    In fp32, a copy of it runs whose batch norms are folded into its convolutions.

    Parameters
    ----------
    backbone : Backbone
    outputs : sequence of Output
        All of one precision.
    """

    name = "torch"
    device = "cpu"
    resizes = False

    def __init__(self, backbone: Backbone, outputs: Sequence[Output]) -> None:
        self._specs = tuple(output.spec for output in outputs)
        self._precision = _DTYPES[self._specs[0].precision]
        memory = _memory_format(backbone.network)
        module = PixelsToRows(backbone, outputs, memory)
        if self._precision is torch.float32:
            module.tap = fold_batch_norms(module.tap, backbone.preprocessing.crop_size)
        self._module = module.to(memory_format=memory)

    def __call__(self, pixels: npt.NDArray[np.uint8]) -> Features:
        """Return one array (n, ...) per output for pixels of shape (n, height, width, 3)."""
        with (
            torch.inference_mode(),
            torch.autocast("cpu", dtype=self._precision, enabled=self._precision is not torch.float32),
        ):
            rows = self._module(torch.from_numpy(pixels))
        return as_stored([features.numpy() for features in rows], self._specs)

    def load(self) -> None:
        """Do nothing: it is ready."""

    def start(self, images: Sequence[Image], submit: Submit) -> Callable[[], Features]:
        """Compute the features of images of the network's size, on all cores, and return what returns them."""
        features = self(np.stack(images))
        return lambda: features


class CompiledEngine:
    """The network compiled by torch's inductor for a CPU, weights included, in batches of eight.

    Parameters
    ----------
    backbone : Backbone
    outputs : sequence of Output
        Of precision fp32.

    Raises
    ------
    EngineError
        If there is no C++ compiler, or the network cannot be captured or compiled, or gives other features then.
    """

    name = "compile"
    device = "cpu"
    resizes = False

    _BATCH = 8

    def __init__(self, backbone: Backbone, outputs: Sequence[Output]) -> None:
        self._specs = tuple(output.spec for output in outputs)
        require_fp32(self._specs, engine=self.name)
        module = PixelsToRows(backbone, outputs)
        pixels = noise(backbone, self._BATCH)
        captured = capture(module, pixels, dynamic=False)
        with torch._inductor.config.patch(freezing=True, compile_threads=1):  # threads would be processes, left behind
            try:
                with silence():
                    self._module = torch.compile(captured.module(), fullgraph=True, dynamic=False)
                    got = eager_rows(self._module, pixels)
            except Exception as error:  # dynamo and inductor raise every kind of exception here
                reason = getattr(error, "inner_exception", error)
                if isinstance(reason, torch._inductor.exc.InvalidCxxCompiler):
                    raise EngineError(
                        "engine 'compile' needs a C++ compiler, and finds none: install g++ or clang, or use engine"
                        " onnxruntime or torch"
                    ) from error
                raise EngineError(
                    f"torch.compile cannot compile {backbone.name} ({first_line(reason)}): use engine torch"
                ) from error
        require_same_rows(got, eager_rows(module, pixels), what=f"the compiled {backbone.name}")

    def __call__(self, pixels: npt.NDArray[np.uint8]) -> Features:
        """Return one array (n, ...) per output for pixels of shape (n, height, width, 3)."""
        return as_stored(
            run_in_batches(lambda batch: eager_rows(self._module, batch), pixels, self._BATCH), self._specs
        )

    def load(self) -> None:
        """Do nothing: it is ready."""

    def start(self, images: Sequence[Image], submit: Submit) -> Callable[[], Features]:
        """Compute the features of images of the network's size, on all cores, and return what returns them."""
        features = self(np.stack(images))
        return lambda: features


def load_engine(name: str, backbone: Backbone, outputs: Sequence[Output], *, device: str) -> Engine:
    """Return the engine of that name; ONNX Runtime's is made from a graph instead.

    Raises
    ------
    EngineError
        If it cannot run the backbone there.
    """
    if device != "cpu":
        from featx.extraction._cuda import CudaEngine

        return CudaEngine(backbone, outputs, device=device, compiled=name == CompiledEngine.name)
    return (CompiledEngine if name == CompiledEngine.name else TorchEngine)(backbone, outputs)
