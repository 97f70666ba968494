"""Exporting a backbone as a graph for ONNX Runtime."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from featx.backbones import Backbone
from featx.errors import EngineError, first_line
from featx.extraction._capture import PixelsToRows, capture, eager_rows, noise, silence
from featx.extraction._onnx import OnnxEngine, seal
from featx.extraction._outputs import Output
from featx.extraction._rows import as_stored, require_fp32, require_same_rows

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["BATCH", "export_graph", "onnx_model", "require_small", "verify_graph", "write_checked"]

BATCH = 4
"""Images at a time where the network does not let their number vary, as suits one core."""

_LARGEST = 2**31 - 2**20
"""Bytes of weights; protobuf's messages end at 2 GiB."""


def require_small(module: nn.Module, *, what: str) -> None:
    """Raise EngineError for more weights than an ONNX file holds."""
    if sum(tensor.nbytes for tensor in module.state_dict().values()) > _LARGEST:
        raise EngineError(f"the weights of {what} exceed the 2 GiB of an ONNX graph: use engine torch")


def onnx_model(
    module: nn.Module,
    pixels: npt.NDArray[np.uint8],
    *,
    what: str,
    dynamic: bool,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
) -> "ModelProto":
    """Return a network as ONNX; `dynamic`, `inputs` and `outputs` as :func:`capture` and torch.onnx.export take them.

    Raises
    ------
    EngineError
        If the network cannot be captured or exported.
    """
    captured = capture(module, pixels, dynamic=dynamic)
    try:
        with silence(), torch.no_grad():
            program = torch.onnx.export(
                captured, dynamo=True, external_data=False, verbose=False, input_names=inputs, output_names=outputs
            )
            assert program is not None
            return program.model_proto
    except Exception as error:  # the exporter raises every kind of exception here
        raise EngineError(f"torch.onnx cannot export {what} ({first_line(error)}): use engine torch") from error


def write_checked(path: Path, make: Callable[[bool], bytes], check: Callable[[Path], None]) -> None:
    """Write a graph that takes any number of images or, if that cannot be made or fails the check, a fixed number.

    Parameters
    ----------
    path : Path
        What passes the check gets this name; whatever happens, nothing else stays behind.
    make : callable
        Returns the file's bytes, given whether the number of images is to vary.
    check : callable
        Raises EngineError for a file that does not compute what it should.

    Raises
    ------
    EngineError
        If the graph with the fixed number cannot be made or fails the check, or the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        for dynamic in (True, False):
            try:
                temporary.write_bytes(make(dynamic))
                check(temporary)
                break
            except EngineError:
                if not dynamic:
                    raise
        temporary.replace(path)
    except OSError as error:
        raise EngineError(f"the graph {path} cannot be written ({error.strerror}): use engine torch") from error
    finally:
        temporary.unlink(missing_ok=True)


def _serialised(module: PixelsToRows, backbone: Backbone, *, dynamic: bool) -> bytes:
    """Return the ONNX model of `module`."""
    data: bytes = onnx_model(module, noise(backbone, BATCH), what=backbone.name, dynamic=dynamic).SerializeToString()
    return data


def verify_graph(engine: OnnxEngine, backbone: Backbone, outputs: Sequence[Output]) -> None:
    """Raise EngineError unless the graph gives the features that `backbone` does, in torch, on images of noise."""
    module = PixelsToRows(backbone, outputs)
    specs = [output.spec for output in outputs]
    pixels = noise(backbone, 3)
    for batch in (pixels, pixels[:1]):
        require_same_rows(
            engine(batch), as_stored(eager_rows(module, batch), specs), what=f"the graph of {backbone.name}"
        )


def export_graph(backbone: Backbone, outputs: Sequence[Output], path: str | os.PathLike[str]) -> None:
    """Write the graph of a backbone, from pixels to rows, for :class:`OnnxEngine`.

    Its features are compared with torch's before it gets its name.

    Parameters
    ----------
    backbone : Backbone
        With less than 2 GiB of weights.
    outputs : sequence of Output
        Of precision fp32.
    path : path
        In a folder that is there.

    Raises
    ------
    EngineError
        If the network cannot be exported, or computes something else then.
    """
    specs = [output.spec for output in outputs]
    require_fp32(specs, engine=OnnxEngine.name)
    module = PixelsToRows(backbone, outputs)
    require_small(module, what=backbone.name)

    def make(dynamic: bool) -> bytes:
        model = _serialised(module, backbone, dynamic=dynamic)
        return model + seal(model)

    write_checked(Path(path), make, lambda graph: verify_graph(OnnxEngine(graph, specs), backbone, outputs))
