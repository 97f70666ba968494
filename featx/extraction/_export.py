"""Exporting a backbone as a graph for ONNX Runtime."""

import os
from collections.abc import Sequence
from pathlib import Path

import torch

from featx.backbones import Backbone
from featx.errors import EngineError, first_line
from featx.extraction._capture import PixelsToRows, capture, eager_rows, noise, silence
from featx.extraction._onnx import OnnxEngine, seal
from featx.extraction._outputs import Output
from featx.extraction._rows import as_stored, require_fp32, require_same_rows

__all__ = ["export_graph", "verify_graph"]

_BATCH = 4
"""Images at a time where the network does not let their number vary, as suits one core."""

_LARGEST = 2**31 - 2**20
"""Bytes of weights; protobuf's messages end at 2 GiB."""


def _serialised(module: PixelsToRows, backbone: Backbone, *, dynamic: bool) -> bytes:
    """Return the ONNX model of `module`."""
    captured = capture(module, noise(backbone, _BATCH), dynamic=dynamic)
    try:
        with silence(), torch.no_grad():
            program = torch.onnx.export(captured, dynamo=True, external_data=False, verbose=False)
            assert program is not None
            model: bytes = program.model_proto.SerializeToString()
    except Exception as error:  # the exporter raises every kind of exception here
        raise EngineError(
            f"torch.onnx cannot export {backbone.name} ({first_line(error)}): use engine torch"
        ) from error
    return model


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
    if sum(tensor.nbytes for tensor in module.state_dict().values()) > _LARGEST:
        raise EngineError(f"the weights of {backbone.name} exceed the 2 GiB of an ONNX graph: use engine torch")
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        for dynamic in (True, False):
            try:
                model = _serialised(module, backbone, dynamic=dynamic)
                temporary.write_bytes(model + seal(model))
                verify_graph(OnnxEngine(temporary, specs), backbone, outputs)
                break
            except EngineError:
                if not dynamic:
                    raise
        temporary.replace(path)
    except OSError as error:
        raise EngineError(f"the graph {path} cannot be written ({error.strerror}): use engine torch") from error
    finally:
        temporary.unlink(missing_ok=True)
