"""ONNX Runtime: a graph that was exported once runs without torch."""

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from featx.errors import EngineError
from featx.extraction._loop import Features, Image, Submit
from featx.extraction._rows import as_stored, require_fp32, run_in_batches
from featx.spec import ExtractionSpec, digest_of

__all__ = ["GRAPH_VERSION", "OnnxEngine", "graph_key", "seal"]

GRAPH_VERSION = 1
"""Raised whenever graphs that were exported before must not be used any more."""

_SEAL = b"featx.sha256"


def graph_key(specs: Sequence[ExtractionSpec]) -> str:
    """Return the digest of what decides the graph for `specs`, in their order.

    How images are resized, which views are made of them, and how features are stored is decided outside of it. A
    network of the user's own may have changed its code and kept its weights: its graph must not be used again unseen.
    """
    described = []
    for spec in specs:
        fields = spec.plain.to_dict()
        del fields["dtype"], fields["precision"]
        fields["preprocessing"] = [spec.preprocessing.crop_size, spec.preprocessing.mean, spec.preprocessing.std]
        described.append(fields)
    return digest_of({"graph": GRAPH_VERSION, "outputs": described})


def seal(model: bytes) -> bytes:
    """Return what ends a serialised ONNX model so that damage is noticed: its digest, as an entry of its metadata.

    That is field 14 of ``ModelProto``, a message of a key and a value; protobuf messages may be added to by appending.
    """
    value = hashlib.sha256(model).hexdigest().encode("ascii")
    entry = b"\x0a%c%s\x12%c%s" % (len(_SEAL), _SEAL, len(value), value)
    return b"\x72%c%s" % (len(entry), entry)


_SEAL_LENGTH = len(seal(b""))


class OnnxEngine:
    """A graph written by :func:`featx.extraction.export_graph`, run by ONNX Runtime, each batch on one core.

    Parameters
    ----------
    path : path
        Of the graph.
    specs : sequence of ExtractionSpec
        Of its outputs, in their order, with precision fp32.

    Raises
    ------
    EngineError
        If the file is damaged or no graph of these specs.
    """

    name = "onnxruntime"
    device = "cpu"
    resizes = False

    def __init__(self, path: str | os.PathLike[str], specs: Sequence[ExtractionSpec]) -> None:
        require_fp32(specs, engine=self.name)
        try:
            import onnxruntime
        except ImportError as error:  # a checkout that is not installed
            raise EngineError("engine onnxruntime is not installed: pip install onnxruntime, or use torch") from error
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise EngineError(
                f"the graph {os.fspath(path)} cannot be read ({error.strerror}): export it again"
            ) from error
        if data[-_SEAL_LENGTH:] != seal(data[:-_SEAL_LENGTH]):
            raise EngineError(f"the graph {os.fspath(path)} is damaged: export it again")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # the caller's threads are the parallel ones
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's exceptions have no common base but this
            raise EngineError(
                f"onnxruntime {onnxruntime.__version__} does not take the graph {os.fspath(path)} ({error}):"
                " use engine torch"
            ) from error
        self._specs = tuple(specs)
        (pixels,) = self._session.get_inputs()
        self._pixels = pixels.name
        self.batch_size: int | None = pixels.shape[0] if isinstance(pixels.shape[0], int) else None
        """Images that the graph takes at a time; None for any number."""
        size = [*specs[0].preprocessing.crop_size, 3]
        if pixels.shape[1:] != size or len(self._session.get_outputs()) != len(specs):
            raise EngineError(f"the graph {os.fspath(path)} is of another backbone: export it again")

    def __call__(self, pixels: npt.NDArray[np.uint8]) -> Features:
        """Return one array (n, ...) per output for pixels of shape (n, height, width, 3); from any thread."""
        if self.batch_size is None:
            return as_stored(self._run(pixels), self._specs)
        return as_stored(run_in_batches(self._run, pixels, self.batch_size), self._specs)

    def _run(self, pixels: npt.NDArray[np.uint8]) -> Features:
        try:
            return tuple(self._session.run(None, {self._pixels: pixels}))
        except Exception as error:
            raise EngineError(
                f"onnxruntime cannot compute a batch of {len(pixels)} images ({error}): use engine torch"
            ) from error

    def load(self) -> None:
        """Do nothing: it is ready."""

    def start(self, images: Sequence[Image], submit: Submit) -> Callable[[], Features]:
        """Begin with images of the network's size in a thread of the pool, and return what waits for their features."""
        return submit(lambda: self(np.stack(images))).result
